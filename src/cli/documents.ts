/**
 * What `--json` prints: the type of every document, by its name, which `printJson` takes and nothing else. docs/json/ has a
 * schema of each; tests hold real outputs to them. A document gains members without another number; one that loses or
 * changes some gets the next number.
 */
import { z } from "zod";
import { Failure as BuildFailure } from "../builder/records.ts";
import { RootRecord } from "../builder/toolchains/root-record.ts";
import { AnnotatedCatalog, AnnotatedKernel } from "../catalog/annotated.ts";
import { CatalogSource } from "../catalog/catalog.ts";
import { Verdict } from "../check/verdict.ts";
import { FRAMEWORKS } from "../farm/assurance/control-catalogue.ts";
import { NOTICE_KINDS, type NoticeKind } from "../gap/notices.ts";
import { Cve } from "../gap/records.ts";
import { TIERS } from "../gap/slo.ts";
import { UNKNOWN_REASONS, type UnknownReason, VERDICTS } from "../gap/verdict.ts";
import { LIVE_PATCH_STATES } from "../kernel/live-patch.ts";
import { Element } from "../matrix/element.ts";
import { AttemptNote, Decision, FeedNote, Generation } from "../registry/documents.ts";

const Count = z.int().nonnegative();
const Words = z.array(z.string());

const Problem = z.object({
  source: z.string().describe("The source, element or part of the farm that it is about."),
  detail: z.string(),
  hint: z.string().describe("The next step."),
  code: z.string().describe("A code of docs/errors.md."),
  integrity: z.boolean(),
});

const ShownVerdict = Verdict.extend({
  reasons: Words,
  codes: Words.describe("One for each reason, in the same order; texts may be improved at any time."),
});

const Standing = z.object({ word: z.enum(["stable", "candidate", "withdrawn"]), reasons: Words });
const { failure: Failure } = AttemptNote.shape;

const Attempt = AttemptNote.extend({
  load: z.object({ verdict: ShownVerdict, bootMs: z.int().optional() }).optional(),
  logFile: z.string().optional(),
});

const Outcome = Element.extend({
  compilerName: z.string(),
  outcome: z.enum(["stable", "candidate", "failed", "excluded", "unfetchable", "withdrawn"]),
  standing: Standing.optional(),
  isNew: z.boolean().describe("Whether this run did it, or found it done."),
  isSame: z.boolean().optional().describe("It was built again, and is byte for byte what is published."),
  attempt: Attempt,
  path: z.string().optional().describe("Where its modules are in the view; absent if it is not stable."),
});

const RUN = {
  generation: Count,
  kernels: Count.describe("How many are known."),
  wanted: Count,
  outOfReach: Count.describe("Wanted elements whose packages no mirror has."),
  excluded: z.array(z.object({ reason: z.string(), count: Count, stable: Count })),
  otherStable: Count.describe("Stable artifacts that are not among what was wanted."),
  earlierStable: Count.describe(
    "Wanted elements that are not stable now, while what was built of them before still is.",
  ),
  unfetchable: Count,
  problems: z.array(Problem),
  faults: z
    .object({ integrity: Count, bug: Count, driver: Count, infrastructure: Count })
    .describe("How many faults of each kind there are: see docs/exit-codes.md."),
  exitCode: z.int(),
  elements: z.array(Outcome),
};

const SourceNote = z.object({ source: z.string(), detail: z.string().optional() });
const Place = z.object({ place: z.string(), why: z.string() });
const Fault = z.object({
  name: z.string(),
  code: z.string(),
  message: z.string(),
  hint: z.string().optional(),
});

const document = <const N extends string, S extends z.ZodRawShape>(name: N, shape: S) =>
  z.object({ schema: z.literal(name), ...shape });

const Feed = z.object({ name: z.string(), date: z.iso.date().optional() });

const GapVerdict = z.object({
  ...{ cve: z.string(), target: z.string(), verdict: z.enum(VERDICTS) },
  reason: z
    .enum(Object.keys(UNKNOWN_REASONS) as UnknownReason[])
    .optional()
    .describe("Of `unknown`."),
  fixedIn: z.string().optional(),
  evidence: z.array(
    z.object({
      ...{ id: z.string(), says: z.string(), ref: z.string(), fixedIn: z.string().optional() },
      ...{ revertedIn: z.string().optional() },
      ...{ day: z.iso.date().optional(), feed: z.string(), feedDate: z.iso.date().optional() },
    }),
  ),
  feedDate: z.iso.date().optional(),
  confidence: z.enum(["sound", "provisional"]),
});

