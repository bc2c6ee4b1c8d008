/**
 * Whether the kernel has what modules import: each symbol, with the CRC that they were built with, open to their licence
 * and namespaces.
 */
import type { Symvers } from "../../formats/module-symvers.ts";
import { type Importer, symbolFaults } from "../symbols.ts";
import { type Reason, reason, type Verdict, verdict, withReasons } from "../verdict.ts";
import { type Check, modulesOf } from "./check.ts";

const CODES = [
  "missing",
  "version",
  "noVersion",
  "gplOnly",
  "namespace",
  "exported",
  "architecture",
  "noSymvers",
] as const;
type Because = Reason<(typeof CODES)[number]>;

export const symbols = {
  name: "symbols",
  codes: CODES,
  question: "Does the kernel export every symbol they use, in the version they expect?",
  isDefault: true,
  isOfFiles: true,
  isKeyed: false,
  judge(subject) {
    const { architecture, symvers } = subject.kernel;
    const modules = modulesOf(subject)?.map(({ module }) => module);
    if (modules === undefined) return undefined;
    if (modules.some((one) => one.architecture !== architecture))
      return said(
        "notApplicable",
        "architecture",
        "the module is for another architecture, whose symbols differ",
      );
    if (symvers === undefined)
      return said("unknown", "noSymvers", "the kernel's headers have no Module.symvers");
    return checkSymbols(modules, symvers, subject.needed);
  },
} as const satisfies Check;

export function checkSymbols(
  modules: readonly Importer[],
  { symbols, hasVersions }: Symvers,
  others: readonly Importer[] = [],
): Verdict {
  const faults = symbolFaults(modules, { symbols, hasVersions }, others);
  if (faults.length > 0) {
    const reasons = faults.map(({ module, kind, fact }): Because => reason(kind, `${module}: ${fact}`));
    return withReasons("symbols", "fail", reasons);
  }
  const count = new Set(modules.flatMap(({ imports }) => imports)).size;
  const versions = hasVersions
    ? `each with the ${others.length === 0 ? "kernel's CRC" : "CRC it has there"}`
    : "without CRCs: this kernel has none, so the module fits only this exact build of it";
  return said("pass", "exported", `${exporters(others)} all ${count} symbols, ${versions}`);
}

function said(word: Verdict["verdict"], code: Because["code"], text: string): Verdict {
  return verdict("symbols", word, reason(code, text));
}

function exporters(others: readonly Importer[]): string {
  const names = others.map(({ name }) => name);
  return names.length === 0 ? "the kernel exports" : `the kernel and ${names.join(", ")} export`;
}
