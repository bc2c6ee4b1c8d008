/**
 * Every origin there is, and the way from a configured source to a tree.
 */
import { FarmError } from "../../base/error.ts";
import { archive } from "./archive.ts";
import { directory } from "./directory.ts";
import { git } from "./git.ts";
import type { FetchedSource, Origin, OriginContext, Place } from "./origin.ts";
import { debianPackage } from "./package.ts";

export const ORIGINS: readonly Origin[] = [directory, archive, git, debianPackage];

/** Brings the source of a version here. @throws FarmError as its origin does */
export async function fetchSource(
  source: Place,
  version: string,
  context: OriginContext,
): Promise<FetchedSource> {
  const place = withVersion(source, version);
  const origin = ORIGINS.find((one) => one.fits(place));
  if (origin === undefined)
    throw new FarmError("BUG", { detail: `no origin takes the source ${JSON.stringify(place)}` });
  return origin.fetch(place, version, context);
}

/** `{version}` stands for the version, wherever it is written. */
export function withVersion(source: Place, version: string): Place {
  if (typeof source === "string") return source.replaceAll("{version}", version);
  const entries = Object.entries(source).map(([name, value]) => [
    name,
    typeof value === "string" ? value.replaceAll("{version}", version) : value,
  ]);
  return Object.fromEntries(entries) as Place;
}
