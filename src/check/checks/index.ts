/**
 * The checks, in the order in which they rest on each other. A further one is a file here and a line in this list;
 * policies, questions and the documentation follow from it.
 */
import { seenIn } from "../subject.ts";
import type { Verdict } from "../verdict.ts";
import type { Check, CheckSubject } from "./check.ts";
import { environment } from "./environment.ts";
import { format } from "./format.ts";
import { identity } from "./identity.ts";
import { load } from "./load.ts";
import { provenance } from "./provenance.ts";
import { reproducible } from "./reproducible.ts";
import { signature } from "./signature.ts";
import { symbols } from "./symbols.ts";

export const CHECKS = [
  format,
  identity,
  environment,
  symbols,
  signature,
  provenance,
  load,
  reproducible,
] as const satisfies readonly Check[];

export type CheckName = (typeof CHECKS)[number]["name"];

/** The checks whose verdict a policy may change by the keys that it names. */
export type KeyedCheckName = Extract<(typeof CHECKS)[number], { readonly isKeyed: true }>["name"];

export const KEYED_CHECKS: readonly KeyedCheckName[] = CHECKS.flatMap((one) =>
  one.isKeyed ? [one.name] : [],
);

export function isKeyed(name: CheckName): name is KeyedCheckName {
  return KEYED_CHECKS.some((one) => one === name);
}

export const CHECK_NAMES: readonly CheckName[] = CHECKS.map(({ name }) => name);

/** The check of a name; undefined for a name that no check has, as a newer version may have written it. */
export function checkNamed(name: string): Check | undefined {
  return CHECKS.find((one) => one.name === name);
}

/** What checks say of a subject, each with the digests of what it saw. One that has nothing to look at says nothing. */
export function verdictsOn(subject: CheckSubject, checks: readonly Check[] = CHECKS): Verdict[] {
  const seen = subject.files.flatMap(({ opened }) => opened ?? []);
  return checks.flatMap((check) => {
    const verdict = check.judge(subject);
    if (verdict === undefined) return [];
    return check.isOfFiles ? seenIn(seen, [verdict]) : [verdict];
  });
}
