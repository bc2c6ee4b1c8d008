/**
 * rpm's version order (rpm-version(7)): `[epoch:]version[-release]`, each part cut into runs of digits and
 * letters; `~` sorts before the end, `^` right after it, every other character only separates.
 */

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`. Any two strings compare. */
export function compareRpmVersions(a: string, b: string): number {
  const [x, y] = [split(a), split(b)];
  return (
    comparePart(x.epoch, y.epoch) ||
    comparePart(x.version, y.version) ||
    compareReleases(x.release, y.release)
  );
}

interface Evr {
  readonly epoch: string;
  readonly version: string;
  readonly release: string | undefined;
}

function split(evr: string): Evr {
  const epoch = /^(\d*):/.exec(evr);
  const rest = evr.slice(epoch?.[0].length ?? 0);
  const dash = rest.lastIndexOf("-");
  return {
    epoch: epoch?.[1] || "0",
    version: dash < 0 ? rest : rest.slice(0, dash),
    release: dash < 0 ? undefined : rest.slice(dash + 1),
  };
}

/** A version without a release is older than the same with any, even an empty one. */
function compareReleases(a: string | undefined, b: string | undefined): number {
  if (a !== undefined && b !== undefined) return comparePart(a, b);
  return (a === undefined ? 0 : 1) - (b === undefined ? 0 : 1);
}

/** One run of digits or letters, `~` or `^`, with what separates it from the one before. */
const SEGMENT = /[^A-Za-z0-9~^]*([0-9]+|[A-Za-z]+|[~^])/y;

function comparePart(a: string, b: string): number {
  let [i, j] = [0, 0];
  for (;;) {
    const [m, n] = [segmentAt(a, i), segmentAt(b, j)];
    const difference = compareSegments(m.text, n.text);
    if (difference !== 0 || m.text === "") return difference;
    [i, j] = [m.end, n.end];
  }
}

function segmentAt(text: string, start: number): { readonly text: string; readonly end: number } {
  SEGMENT.lastIndex = start;
  return { text: SEGMENT.exec(text)?.[1] ?? "", end: SEGMENT.lastIndex };
}

function compareSegments(a: string, b: string): number {
  const [x, y] = [rank(a), rank(b)];
  if (x !== y) return x - y;
  if (x !== NUMBER) return a < b ? -1 : a > b ? 1 : 0;
  const [m, n] = [a.replace(/^0+/, ""), b.replace(/^0+/, "")];
  if (m.length !== n.length) return m.length - n.length;
  return m < n ? -1 : m > n ? 1 : 0;
}

const NUMBER = 4;

/** `~` before the end before `^` before letters before digits. */
function rank(segment: string): number {
  if (segment === "") return 1;
  if (segment === "~") return 0;
  if (segment === "^") return 2;
  return segment.charCodeAt(0) <= 0x39 ? NUMBER : 3;
}
