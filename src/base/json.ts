/**
 * Canonical JSON (RFC 8785): one byte sequence for one value, so that a digest of it means something.
 */

import { createHash } from "node:crypto";
import type { z } from "zod";
import { FarmError } from "./error.ts";
import { largest } from "./extremes.ts";

/**
 * RFC 8785 text of a value: keys in UTF-16 order, ECMAScript numbers, no white space.
 * Members whose value is `undefined` are left out; what JSON cannot carry is a BUG.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return quote(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new FarmError("BUG", { detail: `not a JSON number: ${value}` });
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "object") {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${members.map(([key, member]) => `${quote(key)}:${canonicalJson(member)}`).join(",")}}`;
  }
  throw new FarmError("BUG", { detail: `not a JSON value: ${typeof value}` });
}

function quote(text: string): string {
  if (!text.isWellFormed())
    throw new FarmError("BUG", { detail: "a string with a lone surrogate has no canonical form" });
  return JSON.stringify(text);
}

/** A SHA-256 as it stands in our documents: `sha256:` and 64 hexadecimal digits. */
export type Digest = `sha256:${string}`;

/** Digest of a value's canonical JSON. */
export function digestOf(value: unknown): Digest {
  return sha256(canonicalJson(value));
}

export function sha256(bytes: string | Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The 64 hexadecimal digits of a digest. */
export function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

/** A document as we write it to disk: canonical, with a line end. */
export function toDocument(value: unknown): string {
  return `${canonicalJson(value)}\n`;
}

/**
 * Reads a JSON text as the given type.
 * @throws FarmError DOCUMENT_INVALID that names the source, the field and what is wrong with it
 */
export function parseDocument<T>(type: z.ZodType<T>, text: string, source: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FarmError("DOCUMENT_INVALID", {
      about: source,
      joint: " ",
      detail: `is not JSON: ${(cause as Error).message}`,
      cause,
    });
  }
  const sample = text.length > SAMPLED.beyondCharacters ? type.safeParse(sampleOf(value)) : undefined;
  if (sample?.success === false)
    throw new FarmError("DOCUMENT_INVALID", {
      about: source,
      detail: `${describeIssue(sample.error)}, in a sample of its lists`,
    });
  const parsed = type.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new FarmError("DOCUMENT_INVALID", { about: source, detail: describeIssue(parsed.error) });
}

/** Of larger documents, how much of a list is looked at before all of it is, how many values in all, and how deep. */
const SAMPLED = { beyondCharacters: 65_536, ofList: 50, inAll: 20_000, depth: 64 } as const;

/**
 * A value with some of each long list and of each object of many names, at random places. Of each value that does not fit zod
 * keeps a kilobyte, and a stranger's document has a million of them.
 */
function sampleOf(
  value: unknown,
  depth: number = SAMPLED.depth,
  left = { values: SAMPLED.inAll as number },
): unknown {
  if (typeof value !== "object" || value === null || depth === 0) return value;
  left.values--;
  const most = left.values > 0 ? SAMPLED.ofList : 1;
  const deeper = (one: unknown) => sampleOf(one, depth - 1, left);
  if (Array.isArray(value)) return someOf(value, most).map(deeper);
  const entries = Object.entries(value);
  const some = entries.length <= SAMPLED.ofList ? entries : someOf(entries, most);
  return Object.fromEntries(some.map(([name, one]) => [name, deeper(one)]));
}

/** In their order, the first and the last among them. */
function someOf<T>(all: readonly T[], most: number): readonly T[] {
  if (all.length <= most) return all;
  const places = new Set([0, all.length - 1]);
  while (places.size < most) places.add(Math.floor(Math.random() * all.length));
  return [...places].toSorted((a, b) => a - b).map((at) => all[at] as T);
}

/** The first problem of a schema check in one line: `sources[0].kind: …`. */
export function describeIssue(error: z.ZodError): string {
  const [first] = error.issues;
  if (first === undefined) return "not valid";
  // A document may be wrong in a million places: only the first is looked into.
  const [issue = first, ...others] = innermostIssues(first);
  const count = others.length + error.issues.length - 1;
  const more = count > 0 ? ` (and ${count} more)` : "";
  return `${placeOfIssue(issue) || "document"}: ${issue.message}${more}`;
}

/** `sources[0].kind`; empty for the whole document. */
export function placeOfIssue({ path }: z.core.$ZodIssue): string {
  const place = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
  return place.replace(/^\./, "");
}

/** A union reports only that nothing fits; the complaint of its likeliest member is what a person can fix. */
export function innermostIssues(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return [issue];
  const likeliest = issue.errors.toSorted((a, b) => depthOf(b) - depthOf(a) || a.length - b.length)[0] ?? [];
  return likeliest.flatMap((inside) => innermostIssues({ ...inside, path: [...issue.path, ...inside.path] }));
}

/** A member that looks deep into a value found its outside right. */
function depthOf(issues: readonly z.core.$ZodIssue[]): number {
  return largest(issues.map(({ code, path }) => path.length + (code === "unrecognized_keys" ? 1 : 0)));
}
