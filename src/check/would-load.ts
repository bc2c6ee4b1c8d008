/**
 * Whether a kernel would take modules that were built for another one, by the rules that it loads by: its vermagic,
 * its symbols and their CRCs, and signatures. Source: same_magic() and check_version() of kernel/module/, read for facts.
 */
import type { KernelModule } from "../formats/kernel-module.ts";
import type { KernelRecord } from "../inputs/kernel-record.ts";
import type { SignatureAnswer } from "./signature.ts";
import { symbolFaults } from "./symbols.ts";

export interface Answer {
  /** `unknown` where the kernel's record says too little, or its rules prove too little. */
  readonly answer: "loads" | "refuses" | "unknown";
  readonly reasons: readonly string[];
}

/** `needed`: modules of other drivers that are in the kernel before. */
export function wouldLoad(
  modules: readonly KernelModule[],
  kernel: KernelRecord,
  signatures: SignatureAnswer = { faults: [], gaps: [] },
  needed: readonly KernelModule[] = [],
): Answer {
  const { architecture, vermagic, symvers } = kernel;
  const foreign = modules.find((one) => one.architecture !== architecture);
  if (foreign !== undefined)
    return { answer: "refuses", reasons: [`${foreign.name} is for ${foreign.architecture}`] };
  if (vermagic === undefined || symvers === undefined)
    return { answer: "unknown", reasons: ["the kernel's headers do not show what it requires"] };
  const faults = [
    ...signatures.faults,
    ...modules.flatMap((one) =>
      acceptsMagic(one, vermagic, symvers.hasVersions)
        ? []
        : [`${one.name} has the vermagic "${one.vermagic}", but the kernel has "${vermagic}"`],
    ),
    ...symbolFaults(modules, symvers, needed).map(({ module, fact }) => `${module}: ${fact}`),
  ];
  if (faults.length > 0) return { answer: "refuses", reasons: faults };
  if (signatures.gaps.length > 0) return { answer: "unknown", reasons: signatures.gaps };
  return symvers.hasVersions
    ? { answer: "loads", reasons: ["the vermagic and every CRC match the kernel's"] }
    : { answer: "loads", reasons: ["the release is identical, and this kernel compares nothing else"] };
}

/** With CRCs in both, the release at the beginning counts for nothing: they say more. */
function acceptsMagic({ vermagic, versions }: KernelModule, wanted: string, hasVersions: boolean): boolean {
  if (!hasVersions || versions === undefined) return vermagic === wanted;
  const rest = (text: string) => text.slice(text.indexOf(" "));
  return rest(vermagic) === rest(wanted);
}
