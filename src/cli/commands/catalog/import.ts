/**
 * `kmodfarm catalog import`: kernels that other tools list.
 */
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import type { Described } from "../../../catalog/annotated.ts";
import type { Catalog } from "../../../catalog/catalog.ts";
import { formatChangesOf, isOfList, reportsOfList } from "../../../catalog/kernel-list.ts";
import { asClaims, mergeCatalog, uniteCatalogs } from "../../../catalog/merge.ts";
import { factsByKernel } from "../../../kernel/facts.ts";
import { pathSegment } from "../../../kernel/path-segment.ts";
import { type AnyCatalog, catalogOfList, readAnyCatalog } from "../../catalog-io.ts";
import type { OptionsOf } from "../../command.ts";
import { toArchitecture, withFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { IMPORT } from "./command.ts";
import { changeCatalog, withdrawnSince } from "./update.ts";

type ImportOptions = OptionsOf<typeof IMPORT>;

export async function importFile(file: string, options: ImportOptions): Promise<number> {
  const name = options.name === undefined ? undefined : pathSegment(options.name, "list name");
  const read = await readAnyCatalog(file, {
    as: options.as,
    name,
    architecture: options.arch === undefined ? undefined : toArchitecture(options.arch),
  });
  return withFarm(options, async (farm) => {
    const { before, result } = await changeCatalog(farm, "catalog import", async (state) =>
      merged(state, read, options),
    );
    const after = result.catalog;
    const summary = summaryOf(read, before, after);
    if (options.json) await printJson(summary);
    else await print(toText(summary));
    if (summary.suspect.length === 0) return 0;
    throw new FarmError("CATALOG_SUSPECT", {
      detail: `${file} lost an unusual share of ${summary.suspect.length} distribution releases; every kernel known before was kept`,
      hint: "If the kernels really are gone, import it again with --accept-withdrawals.",
    });
  });
}

/** A crawler's list is the whole of what it found; other documents only add. */
function merged(
  previous: Described,
  read: AnyCatalog,
  { acceptWithdrawals = false }: ImportOptions,
): Described {
  if (read.format === "kmodfarm") return uniteCatalogs(previous, asClaims(read));
  if (read.format === "driverkit")
    return uniteCatalogs(previous, asClaims({ catalog: catalogOfList(read.list), facts: [] }));
  const now = new Date().toISOString();
  const { catalog, facts } = previous;
  const reports = reportsOfList(read.list, catalog, now, acceptWithdrawals);
  const options = { now, facts: factsByKernel(facts), acceptWithdrawals };
  return { catalog: mergeCatalog(catalog, reports, options), facts };
}

function summaryOf(read: AnyCatalog, before: Catalog, after: Catalog) {
  const list = read.format === "kmodfarm" ? undefined : read.list;
  const kernels = read.format === "kmodfarm" ? read.catalog.kernels : read.list.kernels;
  const mine = list === undefined ? [] : after.sources.filter(({ id }) => isOfList(list.id, id));
  const count = (test: (kernel: (typeof kernels)[number]) => boolean) => kernels.filter(test).length;
  return {
    schema: "kmodfarm.catalog-import/1" as const,
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
    [summary.unknownRelease, "of an uncertain distribution release"],
    [summary.unbuildable, "for which nothing can be built"],
    [summary.incomplete, "with header packages missing"],
  ].filter(([count]) => count !== 0);
  const lines = [
    ...(list === undefined
      ? []
      : [`${counted(entries ?? 0, "entry")} of ${list} made ${counted(summary.read, "kernel")}.`]),
    ...dropped.map(({ count, reason, examples }) => `  ${count} dropped: ${reason} (${examples.join(", ")})`),
    ...parts.map(([count, what]) => `  ${count} ${what}`),
    ...bySource(formatChanges, "format change, nothing new"),
    ...(summary.withdrawn > 0
      ? [`${counted(summary.withdrawn, "kernel")} no longer listed: withdrawn.`]
      : []),
    ...bySource(suspect, "suspect"),
    `${counted(summary.read, "kernel")} read, ${summary.added} of them new; the catalog has ${summary.kernels}.`,
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
    return `${word}: ${shown}${more}: ${detail}${kernels > 0 ? ` (${counted(kernels, "kernel")})` : ""}`;
  });
}
