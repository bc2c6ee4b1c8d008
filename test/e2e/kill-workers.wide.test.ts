/**
 * `plan`, `work`, `take` and `watch`, killed at random moments and on a disk that is full: nothing is lost, and whoever
 * does the same again ends where an undisturbed farm does.
 */
import { cp, mkdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import {
  CLOUD,
  type CliResult,
  leftovers,
  type RunningCli,
  stableContent,
  startCli,
  type TestFarm,
  useFarms,
} from "../support/e2e-farm.ts";
import { killRun, moments, recover, startAnew } from "../support/e2e-kill.ts";
import type { TestMirror } from "../support/e2e-mirror.ts";
import { mountSmall, resizeSmall } from "../support/small-disk.ts";

/** Another series of moments: KMODFARM_SEED=7; more of them: KMODFARM_KILLS=10. */
const SEED = Number(process.env.KMODFARM_SEED ?? 20221124);
const KILLS = Number(process.env.KMODFARM_KILLS ?? 3);
const X86 = { ...CLOUD, architectures: ["x86_64"] };
const MIB = 1024 ** 2;

const farms = useFarms();
let mirror: TestMirror;
let calm: { readonly content: readonly string[]; readonly durationsMs: readonly number[] };

type Step = (farm: TestFarm) => RunningCli;

/** A worker is another machine: it has a cache of its own, and nothing of the farm. */
const STEPS: readonly (readonly [name: string, start: Step])[] = [
  ["plan", (farm) => farm.start("plan", "--out", "orders", "--with-packages")],
  [
    "work",
    ({ directory }) =>
      startCli(["work", "../orders", "--out", "../done", "--cache", "cache"], {
        cwd: join(directory, "worker"),
      }),
  ],
  ["take", (farm) => farm.start("take", "done")],
];

beforeAll(async () => {
  mirror = await farms.mirror();
  const farm = await newFarm();
  const durationsMs: number[] = [];
  for (const [name, start] of STEPS) {
    const started = performance.now();
    expectDone(name, await start(farm).ended);
    durationsMs.push(performance.now() - started);
  }
  calm = { content: await stableContent(farm.store), durationsMs };
  expect(calm.content).toHaveLength(1);
});

async function newFarm(): Promise<TestFarm> {
  const farm = await farms.farm({ mirror, select: X86 });
  await mkdir(join(farm.directory, "worker"));
  return farm;
}

function expectDone(name: string, { exitCode, stdout, stderr }: CliResult): void {
  expect(exitCode, `${name}: ${stdout}${stderr}`).toBe(0);
}

async function expectConverged(farm: TestFarm, what: string): Promise<void> {
  expect(await stableContent(farm.store), what).toEqual(calm.content);
  expect(await leftovers(farm), what).toEqual([]);
}

describe("kill -9", () => {
  it(`at ${KILLS} moments of each of plan, work and take`, async () => {
    const farm = await newFarm();
    const planned = calm.durationsMs.map((ms, index) => moments(KILLS, ms, SEED + index));
    for (let round = 0; round < KILLS; round++) {
      await startAnew(farm);
      for (const place of ["orders", "done", "worker/cache"])
        await rm(join(farm.directory, place), { recursive: true, force: true });
      for (const [index, [name, start]] of STEPS.entries()) {
        const atMs = planned[index]?.[round] as number;
        const kill = await killRun(farm, atMs, start);
        expect(kill.survivors, `${name} killed after ${atMs} ms (seed ${SEED})`).toEqual([]);
        expectDone(`${name} after it was killed after ${atMs} ms (seed ${SEED})`, await start(farm).ended);
      }
      await expectConverged(farm, `round ${round} (seed ${SEED})`);
    }
  });

  it(`at ${KILLS} moments of watch`, async () => {
    const farm = await newFarm();
    // Long enough to build, boot and publish, and to wait for news then.
    const lastMs = calm.durationsMs.reduce((sum, one) => sum + one, 0);
    for (const atMs of moments(KILLS, lastMs, SEED)) {
      await startAnew(farm);
      const kill = await killRun(farm, atMs, () => farm.start("watch"));
      const after = await recover(farm);
      const moment = `killed after ${atMs} ms (seed ${SEED})`;
      expect(kill.survivors, moment).toEqual([]);
      expect(after, moment).toEqual({ exitCode: 0, said: "", content: calm.content, leftovers: [] });
    }
  });
});

describe("a full disk", () => {
  /** What is left of it when the step begins. */
  const LEFT: readonly number[] = [0, 8 * MIB];
  const FULL = /\[DISK_FULL\]|no space left|No space left/;

  it.each(LEFT)("with %i bytes left, at each of plan, work and take", async (left) => {
    const farm = await newFarm();
    const disk = await onDiskOfItsOwn(farm);
    for (const [name, start] of STEPS) {
      await disk.leave(left);
      const { exitCode, stdout, stderr } = await start(farm).ended;
      const said = `${name}: ${stdout}${stderr}`;
      // Where so little is enough, it was done.
      if (exitCode !== 0) expect(said).toMatch(FULL);
      expect(said).not.toMatch(/\[BUG\]/);
      await disk.grow();
      expectDone(`${name} with room again`, await start(farm).ended);
    }
    await expectConverged(farm, `${left} bytes were left`);
  });

  it("while a farm watches: nothing is lost, and it goes on when there is room", async () => {
    const farm = await newFarm();
    const disk = await onDiskOfItsOwn(farm);
    await disk.leave(0);
    const watching = farm.start("watch");
    // It may say so, or have nothing to write for a while.
    await Promise.race([watching.said(FULL), watching.ended, sleep(60_000)]);
    await disk.grow();
    watching.kill("SIGTERM");
    const { stderr } = await watching.ended;

    expect(stderr).not.toMatch(/\[BUG\]/);
    expect(await recover(farm)).toEqual({ exitCode: 0, said: "", content: calm.content, leftovers: [] });
  });
});

/** Moves a farm to a file system in memory, whose room can be made less and more. */
async function onDiskOfItsOwn({ directory }: TestFarm) {
  const copy = `${directory}-copy`;
  await cp(directory, copy, { recursive: true, verbatimSymlinks: true });
  onTestFinished(() => rm(copy, { recursive: true, force: true }));
  await mountSmall(directory, 8 * 1024 * MIB);
  await cp(copy, directory, { recursive: true, verbatimSymlinks: true });
  const resize = (bytes: number) => resizeSmall(directory, bytes);
  return {
    async leave(bytes: number): Promise<void> {
      const { blocks, bfree, bsize } = await statfs(directory);
      await resize((blocks - bfree) * bsize + bytes);
    },
    grow: () => resize(8 * 1024 * MIB),
  };
}
