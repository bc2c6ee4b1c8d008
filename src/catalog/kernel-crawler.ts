/**
 * kernel-crawler's list (github.com/falcosecurity/kernel-crawler, Apache-2.0): `{distribution: [entry, …]}`
 * with `kernelversion`, `kernelrelease`, `target` and `headers` or `kernelconfigdata`. Distributions are
 * CamelCase until late 2023 and os-release ids since. Read as it comes, written always the same.
 */
import { z } from "zod";
import { describeIssue } from "../base/json.ts";
import { urlOf } from "../base/url.ts";
import { readJsonLists } from "../formats/json-lists.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import type { CrawlerName } from "../kernel/distributions/distribution.ts";
import { parseHeaderUrl } from "../kernel/header-file.ts";
import type { Package } from "../kernel/kernel.ts";
import { PathSegment } from "../kernel/path-segment.ts";
import { distributionOfTarget, partsOfRelease } from "../kernel/release-rules.ts";
import type { Catalog, CatalogKernel } from "./catalog.ts";
import { crawlerKey, type KernelList, ListCollector, type ListOptions } from "./kernel-list.ts";
import type { ListEntry } from "./list-entry.ts";

const URL_COUNT_LIMIT = 100;
const Urls = z.array(z.string()).max(URL_COUNT_LIMIT);

/** Ten times the largest header package: how long a build waits for one must not be for a list to say. */
const PACKAGE_LIMIT_BYTES = 1024 ** 3;

/** Only the fields we use; the last four are those of richer lists of ours. */
const Entry = z.object({
  kernelversion: z.union([z.int().nonnegative().transform(String), PathSegment]),
  kernelrelease: PathSegment,
  target: PathSegment,
  headers: z.union([z.string().transform((url) => [url]), Urls]).nullish(),
  kernelconfigdata: z.base64().min(1).nullish(),
  distro_version: PathSegment.optional(),
  gcc_major: z.int().positive().optional(),
  files: z
    .array(
      z.object({
        url: z.string(),
        size: z.int().nonnegative().max(PACKAGE_LIMIT_BYTES),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
    )
    .max(URL_COUNT_LIMIT)
    .optional(),
});

/** @throws FarmError DOCUMENT_INVALID for what is no list at all; bad entries are dropped and counted */
export async function readKernelCrawler(
  chunks: AsyncIterable<Uint8Array>,
  options: ListOptions,
): Promise<KernelList> {
  const collector = new ListCollector(options);
  for await (const item of readJsonLists(chunks, options.url)) {
    const where = `${JSON.stringify(item.list.slice(0, 40))}[${item.index}]`;
    if (item.kind === "bad") {
      collector.drop(item.reason, where);
      continue;
    }
    const parsed = Entry.safeParse(item.value);
    if (parsed.success) collector.add(toListEntry(parsed.data), where);
    else collector.drop(describeIssue(parsed.error).replace(/ \(and \d+ more\)$/, ""), where);
  }
  return collector.finish("kernel-crawler");
}

function toListEntry({ headers, kernelconfigdata, ...entry }: z.infer<typeof Entry>): ListEntry {
  const { target, kernelrelease, kernelversion, distro_version, gcc_major, files } = entry;
  return {
    ...{ target, kernelrelease, kernelversion },
    headers: headers ?? [],
    ...(kernelconfigdata == null ? {} : { kernelconfigdata }),
    distributionVersion: distro_version,
    compiler:
      gcc_major === undefined ? undefined : { family: "gcc", version: `${gcc_major}`, source: "package" },
    files: new Map(
      files?.map(({ url, size, sha256 }) => [parseHeaderUrl(url)?.url ?? url, { size, sha256 }]),
    ),
  };
}

/** The kernels of one architecture as kernel-crawler writes them; the same catalog gives the same bytes. */
export function exportKernelCrawler(catalog: Catalog, architecture: ArchitectureName): string {
  const mirrors = new Map(catalog.sources.map(({ id, url }) => [id, url]));
  const kernels = catalog.kernels.filter((kernel) => kernel.architecture === architecture);
  const entries = Map.groupBy(kernels, (kernel) => crawlerKey(crawlerNameOf(kernel)));
  const lists = new Map<string, object[]>();
  for (const [, members] of [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const { target, kernelrelease, kernelversion, kernelconfigdata } = crawlerNameOf(
      members[0] as CatalogKernel,
    );
    const headers = headerUrlsOf(members, mirrors);
    const list = lists.get(listOfTarget(target)) ?? [];
    lists.set(listOfTarget(target), list);
    list.push({
      ...{ kernelversion, kernelrelease, target },
      ...(headers.length === 0 ? {} : { headers }),
      ...(kernelconfigdata === undefined ? {} : { kernelconfigdata }),
    });
  }
  const sorted = [...lists].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n`;
}

/** Where the header packages of kernels lie, as whole URLs, each once. */
export function headerUrlsOf(
  kernels: readonly Pick<CatalogKernel, "packages" | "crawler">[],
  mirrors: ReadonlyMap<string, string>,
): string[] {
  const urls = kernels.flatMap(({ packages, crawler }) => [
    ...packages.headers.flatMap((one) => urlOfPackage(one, mirrors)),
    ...(crawler?.urls ?? []),
  ]);
  return [...new Set(urls)].sort();
}

function urlOfPackage({ path, source }: Package, mirrors: ReadonlyMap<string, string>): string[] {
  if (/^https?:\/\//.test(path)) return [path];
  const mirror = mirrors.get(source);
  return mirror === undefined ? [] : [urlOf(mirror, path)];
}

/** What a list calls a kernel, or would. */
export function crawlerNameOf(kernel: CatalogKernel): CrawlerName {
  if (kernel.crawler !== undefined) return kernel.crawler;
  const { kversion, packageVersion, architecture, flavour, distribution } = kernel;
  const { id } = partsOfRelease(distribution);
  const name = (target: string, kernelrelease: string, kernelversion = "1") => ({
    ...{ target, kernelrelease, kernelversion },
  });
  if (id === "debian") {
    const tail = /-((?:[a-z][a-z0-9-]*-)?(?:amd64|arm64)(?:-.+)?)$/.exec(kversion)?.[1] ?? architecture;
    return name("debian", `${packageVersion}-${tail}`);
  }
  if (id === "ubuntu") {
    const upload = /^[\d.]+-\d+\.(.+)$/.exec(packageVersion)?.[1] ?? "1";
    return name(`ubuntu-${flavour}`, kversion, upload);
  }
  if (id === "amzn") return name(distribution.replace(/x1$/, "x"), kversion);
  if (id === "photon" || id.startsWith("opensuse"))
    return name(id.replace(/-.*/, ""), `${packageVersion}.${architecture}`);
  return name(id === "rhel" ? "redhat" : id, id === "arch" ? packageVersion : kversion);
}

/** kernel-crawler's key of the list that a target's entries stand in. */
function listOfTarget(target: string): string {
  const id = distributionOfTarget(target);
  if (id === "amazonlinux") return target;
  return id === "rhel" ? "redhat" : id;
}
