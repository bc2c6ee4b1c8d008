/**
 * The files of hand-overs: where they are, what each says of itself in its first entry, and its others, which are checked
 * while they are written down.
 */
import { createReadStream } from "node:fs";
import { lstat, mkdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { FarmError, toFarmError } from "../../base/error.ts";
import { writeHashed } from "../../base/file-digest.ts";
import { canonicalJson, parseDocument } from "../../base/json.ts";
import { entriesOf } from "../../base/scratch.ts";
import { kindIn, readFileIn } from "../../base/strange-tree.ts";
import { filesInTar } from "../../formats/tar-files.ts";
import { refused } from "./hand-over-check.ts";
import { HAND_OVER_FILE, HandOver } from "./order.ts";

/** The description is the archive's first file, and names every other. */
const DESCRIPTION_LIMIT_BYTES = 8 * 1024 * 1024;
const HEAD_BYTES = DESCRIPTION_LIMIT_BYTES + 64 * 1024;

export interface FoundHandOvers {
  /** Sorted. */
  readonly files: readonly string[];
  /** Places that have none, though others have: one machine's fault must not keep what others made. */
  readonly empty: readonly { readonly file: string; readonly error: FarmError }[];
}

/** Hand-overs in directories, and those that are named themselves. @throws FarmError FILE_UNREADABLE where no place has one */
export async function handOversIn(places: readonly string[]): Promise<FoundHandOvers> {
  const found = await Promise.all(
    places.map(async (place) =>
      filesAt(place).catch((thrown) => ({ file: place, error: toFarmError(thrown) })),
    ),
  );
  const files = await eachOnce([...new Set(found.flatMap((one) => ("error" in one ? [] : one)))].toSorted());
  const empty = found.flatMap((one) => ("error" in one ? [one] : []));
  const [first] = empty;
  if (files.length === 0 && first !== undefined) throw first.error;
  return { files, empty };
}

/** One file under many names is one hand-over: hard links cost nothing, and to read each takes a second. */
async function eachOnce(files: readonly string[]): Promise<string[]> {
  const seen = new Set<string>();
  const found: string[] = [];
  for (const file of files) {
    const status = await lstat(file, { bigint: true }).catch(() => undefined);
    const name = status === undefined ? file : `${status.dev} ${status.ino}`;
    if (seen.has(name)) continue;
    seen.add(name);
    found.push(file);
  }
  return found;
}

async function filesAt(given: string): Promise<string[]> {
  const place = resolve(given);
  const status = await stat(place).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", { detail: `${given} cannot be read (${cause.code})`, cause });
  });
  // Links to a directory are a person's; those in it are not.
  if (!status.isDirectory()) return [join(await realpath(dirname(place)), basename(place))];
  const directory = await realpath(place);
  const names = (await entriesOf(directory)).filter((name) => name.endsWith(".tar"));
  if (names.length > 0) return names.map((name) => join(directory, name));
  throw new FarmError("FILE_UNREADABLE", {
    detail: `${given} has no hand-over: none of its files ends in .tar`,
    hint: "Name the directory that `kmodfarm work --out` wrote.",
  });
}

/** What a hand-over says of itself. @throws FarmError HAND_OVER_REFUSED, DOCUMENT_INVALID */
export async function describedIn(file: string): Promise<HandOver> {
  const head = headOf(file);
  if (head === undefined) throw refused("it is not a plain file");
  return parsed(await firstFile(head));
}

/** As much of a hand-over as a description may have; undefined for what is no plain file. */
export function headOf(file: string): Buffer | undefined {
  const [directory, name] = [dirname(file), basename(file)];
  if (kindIn(directory, name) !== "file") return undefined;
  return readFileIn(directory, name, HEAD_BYTES) ?? Buffer.alloc(0);
}

/** All that is used of it is written down again, which not everything that can be read can be. */
function parsed(description: Buffer): HandOver {
  const handOver = parseDocument(HandOver, description.toString("utf8"), HAND_OVER_FILE);
  try {
    canonicalJson(handOver);
  } catch (thrown) {
    throw refused(`its description has no canonical form: ${toFarmError(thrown).message}`, thrown);
  }
  return handOver;
}

async function firstFile(head: Buffer): Promise<Buffer> {
  for await (const { path, size, pieces } of filesInTar(oneByOne(head))) {
    if (path !== HAND_OVER_FILE || size > DESCRIPTION_LIMIT_BYTES)
      throw refused(`it does not begin with its description, ${HAND_OVER_FILE}`);
    const read: Buffer[] = [];
    for await (const piece of pieces) read.push(piece);
    const bytes = Buffer.concat(read);
    if (bytes.length < size) throw refused("it ends in the middle");
    return bytes;
  }
  throw refused("it is empty");
}

async function* oneByOne(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Writes the files of an archive to where they will be, each checked while it goes by. */
export async function unpackHandOver(copy: string, { files }: HandOver, evidence: string): Promise<void> {
  const waiting = new Map(files.map((one) => [one.path, one]));
  let isFirst = true;
  for await (const { path, size, pieces } of filesInTar(createReadStream(copy))) {
    if (isFirst) {
      isFirst = false;
      continue;
    }
    const wanted = waiting.get(path);
    if (wanted === undefined)
      throw refused(`its archive holds ${JSON.stringify(path.slice(0, 200))}, which it does not describe`);
    waiting.delete(path);
    if (wanted.size !== size)
      throw refused(`its ${path} has ${size} bytes, and ${wanted.size} are described`);
    // Every path was compared with those that the order allows.
    const target = join(evidence, path);
    await mkdir(dirname(target), { recursive: true });
    if ((await writeHashed(pieces, target)) !== wanted.digest)
      throw refused(`its ${path} has another digest`);
  }
  const [missing] = waiting.keys();
  if (missing !== undefined) throw refused(`its archive does not hold ${missing}`);
}
