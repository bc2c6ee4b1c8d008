/**
 * What modpost, make, shells and the kernel's build tools say.
 */
import type { Symptom } from "./symptom.ts";

const NOT_HERE = "exclude those kernels with `exclude` in the configuration";
const COMMAND_FAILED = /\*\*\* .*Error 12[67]\b|^kmodfarm: .* failed/;

export const MODPOST: readonly Symptom[] = [
  {
    expression:
      /"__(?:float|fix|add|sub|mul|div|extend|trunc|[lg][te]|eq|ne)(?=\w*[sd]f)\w*" \[[^\]]*\] undefined!/,
    cause: "the driver uses floating-point arithmetic, which is not available in kernel code",
    advice: "Use integers; values known in advance can be written as constants.",
  },
  {
    expression:
      /modpost: GPL-incompatible module (?<module>\S+?)(?:\.ko)? uses GPL-only symbol '(?<name>\w+)'/,
    cause: "{module} is not GPL and uses {name}, which is for GPL modules only",
    advice:
      "Do not use it, or put the driver under a licence that the kernel accepts as GPL (MODULE_LICENSE).",
  },
  {
    expression:
      /ERROR: modpost: module (?<module>\S+) uses symbol (?<name>\w+) from namespace (?<space>\w+), but does not import it/,
    cause: "{name} belongs to the symbol namespace {space}, which {module} does not import",
    advice: 'Add MODULE_IMPORT_NS("{space}"), or MODULE_IMPORT_NS({space}) before Linux 6.13.',
  },
  {
    expression: /ERROR:(?: modpost:)? "(?<name>[^"]+)" \[[^\]]*\] undefined!/,
    cause: "neither the kernel nor this build exports {name} to modules",
    advice: `If another module of the driver exports it, build both together (obj-m of one tree). If the kernel used to, find another way or ${NOT_HERE}.`,
  },
  {
    expression: /modpost: missing MODULE_LICENSE\(\)/,
    cause: "a module does not declare its licence",
    advice: 'Add MODULE_LICENSE("…") to one of its files.',
  },
  {
    expression: /modpost: Section mismatches detected/,
    cause:
      "code that stays in memory refers to code or data that is freed after init, and this kernel treats that as an error",
    advice: "The log names each reference above that line: correct the __init and __exit annotations.",
  },
  {
    expression: /^(?<place>(?:\S*\/)?)\.(?<object>[^/\s]+\.o)\.cmd: No such file or directory$/,
    cause:
      "Kbuild did not build {place}{object}, and {place}.{object}.cmd is missing, which modpost reads since Linux 5.8",
    advice:
      "Ship an empty {place}.{object}.cmd with the object, or create it in the driver's `prepare`: `touch {place}.{object}.cmd`.",
  },
  {
    expression:
      /Kernel configuration is invalid|include\/(?:generated\/autoconf\.h|config\/auto\.conf) are missing/,
    code: "BUILD_UNEXPLAINED",
    cause: "the kernel's header packages are incomplete: their configuration is missing",
    advice:
      "Remove the named trees from the cache; if the error returns, the distribution's package is broken.",
  },
];

