/**
 * The gate's rules: which checks an artifact must pass before it is stable, what may stand in for one that could not be
 * made, and which exceptions a person answers for. Pure: verdicts in, a decision out.
 */
import { z } from "zod";
import { type Digest, digestOf } from "../base/json.ts";
import { keepsAbi } from "../kernel/distributions/index.ts";
import { PathSegment } from "../kernel/path-segment.ts";
import { compileFilter, ElementFilter, type Filtered, isOver } from "../matrix/element-filter.ts";
import { builderName, type TrustedBuilder } from "../provenance/builder.ts";
import { Uri } from "../provenance/slsa.ts";
import { CHECK_NAMES, CHECKS, checkNamed, isKeyed } from "./checks/index.ts";
import type { RebuildRule } from "./rebuilds.ts";
import type { Signer } from "./signature.ts";
import {
  boundedReasons,
  commonReason,
  hasReason,
  shortened,
  textsOf,
  type Verdict,
  type VerdictWord,
  verdict,
} from "./verdict.ts";

const CheckName = z.enum(CHECK_NAMES);
type CheckName = z.infer<typeof CheckName>;

const DEFAULT_REQUIRED = CHECKS.flatMap(({ name, isDefault }) => (isDefault ? [name] : []));

const Exception = ElementFilter.extend({
  check: CheckName.describe("The check that is waived."),
  owner: z.string().trim().min(1).describe("The person who answers for it."),
  reason: z.string().trim().min(1).describe("Why."),
  until: z.iso.date().describe("The last day on which it applies (2027-01-31)."),
});

const Required = z.array(CheckName).min(1);

/** As a certificate names a builder. */
export const KeylessIdentity = {
  issuer: z
    .string()
    .min(1)
    .describe("Who vouches for the identity: `https://token.actions.githubusercontent.com`."),
  subject: z
    .string()
    .min(1)
    .describe(
      "As the certificate names it, to the letter: `https://github.com/ORG/REPO/.github/workflows/NAME@refs/heads/main`.",
    ),
  roots: z
    .string()
    .min(1)
    .describe(
      "File with the authorities and logs that are believed: Sigstore's trusted_root.json; the path is relative to this file.",
    ),
};

export const Policy = z.strictObject({
  require: Required.default([...DEFAULT_REQUIRED]).describe(
    `Checks that an artifact must pass to be stable, of ${CHECK_NAMES.join(", ")}. Default: ${DEFAULT_REQUIRED.join(", ")}.`,
  ),
  distributions: z
    .record(PathSegment, z.strictObject({ require: Required.describe("The required checks for this one.") }))
    .default({})
    .describe(
      "Other requirements for a distribution id (debian) or a release (debian12); a release takes precedence.",
    ),
  standIns: z
    .strictObject({
      load: z
        .array(z.enum(["siblingLoad", "noDevice"]))
        .default([])
        .describe(
          "What counts instead of a load test. `siblingLoad`: the kernel could not be booted, but the same driver version was loaded into another kernel of the same release, architecture and flavour. `noDevice`: the modules were refused because their device is missing, as their driver's `load.noDevice` declares.",
        ),
    })
    .prefault({})
    .describe("Evidence that may replace a check that has no verdict of its own."),
  signers: z
    .array(z.string().min(1))
    .default([])
    .describe("Certificates of trusted signers; paths are relative to the policy file."),
  builders: z
    .array(
      z
        .strictObject({
          id: Uri.describe("The builder's id, as its statements give it: a URI."),
          key: z
            .string()
            .min(1)
            .optional()
            .describe("Its public key in PEM; the path is relative to the policy file."),
          keyless: z
            .strictObject(KeylessIdentity)
            .optional()
            .describe("Instead of a key, an identity that Sigstore certifies."),
        })
        .refine(({ key, keyless }) => (key === undefined) !== (keyless === undefined), {
          error: "either `key` or `keyless`",
        }),
    )
    .min(1)
    .optional()
    .describe(
      "Whose statements of provenance count: a builder together with the key or identity that signs for it. Default: this farm's own.",
    ),
  rebuilders: z
    .array(z.string().min(1))
    .optional()
    .describe(
      "Public keys (PEM, relative to the policy file) of those who build artifacts again: `kmodfarm statement add` keeps what they state. Default: the keys of `reproducible`.",
    ),
  reproducible: z
    .strictObject({
      of: z
        .int()
        .positive()
        .max(100)
        .default(1)
        .describe("How many of them must have built the same bytes, told apart by their public keys."),
      by: z
        .array(z.string().min(1))
        .min(1)
        .optional()
        .describe(
          "Public keys (PEM, relative to the policy file) of those who count. Default: the rebuilders and this farm.",
        ),
      notTheBuilder: z
        .boolean()
        .default(false)
        .describe("Whether a key that signed how the artifact was built first counts no more."),
    })
    .optional()
    .describe(
      "What the check `reproducible` asks for. Default: one second build, by a rebuilder or this farm.",
    ),
  loadsOn: z
    .array(
      PathSegment.refine(keepsAbi, {
        error: ({ input }) =>
          `${String(input)} does not belong to the Enterprise Linux family: its kernels promise no stable ABI, so each needs its own modules`,
      }),
    )
    .default([])
    .describe(
      "Releases (almalinux9.5) or distribution ids (almalinux) of the Enterprise Linux family. Their kernels may be served modules that were built for another of these kernels, once `kmodfarm reuse` has tested them.",
    ),
  exceptions: z
    .array(Exception)
    .default([])
    .describe("Checks that are waived, each with an owner, a reason and a last day."),
});
export type Policy = z.infer<typeof Policy>;

