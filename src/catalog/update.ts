/**
 * What every source answered, laid over the catalog, and what a person should know of it.
 */

import type { FarmError } from "../base/error.ts";
import type { ErrorCode } from "../base/error-codes.ts";
import { ARCHITECTURES } from "../kernel/architecture.ts";
import { type ListedKernel, type ListedPackage, plainPackage } from "../kernel/distributions/distribution.ts";
import { findRelease, versionOrder } from "../kernel/distributions/index.ts";
import type { KnownFacts } from "../kernel/facts.ts";
import type { Package } from "../kernel/kernel.ts";
import { nameFault } from "../kernel/nameable.ts";
import type { Answered } from "./ask.ts";
import type { Catalog, CatalogSource, GuestTools } from "./catalog.ts";
import { demandPresence, judge } from "./judge.ts";
import { countByArchitecture, mergeCatalog, type ReleaseReport } from "./merge.ts";

export interface UpdateOptions {
  readonly now: Date;
  /** What was learned of kernels. Default: nothing. */
  readonly facts?: KnownFacts;
  readonly acceptWithdrawals?: boolean;
}

export interface Update {
  readonly catalog: Catalog;
  /** The state of every source that was asked. */
  readonly sources: readonly CatalogSource[];
  /** What a person should look at: sources that failed, are too old, or lost kernels. Empty on a good night. */
  readonly problems: readonly SourceProblem[];
  /** What was left out of sources that are well. */
  readonly warnings: readonly SourceWarning[];
}

export interface SourceProblem {
  readonly source: string;
  readonly detail: string;
  /** The next step of the person. */
  readonly hint: string;
  readonly code: ErrorCode;
  readonly integrity: boolean;
}

export interface SourceWarning {
  readonly source: string;
  /** How many entries or packages. */
  readonly count: number;
  readonly detail: string;
}

/** Lays the answers of repositories over a catalog; one that failed changes no kernel. */
export function updateCatalog(
  previous: Catalog,
  answered: readonly Answered[],
  options: UpdateOptions,
): Update {
  const answers = demandPresence(answered, previous);
  const reports = [...Map.groupBy(answers, ({ source }) => source.release)].map(([release, group]) =>
    reportRelease(release, group, previous, options.now),
  );
  const catalog = mergeCatalog(previous, reports, {
    now: options.now.toISOString(),
    ...(options.facts === undefined ? {} : { facts: options.facts }),
    ...(options.acceptWithdrawals ? { acceptWithdrawals: true } : {}),
  });
  const asked = new Set(answers.map(({ source }) => source.id));
  return {
    catalog,
    sources: catalog.sources.filter(({ id }) => asked.has(id)),
    problems: problemsOf(catalog, answers),
    warnings: rivalsOf(reports.flatMap(({ kernels }) => kernels)),
  };
}

function reportRelease(
  release: string,
  group: readonly Answered[],
  previous: Catalog,
  now: Date,
): ReleaseReport {
  const judged = group.map(({ source, answer }) => ({ answer, state: judge(source, answer, previous, now) }));
  const taken = judged.flatMap(({ answer, state }) =>
    answer.kind === "read" && isTaken(state)
      ? [{ packages: answer.packages, isSigned: state.unsigned !== true }]
      : [],
  );
  const usable = taken.flatMap(({ packages }) => packages);
  const signed = taken.flatMap(({ packages, isSigned }) => (isSigned ? packages : []));
  const distribution = findRelease(release)?.distribution;
  const kernelsOf = (packages: readonly ListedPackage[]) => distribution?.kernelsOf(packages) ?? [];
  const all = kernelsOf(usable);
  const listed = signed.length === usable.length ? all : signedFirst(all, kernelsOf(signed));
  const named = listed.filter((kernel) => nameFault({ ...kernel, distribution: release }) === undefined);
  const crowded = crowdedSources(named, previous);
  const kernels = named.filter(({ sources }) => sources.some((id) => !crowded.has(id)));
  return {
    distribution: release,
    architectures: [...new Set(group.flatMap(({ source }) => source.architectures))],
    kernels,
    guests: guestsOf(release, distribution?.guestPackages ?? [], usable),
    sources: judged.map(({ state }) => {
      const count = crowded.get(state.id);
      if (count !== undefined) return { ...state, status: "suspect" as const, detail: crowdText(count) };
      return isTaken(state) ? { ...state, kernels: countOf(state, kernels) } : state;
    }),
  };
}

/**
 * What signed metadata says of a kernel is not replaced by what unsigned metadata of the same release claims; who else lists the
 * very same headers is a source of it too.
 */
function signedFirst(all: readonly ListedKernel[], signed: readonly ListedKernel[]): ListedKernel[] {
  const nameOf = ({ kversion, packageVersion, architecture }: ListedKernel) =>
    `${kversion} ${packageVersion} ${architecture}`;
  const known = new Map(signed.map((kernel) => [nameOf(kernel), kernel]));
  const headersOf = ({ packages }: ListedKernel) => packages.headers[0]?.sha256;
  return all.map((kernel) => {
    const own = known.get(nameOf(kernel));
    if (own === undefined) return kernel;
    const others = headersOf(own) === headersOf(kernel) ? kernel.sources : [];
    return { ...own, sources: [...new Set([...own.sources, ...others])] };
  });
}

