import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { KernelModule } from "../formats/kernel-module.ts";
import { type GuestReport, readGuestReport, type SetReport, type Step } from "./guest/report.ts";
import { fellAlone, harmsKernel, judgeSet } from "./load-verdict.ts";
import { textsOf } from "./verdict.ts";

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
  livePatches: [],
  tree: [],
  sets: new Map(),
  log: [],
  ended: true,
  lastWords: [],
};
const BOOT = { timedOut: false, isSlow: false, isFlooded: false, said: "" };
const { taint: _, ...DEAD } = GOOD;

/** The verdict in words: their codes are looked at in a test of their own. */
function judged(...given: Parameters<typeof coded>) {
  const verdict = coded(...given);
  return verdict && { ...verdict, reasons: textsOf(verdict) };
}

function coded(found: SetReport | undefined, report = {}, boot = {}, set = {}) {
  const sets = new Map(found === undefined ? [] : [[0, found]]);
  return judgeSet({ ...SET, ...set }, found, { ...REPORT, sets, ...report }, { ...BOOT, ...boot }, KVERSION);
}

test("a driver's own script that fails is told from a kernel that refuses, whatever the words", () => {
  const failing = (one: Step) =>
    coded({ ...GOOD, steps: [...STEPS.slice(0, 2), one] }, {}, {}, { hasSmoke: true });

  expect(failing(step("smoke", "tally", 3, "no ring"))?.reasons.map(({ code }) => code)).toEqual(["script"]);
  expect(
    coded({ ...GOOD, steps: [step("inserted", "tally", 1, "no")] })?.reasons.map(({ code }) => code),
  ).toEqual(["refused"]);
});

describe("with Secure Boot", () => {
  const locked = { lockdown: { mode: "integrity", enforcesSignatures: true } };
  const OUT_OF_TREE_ALONE = 1 << 12;

  test("passes what a kernel took that knows its signer", () => {
    const found = { ...GOOD, taint: OUT_OF_TREE_ALONE };

    expect(coded(found, locked, {}, { isLocked: true })?.verdict).toBe("pass");
  });

  test("fails what makes the kernel say that nobody signed it", () => {
    const said = judged(GOOD, locked, {}, { isLocked: true });

    expect([said?.verdict, ...(said?.reasons ?? [])]).toEqual([
      "fail",
      expect.stringMatching(/took a module that nobody it knows signed/),
    ]);
  });

  test.each([
    ["does not say so", {}],
    ["takes others", { lockdown: { mode: "none", enforcesSignatures: false } }],
    ["takes others in spite of a lockdown", { lockdown: { mode: "integrity", enforcesSignatures: false } }],
  ])("knows nothing if the kernel %s", (_, report) => {
    const said = coded({ ...GOOD, taint: OUT_OF_TREE_ALONE }, report, {}, { isLocked: true });

    expect([said?.verdict, said?.reasons[0]?.code]).toEqual(["unknown", "notLocked"]);
  });
});

