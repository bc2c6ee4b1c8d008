/**
 * Whether somebody whose word counts says of what the modules were made, of packages that their distribution vouches for:
 * by the signature of the metadata that lists them, or by their own.
 */
import { type CatalogSource, wordOf } from "../../catalog/catalog.ts";
import {
  isForged,
  judgeSignature,
  type PackageSignature,
  refused,
  SIGNATURE_FAULTS,
  type SignedPackage,
} from "../../inputs/package-signature.ts";
import type { KernelPackages } from "../../kernel/distributions/distribution.ts";
import type { Package } from "../../kernel/kernel.ts";
import { BUNDLE_FAULTS, judgeBundle } from "../../provenance/judge.ts";
import { type Reason, reason, type Verdict, type VerdictWord, withReasons } from "../verdict.ts";
import type { Check, Origin, Stated } from "./check.ts";

const CODES = [
  ...[
    "stated",
    "signedPackages",
    "unsignedList",
    "unsignedRepository",
    "unlisted",
    "imported",
    "noStatement",
  ],
  ...BUNDLE_FAULTS,
  ...SIGNATURE_FAULTS,
] as const;
type Because = Reason<(typeof CODES)[number]>;

export const provenance = {
  name: "provenance",
  codes: CODES,
  question: "Is it known which source and tools they were built from?",
  howToKnow: "nobody looked for a statement of how it was built; `kmodfarm run` makes one of what it builds",
  isDefault: true,
  isOfFiles: false,
  isKeyed: true,
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
  // Not by whom: a manifest is the same whichever farm made it. Its bundles say that.
  const statement = reason("stated", "a builder that the policy trusts states of what it was built");
  const kversion = build.identity.kernel.release;
  const packages: OfPackages = origin?.kind === "built" ? judgePackages(origin, kversion) : NOTHING_TO_SAY;
  return packages.word === "pass"
    ? said("pass", statement, ...packages.because)
    : said(packages.word, ...packages.because);
}

/** What is known of where packages come from. */
interface OfPackages {
  readonly word: VerdictWord;
  readonly because: readonly Because[];
}

const NOTHING_TO_SAY: OfPackages = { word: "pass", because: [] };

function unstated(origin: Origin | undefined): Because {
  if (origin?.kind === "imported")
    return reason(
      "imported",
      `imported by ${origin.by}: ${origin.why}; what it was built from is not known here: import it with --provenance if its builder made a statement`,
    );
  return reason("noStatement", "no signed statement says how it was built");
}

type Built = Extract<Origin, { kind: "built" }>;

/** A digest that only a claim gives proves no origin, and a package's own word on its source is one. */
function judgePackages(origin: Built, kversion: string): OfPackages {
  const { used, listed, sources, signers = [], signatures } = origin;
  const unknown = (because: Because): OfPackages => ({ word: "unknown", because: [because] });
  if (listed === undefined)
    return unknown(
      reason("unlisted", "the catalog does not list its kernel, so nobody vouches for its packages"),
    );
  const unlisted = used.filter((one) => listingsOf(one, listed).length === 0);
  if (unlisted.length > 0)
    return unknown(
      reason("unlisted", `the catalog lists other packages than ${namesOf(unlisted)} for its kernel`),
    );
  const strange = unvouchedPackages(origin);
  const [first] = strange;
  if (first === undefined) return NOTHING_TO_SAY;
  if (signatures === undefined || signers.length === 0)
    return unknown(
      unvouchedBy(
        first.source,
        sources.find(({ id }) => id === first.source),
        namesOf(strange),
      ),
    );
  const judged = strange.map((one) => {
    const signature = signatures.get(one.sha256 ?? "") ?? refused("notRead", "its signature was not read");
    const called = listingsOf(one, listed);
    const all = called.map((listing) => judgeSignature(signature, listing, { keys: signers, kversion }));
    return { one, signature: all.find(({ kind }) => kind === "signed") ?? (all[0] as PackageSignature) };
  });
  for (const { one, signature } of judged)
    if (signature.kind === "refused")
      return {
        word: isForged(signature) ? "fail" : "unknown",
        because: [
          reason(
            signature.why,
            `${one.name} ${one.version}, which no signed metadata lists: ${signature.fact}`,
          ),
        ],
      };
  return { word: "pass", because: [signedBy(judged as readonly Judged[])] };
}

interface Judged {
  readonly one: Package;
  readonly signature: SignedPackage;
}

/** In one order, whatever the packages' is: the same build has the same verdict. */
function signedBy(judged: readonly Judged[]): Because {
  const byKey = Map.groupBy(judged, ({ signature }) => signature.key);
  const texts = [...byKey].map(([key, its]) => `${namesOf(its.map(({ one }) => one))} by ${key}`);
  return reason("signedPackages", `its distribution signed ${texts.toSorted().join(", ")}`);
}

function namesOf(packages: readonly Pick<Package, "name">[]): string {
  return [...new Set(packages.map(({ name }) => name))].toSorted().join(", ");
}

/** What the catalog calls these bytes. */
function listingsOf({ sha256 }: Pick<Package, "sha256">, listed: KernelPackages): Package[] {
  if (sha256 === undefined) return [];
  return Object.values(listed)
    .flat()
    .filter((one) => one.sha256 === sha256);
}

/** The packages of a build, as the catalog lists them, for which no source's word vouches: their own signatures may. */
export function unvouchedPackages({ used, listed, sources }: Built): Package[] {
  if (listed === undefined) return [];
  const known = new Map(sources.map((source) => [source.id, source]));
  const strange = used.flatMap((one) => {
    const listings = listingsOf(one, listed);
    return listings.some(({ source }) => wordOf(known.get(source)) === "vouching")
      ? []
      : listings.slice(0, 1);
  });
  return [...new Map(strange.map((one) => [one.sha256, one])).values()];
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
        `only ${id} lists ${names}, its metadata is not signed, and no key is known that signs its packages: set \`keyring\` and \`fingerprints\`, or waive provenance in the policy`,
      );
    case "import":
      return reason(
        "unlisted",
        `only ${id}, which is not configured here, lists ${names}: configure the repository as a source`,
      );
  }
}
