/** The same for what is one line, or one cell: line ends are spelled out too. */
export function oneLine(text: string): string {
  return visible(text.replaceAll("\n", "\\n").replaceAll("\t", "\\t"));
}

/** Text as a terminal may show it: what would steer the terminal, or turn lines around, is spelled out instead. */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}]/gu, (character) =>
    character === "\n" || character === "\t"
      ? character
      : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
