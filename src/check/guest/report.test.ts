import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { askedFor, type GuestPlan } from "./plan.ts";
import { readGuestReport } from "./report.ts";

const SECRET = "0123456789abcdef";
const at = (text: string) => `@${SECRET} ${text}\r\n`;
const PLAN: GuestPlan = { tree: ["dummy"], sets: [{ modules: ["doorbell"], hasSmoke: false }] };
const SET = "set 0 0";
const READY = at("ready tree 0");
const BEGIN = [at("begin 6.1.0-56-amd64 0"), at("tree dummy 0 "), READY];
const STEPS = ["inserted", "removed", "reinserted", "reremoved"].map((verb) => at(`${verb} doorbell 0 `));
const GOOD = [
  BEGIN[0],
  at("log [    0.9] dummy: hello"),
  BEGIN[1],
  READY,
  at(SET),
  at("log [    1.0] doorbell: hello"),
  ...STEPS,
  at("done 0 12288"),
  at("end"),
].join("");
const read = (console: string, plan = PLAN) => readGuestReport(console, SECRET, plan);
const inSet = (...lines: string[]) => read([...BEGIN, at(SET), ...lines].join("")).sets.get(0);

describe("readGuestReport", () => {
  test("reads what a guest says", () => {
    const step = (verb: string) => ({ verb, module: "doorbell", exitCode: 0, message: "" });

    expect(read(GOOD)).toEqual({
      release: "6.1.0-56-amd64",
      taints: { begin: 0, ready: 0 },
      livePatches: [],
      tree: [{ module: "dummy", exitCode: 0, message: "" }],
      sets: new Map([
        [
          0,
          {
            ...{ taintBefore: 0, taint: 12288 },
            steps: ["inserted", "removed", "reinserted", "reremoved"].map(step),
            log: ["[    1.0] doorbell: hello"],
            begins: new Map(),
          },
        ],
      ]),
      log: ["[    0.9] dummy: hello", "[    1.0] doorbell: hello"],
      ended: true,
      lastWords: [],
    });
  });

  test("keeps what became of live patches, which taint a kernel without harming it", () => {
    const plan = { ...PLAN, livePatches: ["short_version"] };
    const patch = (words: string) => [BEGIN[0], at(`livepatch short_version ${words}`), BEGIN[1]];
    const [, ...rest] = STEPS.toSpliced(0, 0, "");
    const patched = [...patch("0 enabled=1 transition=0 "), at("ready tree 45056"), at("set 0 45056")];
    const report = read([...patched, ...rest, at("done 0 45056"), at("end")].join(""), plan);
    const harmed = read([...patch("0 enabled=1"), at("ready tree 45568"), at("set 0 45568")].join(""), plan);

    expect(report).toMatchObject({
      ...{ ended: true, taints: { begin: 0, ready: 45056 } },
      livePatches: [{ module: "short_version", exitCode: 0, message: "enabled=1 transition=0" }],
    });
    expect(report.strange).toBeUndefined();
    expect(harmed.strange).toMatch(/^'set 0' came where 'end' was planned/);
    expect(read([...BEGIN, at(SET)].join(""), plan).strange).toMatch(/'livepatch short_version' was planned/);
  });

  test("knows what the kernel demands of modules where the guest was to say it, and nowhere else", () => {
    const locked = (line: string, saysLockdown = true) =>
      read(GOOD.replace("log [    0.9]", `${line}\r\n${at("log [    0.9]").trimEnd()}`), {
        ...PLAN,
        saysLockdown,
      });

    expect(locked("lockdown integrity 1").lockdown).toEqual({ mode: "integrity", enforcesSignatures: true });
    expect(locked("lockdown none 0").lockdown).toEqual({ mode: "none", enforcesSignatures: false });
    expect(locked("lockdown integrity 1", false).strange).toMatch(/'lockdown integrity' came/);
    expect(read(GOOD, { ...PLAN, saysLockdown: true }).strange).toMatch(/where 'lockdown' was planned/);
  });

  test("keeps what a refused module was told", () => {
    const words = "insmod: can't insert 'doorbell.ko': Invalid module format";

    expect(inSet(at(`inserted doorbell 1 ${words}`))?.steps).toEqual([
      { verb: "inserted", module: "doorbell", exitCode: 1, message: words },
    ]);
  });

  test("keeps words of any alphabet", () => {
    expect(inSet(at("inserted doorbell 1 a\u2028b\u0085c"))?.steps).toHaveLength(1);
  });

  test("keeps which step did not come back, and hears nothing after that", () => {
    const hung = at("hung removed doorbell");

    expect(inSet(...STEPS.slice(0, 1), hung)).toMatchObject({
      hung: { verb: "removed", module: "doorbell" },
    });
    expect(read([...BEGIN, at(SET), ...STEPS.slice(0, 1), hung, at("end")].join(""))).toMatchObject({
      ended: false,
    });
  });

  test("parts the sets of one boot", () => {
    const set = { modules: [], hasSmoke: false };
    const lines = [
      "begin 6.1 0",
      "ready tree 0",
      "set 0 0",
      "log a",
      "done 0 4096",
      "set 1 4096",
      "log b",
      "done 1 4096",
      "end",
    ];

    const { sets } = read(lines.map(at).join(""), { tree: [], sets: [set, set] });

    expect([...sets].map(([index, { taintBefore, log }]) => [index, taintBefore, ...log])).toEqual([
      [0, 0, "a"],
      [1, 4096, "b"],
    ]);
  });

  test("knows of which step a message is, and takes no mark that comes again or too early", () => {
    const marks = ["removed", "inserted", "removed", "inserted", "reremoved"];
    const said = marks.map((verb, index) => [
      at(`log [    ${index}.1] kmodfarm: ${verb} doorbell`),
      at(`log [    ${index}.2] message ${index}`),
    ]);

    const { log, begins } = inSet(...STEPS, ...said.flat()) ?? {};

    expect(log?.filter((line) => line.includes("kmodfarm"))).toEqual([
      "[    1.1] kmodfarm: inserted doorbell",
      "[    2.1] kmodfarm: removed doorbell",
      "[    3.1] kmodfarm: inserted doorbell",
    ]);
    expect([...(begins ?? [])].map(([step, line]) => [step, log?.[line]])).toEqual([
      [1, "[    0.2] message 0"],
      [3, "[    4.2] message 4"],
    ]);
  });

  test("knows what the kernel said during a step that hangs", () => {
    const mark = at("log [ 1.0] kmodfarm: removed doorbell");

    expect(inSet(...STEPS.slice(0, 1), mark, at("hung removed doorbell"))?.begins).toEqual(new Map([[1, 0]]));
  });

  test("expects the end after in-tree modules that harmed the kernel", () => {
    const lines = [BEGIN[0], BEGIN[1], at("ready tree 512"), at("end")].join("");

    const report = read(lines);

    expect(report).toMatchObject({ ended: true, taints: { begin: 0, ready: 512 } });
    expect(report).not.toHaveProperty("strange");
  });

  test("expects the end after a set that harmed the kernel", () => {
    const set = { modules: [], hasSmoke: false };
    const lines = ["begin 6.1 0", "ready tree 0", "set 0 0", "done 0 512", "end"].map(at).join("");

    const report = read(lines, { tree: [], sets: [set, set] });

    expect(report).toMatchObject({ ended: true });
    expect(report).not.toHaveProperty("strange");
  });

  test("finds its lines behind words of the kernel on the same line, and puts other lines aside", () => {
    const console = `[    0.1] Linux version 6.1\r\n[    0.9] random: crng init done${at("begin 6.1.0-56-amd64 0")}${READY}[    1.1] BUG: unable to handle page fault\n${at("end")}`;

    const report = readGuestReport(console, SECRET, { tree: [], sets: [] });

    expect(report).toMatchObject({ release: "6.1.0-56-amd64", ended: true });
    expect(report.lastWords).toEqual([
      "[    0.1] Linux version 6.1",
      "[    1.1] BUG: unable to handle page fault",
    ]);
  });

  test("has not ended when the console breaks off", () => {
    const cut = GOOD.slice(0, GOOD.indexOf(`@${SECRET} removed`));

    const report = read(`${cut}\r\nKernel panic - not syncing`);

    expect(report.ended).toBe(false);
    expect(report.sets.get(0)?.steps).toHaveLength(1);
    expect(report.sets.get(0)).not.toHaveProperty("taint");
    expect(report.lastWords.at(-1)).toBe("Kernel panic - not syncing");
  });

  test.each([
    ["in the middle of its number", "done 0 12"],
    ["before its number", "done 0 \r\n"],
  ])("has no taint when the last line breaks off %s", (_, line) => {
    expect(inSet(...STEPS, `@${SECRET} ${line}`)).not.toHaveProperty("taint");
  });

  test("believes nothing in a line that does not know the secret of this boot", () => {
    const forged = [
      "begin 6.1.0-56-amd64 0",
      "@ffffffffffffffff set 0 0",
      "@ffffffffffffffff inserted doorbell 0 ",
      "@ inserted doorbell 0 ",
      `@${SECRET}inserted doorbell 0 `,
      `${SECRET} end`,
      "end",
    ].join("\r\n");

    const report = read(forged);

    expect(report).toMatchObject({ ended: false, log: [], tree: [] });
    expect(report.sets.size).toBe(0);
    expect(report).not.toHaveProperty("release");
    expect(report.lastWords).toHaveLength(7);
  });

  test("takes what a module logs for a message, whatever it says", () => {
    const report = inSet(at("log [  1.0] inserted doorbell 0 "), at("log done 0 0"), at("log end"));

    expect(report?.steps).toEqual([]);
    expect(report).not.toHaveProperty("taint");
    expect(report?.log).toEqual(["[  1.0] inserted doorbell 0", "done 0 0", "end"]);
  });

  test("passes no control characters on to a terminal", () => {
    const hostile = "\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u009b2J\u0000 bell\u0008";
    const report = read(
      [...BEGIN, at(SET), at(`log ${hostile}`), at(`inserted doorbell 1 ${hostile}`), `${hostile}\n`].join(
        "",
      ),
    );

    const text = JSON.stringify([report.log, report.lastWords, report.sets.get(0)]);
    expect(text).not.toMatch(/\\u00[01]|\\b/);
    expect(report.lastWords[0]).toMatch(/^red /);
  });

  test("keeps only the last words, and no endless line", () => {
    const console = Array.from({ length: 100 }, (_, index) => `line ${index}\n`).join("");

    const report = read(`${console}${"x".repeat(10_000)}`);

    expect(report.lastWords).toHaveLength(40);
    expect(report.lastWords.at(-1)).toHaveLength(500);
  });

  test("is never surprised, and never says more than the secret allows", () => {
    const word = fc.constantFrom(
      ...[...BEGIN, at(SET), ...STEPS, at("done 0 7"), at("end"), at("hung removed doorbell")],
      ...[at("set"), at("done"), at("inserted"), at("log"), at("hung removed"), "@", SECRET, "\r", "\n", " "],
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(word, fc.string({ unit: "binary" }))), (parts) => {
        const report = read(parts.join(""));

        if (!parts.join("").replaceAll("\r", "").includes(`@${SECRET} `))
          expect(report.sets.size + report.log.length).toBe(0);
        expect([...report.log, ...report.lastWords].some((text) => /\p{Cc}/u.test(text))).toBe(false);
      }),
    );
  });
});