describe("judgeSet", () => {
  test("passes what went in and out twice", () => {
    expect(judged(GOOD)).toEqual({
      check: "load",
      verdict: "pass",
      reasons: ["tally, doorbell loaded with kmod and unloaded, twice"],
    });
  });

  test("is unknown while a guest that is merely slow is still at work, unless a step failed before", () => {
    const boot = { timedOut: true, isSlow: true };
    const at = (steps: SetReport["steps"]) => judged({ ...DEAD, steps }, { ended: false }, boot);
    const [first] = STEPS as [Step];

    expect(at(STEPS.slice(0, 2))).toMatchObject({
      verdict: "unknown",
      reasons: [expect.stringMatching(/^the guest was still at work after 600 s/)],
    });
    expect(at([{ ...first, exitCode: 1, message: "no" }])?.verdict).toBe("fail");
    expect(
      judged({ ...DEAD, steps: [], log: ["WARNING: CPU: 0 PID: 1 at a.c:1"] }, { ended: false }, boot),
    ).toMatchObject({ verdict: "fail" });
  });

  test.each([
    ["nothing", { release: undefined }, {}, /the guest reported nothing before it ended/],
    ["nothing in its time", { release: undefined }, { timedOut: true }, /reported nothing for 120 s/],
    [
      "nothing but a flood",
      { release: undefined },
      { isFlooded: true },
      /nothing about the modules before .* wrote 4 MiB/,
    ],
    [
      "nothing, because QEMU does not start",
      { release: undefined },
      { said: "no such machine" },
      /\(QEMU: no such machine\)$/,
    ],
    [
      "what was not planned",
      { strange: "'end' came after the end" },
      {},
      /does not follow the plan: 'end' came/,
    ],
    ["another release", { release: "6.1.0-55-amd64" }, {}, /runs 6\.1\.0-55-amd64, not 6\.1\.0-56-amd64/],
  ])("knows nothing from a guest that says %s", (_, report, boot, reason) => {
    const found = judged(GOOD, report, boot);

    expect(found?.verdict).toBe("unknown");
    expect(found?.reasons[0]).toMatch(reason);
  });

  test("says nothing of a set that the guest never came to", () => {
    expect(judged(undefined)).toBeUndefined();
  });

  test.each<[string, readonly Step[]]>([
    ["none of its steps", []],
    ["a step missing", STEPS.toSpliced(2, 1)],
    ["a step too many", [...STEPS, step("reremoved", "tally")]],
    ["a step twice", STEPS.toSpliced(2, 0, STEPS[2] as Step)],
    ["steps in another order", [...STEPS.slice(0, 2), ...STEPS.slice(2, 4).toReversed(), ...STEPS.slice(4)]],
    ["a script that nobody planned", STEPS.toSpliced(2, 0, step("smoke", "script"))],
  ])("knows nothing of a set with %s", (_, steps) => {
    expect(judged({ ...GOOD, steps })).toMatchObject({
      verdict: "unknown",
      reasons: ["the guest's report does not have each step once and in order"],
    });
  });

  const refused = (log: string[], message = "Invalid module format") =>
    judged({ ...GOOD, steps: [step("inserted", "tally", 1, message)], log })?.reasons ?? [];

  test.each([
    ["[ 1.0] tally: disagrees about version of symbol printk", "a symbol has a different version"],
    ["[ 1.0] tally: no symbol version for printk", "a symbol has no version"],
    ["[ 1.0] tally: Unknown symbol gone (err -2)", "a symbol is missing"],
    ["[ 1.0] tally: version magic '6.1 SMP ' should be '6.2 SMP '", "its vermagic is for another kernel"],
    ["[ 1.0] Loading of module with unavailable key is rejected", undefined],
    ["[ 1.0] something: else", "its format is not the kernel's"],
  ])("tells why a module is refused: %s", (line, why) => {
    expect(refused([line])[0]).toBe(
      `tally is refused, ${why ?? "its format is not the kernel's"}: Invalid module format`,
    );
  });

  test.each([
    ["Key was rejected by service", "its signature is not accepted"],
    ["Required key not available", "its signature is not accepted"],
    ["File exists", "a module of that name is already loaded"],
    ["No such device", "it finds no device of its own"],
    ["Unknown symbol in module, or unknown parameter", "something it asks for is missing"],
  ])("tells why a module is refused by insmod's word: %s", (message, why) => {
    expect(refused([], message)).toEqual([`tally is refused, ${why}: ${message}`]);
  });

  test("names firmware that a module asks for and cannot do without", () => {
    const line = "[ 1.0] chip 1-0: Direct firmware load for tally/a.bin failed with error -2";
    const message = "insmod: ERROR: could not insert module /sets/0/tally.ko: Unknown symbol in module";

    expect(refused([line], message)).toEqual([
      `tally is refused, its firmware is missing: ${message}`,
      line.slice("[ 1.0] ".length),
    ]);
    expect(refused([line], "No such device")[0]).toContain("it finds no device of its own");
  });

  test("shows the kernel's own lines", () => {
    expect(refused(["[ 1.0] other: x", "[    1.0] tally: Unknown symbol gone (err -2)"])).toEqual([
      "tally is refused, a symbol is missing: Invalid module format",
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
      /^the kernel oopsed: loading tally$/,
    ],
    [
      "a panic",
      { ...DEAD, steps: STEPS.slice(0, 1) },
      { ended: false, lastWords: ["[ 2.0] Kernel panic - not syncing: on purpose"] },
      {},
      /^the kernel died: loading doorbell$/,
    ],
    [
      "a hang",
      { ...DEAD, steps: [] },
      { ended: false },
      { timedOut: true },
      /^the kernel hangs: loading tally$/,
    ],
    [
      "a step that does not come back",
      { ...DEAD, steps: STEPS.slice(0, 2), hung: { verb: "removed", module: "doorbell" } },
      {},
      {},
      /^unloading doorbell has not returned after 30 s$/,
    ],
    [
      "a flood",
      { ...DEAD, steps: [] },
      { ended: false },
      { isFlooded: true },
      /^the console was flooded: loading tally$/,
    ],
    [
      "a kernel that dies when all is over",
      GOOD,
      { ended: false, lastWords: ["[ 2.0] Kernel panic - not syncing: Fatal exception in interrupt"] },
      {},
      /^the kernel died: after all modules were unloaded$/,
    ],
    [
      "a module that stays",
      { ...GOOD, steps: [...STEPS.slice(0, 2), step("removed", "doorbell", 1, "Resource busy")] },
      {},
      {},
      /^doorbell cannot be unloaded: Resource busy$/,
    ],
    [
      "a module that does not come again",
      { ...GOOD, steps: [...STEPS.slice(0, 4), step("reinserted", "tally", 1, "File exists")] },
      {},
      {},
      /^tally is refused the second time, a module of that name is already loaded: File exists$/,
    ],
    [
      "a warning",
      { ...GOOD, taint: OUT_OF_TREE | 512 },
      {},
      {},
      /^with the modules loaded, the kernel printed a warning$/,
    ],
    [
      "lockdep's complaint",
      { ...GOOD, log: ["[ 1.0] WARNING: possible circular locking dependency detected"] },
      {},
      {},
      /^with the modules loaded, the kernel complained$/,
    ],
    [
      "a taint that its licence does not explain",
      { ...GOOD, taint: OUT_OF_TREE | 1 },
      {},
      {},
      /tainted as proprietary by modules that declare a GPL-compatible licence/,
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
      "tally is refused: this release's kmod cannot read .gz, so compress it differently: Exec format error",
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
      "the driver's own script has not returned after 30 s",
    ]);
  });
});