/** Of one source; the largest distribution has published a tenth of that in all its time. */
const MOST_KERNELS = 20_000;

/** Sources with more kernels than that, those of earlier nights among them: nothing leaves a catalog again. */
function crowdedSources(
  listed: readonly ListedKernel[],
  { kernels }: Pick<Catalog, "kernels">,
): ReadonlyMap<string, number> {
  const names = new Map<string, Set<string>>();
  for (const { sources, kversion, packageVersion, architecture } of [...listed, ...kernels])
    for (const id of sources)
      names.set(id, (names.get(id) ?? new Set()).add(`${kversion} ${packageVersion} ${architecture}`));
  const counts = [...new Set(listed.flatMap(({ sources }) => sources))].map(
    (id) => [id, names.get(id)?.size ?? 0] as const,
  );
  return new Map(counts.filter(([, count]) => count > MOST_KERNELS));
}

function crowdText(count: number): string {
  return `it has listed ${count} kernels, and the catalog keeps no more than ${MOST_KERNELS} of one source`;
}

/** Whether what a source lists counts; else what it listed last stays. */
function isTaken({ status, accepted }: CatalogSource): boolean {
  return status === "ok" || (status === "expired" && accepted === true);
}

function countOf({ id }: CatalogSource, kernels: readonly ListedKernel[]): CatalogSource["kernels"] {
  return countByArchitecture(kernels.filter(({ sources }) => sources.includes(id)));
}

function guestsOf(
  distribution: string,
  names: readonly string[],
  listed: readonly ListedPackage[],
): GuestTools[] {
  if (names.length === 0) return [];
  const compare = versionOrder(distribution);
  return ARCHITECTURES.flatMap(({ name: architecture }) => {
    const packages = listed
      .filter((one) => names.includes(one.name) && one.architecture === architecture)
      .toSorted((a, b) => compare(b.version, a.version))
      .map(plainPackage);
    // The first is what no guest can do without; the others differ from release to release.
    return packages.some(({ name }) => name === names[0])
      ? [{ distribution, architecture, packages: distinct(packages) }]
      : [];
  });
}

/** Suites repeat each other's packages. */
function distinct(packages: readonly Package[]): Package[] {
  return [...new Map(packages.toReversed().map((one) => [one.sha256, one])).values()].toReversed();
}

function problemsOf(catalog: Catalog, answers: readonly Answered[]): SourceProblem[] {
  const said = new Map(answers.map(({ source, answer }) => [source.id, answer]));
  return catalog.sources.flatMap((source): SourceProblem[] => {
    const answer = said.get(source.id);
    if (answer === undefined || isTaken(source) || source.status === "notServed") return [];
    if (answer.kind === "failed") return [failureOf(source.id, answer.error)];
    // What went back in time, or is ahead of it, keeps the date it had.
    const isOlder = answer.kind === "read" && answer.metadata.date !== source.metadataDate;
    const hint = source.status === "expired" ? ACCEPT_EXPIRED : isOlder ? OTHER_TIMES : ACCEPT_LOSS;
    return [suspicionOf(source, hint)];
  });
}

export const ACCEPT_LOSS =
  "If the kernels of a suspect source really are gone, accept that once with `kmodfarm catalog update --accept-withdrawals`.";
const ACCEPT_EXPIRED = "A source that is only out of date can be accepted with `acceptExpired: true`.";
const OTHER_TIMES =
  "A mirror that went back in time usually catches up by itself; otherwise compare both clocks, or configure another one.";
const DISTRUST =
  "Nothing from a source with wrong digests was used: its mirror may be in the middle of an update. Try again later; if it still differs, do not trust it.";

export function failureOf(source: string, error: FarmError): SourceProblem {
  const { code, blame, hint } = error;
  return {
    source,
    detail: `failed: ${error.factAbout(source)}`,
    hint: code === "DIGEST_MISMATCH" ? DISTRUST : hint,
    code,
    integrity: blame === "integrity",
  };
}

export function suspicionOf({ id, status, detail }: CatalogSource, hint: string): SourceProblem {
  return {
    source: id,
    detail: `${status}: ${detail ?? ""}`,
    hint,
    code: "CATALOG_SUSPECT",
    integrity: false,
  };
}

/** Kernel packages that others of the same `uname -r` stand in the way of. */
function rivalsOf(kernels: readonly ListedKernel[]): SourceWarning[] {
  const contested = kernels.filter(({ rivals }) => rivals !== undefined);
  const groups = Map.groupBy(contested, ({ sources }) => sources[0] ?? "");
  return [...groups].map(([source, group]) => {
    const [{ kversion, rivals = [], packages }] = group as [ListedKernel];
    const count = group.reduce((sum, one) => sum + (one.rivals?.length ?? 0), 0);
    const what = count === 1 ? "header package" : "header packages";
    const detail = `${count} ${what} left out: ${rivals.join(", ")} with the uname -r of ${packages.headers[0]?.name}, ${kversion}${group.length > 1 ? ", …" : ""}`;
    return { source, count, detail };
  });
}