export const DEFAULT_POLICY: Policy = Policy.parse({});

/** Changes with whatever may change a decision: the rules, and the keys that they name. */
export function policyDigest(policy: Policy, { signers, builders, rebuilds }: CountingNames): Digest {
  const { of, by, notTheBuilder } = rebuilds;
  const isUsual = policy.reproducible === undefined && policy.rebuilders === undefined;
  return digestOf([
    policy,
    signers.map(({ certificate }) => certificate.fingerprint256),
    builders.map(builderName),
    ...(isUsual ? [] : [[of, by.map(({ fingerprint }) => fingerprint).toSorted(), notTheBuilder]]),
  ]);
}

/** Whose word counts: signatures of modules, statements of how they were built, and of how they were built again. */
export interface CountingNames {
  readonly signers: readonly Signer[];
  readonly builders: readonly TrustedBuilder[];
  readonly rebuilds: RebuildRule;
}

export interface Judged {
  readonly isStable: boolean;
  /** One for each required check, in their order; exceptions and stand-ins as they were used. */
  readonly verdicts: readonly Verdict[];
  /** Why not, one line a check. */
  readonly refusals: readonly string[];
  /** Drivers that it needs and that are not stable, by their names. */
  readonly waitsFor?: readonly string[];
  /** What every check said, whether it is required or not; of the required ones what that came to. */
  readonly words: Words;
  /** The last day of the exceptions that it rests on. */
  readonly until?: string;
  /** Whether other artifacts, or what cannot be had today, may change it. */
  readonly isOpen: boolean;
}

type Words = Readonly<Partial<Record<CheckName, VerdictWord>>>;

/** What is known of an artifact when it is judged. */
interface Proofs {
  readonly verdicts: readonly Verdict[];
  /** The name of a sibling that passed its own load test, if there is one. */
  readonly sibling?: string | undefined;
}

/** A line that a person reads, and that each night's documents carry for each element. */
const REFUSAL_CHARACTERS = 2000;

export function judge(policy: Policy, subject: Filtered, evidence: Proofs, now: Date): Judged {
  const required = requiredChecks(policy, subject).map((check) => {
    const one = standingIn(policy, evidence, found(check, evidence));
    return { one, ...excepted(policy, subject, one, now) };
  });
  const verdicts = required.map((each) => each.verdict);
  const refusals = verdicts
    .filter((one) => one.verdict !== "pass" && one.verdict !== "waived")
    .map(({ check, verdict: word, reasons }) =>
      shortened(
        `${check}: ${word}: ${textsOf({ reasons: boundedReasons(reasons) }).join("; ")}`,
        REFUSAL_CHARACTERS,
      ),
    );
  const [until] = required.flatMap((each) => each.until ?? []).toSorted();
  return {
    ...{ isStable: refusals.length === 0, verdicts, refusals },
    words: wordsOf([...evidence.verdicts, ...verdicts]),
    ...(until === undefined ? {} : { until }),
    isOpen: required.some(({ one }) => isOpen(policy, one)),
  };
}

function wordsOf(verdicts: readonly Verdict[]): Words {
  const said = CHECK_NAMES.flatMap((name) => {
    const word = verdicts.findLast(({ check }) => check === name)?.verdict;
    return word === undefined ? [] : [[name, word]];
  });
  return Object.fromEntries(said);
}

/** A sibling may come or go, and keys that could not be had may be there tomorrow. */
function isOpen({ standIns }: Policy, one: Verdict): boolean {
  if (one.check === "signature") return one.verdict === "unknown";
  const mayHaveSibling = one.verdict === "unknown" || hasReason(one, "sibling");
  return one.check === "load" && mayHaveSibling && standIns.load.includes("siblingLoad");
}

/** What was noted of an artifact when it was judged. */
export interface Noted {
  readonly words: Words;
  readonly refusals: readonly string[];
  /** The policy that it was judged by, and until when that holds. */
  readonly policy: Digest;
  readonly until?: string | undefined;
}

/**
 * Why an artifact may not be stable today, told by what was noted of it; undefined where only its verdicts tell. A pass
 * is a pass by every policy, but whose signatures and statements count is said by the policy itself.
 */
