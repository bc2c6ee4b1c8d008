/**
 * `kmodfarm catalog update`: asks which kernels exist.
 */
import { FarmError } from "../../../base/error.ts";
import type { Described } from "../../../catalog/annotated.ts";
import type { Catalog, CatalogKernel, CatalogSource } from "../../../catalog/catalog.ts";
import type { SourceProblem, SourceWarning, Update } from "../../../catalog/update.ts";
import { thisPerson } from "../../../farm/gate/moves.ts";
import { askSourcesOf, type Farm, updateFarmCatalog } from "../../../farm/open.ts";
import { authorOf } from "../../../farm/signing/heads.ts";
import { hasMadeKeys } from "../../../farm/signing/keys.ts";
import { openTrust } from "../../../farm/signing/opening.ts";
import { factsByKernel } from "../../../kernel/facts.ts";
import { kernelName } from "../../../kernel/kernel.ts";
import { publish } from "../../../registry/commit.ts";
import type { Published } from "../../../registry/documents.ts";
import { newestGeneration, readPublished } from "../../../registry/generations.ts";
import { withTask } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { stopSignal, withFarm } from "../../options.ts";
import { print, printJson, say, table } from "../../output.ts";
import type { UPDATE } from "./command.ts";

type UpdateCommandOptions = OptionsOf<typeof UPDATE>;

export async function update(options: UpdateCommandOptions): Promise<number> {
  return withFarm(options, async (farm) => {
    const started = performance.now();
    const { before, result } = await updateStore(farm, options);
    const { catalog, sources, problems, warnings } = result;
    const summary = {
      schema: "kmodfarm.catalog-update/1" as const,
      kernels: catalog.kernels.length,
      added: catalog.kernels.length - before.kernels.length,
      withdrawn: withdrawnSince(before, catalog),
      problems,
      warnings,
      sources,
      traffic: farm.http.traffic,
      ms: Math.round(performance.now() - started),
    };
    if (options.json) await printJson(summary);
    else {
      await print(`${sourceTable(result)}\n${notAsked(result)}${summaryLine(summary)}`);
      for (const { source, detail } of warnings) say(`warning: ${source}: ${detail}`);
      for (const { source, detail } of problems) say(`${source}: ${detail}`);
    }
    if (problems.length > 0) throw needsALook(result);
    return 0;
  });
}

/** Servers are asked first, because they may be slow: a change that is published is applied to whatever is the newest then. */
async function updateStore(farm: Farm, options: UpdateCommandOptions) {
  const { acceptWithdrawals = false } = options;
  const seen = await readPublished(farm.store);
  const heard = await withTask(options, "asking the mirrors which kernels there are", ({ signal, note }) =>
    askSourcesOf(farm, seen.catalog, signal, note),
  );
  return changeCatalog(farm, "catalog update", async ({ catalog: previous, facts, head }) => {
    // Who published meanwhile may have heard newer things, beside which ours would seem to go back in time.
    const isCurrent = head?.digest === seen.head?.digest;
    const answers = isCurrent ? heard : await askSourcesOf(farm, previous, stopSignal());
    return updateFarmCatalog(previous, answers, {
      ...{ now: new Date(), facts: factsByKernel(facts), acceptWithdrawals },
    });
  });
}

function needsALook({ sources, problems }: Update): FarmError {
  const count = sources.filter(({ id }) => isTold(problems, id)).length;
  const verb = count === 1 ? "needs" : "need";
  return new FarmError(problems.find(({ integrity }) => integrity)?.code ?? "CATALOG_SUSPECT", {
    detail: `${count} of ${sources.length} sources ${verb} a look; every kernel known before was kept`,
    hint: [...new Set(problems.map(({ hint }) => hint))].join(" "),
  });
}

/** A list's own problem is that of each of its releases. */
function isTold(problems: readonly SourceProblem[], id: string): boolean {
  return problems.some(({ source }) => id === source || id.startsWith(`${source}/`));
}

/** Publishes a generation with another catalog and everything else as it was. `what` is the command that did it. */
export async function changeCatalog<T extends { readonly catalog: Catalog } & Partial<Described>>(
  farm: Farm,
  what: string,
  change: (state: Published) => Promise<T>,
): Promise<{ before: Catalog; result: T }> {
  const now = () => new Date();
  // Where there are keys, what the first publisher leaves unsigned could be a stranger's to the next one.
  if ((await hasMadeKeys(farm.config)) && (await newestGeneration(farm.store)) === undefined)
    await openTrust(farm, () => {}, now);
  const author = authorOf(farm, thisPerson(), what, now);
  const { result } = await publish(
    farm.store,
    async (state) => {
      const found = await change(state);
      return {
        state: { ...state, catalog: found.catalog, facts: found.facts ?? state.facts },
        result: { before: state.catalog, result: found },
      };
    },
    author,
  );
  return result;
}

/** How many kernels are listed no more that were. */
export function withdrawnSince(before: Catalog, after: Catalog): number {
  const isGone = ({ withdrawnSince }: CatalogKernel) => withdrawnSince !== undefined;
  const known = new Set(before.kernels.filter(isGone).map(kernelName));
  return after.kernels.filter((kernel) => isGone(kernel) && !known.has(kernelName(kernel))).length;
}

interface Counts {
  readonly kernels: number;
  readonly added: number;
  readonly withdrawn: number;
  readonly warnings: readonly SourceWarning[];
}

function summaryLine({ kernels, added, withdrawn, warnings }: Counts): string {
  const left = warnings.reduce((sum, { count }) => sum + count, 0);
  const parts = [
    `${kernels} ${kernels === 1 ? "kernel" : "kernels"}`,
    `${added} of them new`,
    ...(withdrawn > 0 ? [`${withdrawn} withdrawn (no source lists them any more)`] : []),
    ...(left > 0 ? [`${left} left out`] : []),
  ];
  return `${parts.join(", ")}.\n`;
}

/** What the catalog has from elsewhere is not silently there. */
function notAsked({ catalog, sources }: Update): string {
  const asked = new Set(sources.map(({ id }) => id));
  const others = catalog.sources
    .filter((source) => !asked.has(source.id) && kernelsOf(source) > 0)
    .map((source) => `${source.id} (${kernelsOf(source)})`);
  if (others.length === 0) return "";
  const more = others.length > NAMED_SOURCES ? ` and ${others.length - NAMED_SOURCES} more` : "";
  const named = others.slice(0, NAMED_SOURCES).join(", ");
  return `No longer configured, so not queried; their kernels stay: ${named}${more}.\n`;
}

const NAMED_SOURCES = 4;

function kernelsOf({ kernels }: CatalogSource): number {
  return Object.values(kernels).reduce((sum, count) => sum + count, 0);
}

function sourceTable({ sources, problems }: Update): string {
  const rows = sources.map((source) => [
    source.id,
    source.distribution,
    source.accepted ? `${source.status}, accepted` : source.status,
    String(kernelsOf(source)),
    source.metadataDate?.slice(0, 10) ?? "-",
    // Problems are reported below.
    isTold(problems, source.id) ? "" : noteOn(source),
  ]);
  const head = ["SOURCE", "RELEASE", "STATUS", "KERNELS", "DATE", "NOTE"];
  const isPlain = rows.every((row) => row.at(-1) === "");
  return isPlain
    ? table(
        head.slice(0, -1),
        rows.map((row) => row.slice(0, -1)),
      )
    : table(head, rows);
}

function noteOn({ status, detail = "" }: CatalogSource): string {
  return status === "notServed" ? "optional, and the server does not have it" : detail;
}
