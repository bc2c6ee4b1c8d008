import { describe, expect, test } from "vitest";
import { diagnose } from "../diagnose.ts";

/** What says that a trial failed, and went on. */
const TRIALS = {
  "quoted in a comment": `// t.c:1:24: error: implicit declaration of function 'nothing_like_this'
# t.c:1:10: fatal error: linux/nothing.h: No such file or directory`,
  "a conftest": "conftest.c:11:10: fatal error: linux/nothing.h: No such file or directory",
  "in a directory of tests": "/build/configure-tests/feature-tests/has_it.c:3:2: error: 'nothing' undeclared",
  "from a pipe": "<stdin>:1:10: fatal error: linux/nothing.h: No such file or directory",
  "in a temporary directory":
    "/tmp/tmp.Xy12/t.c:1:10: fatal error: linux/nothing.h: No such file or directory",
  "a command that a shell repeats":
    "+ echo /build/a.c:1:10: fatal error: linux/nothing.h: No such file or directory",
  "as config.log has it": `configure:3133: gcc -V >&5
gcc: error: unrecognized command-line option '-V'
gcc: fatal error: no input files
configure:3144: $? = 1
configure: failed program was:
| #include <linux/nothing.h>
configure:3150: result: no`,
  "in dkms.conf": `/var/lib/dkms/mine/1.0/source/dkms.conf: line 3: lsb_release: command not found
/var/lib/dkms/mine/1.0/source/dkms.conf: line 9: syntax error near unexpected token \`}'`,
  "of an object that make says nothing of": `check_it.c:4:9: error: implicit declaration of function 'nothing'
gcc: error: unrecognized command-line option '-fnothing'`,
};
const REAL_ERROR = `make[1]: Entering directory '/build'
main.c:7:9: error: expected ';' before 'return'
make[3]: *** [/usr/src/linux/scripts/Makefile.build:294: main.o] Error 1
`;

describe("a trial that failed", () => {
  test.each(Object.entries(TRIALS))("is not why a build did: %s", (_, trial) => {
    for (const log of [`${trial}\n${REAL_ERROR}`, `${REAL_ERROR}${trial}\n`])
      expect(diagnose({ log, exitCode: 2 })).toMatchObject({
        cause: expect.stringContaining("expected ';'"),
        file: "main.c",
        lineNumber: 7,
      });
  });

  test("is why, if nothing else is", () => {
    const log = `${TRIALS["a conftest"]}\nmake: *** [Makefile:4: all] Error 1\n`;

    expect(diagnose({ log, exitCode: 2 }).cause).toContain("no header linux/nothing.h");
  });

  test("does not hide an error in a file that the failed object includes, nor one that has no object", () => {
    const included = `In file included from main.c:3:
impl.c:9:2: error: implicit declaration of function 'gone'
make[3]: *** [/usr/src/linux/scripts/Makefile.build:294: main.o] Error 1
`;
    const program = `tool.c:9:2: error: implicit declaration of function 'gone'\nmake: *** [Makefile:4: all] Error 1\n`;

    for (const log of [included, program])
      expect(diagnose({ log, exitCode: 2 }).cause).toContain("no function gone");
  });

  test("is not an assembler's error in a file that the compiler made", () => {
    const log = `/tmp/ccAbC123.s: Assembler messages:
/tmp/ccAbC123.s:12: Error: no such instruction: 'dmb ish'
${REAL_ERROR.replace(/^main.c.*\n/m, "")}`;

    expect(diagnose({ log, exitCode: 2 }).cause).toContain("another architecture");
  });
});