export function refusalsByNote(
  policy: Policy,
  digest: Digest,
  subject: Filtered,
  { words, refusals, policy: then, until }: Noted,
  now: Date,
): readonly string[] | undefined {
  const isAsThen = then === digest && !isOver(until, now);
  const required = requiredChecks(policy, subject);
  const isGood = required.every((check) => {
    const word = words[check];
    return isAsThen ? word === "pass" || word === "waived" : word === "pass" && !isKeyed(check);
  });
  if (isGood) return [];
  return isAsThen && refusals.length > 0 ? refusals : undefined;
}

/** The checks that an artifact must pass, in the order in which they rest on each other. */
export function requiredChecks(
  { require, distributions }: Policy,
  { distribution, distributionId }: Filtered,
): readonly CheckName[] {
  const own = distributions[distribution] ?? distributions[distributionId];
  const wanted = own?.require ?? require;
  return CHECK_NAMES.filter((check) => wanted.includes(check));
}

function found(check: CheckName, { verdicts }: Proofs): Verdict {
  return (
    verdicts.findLast((one) => one.check === check) ??
    verdict(
      check,
      "unknown",
      commonReason("notChecked", checkNamed(check)?.howToKnow ?? "not checked when it was built"),
    )
  );
}

function standingIn({ standIns }: Policy, { sibling }: Proofs, one: Verdict): Verdict {
  if (one.check === "load" && one.verdict === "notApplicable" && standIns.load.includes("noDevice"))
    return standIn(one, "standIn", "the policy accepts that");
  const isOpen = one.check === "load" && one.verdict === "unknown" && standIns.load.includes("siblingLoad");
  if (!isOpen || sibling === undefined) return one;
  return standIn(one, "sibling", `${sibling} was loaded instead, as the policy allows`);
}

function standIn(one: Verdict, code: "standIn" | "sibling", why: string): Verdict {
  const text = `${shortened(textsOf(one).join("; "), 300)}; ${why}`;
  return verdict(one.check, "waived", commonReason(code, text));
}

/** Whether kernels of a release may be served by other kernels' modules, and give some to others. */
export function allowsReuse(
  { loadsOn }: Policy,
  { distribution, distributionId }: Pick<Filtered, "distribution" | "distributionId">,
): boolean {
  return [distribution, distributionId].some((name) => loadsOn.includes(name));
}

/** Verdicts, with those waived that have an exception, whether the policy requires them or not. */
export function withExceptions(
  policy: Policy,
  subject: Filtered,
  verdicts: readonly Verdict[],
  now: Date,
): Verdict[] {
  return verdicts.map((one) => excepted(policy, subject, one, now).verdict);
}

export interface KnownNames {
  /** Release keys and distribution ids. */
  readonly distributions: ReadonlySet<string>;
  readonly drivers: ReadonlySet<string>;
}

/** Names in a policy that match nothing, one line each. An empty set is not known yet. */
export function unknownNames({ distributions, exceptions, loadsOn }: Policy, known: KnownNames): string[] {
  const strange = (place: string, kind: string, names: readonly string[], there: ReadonlySet<string>) =>
    names
      .filter((name) => there.size > 0 && !there.has(name))
      .map((name) => `${place}: there is no ${kind} named ${name} here, so this has no effect`);
  return [
    ...strange("distributions", "distribution or release", Object.keys(distributions), known.distributions),
    ...strange("loadsOn", "distribution or release", loadsOn, known.distributions),
    ...exceptions.flatMap(({ distributions: named = [], driver }, index) => [
      ...strange(`exceptions[${index}].distributions`, "distribution or release", named, known.distributions),
      ...strange(
        `exceptions[${index}].driver`,
        "driver",
        driver === undefined ? [] : [driver],
        known.drivers,
      ),
    ]),
  ];
}

/** Waives a verdict that an exception covers; an exception that has ended is named in the reasons. */
function excepted(
  { exceptions }: Policy,
  subject: Filtered,
  one: Verdict,
  now: Date,
): { readonly verdict: Verdict; readonly until?: string } {
  if (one.verdict === "pass" || one.verdict === "waived") return { verdict: one };
  const fitting = exceptions.filter(
    (exception) => exception.check === one.check && compileFilter(exception)(subject),
  );
  const valid = fitting.find(({ until }) => !isOver(until, now));
  if (valid !== undefined) {
    const { owner, reason, until } = valid;
    // The owner and the reason are always named, however much there is to waive.
    const why = commonReason("excepted", `excepted until ${until} by ${owner}: ${reason}`);
    return {
      verdict: { ...verdict(one.check, "waived"), reasons: [...boundedReasons(one.reasons), why] },
      until,
    };
  }
  const over = fitting.map(({ owner, until }) =>
    commonReason("exceptionEnded", `the exception by ${owner} ended on ${until}`),
  );
  return { verdict: { ...one, reasons: [...boundedReasons(one.reasons), ...over] } };
}
