/**
 * Whether somebody whose word counts says of what the modules were made, of packages that their distribution vouches for.
 */
import { type CatalogSource, wordOf } from "../../catalog/catalog.ts";
import { BUNDLE_FAULTS, judgeBundle } from "../provenance.ts";
import { type Reason, reason, type Verdict, type VerdictWord, withReasons } from "../verdict.ts";
import type { Check, Origin, Stated } from "./check.ts";

const CODES = [
  ...["stated", "unsignedList", "unsignedRepository", "unlisted", "imported", "noStatement"],
  ...BUNDLE_FAULTS,
] as const;
type Because = Reason<(typeof CODES)[number]>;

export const provenance = {
  name: "provenance",
  codes: CODES,
  question: "Is it known which source and tools they were built from?",
  howToKnow: "nobody looked for a statement of how it was built; `kmodfarm run` makes one of what it builds",
  isDefault: true,
  isOfFiles: false,
  judge: ({ stated, origin }) => stated && checkProvenance(stated, origin),
} as const satisfies Check;

function checkProvenance({ bundles, builders, build, of }: Stated, origin: Origin | undefined): Verdict {
  const said = (word: VerdictWord, ...reasons: readonly Because[]): Verdict => ({
    ...withReasons("provenance", word, reasons),
    of: [...of],
  });
  if (bundles.length === 0) return said("unknown", unstated(origin));
  const found = bundles.map((bundle) => judgeBundle(bundle, build, builders));
  const good = found.find((one) => one.kind === "good");
  // Anybody can put a bad statement beside a good one: that takes nothing from it.
  if (good === undefined)
    return said(
      found.some(({ kind }) => kind === "bad") ? "fail" : "unknown",
      ...found.flatMap((one) => (one.kind === "good" ? [] : [one.because])),
    );
  const strange = origin?.kind === "built" ? unvouched(origin) : undefined;
  if (strange !== undefined) return said("unknown", strange);
  // Not by whom: a manifest is the same whichever farm made it. Its bundles say that.
  return said("pass", reason("stated", "a builder that the policy trusts states of what it was built"));
}

function unstated(origin: Origin | undefined): Because {
  if (origin?.kind === "imported")
    return reason(
      "imported",
      `imported by ${origin.by}: ${origin.why}; what it was built from is not known here: import it with --provenance if its builder made a statement`,
    );
  return reason("noStatement", "no signed statement says how it was built");
}

/** A digest that only a claim gives proves no origin, and a package's own word on its source is one. */
function unvouched({ used, listed, sources }: Extract<Origin, { kind: "built" }>): Because | undefined {
  if (listed === undefined)
    return reason("unlisted", "the catalog does not list its kernel, so nobody vouches for its packages");
  const known = new Map(sources.map((source) => [source.id, source]));
  const listing = Map.groupBy(Object.values(listed).flat(), ({ sha256 }) => sha256);
  const listersOf = ({ sha256 }: (typeof used)[number]) =>
    sha256 === undefined ? [] : (listing.get(sha256) ?? []).map(({ source }) => source);
  const strange = used.filter((one) => listersOf(one).every((id) => wordOf(known.get(id)) !== "vouching"));
  const [first] = strange;
  if (first === undefined) return undefined;
  const names = [...new Set(strange.map(({ name }) => name))].join(", ");
  const [id] = listersOf(first);
  return id === undefined
    ? reason("unlisted", `the catalog lists other packages than ${names} for its kernel`)
    : unvouchedBy(id, known.get(id), names);
}

function unvouchedBy(id: string, source: CatalogSource | undefined, names: string): Because {
  const kind = source?.kind ?? "import";
  switch (kind) {
    case "kernel-crawler":
      return reason(
        "unsignedList",
        `only ${id}, an unsigned list, vouches for ${names}: configure the repository itself, or set \`trusted: true\` for the list`,
      );
    case "apt":
    case "rpm-md":
      return reason(
        "unsignedRepository",
        `only ${id} lists ${names}, and its metadata is not signed: configure a repository whose repomd.xml is, with its \`keyring\`, or waive provenance in the policy`,
      );
    case "import":
      return reason(
        "unlisted",
        `only ${id}, which is not configured here, lists ${names}: configure the repository as a source`,
      );
  }
}
