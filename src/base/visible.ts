/**
 * Words of strangers on a terminal, or in a log: what would steer it is shown, and not obeyed.
 */

/**
 * What steers a terminal, turns lines around, or is a command to a CI runner that reads the log: `##[` and `##vso[` anywhere,
 * `::` at the beginning of a line.
 */
const STEERING = /[\p{Cc}\p{Bidi_Control}]|(?<=#)#(?=[\w.]*\[)|(?<=^[^\S\n]*):(?=:)/gmu;

/** As `visible`, for what is one line, or one cell: line ends are spelled out too. */
export function oneLine(text: string): string {
  return visible(text.replaceAll("\n", "\\n").replaceAll("\t", "\\t"));
}

/** Text as a terminal may show it: what would steer the terminal, or turn lines around, is spelled out instead. */
export function visible(text: string): string {
  return text.replace(STEERING, (character) =>
    character === "\n" || character === "\t"
      ? character
      : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/**
 * JSON as a terminal may show it, with the same meaning for every parser: inside of strings JSON has escapes of
 * its own, and outside of them it has none of that but line ends.
 */
export function visibleJson(json: string): string {
  return json.replace(STEERING, (character) =>
    character === "\n" ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