describe("a set with more than one trouble", () => {
  const OOPS = "[ 2.0] BUG: kernel NULL pointer dereference, address: 0000000000000008";
  const TRACE = "[ 2.0] RIP: 0010:tally_exit+0x5/0x10 [tally]";
  const UNKNOWN_SYMBOL = "[ 1.0] doorbell: Unknown symbol gone (err -2)";
  const steps = [
    step("inserted", "tally"),
    step("inserted", "doorbell", 1, "Unknown symbol in module"),
    step("removed", "tally", 139, "Killed"),
  ];
  const found: SetReport = {
    ...GOOD,
    taint: OUT_OF_TREE | 128,
    steps,
    log: [UNKNOWN_SYMBOL, OOPS, TRACE],
    begins: new Map([
      [0, 0],
      [1, 0],
      [2, 1],
    ]),
  };

  test("is told of each in its order, with the step and the module that it belongs to", () => {
    expect(judged(found)).toEqual({
      check: "load",
      verdict: "fail",
      reasons: [
        "doorbell is refused, a symbol is missing: Unknown symbol in module",
        "doorbell: Unknown symbol gone (err -2)",
        "the kernel oopsed: unloading tally",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
      ],
    });
  });

  test("lays an oops where no mark is at the door of the step that was killed", () => {
    const { begins: _, ...unmarked } = found;

    expect(judged(unmarked)?.reasons).toContain("the kernel oopsed: unloading tally");
    expect(judged(unmarked)?.reasons[0]).toMatch(/^doorbell is refused/);
  });

  test("names another module of the trace", () => {
    const log = [UNKNOWN_SYMBOL, OOPS, "[ 2.0] RIP: 0010:own_exit+0x5/0x10 [gong]"];

    expect(judged({ ...found, log })?.reasons).toContain("the kernel oopsed: unloading tally, in gong");
  });

  test("is told of a refusal before the kernel died", () => {
    const { taint: __, ...dead } = { ...found, steps: steps.slice(0, 2), log: [] };
    const report = { ended: false, lastWords: ["[ 2.0] Kernel panic - not syncing: on purpose"] };

    expect(judged(dead, report)?.reasons).toEqual([
      "doorbell is refused, something it asks for is missing: Unknown symbol in module",
      "the kernel died: unloading tally",
      "Kernel panic - not syncing: on purpose",
    ]);
  });
});

