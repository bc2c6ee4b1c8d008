import { describe, expect, test } from "vitest";
import type { KernelModule } from "../formats/kernel-module.ts";
import type { GuestReport, SetReport, Step } from "./guest.ts";
import { fellAlone, harmsKernel, judgeSet } from "./load-verdict.ts";

const KVERSION = "6.1.0-56-amd64";
const OUT_OF_TREE = 12288;
const named = (name: string, license = "GPL") => ({ name, license }) as KernelModule;
const SET = { modules: [named("tally"), named("doorbell")], hasSmoke: false, by: "kmod" as const };
const step = (verb: Step["verb"], module: string, exitCode = 0, message = ""): Step => ({
  ...{ verb, module, exitCode, message },
});
const STEPS: readonly Step[] = [
  step("inserted", "tally"),
  step("inserted", "doorbell"),
  step("removed", "doorbell"),
  step("removed", "tally"),
  step("reinserted", "tally"),
  step("reinserted", "doorbell"),
  step("reremoved", "doorbell"),
  step("reremoved", "tally"),
];
const GOOD: SetReport = { taintBefore: 0, taint: OUT_OF_TREE, steps: STEPS, log: [] };
const REPORT: GuestReport = {
  release: KVERSION,
  tree: [],
  sets: new Map(),
  log: [],
  ended: true,
  lastWords: [],
};
const BOOT = { timedOut: false, isFlooded: false };
const { taint: _, ...DEAD } = GOOD;

function judged(found: SetReport | undefined, report = {}, boot = {}, set = {}) {
  return judgeSet({ ...SET, ...set }, found, { ...REPORT, ...report }, { ...BOOT, ...boot }, KVERSION);
}

describe("judgeSet", () => {
  test("passes what went in and out twice", () => {
    expect(judged(GOOD)).toEqual({
      check: "load",
      verdict: "pass",
      reasons: ["tally, doorbell inserted by kmod and removed, twice"],
    });
  });

  test.each([
    ["nothing", { release: undefined }, {}, /the guest said nothing before it ended/],
    ["nothing in its time", { release: undefined }, { timedOut: true }, /nothing until its time was over/],
    ["another release", { release: "6.1.0-55-amd64" }, {}, /runs 6\.1\.0-55-amd64, not 6\.1\.0-56-amd64/],
  ])("knows nothing from a guest that says %s", (_, report, boot, reason) => {
    const found = judged(GOOD, report, boot);

    expect(found?.verdict).toBe("unknown");
    expect(found?.reasons[0]).toMatch(reason);
  });

  test("says nothing of a set that the guest never came to", () => {
    expect(judged(undefined)).toBeUndefined();
  });

  const refused = (log: string[], message = "Invalid module format") =>
    judged({ ...GOOD, steps: [step("inserted", "tally", 1, message)], log })?.reasons ?? [];

  test.each([
    ["[ 1.0] tally: disagrees about version of symbol printk", "a symbol has another version"],
    ["[ 1.0] tally: no symbol version for printk", "a symbol has no version"],
    ["[ 1.0] tally: Unknown symbol gone (err -2)", "a symbol is not there"],
    ["[ 1.0] tally: version magic '6.1 SMP ' should be '6.2 SMP '", "its vermagic is another kernel's"],
    ["[ 1.0] Loading of module with unavailable key is rejected", undefined],
    ["[ 1.0] something: else", "its format is not the kernel's"],
  ])("tells why a module is refused: %s", (line, why) => {
    expect(refused([line])[0]).toBe(
      `tally is refused, ${why ?? "its format is not the kernel's"}: Invalid module format`,
    );
  });

  test.each([
    ["Key was rejected by service", "its signature does not count"],
    ["Required key not available", "its signature does not count"],
    ["File exists", "a module of that name is in already"],
    ["No such device", "it finds no device of its own"],
  ])("tells why a module is refused by insmod's word: %s", (message, why) => {
    expect(refused([], message)).toEqual([`tally is refused, ${why}: ${message}`]);
  });

  test("shows the kernel's own lines", () => {
    expect(refused(["[ 1.0] other: x", "[    1.0] tally: Unknown symbol gone (err -2)"])).toEqual([
      "tally is refused, a symbol is not there: Invalid module format",
      "tally: Unknown symbol gone (err -2)",
    ]);
  });

  test.each<[string, SetReport, object, object, RegExp]>([
    [
      "an oops that the kernel survives",
      {
        ...GOOD,
        steps: [step("inserted", "tally", 137, "Killed")],
        log: ["[ 1.0] BUG: kernel NULL pointer"],
      },
      {},
      {},
      /^the kernel oopsed: inserting tally$/,
    ],
    [
      "a panic",
      { ...DEAD, steps: STEPS.slice(0, 1) },
      { ended: false, lastWords: ["[ 2.0] Kernel panic - not syncing: on purpose"] },
      {},
      /^the kernel died: inserting doorbell$/,
    ],
    [
      "a hang",
      { ...DEAD, steps: [] },
      { ended: false },
      { timedOut: true },
      /^the kernel hangs: inserting tally$/,
    ],
    [
      "a step that does not come back",
      { ...DEAD, steps: STEPS.slice(0, 2), hung: { verb: "removed", module: "doorbell" } },
      {},
      {},
      /^removing doorbell does not come back$/,
    ],
    [
      "a flood",
      { ...DEAD, steps: [] },
      { ended: false },
      { isFlooded: true },
      /^the console was flooded: inserting tally$/,
    ],
    [
      "a module that stays",
      { ...GOOD, steps: [...STEPS.slice(0, 2), step("removed", "doorbell", 1, "Resource busy")] },
      {},
      {},
      /^doorbell cannot be removed: Resource busy$/,
    ],
    [
      "a module that does not come again",
      { ...GOOD, steps: [...STEPS.slice(0, 4), step("reinserted", "tally", 1, "File exists")] },
      {},
      {},
      /^tally is refused when it comes again, a module of that name is in already: File exists$/,
    ],
    [
      "a warning",
      { ...GOOD, taint: OUT_OF_TREE | 512 },
      {},
      {},
      /^with the modules in, the kernel gave a warning$/,
    ],
    [
      "lockdep's complaint",
      { ...GOOD, log: ["[ 1.0] WARNING: possible circular locking dependency detected"] },
      {},
      {},
      /^with the modules in, the kernel complained$/,
    ],
    [
      "a taint that its licence does not explain",
      { ...GOOD, taint: OUT_OF_TREE | 1 },
      {},
      {},
      /tainted as proprietary by modules that say they are not/,
    ],
  ])("fails %s", (_, found, report, boot, reason) => {
    const verdict = judged(found, report, boot);

    expect(verdict?.verdict).toBe("fail");
    expect(verdict?.reasons[0]).toMatch(reason);
  });

  test("lets a proprietary module taint the kernel as one", () => {
    const set = { modules: [named("tally", "Proprietary"), named("doorbell")] };

    expect(judged({ ...GOOD, taint: OUT_OF_TREE | 1 }, {}, {}, set)?.verdict).toBe("pass");
  });

  test("does not blame a set for what the kernel was before it", () => {
    expect(judged({ ...GOOD, taintBefore: 512, taint: OUT_OF_TREE | 512 })?.verdict).toBe("pass");
  });

  test("fails when the driver's own script does", () => {
    const steps = [...STEPS.slice(0, 2), step("smoke", "script", 3, "no ring")];

    expect(judged({ ...GOOD, steps }, {}, {}, { hasSmoke: true })?.reasons).toEqual([
      "the driver's own script ended with exit code 3: no ring",
    ]);
  });
});

