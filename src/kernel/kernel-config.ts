/**
 * A kernel's configuration as its headers hold it: `.config`, or the `include/config/auto.conf` made from it. Source:
 * the kernel's Documentation/kbuild/kconfig.rst.
 */

/** Without `CONFIG_` → value; strings without their quotes. What is not set is not there. */
export type KernelConfig = ReadonlyMap<string, string>;

export function readKernelConfig(text: string): KernelConfig {
  const settings = new Map<string, string>();
  for (const [, name = "", value = ""] of text.matchAll(/^CONFIG_([A-Za-z0-9_]+)=(.*)$/gm))
    settings.set(name, value.replace(/^"(.*)"$/, "$1"));
  return settings;
}

/** What decides a vermagic beside the configuration, as the kernel's headers say it. */
export interface VermagicRules {
  readonly architecture: "x86_64" | "aarch64";
  /** include/linux/vermagic.h: which of two kinds of preemption comes first has changed over time. */
  readonly header?: string | undefined;
  /** Of a kernel with a randomised layout. */
  readonly seed?: string | undefined;
}

/**
 * Of a module for this kernel, byte by byte (include/linux/vermagic.h, and each architecture's asm/vermagic.h);
 * undefined where the headers do not say enough.
 */
export function vermagicOf(
  release: string,
  config: KernelConfig,
  { architecture, header, seed }: VermagicRules,
): string | undefined {
  const is = (name: string) => config.get(name) === "y";
  const preemption = preemptionWords(header).filter(([name]) => is(name));
  if (header === undefined && preemption.length > 1) return undefined;
  const words = [
    `${release} `,
    is("SMP") ? "SMP " : "",
    preemption[0]?.[1] ?? "",
    is("MODULE_UNLOAD") ? "mod_unload " : "",
    is("MODVERSIONS") ? "modversions " : "",
    architecture === "aarch64" ? "aarch64" : "",
    seed === undefined ? "" : `RANDSTRUCT_${seed}`,
  ];
  return words.join("");
}

/** Setting and word, the first that is set wins. */
function preemptionWords(header: string | undefined): (readonly [setting: string, word: string])[] {
  const said = header?.matchAll(
    /^#\s*(?:ifdef|elif defined)[\s(]+CONFIG_(\w+)\)?\s*\n#\s*define\s+MODULE_VERMAGIC_PREEMPT\s+"([^"]*)"/gm,
  );
  if (said !== undefined) return [...said].map(([, setting = "", word = ""]) => [setting, word]);
  return [
    ["PREEMPT_RT", "preempt_rt "],
    ["PREEMPT_BUILD", "preempt "],
  ];
}