describe("what a driver says", () => {
  test("is no fault of the kernel's", () => {
    const log = [
      "[ 1.0] tally: WARNING: the fan is loud",
      "[ 1.0] WARNING: the fan",
      "[ 1.0] tally: Oops, no",
    ];

    expect(judged({ ...GOOD, log })?.verdict).toBe("pass");
    expect(harmsKernel({ ...GOOD, log })).toBe(false);
  });

  test("does not hide a warning, which is told with its step", () => {
    const log = [
      "[ 1.0] tally: all is well",
      "[ 1.1] WARNING: CPU: 0 PID: 71 at tally.c:7 own_exit+0x9/0xff0 [tally]",
    ];
    const begins = new Map([
      [2, 0],
      [3, 1],
    ]);

    expect(judged({ ...GOOD, taint: OUT_OF_TREE | 512, log, begins })?.reasons).toEqual([
      "with the modules loaded, the kernel printed a warning (unloading tally)",
      "WARNING: CPU: 0 PID: 71 at tally.c:7 own_exit+0x9/0xff0 [tally]",
    ]);
  });
});

describe("a module of the kernel's own that is not in", () => {
  const refused = step("inserted", "tally", 1, "Unknown symbol in module, or unknown parameter");
  const found: SetReport = { ...GOOD, steps: [refused], log: ["[ 1.0] tally: Unknown symbol gone (err -2)"] };
  const tree = (message: string) => ({ tree: [{ module: "usbcore", exitCode: 1, message }] });

  test("makes a refusal prove nothing, and is named", () => {
    const message = "modprobe: ERROR: could not insert 'usbcore': Input/output error";

    expect(judged(found, tree(message))).toMatchObject({
      verdict: "unknown",
      reasons: [
        `usbcore, one of the kernel's own modules, was not loaded: ${message}`,
        expect.stringMatching(/^so this proves nothing: tally is refused, a symbol is missing/),
      ],
    });
    expect(judged(found, {}, {}, { unheld: ["usbcore"] })).toMatchObject({
      verdict: "unknown",
      reasons: ["usbcore, one of the kernel's own modules, is not available", expect.anything()],
    });
  });

  test("is heard of where the kernel itself asked for it", () => {
    const log = [
      "[ 1.0] kmodfarm: rmd160 did not go in: modprobe: ERROR: could not insert 'rmd160': Bad address",
    ];
    const asked = { ...found, log, begins: new Map([[0, 0]]) };
    const noHardware = log.map((line) => line.replace("Bad address", "No such device"));

    expect(judged(asked)?.verdict).toBe("unknown");
    expect(judged({ ...asked, log: noHardware })?.verdict).toBe("fail");
  });

  test("excuses nothing where it has no part: one that no kernel has, another kernel's module, an oops, a pass", () => {
    const absent = "modprobe: FATAL: Module usbcore not found in directory /lib/modules/6.1.0-56-amd64";
    const message = "modprobe: ERROR: could not insert 'usbcore': Input/output error";
    const magic = "[ 1.0] tally: version magic '6.1 SMP ' should be '6.2 SMP '";

    expect(judged(found, tree(absent))?.verdict).toBe("fail");
    const steps = [{ ...refused, message: "Invalid module format" }];
    expect(judged({ ...found, steps, log: [magic] }, tree(message))?.verdict).toBe("fail");
    expect(judged({ ...found, taint: OUT_OF_TREE | 128 }, tree(message))?.verdict).toBe("fail");
    expect(judged(GOOD, tree(message))?.verdict).toBe("pass");
  });

  test("is not blamed on a driver where it harmed the kernel by itself", () => {
    const taints = { begin: 0, ready: 512 };

    expect(judged(undefined, { taints })).toMatchObject({
      verdict: "unknown",
      reasons: ["the kernel printed a warning before any module of the driver was loaded"],
    });
  });

  describe("and live patches before them", () => {
    const patched = (exitCode: number, message = "enabled=1 transition=0") => ({
      livePatches: [{ module: "short_version", exitCode, message }],
      taints: { begin: 0, ready: OUT_OF_TREE | (1 << 15) },
    });
    const beside = { ...GOOD, taintBefore: OUT_OF_TREE | (1 << 15), taint: OUT_OF_TREE | (1 << 15) };

    test("are named by a pass beside them", () => {
      expect(judged(beside, patched(0))).toMatchObject({
        verdict: "pass",
        reasons: [expect.stringMatching(/unloaded, twice, beside the live patch short_version$/)],
      });
    });

    test("prove nothing of a driver where they are not applied", () => {
      expect(judged(beside, patched(1, "enabled=1 transition=1"))).toMatchObject({
        verdict: "unknown",
        reasons: [
          "the live patch short_version is not applied, so nothing was tested beside it: enabled=1 transition=1",
        ],
      });
    });

    test("excuse no other harm, and no patch by the driver", () => {
      const taints = { begin: 0, ready: (1 << 15) | 512 };

      expect(judged(undefined, { ...patched(0), taints })).toMatchObject({
        reasons: ["the kernel printed a warning before any module of the driver was loaded"],
      });
      expect(judged({ ...GOOD, taint: OUT_OF_TREE | (1 << 15) })?.verdict).toBe("fail");
    });
  });

  test("may be from staging, which a driver may not", () => {
    const staging = { ...GOOD, taint: OUT_OF_TREE | 1024 };
    const own = { modules: [{ ...named("tally"), modinfo: [["staging", "Y"]] }, named("doorbell")] };

    expect(judged(staging)?.verdict).toBe("pass");
    expect(judged(staging, { taints: { begin: 0, ready: 1024 } })?.verdict).toBe("pass");
    expect(judged(staging, {}, {}, own)?.verdict).toBe("fail");
  });
});

