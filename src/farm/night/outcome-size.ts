/**
 * What one element may add to the documents that all elements share: those have a size that the next reader accepts, and
 * one driver that says endlessly much must not keep every other outcome from being published.
 */
import { boundedTexts, shortened, textsOf, type Verdict } from "../../check/verdict.ts";
import type { InputRecord } from "../../inputs/input-record.ts";
import type { AttemptNote } from "../../registry/documents.ts";
import type { Outcome } from "../../registry/publish.ts";

/** Real notes have 1 to 3 KiB. */
const NOTE_LIMIT_BYTES = 64 * 1024;
const FEW = 3;
const TEXT_CHARACTERS = 500;

/** The same outcome with shorter texts where they are too long; what became of the element stays as it was. */
export function boundedOutcome(outcome: Outcome): Outcome {
  const { note, decision, artifact } = outcome;
  return {
    ...outcome,
    note: isLarge(note) ? shortNote(note) : note,
    ...(decision !== undefined && isLarge(decision)
      ? { decision: { ...decision, verdicts: decision.verdicts.map(withoutSubjects) } }
      : {}),
    ...(artifact?.entry.reasons !== undefined && isLarge(artifact.entry.reasons)
      ? { artifact: { ...artifact, entry: { ...artifact.entry, reasons: few(artifact.entry.reasons) } } }
      : {}),
  };
}

function isLarge(part: object): boolean {
  return leftAfter(part, NOTE_LIMIT_BYTES) < 0;
}

/** What a value leaves of so many bytes of JSON: counted, because endless texts make no string at all. */
function leftAfter(value: unknown, bytes: number): number {
  if (bytes < 0) return bytes;
  if (typeof value === "string")
    return bytes - (value.length > bytes ? value.length : JSON.stringify(value).length);
  if (typeof value !== "object" || value === null) return bytes - String(value).length;
  let left = bytes;
  for (const [key, member] of Object.entries(value)) {
    left = leftAfter(member, left - key.length);
    if (left < 0) break;
  }
  return left;
}

function shortNote({ load, refusals, failure, inputs, ...rest }: AttemptNote): AttemptNote {
  return {
    ...rest,
    ...(inputs === undefined ? {} : { inputs: inputs.slice(0, FEW).map(shortInput) }),
    ...(load === undefined ? {} : { load: { ...load, verdict: shortVerdict(load.verdict) } }),
    ...(refusals === undefined ? {} : { refusals: few(refusals) }),
    ...(failure === undefined ? {} : { failure: shortFailure(failure) }),
  };
}

function shortInput(input: InputRecord): InputRecord {
  const tried = input.tried
    .slice(0, FEW)
    .map(({ place, fault }) => ({ place: short(place), fault: short(fault) }));
  return { ...input, name: short(input.name), version: short(input.version), tried };
}

type Failure = NonNullable<AttemptNote["failure"]>;

function shortFailure(failure: Failure): Failure {
  const { cause, file, line, advice } = failure;
  return {
    ...failure,
    cause: short(cause),
    ...(file === undefined ? {} : { file: short(file) }),
    line: short(line),
    ...(advice === undefined ? {} : { advice: short(advice) }),
  };
}

function shortVerdict(one: Verdict): Verdict {
  const texts = few(textsOf(one));
  return {
    ...one,
    reasons: texts.map((text, index) => ({
      code: index < FEW ? short(one.reasons[index]?.code ?? "more") : "more",
      text,
    })),
  };
}

/** The manifest that a decision names has the verdicts with every module that they are about. */
function withoutSubjects(one: Verdict): Verdict {
  const { of: _, ...rest } = shortVerdict(one);
  return rest;
}

function short(text: string): string {
  return shortened(text, TEXT_CHARACTERS);
}

/** Of a list of texts the first few, and how many more there are. */
function few(texts: readonly string[]): string[] {
  const named = boundedTexts(texts.slice(0, FEW));
  return texts.length <= FEW ? named : [...named, `and ${texts.length - FEW} more`];
}
