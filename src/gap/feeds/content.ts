/**
 * The bytes of a feed's files: within limits, as text, lines or JSON. What is bad comes back as a reason.
 */
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { parseOnceNamed } from "../../provenance/strict-json.ts";
import type { FeedFile } from "./feed.ts";

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

/** One line that is a record. */
export function parseLine(bytes: Uint8Array): Read<unknown> {
  return parseJson(bytes, MOST_VALUES_OF_LINE);
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

/** The lines of a file of any size, without their ends. @throws FarmError DOCUMENT_INVALID beyond the limits */
export async function* linesOf({ name, body }: FeedFile): AsyncGenerator<Buffer> {
  let [rest, size] = [Buffer.alloc(0), 0];
  for await (const chunk of body) {
    size += chunk.length;
    const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let begin = 0;
    for (let end = bytes.indexOf(LINE_END); end >= 0; end = bytes.indexOf(LINE_END, begin)) {
      yield bytes.subarray(begin, end);
      begin = end + 1;
    }
    rest = bytes.subarray(begin);
    if (size > STREAM_LIMIT_BYTES || rest.length > LINE_LIMIT_BYTES)
      throw new FarmError("DOCUMENT_INVALID", {
        about: name,
        detail: `it has more than ${STREAM_LIMIT_BYTES} bytes, or a line of more than ${LINE_LIMIT_BYTES}`,
      });
  }
  if (rest.length > 0) yield rest;
}

function read<T>(value: T): Read<T> {
  return { kind: "read", value };
}

function bad(reason: string): Read<never> {
  return { kind: "bad", reason };
}
