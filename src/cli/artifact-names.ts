/**
 * Artifacts of a store, by the words that people have for them: a path of the view, or whole parts of one.
 */
import { didYouMean } from "../base/closest.ts";
import { FarmError } from "../base/error.ts";
import type { Listed } from "../registry/standing.ts";
import { viewPath } from "../registry/view-path.ts";

/**
 * All that words name. Where one place has a stable artifact and a newer candidate, both are meant, unless the words
 * begin with `stable/` or `candidate/`.
 * @throws FarmError ARTIFACT_UNKNOWN
 */
export function artifactsNamed(listed: readonly Listed[], words: string): Listed[] {
  const [, only, rest = ""] = /^(?:(stable|candidate)\/)?(.*)$/.exec(words.replace(/^\/+|\/+$/g, "")) ?? [];
  const wanted = `/${rest}/`;
  const fitting = listed.filter(({ entry, channel }) => {
    const path = viewPath(entry);
    // With the package's version or without.
    const isMeant = [`/${path}/`, `/${path.replace(/_[^/]*$/, "")}/`].some((one) => one.includes(wanted));
    return isMeant && (only === undefined || channel === only);
  });
  if (fitting.length > 0) return fitting;
  throw new FarmError("ARTIFACT_UNKNOWN", {
    detail: `the store has no artifact named ${words}${likelyName(listed, rest)}`,
  });
}

/** What the only part of a name that no artifact has may mean. */
function likelyName(listed: readonly Listed[], words: string): string {
  const known = new Set(listed.flatMap(({ entry }) => [...viewPath(entry).split("/"), leafOf(entry)]));
  const [strange, ...others] = words.split("/").filter((part) => !known.has(part));
  return strange === undefined || others.length > 0 ? "" : didYouMean(strange, [...known]);
}

/** The kernel without its package's version, which few people write. */
function leafOf(entry: Listed["entry"]): string {
  return (viewPath(entry).split("/").at(-1) ?? "").replace(/_[^/]*$/, "");
}

/**
 * The only one that words name.
 * @throws FarmError ARTIFACT_UNKNOWN, ARTIFACT_AMBIGUOUS naming the candidates
 */
export function artifactNamed(listed: readonly Listed[], words: string): Listed {
  const found = artifactsNamed(listed, words);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const isOnePlace = new Set(found.map(({ entry }) => viewPath(entry))).size === 1;
  throw new FarmError("ARTIFACT_AMBIGUOUS", {
    detail: `'${words}' may mean any of ${namesOf(found, isOnePlace)}`,
    ...(isOnePlace ? { hint: "Put stable/ or candidate/ before its name." } : {}),
  });
}

/** The first few by name. */
export function namesOf(found: readonly Listed[], hasChannels = false): string {
  const some = found
    .slice(0, MOST_NAMED)
    .map(({ entry, channel }) => viewPath(entry).replace(/^view\//, hasChannels ? `${channel}/` : ""));
  return `${some.join(", ")}${found.length > MOST_NAMED ? ` and ${found.length - MOST_NAMED} more` : ""}`;
}

const MOST_NAMED = 6;
