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

/** Of a module for this kernel, byte by byte (include/linux/vermagic.h, and each architecture's asm/vermagic.h). */
export function vermagicOf(
  release: string,
  config: KernelConfig,
  { architecture, seed }: { readonly architecture: "x86_64" | "aarch64"; readonly seed?: string | undefined },
): string {
  const is = (name: string) => config.get(name) === "y";
  const words = [
    release,
    ...(is("SMP") ? ["SMP"] : []),
    // A kernel may be both, and then says the first.
    ...(is("PREEMPT_BUILD") || is("PREEMPT") ? ["preempt"] : is("PREEMPT_RT") ? ["preempt_rt"] : []),
    ...(is("MODULE_UNLOAD") ? ["mod_unload"] : []),
    ...(is("MODVERSIONS") ? ["modversions"] : []),
  ];
  const machine = architecture === "aarch64" ? "aarch64" : "";
  return `${words.join(" ")} ${machine}${seed === undefined ? "" : `RANDSTRUCT_${seed}`}`;
}
