/**
 * What a kernel's own headers say of the compiler that built it: configuration (CONFIG_CC_VERSION_TEXT since 5.8,
 * CONFIG_GCC_VERSION and CONFIG_CLANG_VERSION since 4.18) and include/generated/compile.h (LINUX_COMPILER).
 */
import type { Compiler } from "./kernel.ts";

/** Where a configuration may lie below a kernel's headers, the one made for reading by make first. */
export const CONFIG_FILES = ["include/config/auto.conf", ".config", "include/generated/autoconf.h"] as const;
export const COMPILE_FILE = "include/generated/compile.h";

/** Both `CONFIG_X=1` and `#define CONFIG_X 1`; undefined when neither is there. */
function setting(text: string, name: string): string | undefined {
  const match = new RegExp(`^(?:${name}=|#define[ \\t]+${name}[ \\t]+)(.*)$`, "m").exec(text);
  return match?.[1]?.replace(/^"(.*)"$/, "$1");
}

/** What a configuration says; undefined for the many that say nothing. */
export function compilerOfConfig(text: string): Compiler | undefined {
  const linker = isSet(text, "CONFIG_LD_IS_LLD") ? { linker: "lld" as const } : {};
  const words = setting(text, "CONFIG_CC_VERSION_TEXT");
  const told = words === undefined ? undefined : readVersionText(words);
  if (told !== undefined) return { ...told, source: "config", ...linkerOf(told.family, linker) };
  for (const [family, name] of [
    ["clang", "CONFIG_CLANG_VERSION"],
    ["gcc", "CONFIG_GCC_VERSION"],
  ] as const) {
    // The one that did not build it is 0.
    const version = versionOfNumber(setting(text, name));
    if (version !== undefined) return { family, version, source: "config", ...linkerOf(family, linker) };
  }
  return undefined;
}

/** What compile.h says: the compiler, and from 5.8 on the linker behind a comma. */
export function compilerOfHeader(text: string): Compiler | undefined {
  const words = setting(text, "LINUX_COMPILER");
  const told = words === undefined ? undefined : readVersionText(words);
  if (told === undefined) return undefined;
  return {
    ...told,
    source: "header",
    ...linkerOf(told.family, /\bLLD\b/.test(words ?? "") ? { linker: "lld" } : {}),
  };
}

function linkerOf(family: Compiler["family"], linker: Pick<Compiler, "linker">): Pick<Compiler, "linker"> {
  return family === "clang" ? linker : {};
}

function isSet(text: string, name: string): boolean {
  return ["y", "1"].includes(setting(text, name) ?? "");
}

const TEXT_LIMIT = 1000;

/**
 * The first line of a compiler's `--version`, or what `gcc -v` ends with. Words in parentheses are whoever packaged
 * it, with versions of their own: `gcc (GCC) 11.4.1 20231218 (Red Hat 11.4.1-3)`.
 */
export function readVersionText(text: string): Pick<Compiler, "family" | "version"> | undefined {
  let plain = text.slice(0, TEXT_LIMIT);
  for (let before = ""; before !== plain; ) {
    before = plain;
    plain = plain.replace(/\([^()]*\)/g, " ");
  }
  const [compiler = ""] = plain.split(",");
  const version = /(?:^|\s)(\d+\.\d+(?:\.\d+)*)(?=[\s_-]|$)/.exec(compiler)?.[1];
  const family = /clang/i.test(compiler) ? "clang" : /gcc/i.test(compiler) ? "gcc" : undefined;
  return version === undefined || family === undefined ? undefined : { family, version };
}

/** 110401 is 11.4.1. */
function versionOfNumber(text: string | undefined): string | undefined {
  const number = /^\d{5,7}$/.test(text ?? "") ? Number(text) : 0;
  if (number === 0) return undefined;
  return [Math.floor(number / 10_000), Math.floor(number / 100) % 100, number % 100].join(".");
}