export const MAKE: readonly Symptom[] = [
  {
    expression: /^(?:kmodfarm: |\+ )?make\s(?:.*\s)?M=(?<place>\/?)(?=\s|$)/,
    confirmedBy: /\*\*\*/,
    cause: "make is called with `M={place}`, which is not the driver's directory",
    advice:
      "In dkms.conf, $PWD and $(pwd) are where that file is read: write M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build. In a makefile, write M=$(CURDIR).",
  },
  {
    expression: /'SUBDIRS' was removed in Linux 5\.3/,
    cause:
      "the driver's makefile passes its directory as SUBDIRS=, which Kbuild no longer accepts since Linux 5.3",
    advice: "Pass it as M= instead, which every kernel accepts: `$(MAKE) -C … M=$(CURDIR) modules`.",
  },
  {
    expression: /No rule to make target '(?<target>[^']+)', needed by '/,
    cause: "{target} does not exist, and no rule makes it",
    advice: "Correct the names in Kbuild (obj-m, …-y), or add the file to the driver's source.",
  },
  {
    expression: /No rule to make target '(?<target>[^']+)'/,
    cause: "the makefile has no target {target}",
    advice: "Correct the target that is called, or add it to the driver's makefile.",
  },
  {
    expression: /No targets specified and no makefile found/,
    cause: "there is no makefile in the directory where make is called",
    advice: "Correct that directory (`-C`, or the driver's `directory`).",
  },
  {
    expression:
      /\*\*\* (?:specified external module directory "(?<path>[^"]+)" does not exist|(?<path>[^\s:]+): No such file or directory)\.\s+Stop/,
    cause: "make is called in {path}, which does not exist",
    advice:
      "Correct `-C` or `M=` in the driver's makefile or in its `make` setting: $(src), $(CURDIR) and $(M) name its own directory, and /lib/modules/$(KERNELRELEASE)/build is the kernel's.",
  },
  {
    expression: /\*\*\* (?<message>\.NOTINTERMEDIATE and \.SECONDARY are mutually exclusive)/,
    cause: "the driver's makefile has an error: {message}",
    advice: "Remove .SECONDARY from its Kbuild file: newer kernels set .NOTINTERMEDIATE themselves.",
  },
  {
    expression:
      /\*\*\* (?<message>missing separator|missing 'endif'|unterminated [^.]*|recipe commences before first target|mixed implicit [^.]*|multiple target patterns|extraneous '\w+'|commands commence before first target)/,
    cause: "the driver's makefile has an error: {message}",
    advice: "Correct the named line; the commands of a rule begin with a tab.",
  },
  {
    expression: /\*\*\* (?<message>(?!\[)(?!No )(?!Deleting|Waiting|wait:).*[^\s.])\.?\s+Stop\.$/,
    cause: "a makefile rejects this kernel: {message}",
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
    advice: "Remove `CC =` from the driver's makefile: the kernel's record determines the compiler.",
  },
  {
    expression: /(?:^|[\s:])pahole(?:: \S*)?: (?:command not found|not found|No such file or directory)/,
    confirmedBy: COMMAND_FAILED,
    cause: "pahole, which generates the modules' BTF, is not in the toolchain root",
    advice: "Add the package pahole (dwarves) to the release's image definition under images/.",
  },
  {
    expression:
      /(?:^|: )(?:\d+: |line \d+: |exec: )?(?<tool>[\w.+-]+): (?:command not found|Command not found|not found)$/,
    confirmedBy: COMMAND_FAILED,
    cause: "the build calls {tool}, which is not in the toolchain root",
    advice: "Add the package that contains {tool} to the driver's `packages`.",
  },
  {
    expression: /^make(?:\[\d+\])?: (?<tool>[\w.+-]+): No such file or directory$/,
    confirmedBy: COMMAND_FAILED,
    cause: "the build calls {tool}, which is not in the toolchain root",
    advice: "Add the package that contains {tool} to the driver's `packages`.",
  },
  {
    expression: /env: '?(?<tool>[\w.+-]+)'?: No such file or directory/,
    confirmedBy: COMMAND_FAILED,
    cause: "one of the driver's scripts needs {tool}, which is not in the toolchain root",
    advice: "Add the package that contains {tool} to the driver's `packages`.",
  },
  {
    expression: /(?<![^\s:'])(?<path>[^\s:']+): (?:Permission denied|cannot execute)/,
    confirmedBy: /\*\*\* .*Error 126\b/,
    cause: "{path} cannot be executed",
    advice: "Set its executable bit in the driver's source, or call it through its interpreter (`sh …`).",
  },
];

export const FORBIDDEN: readonly Symptom[] = [
  {
    expression:
      /Could not resolve host|Temporary failure in name resolution|Network is unreachable|unable to resolve host address|Failed to connect to \S+ port/,
    confirmedBy: /Error \d+|failed/,
    cause: "the build tries to use the network, which builds do not have",
    advice:
      "Put what it downloads into the driver's source, so that the same source always gives the same modules.",
  },
  {
    expression: /(?<![^\s:'])(?<path>\/[^\s:']*)'?: Read-only file system/,
    confirmedBy: /Error \d+|failed/,
    cause: "the build writes to {path}, outside its own directory",
    advice: "Only build, do not install: use `modules`, not `install` or `modules_install`.",
  },
];

