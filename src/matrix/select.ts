/**
 * Which kernels a selection takes.
 */
import { RE2JS } from "re2js";
import { didYouMean } from "../base/closest.ts";
import { FarmError } from "../base/error.ts";
import type { Catalog, CatalogKernel } from "../catalog/catalog.ts";
import { compareKernels, inRepositories } from "../catalog/catalog.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import { DISTRIBUTIONS, findRelease } from "../kernel/distributions/index.ts";
import { factsOf, type KnownFacts, NOTHING_KNOWN } from "../kernel/facts.ts";
import { nameFault } from "../kernel/nameable.ts";
import { partsOfRelease } from "../kernel/release-rules.ts";

export interface Selection {
  /** Release keys (`debian12`) or os-release ids (`debian`, every release of it); all when absent. */
  readonly distributions?: readonly string[] | undefined;
  readonly architectures?: readonly ArchitectureName[] | undefined;
  readonly flavours?: readonly string[] | undefined;
  /** Exactly these kernel releases. */
  readonly kernels?: readonly string[] | undefined;
  /** An expression that must match the whole kernel release; runs on a linear-time engine. */
  readonly kernelRelease?: string | undefined;
  /** Likewise for the package version. */
  readonly packageVersion?: string | undefined;
  /** Only kernels first seen on this day or later (2026-11-01, or a whole time). */
  readonly firstSeen?: string | undefined;
  /**
   * Only the newest so many fetchable kernels of each distribution release, architecture, flavour, kernel series (6.1, 6.12)
   * and line of suites, so that the kernel which a release boots by default is among them. Those that no source vouches
   * for count only where there are fewer others: a list could invent newer ones and series without end.
   */
  readonly newest?: number | undefined;
}

type Kernels = Pick<Catalog, "kernels" | "sources">;

/** The kernels that a selection takes; `all` also takes those that cannot be built, for looking at. */
export function selectKernels(
  catalog: Kernels,
  selection: Selection,
  which: "wanted" | "all" = "wanted",
  facts: KnownFacts = NOTHING_KNOWN,
): CatalogKernel[] {
  const fitting = catalog.kernels.filter(fits(selection, which));
  const { newest } = selection;
  return newest === undefined ? fitting : newestOf(fitting, newest, catalog, facts);
}

/** Whether a selection takes a kernel, before only the newest of those that it takes are left. @throws FarmError USAGE */
export function fits(
  { distributions, architectures, flavours, kernels, firstSeen, ...selection }: Selection,
  which: "wanted" | "all" = "wanted",
): (kernel: CatalogKernel) => boolean {
  const releaseFits = expressionFilter(selection.kernelRelease, "kernel release");
  const versionFits = expressionFilter(selection.packageVersion, "package version");
  return (kernel) =>
    (which === "all" || isBuildable(kernel)) &&
    isOneOf(distributions, kernel.distribution, partsOfRelease(kernel.distribution).id) &&
    isOneOf(architectures, kernel.architecture) &&
    isOneOf(flavours, kernel.flavour) &&
    isOneOf(kernels, kernel.kversion) &&
    (firstSeen === undefined || kernel.firstSeen >= firstSeen) &&
    versionFits(kernel.packageVersion) &&
    releaseFits(kernel.kversion);
}

/**
 * The newest so many of each group, of those that `isAllowed`: one that is not makes room for the next. It is asked of the
 * newest first, and of no more kernels than needed.
 */
export function newestOf(
  kernels: readonly CatalogKernel[],
  count: number,
  { sources }: Pick<Catalog, "sources">,
  facts: KnownFacts,
  isAllowed: (kernel: CatalogKernel) => boolean = () => true,
): CatalogKernel[] {
  const fetchable = kernels.filter(
    (kernel) =>
      factsOf(facts, kernel).fetching?.notFetchableSince === undefined && kernel.withdrawnSince === undefined,
  );
  const isInRepository = inRepositories(sources);
  const families = Map.groupBy(fetchable, ({ distribution, architecture, flavour }) =>
    [distribution, architecture, flavour].join("/"),
  );
  return [...families.values()].flatMap((family) => {
    const { listed = [], others = [] } = Object.groupBy(family, (one) =>
      isInRepository(one) ? "listed" : "others",
    );
    const groups = Map.groupBy(listed, groupOf);
    const fillers = Map.groupBy(others, groupOf);
    const chosen = [...groups].flatMap(([name, group]) => {
      const taken = firstOf(group, count, isAllowed);
      return [...taken, ...firstOf(fillers.get(name) ?? [], count - taken.length, isAllowed)];
    });
    return (listed.length > 0 ? chosen : firstOf(others, count, isAllowed)).toSorted(compareKernels);
  });
}

function firstOf(
  kernels: readonly CatalogKernel[],
  count: number,
  isAllowed: (kernel: CatalogKernel) => boolean,
): CatalogKernel[] {
  const taken: CatalogKernel[] = [];
  for (const kernel of kernels.toSorted((a, b) => compareKernels(b, a))) {
    if (taken.length >= count) break;
    if (isAllowed(kernel)) taken.push(kernel);
  }
  return taken;
}

