/** Version strings: random ones that mislead comparators, and the real ones of the lists beside the checkout. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { sharedFile } from "./shared.ts";

/** A number as it stands in versions: often small, often with zeros before it. */
export const digits = fc
  .tuple(fc.constantFrom("", "", "0", "00"), fc.nat(300))
  .map(([zeros, n]) => `${zeros}${n}`);

/** Two versions that mostly differ little, as unrelated ones are decided by their first number. */
export function similarPairs(
  version: fc.Arbitrary<string>,
  words: fc.Arbitrary<string>,
): fc.Arbitrary<[string, string]> {
  return fc.oneof(
    fc.tuple(version, version),
    fc.tuple(version, words, digits).map(([v, word, n]): [string, string] => [v, `${v}${word}${n}`]),
    fc
      .tuple(version, fc.nat(20))
      .map(([v, at]): [string, string] => [v, `${v.slice(0, at)}${v.slice(at).replace(/\d/, "0$&")}`]),
  );
}

/** Every header URL of the real lists, or none where the lists are not. */
export function realUrls(): string[] {
  return ["kernel-crawler", "catalogs", "driverkit-configs"].flatMap((folder) => {
    const directory = sharedFile(`data/${folder}`);
    if (!existsSync(directory)) return [];
    return readdirSync(directory)
      .filter((name) => /\.(json(\.gz)?|yaml)$/.test(name))
      .flatMap((name) => urlsIn(readFileSync(`${directory}/${name}`), name.endsWith(".gz")));
  });
}

function urlsIn(bytes: Buffer, isCompressed: boolean): string[] {
  const text = (isCompressed ? gunzipSync(bytes) : bytes).toString("utf8");
  return text.match(/https?:\/\/[^"\s]+\.(?:deb|rpm)\b/g) ?? [];
}

export interface RealName {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

/** What the file names of packages say, each once: `name_version_arch.deb`, `name-version-release.arch.rpm`. */
export function realNames(format: "deb" | "rpm"): RealName[] {
  const expression =
    format === "deb" ? /\/([^/_]+)_([^/_]+)_([^/_.]+)\.deb$/ : /\/([^/]+?)-([^/-]+-[^/-]+)\.([^/.]+)\.rpm$/;
  const files = new Set(realUrls().map((url) => decodeURIComponent(url.slice(url.lastIndexOf("/")))));
  return [...files].flatMap((file) => {
    const [, name, version, architecture] = expression.exec(file) ?? [];
    return name === undefined || version === undefined || architecture === undefined
      ? []
      : [{ name, version, architecture }];
  });
}

/** The distinct real versions, in their order; neighbours in it are the pairs that matter. */
export function neighbours(
  versions: Iterable<string>,
  compare: (a: string, b: string) => number,
): [string, string][] {
  const sorted = [...new Set(versions)].toSorted(compare);
  return sorted.slice(1).map((version, index) => [sorted[index] as string, version]);
}
