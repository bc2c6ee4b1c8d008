/**
 * What gcc, clang, assembler and linker say when a source does not fit a kernel. Wordings of gcc 4 to 16 and
 * clang 11 to 21.
 */
import type { Symptom } from "./symptom.ts";

const BY_VERSION = "keep both variants, selected by `#if LINUX_VERSION_CODE`";
const WHERE_TO = `Find its replacement in the kernel's source, and ${BY_VERSION}.`;
const NOT_HERE = "exclude those kernels with `exclude` in the configuration";

export const HEADERS: readonly Symptom[] = [
  {
    expression:
      /fatal error: '?(?<thing>std(?:arg|bool|def|int|io|lib)\.h|string\.h)'?(?:: No such file or directory| file not found)/,
    cause: "the C library's header {thing} is not available to kernel code",
    advice:
      "Include the kernel's own headers: <linux/types.h>, <linux/string.h>, and since Linux 5.16 <linux/stdarg.h>.",
  },
  {
    expression: /fatal error: '?(?<header>asm\/[^':]+)'?(?:: No such file or directory| file not found)/,
    cause: "this kernel's architecture has no header {header}",
    advice: `If it belongs to another architecture, include it under \`#ifdef CONFIG_X86\` or similar, or ${NOT_HERE}; otherwise it moved: ${BY_VERSION}.`,
  },
  {
    expression:
      /fatal error: '?(?<header>(?:acpi|block|crypto|drm|dt-bindings|keys|kunit|linux|math-emu|media|net|pcmcia|rdma|rv|scsi|soc|sound|target|trace|uapi|vdso|video|xen)\/[^':]+)'?(?:: No such file or directory| file not found)/,
    cause: "the kernel has no header {header}",
    advice: `It was moved or removed. Include it only if it exists (\`#if __has_include(<{header}>)\`), or ${BY_VERSION}.`,
  },
  {
    expression: /fatal error: '?(?<thing>[^':]+)'?(?:: No such file or directory| file not found)/,
    cause: "the header {thing} was not found",
    advice:
      "If it is the driver's own, add its directory in Kbuild: `ccflags-y += -I$(src)/…` (EXTRA_CFLAGS has no effect since Linux 6.15). If it comes from a package, add that to the driver's `packages`.",
  },
];