const Days = z.number().optional();
const Share = z.number().describe("Of all that have ended.");

/** How long something took, of all that it happened to. */
const DURATIONS = {
  count: Count.describe("What has ended, and when is known."),
  ...{ min: Days, p10: Days, p25: Days, median: Days, p75: Days, p90: Days, p95: Days, max: Days },
  within: z.object({ 7: Share, 14: Share, 30: Share }),
  ...{ negative: Count, intervals: Count, open: Count, unseen: Count },
  ...{ openMedian: Days, medianWithOpen: Days },
};

const GapRow = z.object({
  ...{ cve: z.string(), first: z.iso.date() },
  series: z.object({ version: z.string(), day: z.iso.date() }).optional(),
  distribution: z.object({ version: z.string(), day: z.iso.date(), evidence: z.string() }).optional(),
});

/** Where a kernel that is still to come is, or when it will be there. */
const Arrival = z.object({
  place: z.string().describe("A suite whose kernels are still to come, or a release that users have."),
  kind: z.enum(["there", "expected", "staysWith", "unknown"]),
  since: z.iso.date().optional(),
  ...{ day: z.iso.date().optional(), earliest: z.iso.date().optional(), latest: z.iso.date().optional() },
  warning: z.int().optional().describe("Days since the first place had it, or days that are left."),
  ...{ from: z.string().optional(), count: Count.optional(), series: z.string().optional() },
});

/** What such a kernel is to a driver. */
const Outlook = z.object({
  ...{ driver: z.string(), driverversion: z.string() },
  result: z.enum(["loads", "builds", "breaks", "excluded", "unknown"]),
  why: z.string().optional(),
  api: Words.describe("By what of the kernel it breaks."),
  failure: Failure,
  symbols: z
    .object({
      ...{ comparedWith: z.string(), imports: Count, hasVersions: z.boolean() },
      changed: z.array(
        z.object({
          ...{ module: z.string(), symbol: z.string(), fact: z.string() },
          kind: z.enum(["missing", "version", "noVersion", "gplOnly", "namespace"]),
        }),
      ),
    })
    .optional()
    .describe("What became of what proven modules import."),
});

const Suspect = z.object({
  ...{ subject: z.string(), release: z.string(), upload: z.string(), signals: Words },
  day: z.iso.date().optional(),
});

