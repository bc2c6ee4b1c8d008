/**
 * One look at every configured source, and the catalog that results.
 */
import { assertNever, type ErrorCode, type FarmError } from "../base/error.ts";
import { ARCHITECTURES } from "../kernel/architecture.ts";
import { type ListedPackage, plainPackage } from "../kernel/distributions/distribution.ts";
import { findRelease, versionOrder } from "../kernel/distributions/index.ts";
import type { Package } from "../kernel/kernel.ts";
import { type AptSource, readAptSource } from "./apt.ts";
import type { Catalog, CatalogSource, GuestTools } from "./catalog.ts";
import { countByArchitecture, mergeCatalog, type ReleaseReport } from "./merge.ts";
import { type RpmSource, readRpmSource } from "./rpm-md.ts";
import type { SourceAnswer, SourceContext } from "./source.ts";

/** A source of any format. */
export type Source = AptSource | RpmSource;

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
  sources: readonly Source[],
  context: SourceContext,
  options: UpdateOptions,
): Promise<Update> {
  const answers = await Promise.all(
    sources.map(async (source) => ({ source, answer: await readSource(source, previous, context) })),
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

function readSource(source: Source, previous: Catalog, context: SourceContext): Promise<SourceAnswer> {
  switch (source.kind) {
    case "apt":
      return readAptSource(source, context);
    case "rpm-md": {
      const lastMirror = previous.sources.find(({ id }) => id === source.id)?.url;
      return readRpmSource({ ...source, ...(lastMirror === undefined ? {} : { lastMirror }) }, context);
    }
    default:
      return assertNever(source);
  }
}

interface Answered {
  readonly source: Source;
  readonly answer: SourceAnswer;
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
    architectures: [...new Set(group.flatMap(({ source }) => source.architectures))],
    kernels,
    guests: guestsOf(release, distribution?.guestPackages ?? [], usable),
    sources: judged.map(({ state }) => ({
      ...state,
      kernels: countByArchitecture(kernels.filter((kernel) => kernel.sources.includes(state.id))),
    })),
  };
}

/** The state of a source by its own words: reachable, signed, recent. Losses are judged later, by the union. */
function judge(source: Source, answer: SourceAnswer, previous: Catalog, now: Date): CatalogSource {
  const before = previous.sources.find((known) => known.id === source.id);
  const base = {
    ...before,
    id: source.id,
    kind: source.kind,
    distribution: source.release,
    url: placeOf(source, answer, before),
    checkedAt: now.toISOString(),
    kernels: before?.kernels ?? {},
    cadence: before?.cadence ?? [],
  };
  delete base.detail;
  delete base.accepted;
  if (answer.kind === "failed") return { ...base, status: "failed", detail: answer.error.message };
  if (answer.kind === "notServed") {
    // What was there and is gone is a failure; one that never was is a fact.
    const known = before !== undefined && before.metadataDate !== undefined;
    return known
      ? { ...base, status: "failed", detail: "the server no longer has it" }
      : { ...base, status: "notServed" };
  }
  const { date, validUntil } = answer.metadata;
  if (before?.metadataDate !== undefined && date < before.metadataDate) {
    const detail = `its metadata of ${date} is older than the one of ${before.metadataDate} that we already had`;
    return { ...base, status: "suspect", detail };
  }
  const { validUntil: _, unsigned: __, updateinfo: ___, ...rest } = base;
  const { date: metadataDate, ...facts } = answer.metadata;
  const cadence = [...new Set([...base.cadence, date])].slice(-REMEMBERED_DATES);
  const fresh = { ...rest, ...facts, metadataDate, cadence };
  const late = lateness(date, validUntil, cadence, now);
  if (late === undefined) return { ...fresh, status: "ok" };
  return { ...fresh, status: "expired", detail: late, ...(source.acceptExpired ? { accepted: true } : {}) };
}

/** What the source's paths are relative to; for one that lists mirrors, the mirror that answered last. */
function placeOf(source: Source, answer: SourceAnswer, before: CatalogSource | undefined): string {
  if (answer.kind === "read") return answer.url;
  if (source.kind === "apt") return source.url;
  const [first = ""] = source.location.urls;
  return source.location.kind === "baseurl" ? first : (before?.url ?? first);
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
  if (names.length === 0) return [];
  const compare = versionOrder(distribution);
  return ARCHITECTURES.flatMap(({ name: architecture }) => {
    const packages = listed
      .filter((one) => names.includes(one.name) && one.architecture === architecture)
      .toSorted((a, b) => compare(b.version, a.version))
      .map(plainPackage);
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
