/** Which of some words a misspelt one may mean. */

/** The words with how far each is from what was written: 0 for the same, 1 for one that begins with it; closest first. */
export function closest(key: string, words: readonly string[]) {
  return words
    .map((word) => ({
      word,
      distance: word === key ? 0 : word.startsWith(key) ? 1 : editDistance(word, key),
    }))
    .toSorted((a, b) => a.distance - b.distance);
}

/** A word that was most likely meant, as it stands behind a message: ` (did you mean 'generic'?)`. */
export function didYouMean(written: string, words: readonly string[]): string {
  const [near] = closest(written, words);
  return near === undefined || near.distance > 3 || near.distance >= written.length
    ? ""
    : ` (did you mean '${near.word}'?)`;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