test("askedFor names each module once that the kernel asked for in vain", () => {
  const log = [
    "[    1.0] kmodfarm: asked for crypto-rmd160",
    "[    1.1] tally: kmodfarm: asked for nothing",
    "[    1.2] kmodfarm: asked for crypto-rmd160",
    "[    1.3] kmodfarm: asked for crypto-cbc(aes)",
    "[    1.4] kmodfarm: asked for two words",
  ];

  expect(askedFor(log)).toEqual(["crypto-rmd160", "crypto-cbc(aes)"]);
  expect(
    askedFor(Array.from({ length: 500 }, (_, index) => `[ 1.0] kmodfarm: asked for m${index}`)),
  ).toHaveLength(100);
});

describe("a report that is not the planned one", () => {
  const lines = GOOD.split("\r\n").filter((line) => line !== "");
  const changed = (change: (all: string[]) => string[]) => read(`${change([...lines]).join("\n")}\n`).strange;
  const without = (text: string) => (all: string[]) => all.filter((line) => !line.includes(` ${text}`));
  const after = (text: string, added: string) => (all: string[]) =>
    all.flatMap((line) => (line.includes(` ${text}`) ? [line, `@${SECRET} ${added}`] : [line]));

  test("as planned is not strange", () => {
    expect(changed((all) => all)).toBeUndefined();
  });

  test.each<[string, (all: string[]) => string[], string]>([
    [
      "no steps",
      (all) => all.filter((line) => !line.includes("doorbell 0")),
      "'done 0' came where 'inserted doorbell' was planned",
    ],
    [
      "a step missing",
      without("removed doorbell"),
      "'reinserted doorbell' came where 'removed doorbell' was planned",
    ],
    [
      "a step twice",
      after("removed doorbell", "removed doorbell 0 "),
      "'removed doorbell' came where 'reinserted doorbell' was planned",
    ],
    [
      "a step of another module",
      after("inserted doorbell", "removed tally 0 "),
      "'removed tally' came where 'removed doorbell' was planned",
    ],
    ["an in-tree module missing", without("tree dummy"), "'ready tree' came where 'tree dummy' was planned"],
    [
      "a second beginning",
      after("set 0", "begin 6.1.0-56-amd64 0"),
      "'begin 6.1.0-56-amd64' came where 'inserted doorbell' was planned",
    ],
    ["a set that was not planned", after("done 0", "set 1 12288"), "'set 1' came where 'end' was planned"],
    ["a line after the end", after("end", "done 0 0"), "'done 0' came after the end"],
    ["a message after the end", after("end", "log hello"), "a message came after the end"],
    [
      "another taint than before",
      (all) => all.map((line) => line.replace("set 0 0", "set 0 512")),
      "'set 0 512' came where 'set 0 0' was planned",
    ],
    ["a marked line that is none", after("set 0", "hello"), `@${SECRET} hello`],
    [
      "something that does not come back, and was not its turn",
      after("set 0", "hung removed doorbell"),
      "'hung removed doorbell' came where 'inserted doorbell' was planned",
    ],
  ])("says so of %s", (_, change, words) => {
    expect(changed(change)).toBe(words);
  });

  test("excuses what a dying kernel garbles", () => {
    const garbled = `${lines.slice(0, 5).join("\n")}\n@${SECRET} inser[ 3.0] Kernel panic - not syncing\n`;

    const report = read(garbled);

    expect(report).not.toHaveProperty("strange");
    expect(report.lastWords.at(-1)).toMatch(/Kernel panic/);
  });
});
