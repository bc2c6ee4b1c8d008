/**
 * Whether it is known of what a module was made: built here, of packages that their distribution vouches for.
 */
import { isVouching } from "../../catalog/catalog.ts";
import { reason, type Verdict, verdict } from "../verdict.ts";
import type { Check, Origin } from "./check.ts";

const CODES = ["built", "unsignedList", "imported"] as const;
type Code = (typeof CODES)[number];

export const provenance = {
  name: "provenance",
  codes: CODES,
  question: "Is it known which source and tools they were built from?",
  isDefault: true,
  isOfFiles: true,
  judge: ({ origin }) => origin && checkProvenance(origin),
} as const satisfies Check;

function checkProvenance(origin: Origin): Verdict {
  if (origin.kind === "imported")
    return said(
      "unknown",
      "imported",
      `imported by ${origin.by}: ${origin.why}; what it was built from is not known here`,
    );
  const { recipe, packages, sources } = origin;
  const vouching = new Set(sources.filter(isVouching).map(({ id }) => id));
  const strange = Object.values(packages)
    .flat()
    .filter(({ source }) => !vouching.has(source));
  const built = `built here with recipe ${recipe}`;
  const [first] = strange;
  if (first === undefined) return said("pass", "built", built);
  // A digest that only a list gives proves no origin.
  const names = [...new Set(strange.map(({ name }) => name))].join(", ");
  return said(
    "unknown",
    "unsignedList",
    `${built}, but only ${first.source}, an unsigned list, vouches for ${names}: configure the repository itself, or set \`trusted: true\` for the list`,
  );
}

function said(word: Verdict["verdict"], code: Code, text: string): Verdict {
  return verdict("provenance", word, reason(code, text));
}
