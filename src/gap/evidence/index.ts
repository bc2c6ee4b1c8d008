/** Everything that speaks for or against CVEs in one kernel, beside the release that it was made from. */
import type { Book } from "../book.ts";
import type { Target } from "../target.ts";
import type { Evidence, Knowledge } from "../verdict.ts";
import { advisoryEvidence, speaksOf } from "./advisory.ts";
import { configEvidence } from "./config.ts";
import { livePatchEvidence } from "./livepatch.ts";

export interface KernelEvidence extends Pick<Knowledge, "hasAdvisories" | "changelogSince"> {
  /** CVEs of which anything is said. */
  cves(): ReadonlySet<string>;
  of(cve: string): readonly Evidence[];
}

export function evidenceIn(book: Book, target: Target): KernelEvidence {
  const advisories = book.advisories.filter(({ advisory }) => speaksOf(advisory, target));
  const byCve = Map.groupBy(
    advisories.flatMap((one) => one.advisory.cves.map((cve) => ({ cve, one }))),
    ({ cve }) => cve,
  );
  const changelog = book.changelogs.find((one) => one.speaksOf(target));
  const patched = livePatchEvidence(book, target);
  return {
    hasAdvisories: book.advised.some((one) => speaksOf(one, target)),
    ...(changelog?.since === undefined ? {} : { changelogSince: changelog.since }),
    cves: () =>
      new Set([
        ...byCve.keys(),
        ...(changelog?.cves ?? []),
        ...patched.keys(),
        ...(target.builds === undefined
          ? []
          : book.cves.filter((cve) => configEvidence(cve, target).length > 0).map(({ id }) => id)),
      ]),
    of: (cve) => [
      ...(patched.get(cve) ?? []),
      ...configEvidence(book.cve.get(cve) ?? { files: [] }, target),
      ...(changelog?.evidence(cve, target) ?? []),
      ...advisoryEvidence(byCve.get(cve)?.map(({ one }) => one) ?? [], target),
    ],
  };
}
