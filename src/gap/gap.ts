/**
 * Verdicts on many kernels with all CVEs. A cell is computed and never stored: kernels of one upstream release share what
 * upstream's history says, as bits; only CVEs of which something else is known are looked at one by one.
 */
import type { UpstreamVersion } from "../kernel/upstream-version.ts";
import { type Book, fixesOf } from "./book.ts";
import { evidenceIn, type KernelEvidence } from "./evidence/index.ts";
import type { Cve } from "./records.ts";
import { countBits, hasBit, keyOfRelease, type Planes, Sweep } from "./sweep.ts";
import type { Target } from "./target.ts";
import type { UpstreamVerdict } from "./upstream.ts";
import {
  type Evidence,
  plainVerdict,
  type UnknownReason,
  VERDICTS,
  type Verdict,
  type VerdictName,
  verdictOf,
} from "./verdict.ts";

interface VerdictCounts {
  readonly counts: Readonly<Record<VerdictName, number>>;
  /** How many of `unknown` have which reason. */
  readonly unknown: Readonly<Partial<Record<UnknownReason, number>>>;
}

export interface KernelVerdicts extends VerdictCounts {
  readonly target: Target;
  /** The verdict on one CVE, with its evidence. */
  of(cve: string): Verdict;
  /** CVEs with one of these verdicts, in the order of the book. */
  cvesThatAre(...verdicts: VerdictName[]): string[];
}

/** What bits say of a CVE, in the order in which they are tried. */
const KINDS = ["fixed", "unfixed", "affected", "not_affected"] as const;
type Kind = (typeof KINDS)[number];
const UPSTREAM: Readonly<Record<Kind, UpstreamVerdict>> = {
  fixed: { verdict: "fixed", fixedIn: { series: 0, patch: 0 } },
  unfixed: { verdict: "affected", fixedIn: undefined },
  affected: { verdict: "affected", fixedIn: { series: 0, patch: 0 } },
  not_affected: { verdict: "not_affected" },
};

export class Gap {
  readonly book: Book;
  #sweep: Sweep | undefined;
  readonly #index: ReadonlyMap<string, number>;
  /** CVEs that need more than bits in every kernel. */
  readonly #special: readonly number[];
  readonly #planes = new Map<string, Planes>();

