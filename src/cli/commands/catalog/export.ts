/** `kmodfarm catalog export`: kernels for other tools. */

import { join } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { makePlace, writeWhole } from "../../../base/scratch.ts";
import { annotatedCatalog, type Described } from "../../../catalog/annotated.ts";
import { type Catalog, EMPTY_CATALOG } from "../../../catalog/catalog.ts";
import { exportDriverkit } from "../../../catalog/driverkit.ts";
import { exportKernelCrawler } from "../../../catalog/kernel-crawler.ts";
import { uniteCatalogs } from "../../../catalog/merge.ts";
import type { FarmConfig } from "../../../farm/config/index.ts";
import { ArchitectureName } from "../../../kernel/architecture.ts";
import { pathSegment } from "../../../kernel/path-segment.ts";
import { readPublished } from "../../../registry/generations.ts";
import { readCatalog } from "../../catalog-io.ts";
import type { OptionsOf } from "../../command.ts";
import { toArchitecture, withFarm, withStoredFarm } from "../../options.ts";
import { printDocument, say } from "../../output.ts";
import type { EXPORT } from "./command.ts";

type ExportOptions = OptionsOf<typeof EXPORT>;

export async function exportCatalog(options: ExportOptions): Promise<number> {
  const open = options.catalog === undefined ? withStoredFarm : withFarm;
  return open(options, async (farm) => {
    const described: Described =
      options.catalog === undefined
        ? await readPublished(farm.store)
        : (await Promise.all(options.catalog.map(readCatalog))).reduce<Described>(uniteCatalogs, {
            catalog: EMPTY_CATALOG,
            facts: [],
          });
    const files = filesOf(annotatedCatalog(described), options, farm.config.drivers);
    if (files.size === 0)
      throw new FarmError("USAGE", {
        detail: `there is no kernel to export${options.arch === undefined ? "" : ` for ${options.arch}`}`,
        hint: "`kmodfarm catalog list` shows what there is.",
      });
    if (options.output === undefined) {
      const [only] = files.values();
      if (options.format === "driverkit" || files.size > 1 || only === undefined)
        throw new FarmError("USAGE", {
          detail: `the export has ${files.size} files, which cannot go to standard output`,
          hint:
            options.format === "driverkit"
              ? "Give a directory with --output."
              : "Give a directory with --output, or one architecture with --arch.",
        });
      await printDocument(only);
      return 0;
    }
    await makePlace(options.output);
    for (const [path, text] of files) await writeWhole(join(options.output, path), text);
    say(`${counted(files.size, "file")} written to ${options.output}`);
    return 0;
  });
}

/** What an export consists of, by path below its directory: for lists, as kernel-crawler's own site has them. */
function filesOf(
  catalog: Catalog,
  options: ExportOptions,
  configured: FarmConfig["drivers"],
): ReadonlyMap<string, string> {
  const wanted = options.arch === undefined ? undefined : toArchitecture(options.arch);
  const kernels = catalog.kernels.filter(
    ({ architecture }) => wanted === undefined || architecture === wanted,
  );
  const architectures = ArchitectureName.options.filter((name) =>
    kernels.some(({ architecture }) => architecture === name),
  );
  switch (options.format) {
    case "kmodfarm":
      return new Map([["catalog.json", `${JSON.stringify({ ...catalog, kernels }, null, 2)}\n`]]);
    case "kernel-crawler":
      return new Map(architectures.map((name) => [`${name}/list.json`, exportKernelCrawler(catalog, name)]));
    case "driverkit": {
      const sources = new Map(catalog.sources.map(({ id, url }) => [id, url]));
      return exportDriverkit(kernels, sources, driverOf(options, configured));
    }
  }
}

/** The driver in paths of driverkit's: as asked, else the only one that is configured. */
function driverOf(
  { driver, driverVersion }: ExportOptions,
  configured: FarmConfig["drivers"],
): { readonly name: string; readonly version: string } {
  const named = configured.filter(({ name }) => driver === undefined || name === driver);
  const name = driver ?? onlyOf(named.map((one) => one.name));
  const version = driverVersion ?? onlyOf(named.flatMap(({ versions }) => versions));
  if (name === undefined || version === undefined)
    throw new FarmError("USAGE", {
      detail: `driverkit's configurations have the driver's name and version in their paths, and ${named.length === 0 ? "none is configured" : "several are configured"}: name them with --driver and --driver-version`,
    });
  return { name: pathSegment(name, "driver"), version: pathSegment(version, "driver version") };
}

function onlyOf(some: readonly string[]): string | undefined {
  return some.length === 1 ? some[0] : undefined;
}
