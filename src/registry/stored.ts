/**
 * Reading documents of a store. Its writers are not trusted: anything that is not a document of its kind is STORE_CORRUPT.
 */
import type { z } from "zod";
import { FarmError } from "../base/error.ts";
import { parseDocument } from "../base/json.ts";
import type { RegistryReader } from "./reader.ts";
import { DOCUMENT_LIMIT_BYTES } from "./stores/store.ts";

/** None of our documents is nested that deep, recipes included. */
const DEPTH_LIMIT = 64;

/** `what` names it for people. @throws FarmError STORE_CORRUPT that names the file, the field and what is wrong with it */
export function parseStored<T>(
  store: Pick<RegistryReader, "place">,
  path: string,
  bytes: Buffer,
  type: z.ZodType<T>,
  what = path,
): T {
  if (bytes.length > DOCUMENT_LIMIT_BYTES)
    throw corruptStore(store, `${what} has ${bytes.length} bytes, more than any document`, path);
  const source = `${store.place}/${what}`;
  try {
    const value = parseDocument(type, bytes.toString("utf8"), source);
    const fault = faultIn(value);
    if (fault !== undefined) throw corruptStore(store, `${what} ${fault}`, path);
    return value;
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.code === "DOCUMENT_INVALID")
      throw corruptStore(store, `${what}: ${thrown.factAbout(source)}`, path, thrown.cause);
    throw thrown;
  }
}

/** `fact` begins with what it is about; `path` is the file at fault, where it is one. */
export function corruptStore(
  store: Pick<RegistryReader, "place">,
  fact: string,
  path?: string,
  cause?: unknown,
): FarmError {
  return new FarmError("STORE_CORRUPT", {
    about: store.place,
    joint: "/",
    detail: fact,
    ...(path === undefined ? {} : { at: { path } }),
    cause,
  });
}

/** What JSON can carry and canonical JSON cannot, so that it could be read but never be written again. */
function faultIn(value: unknown, depth = 0): string | undefined {
  if (typeof value === "string")
    return value.isWellFormed() ? undefined : "has a string with half a character";
  if (typeof value === "number") return Number.isFinite(value) ? undefined : "has a number that is too large";
  if (typeof value !== "object" || value === null) return undefined;
  if (depth > DEPTH_LIMIT) return "is nested too deeply";
  for (const [key, member] of Object.entries(value)) {
    const fault = key.isWellFormed() ? faultIn(member, depth + 1) : "has a key with half a character";
    if (fault !== undefined) return fault;
  }
  return undefined;
}
