/**
 * What can be known of a dkms.conf without running it. It is a shell script, and what it says in the end only a shell
 * tells, where that can do no harm; this is for what must be known before.
 */

/** Many times the longest there is. */
const TEXT_LIMIT = 256 * 1024;
const MOST_INDEX = 999;
/** A word that no shell would have to fill in, in its quotes or without. */
const WORD = /"[^"$`\\]*"|'[^']*'|[\w.+~:@%/,-]+/;
const VALUE = new RegExp(`(?<list>\\([^()$\`]*\\))|(?<word>${WORD.source})`);

/**
 * The values of a directive, by its places, as far as they are written out: `NAME=a`, `NAME[1]="b"`, `NAME=('c' "d")`.
 * Conditions are not looked at. What a shell would have to fill in is left out.
 */
export function plainValues(text: string, directive: string): string[] {
  const assignment = new RegExp(
    `^\\s*(?:export\\s+)?${directive}(?:\\[(?<index>\\d{1,3})\\])?=(?:${VALUE.source})\\s*(?:[;#].*)?$`,
  );
  const lines = text.slice(0, TEXT_LIMIT).replaceAll("\r\n", "\n").replaceAll("\\\n", "").split("\n");
  const values = new Map<number, string>();
  for (const line of lines) {
    const { index = "0", list, word } = assignment.exec(line)?.groups ?? {};
    if (word !== undefined) values.set(Number(index), unquoted(word));
    if (list === undefined) continue;
    values.clear();
    const words = [...list.matchAll(new RegExp(WORD, "g"))].slice(0, MOST_INDEX);
    for (const [place, [item]] of words.entries()) values.set(place, unquoted(item));
  }
  const sorted = [...values].toSorted(([a], [b]) => a - b);
  return sorted.map(([, value]) => value).filter((value) => value !== "");
}

function unquoted(word: string): string {
  return /^["']/.test(word) ? word.slice(1, -1) : word;
}
