/**
 * `kmodfarm catalog import` and `export`: kernels from and to other tools.
 */
import { join } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { openScratch } from "../../../base/scratch.ts";
import { type Catalog, EMPTY_CATALOG } from "../../../catalog/catalog.ts";
import { exportDriverkit } from "../../../catalog/driverkit.ts";
import { exportKernelCrawler } from "../../../catalog/kernel-crawler.ts";
import { formatChangesOf, reportsOfList } from "../../../catalog/kernel-list.ts";
import { mergeCatalog, mergeImported } from "../../../catalog/merge.ts";
import { ArchitectureName } from "../../../kernel/architecture.ts";
import { pathSegment } from "../../../kernel/path-segment.ts";
import { readPublished } from "../../../registry/generations.ts";
import { type AnyCatalog, catalogOfList, readAnyCatalog } from "../../catalog-io.ts";
import type { OptionsOf } from "../../command.ts";
import { withFarm, withStoredFarm } from "../../options.ts";
import { print, printDocument, printJson, say } from "../../output.ts";
import type { EXPORT, IMPORT } from "./command.ts";
import { changeCatalog, withdrawnSince } from "./update.ts";

type ImportOptions = OptionsOf<typeof IMPORT>;

export async function importFile(file: string, options: ImportOptions): Promise<number> {
  const name = options.name === undefined ? undefined : pathSegment(options.name, "list name");
  const read = await readAnyCatalog(file, {
    as: options.as,
    name,
    architecture: toArchitecture(options.arch),
  });
  return withFarm(options, async (farm) => {
    const { before, result } = await changeCatalog(farm, "catalog import", async ({ catalog }) => ({
      catalog: merged(catalog, read, options),
    }));
    const after = result.catalog;
    const summary = summaryOf(read, before, after);
    if (options.json) await printJson(summary);
    else await print(toText(summary));
    if (summary.suspect.length === 0) return 0;
    throw new FarmError("CATALOG_SUSPECT", {
      detail: `${file} lost an unusual share of ${summary.suspect.length} distribution releases; every kernel known before was kept`,
      hint: "If the kernels are really gone, import it again with --accept-withdrawals.",
    });
  });
}

/** A crawler's list is the whole of what it found; other documents only add. */
function merged(previous: Catalog, read: AnyCatalog, { acceptWithdrawals = false }: ImportOptions): Catalog {
  if (read.format === "kmodfarm") return mergeImported(previous, read.catalog);
  if (read.format === "driverkit") return mergeImported(previous, catalogOfList(read.list));
  const now = new Date().toISOString();
  return mergeCatalog(previous, reportsOfList(read.list, previous, now, acceptWithdrawals), {
    now,
    acceptWithdrawals,
  });
}

function summaryOf(read: AnyCatalog, before: Catalog, after: Catalog) {
  const list = read.format === "kmodfarm" ? undefined : read.list;
  const kernels = read.format === "kmodfarm" ? read.catalog.kernels : read.list.kernels;
  const mine = list === undefined ? [] : after.sources.filter(({ id }) => id.startsWith(`${list.id}/`));
  const count = (test: (kernel: (typeof kernels)[number]) => boolean) => kernels.filter(test).length;
  return {
    schema: "kmodfarm.catalog-import/1",
    format: read.format,
    ...(list === undefined ? {} : { list: list.id, entries: list.entries }),
    read: kernels.length,
    added: after.kernels.length - before.kernels.length,
    kernels: after.kernels.length,
    unknownRelease: count(({ distribution }) => distribution === "unknown"),
    unbuildable: count(({ unbuildable }) => unbuildable !== undefined),
    incomplete: count(({ missing }) => missing !== undefined && missing.length > 0),
    dropped: list?.dropped ?? [],
    withdrawn: withdrawnSince(before, after),
    suspect: mine.flatMap(({ id, status, detail }) => (status === "suspect" ? [{ source: id, detail }] : [])),
    formatChanges: list === undefined ? [] : formatChangesOf(list, before),
  };
}

