/**
 * Whether the kernel has what modules import: each symbol, with the CRC that they were built with, open to their licence
 * and namespaces.
 */
import type { Symvers } from "../../formats/module-symvers.ts";
import { type Importer, symbolFaults } from "../symbols.ts";
import { type Verdict, verdict } from "../verdict.ts";
import { type Check, modulesOf } from "./check.ts";

export const symbols = {
  name: "symbols",
  question: "Does the kernel have all they use, as they expect it?",
  isDefault: true,
  isOfFiles: true,
  judge(subject) {
    const { architecture, symvers } = subject.kernel;
    const modules = modulesOf(subject)?.map(({ module }) => module);
    if (modules === undefined) return undefined;
    if (modules.some((one) => one.architecture !== architecture))
      return verdict("symbols", "notApplicable", "symbols of another architecture are others");
    if (symvers === undefined)
      return verdict("symbols", "unknown", "the kernel's headers hold no Module.symvers");
    return checkSymbols(modules, symvers, subject.needed);
  },
} as const satisfies Check;

/** How many faults a verdict names before it only counts. */
const NAMED_FAULTS = 20;

export function checkSymbols(
  modules: readonly Importer[],
  { symbols, hasVersions }: Symvers,
  others: readonly Importer[] = [],
): Verdict {
  const faults = symbolFaults(modules, { symbols, hasVersions }, others);
  const named = faults.slice(0, NAMED_FAULTS).map(({ module, fact }) => `${module}: ${fact}`);
  const rest = faults.length - named.length;
  if (faults.length > 0)
    return {
      check: "symbols",
      verdict: "fail",
      reasons: [...named, ...(rest === 0 ? [] : [`and ${rest} more`])],
    };
  const count = new Set(modules.flatMap(({ imports }) => imports)).size;
  const versions = hasVersions
    ? `each with ${others.length === 0 ? "the kernel's own CRC" : "the CRC that it has there"}`
    : "without CRCs: this kernel has none, so only its very own build may be trusted with the module";
  return {
    check: "symbols",
    verdict: "pass",
    reasons: [`${exporters(others)} all ${count} symbols, ${versions}`],
  };
}

function exporters(others: readonly Importer[]): string {
  const names = others.map(({ name }) => name);
  return names.length === 0 ? "the kernel exports" : `the kernel and ${names.join(", ")} export`;
}
