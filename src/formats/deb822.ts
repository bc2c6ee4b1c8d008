/**
 * Debian's control file format (deb822(5)): paragraphs of `Field: value` with continuation lines.
 */
import { copied } from "../base/copied.ts";
import { FarmError } from "../base/error.ts";

export type Paragraph = ReadonlyMap<string, string>;

/** Paragraphs of a text; a line that is neither a field, a continuation nor a comment is skipped. */
export function parseParagraphs(text: string): Paragraph[] {
  const paragraphs: Paragraph[] = [];
  for (const block of text.split(/\n(?:[ \t]*\n)+/)) {
    const paragraph = parseParagraph(block);
    if (paragraph.size > 0) paragraphs.push(paragraph);
  }
  return paragraphs;
}

export function parseParagraph(block: string): Paragraph {
  const fields = new Map<string, string>();
  let current: string | undefined;
  let lines: string[] = [];
  const keep = () => {
    if (current !== undefined) fields.set(current, lines.join("\n"));
  };
  for (const line of block.split("\n")) {
    if (line.startsWith("#")) continue;
    if (line.startsWith(" ") || line.startsWith("\t")) {
      lines.push(line.trim());
      continue;
    }
    keep();
    const colon = line.indexOf(":");
    current = colon > 0 ? line.slice(0, colon) : undefined;
    lines = [line.slice(colon + 1).trim()];
  }
  keep();
  return fields;
}

export interface Relation {
  readonly name: string;
  readonly operator?: string;
  readonly version?: string;
}

/** A dependency field: all of the outer list, any one of each inner list. */
export function parseRelations(field: string): Relation[][] {
  return field
    .split(",")
    .map((group) => group.split("|").flatMap((alternative) => parseRelation(alternative.trim())))
    .filter((group) => group.length > 0);
}

function parseRelation(text: string): Relation[] {
  const match = /^([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(<<|<=|=|>=|>>)\s*([^)\s]+)\s*\))?/.exec(
    text,
  );
  if (match?.[1] === undefined) return [];
  const [, name, operator, version] = match;
  return [{ name, ...(operator !== undefined && version !== undefined ? { operator, version } : {}) }];
}

const LONGEST_PARAGRAPH_BYTES = 1024 * 1024;
/** What is kept of one index: Ubuntu's largest have a tenth of that about kernels. */
const MOST = { paragraphs: 200_000, characters: 32 << 20 } as const;

/**
 * Cuts out of a package index, as it comes, only some fields of the paragraphs whose package name has one of the prefixes: an
 * index is 65 MB, and what a farm needs of it is a few hundred kilobytes.
 * @throws FarmError REMOTE_UNAVAILABLE when it has a paragraph longer, or more of them, than any archive needs
 */
export async function selectParagraphs(
  index: AsyncIterable<Buffer> | Iterable<Buffer>,
  prefixes: readonly string[],
  fields: ReadonlySet<string>,
): Promise<Paragraph[]> {
  const selection = new Selection(prefixes, fields);
  let [rest, restBytes] = [[] as Buffer[], 0];
  for await (const chunk of index) {
    const first = chunk.indexOf(BLANK_LINE);
    if (restBytes + (first < 0 ? chunk.length : first) > LONGEST_PARAGRAPH_BYTES) throw tooLong();
    if (first < 0) {
      rest.push(chunk);
      restBytes += chunk.length;
      continue;
    }
    // Only what the seam of two chunks cuts through is copied.
    const last = chunk.lastIndexOf(BLANK_LINE);
    selection.take(Buffer.concat([...rest, chunk.subarray(0, first + 1)]));
    selection.take(chunk.subarray(first, last + 1));
    [rest, restBytes] = [[Buffer.from(chunk.subarray(last + 1))], chunk.length - last - 1];
  }
  selection.take(Buffer.concat(rest));
  return selection.found;
}

/** The wanted paragraphs, within what may be kept of one index. */
class Selection {
  readonly found: Paragraph[] = [];
  readonly #needles: readonly Buffer[];
  readonly #fields: ReadonlySet<string>;
  #characters = 0;

  constructor(prefixes: readonly string[], fields: ReadonlySet<string>) {
    this.#fields = fields;
    this.#needles = prefixes.map((prefix) => Buffer.from(prefix));
  }

  take(paragraphs: Buffer): void {
    for (let at = nextPackage(paragraphs, 0), end = 0; at >= 0; at = nextPackage(paragraphs, end)) {
      end = at;
      if (!this.#needles.some((needle) => standsAt(paragraphs, at, needle))) continue;
      const blank = paragraphs.indexOf(BLANK_LINE, at);
      // A paragraph has one such field: what stands in it once more is not another package.
      end = blank < 0 ? paragraphs.length : blank;
      const text = paragraphs.toString("utf8", at - FIELD.length, end);
      const wanted = copied([...parseParagraph(text)].filter(([field]) => this.#fields.has(field)));
      for (const [field, value] of wanted) this.#characters += field.length + value.length;
      if (this.found.length >= MOST.paragraphs || this.#characters > MOST.characters) throw tooMuch();
      this.found.push(new Map(wanted));
    }
  }
}

const FIELD_LINE = Buffer.from("\nPackage: ");
const FIELD = FIELD_LINE.subarray(1);
const BLANK_LINE = Buffer.from("\n\n");

/** Where the next package name begins, or -1. */
function nextPackage(paragraphs: Buffer, from: number): number {
  if (from === 0 && standsAt(paragraphs, 0, FIELD)) return FIELD.length;
  const at = paragraphs.indexOf(FIELD_LINE, from);
  return at < 0 ? -1 : at + FIELD_LINE.length;
}

/** Byte by byte: most names differ in the first few, and a view of each would cost more than they do. */
function standsAt(bytes: Buffer, at: number, needle: Buffer): boolean {
  for (let i = 0; i < needle.length; i++) if (bytes[at + i] !== needle[i]) return false;
  return true;
}

function tooLong(): FarmError {
  return new FarmError("REMOTE_UNAVAILABLE", {
    detail: `the index has a paragraph of more than ${LONGEST_PARAGRAPH_BYTES} bytes`,
  });
}

function tooMuch(): FarmError {
  return new FarmError("REMOTE_UNAVAILABLE", {
    detail: `the index has more than ${MOST.paragraphs} packages of kernels, or ${MOST.characters} characters about them`,
  });
}