export const SCRIPTS: readonly Symptom[] = [
  {
    expression:
      /(?<file>dkms\.conf): (?:line )?(?<number>\d+): (?<message>.*(?:syntax error|[Ss]yntax error|unexpected|command not found|bad substitution).*)/,
    cause: "dkms.conf cannot be read: {message}",
    advice: "Correct line {number}. dkms.conf is a shell script: check it with `sh -n dkms.conf`.",
  },
  {
    expression: /(?<![\w./-])(?<file>[\w./-]+): (?:line )?(?<number>\d+): (?<message>[Ss]yntax error.*)/,
    confirmedBy: /Error \d+|failed/,
    cause: "one of the driver's scripts cannot be parsed: {message}",
    advice:
      "Correct it: sh in the toolchain root is a POSIX shell, not always bash (`sh -n` shows these errors).",
  },
  {
    expression: /Hunk #\d+ FAILED at|can't find file to patch|\*\*\*\* malformed patch/,
    confirmedBy: /Error \d+|failed/,
    cause: "one of the driver's patches does not apply to its source",
    advice: "Update the patch, or restrict it with PATCH_MATCH to the kernels that need it.",
  },
];

export const KERNEL_TOOLS: readonly Symptom[] = [
  {
    expression: /error: objtool: (?<message>.*)|objtool: .*: (?<message>can't .*)/,
    cause: "objtool rejects the driver's code: {message}",
    advice:
      "Check inline assembly and functions that never return; CONFIG_OBJTOOL_WERROR turns objtool's warnings into errors.",
  },
  {
    expression: /Cannot generate ORC metadata|please install libelf-dev/,
    cause: "libelf, which the kernel's objtool needs, is not in the toolchain root",
    advice: "Add libelf to the release's image definition under images/.",
  },
  {
    expression:
      /FAILED:? (?:load BTF from vmlinux|elf_update)|libbpf: failed to find valid kernel BTF|Failed to (?:encode|generate) BTF|btf_encoder__\w+: (?<message>.*(?:failed|error).*)/,
    cause: "pahole cannot generate the modules' BTF",
    advice: "The release image's pahole may be older than the kernel needs: refresh the toolchain root.",
  },
  {
    expression: /internal compiler error: (?<message>(?!Killed).*)/,
    cause: "the compiler itself has a bug: {message}",
    advice: "Try to simplify the named line, and report the bug to the distribution.",
  },
];

/** Lines of kmodfarm's own scripts. */
export const OURS: readonly Symptom[] = [
  {
    expression: /^kmodfarm: the build gave no file (?<pattern>\S+)/,
    code: "MODULE_MISSING",
    cause: "the build succeeded but produced no file {pattern}",
    advice: "Correct the driver's `files`: patterns are relative to its tree and match only plain files.",
  },
  {
    expression: /^kmodfarm: the build gave two of (?<module>\S+) that differ: (?<places>.+)/,
    cause: "the build produced two different modules {module}: {places}",
    advice: "Set the driver's `directory` to that of the right one, or remove the other one in `make`.",
  },
  {
    expression: /^kmodfarm: the file (?<file>\S+) leads out of the driver's tree/,
    cause: "`files` names {file}, a link that points outside the driver's tree",
    advice: "Have the build copy the files to publish into the tree.",
  },
  {
    expression: /^kmodfarm: the build gave no (?<module>\S+), but it gave (?<places>.+)/,
    code: "MODULE_MISSING",
    cause: "the build succeeded but produced {places} instead of {module}",
    advice:
      "Set BUILT_MODULE_LOCATION in dkms.conf to the directory where the build leaves the module, relative to its tree.",
  },
  {
    expression:
      /^kmodfarm: the build gave no (?<module>\S+) of its own: (?<given>.+) lay in the source already/,
    code: "MODULE_MISSING",
    cause: "the build produced no {module}: {given} was already in the source, so it was not built here",
    advice:
      "Have the build produce it. A module that is only shipped with the source cannot be published as built.",
  },
  {
    expression: /^kmodfarm: the build gave no (?<module>\S+); it gave (?<others>.+)/,
    code: "MODULE_MISSING",
    cause: "the build succeeded but produced {others} instead of {module}",
    advice:
      "Compare the driver's `modules` in the configuration, or BUILT_MODULE_NAME in its dkms.conf, with obj-m in its Kbuild file: a module may depend on a kernel option.",
  },
  {
    expression: /^kmodfarm: the build gave no (?<module>\S+) and no other: Kbuild alone was called/,
    code: "MODULE_MISSING",
    cause:
      "the build succeeded but produced no {module}: only Kbuild was called, and it found nothing to build",
    advice:
      "The driver's own makefile may set an option that Kbuild needs (CONFIG_…): call that makefile with `make: make` for the driver in the configuration. Otherwise obj-m in its Kbuild file depends on an option that this kernel does not have.",
  },
  {
    expression: /^kmodfarm: the build gave no (?<module>\S+) and no other/,
    code: "MODULE_MISSING",
    cause: "the build succeeded but produced neither {module} nor any other module",
    advice:
      "Check which targets the build calls, and obj-m in the driver's Kbuild file: it may depend on an option that this kernel does not have.",
  },
  {
    expression: /kmodfarm: the build gave no (?<module>\S+)/,
    code: "MODULE_MISSING",
    cause: "the build succeeded but produced no {module}",
    advice:
      "Compare the driver's `modules` in the configuration with obj-m in its Kbuild file: a module may depend on a kernel option.",
  },
  {
    expression: /^kmodfarm: the patch (?<patch>\S+) of dkms\.conf does not apply/,
    cause: "the driver's patch {patch} does not apply to its source",
    advice: "Update the patch, or restrict it with PATCH_MATCH to the kernels that need it.",
  },
];

/** Lines that only say that something went wrong before them. */
export const WEAK: readonly Symptom[] = [
  {
    expression: /^kmodfarm: (?<message>there is no .+|dkms\.conf cannot be read|the tree cannot be moved .+)/,
    cause: "the driver's build cannot start: {message}",
    advice: "The lines above it in the log say why.",
  },
  {
    expression: /^(?:ERROR|FATAL): (?:modpost: )?(?<message>.*)/,
    cause: "the kernel's build system rejects the module: {message}",
    advice: "The log has the details; the driver's source must change.",
  },
  {
    expression: /(?:^|\s)(?:fatal )?error: (?<message>.*)/i,
    cause: "the compiler rejects the source: {message}",
    advice: "The log has the details; the driver's source must change.",
  },
  {
    expression: /(?:undefined reference to|cannot find) '?(?<name>[^']+)'?/,
    cause: "the driver's files do not fit together: {name} is missing",
    advice: "List every file of the module in the Kbuild file (…-y).",
  },
  {
    expression: /^(?<message>[a-z][\w.+-]*: (?:cannot|can't|could not|failed to|unable to) .*)/,
    cause: "a command of the build failed: {message}",
    advice: "The log has the details; the driver's source must change.",
  },
  {
    expression: /(?<![\w.+-])(?<tool>[\w.+-]+): (?:command not found|not found)$/,
    cause: "the build calls {tool}, which is not in the toolchain root",
    advice: "Add the package that contains {tool} to the driver's `packages`.",
  },
];

/** When nothing else says why. */
export const LAST: readonly Symptom[] = [
  {
    expression: /^kmodfarm: the step '(?<step>\w+)' ended with exit code (?<code>\d+)/,
    cause: "a line of `{step}` failed with exit code {code}",
    advice: "It is the last line of the log that begins with +.",
  },
  {
    expression: /\*\*\* .*(?:Stop\.|Error \d+)/,
    cause: "make gave up",
    advice: "The lines above it in the log say why.",
  },
];
