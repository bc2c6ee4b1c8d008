/**
 * Debian's version order (deb-version(7)): `[epoch:]upstream[-revision]`, each part compared in turns of
 * non-digits and digits, `~` before everything, even before the end.
 */

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`. Any two strings compare. */
export function compareDebVersions(a: string, b: string): number {
  const [x, y] = [split(a), split(b)];
  return (
    compareNumbers(x.epoch, y.epoch) ||
    comparePart(x.upstream, y.upstream) ||
    comparePart(x.revision, y.revision)
  );
}

function split(version: string): { epoch: string; upstream: string; revision: string } {
  const colon = version.indexOf(":");
  const rest = colon < 0 ? version : version.slice(colon + 1);
  const dash = rest.lastIndexOf("-");
  return {
    epoch: colon < 0 ? "0" : version.slice(0, colon),
    upstream: dash < 0 ? rest : rest.slice(0, dash),
    revision: dash < 0 ? "" : rest.slice(dash + 1),
  };
}

function comparePart(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a[i])) || (j < b.length && !isDigit(b[j]))) {
      const difference = weight(a[i]) - weight(b[j]);
      if (difference !== 0) return difference;
      if (i < a.length) i++;
      if (j < b.length) j++;
    }
    const [m, n] = [digitsFrom(a, i), digitsFrom(b, j)];
    const difference = compareNumbers(m, n);
    if (difference !== 0) return difference;
    i += m.length;
    j += n.length;
  }
  return 0;
}

/** Order of one character among non-digits: `~`, the end (or a digit), letters, everything else. */
function weight(character: string | undefined): number {
  if (character === undefined || isDigit(character)) return 0;
  if (character === "~") return -1;
  const code = character.charCodeAt(0);
  return /[A-Za-z]/.test(character) ? code : code + 256;
}

function isDigit(character: string | undefined): boolean {
  return character !== undefined && character >= "0" && character <= "9";
}

function digitsFrom(text: string, start: number): string {
  let end = start;
  while (isDigit(text[end])) end++;
  return text.slice(start, end);
}

/** Compares digit strings of any length; the empty one is zero. */
function compareNumbers(a: string, b: string): number {
  const [x, y] = [a.replace(/^0+/, ""), b.replace(/^0+/, "")];
  if (x.length !== y.length) return x.length - y.length;
  return x < y ? -1 : x > y ? 1 : 0;
}
