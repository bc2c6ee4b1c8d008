/**
 * What is published must be readable by whoever comes next, or one stranger's word makes a whole registry unreadable. Each
 * item of the lists that all share is held against its readers' type and a size when it is made, where it is known whose
 * fault it is; each part once more before it is stored.
 */
import type { z } from "zod";
import { FarmError } from "../base/error.ts";
import { describeIssue } from "../base/json.ts";
import { typeOfPart } from "./parts.ts";
import { DOCUMENT_LIMIT_BYTES } from "./stores/store.ts";

/** Thousands of items share a part; real ones have 1 to 3 KiB. */
const ITEM_LIMIT_BYTES = 60 * 1024;
/** An artifact of some hundred modules; decisions name all of them in each verdict. */
export const ENTRY_LIMIT_BYTES = 120 * 1024;

/** @throws FarmError BUG naming `what`: nobody could read it again */
export function requireKeepable(
  type: z.ZodType,
  item: unknown,
  what: string,
  limit = ITEM_LIMIT_BYTES,
): void {
  const { error } = type.safeParse(item);
  if (error !== undefined) throw unreadable(what, describeIssue(error));
  const bytes = Buffer.byteLength(JSON.stringify(item));
  if (bytes > limit) throw unreadable(what, `it has ${bytes} bytes, and the limit is ${limit}`);
}

/** The last look before a part is stored. @throws FarmError BUG: nothing is published then, and what was stays readable */
export function requireReadable(name: string, text: string): void {
  requireDocument(typeOfPart(name), name, text);
}

/** The same of a whole document. @throws FarmError BUG */
export function requireDocument(type: z.ZodType, name: string, text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > DOCUMENT_LIMIT_BYTES)
    throw unreadable(name, `it has ${bytes} bytes, and the limit is ${DOCUMENT_LIMIT_BYTES}`);
  const { error } = type.safeParse(JSON.parse(text));
  if (error !== undefined) throw unreadable(name, describeIssue(error));
}

function unreadable(what: string, fact: string): FarmError {
  return new FarmError("BUG", {
    detail: `${what} was not published, because it could not be read back: ${fact}`,
  });
}