const TYPES = [
  document("kmodfarm.run/1", RUN),
  document("kmodfarm.take/1", {
    ...RUN,
    ...{ taken: Count, again: Count },
    refused: z.array(
      z.object({
        ...{ file: z.string(), code: z.string(), message: z.string(), hint: z.string() },
        at: z.record(z.string(), z.unknown()),
      }),
    ),
    faults: z.array(Fault),
  }),
  document("kmodfarm.dry-run/1", {
    ...{ generation: Count, wanted: Count, expectedSeconds: z.number(), problems: z.array(Problem) },
    planned: z.array(
      z.object({
        ...{ element: Element, step: z.enum(["build", "load"]), why: z.string() },
        expectedSeconds: z.number(),
      }),
    ),
  }),
  document("kmodfarm.try/1", {
    ...{
      covering: Count,
      replaced: Count.describe(
        "Kernels that others took the place of, because the mirror does not have their packages.",
      ),
      logs: z.string(),
      excluded: RUN.excluded,
      problems: RUN.problems,
    },
    kernels: z.array(
      z.object({
        ...{ driver: z.string(), distribution: z.string(), architecture: z.string() },
        ...{ kernel: z.string(), flavour: z.string(), built: z.boolean(), loaded: z.string() },
        failure: Failure,
      }),
    ),
  }),
  document("kmodfarm.plan/1", {
    plan: z.string().describe("The digest of all its orders, which `take --plan` wants."),
    ...{ out: z.string(), shards: Count, handedOut: Count, wanted: Count, generation: Count },
    orders: z.object({ build: Count, load: Count, before: Count }),
    problems: z.array(Problem),
  }),
  document("kmodfarm.work/1", {
    ...{ done: Count, before: Count, faults: z.array(Fault) },
    left: z.array(z.object({ name: z.string(), reason: z.string() })),
  }),
  document("kmodfarm.catalog-update/1", {
    ...{ kernels: Count, added: z.int(), withdrawn: Count, problems: z.array(Problem), ms: Count },
    warnings: z.array(z.object({ source: z.string(), count: Count, detail: z.string() })),
    sources: z.array(CatalogSource),
    traffic: z.object({ requests: Count, notModified: Count, bytes: Count }),
  }),
  AnnotatedCatalog,
  document("kmodfarm.catalog-find/1", {
    node: z.object({
      ...{ release: z.string(), version: z.string(), machine: z.string() },
      ...{ osId: z.string().optional(), osVersion: z.string().optional() },
    }),
    kind: z.enum(["found", "unknown", "ambiguous"]),
    reason: z.string().optional(),
    kernel: AnnotatedKernel.optional(),
    ...{ same: z.array(AnnotatedKernel).optional(), near: z.array(AnnotatedKernel).optional() },
    kernels: z.array(AnnotatedKernel).optional(),
  }),
  document("kmodfarm.catalog-import/1", {
    ...{ format: z.string(), list: z.string().optional(), entries: Count.optional() },
    ...{ read: Count, added: z.int(), kernels: Count, unknownRelease: Count, unbuildable: Count },
    ...{ incomplete: Count, withdrawn: Count, suspect: z.array(SourceNote) },
    dropped: z.array(z.object({ reason: z.string(), count: Count, examples: Words })),
    formatChanges: z.array(SourceNote.extend({ kernels: Count })),
  }),
  document("kmodfarm.matrix-show/1", {
    elements: z.array(
      Element.extend({
        status: z.string().describe("Where it stands, in words."),
        state: z.enum([
          "stable",
          "loadsOn",
          "candidate",
          "withdrawn",
          "failed",
          "excluded",
          "unfetchable",
          "notBuilt",
        ]),
        excluded: z.string().optional().describe("Why the configuration excludes it."),
        failure: Failure,
      }),
    ),
    others: z
      .array(
        z.object({
          ...{ driver: z.string(), driverversion: z.string(), output: z.string(), status: z.string() },
          excluded: z.string().optional(),
        }),
      )
      .describe("What the store has, or the configuration excludes, that is no element of the matrix."),
  }),
  document("kmodfarm.matrix-diff/1", {
    ...{ added: z.array(Element), removed: z.array(Element), unchanged: Count },
    changed: z.array(Element.extend({ reasons: Words })),
    formatChanges: z.array(z.object({ distribution: z.string(), elements: Count, detail: z.string() })),
  }),
  document("kmodfarm.matrix-diff-counts/1", {
    ...{ added: Count, changed: Count, removed: Count, unchanged: Count, removedKeys: Words },
  }),
  document("kmodfarm.list-diff/1", {
    ...{ added: Words, removed: Words, moved: Words, changed: Words, unchanged: Count },
    formatChanges: z.array(z.object({ distribution: z.string(), entries: Count, detail: z.string() })),
  }),
  document("kmodfarm.shards/1", {
    shards: z.array(
      z.object({
        ...{
          id: z.string(),
          distribution: z.string(),
          architecture: z.string(),
          expectedSeconds: z.number(),
        },
        elements: z.array(Element),
      }),
    ),
  }),
  document("kmodfarm.check/1", {
    ...{ kernel: z.string(), verdicts: z.array(ShownVerdict), standing: Standing.optional() },
    files: z.array(z.object({ name: z.string(), sha256: z.string(), size: Count })),
    answer: z.object({ answer: z.enum(["loads", "refuses", "unknown"]), reasons: Words }).optional(),
    ...{ serves: Words.optional(), log: Words.optional() },
  }),
  document("kmodfarm.load/1", {
    ...{ kernel: z.string(), verdict: ShownVerdict, bootMs: Count, accelerator: z.string(), log: Words },
    livePatches: z
      .array(
        z.object({
          ...{ patch: z.string(), state: z.enum(LIVE_PATCH_STATES) },
          ...{ enabled: z.boolean().optional(), transition: z.boolean().optional() },
          ...{ replace: z.boolean().optional(), stack_order: Count.optional() },
        }),
      )
      .optional()
      .describe("What the kernel said of each live patch that was asked for: /sys/kernel/livepatch."),
    lockdown: z
      .object({ mode: z.string(), enforcesSignatures: z.boolean() })
      .optional()
      .describe("With --secure-boot: what the kernel demanded of modules."),
  }),
  document("kmodfarm.audit/1", {
    ...{ place: z.string(), modules: Count, kernels: Words, unclaimed: Words, signaturesUnverified: Count },
    unjudged: z.array(z.object({ path: z.string(), why: z.string() })),
    unread: z.array(Place),
    findings: z.array(z.object({ path: z.string(), kind: z.string(), fact: z.string() })),
  }),
  document("kmodfarm.rebuild/1", {
    ...{ element: Element, recipe: z.string(), buildMs: Count, files: Words, logFile: z.string() },
    result: z.enum(["equal", "different", "failed"]),
    statement: z.string().optional().describe("The file with the statement of it."),
    surroundings: z.object({
      ...{ place: z.string(), hostname: z.string().optional(), userId: Count.optional() },
      ...{ umask: Count.optional(), timeZone: z.string(), locale: z.string(), jobs: Count },
    }),
    failure: BuildFailure.optional(),
    modules: z.array(
      z.object({
        ...{ name: z.string(), isEqual: z.boolean(), isCodeEqual: z.boolean(), causes: Words },
        differences: z.array(
          z.object({
            ...{ section: z.string(), sizes: z.tuple([Count, Count]) },
            kind: z.enum(["onlyFirst", "onlySecond", "size", "bytes", "order"]),
            ...{ firstAt: Count.optional(), differingBytes: Count.optional() },
            strings: z.object({ first: Words, second: Words }),
          }),
        ),
      }),
    ),
  }),
  document("kmodfarm.statements/1", {
    statements: z.array(
      z.object({
        ...{ name: z.string(), result: z.string(), places: Words, fact: z.string() },
      }),
    ),
  }),
  document("kmodfarm.modules/1", {
    format: z.literal("linux-merkle-v5"),
    form: z.enum(["built", "stripped"]).describe("Which bytes of the modules it is over."),
    ...{ count: Count, levels: Count, root: z.string() },
    modules: z.array(z.object({ name: z.string(), leaf: z.string() })),
  }),
  document("kmodfarm.proofs/1", {
    ...{ format: z.string(), roots: z.array(z.object({ root: z.string(), of: z.string() })) },
    files: z.array(
      z.object({
        ...{ file: z.string(), verdict: z.string(), fact: z.string() },
        by: z.string().optional().describe("Whose root says it."),
      }),
    ),
  }),
  document("kmodfarm.gap-ingest/1", {
    generation: Count,
    feeds: z.array(
      z.object({
        ...{ name: z.string(), kind: z.string(), from: z.string() },
        result: z.enum(["read", "unchanged", "suspect", "failed"]),
        note: FeedNote.optional().describe("What is published of it now."),
        ...{ code: z.string().optional(), detail: z.string().optional() },
      }),
    ),
  }),
  document("kmodfarm.gap-report/1", {
    ...{ today: z.iso.date(), feed: Feed },
    distributions: z.array(
      z.object({
        ...{ release: z.string(), package: z.string(), series: z.string().optional() },
        leftOut: z.object({ beforeRelease: Count, withoutDay: Count, slips: Count }),
        summaries: z.array(z.object({ stage: z.string(), group: z.string(), ...DURATIONS })),
        rows: z.array(GapRow).optional(),
        unassigned: z
          .object({ looked: Count, likely: Count })
          .optional()
          .describe("Commits that the feed is too old for, and how many are likely security by their words."),
      }),
    ),
    own: z
      .array(z.object({ stage: z.string(), ...DURATIONS }))
      .optional()
      .describe("From a kernel's upload to its modules, as this farm saw it."),
  }),
  document("kmodfarm.forecast/1", {
    ...{ generation: Count, today: z.iso.date(), exitCode: Count, problems: z.array(Problem) },
    kernels: z.array(
      z.object({
        ...{ kernel: z.string(), version: z.string().optional(), suites: Words },
        aheadOf: Words.describe("The newest kernel of each release whose users it is ahead of."),
        supersededBy: z.string().optional().describe("A newer kernel of its series that is coming too."),
        arrivals: z.array(Arrival),
        drivers: z.array(Outlook),
      }),
    ),
    passages: z
      .array(
        z.object({
          ...{ from: z.string(), to: z.string(), count: Count },
          ...{ median: z.number(), p10: z.number(), p90: z.number() },
        }),
      )
      .describe("How long series took from one place to another so far, in days."),
    readiness: z.object({
      kernels: Count.describe("Drivers' kernels that users got while this farm watched."),
      proven: Count.describe("How many of them had loaded modules before that day."),
      lead: z.object(DURATIONS),
      unseen: Count.describe("Kernels that were there when their source first answered."),
      rows: z.array(
        z.object({
          ...{ driver: z.string(), series: z.string(), kernel: z.string(), arrived: z.iso.datetime() },
          proven: z.object({ kernel: z.string(), at: z.iso.datetime() }).optional(),
        }),
      ),
    }),
  }),
  document("kmodfarm.gap-kernel/1", {
    ...{ feed: Feed, kernel: z.string(), verdicts: z.array(GapVerdict) },
    counts: z.record(z.enum(VERDICTS), Count),
    unknown: z.record(z.string(), Count).describe("How many of `unknown` have which reason."),
    unassigned: z
      .object({ looked: Count, fixed: z.array(Suspect), open: z.array(Suspect) })
      .optional()
      .describe("Commits without a CVE that are likely security, by the words of their subjects."),
  }),
  document("kmodfarm.gap-cve/1", {
    ...{ feed: Feed, id: z.string(), cve: Cve.optional(), verdicts: z.array(GapVerdict) },
    fixes: z.array(z.object({ version: z.string(), day: z.iso.date() })),
  }),
  document("kmodfarm.gap-notices/1", {
    messages: z.array(
      z.object({
        ...{ schema: z.literal("kmodfarm.notices/1"), id: z.string(), lane: z.enum(["urgent", "digest"]) },
        ...{ day: z.iso.date(), at: z.iso.datetime(), feed: Feed, text: z.string() },
        notices: z.array(
          z.object({
            ...{ kind: z.enum(Object.keys(NOTICE_KINDS) as [NoticeKind]), text: z.string(), cves: Words },
            titles: z.array(z.object({ cve: z.string(), title: z.string() })),
          }),
        ),
      }),
    ),
    slo: z.array(
      z.object({
        ...{ tier: z.enum(TIERS), hours: z.number(), met: Count, breached: Count, open: Count },
        burn: z.number().describe("The largest share of its time that any of the open ones has used."),
      }),
    ),
  }),
  document("kmodfarm.controls/1", {
    registry: z.string(),
    controls: z.array(
      z.object({
        ...{ framework: z.enum(FRAMEWORKS), id: z.string(), asks: z.string(), missing: Words },
        evidence: z.array(
          z.object({
            ...{ fact: z.string(), file: z.string().optional(), digest: z.string().optional() },
            command: z.string().describe("What shows it."),
          }),
        ),
      }),
    ),
  }),
  document("kmodfarm.moves/1", {
    generation: Count,
    moves: z.array(
      z.object({
        ...{ place: z.string(), result: z.string(), reasons: Words, recipe: z.string() },
        kernel: z.string().optional(),
      }),
    ),
  }),
  document("kmodfarm.generations/1", {
    generations: z.array(
      z.object({
        ...{ number: Count, digest: z.string(), publishedAt: z.iso.datetime() },
        by: z.object({ who: z.string(), what: z.string() }).optional(),
        difference: Generation.shape.difference.optional(),
      }),
    ),
  }),
  document("kmodfarm.accept/1", {
    ...{ generation: Count, digest: z.string(), since: Count.optional() },
    published: z.array(z.object({ number: Count, who: z.string(), what: z.string() })),
    difference: Generation.shape.difference,
    ...{ given: Words, taken: Words, decisions: z.array(Decision) },
  }),
  document("kmodfarm.prune/1", {
    ...{ generations: z.array(Count), files: Count, bytes: Count },
    kept: z.object({ generations: Count, files: Count }),
  }),
  document("kmodfarm.fsck/1", {
    ...{ generation: Count, files: Count, unnamed: z.object({ files: Count, bytes: Count }) },
    findings: z.array(
      z.object({
        ...{ path: z.string(), fact: z.enum(["missing", "damaged", "stray"]), by: z.string().optional() },
        remedy: z.enum(["repaired", "repairable", "lost", "leave"]),
      }),
    ),
  }),
  document("kmodfarm.store-copy/1", {
    ...{ from: z.string(), to: z.string(), files: Count, bytes: Count, kept: Count, removed: Count },
  }),
  document("kmodfarm.cache/1", {
    ...{ cache: z.string(), limitBytes: Count.nullable() },
    entries: z.array(
      z.object({ room: z.string(), name: z.string(), sizeBytes: Count, lastUse: z.iso.datetime() }),
    ),
  }),
  document("kmodfarm.cache-prune/1", {
    ...{ freedBytes: Count, keptBytes: Count },
    evicted: z.array(
      z.object({ room: z.string(), name: z.string(), sizeBytes: Count, lastUse: z.iso.datetime() }),
    ),
  }),
  document("kmodfarm.doctor/1", {
    findings: z.array(
      z.object({
        ...{ subject: z.string(), state: z.enum(["good", "note", "problem"]), fact: z.string() },
        next: z.string().optional(),
      }),
    ),
  }),
  document("kmodfarm.toolchain/1", {
    ...{
      name: z.string(),
      digest: z.string(),
      file: z.string().optional(),
      archive: z.string().optional(),
    },
    ...RootRecord.shape,
  }),
  document("kmodfarm.keys/1", {
    keys: z.array(
      z.object({
        ...{
          name: z.string(),
          for: z.string(),
          kind: z.string(),
          fingerprint: z.string(),
          pem: z.string(),
        },
      }),
    ),
    /** Those that sign without a key. */
    identities: z.array(
      z.object({ ...{ name: z.string(), for: z.string(), issuer: z.string(), subject: z.string() } }),
    ),
  }),
  document("kmodfarm.certificates/1", {
    certificates: z.array(
      z.object({
        ...{ key: z.string(), file: z.string(), keyId: z.string(), subject: z.string(), pem: z.string() },
      }),
    ),
  }),
  document("kmodfarm.key/1", {
    ...{ name: z.string(), kind: z.string(), for: z.string(), file: z.string() },
    ...{ passwordFile: z.string().optional(), passwordEnvironment: z.string().optional() },
    certificate: z.object({ file: z.string(), keyId: z.string() }).optional(),
  }),
  document("kmodfarm.verified/1", {
    ...{ good: z.boolean(), what: z.string(), remarks: Words },
    breaks: z.array(z.object({ link: z.string(), fact: z.string(), code: z.string() })),
  }),
  document("kmodfarm.fetched/1", {
    answer: z.string().describe("A word of docs/nodes.md, with which the exit code goes."),
    sentence: z.string().describe("The same for people."),
  }),
  document("kmodfarm.github-init/1", { output: z.string(), files: Words }),
] as const;

