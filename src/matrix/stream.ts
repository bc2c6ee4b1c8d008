/**
 * Matrices too large to hold: one element a line inside a JSON array, read and compared as they pass.
 */
import { hash } from "node:crypto";
import { FarmError } from "../base/error.ts";
import { parseDocument } from "../base/json.ts";
import { changeParts } from "./diff.ts";
import { Element, elementKey } from "./element.ts";

/** A JSON array with one element a line: what every JSON reader takes, and ours takes line by line. */
export function* matrixLines(elements: Iterable<Element>): Generator<string> {
  let isFirst = true;
  for (const element of elements) {
    yield `${isFirst ? "[\n" : ",\n"}${JSON.stringify(element)}`;
    isFirst = false;
  }
  yield isFirst ? "[]\n" : "\n]\n";
}

/** Whether a document that begins like this has one element a line. */
export function isLineMatrix(beginning: string): boolean {
  return /^\[\r?\n\{/.test(beginning);
}

/**
 * Digests of the elements that two documents have in the very same words: no news to anybody, so that nobody need
 * read them.
 */
export async function sharedElements(
  previous: AsyncIterable<string>,
  current: AsyncIterable<string>,
): Promise<ReadonlySet<string>> {
  const [before, shared] = [new Set<string>(), new Set<string>()];
  for await (const line of previous) if (isElement(line)) before.add(lineDigest(line));
  for await (const line of current) {
    const digest = isElement(line) ? lineDigest(line) : "";
    if (before.has(digest)) shared.add(digest);
  }
  return shared;
}

function isElement(line: string): boolean {
  return line.startsWith("{");
}

/** The last element of an array is the only one without a comma. */
function lineDigest(line: string): string {
  return hash("sha1", line.endsWith(",") ? line.slice(0, -1) : line, "base64");
}

/**
 * Elements of a document with one element a line, without those whose digests are `known`.
 * @throws FarmError DOCUMENT_INVALID naming the line
 */
export async function* parseMatrixLines(
  lines: AsyncIterable<string>,
  source: string,
  known: ReadonlySet<string> = new Set(),
): AsyncGenerator<Element> {
  let number = 0;
  let isClosed = false;
  for await (const raw of lines) {
    number++;
    const line = raw.trim();
    if (line === "" || (number === 1 && line === "[")) continue;
    if (line === "]") {
      isClosed = true;
      continue;
    }
    if (known.size > 0 && known.has(lineDigest(line))) continue;
    yield parseDocument(Element, line.endsWith(",") ? line.slice(0, -1) : line, `${source}, line ${number}`);
  }
  if (!isClosed)
    throw new FarmError("DOCUMENT_INVALID", {
      detail: `${source} ends after line ${number} without closing its array`,
    });
}

export type StreamedChange =
  | { readonly kind: "added"; readonly element: Element }
  /** Which parts differ; their old values are not kept. */
  | { readonly kind: "changed"; readonly element: Element; readonly parts: readonly string[] }
  /** Keys of what the current matrix no longer has, and how many elements are as before. Comes last. */
  | { readonly kind: "end"; readonly removed: readonly string[]; readonly unchanged: number };

/**
 * What `diffMatrix` finds, with memory for keys and digests only. A key that comes twice counts once; `shared` elements
 * that both have are in neither stream.
 */
export async function* diffStreams(
  previous: AsyncIterable<Element>,
  current: AsyncIterable<Element>,
  shared = 0,
): AsyncGenerator<StreamedChange> {
  const before = new Map<string, string>();
  for await (const element of previous) before.set(elementKey(element), fingerprint(element));
  const seen = new Set<string>();
  let unchanged = shared;
  for await (const element of current) {
    const key = elementKey(element);
    if (seen.has(key)) continue;
    seen.add(key);
    const old = before.get(key);
    const parts = old === undefined ? [] : differingParts(old, fingerprint(element));
    before.delete(key);
    if (old === undefined) yield { kind: "added", element };
    else if (parts.length > 0) yield { kind: "changed", element, parts };
    else unchanged++;
  }
  yield { kind: "end", removed: [...before.keys()], unchanged };
}

const PART_NAMES = ["driver version", "header packages", "compiler", "flavour"] as const;
const PART_CHARACTERS = 12;
const UNKNOWN = " ".repeat(PART_CHARACTERS);

/** A short digest of each part that matters, then the recipe: fixed places, one string. */
function fingerprint(element: Element): string {
  const digests = changeParts(element).map((part) =>
    part === undefined ? UNKNOWN : hash("sha1", part, "base64").slice(0, PART_CHARACTERS),
  );
  return digests.join("") + (element.recipe ?? "");
}

/** The same answer as `changeReasons`: equal recipes are equal, otherwise the parts decide. */
function differingParts(a: string, b: string): string[] {
  const end = (PART_NAMES.length + 1) * PART_CHARACTERS;
  const [recipeA, recipeB] = [a.slice(end), b.slice(end)];
  if (recipeA !== "" && recipeA === recipeB) return [];
  const digests = [a, b].map((one) => partAt(one, PART_NAMES.length));
  const hasOtherDigests = !digests.includes(UNKNOWN) && digests[0] !== digests[1];
  const differing = PART_NAMES.filter(
    (name, index) => partAt(a, index) !== partAt(b, index) || (name === "header packages" && hasOtherDigests),
  );
  return differing.length === 0 && recipeA !== "" && recipeB !== "" ? ["recipe"] : differing;
}

function partAt(fingerprint: string, index: number): string {
  return fingerprint.slice(index * PART_CHARACTERS, (index + 1) * PART_CHARACTERS);
}
