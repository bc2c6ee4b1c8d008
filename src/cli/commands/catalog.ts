/**
 * `kmodfarm catalog`: which kernels exist.
 */
import { FarmError } from "../../base/error.ts";
import type { Catalog, CatalogKernel } from "../../catalog/catalog.ts";
import type { SourceProblem } from "../../catalog/update.ts";
import { type Farm, updateFarmCatalog } from "../../farm/open.ts";
import { selectKernels } from "../../matrix/generate.ts";
import { readPublished, settle, writePublished } from "../../registry/generations.ts";
import { nextState, saysTheSame } from "../../registry/publish.ts";
import { type PlaceOptions, type SelectionOptions, selectionOf, stopSignal, withFarm } from "../options.ts";
import { print, printJson, table } from "../output.ts";

interface UpdateCommandOptions extends PlaceOptions {
  readonly acceptWithdrawals?: boolean;
}

export async function update(options: UpdateCommandOptions): Promise<number> {
  return withFarm(options, async (farm) => {
    const { http, sources } = farm;
    const started = performance.now();
    const found = { problems: [] as readonly SourceProblem[] };
    const { before, after } = await changeCatalog(farm, async (previous) => {
      const acceptWithdrawals = options.acceptWithdrawals ?? false;
      const result = await updateFarmCatalog(
        farm,
        previous,
        { now: new Date(), acceptWithdrawals },
        stopSignal(),
      );
      found.problems = result.problems;
      return result.catalog;
    });
    const summary = {
      schema: "kmodfarm.catalog-update/1",
      kernels: after.kernels.length,
      added: after.kernels.length - before.kernels.length,
      problems: found.problems,
      sources: after.sources,
      traffic: http.traffic,
      ms: Math.round(performance.now() - started),
    };
    if (options.json) await printJson(summary);
    else await print(`${sourceTable(after)}\n${summary.kernels} kernels, ${summary.added} of them new.\n`);
    for (const { source, detail } of found.problems) process.stderr.write(`${source}: ${detail}\n`);
    if (found.problems.length === 0) return 0;
    const worst = found.problems.find(({ integrity }) => integrity) ?? found.problems[0];
    throw new FarmError(worst?.integrity ? worst.code : "CATALOG_SUSPECT", {
      detail: `${found.problems.length} of ${sources.length} sources need a look; every kernel known before was kept`,
    });
  });
}

export async function list(options: PlaceOptions & SelectionOptions): Promise<number> {
  return withFarm(options, async (farm) => {
    const { catalog } = await readPublished(farm.store, "candidate");
    const selection = selectionOf(options);
    const kernels =
      selection === undefined ? catalog.kernels : selectKernels(catalog.kernels, selection, "all");
    if (options.json) await printJson({ ...catalog, kernels });
    else await print(kernels.length === 0 ? nothingListed(catalog.kernels.length) : kernelTable(kernels));
    return 0;
  });
}

/** Publishes a generation with another catalog and everything else as it was. */
export async function changeCatalog(farm: Farm, change: (previous: Catalog) => Promise<Catalog>) {
  const unlock = await farm.store.lock();
  try {
    await settle(farm.store);
    const state = await readPublished(farm.store, "candidate");
    const after = await change(state.catalog);
    const next = nextState(state, after, []);
    if (!saysTheSame(state, next)) await writePublished(farm.store, next, new Date());
    return { before: state.catalog, after };
  } finally {
    await unlock();
  }
}

function sourceTable(catalog: Catalog): string {
  const rows = catalog.sources.map(
    ({ id, distribution, status, accepted, kernels, metadataDate, detail }) => [
      id,
      distribution,
      accepted ? `${status}, accepted` : status,
      String(Object.values(kernels).reduce((sum, count) => sum + count, 0)),
      metadataDate?.slice(0, 10) ?? "-",
      detail ?? "",
    ],
  );
  return table(["SOURCE", "RELEASE", "STATUS", "KERNELS", "DATE", "DETAIL"], rows);
}

function kernelTable(kernels: readonly CatalogKernel[]): string {
  const rows = kernels.map((kernel) => [
    kernel.distribution,
    kernel.architecture,
    kernel.kversion,
    kernel.packageVersion,
    kernel.flavour,
    kernel.compiler === undefined ? "unknown" : `${kernel.compiler.family}-${kernel.compiler.version}`,
    stateOf(kernel),
  ]);
  return table(["RELEASE", "ARCH", "KERNEL", "PACKAGE", "FLAVOUR", "COMPILER", "STATE"], rows);
}

function stateOf(kernel: CatalogKernel): string {
  const facts: [string, string | undefined][] = [
    ["withdrawn since", kernel.withdrawnSince],
    ["stale since", kernel.staleSince],
    ["not fetchable since", kernel.notFetchableSince],
    ["not loadable since", kernel.notLoadableSince],
  ];
  const words = facts.flatMap(([word, since]) =>
    since === undefined ? [] : [`${word} ${since.slice(0, 10)}`],
  );
  if (kernel.unbuildable !== undefined) words.push(`not buildable: ${kernel.unbuildable}`);
  if (kernel.missing !== undefined) words.push(`incomplete: no ${kernel.missing.join(", ")}`);
  return words.join(", ") || "listed";
}

function nothingListed(known: number): string {
  return known === 0
    ? "No kernels. Try `kmodfarm catalog update`.\n"
    : `No kernels: the selection takes none of ${known}.\n`;
}
