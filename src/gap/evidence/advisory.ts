/** E4: what a distribution itself says of a CVE in its kernel packages. */
import { largest } from "../../base/extremes.ts";
import type { Advised, SourcedAdvisory } from "../book.ts";
import type { Target } from "../target.ts";
import type { Evidence } from "../verdict.ts";

/** Whether an advisory is about the package and the distribution release of a kernel: `almalinux9` is about 9.6 too. */
export function speaksOf({ release, package: name }: Advised, { distribution, packages }: Target): boolean {
  if (distribution === undefined || !packages.includes(name)) return false;
  return distribution === release || distribution.startsWith(`${release}.`);
}

/**
 * What advisories that speak of the kernel say of one CVE. Each feed speaks with one voice: what it says of the stream of
 * the kernel counts more than what it says of the whole release, and the first of several versions with the fix is enough.
 */
export function advisoryEvidence(advisories: readonly SourcedAdvisory[], target: Target): Evidence[] {
  const feeds = Map.groupBy(advisories, ({ feed }) => feed);
  return [...feeds.values()].flatMap((own) => {
    const closest = largest(own.map(({ advisory }) => advisory.release.length));
    const evidence = own
      .filter(({ advisory }) => advisory.release.length === closest)
      .flatMap((one) => evidenceOf(one, target));
    return evidence.some(({ says }) => says === "fixed")
      ? evidence.filter(({ says }) => says !== "affected")
      : evidence;
  });
}

function evidenceOf(
  { advisory, feed, date }: SourcedAdvisory,
  { packageVersion, compareVersions }: Target,
): Evidence[] {
  const { status, version, published, livepatch } = advisory;
  // It says nothing of kernels without it: nodes that have the patch report it themselves.
  if (livepatch === true) return [];
  const source = {
    ...({ id: "E4", ref: advisory.id, feed } as const),
    ...(published === undefined ? {} : { day: published }),
    ...(date === undefined ? {} : { feedDate: date }),
  };
  if (status === "not_affected") return [{ ...source, says: "not_affected" }];
  if (status === "under_investigation") return [{ ...source, says: "unassessed" }];
  if (status !== "fixed") return [{ ...source, says: "affected" }];
  if (version === undefined || packageVersion === undefined || compareVersions === undefined) return [];
  const isFixed = compareVersions(packageVersion, version) >= 0;
  return [{ ...source, says: isFixed ? "fixed" : "affected", fixedIn: version }];
}
