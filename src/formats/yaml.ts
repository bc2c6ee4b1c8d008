/**
 * YAML as configurations are written in it: of bounded length and depth, and read in linear time, whatever its author intends.
 */
import { type Document, isScalar, LineCounter, parseDocument, visit } from "yaml";

export type Yaml =
  | { readonly kind: "read"; readonly value: unknown }
  /** Why it is not taken, on one line, with its place where it has one. */
  | { readonly kind: "refused"; readonly fault: string };

/** A kernel's whole configuration may stand in one of driverkit's, in base64. */
const LIMIT_CHARACTERS = 1024 * 1024;
/** Deeper is no configuration; the parser calls itself for each level. */
const DEPTH_LIMIT = 100;
const ALIAS_LIMIT = 100;

/** Reads one document. Never throws. */
export function readYaml(text: string): Yaml {
  if (text.length > LIMIT_CHARACTERS) return refused(`longer than ${LIMIT_CHARACTERS} characters`);
  if (isTooDeep(text)) return refused(`nested deeper than ${DEPTH_LIMIT} levels`);
  const lineCounter = new LineCounter();
  // The parser would compare each key with all others of its map, and show each error with its surroundings.
  const document = parseDocument(text, {
    lineCounter,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: "silent",
  });
  const [error] = document.errors;
  const fault = error ?? repeatedKey(document);
  if (fault !== undefined) {
    const { line, col } = lineCounter.linePos(fault.pos[0]);
    return refused(`${fault.message} at line ${line}, column ${col}`);
  }
  try {
    return { kind: "read", value: document.toJS({ maxAliasCount: ALIAS_LIMIT }) };
  } catch (thrown) {
    return refused((thrown as Error).message);
  }
}

function refused(fault: string): Yaml {
  return { kind: "refused", fault };
}

/**
 * Counts what opens a level, quoted or not: brackets over the whole text, and words of a line that follow each other and
 * are marks of lists, keys, anchors or tags.
 */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    depth += bracket === "[" || bracket === "{" ? 1 : -1;
    if (Math.abs(depth) > DEPTH_LIMIT) return true;
  }
  let marks = 0;
  // Each character is of one word only, so no text makes this look at it twice.
  for (const [word] of text.matchAll(/\n|[^ \t\n]+/g)) {
    marks = isMark(word) ? marks + 1 : 0;
    if (marks >= DEPTH_LIMIT) return true;
  }
  return false;
}

function isMark(word: string): boolean {
  return word === "-" || word === "?" || word.endsWith(":") || word.startsWith("&") || word.startsWith("!");
}

interface Fault {
  readonly message: string;
  readonly pos: readonly [start: number, ...rest: number[]];
}

function repeatedKey(document: Document): Fault | undefined {
  let found: Fault | undefined;
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) {
          found = { message: "Map keys must be unique", pos: key.range ?? [0] };
          return visit.BREAK;
        }
        seen.add(key.value);
      }
      return undefined;
    },
  });
  return found;
}