/** A kernel's programming interface changes from release to release: these are how that shows. */
export const API_CHANGES: readonly Symptom[] = [
  {
    expression: /error: '(?<space>\w+)' undeclared here|error: use of undeclared identifier '(?<space>\w+)'/,
    confirmedBy: /macro 'MODULE_IMPORT_NS'/,
    cause: "the kernel expects the name of the namespace {space} as a string (its API changed)",
    advice:
      'Since Linux 6.13 it is MODULE_IMPORT_NS("{space}"): keep both variants, selected by `#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)`.',
  },
  {
    expression:
      /^(?<place>(?:\/usr\/src\/|\/lib\/modules\/|(?:\.\/)?(?:include|arch)\/)\S+?:\d+):(?:\d+:)? error: (?:'(?<thing>\w+)' undeclared|use of undeclared identifier '(?<thing>\w+)')/,
    cause:
      "the kernel's own {place} uses {thing}, and nothing that the driver includes before it declares that",
    advice:
      "Include the kernel's header that declares {thing} in the driver. Kernels of other kinds (real-time ones, say) may not need it, and bear it.",
  },
  {
    expression:
      /error: (?:implicit declaration of function|call to undeclared function|implicit declaration of) '(?<name>\w+)'/,
    cause: "the kernel has no function {name} (its API changed)",
    advice: `If it moved to another header, include that. ${WHERE_TO}`,
  },
  {
    expression: /error: use of undeclared identifier '(?<name>\w+)'/,
    cause: "the kernel has no {name} (its API changed)",
    advice: WHERE_TO,
  },
  {
    expression: /error: '(?<name>\w+)' undeclared/,
    cause: "the kernel has no {name} (its API changed)",
    advice: WHERE_TO,
  },
  {
    expression: /error: too (?:few|many) arguments to function '(?<name>\w+)'/,
    cause: "the kernel's {name}() takes different arguments (its API changed)",
    advice: `Compare the call with its declaration in this kernel, and ${BY_VERSION}.`,
  },
  {
    expression: /error: macro ['"](?<name>\w+)['"] (?:passed|requires) \d+ arguments/,
    cause: "the kernel's {name}() takes different arguments (its API changed)",
    advice: `Compare the call with its definition in this kernel, and ${BY_VERSION}.`,
  },
  {
    expression: /error: too (?:few|many) arguments (?:to function call|provided to function-like macro)/,
    cause: "a kernel function takes different arguments (its API changed)",
    advice: `Compare the call with its declaration in this kernel, and ${BY_VERSION}.`,
  },
  {
    expression:
      /error: (?:passing argument \d+ of '(?<name>\w+)'|incompatible type for argument \d+ of '(?<name>\w+)')/,
    cause: "the kernel's {name}() takes an argument of a different type (its API changed)",
    advice: `Compare the call with its declaration in this kernel, and ${BY_VERSION}.`,
  },
  {
    expression:
      /error: incompatible pointer types passing|error: passing '[^']*' to parameter of incompatible type/,
    cause: "a kernel function takes an argument of a different type (its API changed)",
    advice: `Compare the call with its declaration in this kernel, and ${BY_VERSION}.`,
  },
  {
    expression: /error: incompatible function pointer types (?:initializing|assigning)/,
    cause:
      "the kernel calls a function of the driver with different arguments, or expects a different result (its API changed)",
    advice: `Compare the function's declaration with the structure member that it is assigned to, and ${BY_VERSION}.`,
  },
  {
    expression:
      /error: (?:initialization|assignment|return)\w*\b.* from (?:a function with )?incompatible (?:pointer|return) type/,
    cause:
      "the kernel calls a function of the driver with different arguments, or expects a different result (its API changed)",
    advice: `Compare the function's declaration with the structure member that it is assigned to, and ${BY_VERSION}.`,
  },
  {
    expression:
      /error: (?:'(?<type>[^']+)'(?: \{aka [^}]*\})? has no member named '(?<name>\w+)'|no member named '(?<name>\w+)' in '(?<type>[^']+)')/,
    cause: "{type} has no member {name} in this kernel (its API changed)",
    advice: WHERE_TO,
  },
  {
    expression:
      /error: (?:unknown field '(?<name>\w+)' specified in initializer|field designator '(?<name>\w+)' does not refer)/,
    cause: "a kernel structure has no member {name} (its API changed)",
    advice: WHERE_TO,
  },
  {
    expression: /error: (?:unknown type name|must use '\w+' tag to refer to type) '(?<name>\w+)'/,
    cause: "the kernel has no type {name} (its API changed)",
    advice: `If it moved to another header, include that. ${WHERE_TO}`,
  },
  {
    expression:
      /error: (?:storage size of '(?<thing>\w+)' isn't known|'(?<thing>\w+)' has an? incomplete type)/,
    cause: "the type of {thing} is not defined in this kernel (its API changed)",
    advice: `If it moved to another header, include that. ${WHERE_TO}`,
  },
  {
    expression:
      /error: (?:invalid use of undefined type|dereferencing pointer to incomplete type|invalid application of 'sizeof' to incomplete type|incomplete definition of type|variable has incomplete type) '(?<name>[^']+)'/,
    cause: "{name} is not defined in this kernel (its API changed)",
    advice: `If it moved to another header, include that. If the kernel now hides it, there is a function for what the driver does with it. ${WHERE_TO}`,
  },
  {
    expression: /error: conflicting types for '(?<name>[^']+)'/,
    notedBy:
      /^(?<header>(?:\/usr\/src\/|\/lib\/modules\/|(?:\.\/)?(?:include|arch)\/)\S+?:\d+):(?:\d+:)? note: previous (?:definition|declaration) /,
    cause: "the kernel's {name} has a different type than the driver's (its prototype changed)",
    advice: `Compare with {header}. If the driver means the kernel's, follow that prototype; if it brings its own for kernels that have none, define it only for those: ${BY_VERSION}.`,
  },
  {
    expression:
      /error: (?:redefinition of|redeclaration of(?: enumerator)?|conflicting types for|duplicate (?:member|case)) '(?<name>[^']+)'/,
    cause: "the kernel has its own {name} (its API changed)",
    advice: `Define the driver's own only for kernels that have none, or rename it: ${BY_VERSION}.`,
  },
  {
    expression:
      /error: (?:static declaration of '(?<name>\w+)' follows|non-static declaration of '(?<name>\w+)' follows|static declaration of '(?<name>\w+)' follows)/,
    cause: "the kernel has its own {name} (its API changed)",
    advice: `Define the driver's own only for kernels that have none, or rename it: ${BY_VERSION}.`,
  },
  {
    expression:
      /error: assignment of read-only (?:member|location|variable) '(?<name>[^']+)'|error: cannot assign to .*'(?<name>\w+)' (?:with|declared) (?:const|here)/,
    cause: "the kernel no longer lets a driver write to {name} directly (its API changed)",
    advice: `Use the kernel's function for it, and ${BY_VERSION}.`,
  },
  {
    expression:
      /error: void value not ignored as it ought to be|error: (?:initializing|assigning to) '[^']+' (?:with an expression of|from) incompatible type 'void'/,
    cause: "a kernel function no longer returns a result (its API changed)",
    advice: `Do not use its result in kernels where it has none: ${BY_VERSION}.`,
  },
  {
    expression:
      /error: .*makes (?:integer from pointer|pointer from integer) without a cast|error: incompatible (?:integer to pointer|pointer to integer) conversion/,
    cause: "a kernel function takes or returns a different type (its API changed)",
    advice: `Compare with its declaration in this kernel, and ${BY_VERSION}.`,
  },
];

