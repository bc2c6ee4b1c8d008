/**
 * Which of two versions of a driver is older: as far as a shell on a node can tell, by the numbers that they begin with.
 * `1.10.0+deb1` is newer than `1.9`; what begins with no number is older than everything.
 */

export function compareVersions(a: string, b: string): number {
  const [left, right] = [numbersOf(a), numbersOf(b)];
  if (left.length === 0 || right.length === 0) return Math.sign(left.length - right.length);
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}

/** Whether nodes may not use a version any more. */
export function isBelow(version: string, floor: string | undefined): boolean {
  return floor !== undefined && compareVersions(version, floor) < 0;
}

function numbersOf(version: string): number[] {
  const leading = /^\d{1,9}(?:\.\d{1,9})*/.exec(version)?.[0];
  return leading === undefined ? [] : leading.split(".").map(Number);
}