  constructor(book: Book) {
    this.book = book;
    this.#index = new Map(book.cves.map(({ id }, index) => [id, index]));
    this.#special = book.cves.flatMap(({ rejected, otherPairs }, index) =>
      rejected === true || otherPairs !== undefined ? [index] : [],
    );
  }

  /** Walks through upstream's history once for all these kernels; others are walked to when they are asked for. */
  prepare(targets: Iterable<Target>): void {
    const missing = new Map<string, UpstreamVersion>();
    for (const { base } of targets)
      if (base !== undefined && !this.#planes.has(keyOfRelease(base))) missing.set(keyOfRelease(base), base);
    if (missing.size === 0) return;
    this.#sweep ??= new Sweep(this.book.cves);
    for (const [key, planes] of this.#sweep.planes(missing.values())) this.#planes.set(key, planes);
  }

  /** One cell, and no more. */
  of(cve: string, target: Target): Verdict {
    return judge(cve, target, this.book, evidenceIn(this.book, target));
  }

  ofKernel(target: Target): KernelVerdicts {
    this.prepare([target]);
    const evidence = evidenceIn(this.book, target);
    const planes = target.base === undefined ? undefined : this.#planes.get(keyOfRelease(target.base));
    const plain = plainVerdicts(target, evidence, this.book);
    const kindOf = (index: number) => kindIn(planes, index);
    const single = this.#judgedSingly(target, evidence, planes, (index) => plain[kindOf(index)]);
    const { cves } = this.book;
    return {
      target,
      ...countsOf(cves.length, planes, plain, single, kindOf),
      of: (cve) => judge(cve, target, this.book, evidence),
      cvesThatAre: (...wanted) =>
        cves.flatMap(({ id }, index) =>
          wanted.includes((single.get(index) ?? plain[kindOf(index)]).verdict) ? [id] : [],
        ),
    };
  }

  /** CVEs that a kernel has fixed and the one before it has not, of what it builds. */
  closes(newer: Target, older: Target): string[] {
    const before = new Set(
      this.ofKernel(older).cvesThatAre("fixed", "not_affected", "not_built", "rejected"),
    );
    const kernel = this.ofKernel(newer);
    return kernel
      .cvesThatAre("fixed")
      .filter((cve) => !before.has(cve))
      .filter(
        (cve) =>
          newer.builds === undefined || !kernel.of(cve).evidence.some(({ says }) => says === "not_built"),
      );
  }

  #judgedSingly(
    target: Target,
    evidence: KernelEvidence,
    planes: Planes | undefined,
    plainOf: (index: number) => Plain,
  ): Map<number, Verdict> {
    const indexes = new Set(this.#special);
    for (const cve of evidence.cves()) {
      const index = this.#index.get(cve);
      if (index === undefined) continue;
      // What is fine already does not become finer.
      const { verdict } = plainOf(index);
      const isFine = ({ says }: Evidence) =>
        verdict === "fixed"
          ? says === "fixed" || says === "claimed" || says === "not_built"
          : says === "not_built" && verdict === "not_affected";
      if (!evidence.of(cve).every(isFine)) indexes.add(index);
    }
    const { base, otherBases = [] } = target;
    if (planes !== undefined && base !== undefined) {
      // Bits know one release; and which of its causes is to blame depends on the day of each fix.
      const isManifold = base.prerelease !== undefined || otherBases.length > 0;
      const isTrimmed = evidence.changelogSince !== undefined;
      for (let index = 0; (isManifold || isTrimmed) && index < this.book.cves.length; index++)
        if (isManifold || hasBit(planes.affected, index)) indexes.add(index);
    }
    return new Map(
      [...indexes].map((index) => [
        index,
        judge((this.book.cves[index] as Cve).id, target, this.book, evidence),
      ]),
    );
  }
}

function kindIn(planes: Planes | undefined, index: number): Kind {
  if (planes === undefined) return "not_affected";
  if (hasBit(planes.fixed, index)) return "fixed";
  if (!hasBit(planes.affected, index)) return "not_affected";
  return hasBit(planes.unfixed, index) ? "unfixed" : "affected";
}

type Plain = Pick<Verdict, "verdict" | "reason">;

function plainVerdicts(
  target: Target,
  { hasAdvisories }: KernelEvidence,
  { feed }: Book,
): Record<Kind, Plain> {
  const of = (kind: Kind) => plainVerdict(UPSTREAM[kind], target, { feed, hasAdvisories });
  return {
    fixed: of("fixed"),
    unfixed: of("unfixed"),
    affected: of("affected"),
    not_affected: of("not_affected"),
  };
}

function countsOf(
  size: number,
  planes: Planes | undefined,
  plain: Readonly<Record<Kind, Plain>>,
  single: ReadonlyMap<number, Verdict>,
  kindOf: (index: number) => Kind,
): VerdictCounts {
  const counts = Object.fromEntries(VERDICTS.map((name) => [name, 0])) as Record<VerdictName, number>;
  const unknown: Partial<Record<UnknownReason, number>> = {};
  const add = ({ verdict, reason }: Plain, count: number) => {
    counts[verdict] += count;
    if (reason !== undefined && count > 0) unknown[reason] = (unknown[reason] ?? 0) + count;
  };
  const [affected, fixed, unfixed] =
    planes === undefined
      ? [0, 0, 0]
      : [
          countBits(planes.affected),
          countBits(planes.fixed),
          countBits(planes.affected.map((word, at) => word & (planes.unfixed[at] ?? 0))),
        ];
  const bits: Record<Kind, number> = {
    ...{ fixed, unfixed },
    affected: affected - unfixed,
    not_affected: size - affected - fixed,
  };
  for (const index of single.keys()) bits[kindOf(index)]--;
  for (const kind of KINDS) add(plain[kind], bits[kind]);
  for (const verdict of single.values()) add(verdict, 1);
  for (const reason of Object.keys(unknown) as UnknownReason[])
    if (unknown[reason] === 0) delete unknown[reason];
  return { counts, unknown };
}

/** One cell. */
function judge(id: string, target: Target, book: Book, known: KernelEvidence): Verdict {
  const { hasAdvisories, changelogSince } = known;
  const cve = book.cve.get(id);
  const firstFixed =
    cve === undefined || changelogSince === undefined ? undefined : fixesOf(cve, book.releases)[0]?.day;
  return verdictOf(id, cve, target, {
    ...{ feed: book.feed, evidence: known.of(id), hasAdvisories },
    ...(changelogSince === undefined ? {} : { changelogSince }),
    ...(firstFixed === undefined ? {} : { firstFixed }),
  });
}