function groupOf({ kversion, sources }: CatalogKernel): string {
  return `${kernelSeries(kversion)} ${lineOf(sources)}`;
}

/** `6.12` of `6.12.117+deb13-amd64`. */
export function kernelSeries(kversion: string): string {
  return /^\d+\.\d+/.exec(kversion)?.[0] ?? kversion;
}

/**
 * Of which line of a release's suites a kernel is. Security and updates continue the release's own suite; what is only
 * in backports, or only proposed, is for those who ask for it, and never stands for the kernel that everybody boots.
 */
function lineOf(sources: readonly string[]): "release" | "backports" | "proposed" {
  const all = (suite: RegExp) => sources.length > 0 && sources.every((id) => suite.test(id));
  if (all(/-backports(-sloppy)?(\/|$)/)) return "backports";
  return all(/-proposed(-updates)?(\/|$)/) ? "proposed" : "release";
}

/** A word of a selection that nothing is called, and the fact about it. */
export interface UnknownWord {
  readonly setting: "distributions" | "flavours" | "kernels";
  readonly fact: string;
}

/**
 * Words of a selection that name nothing: a misspelt one must not select nothing in silence. Distributions are those that
 * this program or the catalog knows; flavours those of the kernels that the rest of the selection is about.
 */
export function unknownWords(
  { distributions = [], architectures, flavours = [], kernels: named = [] }: Selection,
  { kernels }: Pick<Catalog, "kernels">,
): UnknownWord[] {
  // Whatever a source will list is not known before any was read.
  if (kernels.length === 0) return [];
  const strange = unknownDistributions(
    distributions,
    kernels.map(({ distribution }) => distribution),
  );
  if (strange.length > 0) return strange;
  const about = kernels.filter(fits({ distributions: emptyAsAll(distributions), architectures }, "all"));
  const there = [...new Set(about.map(({ flavour }) => flavour))].toSorted();
  if (there.length === 0) return [];
  // Of several that are as near, the newest is meant: a catalog has it last.
  const versions = [...new Set(about.map(({ kversion }) => kversion))].toReversed();
  const missing = named
    .filter((word) => !versions.includes(word))
    .map((word) => ({
      setting: "kernels" as const,
      fact: `none of the ${about.length} kernels is ${word}${didYouMean(word, versions)}`,
    }));
  const strangeFlavours = flavours
    .filter((word) => !there.includes(word))
    .map((word) => ({
      setting: "flavours" as const,
      fact: `none of the ${about.length} kernels has the flavour '${word}'${didYouMean(word, there)}; there are ${there.join(", ")}`,
    }));
  return [...missing, ...strangeFlavours];
}

/** Those of some words that are neither a distribution or release that this program knows, nor one of `releases`. */
export function unknownDistributions(
  words: readonly string[] | undefined,
  releases: readonly string[],
): UnknownWord[] {
  const known = new Set([
    ...DISTRIBUTIONS.map(({ id }) => id),
    ...[...new Set(releases)].flatMap((key) => [partsOfRelease(key).id, key]),
    ...DISTRIBUTIONS.flatMap((one) => one.releases.map(({ key }) => key)),
  ]);
  return (words ?? [])
    .filter((word) => !known.has(word) && findRelease(word) === undefined)
    .map((word) => ({
      setting: "distributions",
      fact: `there is no distribution or release '${word}'${releaseCalled(word) ?? didYouMean(word, [...known])}`,
    }));
}

/** People say `bookworm`. */
function releaseCalled(codename: string): string | undefined {
  const releases = DISTRIBUTIONS.flatMap(({ releases }) => [...releases]);
  const called = releases.find((release) => "codename" in release && release.codename === codename);
  return called && ` (did you mean '${called.key}'?)`;
}

const emptyAsAll = <T>(words: readonly T[]) => (words.length === 0 ? undefined : words);

function isBuildable(kernel: CatalogKernel): boolean {
  const { distribution, missing, unbuildable } = kernel;
  // Earlier versions kept kernels that nothing can be named after.
  const isWhole = missing === undefined && unbuildable === undefined && nameFault(kernel) === undefined;
  return distribution !== "unknown" && isWhole;
}

function isOneOf(wanted: readonly string[] | undefined, ...names: (string | undefined)[]): boolean {
  return wanted === undefined || names.some((name) => name !== undefined && wanted.includes(name));
}

function expressionFilter(expression: string | undefined, what: string): (text: string) => boolean {
  if (expression === undefined) return () => true;
  try {
    const compiled = RE2JS.compile(expression);
    return (text) => compiled.matches(text);
  } catch (cause) {
    const fact = cause instanceof Error ? cause.message : String(cause);
    throw new FarmError("USAGE", { detail: `${what} expression '${expression}': ${fact}`, cause });
  }
}
