/**
 * What is coming: the farm's own run on kernels that users will have one day, and what follows from it: which driver breaks
 * with which kernel and by what, when that kernel arrives where, and how often modules were proven before their kernel came.
 */
import { FarmError, toFarmError } from "../../base/error.ts";
import { type CatalogKernel, type CatalogSource, upcomingIn } from "../../catalog/catalog.ts";
import { failureOf, type SourceProblem } from "../../catalog/update.ts";
import { openModuleFiles } from "../../check/opened-modules.ts";
import { type SymbolFault, symbolFaults } from "../../check/symbols.ts";
import { textsOf } from "../../check/verdict.ts";
import {
  type Arrival,
  arrivalsOf,
  type Passage,
  type Place,
  passagesOf,
  type Upload,
} from "../../gap/arrivals.ts";
import type { SourceChangelog } from "../../gap/evidence/changelog.ts";
import { comingKernels, type KernelsKnown, type Readiness, readinessOf } from "../../gap/upcoming.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import type { KernelRecord, RecordedKernel } from "../../inputs/kernel-record.ts";
import { baseOf, upstreamOfPackage } from "../../kernel/base.ts";
import { findRelease } from "../../kernel/distributions/index.ts";
import { factsByKernel, factsOf, type KnownFacts } from "../../kernel/facts.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { partsOfRelease } from "../../kernel/release-rules.ts";
import {
  compareUpstreamVersions,
  parseUpstreamVersion,
  showUpstreamVersion,
  type UpstreamVersion,
} from "../../kernel/upstream-version.ts";
import { ofElementKey } from "../../matrix/element.ts";
import { fits, type Selection } from "../../matrix/select.ts";
import { readModules } from "../../registry/artifact.ts";
import type { AttemptNote, Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { type Listed, listAll } from "../../registry/standing.ts";
import type { RunReport, RunRow } from "../night/report.ts";
import { runFarm } from "../night/run.ts";
import type { RunOptions } from "../night/run-options.ts";
import { type Farm, openInputs } from "../open.ts";
import { ingest } from "./feeds.ts";
import { keptChangelogs } from "./stored-book.ts";

interface ForecastOptions extends RunOptions {
  /** Who asks, for the generations that come of it. */
  readonly by: string;
  /** Build for kernels too of whose series a newer one is coming. Default: false. */
  readonly takesSuperseded?: boolean;
}

export interface ForecastReport {
  readonly run: RunReport;
  readonly today: string;
  readonly kernels: readonly ForecastKernel[];
  /** How long series took so far from one place to the next. */
  readonly passages: readonly Passage[];
  readonly readiness: Readiness;
  /** Changelogs that could not be read. */
  readonly problems: readonly SourceProblem[];
}

export interface ForecastKernel {
  /** `kernelName` */
  readonly kernel: string;
  readonly version?: string;
  /** The suites that list it. */
  readonly suites: readonly string[];
  /** The newest kernels that users have and that it is ahead of. */
  readonly aheadOf: readonly string[];
  readonly supersededBy?: string;
  readonly arrivals: readonly Arrival[];
  readonly drivers: readonly Outlook[];
}

/** What a kernel will be to a driver. */
export interface Outlook {
  readonly driver: string;
  readonly driverversion: string;
  readonly result: "loads" | "builds" | "breaks" | "excluded" | "unknown";
  readonly why?: string;
  /** By what it breaks: functions, types, members, headers of the kernel. */
  readonly api: readonly string[];
  readonly failure?: AttemptNote["failure"];
  /** The kernel with modules that are proven, and what became of what they import. */
  readonly symbols?: SymbolChanges;
}

interface SymbolChanges {
  readonly comparedWith: string;
  readonly imports: number;
  /** Whether both kernels have CRCs. */
  readonly hasVersions: boolean;
  readonly changed: readonly SymbolFault[];
}

/**
 * Runs the farm on kernels that are still to come, and says what that means.
 * @throws FarmError CONFIG_INVALID where no source is upcoming, and what `runFarm` throws
 */
export async function forecast(farm: Farm, options: ForecastOptions): Promise<ForecastReport> {
  requireUpcoming(farm);
  const { by, takesSuperseded = false, progress, signal, now } = options;
  const select = familiesOf(farm.config.select);
  const run = await runFarm(farm, {
    ...options,
    ...{ what: "forecast", select },
    kernels: (catalog, facts) =>
      comingIn(catalog, facts)
        .filter(({ supersededBy }) => takesSuperseded || supersededBy === undefined)
        .map(({ kernel }) => kernel),
  });
  const asked = { by, now, signal, say: (text: string) => progress.say(text), learnsChangelogs: true };
  const { answers } = await ingest(farm, [], asked);
  const state = await readPublished(farm.store);
  const known = factsByKernel(state.facts);
  const today = now().toISOString().slice(0, 10);
  const kernelsKnown = knownOf(state.catalog, known);
  const uploads = uploadsOf(await keptChangelogs(farm.store, state.feeds), state, known);
  const isSelected = select.map((one) => fits(one));
  const comparison = new Comparison(farm, state, kernelsKnown, signal);
  const rows = Map.groupBy(run.rows, ({ element }) => kernelName(element));
  const kernels: ForecastKernel[] = [];
  for (const { kernel, aheadOf, supersededBy } of comingIn(state.catalog, known)) {
    const [name, version] = [kernelName(kernel), kernelsKnown.versionOf(kernel)];
    const own = rows.get(name) ?? [];
    if (!isSelected.some((isOne) => isOne(kernel)) || (own.length === 0 && options.narrowed !== undefined))
      continue;
    const drivers: Outlook[] = [];
    for (const row of own) drivers.push(await outlookOf(row, comparison));
    kernels.push({
      kernel: name,
      ...(version === undefined ? {} : { version: showUpstreamVersion(version) }),
      suites: kernel.sources.map(suiteOf),
      aheadOf: aheadOf.map(kernelName),
      ...(supersededBy === undefined ? {} : { supersededBy: kernelName(supersededBy) }),
      arrivals:
        version === undefined
          ? []
          : arrivalsOf(version, placesFor(kernel, version, state, kernelsKnown), uploads, today),
      drivers,
    });
  }
  const tried = state.attempts.flatMap(({ element }) => ofElementKey(element) ?? []);
  return {
    ...{ run, today, kernels, passages: passagesOf(uploads) },
    readiness: readinessOf(state.catalog.kernels, state.history, tried, kernelsKnown),
    problems: answers.flatMap(({ name, error }) => (error === undefined ? [] : [failureOf(name, error)])),
  };
}

function requireUpcoming({ config }: Farm): void {
  if (config.sources.some((source) => source.kind !== "kernel-crawler" && source.upcoming === true)) return;
  throw new FarmError("CONFIG_INVALID", {
    detail: "no source is upcoming, so nothing is known of kernels that are still to come",
    hint: "Add one: `- {kind: apt, releases: [debiansid], suites: [sid, experimental], upcoming: true}` (docs/forecast.md).",
  });
}

/** Of what the configuration selects only the kinds of kernels count: which of them, their versions decide. */
function familiesOf(select: readonly Selection[]): Selection[] {
  return select.map(({ architectures, flavours }) => ({ architectures, flavours }));
}

type Kernels = Pick<Published["catalog"], "kernels" | "sources">;

function comingIn({ kernels, sources }: Kernels, facts: KnownFacts) {
  const isUsable = (kernel: CatalogKernel) =>
    kernel.missing === undefined &&
    kernel.unbuildable === undefined &&
    factsOf(facts, kernel).fetching?.notFetchableSince === undefined;
  return comingKernels(kernels.filter(isUsable), knownOf({ kernels, sources }, facts));
}

function knownOf({ sources }: Kernels, facts: KnownFacts): KernelsKnown {
  return {
    isUpcoming: upcomingIn(sources),
    versionOf: (kernel) => parseUpstreamVersion(baseOf(kernel, factsOf(facts, kernel))?.version ?? ""),
  };
}

/** `trixie-backports` of `debian/trixie-backports`. */
function suiteOf(source: string): string {
  return source.slice(source.indexOf("/") + 1);
}

/** An upcoming source is a place of its own; the others of a release are one, which its users have. */
function placeOf({ id, distribution, upcoming }: CatalogSource): string {
  return upcoming === true ? suiteOf(id) : distribution;
}

/** Where kernels of its distribution come to. */
function placesFor(
  kernel: CatalogKernel,
  version: UpstreamVersion,
  { catalog: { sources, kernels } }: Published,
  { isUpcoming, versionOf }: KernelsKnown,
): Place[] {
  const { id } = partsOfRelease(kernel.distribution);
  const own = sources.filter(
    ({ kind, status, distribution }) =>
      (kind === "apt" || kind === "rpm-md") &&
      status !== "notServed" &&
      partsOfRelease(distribution).id === id,
  );
  const bySource = new Map(own.map((source) => [source.id, placeOf(source)]));
  const there = kernels.filter(({ withdrawnSince }) => withdrawnSince === undefined);
  return [...new Set(bySource.values())].map((name): Place => {
    const its = there.filter((one) => one.sources.some((source) => bySource.get(source) === name));
    const versions = its.flatMap((one) => versionOf(one) ?? []);
    const followsIt = its.some((one) => !isUpcoming(one) && versionOf(one)?.series === version.series);
    const isSame = (one: UpstreamVersion) =>
      followsIt ? compareUpstreamVersions(one, version) === 0 : one.series === version.series;
    return { name, followsIt, hasIt: versions.some(isSame) };
  });
}

/** What changelogs say, and what suites said of themselves when they first listed a kernel. */
function uploadsOf(
  changelogs: readonly SourceChangelog[],
  { catalog }: Published,
  facts: KnownFacts,
): Upload[] {
  const sources = new Map(catalog.sources.map((source) => [source.id, source]));
  const uploaded = changelogs.flatMap(({ distribution, entries }) => {
    const known = findRelease(distribution);
    if (known?.format !== "deb") return [];
    const { id, changelogSuites = {} } = known.distribution;
    return entries.flatMap(({ version: text, suite, day }): Upload[] => {
      const version = parseUpstreamVersion(upstreamOfPackage(text) ?? "");
      if (version === undefined || day === undefined) return [];
      const name = Object.hasOwn(changelogSuites, suite) ? (changelogSuites[suite] ?? suite) : suite;
      const source = sources.get(`${id}/${name}`);
      return [{ place: source === undefined ? name : placeOf(source), version, day }];
    });
  });
  const { versionOf, isUpcoming } = knownOf(catalog, facts);
  const listed = catalog.kernels.flatMap((kernel): Upload[] => {
    const version = versionOf(kernel);
    if (version === undefined) return [];
    const own = kernel.sources.flatMap((id) => sources.get(id) ?? []);
    const { arrived, firstListed } = kernel;
    // Before it arrived only upcoming sources had it.
    const dayAt = (source: CatalogSource) =>
      source.upcoming === true || (arrived === undefined && !isUpcoming(kernel)) ? firstListed : arrived;
    return own.flatMap((source) => {
      const day = dayAt(source)?.slice(0, 10);
      return day === undefined ? [] : [{ place: placeOf(source), version, day }];
    });
  });
  return [...uploaded, ...listed];
}

async function outlookOf(row: RunRow, comparison: Comparison): Promise<Outlook> {
  const { element, note } = row;
  const { driver, driverversion } = element;
  const symbols = await comparison.changesOf(row);
  const { result, why } = resultOf(note);
  const { name } = note.failure ?? {};
  const gone = (symbols?.changed ?? []).filter(({ kind }) => kind !== "version").map(({ symbol }) => symbol);
  // The diagnosis knows best; where it names nothing, what is gone may be why.
  const api = result === "breaks" ? (name === undefined ? gone : [name]) : [];
  return {
    ...{ driver, driverversion, result, api: [...new Set(api)] },
    ...(why === undefined ? {} : { why }),
    ...(note.failure === undefined ? {} : { failure: note.failure }),
    ...(symbols === undefined ? {} : { symbols }),
  };
}

function resultOf({ failure, load }: AttemptNote): { result: Outlook["result"]; why?: string } {
  if (failure !== undefined) {
    const { code, blame, cause } = failure;
    if (code === "KERNEL_EXCLUDED") return { result: "excluded", why: cause };
    return { result: blame === "source" ? "breaks" : "unknown", why: cause };
  }
  if (load?.verdict.verdict === "pass") return { result: "loads" };
  const why = load === undefined ? "it was not load-tested" : textsOf(load.verdict).join("; ");
  return { result: load?.verdict.verdict === "fail" ? "breaks" : "builds", why };
}

/** Compares what proven modules import with what a kernel that is still to come exports. */
class Comparison {
  readonly #farm: Farm;
  readonly #state: Published;
  readonly #known: KernelsKnown;
  readonly #signal: AbortSignal;
  readonly #inputs: Inputs;
  readonly #kernels: ReadonlyMap<string, CatalogKernel>;
  readonly #records = new Map<string, Promise<KernelRecord | undefined>>();

  constructor(farm: Farm, state: Published, known: KernelsKnown, signal: AbortSignal) {
    this.#farm = farm;
    this.#state = state;
    this.#known = known;
    this.#signal = signal;
    this.#inputs = openInputs(farm, state.catalog, { archived: "none" });
    this.#kernels = new Map(state.catalog.kernels.map((kernel) => [kernelName(kernel), kernel]));
  }

  /** Undefined where there is nothing to compare. */
  async changesOf({ element }: RunRow): Promise<SymbolChanges | undefined> {
    const proven = this.#provenFor(element);
    if (proven === undefined) return undefined;
    const [before, after] = [await this.#recordOf(proven.kernel), await this.#recordOf(element)];
    if (before?.symvers === undefined || after?.symvers === undefined) return undefined;
    const files = await openModuleFiles(await readModules(this.#farm.store, proven.listed.entry));
    const modules = files.flatMap(({ opened }) => (opened === undefined ? [] : [opened.module]));
    const exported = before.symvers.symbols;
    return {
      comparedWith: kernelName(proven.kernel),
      imports: new Set(modules.flatMap(({ imports }) => imports)).size,
      hasVersions: before.symvers.hasVersions && after.symvers.hasVersions,
      // What that kernel did not export either comes from elsewhere.
      changed: symbolFaults(modules, after.symvers).filter(
        ({ symbol, kind }) => exported.has(symbol) && kind !== "noVersion",
      ),
    };
  }

  /** The newest kernel that users have, of the same kind, on which modules of the driver series were loaded. */
  #provenFor(element: RunRow["element"]): { listed: Listed; kernel: CatalogKernel } | undefined {
    const { driver, output, architecture, flavour } = element;
    const series = output.split("/")[0];
    const { isUpcoming, versionOf } = this.#known;
    const found = listAll(this.#state.indices).flatMap((listed) => {
      const { index, entry, channel } = listed;
      const kernel = this.#kernels.get(kernelName({ ...index, ...entry }));
      const isProven = channel === "stable" || entry.verdicts?.load === "pass";
      const isIts = entry.driver === driver && entry.series === series && isProven;
      return kernel !== undefined &&
        isIts &&
        !isUpcoming(kernel) &&
        index.architecture === architecture &&
        entry.flavour === flavour
        ? [{ listed, kernel }]
        : [];
    });
    const version = ({ kernel }: { readonly kernel: CatalogKernel }) =>
      versionOf(kernel) ?? { series: 0, patch: 0 };
    return found.toSorted((a, b) => compareUpstreamVersions(version(b), version(a)))[0];
  }

  /** Undefined where its headers cannot be had: then nothing is compared, and the run has said why. */
  #recordOf(kernel: RecordedKernel & Parameters<typeof kernelName>[0]): Promise<KernelRecord | undefined> {
    const name = kernelName(kernel);
    const known = this.#records.get(name);
    if (known !== undefined) return known;
    const read = this.#farm.steps.fetchKernelRecord(kernel, this.#inputs, this.#signal).catch((thrown) => {
      if (toFarmError(thrown).code === "INTERRUPTED") throw thrown;
      return undefined;
    });
    this.#records.set(name, read);
    return read;
  }
}
