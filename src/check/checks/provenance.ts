/**
 * Whether it is known of what a module was made: built here, of packages that their distribution vouches for.
 */
import { isVouching } from "../../catalog/catalog.ts";
import { type Verdict, verdict } from "../verdict.ts";
import type { Check, Origin } from "./check.ts";

export const provenance = {
  name: "provenance",
  question: "Is it known from what, and by what, they were built?",
  isDefault: true,
  isOfFiles: true,
  judge: ({ origin }) => origin && checkProvenance(origin),
} as const satisfies Check;

function checkProvenance(origin: Origin): Verdict {
  if (origin.kind === "imported")
    return verdict(
      "provenance",
      "unknown",
      `imported by ${origin.by}: ${origin.why}; nobody here knows from what it was built`,
    );
  const { recipe, packages, sources } = origin;
  const vouching = new Set(sources.filter(isVouching).map(({ id }) => id));
  const strange = Object.values(packages)
    .flat()
    .filter(({ source }) => !vouching.has(source));
  const built = `built here by recipe ${recipe}`;
  const [first] = strange;
  if (first === undefined) return verdict("provenance", "pass", built);
  // A digest that only a list gives proves no origin.
  const names = [...new Set(strange.map(({ name }) => name))].join(", ");
  return verdict(
    "provenance",
    "unknown",
    `${built}, with ${names} on the word of ${first.source} alone, which nobody signs: configure the repository itself, or say \`trusted: true\` of the list`,
  );
}
