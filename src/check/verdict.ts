/**
 * What a check says of an artifact: a word, and reasons. Whatever decides by a reason asks its code; its text is for
 * people, and may be improved at any time.
 */
import { z } from "zod";

export const VERDICT_WORDS = ["pass", "fail", "unknown", "notApplicable", "waived"] as const;
export type VerdictWord = (typeof VERDICT_WORDS)[number];

/** The very bytes of a module that a check looked at. */
const Subject = z.object({
  module: z.string(),
  sha256: z.templateLiteral(["sha256:", z.string().regex(/^[0-9a-f]{64}$/)]),
});
export type Subject = z.infer<typeof Subject>;

/** What was seen, and for anything but a pass what to do. Each check has a closed list of codes. */
export interface Reason<Code extends string = string> {
  readonly code: Code;
  readonly text: string;
}

/** Codes that reasons of every check may have. */
export const COMMON_CODES = [
  /** Of an older version, which wrote texts alone. */
  "unstated",
  /** How many reasons are not named. */
  "more",
  /** The check was not made. */
  "notChecked",
  /** An exception, or one that has ended. */
  "excepted",
  "exceptionEnded",
  /** What counts in its place: of the verdict itself, or of another artifact. */
  "standIn",
  "sibling",
  /** What another kernel's modules are let off. */
  "builtForAnother",
  /** The verdict is about other bytes than those that are judged, or does not name any. */
  "otherBytes",
  "unnamedBytes",
] as const;
type CommonCode = (typeof COMMON_CODES)[number];

const StoredReason = z.union([
  z.object({ code: z.string(), text: z.string() }),
  z.string().transform((text) => ({ code: "unstated", text })),
]);

export const Verdict = z.object({
  check: z.string(),
  /** `unknown` never counts as a pass. */
  verdict: z.enum(VERDICT_WORDS),
  reasons: z.array(StoredReason),
  /** What was looked at, where a check names it: a verdict holds for these bytes and for no others. */
  of: z.array(Subject).optional(),
});
export type Verdict = z.infer<typeof Verdict>;

/** How many reasons a verdict has, and how long each is: what a driver says must not fill documents that all share. */
const MOST_REASONS = 20;
const REASON_CHARACTERS = 500;

export function reason<Code extends string>(code: Code, text: string): Reason<Code> {
  return { code, text };
}

/** A reason of any check. */
export function commonReason(code: CommonCode, text: string): Reason {
  return { code, text };
}

export function verdict(check: string, word: VerdictWord, ...reasons: readonly Reason[]): Verdict {
  return withReasons(check, word, reasons);
}

/** The same for a list, of any length: the first ones are named, the others counted. */
export function withReasons(check: string, word: VerdictWord, reasons: readonly Reason[]): Verdict {
  return { check, verdict: word, reasons: boundedReasons(reasons) };
}

export function textsOf({ reasons }: { readonly reasons: readonly Reason[] }): string[] {
  return reasons.map(({ text }) => text);
}

export function hasReason({ reasons }: Pick<Verdict, "reasons">, ...codes: readonly string[]): boolean {
  return reasons.some(({ code }) => codes.includes(code));
}

/** The same verdict in other words. */
export function withTexts(one: Verdict, change: (text: string) => string): Verdict {
  return { ...one, reasons: one.reasons.map(({ code, text }) => ({ code, text: change(text) })) };
}

/** The first of many reasons, each of a length that can be read, and how many more there are. */
export function boundedReasons(reasons: readonly Reason[]): Reason[] {
  const texts = boundedTexts(reasons.map(({ text }) => text));
  return texts.map((text, index) => ({
    code: index === MOST_REASONS && reasons.length > texts.length ? "more" : (reasons[index]?.code ?? "more"),
    text,
  }));
}

/** The same of texts. */
export function boundedTexts(texts: readonly string[]): string[] {
  // One more than that takes no more room than to say so, and what was counted before is not counted again.
  const isFew = texts.length <= MOST_REASONS + 1;
  const named = texts
    .slice(0, isFew ? undefined : MOST_REASONS)
    .map((text) => shortened(text, REASON_CHARACTERS));
  const rest = texts.length - named.length;
  return rest === 0 ? named : [...named, `and ${rest.toLocaleString("en-US")} more`];
}

/** A text of at most so many characters; what was cut is marked. */
export function shortened(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, characters - 1).toWellFormed()}…`;
}

/**
 * The verdict of a check that looks at several things: faults win over what could not be found out, and that over
 * what is good.
 */
export function summed(
  check: string,
  { faults, gaps, good }: { faults: readonly Reason[]; gaps: readonly Reason[]; good: readonly Reason[] },
): Verdict {
  if (faults.length > 0) return withReasons(check, "fail", faults);
  return gaps.length > 0 ? withReasons(check, "unknown", gaps) : withReasons(check, "pass", good);
}
