/**
 * The bytes of a feed's files: within limits, as text, lines or JSON. What is bad comes back as a reason.
 */
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { parseOnceNamed } from "../../provenance/strict-json.ts";
import type { FeedFile, Found } from "./feed.ts";

export type Read<T> =
  | { readonly kind: "read"; readonly value: T }
  | { readonly kind: "bad"; readonly reason: string };

/** The largest CVE of the kernel has 60 KB, the largest advisory some MB. */
const FILE_LIMIT_BYTES = 16 * 1024 * 1024;
/** A feed that is one file: a whole Debian tracker has 80 MB. */
const STREAM_LIMIT_BYTES = 512 * 1024 * 1024;
const LINE_LIMIT_BYTES = 4 * 1024 * 1024;
const LINE_END = 0x0a;
const DEPTH_LIMIT = 32;
/** The largest real file has a hundred thousand, and a line that is a record has fewer. */
const MOST_VALUES = 1_000_000;
const MOST_VALUES_OF_LINE = 100_000;

/** A whole small file. */
export async function readWhole({ body }: FeedFile): Promise<Read<Buffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > FILE_LIMIT_BYTES) return bad(`is longer than ${FILE_LIMIT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return read(Buffer.concat(chunks));
}

export async function readText(file: FeedFile): Promise<Read<string>> {
  const bytes = await readWhole(file);
  if (bytes.kind === "bad") return bytes;
  try {
    return read(new TextDecoder("utf-8", { fatal: true }).decode(bytes.value));
  } catch {
    return bad("is not UTF-8");
  }
}

/** JSON in which two readers see the same: no name twice, nothing deep, no more values than a real file has. */
export async function readJson(file: FeedFile): Promise<Read<unknown>> {
  const bytes = await readWhole(file);
  return bytes.kind === "bad" ? bytes : parseJson(bytes.value);
}

export function parseJson(bytes: Uint8Array, values = MOST_VALUES): Read<unknown> {
  try {
    return read(parseOnceNamed(bytes, "it", { bytes: STREAM_LIMIT_BYTES, depth: DEPTH_LIMIT, values }));
  } catch (thrown) {
    if (thrown instanceof FarmError) return bad(thrown.factAbout("it"));
    throw thrown;
  }
}

/**
 * A list, and the values of an object, that end at the first value that does not fit: zod keeps a kilobyte for each, and a
 * stranger has a million.
 */
export function listOf<T>(type: z.ZodType<T>, most = MOST_VALUES): z.ZodType<T[]> {
  return z
    .array(z.unknown())
    .max(most)
    .transform((values, context) => fitting(type, values.entries(), context)?.map(([, one]) => one) ?? []);
}

export function recordOf<T>(type: z.ZodType<T>): z.ZodType<Record<string, T>> {
  return z
    .record(z.string(), z.unknown())
    .transform((values, context) => Object.fromEntries(fitting(type, Object.entries(values), context) ?? []));
}

function fitting<Name extends string | number, T>(
  type: z.ZodType<T>,
  values: Iterable<readonly [Name, unknown]>,
  context: z.RefinementCtx,
): (readonly [Name, T])[] | undefined {
  const found: (readonly [Name, T])[] = [];
  for (const [name, value] of values) {
    const one = type.safeParse(value);
    if (!one.success) {
      const [issue] = one.error.issues;
      context.addIssue({
        ...{ code: "custom", path: [name, ...(issue?.path ?? [])] },
        message: issue?.message ?? "is not valid",
      });
      return undefined;
    }
    found.push([name, one.data]);
  }
  return found;
}

/** Where a file's bad records go. */
type Drops = Pick<Found, "drop">;

interface Line {
  readonly bytes: Buffer;
  /** `cves.ndjson:17` */
  readonly where: string;
}

/** The lines of a file of any size that are not empty, without their ends. @throws FarmError DOCUMENT_INVALID beyond the limit */
export async function* linesOf({ name, body }: FeedFile, found: Drops): AsyncGenerator<Line> {
  let [rest, size, number] = [Buffer.alloc(0), 0, 1];
  /** Of a line without end nothing is kept. */
  let isTooLong = false;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > STREAM_LIMIT_BYTES)
      throw new FarmError("DOCUMENT_INVALID", {
        about: name,
        detail: `it has more than ${STREAM_LIMIT_BYTES} bytes`,
      });
    const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let begin = 0;
    for (let end = bytes.indexOf(LINE_END); end >= 0; end = bytes.indexOf(LINE_END, begin)) {
      if (!isTooLong && end > begin) yield { bytes: bytes.subarray(begin, end), where: `${name}:${number}` };
      isTooLong = false;
      begin = end + 1;
      number++;
    }
    rest = bytes.subarray(begin);
    if (rest.length <= LINE_LIMIT_BYTES) continue;
    if (!isTooLong) found.drop(`is longer than ${LINE_LIMIT_BYTES} bytes`, `${name}:${number}`);
    [rest, isTooLong] = [Buffer.alloc(0), true];
  }
  if (rest.length > 0 && !isTooLong) yield { bytes: rest, where: `${name}:${number}` };
}

/** The values of a file with one in each line; what is none is dropped. @throws FarmError DOCUMENT_INVALID beyond the limit */
export async function* jsonLines(
  file: FeedFile,
  found: Drops,
): AsyncGenerator<{ readonly value: unknown; readonly where: string }> {
  for await (const { bytes, where } of linesOf(file, found)) {
    const json = parseJson(bytes, MOST_VALUES_OF_LINE);
    if (json.kind === "bad") found.drop(json.reason, where);
    else yield { value: json.value, where };
  }
}

function read<T>(value: T): Read<T> {
  return { kind: "read", value };
}

function bad(reason: string): Read<never> {
  return { kind: "bad", reason };
}
