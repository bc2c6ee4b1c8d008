/**
 * What modpost, make, shells and the kernel's build tools say.
 */
import type { Symptom } from "./symptom.ts";

const NOT_HERE = "leave those kernels out with `exclude` in the configuration";
const COMMAND_FAILED = /\*\*\* .*Error 12[67]\b|^kmodfarm: .* failed/;

export const MODPOST: readonly Symptom[] = [
  {
    expression:
      /"__(?:float|fix|add|sub|mul|div|extend|trunc|[lg][te]|eq|ne)(?=\w*[sd]f)\w*" \[[^\]]*\] undefined!/,
    cause: "the driver counts with floating point numbers, which kernel code cannot",
    advice: "Use integers; what is known beforehand can be written as a constant.",
  },
  {
    expression:
      /modpost: GPL-incompatible module (?<module>\S+?)(?:\.ko)? uses GPL-only symbol '(?<name>\w+)'/,
    cause: "{module} is not GPL and uses {name}, which is for GPL modules only",
    advice:
      "Do without it, or put the driver under a licence that the kernel counts as GPL (MODULE_LICENSE).",
  },
  {
    expression:
      /ERROR: modpost: module (?<module>\S+) uses symbol (?<name>\w+) from namespace (?<space>\w+), but does not import it/,
    cause: "{name} belongs to the symbol namespace {space}, which {module} does not import",
    advice: 'Add MODULE_IMPORT_NS("{space}"), before Linux 6.13 MODULE_IMPORT_NS({space}).',
  },
  {
    expression: /ERROR:(?: modpost:)? "(?<name>[^"]+)" \[[^\]]*\] undefined!/,
    cause: "neither the kernel nor this build exports {name} to modules",
    advice: `If another module of the driver gives it, build both together (obj-m of one tree); if the kernel did, find another way or ${NOT_HERE}.`,
  },
  {
    expression: /modpost: missing MODULE_LICENSE\(\)/,
    cause: "a module does not name its licence",
    advice: 'Add MODULE_LICENSE("…") to one of its files.',
  },
  {
    expression: /modpost: Section mismatches detected/,
    cause:
      "code that stays refers to code or data that goes away after init, and this kernel does not let that pass",
    advice: "The log names each reference above that line: correct the __init and __exit marks.",
  },
  {
    expression: /^(?<place>(?:\S*\/)?)\.(?<object>[^/\s]+\.o)\.cmd: No such file or directory$/,
    cause:
      "Kbuild did not make {place}{object}, and modpost finds no {place}.{object}.cmd, which it reads since Linux 5.8",
    advice:
      "Ship an empty {place}.{object}.cmd with the object, or let `prepare` of the driver make one: `touch {place}.{object}.cmd`.",
  },
  {
    expression:
      /Kernel configuration is invalid|include\/(?:generated\/autoconf\.h|config\/auto\.conf) are missing/,
    code: "BUILD_UNEXPLAINED",
    cause: "the kernel's header packages are not whole: their configuration is missing",
    advice: "Remove the named trees from the cache; if it comes back, the distribution's package is broken.",
  },
];

