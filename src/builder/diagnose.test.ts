import { describe, expect, test } from "vitest";
import { ERRORS } from "../base/error-codes.ts";
import { type Diagnosis, diagnose } from "./diagnose.ts";

const MAKE_GIVES_UP = `make[3]: *** [/usr/src/linux-headers-6.1.0-56-common/scripts/Makefile.build:255: /build/doorbell.o] Error 1
make[2]: *** [/usr/src/linux-headers-6.1.0-56-common/Makefile:2033: /build] Error 2
make[1]: Leaving directory '/usr/src/linux-headers-6.1.0-56-amd64'
make: *** [Makefile:8: modules] Error 2
`;

/** Messages of gcc 12, make 4.3 and Linux 6.1, each as it stands in a real log. */
const REAL: readonly (readonly [
  what: string,
  log: string,
  code: Diagnosis["code"],
  cause: RegExp,
  line: string,
])[] = [
  [
    "a header that is not there",
    `  CC [M]  /build/doorbell.o
/build/doorbell.c:1:10: fatal error: linux/nope.h: No such file or directory
    1 | #include <linux/nope.h>
      |          ^~~~~~~~~~~~~~
compilation terminated.
${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /no header linux\/nope\.h/,
    "doorbell.c:1:10: fatal error: linux/nope.h: No such file or directory",
  ],
  [
    "a function that is gone",
    `/build/doorbell.c: In function ‘doorbell_init’:
/build/doorbell.c:4:22: error: implicit declaration of function ‘class_destroy_all’ [-Werror=implicit-function-declaration]
    4 | int h(void) { return class_destroy_all(1); }
      |                      ^~~~~~~~~~~~~~~~~
cc1: some warnings being treated as errors
${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /no function class_destroy_all/,
    "doorbell.c:4:22: error: implicit declaration of function 'class_destroy_all' [-Werror=implicit-function-declaration]",
  ],
  [
    "too many arguments",
    `/build/doorbell.c:51:17: error: too many arguments to function ‘class_create’
   51 |         class = class_create(THIS_MODULE, "doorbell");
      |                 ^~~~~~~~~~~~
${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /different arguments/,
    "doorbell.c:51:17: error: too many arguments to function 'class_create'",
  ],
  [
    "too few arguments",
    `/build/doorbell.c:3:36: error: too few arguments to function ‘g’\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /different arguments/,
    "doorbell.c:3:36: error: too few arguments to function 'g'",
  ],
  [
    "an argument of another type",
    `/build/doorbell.c:4:47: error: passing argument 1 of ‘y’ from incompatible pointer type [-Werror=incompatible-pointer-types]\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /y\(\) takes an argument of a different type/,
    "doorbell.c:4:47: error: passing argument 1 of 'y' from incompatible pointer type [-Werror=incompatible-pointer-types]",
  ],
  [
    "an incompatible type",
    `/build/doorbell.c:6:24: error: incompatible type for argument 1 of ‘g’\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /g\(\) takes an argument of a different type/,
    "doorbell.c:6:24: error: incompatible type for argument 1 of 'g'",
  ],
  [
    "a member that is gone",
    `/build/doorbell.c:3:30: error: ‘struct file_operations’ has no member named ‘ioctl’\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /struct file_operations has no member ioctl/,
    "doorbell.c:3:30: error: 'struct file_operations' has no member named 'ioctl'",
  ],
  [
    "a warning as error",
    `/build/doorbell.c:1:17: error: unused variable ‘x’ [-Werror=unused-variable]
cc1: all warnings being treated as errors
${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /warning/,
    "doorbell.c:1:17: error: unused variable 'x' [-Werror=unused-variable]",
  ],
  [
    "an option that the compiler does not know",
    `gcc-12: error: unrecognized command-line option ‘-fmin-function-alignment=16’\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /does not know the option -fmin-function-alignment=16/,
    "gcc-12: error: unrecognized command-line option '-fmin-function-alignment=16'",
  ],
  [
    "a symbol for GPL modules only",
    `  MODPOST /build/Module.symvers
ERROR: modpost: GPL-incompatible module doorbell.ko uses GPL-only symbol 'class_create'
${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /not GPL/,
    "ERROR: modpost: GPL-incompatible module doorbell.ko uses GPL-only symbol 'class_create'",
  ],
  [
    "a symbol that nobody exports",
    `  MODPOST /build/Module.symvers
ERROR: modpost: "tally_count" [/build/doorbell.ko] undefined!
${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /exports tally_count/,
    'ERROR: modpost: "tally_count" [doorbell.ko] undefined!',
  ],
  [
    "a module that the build does not give",
    "  LD [M]  /build/tally.ko\nkmodfarm: the build gave no doorbell.ko\n",
    "MODULE_MISSING",
    /produced no doorbell\.ko/,
    "kmodfarm: the build gave no doorbell.ko",
  ],
  [
    "plain bad C",
    `/build/doorbell.c:1:22: error: expected ‘;’ before ‘}’ token\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /rejects the source/,
    "doorbell.c:1:22: error: expected ';' before '}' token",
  ],
  [
    "a namespace that is not imported",
    `ERROR: modpost: module doorbell uses symbol dma_buf_get from namespace DMA_BUF, but does not import it.\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /symbol namespace DMA_BUF/,
    "ERROR: modpost: module doorbell uses symbol dma_buf_get from namespace DMA_BUF, but does not import it.",
  ],
  [
    "a makefile that gives up",
    "Makefile:3: *** this driver needs Linux 9.  Stop.\n",
    "BUILD_FAILED",
    /this driver needs Linux 9/,
    "Makefile:3: *** this driver needs Linux 9.  Stop.",
  ],
  [
    "a full disk",
    `/build/doorbell.c:900:1: fatal error: error writing to /tmp/ccT2rB1l.s: No space left on device\n${MAKE_GIVES_UP}`,
    "BUILD_UNEXPLAINED",
    /disk is full/,
    "doorbell.c:900:1: fatal error: error writing to /tmp/ccT2rB1l.s: No space left on device",
  ],
  [
    "a compiler that gets no memory",
    `cc1: out of memory allocating 65536 bytes after a total of 135168 bytes\n${MAKE_GIVES_UP}`,
    "BUILD_UNEXPLAINED",
    /memory/,
    "cc1: out of memory allocating 65536 bytes after a total of 135168 bytes",
  ],
  [
    "a process that cannot be made",
    "make[2]: fork: Cannot allocate memory\n",
    "BUILD_UNEXPLAINED",
    /memory/,
    "make[2]: fork: Cannot allocate memory",
  ],
  [
    "a compiler that was killed, in the words of gcc 12",
    `gcc-12: fatal error: Killed signal terminated program cc1\ncompilation terminated.\n${MAKE_GIVES_UP}`,
    "BUILD_UNEXPLAINED",
    /killed/,
    "gcc-12: fatal error: Killed signal terminated program cc1",
  ],
  [
    "a compiler that was killed, in the words of older ones",
    `gcc: internal compiler error: Killed (program cc1)\n${MAKE_GIVES_UP}`,
    "BUILD_UNEXPLAINED",
    /killed/,
    "gcc: internal compiler error: Killed (program cc1)",
  ],
  [
    "a program that was killed, in the words of make",
    `make[3]: *** [scripts/Makefile.modfinal:61: /build/doorbell.ko] Killed\n${MAKE_GIVES_UP}`,
    "BUILD_UNEXPLAINED",
    /killed/,
    "make[3]: *** [scripts/Makefile.modfinal:61: doorbell.ko] Killed",
  ],
  [
    "a program that was killed below a shell",
    `make[3]: *** [scripts/Makefile.modfinal:61: /build/doorbell.ko] Error 137\n${MAKE_GIVES_UP}`,
    "BUILD_UNEXPLAINED",
    /killed/,
    "make[3]: *** [scripts/Makefile.modfinal:61: doorbell.ko] Error 137",
  ],
  [
    "a program that was killed, in the words of a shell",
    `scripts/pahole.sh: line 12:  4711 Killed                  pahole -J /build/doorbell.ko\n${MAKE_GIVES_UP}`,
    "BUILD_UNEXPLAINED",
    /killed/,
    "scripts/pahole.sh: line 12:  4711 Killed                  pahole -J doorbell.ko",
  ],
];

/** Wordings of compilers and tools that no root here has, as their sources and public reports have them. */
const KNOWN: readonly (readonly [
  what: string,
  log: string,
  code: Diagnosis["code"],
  cause: RegExp,
  place?: string,
])[] = [
  [
    "make: a directory",
    "make: *** nothere: No such file or directory.  Stop.\n",
    "BUILD_FAILED",
    /^make is called in nothere, which does not exist$/,
  ],
  [
    "clang: a header",
    "/build/a.c:1:10: fatal error: 'linux/nope.h' file not found\n",
    "BUILD_FAILED",
    /no header linux\/nope\.h/,
    "a.c:1",
  ],
  [
    "clang: a function that is gone",
    "/build/a.c:4:9: error: call to undeclared function 'strlcpy'; ISO C99 and later do not support implicit function declarations [-Wimplicit-function-declaration]\n",
    "BUILD_FAILED",
    /no function strlcpy/,
    "a.c:4",
  ],
  [
    "clang: arguments",
    "/build/a.c:4:30: error: too many arguments to function call, expected single argument 'name', have 2 arguments\n",
    "BUILD_FAILED",
    /different arguments/,
    "a.c:4",
  ],
  [
    "clang: a callback",
    "/build/a.c:9:12: error: incompatible function pointer types initializing 'void (*)(struct platform_device *)' with an expression of type 'int (struct platform_device *)' [-Wincompatible-function-pointer-types]\n",
    "BUILD_FAILED",
    /calls a function of the driver/,
    "a.c:9",
  ],
  [
    "clang: a member",
    "/build/a.c:5:12: error: no member named 'mmap_sem' in 'struct mm_struct'; did you mean 'mmap_base'?\n",
    "BUILD_FAILED",
    /struct mm_struct has no member mmap_sem/,
    "a.c:5",
  ],
  [
    "gcc: a macro of the kernel whose parts are not included",
    "/usr/src/linux-headers-5.10.0-46-common-rt/include/linux/rtmutex.h:52:14: error: 'RB_ROOT_CACHED' undeclared here (not in a function)\n   52 |  .waiters = RB_ROOT_CACHED \\\n/build/a.c:5:8: note: in expansion of macro 'DEFINE_MUTEX'\n",
    "BUILD_FAILED",
    /rtmutex\.h:52 uses RB_ROOT_CACHED, and nothing that the driver includes before it declares that$/,
    "a.c:5",
  ],
  [
    "gcc: a misspelt function",
    "/build/a.c:5:9: error: implicit declaration of function 'platform_driver_registre'; did you mean 'platform_driver_register'? [-Werror=implicit-function-declaration]\n",
    "BUILD_FAILED",
    /^this kernel has no platform_driver_registre, but it has platform_driver_register$/,
    "a.c:5",
  ],
  [
    "clang: a misspelt function",
    "/build/a.c:5:9: error: call to undeclared function 'kmaloc'; ISO C99 and later do not support implicit function declarations [-Wimplicit-function-declaration]\n 5 | kmaloc(1, 2);\n   | ^\n/build/a.c:5:9: note: did you mean 'kmalloc'?\n",
    "BUILD_FAILED",
    /^this kernel has no kmaloc, but it has kmalloc$/,
    "a.c:5",
  ],
  [
    "gcc: a function that is gone, and a suggestion",
    "/build/a.c:5:9: error: implicit declaration of function 'pci_set_dma_mark'; did you mean 'ipi_send_mask'? [-Wimplicit-function-declaration]\n",
    "BUILD_FAILED",
    /^the kernel has no function pci_set_dma_mark \(its API changed\)$/,
    "a.c:5",
  ],
  [
    "gcc: a change that is known, and a suggestion that is near",
    "/build/f.c:8:16: error: implicit declaration of function 'strlcpy'; did you mean 'strncpy'? [-Wimplicit-function-declaration]\n",
    "BUILD_FAILED",
    /^the kernel has no function strlcpy \(its API changed\)$/,
    "f.c:8",
  ],
  [
    "clang: a designated member",
    "/build/a.c:5:3: error: field designator 'ioctl' does not refer to any field in type 'const struct file_operations'\n",
    "BUILD_FAILED",
    /no member ioctl/,
    "a.c:5",
  ],
  [
    "clang: a type",
    "/build/a.c:3:17: error: variable has incomplete type 'struct timeval'\n",
    "BUILD_FAILED",
    /not defined/,
    "a.c:3",
  ],
  [
    "clang: const",
    "/build/a.c:7:16: error: cannot assign to non-static data member 'vm_flags' with const-qualified type 'const vm_flags_t' (aka 'const unsigned long')\n",
    "BUILD_FAILED",
    /write to vm_flags/,
    "a.c:7",
  ],
  [
    "clang: -Werror",
    "/build/a.c:5:6: error: unused variable 'x' [-Werror,-Wunused-variable]\n",
    "BUILD_FAILED",
    /unused-variable is treated as an error/,
    "a.c:5",
  ],
  [
    "clang: a stack frame",
    "/build/a.c:5:5: error: stack frame size (4112) exceeds limit (2048) in 'f' [-Werror,-Wframe-larger-than]\n",
    "BUILD_FAILED",
    /4112 bytes/,
    "a.c:5",
  ],
  [
    "clang: an option",
    "clang: error: unknown argument: '-fno-such-flag'\n",
    "BUILD_FAILED",
    /option -fno-such-flag/,
  ],
  [
    "gcc: a stack frame",
    "/build/a.c:8:1: error: the frame size of 4128 bytes is larger than 2048 bytes [-Werror=frame-larger-than=]\n",
    "BUILD_FAILED",
    /4128 bytes/,
    "a.c:8",
  ],
  [
    "gcc 8: a quoted line without a bar",
    "/build/a.c: In function 'f':\n/build/a.c:3:9: error: implicit declaration of function 'g' [-Werror=implicit-function-declaration]\n  return g(\"No space left on device\");\n         ^\n",
    "BUILD_FAILED",
    /no function g/,
    "a.c:3",
  ],
  [
    "gcc 4.8: a field",
    "/build/a.c:5:2: error: unknown field `ioctl' specified in initializer\n",
    "BUILD_FAILED",
    /no member ioctl/,
    "a.c:5",
  ],
  [
    "gcc in colours",
    "\u001b[01m\u001b[K/build/a.c:4:2:\u001b[m\u001b[K \u001b[01;31m\u001b[Kerror: \u001b[m\u001b[Kimplicit declaration of function '\u001b[01m\u001b[Kg\u001b[m\u001b[K'\n",
    "BUILD_FAILED",
    /no function g/,
    "a.c:4",
  ],
  [
    "an old modpost",
    'ERROR: "tally_count" [/build/doorbell.ko] undefined!\n',
    "BUILD_FAILED",
    /exports tally_count/,
  ],
  [
    "an old modpost of licences",
    "FATAL: modpost: GPL-incompatible module doorbell.ko uses GPL-only symbol 'class_create'\n",
    "BUILD_FAILED",
    /doorbell is not GPL/,
  ],
  [
    "section mismatches",
    "FATAL: modpost: Section mismatches detected.\nSet CONFIG_SECTION_MISMATCH_WARN_ONLY=y to allow them.\n",
    "BUILD_FAILED",
    /is freed after init/,
  ],
  [
    "BTF",
    "/bin/sh: 1: pahole: not found\nmake[2]: *** [scripts/Makefile.modfinal:57: /build/a.ko] Error 127\n",
    "BUILD_FAILED",
    /pahole/,
  ],
  [
    "ORC",
    `make: Entering directory '/usr/src/linux-headers-6.1.0-56-amd64'\nMakefile:1012: *** "Cannot generate ORC metadata for CONFIG_UNWINDER_ORC=y, please install libelf-dev, libelf-devel or elfutils-libelf-devel".  Stop.\n`,
    "BUILD_FAILED",
    /libelf/,
  ],
  [
    "objtool",
    "/build/a.o: error: objtool: f+0x1: stack state mismatch: cfa1=4+16 cfa2=4+8\n",
    "BUILD_FAILED",
    /objtool rejects.*stack state mismatch/,
  ],
  [
    "a shell with line numbers",
    "/build/version.sh: line 3: bc: command not found\nmake: *** [Makefile:4: version.h] Error 127\n",
    "BUILD_FAILED",
    /calls bc/,
  ],
  [
    "a fault of dkms.conf",
    "/var/lib/dkms/source/dkms.conf: line 7: syntax error near unexpected token `('\n",
    "BUILD_FAILED",
    /dkms\.conf cannot be read/,
    "dkms.conf:7",
  ],
  [
    "a patch",
    "kmodfarm: the patch linux-6.patch of dkms.conf does not apply\n",
    "BUILD_FAILED",
    /linux-6\.patch/,
  ],
  [
    "the network",
    "fatal: unable to access 'https://example.org/x.git/': Could not resolve host: example.org\nmake: *** [Makefile:9: sub] Error 128\n",
    "BUILD_FAILED",
    /tries to use the network/,
  ],
  [
    "configure's head line, whose next line is the reason",
    "checking for gcc... no\nconfigure: error: in `/build':\nconfigure: error: no acceptable C compiler found in $PATH\n",
    "BUILD_FAILED",
    /fails: no acceptable C compiler/,
  ],
  [
    "autoconf",
    "configure.ac:12: error: possibly undefined macro: AC_PROG_LIBTOOL\n      If this token and others are legitimate, please use m4_pattern_allow.\nautoreconf: error: /usr/bin/autoconf failed with exit status: 1\n",
    "BUILD_FAILED",
    /autotools cannot generate .*possibly undefined macro: AC_PROG_LIBTOOL/,
    "configure.ac:12",
  ],
  [
    "a module that was only shipped",
    "kmodfarm: the build gave no base.ko of its own: tools/base.ko lay in the source already\n",
    "MODULE_MISSING",
    /produced no base\.ko: tools\/base\.ko was already in the source/,
  ],
  [
    "a module of another name",
    "kmodfarm: the build gave no my_drv.ko; it gave my-drv.ko\n",
    "MODULE_MISSING",
    /produced my-drv\.ko instead of my_drv\.ko/,
  ],
  [
    "no module at all",
    "kmodfarm: the build gave no module and no other\n",
    "MODULE_MISSING",
    /produced neither .* nor any other module/,
  ],
  [
    "a directory that dkms.conf takes from where it is read",
    "kmodfarm: make -j1 KERNELRELEASE=6.12.118+deb13-amd64 -C /lib/modules/6.12.118+deb13-amd64/build M=/ modules\nmkdir: cannot create directory '//.tmp_41': Read-only file system\nmake[2]: *** No rule to make target 'Makefile'.  Stop.\nmake[1]: *** [/usr/src/linux-headers-6.12.118+deb13-common/Makefile:1946: /] Error 2\n",
    "BUILD_FAILED",
    /^make is called with `M=\/`, which is not the driver's directory$/,
  ],
  [
    "a directory that a makefile takes from a variable that is empty",
    "make -C /lib/modules/6.1.0-57-amd64/build M= modules\nmake[1]: *** No rule to make target 'arch/x86/tools/relocs.c'.  Stop.\n",
    "BUILD_FAILED",
    /^make is called with `M=`, which/,
  ],
  [
    "a place that is not the driver's",
    "mkdir: cannot create directory '/lib/modules/extra': Read-only file system\nmake: *** [Makefile:12: install] Error 1\n",
    "BUILD_FAILED",
    /writes to \/lib\/modules\/extra/,
  ],
];

describe("diagnose", () => {
  test.each(REAL)("finds %s", (_, log, code, cause, line) => {
    expect(diagnose({ log, exitCode: 2 })).toMatchObject({ code, cause: expect.stringMatching(cause), line });
  });

  const known = KNOWN.map(([what, log, code, cause, place]) => ({ what, log, code, cause, place }));
  test.each(known)("knows the words of $what", ({ log, code, cause, place }) => {
    const { file, lineNumber, ...diagnosis } = diagnose({ log, exitCode: 2 });

    expect(diagnosis).toMatchObject({ code, cause: expect.stringMatching(cause) });
    expect(diagnosis.advice.length).toBeGreaterThan(20);
    expect(`${diagnosis.cause}${diagnosis.advice}`).not.toMatch(/\{\w+\}/);
    expect(file === undefined ? undefined : `${file}:${lineNumber}`).toBe(place);
  });

  test("does not take for a missing tool what a makefile only asked for", () => {
    const log = `/bin/sh: 1: pkg-config: not found
/build/a.c:4:9: error: too few arguments to function 'g'
make: *** [Makefile:4: a.o] Error 1
`;

    expect(diagnose({ log, exitCode: 2 }).cause).toContain("g() takes different arguments");
  });

  test("shows nothing of a log that a terminal would obey", () => {
    const { line, cause } = diagnose({
      log: "/build/a.c:1:1: error: #error \u001b]0;owned\u0007\u202e x\n",
      exitCode: 2,
    });

    expect(`${line}${cause}`).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  test("takes the first strong line, not the first line that only says that something is wrong", () => {
    const log = `ERROR: something before
/build/a.c:1:1: error: expected ‘;’ before ‘}’ token
/build/a.c:4:22: error: implicit declaration of function ‘first’ [-Werror=implicit-function-declaration]
/build/b.c:1:10: fatal error: linux/second.h: No such file or directory
${MAKE_GIVES_UP}`;

    expect(diagnose({ log, exitCode: 2 }).line).toContain("'first'");
  });

  test.each([
    ["disk", "DISK_FULL"],
    ["memory", "OUT_OF_MEMORY"],
  ] as const)("believes the machine that it had too little %s, whatever the log says", (short, code) => {
    const log = "/build/b.c:1:10: fatal error: linux/nope.h: No such file or directory\n";

    expect(diagnose({ log, exitCode: 2, short: [short] })).toMatchObject({
      code,
      line: expect.stringContaining("nope.h"),
    });
    expect(ERRORS[code].blame).toBe("infra");
  });

  test.each(["99999999999999999999", "0"])("takes no line number that no file has: %s", (number) => {
    const log = `x: line ${number}: Syntax error: oops\n/build/b.c:1:10: error: x\n`;

    expect(diagnose({ log, exitCode: 2 }).lineNumber ?? 1).toBe(1);
  });

  test("takes a strong reason before what the build says of the machine", () => {
    const log = `gcc-12: fatal error: Killed signal terminated program cc1
/build/b.c:1:10: fatal error: linux/nope.h: No such file or directory
`;

    expect(diagnose({ log, exitCode: 2 }).code).toBe("BUILD_FAILED");
  });

  test.each([
    "cc1: fatal error: error writing to /tmp/ccXX.s: No space left on device",
    "bwrap: Creating new namespace failed: No space left on device",
    "cc1: out of memory allocating 65536 bytes",
    "gcc-12: fatal error: Killed signal terminated program cc1",
    "make[1]: *** [Makefile:1: all] Killed",
    "Killed",
    "sh: 1: Cannot fork",
    "  ERROR: Kernel configuration is invalid.",
    "bwrap: setting up uid map: Permission denied",
    "podman: error creating container storage",
    "kmodfarm: TOOL_FAILED",
    "",
  ])("never blames the machine for words alone: %j", (line) => {
    for (const exitCode of [1, 2, 77, 125, 126, 137, 255]) {
      const { code } = diagnose({ log: `${line}\n${MAKE_GIVES_UP}`, exitCode });
      expect(["source", "unknown"], `${code} for exit code ${exitCode}`).toContain(ERRORS[code].blame);
    }
  });

  test("does not take the source's words, which a compiler quotes, for the machine's", () => {
    const log = `/build/doorbell.c: In function ‘ring’:
/build/doorbell.c:12:9: error: implicit declaration of function ‘complain’ [-Werror=implicit-function-declaration]
   12 |         complain("Out of memory: No space left on device\\n");
      |         ^~~~~~~~ Killed
${MAKE_GIVES_UP}`;

    expect(diagnose({ log, exitCode: 2 })).toMatchObject({
      code: "BUILD_FAILED",
      line: expect.stringContaining("complain"),
    });
  });

  test("knows an end by time, whatever the log says", () => {
    expect(
      diagnose({ log: "a\n/build/a.c:1:1: error: x\n", exitCode: 137, stopped: "timeLimit" }),
    ).toMatchObject({
      code: "TIMED_OUT",
      cause: expect.stringContaining("longer"),
      line: "a.c:1:1: error: x",
    });
  });

  test("shows where a stopped build was, not how make took leave of it", () => {
    const log = `cat /dev/zero >/build/full\n${MAKE_GIVES_UP}`;

    expect(diagnose({ log, exitCode: 137, stopped: "writeLimit" }).line).toBe("cat /dev/zero >full");
  });

  test.each([
    ["memoryLimit", "LIMIT_EXCEEDED", /memory/],
    ["processLimit", "LIMIT_EXCEEDED", /processes/],
    ["writeLimit", "LIMIT_EXCEEDED", /disk/],
    ["outputLimit", "LIMIT_EXCEEDED", /log/],
  ] as const)("knows an end by its %s, whatever the log says", (stopped, code, cause) => {
    const log = "/build/a.c:1:1: error: x\nlast\n";

    expect(diagnose({ log, exitCode: 137, stopped })).toMatchObject({
      code,
      cause: expect.stringMatching(cause),
      line: "last",
    });
  });

  test("does not know who killed a build that ends with exit code 137, unless the log has a strong reason", () => {
    expect(diagnose({ log: MAKE_GIVES_UP, exitCode: 137 }).code).toBe("BUILD_UNEXPLAINED");
    const log = "/build/a.c:1:10: fatal error: a.h: No such file or directory\n";
    expect(diagnose({ log, exitCode: 137 }).code).toBe("BUILD_FAILED");
  });

  test.each(["", "\n\n", "  CC [M]  /build/doorbell.o\n"])(
    "blames neither the source nor the machine without a reason: %j",
    (log) => {
      const diagnosis = diagnose({ log, exitCode: 1 });

      expect(diagnosis.code).toBe("BUILD_UNEXPLAINED");
      expect(diagnosis.cause).toContain("exit code 1");
    },
  );

  test("does not quote more of a line than a person reads", () => {
    expect(diagnose({ log: `a.c:1:1: error: ${"x".repeat(10_000)}`, exitCode: 1 }).line).toHaveLength(300);
  });
});
