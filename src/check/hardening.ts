/**
 * What a kernel's own configuration guards itself with, against what modules bring for it. A kernel that calls a function
 * without the mark it insists on dies; what only leaves the module less guarded than the kernel is told, and no fault.
 */
import type { KernelModule } from "../formats/kernel-module.ts";
import type { KernelConfig } from "../kernel/kernel-config.ts";

type Guarded = Pick<KernelModule, "name" | "architecture" | "guards" | "modinfo" | "imports">;

interface Hardening {
  /** With these the kernel dies on processors that have the guard. */
  readonly faults: readonly string[];
  /** What modules lack, and what follows from it. */
  readonly notes: readonly string[];
}

interface Guard {
  readonly architecture: KernelModule["architecture"] | undefined;
  /** One of these settings is on. */
  readonly settings: readonly string[];
  readonly unless?: string;
  readonly kind: "fault" | "note";
  /** What the module is missing, if anything: words that follow its name. */
  readonly lacks: (module: Guarded, hasVmlinux: boolean) => string | undefined;
  readonly consequence: string;
}

const GUARDS: readonly Guard[] = [
  {
    architecture: "x86_64",
    settings: ["X86_KERNEL_IBT"],
    kind: "fault",
    lacks: (module) => unmarked(module, ["f30f1efa"], "endbr64"),
    consequence:
      "a processor with indirect branch tracking (Intel since 2020) stops the kernel there; compile it with the kernel's own flags (-fcf-protection=branch)",
  },
  {
    architecture: "aarch64",
    settings: ["ARM64_BTI_KERNEL"],
    kind: "fault",
    // bti c, bti jc, paciasp, pacibsp
    lacks: (module) => unmarked(module, ["5f2403d5", "df2403d5", "3f2303d5", "7f2303d5"], "bti c"),
    consequence:
      "a processor with branch target identification (Armv8.5) stops the kernel there; compile it with the kernel's own flags (-mbranch-protection)",
  },
  {
    architecture: "x86_64",
    settings: ["CFI_CLANG", "CFI"],
    unless: "CFI_PERMISSIVE",
    kind: "fault",
    lacks: ({ guards: { hasCode, hasCfi } }) =>
      hasCode && !hasCfi ? "has functions without type information (kCFI)" : undefined,
    consequence: "the kernel stops if it calls one through a pointer; compile it with the kernel's own flags",
  },
  {
    architecture: "x86_64",
    settings: ["MITIGATION_RETPOLINE", "RETPOLINE"],
    kind: "note",
    lacks: ({ modinfo }) =>
      modinfo.some(([key]) => key === "retpoline") ? undefined : "was compiled without retpolines",
    consequence: "once it is loaded, the kernel reports itself as vulnerable to Spectre v2",
  },
  {
    architecture: "x86_64",
    settings: ["MITIGATION_RETHUNK", "RETHUNK"],
    kind: "note",
    lacks: ({ guards: { hasCode }, imports }) =>
      hasCode && !imports.includes("__x86_return_thunk") ? "has no return thunks" : undefined,
    consequence: "the kernel cannot protect the returns of its functions (Retbleed, Inception)",
  },
  {
    architecture: undefined,
    settings: ["DEBUG_INFO_BTF_MODULES"],
    kind: "note",
    lacks: ({ guards: { hasBtf } }, hasVmlinux) => {
      if (hasBtf) return undefined;
      return hasVmlinux
        ? "has no BTF"
        : "has no BTF (the kernel's headers have no vmlinux to generate it from)";
    },
    consequence:
      "BPF programs cannot attach to its functions by type, as they can with the kernel's own modules",
  },
];

/**
 * `hasVmlinux`: whether the kernel's headers have the image that type information of modules is made from. Modules of
 * another architecture than the kernel's are not looked at, and a missing configuration requires nothing.
 */
export function hardeningOf(
  modules: readonly Guarded[],
  architecture: KernelModule["architecture"],
  config: KernelConfig = new Map(),
  hasVmlinux = true,
): Hardening {
  const is = (name: string | undefined) => name !== undefined && config.get(name) === "y";
  const found = { fault: [] as string[], note: [] as string[] };
  for (const guard of GUARDS) {
    const setting = guard.settings.find(is);
    if (setting === undefined || is(guard.unless) || (guard.architecture ?? architecture) !== architecture)
      continue;
    for (const module of modules) {
      const lacks = module.architecture === architecture ? guard.lacks(module, hasVmlinux) : undefined;
      if (lacks !== undefined)
        found[guard.kind].push(
          `${module.name} ${lacks}, but the kernel has CONFIG_${setting}: ${guard.consequence}`,
        );
    }
  }
  return { faults: found.fault, notes: found.note };
}

function unmarked(
  { guards: { entries } }: Guarded,
  marks: readonly string[],
  word: string,
): string | undefined {
  const names = [...entries].filter(([, bytes]) => !marks.includes(bytes)).map(([name]) => name);
  return names.length === 0 ? undefined : `has no ${word} at ${names.join(" and ")}`;
}
