/**
 * Every distribution there is, and the way from a release key to its member.
 */
import { didYouMean } from "../../base/closest.ts";
import { FarmError } from "../../base/error.ts";
import { compareDebVersions } from "../deb-version.ts";
import { almalinux } from "./almalinux.ts";
import { amazonlinux2 } from "./amazonlinux2.ts";
import { amazonlinux2023 } from "./amazonlinux2023.ts";
import { centos } from "./centos.ts";
import { debian } from "./debian.ts";
import type {
  DebDistribution,
  DebRelease,
  Distribution,
  RpmDistribution,
  RpmRelease,
} from "./distribution.ts";
import { fedora } from "./fedora.ts";
import { oracle } from "./oracle.ts";
import { rhel } from "./rhel.ts";
import { rocky } from "./rocky.ts";
import { ubuntu } from "./ubuntu.ts";

export const DISTRIBUTIONS: readonly Distribution[] = [
  debian,
  ubuntu,
  fedora,
  rhel,
  almalinux,
  rocky,
  centos,
  oracle,
  amazonlinux2,
  amazonlinux2023,
];

export type KnownRelease =
  | { readonly format: "deb"; readonly distribution: DebDistribution; readonly release: DebRelease }
  | { readonly format: "rpm"; readonly distribution: RpmDistribution; readonly release: RpmRelease };

const LISTED: ReadonlyMap<string, KnownRelease> = new Map(
  DISTRIBUTIONS.flatMap(releasesOf).map((known) => [known.release.key, known]),
);

function releasesOf(distribution: Distribution): KnownRelease[] {
  return distribution.format === "deb"
    ? distribution.releases.map((release) => ({ format: "deb", distribution, release }))
    : distribution.releases.map((release) => ({ format: "rpm", distribution, release }));
}

/** The release that a key (`debian12`) names, or undefined. */
export function findRelease(key: string): KnownRelease | undefined {
  const listed = LISTED.get(key);
  if (listed !== undefined) return listed;
  for (const distribution of DISTRIBUTIONS) {
    if (!key.startsWith(distribution.id)) continue;
    const found = releaseOf(distribution, key.slice(distribution.id.length));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether the kernels of a release (`almalinux9.4`) or distribution (`almalinux`) keep an ABI. */
export function keepsAbi(name: string): boolean {
  const distribution = findRelease(name)?.distribution ?? DISTRIBUTIONS.find(({ id }) => id === name);
  return distribution?.keepsAbi ?? false;
}

/** A release that is newer than this program. */
function releaseOf(distribution: Distribution, version: string): KnownRelease | undefined {
  if (distribution.format === "deb") {
    const release = distribution.releaseOf?.(version);
    return release === undefined ? undefined : { format: "deb", distribution, release };
  }
  const release = distribution.releaseOf?.(version);
  return release === undefined ? undefined : { format: "rpm", distribution, release };
}

/** @throws FarmError CONFIG_INVALID with the likely release, or those of its distribution */
export function requireRelease(key: string): KnownRelease {
  const known = findRelease(key);
  if (known !== undefined) return known;
  throw new FarmError("CONFIG_INVALID", { detail: noRelease(key) });
}

/** What to say of a key that names no release. */
export function noRelease(key: string): string {
  const all = [...LISTED.values()];
  const called = all.find(({ format, release }) => format === "deb" && release.codename === key);
  if (called !== undefined)
    return `'${key}' is not a distribution release (did you mean '${called.release.key}'?)`;
  const keys = all.map(({ release }) => release.key);
  const wanted = nameOf(key) || key;
  // All releases would fill a screen.
  const family = all.filter(
    ({ distribution, release }) => release.key.startsWith(wanted) || distribution.id === wanted,
  );
  const choice =
    family.length > 0
      ? `there are ${family.map(({ release }) => release.key).join(", ")}`
      : `a key is a distribution's name and version, of ${[...new Set(keys.map(nameOf))].join(", ")}`;
  return `'${key}' is not a distribution release${didYouMean(key, keys)}; ${choice}`;
}

/** `debian` of `debian12` */
function nameOf(key: string): string {
  return key.replace(/[\d.].*$/s, "");
}

type Order = (a: string, b: string) => number;
const orders = new Map<string, Order>();

/** The order of a distribution release's package versions; Debian's if the release is unknown. */
export function versionOrder(key: string): Order {
  const known = orders.get(key);
  if (known !== undefined) return known;
  const order = findRelease(key)?.distribution.compareVersions ?? compareDebVersions;
  if (orders.size < 10_000) orders.set(key, order);
  return order;
}
