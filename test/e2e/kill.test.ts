/**
 * A farm that is killed, stopped or run twice at once publishes the same as one that nobody disturbs.
 */

import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  ALL_DONE,
  CLOUD,
  leftovers,
  readGeneration,
  readStable,
  SAME_FOR_EVERYBODY,
  sharedElement,
  stableContent,
  type TestFarm,
  useFarms,
} from "../support/e2e-farm.ts";
import {
  descendants,
  killRun,
  randomFrom,
  recover,
  startAnew,
  survivors,
  undisturbed,
  waitFor,
} from "../support/e2e-kill.ts";
import type { TestMirror } from "../support/e2e-mirror.ts";

/** Another series of moments: KMODFARM_SEED=7. */
const SEED = Number(process.env.KMODFARM_SEED ?? 20221124);
const X86 = { ...CLOUD, architectures: ["x86_64"] };

const farms = useFarms();
let mirror: TestMirror;
let farm: TestFarm;
let calm: Awaited<ReturnType<typeof undisturbed>>;

beforeAll(async () => {
  mirror = await farms.mirror();
  farm = await farms.farm({ mirror });
  calm = await undisturbed(farm);
});

describe("kill -9", () => {
  // The moments that matter are chosen by what runs then, because a time says nothing on a machine of another speed.
  const WORDS = "%s: its children end with it, and the next run ends as if nothing had been";
  const isMadeGood = async (_: string, moment: number | RegExp) => {
    expect(calm.content).toHaveLength(2);
    await startAnew(farm);

    const kill = await killRun(farm, typeof moment === "number" ? moment * calm.durationMs : moment);
    const after = await recover(farm);

    const seen = `killed after ${kill.atMs} ms (seed ${SEED}) while ${kill.programs.join(", ")} ran`;
    expect(kill.wasRunning, seen).toBe(true);
    if (moment instanceof RegExp) expect(kill.programs, seen).toContainEqual(expect.stringMatching(moment));
    expect(kill.survivors, seen).toEqual([]);
    expect(after, seen).toEqual({ exitCode: 0, said: "", content: calm.content, leftovers: [] });
  };

  it.each([["while a compiler runs", /^cc1/]] as const)(WORDS, isMadeGood, 300_000);
  it.each<[string, number | RegExp]>([
    ["in the first half of a run", randomFrom(SEED)() / 2],
    ["while a guest runs", /^qemu-system/],
  ])(WORDS, { tags: ["wide"], timeout: 300_000 }, isMadeGood);
});

describe("Ctrl-C", () => {
  it("while something is built: exit 130, says so, leaves nothing behind, and the next run goes on", async () => {
    // What was seen to load stays known: nothing here is about a boot.
    await startAnew(farm, ["attempts", "unfinished"]);
    const running = farm.start("run");
    const isBuilding = async () => (await descendants(running.pid)).some(({ name }) => /cc1|make/.test(name));
    await waitFor(isBuilding, "a compiler runs");
    const children = await descendants(running.pid);

    running.kill("SIGINT");
    const { exitCode, stderr } = await running.ended;

    expect(exitCode).toBe(130);
    expect(stderr).toMatch(/kmodfarm: stopped; the results of \d+ elements of this run are kept/);
    expect(stderr).toMatch(/run the same command again, and it continues from here\. \[INTERRUPTED\]/);
    expect(children.length).toBeGreaterThan(0);
    expect(await survivors(farm, children)).toEqual([]);
    expect(await leftovers(farm)).toEqual([]);
    expect(await recover(farm)).toEqual({ exitCode: 0, said: "", content: calm.content, leftovers: [] });
  });

  it("while a mirror is asked: exit 130 at once, nothing left behind", async () => {
    await startAnew(farm);
    mirror.misbehave({ match: /InRelease$/, kind: "slow" });
    mirror.forget();
    const running = farm.start("run");
    await waitFor(async () => mirror.asked.length > 0, "the mirror is asked");

    running.kill("SIGINT");
    const { exitCode, stderr } = await running.ended;
    mirror.behave();

    expect(exitCode).toBe(130);
    expect(stderr).toMatch(/\[INTERRUPTED\]/);
    expect(await leftovers(farm)).toEqual([]);
  });
});

describe("a second farm on the same store", () => {
  it("runs, updates and reads while the first one builds, and nothing of either is lost", async () => {
    const busy = await farms.farm({ mirror, select: X86 });
    const first = busy.start("run");
    const isBuilding = async () => (await descendants(first.pid)).some(({ name }) => /cc1|make/.test(name));
    await waitFor(isBuilding, "a compiler runs");

    const others = await Promise.all([
      busy.cli("run"),
      busy.cli("catalog", "update"),
      busy.cli("catalog", "list"),
    ]);

    for (const { exitCode, stdout, stderr } of [...others, await first.ended])
      expect(exitCode, `${stdout}${stderr}`).toBe(0);
    const content = await stableContent(busy.store);
    expect(content).toHaveLength(1);
    expect(calm.content).toEqual(expect.arrayContaining(content));
    expect(await leftovers(busy)).toEqual([]);
  });

  it("withdraws what the first one published, while that goes on building", { tags: ["wide"] }, async () => {
    const busy = await farms.farm({ mirror, select: X86, warm: ALL_DONE });
    await busy.cli("run");
    const [before] = await readStable(busy.store);
    await appendFile(join(busy.driver, "doorbell.c"), "/* another one */\n");
    const first = busy.start("run");
    const isBuilding = async () => (await descendants(first.pid)).some(({ name }) => /cc1|make/.test(name));
    await waitFor(isBuilding, "a compiler runs");

    const taken = await busy.cli("withdraw", before?.kversion ?? "", "--why", "it panics", "--by", "ann");
    const stillBuilds = await isBuilding();
    const ended = await first.ended;

    expect(taken.exitCode, taken.stderr).toBe(0);
    expect(taken.stdout).toContain("withdrawn");
    expect(stillBuilds).toBe(true);
    expect(ended.exitCode, `${ended.stdout}${ended.stderr}`).toBe(0);
    const decided = [...(await readGeneration(busy.store))].filter(([name]) => name.startsWith("decisions/"));
    expect(decided.map(([, text]) => text).join()).toContain("it panics");
    expect(await leftovers(busy)).toEqual([]);
  });

  it("may read and end while the first waits for its mirror, and takes nothing away from it", {
    tags: ["wide"],
  }, async () => {
    const header = (await sharedElement("x86_64")).packages.headers[0];
    const waiting = await farms.farm({ mirror, select: X86, warm: [...SAME_FOR_EVERYBODY, "loads"] });
    await waiting.lose(header);
    const file = header.path.split("/").at(-1) ?? "";
    mirror.misbehave({ match: { test: (path) => path.endsWith(file) }, kind: "silent" });
    const first = waiting.start("run");
    await waitFor(async () => mirror.misdeeds > 0, "the mirror is asked");

    const { exitCode, stderr } = await waiting.cli("catalog", "list");
    mirror.behave();

    expect(exitCode, stderr).toBe(0);
    const ended = await first.ended;
    expect(ended.exitCode, `${ended.stdout}${ended.stderr}`).toBe(0);
    expect(await stableContent(waiting.store)).toHaveLength(1);
    expect(await leftovers(waiting)).toEqual([]);
  });
});
