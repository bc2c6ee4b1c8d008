/**
 * What is judged: one kernel, with what is known of where it comes from. What its upstream release proves depends on the
 * distribution; docs/adr says why.
 */
import type { BaseProof } from "../kernel/base.ts";
import type { UpstreamVersion } from "../kernel/upstream-version.ts";
import type { Day } from "./records.ts";

export interface Target {
  /** For people: `debian12/x86_64/6.1.0-28-amd64_6.1.119-1`, or an upstream release. */
  readonly name: string;
  /** `debian12`; undefined for upstream itself. */
  readonly distribution?: string;
  readonly packageVersion?: string;
  /** Names that advisories may call its package by. */
  readonly packages: readonly string[];
  readonly base?: UpstreamVersion;
  /** Other places name other releases: what these do not agree on is disputed. */
  readonly otherBases?: readonly UpstreamVersion[];
  readonly proof: BaseProof;
  /** The first day that it is known to have existed: uploaded or listed. */
  readonly day?: Day;
  /** The node that runs it, and by which `uname -r`: its live patches count. */
  readonly node?: { readonly name: string; readonly release: string };
  /** Whether its configuration builds a source file; undefined if nobody knows. */
  readonly builds?: (file: string) => boolean | undefined;
  /** The order of its package versions. */
  readonly compareVersions?: (a: string, b: string) => number;
}

/** A release of kernel.org itself. */
export function upstreamTarget(name: string, base: UpstreamVersion, day: Day | undefined): Target {
  return { name, base, packages: [], proof: "both", ...(day === undefined ? {} : { day }) };
}
