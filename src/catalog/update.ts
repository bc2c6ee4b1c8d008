/**
 * One look at every configured source, and the catalog that results.
 */
import type { ErrorCode, FarmError } from "../base/error.ts";
import { ARCHITECTURES } from "../kernel/architecture.ts";
import { compareDebVersions } from "../kernel/deb-version.ts";
import type { ListedPackage } from "../kernel/distributions/distribution.ts";
import { findRelease } from "../kernel/distributions/index.ts";
import type { Package } from "../kernel/kernel.ts";
import { type AptAnswer, type AptContext, type AptSource, readAptSource } from "./apt.ts";
import type { Catalog, CatalogSource, GuestTools } from "./catalog.ts";
import { countByArchitecture, mergeCatalog, type ReleaseReport } from "./merge.ts";

export interface UpdateOptions {
  readonly now: Date;
  readonly acceptWithdrawals?: boolean;
}

export interface Update {
  readonly catalog: Catalog;
  /** What a person should look at: sources that failed, are too old, or lost kernels. Empty on a good night. */
  readonly problems: readonly SourceProblem[];
}

export interface SourceProblem {
  readonly source: string;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly integrity: boolean;
}

const DAY_MS = 86_400_000;
const REMEMBERED_DATES = 10;

export async function updateCatalog(
  previous: Catalog,
  sources: readonly AptSource[],
  context: AptContext,
  options: UpdateOptions,
): Promise<Update> {
  const answers = await Promise.all(
    sources.map(async (source) => ({ source, answer: await readAptSource(source, context) })),
  );
  const reports = [...Map.groupBy(answers, ({ source }) => source.release)].map(([release, group]) =>
    reportRelease(release, group, previous, options.now),
  );
  const catalog = mergeCatalog(previous, reports, {
    now: options.now.toISOString(),
    ...(options.acceptWithdrawals ? { acceptWithdrawals: true } : {}),
  });
  return { catalog, problems: problemsOf(catalog, answers) };
}

interface Answered {
  readonly source: AptSource;
  readonly answer: AptAnswer;
}

function reportRelease(
  release: string,
  group: readonly Answered[],
  previous: Catalog,
  now: Date,
): ReleaseReport {
  const judged = group.map(({ source, answer }) => ({ answer, state: judge(source, answer, previous, now) }));
  const usable = judged.flatMap(({ answer, state }) =>
    answer.kind === "read" && (state.status === "ok" || (state.status === "expired" && state.accepted))
      ? answer.packages
      : [],
  );
  const distribution = findRelease(release)?.distribution;
  const kernels = distribution?.kernelsOf(usable) ?? [];
  return {
    distribution: release,
    kernels,
    guests: guestsOf(release, distribution?.guestPackages ?? [], usable),
    sources: judged.map(({ state }) => ({
      ...state,
      kernels: countByArchitecture(kernels.filter((kernel) => kernel.sources.includes(state.id))),
    })),
  };
}

/** The state of a source by its own words: reachable, signed, recent. Losses are judged later, by the union. */
function judge(source: AptSource, answer: AptAnswer, previous: Catalog, now: Date): CatalogSource {
  const before = previous.sources.find((known) => known.id === source.id);
  const base = {
    ...before,
    id: source.id,
    kind: "apt" as const,
    distribution: source.release,
    url: source.url,
    checkedAt: now.toISOString(),
    kernels: before?.kernels ?? {},
    cadence: before?.cadence ?? [],
  };
  delete base.detail;
  delete base.accepted;
  if (answer.kind === "failed") return { ...base, status: "failed", detail: answer.error.message };
  if (answer.kind === "notServed") {
    // A suite that was there and is gone is a failure; one that never was is a fact.
    const known = before !== undefined && before.metadataDate !== undefined;
    return known
      ? { ...base, status: "failed", detail: "the server no longer has this suite" }
      : { ...base, status: "notServed" };
  }
  const { date, validUntil, digest } = answer.metadata;
  if (before?.metadataDate !== undefined && date < before.metadataDate) {
    const detail = `its metadata of ${date} is older than the one of ${before.metadataDate} that we already had`;
    return { ...base, status: "suspect", detail };
  }
  const { validUntil: _, ...rest } = base;
  const cadence = [...new Set([...base.cadence, date])].slice(-REMEMBERED_DATES);
  const fresh = {
    ...rest,
    metadataDate: date,
    digest,
    cadence,
    ...(validUntil === undefined ? {} : { validUntil }),
  };
  const late = lateness(date, validUntil, cadence, now);
  if (late === undefined) return { ...fresh, status: "ok" };
  return { ...fresh, status: "expired", detail: late, ...(source.acceptExpired ? { accepted: true } : {}) };
}

/** Why metadata is too old, or undefined: past its Valid-Until, or silent for thrice its own usual interval. */
export function lateness(
  date: string,
  validUntil: string | undefined,
  cadence: readonly string[],
  now: Date,
): string | undefined {
  if (validUntil !== undefined) {
    return Date.parse(validUntil) < now.getTime() ? `its metadata was valid until ${validUntil}` : undefined;
  }
  const times = cadence.map((time) => Date.parse(time));
  const intervals = times
    .slice(1)
    .map((time, index) => time - (times[index] as number))
    .sort((a, b) => a - b);
  const median = intervals[Math.floor(intervals.length / 2)];
  const age = now.getTime() - Date.parse(date);
  if (median === undefined || intervals.length < 2 || age <= 3 * median || age <= 14 * DAY_MS)
    return undefined;
  return `its metadata is ${Math.round(age / DAY_MS)} days old, and used to be renewed every ${Math.round(median / DAY_MS)}`;
}

function guestsOf(
  distribution: string,
  names: readonly string[],
  listed: readonly ListedPackage[],
): GuestTools[] {
  return ARCHITECTURES.flatMap(({ name: architecture }) => {
    const packages = listed
      .filter((one) => names.includes(one.name) && one.architecture === architecture)
      .toSorted((a, b) => compareDebVersions(b.version, a.version))
      .map(({ depends: _, ...plain }) => plain);
    const hasAll = names.every((name) => packages.some((one) => one.name === name));
    return hasAll ? [{ distribution, architecture, packages: distinct(packages) }] : [];
  });
}

/** Suites repeat each other's packages. */
function distinct(packages: readonly Package[]): Package[] {
  return [...new Map(packages.toReversed().map((one) => [one.sha256, one])).values()].toReversed();
}

function problemsOf(catalog: Catalog, answers: readonly Answered[]): SourceProblem[] {
  const errors = new Map<string, FarmError>();
  for (const { source, answer } of answers) if (answer.kind === "failed") errors.set(source.id, answer.error);
  return catalog.sources.flatMap((source) => {
    const asked = answers.some((answered) => answered.source.id === source.id);
    if (!asked || source.status === "ok" || source.status === "notServed" || source.accepted) return [];
    const error = errors.get(source.id);
    const detail = `${source.status}: ${source.detail ?? ""}`;
    const code = error?.code ?? "CATALOG_SUSPECT";
    return [{ source: source.id, detail, code, integrity: error?.blame === "integrity" }];
  });
}
