/**
 * Verdicts as an OpenVEX document (openvex.dev/ns/v0.2.0). What is not known is under investigation, never absent; what is
 * not built is not there, and what a live patch covers is mitigated.
 */
import type { Verdict, VerdictName } from "../verdict.ts";

export interface VexOptions {
  /** An IRI. */
  readonly id: string;
  readonly author: string;
  /** `2026-11-29T20:00:00Z` */
  readonly timestamp: string;
  /** What a kernel is called by its name. */
  readonly productOf: (target: string) => VexProduct;
}

/** A kernel's package; or a node that runs it, of which other nodes with that package learn nothing. */
export interface VexProduct {
  readonly purl: string;
  readonly node?: string;
}

type Statement = Readonly<Record<string, unknown>> & { readonly status: string };

/** @returns undefined for no verdicts: a document must have statements */
export function toOpenVex(
  verdicts: readonly Verdict[],
  { id, author, timestamp, productOf }: VexOptions,
): object | undefined {
  const statements = verdicts
    .filter(({ verdict }) => verdict !== "rejected")
    .map((one) => statementOf(one, productOf));
  if (statements.length === 0) return undefined;
  return {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "@id": id,
    author,
    timestamp,
    version: 1,
    tooling: "kmodfarm gap export",
    statements,
  };
}

function statementOf(verdict: Verdict, productOf: VexOptions["productOf"]): Statement {
  const { cve, target, feedDate } = verdict;
  return {
    vulnerability: { name: cve },
    products: [toProduct(productOf(target))],
    ...STATEMENTS[verdict.verdict](verdict),
    status_notes: notesOf(verdict, feedDate),
  };
}

function toProduct({ purl, node }: VexProduct): object {
  const kernel = { "@id": purl, identifiers: { purl } };
  return node === undefined
    ? kernel
    : { "@id": `urn:kmodfarm:node:${encodeURIComponent(node)}`, subcomponents: [kernel] };
}

const STATEMENTS: Readonly<Record<VerdictName, (verdict: Verdict) => Statement>> = {
  fixed: () => ({ status: "fixed" }),
  not_affected: () => ({ status: "not_affected", justification: "vulnerable_code_not_present" }),
  not_built: () => ({ status: "not_affected", justification: "vulnerable_code_not_present" }),
  livepatched: () => ({ status: "not_affected", justification: "inline_mitigations_already_exist" }),
  affected: ({ fixedIn }) => ({
    status: "affected",
    action_statement:
      fixedIn === undefined ? "Update the kernel when a fix is there." : `Update to ${fixedIn} or later.`,
  }),
  no_upstream_fix: () => ({
    status: "affected",
    action_statement: "No release of this series has the fix; move to a newer series, or wait for it.",
  }),
  unknown: () => ({ status: "under_investigation" }),
  disputed: () => ({ status: "under_investigation" }),
  rejected: () => ({ status: "under_investigation" }),
};

function notesOf({ verdict, reason, confidence, evidence }: Verdict, feedDate: string | undefined): string {
  const seen = evidence.map(({ id, says, ref }) => `${id} ${says} (${ref})`);
  return [
    `${verdict}${reason === undefined ? "" : `: ${reason}`}, ${confidence}`,
    ...seen,
    `as of ${feedDate ?? "an unknown day"}`,
  ].join("; ");
}
