/**
 * Debian's control file format (deb822(5)): paragraphs of `Field: value` with continuation lines.
 */

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
  for (const line of block.split("\n")) {
    if (line.startsWith("#")) continue;
    if (/^[ \t]/.test(line)) {
      if (current !== undefined) fields.set(current, `${fields.get(current)}\n${line.trim()}`);
      continue;
    }
    const colon = line.indexOf(":");
    current = colon > 0 ? line.slice(0, colon) : undefined;
    if (current !== undefined) fields.set(current, line.slice(colon + 1).trim());
  }
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

/**
 * Cuts out of a package index only the paragraphs whose package name has one of the prefixes: an index is
 * 65 MB, and what a farm needs of it is a few hundred kilobytes.
 */
export function selectParagraphs(index: Buffer, prefixes: readonly string[]): Paragraph[] {
  const found: Paragraph[] = [];
  const needles = prefixes.map((prefix) => Buffer.from(prefix));
  for (let at = nextPackage(index, 0); at >= 0; at = nextPackage(index, at)) {
    if (!needles.some((needle) => index.subarray(at, at + needle.length).equals(needle))) continue;
    const end = index.indexOf("\n\n", at);
    found.push(parseParagraph(index.toString("utf8", at - FIELD.length, end < 0 ? index.length : end)));
  }
  return found;
}

const FIELD = "Package: ";

/** Where the next package name begins, or -1. */
function nextPackage(index: Buffer, from: number): number {
  if (from === 0 && index.indexOf(FIELD) === 0) return FIELD.length;
  const at = index.indexOf(`\n${FIELD}`, from);
  return at < 0 ? -1 : at + 1 + FIELD.length;
}
