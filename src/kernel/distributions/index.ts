/**
 * Every distribution there is, and the way from a release key to its member.
 */
import { FarmError } from "../../base/error.ts";
import { debian } from "./debian.ts";
import type { Distribution, Release } from "./distribution.ts";

export const DISTRIBUTIONS: readonly Distribution[] = [debian];

export interface KnownRelease {
  readonly distribution: Distribution;
  readonly release: Release;
}

/** The release that a key (`debian12`) names, or undefined. */
export function findRelease(key: string): KnownRelease | undefined {
  for (const distribution of DISTRIBUTIONS) {
    const release = distribution.releases.find((known) => known.key === key);
    if (release !== undefined) return { distribution, release };
  }
  return undefined;
}

/** @throws FarmError CONFIG_INVALID naming the releases there are */
export function requireRelease(key: string): KnownRelease {
  const known = findRelease(key);
  if (known !== undefined) return known;
  const keys = DISTRIBUTIONS.flatMap((distribution) => distribution.releases.map((release) => release.key));
  throw new FarmError("CONFIG_INVALID", {
    detail: `'${key}' is not a distribution release; there are ${keys.join(", ")}`,
  });
}
