/**
 * Whether it is known of what a module was made: built here, of packages that their distribution vouches for.
 */
import { type CatalogSource, isVouching } from "../catalog/catalog.ts";
import type { KernelPackages } from "../kernel/distributions/distribution.ts";
import { type Verdict, verdict } from "./verdict.ts";

/** `recipe` is the key of the recipe that was followed. A digest that only a list gives proves no origin. */
export function checkProvenance(
  { packages }: { readonly packages: KernelPackages },
  recipe: string,
  sources: readonly CatalogSource[],
): Verdict {
  const vouching = new Set(sources.filter(isVouching).map(({ id }) => id));
  const strange = Object.values(packages)
    .flat()
    .filter(({ source }) => !vouching.has(source));
  const built = `built here by recipe ${recipe}`;
  const [first] = strange;
  if (first === undefined) return verdict("provenance", "pass", built);
  const names = [...new Set(strange.map(({ name }) => name))].join(", ");
  return verdict(
    "provenance",
    "unknown",
    `${built}, with ${names} on the word of ${first.source} alone, which nobody signs: configure the repository itself, or say \`trusted: true\` of the list`,
  );
}
