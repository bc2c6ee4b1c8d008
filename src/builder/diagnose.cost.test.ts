import { describe, expect, test } from "vitest";
import { diagnose, diagnoseApart } from "./diagnose.ts";
import { LAST, STRONG, UNPROVEN, WEAK } from "./symptoms/index.ts";

/** A line for every symptom that waits for a later line to confirm it. */
const UNCONFIRMED = [
  "x: not found",
  "sh: 1: foo: not found",
  "/bin/sh: gcc: not found",
  "pahole: not found",
  "a: Permission denied",
  "env: 'x': No such file or directory",
  "make: x: No such file or directory",
  "/a: Read-only file system",
  "Could not resolve host",
  "make M=/",
  "a.sh: 1: syntax error",
  "can't find file to patch",
  "error: 'x' undeclared here",
];
/** Lines that make a reader look around: at notes, includes, and what make says. */
const SEARCHING = [
  "a.c:1:1: error: conflicting types for 'x'",
  "In file included from a.c:1:",
  "make[1]: Entering directory '/build'",
  "make: *** [Makefile:1: a.o] Error 1",
  "configure:1: gcc >&5",
  "a.c:1:1: error: y",
];

describe("a long log of a stranger", () => {
  test("is tried with every symptom that wants to be confirmed", () => {
    const waiting = [...UNPROVEN, ...STRONG, ...WEAK, ...LAST].filter(
      ({ confirmedBy }) => confirmedBy !== undefined,
    );

    expect(waiting.length).toBeGreaterThan(8);
    const untried = waiting.filter(({ expression }) => !UNCONFIRMED.some((line) => expression.test(line)));
    expect(untried.map(({ expression }) => expression.source)).toEqual([]);
  });

  test.each([...UNCONFIRMED, UNCONFIRMED.join(" "), ...SEARCHING, SEARCHING.join("\n")])(
    "costs four times as much when it is four times as long: %j",
    (line) => {
      const cost = (lines: number) =>
        comparisons(() => diagnose({ log: `${line}\n`.repeat(lines), exitCode: 2 }));

      const [short, long] = [cost(250), cost(1_000)];

      expect(short).toBeGreaterThan(250);
      expect(long).toBeLessThan(4.1 * short);
    },
  );

  test.each([
    ["*** ", " ", ""],
    ["*** ", " ", "Stop"],
    ["", "*** ", "Stop"],
    ["", "*** ", ""],
    ["", "error: ", ""],
    ["", "objtool: a: ", ""],
    ['"__float', "sf", ""],
    ["a.c:1:1: error: ", 'error: "', "x"],
    ["dkms.conf: 1: ", "dkms.conf: 1: ", ""],
    ["", "clang: ", ""],
    ["error: assignment ", "from ", ""],
    ["", " ", "x"],
    ["", "/", "gcc: error: x"],
    ["", "a-", "gcc: error: x"],
    ["", "/.a.o", ".cmd"],
    ["", "a/configure.ac", ":1: error: x"],
    ["make: *** [", "a:1: ", "a.o] Error 1"],
    ["make ", "M=/a ", "x"],
    ["", "In file included from a", ""],
    ["", "make[1]: Entering directory '/", ""],
  ])("costs the same in long lines as in short ones: %j, %j, %j", (begin, middle, end) => {
    const line = (length: number) =>
      `${(begin + middle.repeat(length)).slice(0, length - end.length - 1)}${end}\n`;
    const cost = (length: number) => {
      const log = line(length).repeat(256_000 / length);
      return Math.min(...Array.from({ length: 3 }, () => cpuMs(() => diagnose({ log, exitCode: 2 }))));
    };

    // What backtracks would cost four times as much.
    expect(cost(1_000)).toBeLessThan(2.5 * Math.max(cost(250), 20));
  });
});

describe("in a thread of its own", () => {
  const log = "/build/a.c:1:10: fatal error: linux/nope.h: No such file or directory\n";

  test("says the same", async () => {
    expect(await diagnoseApart({ log, exitCode: 2 })).toEqual(diagnose({ log, exitCode: 2 }));
  });

  test("explains nothing when it takes too long, and shows the log's end", async () => {
    expect(await diagnoseApart({ log: `first\n${log}last \u001b[31mline\n`, exitCode: 2 }, 1)).toMatchObject({
      code: "BUILD_UNEXPLAINED",
      cause: expect.stringContaining("could not be read within 0.001 s"),
      line: expect.stringMatching(/^last .*line$/),
    });
  });

  test("leaves the others' time alone", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);

    await diagnoseApart({ log: `${UNCONFIRMED.join(" ")}\n`.repeat(20_000), exitCode: 2 });

    clearInterval(timer);
    expect(turns).toBeGreaterThan(20);
  });
});

/** How often an expression is tried. */
function comparisons(work: () => void): number {
  const plain = Object.getOwnPropertyDescriptor(RegExp.prototype, "exec") as TypedPropertyDescriptor<
    typeof RegExp.prototype.exec
  >;
  let count = 0;
  RegExp.prototype.exec = function counted(text) {
    count++;
    return plain.value?.call(this, text) ?? null;
  };
  try {
    work();
  } finally {
    Object.defineProperty(RegExp.prototype, "exec", plain);
  }
  return count;
}

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
