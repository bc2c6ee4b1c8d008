/**
 * One row of the matrix: a driver version for a kernel. The six keys of the original pipeline keep their names.
 */
// The one function of it: the whole package is 47 files to read at every start.
import parseVersion from "semver/functions/parse.js";
import { z } from "zod";
import { urlOf } from "../base/url.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import { Compiler, type KernelId, Package } from "../kernel/kernel.ts";
import { leafOf } from "../kernel/nameable.ts";
import { isPathSegment, PathSegment, pathSegment } from "../kernel/path-segment.ts";

/** `<series>/<distribution>/<architecture>/<leaf>`, each a safe name: it becomes a path of the view. */
export const OutputPath = z
  .string()
  .refine((path) => path.split("/").length === 4 && path.split("/").every(isPathSegment), {
    error: "is not four safe names with / between them",
  });

export const Element = z.object({
  /** `uname -r` */
  kversion: PathSegment,
  /** Distribution release key: `debian12` */
  distribution: PathSegment,
  architecture: ArchitectureName,
  /** Where the header packages lay when the element was made: the way out when a mirror purges them. */
  kernelurls: z.array(z.url({ protocol: /^https?$/ })),
  /** Place below the view of its driver: `<series>/<distribution>/<architecture>/<leaf>` */
  output: OutputPath,
  driverversion: PathSegment,
  driver: PathSegment,
  packageVersion: z.string(),
  flavour: PathSegment,
  /** os-release's ID and VERSION_ID. */
  distributionId: z.string(),
  distributionVersion: z.string(),
  packages: z.object({
    headers: z.array(Package),
    crossTools: z.array(Package),
    image: z.array(Package),
    modules: z.array(Package),
  }),
  compiler: Compiler.optional(),
  /** Digest of everything that determines the output's bytes; absent while that cannot be known. */
  recipe: z.string().optional(),
});
export type Element = z.infer<typeof Element>;

/** A stored matrix; every reader also accepts the bare array that `matrix generate` prints. */
export const Matrix = z.object({
  schema: z.literal("kmodfarm.matrix/1"),
  generatedAt: z.iso.datetime(),
  elements: z.array(Element),
});
export type Matrix = z.infer<typeof Matrix>;
export const AnyMatrix = z.union([Matrix.transform((matrix) => matrix.elements), z.array(Element)]);

/** A patch release does not move a driver's place: `0.1.1` lives in the series `0.1.0`. */
export function seriesOf(version: string, configured?: string): string {
  if (configured !== undefined) return pathSegment(configured, "series");
  const parsed = parseVersion(version);
  return parsed === null ? pathSegment(version, "driver version") : `${parsed.major}.${parsed.minor}.0`;
}

/** Where an element's artifact lies below its driver. @throws FarmError UNSAFE_NAME */
export function outputOf(series: string, kernel: KernelId): string {
  return `${series}/${kernel.distribution}/${kernel.architecture}/${pathSegment(leafOf(kernel), "kernel")}`;
}

/** What an element is, whatever its content: two elements of one key are the same wish at different times. */
export function elementKey(element: Element): string {
  const series = element.output.split("/")[0];
  return [
    element.driver,
    series,
    element.distribution,
    element.architecture,
    element.kversion,
    element.packageVersion,
  ].join("/");
}

/** What the key of an element says: the driver's series, and the kernel by its name. Undefined for what is no key. */
export function ofElementKey(
  key: string,
): { readonly driver: string; readonly series: string; readonly kernel: string } | undefined {
  const [driver, series, distribution, architecture, kversion, ...rest] = key.split("/");
  if (driver === undefined || series === undefined || kversion === undefined) return undefined;
  return { driver, series, kernel: `${distribution}/${architecture}/${kversion}_${rest.join("/")}` };
}

/** An element's name for people. */
export function elementName(element: Pick<Element, keyof KernelId | "driver" | "driverversion">): string {
  return `${element.driver} ${element.driverversion} ${element.distribution}/${element.architecture}/${element.kversion}`;
}

/** An element as events name it. */
export function named(element: Element): { readonly key: string; readonly name: string } {
  return { key: elementKey(element), name: elementName(element) };
}

/** Full locations of packages, given where each source's mirror is; lists give whole ones. */
export function urlsOf(packages: readonly Package[], mirrors: ReadonlyMap<string, string>): string[] {
  return packages.flatMap(({ source, path }) => {
    if (/^https?:\/\//.test(path)) return [path];
    const base = mirrors.get(source);
    return base === undefined ? [] : [urlOf(base, path)];
  });
}
