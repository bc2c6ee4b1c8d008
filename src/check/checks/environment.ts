/**
 * Whether modules were compiled as their kernel was: what the compiler left in `.comment`, and what it put in to guard
 * them, against the kernel's own record. docs/checks.md publishes what is material.
 */
import type { KernelModule } from "../../formats/kernel-module.ts";
import type { KernelRecord } from "../../inputs/kernel-record.ts";
import { readVersionText } from "../../kernel/compiler-record.ts";
import type { Compiler } from "../../kernel/kernel.ts";
import { hardeningOf } from "../hardening.ts";
import { type Reason, reason, summed, type Verdict } from "../verdict.ts";
import { type Check, modulesOf } from "./check.ts";

/** Modules name one to three, a few more where objects of others are linked in. */
const MOST_COMPILERS = 100;

type Compiled = Pick<KernelModule, "name" | "architecture" | "compilers" | "guards" | "modinfo" | "imports">;

const CODES = [
  "compiler",
  "manyCompilers",
  "patchLevel",
  "unknownCompiler",
  "unknownGuards",
  "unnamedCompiler",
  "strangeCompiler",
  "guard",
  "unguarded",
  "sameCompiler",
] as const;
type Because = Reason<(typeof CODES)[number]>;

export const environment = {
  name: "environment",
  codes: CODES,
  question: "Were they built with the kernel's own compiler?",
  isDefault: true,
  isOfFiles: true,
  isKeyed: false,
  judge(subject) {
    const modules = modulesOf(subject)?.map(({ module }) => module);
    return modules && checkEnvironment(modules, subject.kernel);
  },
} as const satisfies Check;

export function checkEnvironment(
  modules: readonly Compiled[],
  { compiler, architecture, config, hasVmlinux }: KernelRecord,
): Verdict {
  const hardening = hardeningOf(modules, architecture, config, hasVmlinux);
  const unguarded = hardening.faults.map((text): Because => reason("guard", text));
  // Modules of one set repeat each other.
  const [faults, gaps, notes] = [new Reasons(), new Reasons(), new Reasons()];
  if (config === undefined)
    gaps.add(
      "unknownGuards",
      "the kernel's configuration is missing, so it is not known what guards modules need",
    );
  if (compiler === undefined) {
    gaps.add("unknownCompiler", "it is not known which compiler built the kernel");
    return summed("environment", { faults: unguarded, gaps: gaps.all, good: [] });
  }
  for (const { name, compilers } of modules) {
    if (compilers.length === 0)
      gaps.add("unnamedCompiler", `${name} does not name the compiler that built it`);
    if (compilers.length > MOST_COMPILERS) {
      faults.add("manyCompilers", `${name} names ${compilers.length} compilers, which no real build does`);
      continue;
    }
    for (const words of compilers) {
      const used = readVersionText(words);
      if (used === undefined)
        gaps.add("strangeCompiler", `${name} was built by an unknown compiler: "${words.slice(0, 80)}"`);
      else if (isMaterial(used, compiler))
        faults.add("compiler", `${name} was built with ${told(used)}, but the kernel with ${told(compiler)}`);
      else if (used.version !== compiler.version)
        notes.add(
          "patchLevel",
          `${name} was built with ${told(used)}; the different patch level does not matter`,
        );
    }
  }
  return summed("environment", {
    faults: [...faults.all, ...unguarded],
    gaps: gaps.all,
    good: [
      reason("sameCompiler", `built with ${told(compiler)}, like the kernel`),
      ...notes.all,
      ...hardening.notes.map((text) => reason("unguarded", text)),
    ],
  });
}

/** Reasons, each text once. */
class Reasons {
  readonly #byText = new Map<string, Because>();

  add(code: Because["code"], text: string): void {
    this.#byText.set(text, { code, text });
  }

  get all(): Because[] {
    return [...this.#byText.values()];
  }
}

/** Another family, or another major version: layout, mitigations and plugins follow them. */
function isMaterial(used: Pick<Compiler, "family" | "version">, wanted: Compiler): boolean {
  return used.family !== wanted.family || majorOf(used.version) !== majorOf(wanted.version);
}

function majorOf(version: string): string {
  return version.split(".")[0] ?? "";
}

function told({ family, version }: Pick<Compiler, "family" | "version">): string {
  return `${family} ${version}`;
}
