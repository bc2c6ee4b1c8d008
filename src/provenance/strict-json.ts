/**
 * JSON that strangers signed, or that is about to be signed. Two readers must never see two things in the same bytes, so
 * whatever readers are known to disagree about is refused: a name twice in one object, bytes that are not UTF-8, half
 * characters, numbers that not every reader keeps, anything before or after the value.
 */
import { FarmError } from "../base/error.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

interface JsonLimits {
  readonly bytes: number;
  readonly depth: number;
  /** Two bytes can be a value, and each costs memory, and more of it once a schema refuses it. */
  readonly values: number;
}

/** A statement that names thousands of packages, and the bundle around it, are shorter. */
const LIMITS: JsonLimits = { bytes: 1024 * 1024, depth: 32, values: 200_000 };

/** @throws FarmError PROVENANCE_MALFORMED */
export function readStrictJson(bytes: Uint8Array, what: string): Json {
  const value = parseOnceNamed(bytes, what, LIMITS);
  const fault = faultIn(value);
  if (fault !== undefined) throw malformed(what, fault);
  return value;
}

/** JSON in which no name occurs twice in one object; its strings and numbers are as they come. @throws FarmError PROVENANCE_MALFORMED */
export function parseOnceNamed(bytes: Uint8Array, what: string, limits: JsonLimits): Json {
  if (bytes.length > limits.bytes)
    throw malformed(what, `it has ${bytes.length} bytes, but ${limits.bytes} are allowed`);
  const text = decode(bytes, what);
  refuseDoubles(text, what, limits);
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw malformed(what, "it is not JSON");
  }
}

export function malformed(what: string, detail: string): FarmError {
  return new FarmError("PROVENANCE_MALFORMED", { about: what, detail });
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    // A byte order mark stays a character, which no JSON begins with.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed(what, "it is not UTF-8");
  }
}

/**
 * JSON.parse keeps the last of two equal names without a word, and goes as deep as it is led. What this misreads, because
 * it is not JSON at all, JSON.parse refuses afterwards.
 */
function refuseDoubles(text: string, what: string, { depth, values }: JsonLimits): void {
  /** The names of each object that is open; lists have none. */
  const open: (Set<string> | undefined)[] = [];
  let last = "";
  let most = 1; // Each but the first comes after a bracket or a comma, or after a name that does.
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if ((character === "{" || character === "[" || character === ",") && ++most > values)
      throw malformed(what, `it has more than ${values} values`);
    if (character === "{" || character === "[") {
      open.push(character === "{" ? new Set() : undefined);
      if (open.length > depth) throw malformed(what, `it is nested more than ${depth} deep`);
    } else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const end = endOfString(text, at);
      last = text.slice(at, end);
      at = end - 1;
    } else if (character === ":") {
      const names = open.at(-1);
      // One string is one name, in an object.
      if (names === undefined || last === "") throw malformed(what, "it is not JSON");
      const name = nameOf(last, what);
      if (names.has(name)) throw malformed(what, `the name ${last.slice(0, 100)} occurs twice in one object`);
      names.add(name);
      last = "";
    }
  }
}

/** The place behind the closing quotation mark. */
function endOfString(text: string, begin: number): number {
  for (let at = begin + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

/** A name may be written in several ways: `"a"` and `"\u0061"` are one. */
function nameOf(token: string, what: string): string {
  try {
    return JSON.parse(token) as string;
  } catch {
    throw malformed(what, "it is not JSON");
  }
}

/** What some readers change or drop without a word. */
function faultIn(value: Json): string | undefined {
  if (typeof value === "string") return value.isWellFormed() ? undefined : "a string has half a character";
  if (typeof value === "number")
    return Number.isSafeInteger(value) && !Object.is(value, -0)
      ? undefined
      : "a number is not a whole one that every reader keeps";
  if (typeof value !== "object" || value === null) return undefined;
  // An object with that name is another object for some programs.
  if (Object.hasOwn(value, "__proto__")) return "an object has the name __proto__";
  return Object.entries(value)
    .flat()
    .map(faultIn)
    .find((fault) => fault !== undefined);
}