describe("a driver that says that it finds no device", () => {
  const message = "insmod: ERROR: could not insert module /sets/0/tally.ko: No such device";
  const found: SetReport = { ...GOOD, steps: [step("inserted", "tally", 1, message)] };
  const verdictOf = (changes: Partial<SetReport>, set = {}) =>
    judged({ ...found, ...changes }, {}, {}, { noDevice: true, ...set })?.verdict;

  test("is refused as expected, which is no pass", () => {
    expect(judged(found, {}, {}, { noDevice: true })).toMatchObject({
      verdict: "notApplicable",
      reasons: [expect.stringMatching(/^tally finds no device of its own here/)],
    });
  });

  test("is not excused from anything else", () => {
    expect(verdictOf({}, { noDevice: false })).toBe("fail");
    expect(verdictOf({ steps: [step("inserted", "tally", 1, `${message} or address`)] })).toBe("fail");
    expect(verdictOf({ taint: OUT_OF_TREE | 512 })).toBe("fail");
    expect(
      verdictOf({
        steps: [
          step("inserted", "tally"),
          step("inserted", "doorbell", 1, message),
          step("removed", "tally", 1, "Resource busy"),
        ],
      }),
    ).toBe("fail");
    expect(verdictOf({ steps: STEPS })).toBe("pass");
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

describe("a module that another one holds without naming a symbol of it", () => {
  const [[held, ...before], after] = [[STEPS[2] as Step, STEPS[0] as Step, STEPS[1] as Step], STEPS.slice(4)];
  const inUse = step(
    "removed",
    held.module,
    1,
    "rmmod: can't unload module 'doorbell': Resource temporarily unavailable",
  );

  test("goes out once the other one is out", () => {
    const steps = [...before, inUse, step("removed", "tally"), held, ...after];

    expect(judged({ ...GOOD, steps })?.verdict).toBe("pass");
    expect(harmsKernel({ ...GOOD, steps })).toBe(false);
  });

  test("cannot be unloaded where it stays in use after that", () => {
    const steps = [...before, inUse, step("removed", "tally"), inUse];

    expect(judged({ ...GOOD, steps })).toMatchObject({
      verdict: "fail",
      reasons: [expect.stringMatching(/^doorbell cannot be unloaded: .*Resource temporarily unavailable$/)],
    });
    expect(harmsKernel({ ...GOOD, steps })).toBe(true);
  });

  test("is tried no more once a removal was killed", () => {
    const oops = "[ 2.0] BUG: kernel NULL pointer dereference, address: 0000000000000008";
    const steps = [...before, step("removed", "doorbell", 139, "Killed"), step("removed", "tally")];
    const found = { ...GOOD, steps, log: [oops], begins: new Map([[2, 0]]) };

    expect(judged(found)?.reasons[0]).toBe("the kernel oopsed: unloading doorbell");
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

describe("any other report than the planned one", () => {
  const VERSIONS = [SET, { ...SET, modules: [named("gong")], hasSmoke: true }];
  const PLAN = {
    tree: ["dummy"],
    sets: VERSIONS.map(({ modules, hasSmoke }) => ({ modules: modules.map(({ name }) => name), hasSmoke })),
  };
  const PLANNED = [
    `begin ${KVERSION} 0`,
    "tree dummy 0 ",
    "ready tree 0",
    "set 0 0",
    ...STEPS.map(({ verb, module }) => `${verb} ${module} 0 `),
    "done 0 12288",
    "set 1 12288",
    ...[
      "inserted gong 0 ",
      "smoke script 0 fine",
      "removed gong 0 ",
      "reinserted gong 0 ",
      "reremoved gong 0 ",
    ],
    "done 1 12288",
    "end",
  ];
  const verdictsOf = (lines: readonly string[]) => {
    const report = readGuestReport(lines.map((line) => `@5ec2e7 ${line}\n`).join(""), "5ec2e7", PLAN);
    return VERSIONS.map(
      (set, index) => judgeSet(set, report.sets.get(index), report, BOOT, KVERSION)?.verdict,
    );
  };
  const place = fc.nat({ max: PLANNED.length - 1 });
  const change = fc.oneof(
    place.map((at) => (lines: string[]) => lines.toSpliced(at, 1)),
    place.map((at) => (lines: string[]) => lines.toSpliced(at, 0, lines[at] ?? "end")),
    fc.tuple(place, place).map(([one, other]) => (lines: string[]) => {
      const [a, b] = [lines[one], lines[other]];
      return a === undefined || b === undefined ? lines : lines.with(one, b).with(other, a);
    }),
    fc
      .tuple(
        place,
        fc.oneof(fc.constantFrom(...PLANNED, "set 2 0", "hung inserted tally", "log x"), fc.string()),
      )
      .map(
        ([at, line]) =>
          (lines: string[]) =>
            lines.toSpliced(at, 0, line.replaceAll("\n", " ")),
      ),
  );
  const isMessage = (line: string) => line.startsWith("log ");

  test("passes no set of which it says anything else", () => {
    expect(verdictsOf(PLANNED)).toEqual(["pass", "pass"]);
    const ends = [PLANNED.indexOf("done 0 12288"), PLANNED.indexOf("done 1 12288")] as const;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const lines = changes.reduce((all, one) => one(all), PLANNED);
        // Messages may come wherever the kernel has something to say.
        const said = lines.filter((line) => !isMessage(line));
        const isPlanned = said.join("\n") === PLANNED.join("\n");

        const verdicts = verdictsOf(lines);

        for (const [index, end] of ends.entries()) {
          if (verdicts[index] !== "pass" || isPlanned) continue;
          // A kernel may die in a later set; up to there and one line on, all was as planned, and no end was reached.
          expect(said.slice(0, end + 2)).toEqual(PLANNED.slice(0, end + 2));
          expect(verdicts.at(-1)).not.toBe("pass");
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("passes nothing when the only set's report has any line less, more or elsewhere", () => {
    const plan = { tree: [], sets: [{ modules: ["gong"], hasSmoke: false }] };
    const steps = ["inserted", "removed", "reinserted", "reremoved"].map((verb) => `${verb} gong 0 `);
    const planned = [`begin ${KVERSION} 0`, "ready tree 0", "set 0 0", ...steps, "done 0 0", "end"];
    const passes = (lines: readonly string[]) => {
      const report = readGuestReport(lines.map((line) => `@5ec2e7 ${line}\n`).join(""), "5ec2e7", plan);
      const set = { ...SET, modules: [named("gong")] };
      return judgeSet(set, report.sets.get(0), report, BOOT, KVERSION)?.verdict === "pass";
    };

    expect(passes(planned)).toBe(true);
    for (const [at] of planned.entries()) {
      expect(passes(planned.toSpliced(at, 1))).toBe(false);
      for (const line of planned) expect(passes(planned.toSpliced(at, 0, line))).toBe(false);
      for (const [other] of planned.entries())
        if (other !== at)
          expect(passes(planned.with(at, planned[other] ?? "").with(other, planned[at] ?? ""))).toBe(false);
    }
    for (const line of planned) expect(passes([...planned, line])).toBe(false);
  });
});
