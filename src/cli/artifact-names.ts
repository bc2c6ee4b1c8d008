/**
 * Artifacts of a store, by the words that people have for them: a path of the view, or whole parts of one.
 */
import { FarmError } from "../base/error.ts";
import type { IndexEntry } from "../registry/documents.ts";
import { viewPath } from "../registry/view.ts";

interface Named {
  readonly entry: IndexEntry;
}

/**
 * All that words name. Where one place has a stable artifact and a newer candidate, both are meant.
 * @throws FarmError ARTIFACT_UNKNOWN
 */
export function artifactsNamed<T extends Named>(listed: readonly T[], words: string): T[] {
  const wanted = `/${words.replace(/^\/+|\/+$/g, "")}/`;
  const fitting = listed.filter(({ entry }) => {
    const path = viewPath(entry);
    // With the package's version or without.
    return [`/${path}/`, `/${path.replace(/_[^/]*$/, "")}/`].some((one) => one.includes(wanted));
  });
  if (fitting.length > 0) return fitting;
  throw new FarmError("ARTIFACT_UNKNOWN", { detail: `the store has no artifact of the name ${words}` });
}

/**
 * The only one that words name.
 * @throws FarmError ARTIFACT_UNKNOWN, ARTIFACT_AMBIGUOUS naming the candidates
 */
export function artifactNamed<T extends Named>(listed: readonly T[], words: string): T {
  const found = artifactsNamed(listed, words);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const some = found.slice(0, 6).map(({ entry }) => viewPath(entry).replace(/^view\//, ""));
  throw new FarmError("ARTIFACT_AMBIGUOUS", { detail: `'${words}' may be any of ${some.join(", ")}` });
}