export const MAKE: readonly Symptom[] = [
  {
    expression: /'SUBDIRS' was removed in Linux 5\.3/,
    cause:
      "the driver's makefile names its directory by SUBDIRS=, which Kbuild does not know since Linux 5.3",
    advice: "Call Kbuild by M= instead, which every kernel knows: `$(MAKE) -C … M=$(CURDIR) modules`.",
  },
  {
    expression: /No rule to make target '(?<target>[^']+)', needed by '/,
    cause: "{target} is not there, and nothing makes it",
    advice: "Correct the names in Kbuild (obj-m, …-y), or add the file to the driver's source.",
  },
  {
    expression: /No rule to make target '(?<target>[^']+)'/,
    cause: "the makefile has no target {target}",
    advice: "Correct the target that is called, or add it to the driver's makefile.",
  },
  {
    expression: /No targets specified and no makefile found/,
    cause: "there is no makefile where make is called",
    advice: "Correct the directory that it is called in (`-C`, or `directory` of the driver).",
  },
  {
    expression:
      /\*\*\* (?:specified external module directory "(?<path>[^"]+)" does not exist|(?<path>\/\S+): No such file or directory)\.\s+Stop/,
    cause: "the driver's makefile calls make in {path}, which is not there",
    advice:
      "Let it use $(src), $(CURDIR) or $(M) for its own directory, and /lib/modules/$(KERNELRELEASE)/build for the kernel's.",
  },
  {
    expression: /\*\*\* (?<message>\.NOTINTERMEDIATE and \.SECONDARY are mutually exclusive)/,
    cause: "the driver's makefile has a fault: {message}",
    advice: "Leave .SECONDARY out of its Kbuild: newer kernels set .NOTINTERMEDIATE themselves.",
  },
  {
    expression:
      /\*\*\* (?<message>missing separator|missing 'endif'|unterminated [^.]*|recipe commences before first target|mixed implicit [^.]*|multiple target patterns|extraneous '\w+'|commands commence before first target)/,
    cause: "the driver's makefile has a fault: {message}",
    advice: "Correct the named line; commands of a rule begin with a tab.",
  },
  {
    expression: /\*\*\* (?<message>(?!\[)(?!No )(?!Deleting|Waiting|wait:).*[^\s.])\.?\s+Stop\.$/,
    cause: "a makefile refuses this kernel: {message}",
    advice: `Correct it, or ${NOT_HERE}.`,
  },
];

/** They count only if the build really ends of them: makefiles often ask for tools that may be missing. */
export const TOOLS: readonly Symptom[] = [
  {
    expression:
      /(?:^|\s)(?<tool>[^\s:]*(?:gcc|clang|\bcc|ld\.lld)[-\d.]*): (?:command not found|not found|No such file or directory|Command not found)$/,
    confirmedBy: /\*\*\*/,
    cause: "the compiler {tool} is not in the toolchain root",
    advice: "Leave the choice of the compiler to the kernel's record: no `CC =` in the driver's makefile.",
  },
  {
    expression: /(?:^|[\s:])pahole(?:: \S*)?: (?:command not found|not found|No such file or directory)/,
    confirmedBy: COMMAND_FAILED,
    cause: "pahole, which makes the modules' BTF, is not in the toolchain root",
    advice: "Add the package pahole (dwarves) to the release's image definition under images/.",
  },
  {
    expression:
      /(?:^|: )(?:\d+: |line \d+: |exec: )?(?<tool>[\w.+-]+): (?:command not found|Command not found|not found)$/,
    confirmedBy: COMMAND_FAILED,
    cause: "the build calls {tool}, which is not in the toolchain root",
    advice: "Name the package that brings {tool} in `packages` of the driver.",
  },
  {
    expression: /^make(?:\[\d+\])?: (?<tool>[\w.+-]+): No such file or directory$/,
    confirmedBy: COMMAND_FAILED,
    cause: "the build calls {tool}, which is not in the toolchain root",
    advice: "Name the package that brings {tool} in `packages` of the driver.",
  },
  {
    expression: /env: '?(?<tool>[\w.+-]+)'?: No such file or directory/,
    confirmedBy: COMMAND_FAILED,
    cause: "a script of the driver needs {tool}, which is not in the toolchain root",
    advice: "Name the package that brings {tool} in `packages` of the driver.",
  },
  {
    expression: /(?<![^\s:'])(?<path>[^\s:']+): (?:Permission denied|cannot execute)/,
    confirmedBy: /\*\*\* .*Error 126\b/,
    cause: "{path} cannot be executed",
    advice: "Give it its executable bit in the driver's source, or call it by its interpreter (`sh …`).",
  },
];

export const FORBIDDEN: readonly Symptom[] = [
  {
    expression:
      /Could not resolve host|Temporary failure in name resolution|Network is unreachable|unable to resolve host address|Failed to connect to \S+ port/,
    confirmedBy: /Error \d+|failed/,
    cause: "the build asks the network, and a build has none",
    advice:
      "Put what it downloads into the driver's source, so that the same source gives the same modules for ever.",
  },
  {
    expression: /(?<![^\s:'])(?<path>\/[^\s:']*)'?: Read-only file system/,
    confirmedBy: /Error \d+|failed/,
    cause: "the build writes to {path}, outside of its own directory",
    advice: "Build only, install nothing: `modules`, not `install` or `modules_install`.",
  },
];

