/**
 * Canonical JSON (RFC 8785): one byte sequence for one value, so that a digest of it means something.
 */
import { createHash } from "node:crypto";
import type { z } from "zod";
import { FarmError } from "./error.ts";

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
      detail: `${source} is not JSON: ${(cause as Error).message}`,
      cause,
    });
  }
  const parsed = type.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new FarmError("DOCUMENT_INVALID", { detail: `${source}: ${describeIssue(parsed.error)}` });
}

/** The first problem of a schema check in one line: `sources[0].kind: …`. */
export function describeIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "not valid";
  const path = issue.path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("");
  const more = error.issues.length > 1 ? ` (and ${error.issues.length - 1} more)` : "";
  return `${path.replace(/^\./, "") || "document"}: ${issue.message}${more}`;
}