describe("the reason of a failure", () => {
  const PRESENCE = "[ 1.0] tally: loading out-of-tree module taints kernel.";

  test("names a compression that the release's kmod does not open", () => {
    const steps = [step("inserted", "tally", 1, "Exec format error")];

    expect(judged({ ...GOOD, steps }, {}, {}, { unopened: "gz" })?.reasons).toEqual([
      "tally is refused: this release's kmod opens no .gz, so compress it otherwise: Exec format error",
    ]);
  });

  test("leaves out what a kernel says of every module", () => {
    const steps = [step("inserted", "tally", 1, "Input/output error")];

    expect(judged({ ...GOOD, steps, log: [PRESENCE] })?.reasons).toEqual([
      "tally is refused: Input/output error",
    ]);
  });

  test("does not lay a script that hangs at the door of what modules say", () => {
    const hung = { verb: "smoke", module: "script" } as const;
    const found = { ...DEAD, steps: STEPS.slice(0, 2), hung, log: [PRESENCE, "[ 1.1] tally: ready"] };

    expect(judged(found, {}, {}, { hasSmoke: true })?.reasons).toEqual([
      "the driver's own script does not come back",
    ]);
  });
});

describe("fellAlone", () => {
  const OOPS = "[ 4.0] BUG: kernel NULL pointer dereference, address: 000000000000003d";
  const list = (words: string) => `[ 4.1] Modules linked in:${words}`;
  const fell = (found: Partial<SetReport>, lastWords: readonly string[] = []) =>
    fellAlone(SET.modules, { ...DEAD, steps: [], log: [], ...found }, lastWords);

  test("tells a kernel that fell before it knew of any module", () => {
    expect(fell({ log: [OOPS, list("")] })).toBe(true);
    expect(fell({ log: [OOPS] }, [list(" loop")])).toBe(true);
    expect(fell({ log: [OOPS, list(" tallyho(O) [last unloaded: other]")] })).toBe(true);
  });

  test("blames what was in, or on its way", () => {
    expect(fell({ log: [OOPS, list(" tally(O+)")] })).toBe(false);
    expect(fell({ log: [OOPS, list("")], steps: STEPS.slice(0, 1) })).toBe(false);
    expect(fell({ log: [OOPS] })).toBe(false);
    expect(fell({ log: [list("")] })).toBe(false);
  });
});

describe("harmsKernel", () => {
  test.each<[string, Partial<SetReport>, boolean]>([
    ["a good set", {}, false],
    ["one that is refused", { steps: [step("inserted", "tally", 1)] }, false],
    ["one that stays in", { steps: [step("removed", "tally", 1)] }, true],
    ["a warning", { taint: OUT_OF_TREE | 512 }, true],
    ["an oops", { log: ["[ 1.0] BUG: kernel NULL pointer dereference"] }, true],
    ["one that hangs", { hung: { verb: "removed", module: "tally" } }, true],
  ])("of %s", (_, changes, harms) => {
    expect(harmsKernel({ ...GOOD, ...changes })).toBe(harms);
  });

  test("of a kernel that died", () => {
    expect(harmsKernel(DEAD)).toBe(true);
  });
});