/** What any of these says if its `name` is a letter away from what the compiler suggests. */
export function misspelt(meant: string): Pick<Symptom, "cause" | "advice"> {
  return {
    cause: `this kernel has no {name}, but it has ${meant}`,
    advice: `If the name is misspelt, correct it. If it is one of other kernels, ${BY_VERSION}.`,
  };
}

export const REFUSALS: readonly Symptom[] = [
  {
    expression: /error: (?:#error "?|")(?<message>.*\b(?<option>CONFIG_\w+).*?)"?$/,
    cause: "the kernel was configured without something the driver requires: {message}",
    advice: `This driver cannot be built for kernels without {option}: ${NOT_HERE}.`,
  },
  {
    expression: /error: (?:#error "?|")(?<message>.+?)"?$/,
    cause: "the driver refuses this kernel: {message}",
    advice: `Add support for the kernel to the driver, or ${NOT_HERE}.`,
  },
  {
    // "in DIRECTORY:" only heads the next line.
    expression: /configure: error: (?!in '[^']*':?$)(?:\*+ *)?(?<message>.+)/,
    cause: "the driver's configure script fails: {message}",
    advice:
      "If it looks for a package, add that to the driver's `packages`; if it looks for the kernel, the headers are at /lib/modules/$KVERSION/build.",
  },
];

/** What makes configure scripts, of the tree's own description of them. */
export const AUTOTOOLS: readonly Symptom[] = [
  {
    expression:
      /^(?<file>[\w./+-]*(?:configure\.(?:ac|in)|\.m4|Makefile\.am)):(?<number>\d+): (?:error: |.*(?=does not appear in AM_CONDITIONAL))(?<message>.+)/,
    cause: "autotools cannot generate the driver's configure script: {message}",
    advice:
      "An undefined macro comes from a package (libtool, pkgconf, autoconf-archive …): add that to the driver's `packages`.",
  },
];

export const OPTIONS: readonly Symptom[] = [
  {
    expression:
      /unrecognized command[- ]line option '?(?<option>-m(?:sse|mmx|avx|3dnow|red-zone|cmodel|no-sse|preferred-stack)[^'\s]*)'?/,
    cause: "this architecture's compiler has no option {option}",
    advice: `Set it for x86 only: \`ccflags-$(CONFIG_X86) += {option}\`.`,
  },
  {
    expression:
      /unrecognized command[- ]line option '?(?<option>[^'\s;]+)|(?:error: |clang: .*)(?:unknown argument:?|unsupported option) '(?<option>[^']+)'/,
    cause: "the compiler does not know the option {option}",
    advice:
      "If the driver's makefile sets it, use `ccflags-y += $(call cc-option,{option})`. If the kernel sets it, the compiler is not the one that built the kernel.",
  },
];