/** By the name in `schema`. */
export const DOCUMENTS: Readonly<Record<string, z.ZodType>> = Object.fromEntries(
  TYPES.map((type) => [nameOf(type), type]),
);

type Documents = z.input<(typeof TYPES)[number]>;
export type DocumentName = Documents["schema"];

/** What of a value is more or other than the type of the document that it names: a compiler's error, or nothing. */
export type HeldToDocument<T extends { readonly schema: DocumentName }> = ReadOnly<
  Extract<Documents, { readonly schema: T["schema"] }>
> &
  Exactly<T, Extract<Documents, { readonly schema: T["schema"] }>>;

/** JSON writes a date as text. */
type ReadOnly<T> = T extends readonly (infer One)[]
  ? readonly ReadOnly<One>[]
  : T extends object
    ? { readonly [K in keyof T]: ReadOnly<T[K]> }
    : T | (string extends T ? Date : never);

/** Nobody sees a member that a spread brings and the type does not have, unless it is asked for: it is `never` here. */
type Exactly<T, Type> = unknown extends Type
  ? unknown
  : T extends Date
    ? unknown
    : T extends readonly (infer One)[]
      ? readonly Exactly<One, Type extends readonly (infer Other)[] ? Other : never>[]
      : T extends object
        ? { readonly [K in keyof T]: K extends KeyOf<Type> ? Exactly<T[K], Member<Type, K>> : never }
        : unknown;

type KeyOf<T> = T extends unknown ? keyof T : never;
type Member<T, K> = T extends unknown ? (K extends keyof T ? T[K] : never) : never;

/** What `--json` prints on standard error if a command fails; the exit code is that of the code. */
export const ErrorDocument = z.object({
  error: z.object({
    code: z.string().describe("A code of docs/errors.md."),
    message: z.string(),
    blame: z.enum(["source", "input", "infra", "remote", "integrity", "unknown", "bug"]),
    at: z.record(z.string(), z.unknown()).describe("Places that it is about."),
    hint: z.string().describe("The next step."),
  }),
});

function nameOf({ shape }: { readonly shape: { readonly schema: z.ZodLiteral<string> } }): string {
  return shape.schema.value;
}