function toText(summary: ReturnType<typeof summaryOf>): string {
  const { entries, dropped, list, suspect, formatChanges } = summary;
  const parts = [
    [summary.unknownRelease, "of no certain distribution release"],
    [summary.unbuildable, "that nothing can be built for"],
    [summary.incomplete, "without all their header packages"],
  ].filter(([count]) => count !== 0);
  const lines = [
    ...(list === undefined ? [] : [`${entries} entries of ${list} made ${summary.read} kernels.`]),
    ...dropped.map(({ count, reason, examples }) => `  ${count} dropped: ${reason} (${examples.join(", ")})`),
    ...parts.map(([count, what]) => `  ${count} ${what}`),
    ...bySource(formatChanges, "format change, no news"),
    ...(summary.withdrawn > 0 ? [`${summary.withdrawn} kernels are listed no more: withdrawn.`] : []),
    ...bySource(suspect, "suspect"),
    `${summary.read} kernels read, ${summary.added} of them new; the catalog has ${summary.kernels}.`,
  ];
  return `${lines.join("\n")}\n`;
}

interface SourceNote {
  readonly source: string;
  readonly detail?: string | undefined;
  readonly kernels?: number;
}

/** One line for what is said of several sources alike. */
function bySource(notes: readonly SourceNote[], word: string): string[] {
  return [...Map.groupBy(notes, ({ detail }) => detail ?? "")].map(([detail, group]) => {
    const names = group.map(({ source }) => source);
    const shown = names.slice(0, 12).join(", ");
    const more = names.length > 12 ? ` and ${names.length - 12} more` : "";
    const kernels = group.reduce((sum, one) => sum + (one.kernels ?? 0), 0);
    return `${word}: ${shown}${more}: ${detail}${kernels > 0 ? ` (${kernels} kernels)` : ""}`;
  });
}

type ExportOptions = OptionsOf<typeof EXPORT>;

export async function exportCatalog(options: ExportOptions): Promise<number> {
  const open = options.catalog === undefined ? withStoredFarm : withFarm;
  return open(options, async (farm) => {
    const catalog =
      options.catalog === undefined
        ? (await readPublished(farm.store)).catalog
        : (await Promise.all(options.catalog.map(asCatalog))).reduce(mergeImported, EMPTY_CATALOG);
    const files = filesOf(catalog, options);
    if (options.output === undefined) {
      const [only] = files.values();
      if (options.format === "driverkit" || files.size > 1 || only === undefined)
        throw new FarmError("USAGE", {
          detail: `${files.size} files cannot go to standard output`,
          hint:
            options.format === "driverkit"
              ? "Name a directory with --output."
              : "Name a directory with --output, or one architecture with --arch.",
        });
      await printDocument(only);
      return 0;
    }
    const scratch = await openScratch(join(options.output, ".tmp"));
    try {
      for (const [path, text] of files) await scratch.write(join(options.output, path), text);
    } finally {
      await scratch.close();
    }
    say(`${files.size} files written to ${options.output}`);
    return 0;
  });
}

async function asCatalog(place: string): Promise<Catalog> {
  const read = await readAnyCatalog(place);
  return read.format === "kmodfarm" ? read.catalog : catalogOfList(read.list);
}

/** What an export consists of, by path below its directory: for lists, as kernel-crawler's own site has them. */
function filesOf(catalog: Catalog, options: ExportOptions): ReadonlyMap<string, string> {
  const wanted = toArchitecture(options.arch);
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
      if (options.driverVersion === undefined)
        throw new FarmError("USAGE", {
          detail:
            "driverkit's configurations have the driver's version in their paths: name it with --driver-version",
        });
      const driver = {
        name: pathSegment(options.driver, "driver"),
        version: pathSegment(options.driverVersion, "driver version"),
      };
      return exportDriverkit(kernels, new Map(catalog.sources.map(({ id, url }) => [id, url])), driver);
    }
  }
}

function toArchitecture(word: string | undefined): ArchitectureName | undefined {
  if (word === undefined) return undefined;
  const parsed = ArchitectureName.safeParse(word);
  if (parsed.success) return parsed.data;
  throw new FarmError("USAGE", {
    detail: `'${word}' is not an architecture; there are ${ArchitectureName.options.join(", ")}`,
  });
}
