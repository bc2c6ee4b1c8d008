/**
 * Unpacking a source archive of unknown virtue: every entry is judged before anything is written, and what writes is
 * given those entries under headers of ours, shut in with nothing but its target. Where links lead is judged when all
 * of them are there, by whoever reads the tree.
 */
import { posix } from "node:path";
import { Readable } from "node:stream";
import { FarmError, saysDiskFull } from "../../base/error.ts";
import { lastLines, run } from "../../base/run.ts";
import { shutIn } from "../../base/shut-in.ts";
import { TarCopy } from "../../formats/tar-copy.ts";
import { InodeCount, type TarEntry } from "../../formats/tar-entries.ts";
import { invalidDriver } from "./origin.ts";

/** Source trees of drivers are a few megabytes; the largest, with firmware, some hundred. */
export const UNPACKED_LIMIT_BYTES = 1024 ** 3;
/** Files and directories, also those that no entry names. */
const INODE_LIMIT = 200_000;

interface UnpackOptions {
  /** Only what is below this directory. */
  readonly only?: string;
  /** Default: what a source may have. */
  readonly limitBytes?: number;
  /** Modes as the archive says them, whatever our umask. */
  readonly keepsModes?: boolean;
}

/**
 * Unpacks a tar archive, or only what is below one of its directories, into an empty directory. `open` is asked
 * for its bytes twice.
 * @throws FarmError DRIVER_INVALID naming the entry, DISK_FULL
 */
export async function unpackTar(
  open: () => AsyncIterable<Buffer>,
  name: string,
  target: string,
  signal: AbortSignal | undefined,
  { only = "", limitBytes = UNPACKED_LIMIT_BYTES, keepsModes = false }: UnpackOptions = {},
): Promise<void> {
  const inodes = new InodeCount();
  // Once without writing: what would be refused at its end costs no disk.
  for await (const _ of judgedCopy(open(), { name, only, limitBytes }, inodes));
  if (inodes.total === 0) throw invalidDriver(`${name} contains nothing${only === "" ? "" : ` in /${only}`}`);
  const modes = keepsModes ? "--same-permissions" : "--no-same-permissions";
  const tar = ["tar", "--extract", "--file", "-", "--no-same-owner", modes];
  const input = Readable.from(judgedCopy(open(), { name, only, limitBytes }, new InodeCount()));
  const result = await run(shutIn(tar, { target }), { input, timeoutMs: 300_000 }, signal);
  // An archive may hold files whose names say so: it is tried again then, and comes to nothing each time.
  if (result.exitCode !== 0 && saysDiskFull(result.stderr))
    throw new FarmError("DISK_FULL", { detail: `${name} cannot be unpacked: there is no space left` });
  if (result.exitCode !== 0)
    throw new FarmError(result.timedOut ? "TIMED_OUT" : "DRIVER_INVALID", {
      detail: `${name} cannot be unpacked: ${lastLines(result.stderr, 3)}`,
    });
}

/** The archive again, of the entries that are wanted; counts how many files and directories there will be. */
async function* judgedCopy(
  pieces: AsyncIterable<Buffer>,
  { name, only, limitBytes }: { readonly name: string; readonly only: string; readonly limitBytes: number },
  inodes: InodeCount,
): AsyncGenerator<Buffer> {
  const copy = new TarCopy((entry) => {
    const isWanted = judge(entry, name, only);
    if (isWanted) inodes.add(entry.name);
    return isWanted;
  });
  let size = 0;
  try {
    for await (const piece of pieces) {
      size += piece.length;
      const copied = copy.push(piece);
      if (inodes.total > INODE_LIMIT || size > limitBytes)
        throw invalidDriver(
          `${name} contains more than ${INODE_LIMIT} files and directories or ${limitBytes} bytes`,
        );
      if (copied.length > 0) yield copied;
    }
    yield copy.end();
  } catch (cause) {
    if (cause instanceof FarmError && cause.code === "DRIVER_INVALID") throw cause;
    throw invalidDriver(
      `${name} is damaged: ${cause instanceof Error ? cause.message : String(cause)}`,
      cause,
    );
  }
}

/** Whether an entry is wanted. @throws FarmError DRIVER_INVALID when something is wrong with it */
function judge(entry: TarEntry, archive: string, only: string): boolean {
  const path = entry.name.toString();
  const isWanted = posix.join("/", path).startsWith(posix.join("/", only, "/"));
  const fault = faultOnTheWay(path, entry.kind, only) ?? (isWanted ? faultOf(path, entry) : undefined);
  if (fault !== undefined) throw invalidDriver(`${archive} contains ${JSON.stringify(path)}, ${fault}`);
  return isWanted;
}

/** What is wrong with an entry that is the wanted directory, or one above it. */
function faultOnTheWay(path: string, kind: TarEntry["kind"], only: string): string | undefined {
  const place = posix.join("/", path, "/");
  const isOnTheWay = posix.join("/", only, "/").startsWith(place);
  return only !== "" && isOnTheWay && kind !== "directory"
    ? `which must be a directory but is a ${kind}`
    : undefined;
}

/** What is wrong with an entry; undefined when nothing is. */
function faultOf(path: string, { kind, linkName, mode }: TarEntry): string | undefined {
  if (leadsOut(path)) return "which leads out of the archive";
  if (kind === "link")
    return leadsOut(linkName.toString()) ? `a link out of the archive, to ${linkName.toString()}` : undefined;
  if (kind === "directory" || kind === "symlink") return undefined;
  if (kind !== "file") return `which is a ${kind}`;
  return (mode & 0o6000) !== 0 ? "which is setuid or setgid" : undefined;
}

function leadsOut(path: string): boolean {
  if (path.startsWith("/") || path === "" || path.includes("\0")) return true;
  let depth = 0;
  for (const part of path.split("/")) {
    if (part === "..") depth--;
    else if (part !== "." && part !== "") depth++;
    if (depth < 0) return true;
  }
  return false;
}