export const SCRIPTS: readonly Symptom[] = [
  {
    expression:
      /(?<file>dkms\.conf): (?:line )?(?<number>\d+): (?<message>.*(?:syntax error|[Ss]yntax error|unexpected|command not found|bad substitution).*)/,
    cause: "dkms.conf cannot be read: {message}",
    advice: "Correct line {number}; dkms.conf is a shell script: check it with `sh -n dkms.conf`.",
  },
  {
    expression: /(?<![\w./-])(?<file>[\w./-]+): (?:line )?(?<number>\d+): (?<message>[Ss]yntax error.*)/,
    confirmedBy: /Error \d+|failed/,
    cause: "a script of the driver cannot be read: {message}",
    advice: "Correct it: sh in the toolchain root is POSIX's, not always bash (`sh -n` shows such faults).",
  },
  {
    expression: /Hunk #\d+ FAILED at|can't find file to patch|\*\*\*\* malformed patch/,
    confirmedBy: /Error \d+|failed/,
    cause: "a patch of the driver does not fit its source",
    advice: "Refresh the patch, or let PATCH_MATCH take only the kernels that need it.",
  },
];

export const KERNEL_TOOLS: readonly Symptom[] = [
  {
    expression: /error: objtool: (?<message>.*)|objtool: .*: (?<message>can't .*)/,
    cause: "objtool refuses the driver's code: {message}",
    advice:
      "Look at inline assembly and at functions that never return; CONFIG_OBJTOOL_WERROR makes of its warnings errors.",
  },
  {
    expression: /Cannot generate ORC metadata|please install libelf-dev/,
    cause: "libelf, which the kernel's objtool needs, is not in the toolchain root",
    advice: "Add libelf to the release's image definition under images/.",
  },
  {
    expression:
      /FAILED:? (?:load BTF from vmlinux|elf_update)|libbpf: failed to find valid kernel BTF|Failed to (?:encode|generate) BTF|btf_encoder__\w+: (?<message>.*(?:failed|error).*)/,
    cause: "pahole cannot make the modules' BTF",
    advice: "pahole of the release's image may be older than the kernel needs: refresh the toolchain root.",
  },
  {
    expression: /internal compiler error: (?<message>(?!Killed).*)/,
    cause: "the compiler itself has a fault: {message}",
    advice: "Try with a little less in the named line, and report it to the distribution.",
  },
];

/** Lines of kmodfarm's own scripts. */
export const OURS: readonly Symptom[] = [
  {
    expression: /^kmodfarm: the build gave no file (?<pattern>\S+)/,
    code: "MODULE_MISSING",
    cause: "the build ended well and gave no file {pattern}",
    advice: "Correct `files` of the driver: patterns are relative to its tree, and take plain files only.",
  },
  {
    expression: /^kmodfarm: the build gave two of (?<module>\S+) that differ: (?<places>.+)/,
    cause: "the build gave two modules {module} that differ: {places}",
    advice:
      "Name the directory of the one that is meant with `directory` of the driver, or let `make` remove the other.",
  },
  {
    expression: /^kmodfarm: the file (?<file>\S+) leads out of the driver's tree/,
    cause: "`files` names {file}, a link that leads out of the driver's tree",
    advice: "Let the build copy what is to be published into the tree.",
  },
  {
    expression: /^kmodfarm: the build gave no (?<module>\S+), but it gave (?<places>.+)/,
    code: "MODULE_MISSING",
    cause: "the build ended well and gave no {module}, but {places}",
    advice:
      "Let BUILT_MODULE_LOCATION of dkms.conf name the directory in which the build leaves it, relative to its tree.",
  },
  {
    expression:
      /^kmodfarm: the build gave no (?<module>\S+) of its own: (?<given>.+) lay in the source already/,
    code: "MODULE_MISSING",
    cause:
      "the build made no {module}: {given} lay in the source already, and what lies there was not built here",
    advice: "Let the build make it. A module that is only shipped cannot be published as one that was built.",
  },
  {
    expression: /^kmodfarm: the build gave no (?<module>\S+); it gave (?<others>.+)/,
    code: "MODULE_MISSING",
    cause: "the build ended well and gave no {module}, but {others}",
    advice:
      "Compare `modules` of the driver in the configuration, or BUILT_MODULE_NAME of its dkms.conf, with obj-m of its Kbuild: a module may depend on a kernel option.",
  },
  {
    expression: /^kmodfarm: the build gave no (?<module>\S+) and no other: Kbuild alone was called/,
    code: "MODULE_MISSING",
    cause: "the build ended well and gave no {module}: Kbuild alone was called, and it found nothing to make",
    advice:
      "The driver's own makefile may set what Kbuild goes by (a CONFIG_… option): call it, with `make: make` of the driver in the configuration. Else obj-m of its Kbuild depends on an option that this kernel does not have.",
  },
  {
    expression: /^kmodfarm: the build gave no (?<module>\S+) and no other/,
    code: "MODULE_MISSING",
    cause: "the build ended well and gave no {module}, and no other module",
    advice:
      "Look at which targets the build calls, and at obj-m of the driver's Kbuild: it may depend on an option that this kernel does not have.",
  },
  {
    expression: /kmodfarm: the build gave no (?<module>\S+)/,
    code: "MODULE_MISSING",
    cause: "the build ended well and gave no {module}",
    advice:
      "Compare `modules` of the driver in the configuration with obj-m of its Kbuild: a module may depend on a kernel option.",
  },
  {
    expression: /^kmodfarm: the patch (?<patch>\S+) of dkms\.conf does not apply/,
    cause: "the patch {patch} of the driver does not fit its source",
    advice: "Refresh the patch, or let PATCH_MATCH take only the kernels that need it.",
  },
];

/** Lines that only say that something went wrong before them. */
export const WEAK: readonly Symptom[] = [
  {
    expression: /^kmodfarm: (?<message>there is no .+|dkms\.conf cannot be read|the tree cannot be moved .+)/,
    cause: "the driver's build cannot begin: {message}",
    advice: "The lines above that one in the log say why.",
  },
  {
    expression: /^(?:ERROR|FATAL): (?:modpost: )?(?<message>.*)/,
    cause: "the kernel's build system refuses the module: {message}",
    advice: "The log has the details; the driver's source must change.",
  },
  {
    expression: /(?:^|\s)(?:fatal )?error: (?<message>.*)/i,
    cause: "the compiler refuses the source: {message}",
    advice: "The log has the details; the driver's source must change.",
  },
  {
    expression: /(?:undefined reference to|cannot find) '?(?<name>[^']+)'?/,
    cause: "the driver's files do not fit together: {name} is missing",
    advice: "Name every file of the module in Kbuild (…-y).",
  },
  {
    expression: /^(?<message>[a-z][\w.+-]*: (?:cannot|can't|could not|failed to|unable to) .*)/,
    cause: "a command of the build fails: {message}",
    advice: "The log has the details; the driver's source must change.",
  },
  {
    expression: /(?<![\w.+-])(?<tool>[\w.+-]+): (?:command not found|not found)$/,
    cause: "the build calls {tool}, which is not in the toolchain root",
    advice: "Name the package that brings {tool} in `packages` of the driver.",
  },
];

/** When nothing else says why. */
export const LAST: readonly Symptom[] = [
  {
    expression: /^kmodfarm: the step '(?<step>\w+)' ended with exit code (?<code>\d+)/,
    cause: "a line of `{step}` ended with exit code {code}",
    advice: "The last line of the log that begins with + is the one that failed.",
  },
  {
    expression: /\*\*\* .*(?:Stop\.|Error \d+)/,
    cause: "make gave up",
    advice: "The lines above that one in the log say why.",
  },
];