/** Wherever a warning ends a build: last, since many of the above are warnings by name. */
export const WARNINGS: readonly Symptom[] = [
  {
    expression:
      /error: (?:the frame size of (?<size>\d+) bytes is larger|stack frame size \((?<size>\d+)\) exceeds)/,
    cause: "a function takes {size} bytes of the kernel's small stack",
    advice:
      "Allocate large data with kmalloc(), or raise the limit for this file: `CFLAGS_file.o += -Wframe-larger-than=4096`.",
  },
  {
    expression: /error: (?<path>\S+): No such file or directory \[-Werror=missing-include-dirs\]/,
    cause: "the include directory {path} does not exist",
    advice: "Correct the -I in the driver's makefile: in Kbuild, `$(src)` is the driver's directory.",
  },
  {
    expression: /error: (?<message>.*) \[-Werror(?:=|,-W)(?<warning>[\w+-]+)=?\]/,
    cause: "a warning stops the build, because {warning} is treated as an error: {message}",
    advice:
      "Fix the cause of the warning, or remove -Werror from the driver's makefile: every new compiler has new warnings.",
  },
  {
    expression: /error: (?<message>.*) \[-Werror\]/,
    cause: "a warning stops the build, because -Werror is set: {message}",
    advice:
      "Fix the cause of the warning, or remove -Werror from the driver's makefile: every new compiler has new warnings.",
  },
];

export const ASSEMBLY: readonly Symptom[] = [
  {
    expression:
      /Error: (?:unknown mnemonic|no such instruction:|unknown or missing|bad register name|unknown pseudo-op:?) .*|error: (?:impossible constraint in 'asm'|invalid 'asm'|unknown register name '[^']+' in 'asm'|unknown register name '[^']+')/,
    cause: "the driver's inline assembly is for another architecture",
    advice: `Write it in C, put it under \`#ifdef CONFIG_X86\` or similar, or ${NOT_HERE}.`,
  },
  {
    expression:
      /error: (?:SSE register (?:return|argument) with SSE disabled|'-mgeneral-regs-only' is incompatible)/,
    cause: "the driver uses floating-point arithmetic, which is not available in kernel code",
    advice: "Use integers; values known in advance can be written as constants.",
  },
];

export const LINKING: readonly Symptom[] = [
  {
    expression: /multiple definition of '(?<thing>[^']+)'|duplicate symbol: (?<thing>\w+)/,
    cause: "several of the driver's files define {thing}",
    advice: "Declare it `extern` in the header and define it in one file.",
  },
  {
    expression:
      /(?:file in wrong format|file not recognized|file format not recognized|Relocations in generic ELF|is incompatible with \S+|unknown file type)/,
    cause: "an object file shipped with the driver is not for this kernel's architecture",
    advice: `Ship one for each architecture and select it by \`$(ARCH)\` in Kbuild, or ${NOT_HERE}.`,
  },
];
