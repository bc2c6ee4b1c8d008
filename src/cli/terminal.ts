/**
 * What the other end of a stream can show: how much, in colour or not, redrawn or line by line.
 */

/** The parts of a stream that say what is behind it. */
export interface Shown {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Of a terminal that does not say, such as one whose size is 0, what terminals usually are. */
export function sizeOf({ columns, rows }: Shown): Size {
  return { columns: columns || 80, rows: rows || 24 };
}

/** Whether lines can be drawn again. A dumb terminal knows no codes at all. */
export function isLive(stream: Shown, environment: Environment = process.env): boolean {
  return stream.isTTY === true && environment.TERM !== "dumb";
}

/** Whether colours are wanted, as https://no-color.org has it. */
export function isColourful(stream: Shown, environment: Environment = process.env): boolean {
  return isLive(stream, environment) && (environment.NO_COLOR ?? "") === "";
}

/** Where runs are watched by a CI system, whose pages know groups and annotations if it is GitHub's. */
export function isOnGithub(environment: Environment = process.env): boolean {
  return environment.GITHUB_ACTIONS === "true";
}

/** Cut to a width, with `…` for what is left out. */
export function cut(text: string, width: number): string {
  const characters = Array.from(text);
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join("")}…`;
}

/** Lines that are wider than that, broken between words; what follows is indented more than what was broken. */
export function wrapped(text: string, width: number): string {
  return text
    .split("\n")
    .map((line) => wrappedLine(line, width))
    .join("\n");
}

function wrappedLine(line: string, width: number): string {
  if (Array.from(line).length <= width) return line;
  const margin = `${/^ */.exec(line)?.[0].slice(0, width / 2) ?? ""}  `;
  const lines: string[] = [];
  let rest = line;
  while (Array.from(rest).length > width) {
    const least = lines.length === 0 ? /^ */.exec(line)?.[0].length : margin.length;
    const at = rest.lastIndexOf(" ", width);
    // A path or a URL stays in one piece, for whoever copies it.
    const end = at > (least ?? 0) ? at : rest.indexOf(" ", width);
    if (end < 0) break;
    lines.push(rest.slice(0, end).trimEnd());
    rest = `${margin}${rest.slice(end).trimStart()}`;
  }
  return [...lines, rest].join("\n");
}

const COLOURS = { red: 31, green: 32, yellow: 33, dim: 2 } as const;

/** What words are good news, bad news, or neither. */
const WORDS: Readonly<Record<string, keyof typeof COLOURS>> = {
  ...Object.fromEntries(["failed", "fail", "damaged", "NO", "withdrawn"].map((word) => [word, "red"])),
  ...Object.fromEntries(["published", "stable", "pass", "ok"].map((word) => [word, "green"])),
  ...Object.fromEntries(["candidate", "unknown", "untested", "waived"].map((word) => [word, "yellow"])),
  ...Object.fromEntries(["excluded", "notApplicable", "unfetchable"].map((word) => [word, "dim"])),
} as const;

/** A cell of a table that begins with one of the words, or a line that does. */
const WORD_IN_CELL = new RegExp(`(^| {2,})(${Object.keys(WORDS).join("|")})(?=[ :;,]|$)`, "gm");

/** Colours the words that say how something went, where they begin a line or stand in a column of their own. */
export function painted(text: string): string {
  return text.replaceAll(WORD_IN_CELL, (_, before: string, word: string) => {
    const colour = WORDS[word];
    return colour === undefined ? `${before}${word}` : `${before}\u001b[${COLOURS[colour]}m${word}\u001b[0m`;
  });
}
