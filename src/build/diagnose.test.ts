import { describe, expect, test } from "vitest";
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
    /other arguments/,
    "doorbell.c:51:17: error: too many arguments to function 'class_create'",
  ],
  [
    "too few arguments",
    `/build/doorbell.c:3:36: error: too few arguments to function ‘g’\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /other arguments/,
    "doorbell.c:3:36: error: too few arguments to function 'g'",
  ],
  [
    "an argument of another type",
    `/build/doorbell.c:4:47: error: passing argument 1 of ‘y’ from incompatible pointer type [-Werror=incompatible-pointer-types]\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /y\(\) takes an argument of another type/,
    "doorbell.c:4:47: error: passing argument 1 of 'y' from incompatible pointer type [-Werror=incompatible-pointer-types]",
  ],
  [
    "an incompatible type",
    `/build/doorbell.c:6:24: error: incompatible type for argument 1 of ‘g’\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /g\(\) takes an argument of another type/,
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
    /gave no doorbell\.ko/,
    "kmodfarm: the build gave no doorbell.ko",
  ],
  [
    "plain bad C",
    `/build/doorbell.c:1:22: error: expected ‘;’ before ‘}’ token\n${MAKE_GIVES_UP}`,
    "BUILD_FAILED",
    /refuses the source/,
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
    "DISK_FULL",
    /disk is full/,
    "doorbell.c:900:1: fatal error: error writing to /tmp/ccT2rB1l.s: No space left on device",
  ],
  [
    "a compiler that gets no memory",
    `cc1: out of memory allocating 65536 bytes after a total of 135168 bytes\n${MAKE_GIVES_UP}`,
    "OUT_OF_MEMORY",
    /memory/,
    "cc1: out of memory allocating 65536 bytes after a total of 135168 bytes",
  ],
  [
    "a process that cannot be made",
    "make[2]: fork: Cannot allocate memory\n",
    "OUT_OF_MEMORY",
    /memory/,
    "make[2]: fork: Cannot allocate memory",
  ],
  [
    "a compiler that was killed, in the words of gcc 12",
    `gcc-12: fatal error: Killed signal terminated program cc1\ncompilation terminated.\n${MAKE_GIVES_UP}`,
    "OUT_OF_MEMORY",
    /killed/,
    "gcc-12: fatal error: Killed signal terminated program cc1",
  ],
  [
    "a compiler that was killed, in the words of older ones",
    `gcc: internal compiler error: Killed (program cc1)\n${MAKE_GIVES_UP}`,
    "OUT_OF_MEMORY",
    /killed/,
    "gcc: internal compiler error: Killed (program cc1)",
  ],
  [
    "a program that was killed, in the words of make",
    `make[3]: *** [scripts/Makefile.modfinal:61: /build/doorbell.ko] Killed\n${MAKE_GIVES_UP}`,
    "OUT_OF_MEMORY",
    /killed/,
    "make[3]: *** [scripts/Makefile.modfinal:61: doorbell.ko] Killed",
  ],
  [
    "a program that was killed below a shell",
    `make[3]: *** [scripts/Makefile.modfinal:61: /build/doorbell.ko] Error 137\n${MAKE_GIVES_UP}`,
    "OUT_OF_MEMORY",
    /killed/,
    "make[3]: *** [scripts/Makefile.modfinal:61: doorbell.ko] Error 137",
  ],
  [
    "a program that was killed, in the words of a shell",
    `scripts/pahole.sh: line 12:  4711 Killed                  pahole -J /build/doorbell.ko\n${MAKE_GIVES_UP}`,
    "OUT_OF_MEMORY",
    /killed/,
    "scripts/pahole.sh: line 12:  4711 Killed                  pahole -J doorbell.ko",
  ],
];

describe("diagnose", () => {
  test.each(REAL)("finds %s", (_, log, code, cause, line) => {
    expect(diagnose(log, 2)).toMatchObject({ code, cause: expect.stringMatching(cause), line });
  });

  test("takes the first strong line, not the first line that only says that something is wrong", () => {
    const log = `ERROR: something before
/build/a.c:1:1: error: expected ‘;’ before ‘}’ token
/build/a.c:4:22: error: implicit declaration of function ‘first’ [-Werror=implicit-function-declaration]
/build/b.c:1:10: fatal error: linux/second.h: No such file or directory
${MAKE_GIVES_UP}`;

    expect(diagnose(log, 2).line).toContain("'first'");
  });

  test("takes the machine's fault before the driver's, wherever it stands", () => {
    const log = `/build/b.c:1:10: fatal error: linux/nope.h: No such file or directory
gcc-12: fatal error: Killed signal terminated program cc1
`;

    expect(diagnose(log, 2).code).toBe("OUT_OF_MEMORY");
  });

  test("does not take the source's words, which a compiler quotes, for the machine's", () => {
    const log = `/build/doorbell.c: In function ‘ring’:
/build/doorbell.c:12:9: error: implicit declaration of function ‘complain’ [-Werror=implicit-function-declaration]
   12 |         complain("Out of memory: No space left on device\\n");
      |         ^~~~~~~~ Killed
${MAKE_GIVES_UP}`;

    expect(diagnose(log, 2)).toMatchObject({
      code: "BUILD_FAILED",
      line: expect.stringContaining("complain"),
    });
  });

  test("knows an end by time, whatever the log says", () => {
    expect(diagnose("a\n/build/a.c:1:1: error: x\n", 137, "timeLimit")).toMatchObject({
      code: "TIMED_OUT",
      cause: expect.stringContaining("longer"),
      line: "a.c:1:1: error: x",
    });
  });

  test.each([
    ["memoryLimit", "OUT_OF_MEMORY", /memory/],
    ["processLimit", "LIMIT_EXCEEDED", /processes/],
    ["writeLimit", "LIMIT_EXCEEDED", /disk/],
    ["outputLimit", "LIMIT_EXCEEDED", /log/],
  ] as const)("knows an end by its %s, whatever the log says", (stopped, code, cause) => {
    const log = "/build/a.c:1:1: error: x\nlast\n";

    expect(diagnose(log, 137, stopped)).toMatchObject({
      code,
      cause: expect.stringMatching(cause),
      line: "last",
    });
  });

  test("takes exit code 137 for want of memory, unless the log has a strong reason", () => {
    expect(diagnose(MAKE_GIVES_UP, 137).code).toBe("OUT_OF_MEMORY");
    expect(diagnose("/build/a.c:1:10: fatal error: a.h: No such file or directory\n", 137).code).toBe(
      "BUILD_FAILED",
    );
  });

  test.each(["", "\n\n", "  CC [M]  /build/doorbell.o\n"])(
    "does not blame the source without a reason: %j",
    (log) => {
      const diagnosis = diagnose(log, 1);

      expect(diagnosis.code).toBe("TOOL_FAILED");
      expect(diagnosis.cause).toContain("exit code 1");
    },
  );

  test("does not quote more of a line than a person reads", () => {
    expect(diagnose(`a.c:1:1: error: ${"x".repeat(10_000)}`, 1).line).toHaveLength(300);
  });
});
