/**
 * The long version of the kill test: from an empty cache, so that the toolchain is bootstrapped too, and more
 * moments of a run that finds one.
 */
import { readFile } from "node:fs/promises";
import { beforeAll, expect, it } from "vitest";
import { type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { killRun, moments, recover, startAnew, undisturbed } from "../support/e2e-kill.ts";

const SEED = Number(process.env.KMODFARM_SEED ?? 20221124);

const farms = useFarms();
let calm: Awaited<ReturnType<typeof undisturbed>>;
let warm: TestFarm;

beforeAll(async () => {
  warm = await farms.farm({ mirror: await farms.mirror() });
  calm = await undisturbed(warm);
});

it("killed at 5 moments of its first run, the toolchain's bootstrap among them", async () => {
  const farm = await farms.farm({ mirror: await farms.mirror(), warm: [] });
  const cold = await undisturbed(farm);
  expect(cold.content).toEqual(calm.content);
  const programs = new Set<string>();
  for (const atMs of moments(5, cold.durationMs * 0.9, SEED)) {
    await startAnew(farm);
    await farm.forget("roots", "inputs", "trees", "boot");

    const kill = await killRun(farm, atMs);
    const mounts = await readFile("/proc/self/mountinfo", "utf8");
    const after = await recover(farm);

    const moment = `killed after ${atMs} ms (seed ${SEED}) while ${kill.programs.join(", ")} ran`;
    expect(kill.survivors, moment).toEqual([]);
    expect(mounts, moment).not.toContain(farm.directory);
    expect(after, moment).toEqual({ exitCode: 0, said: "", content: calm.content, leftovers: [] });
    for (const program of kill.programs) programs.add(program);
  }
  expect([...programs].join(" ")).toMatch(/apt-get/);
}, 1_200_000);

it("killed again and again before it ever ends", async () => {
  for (const [round, base] of [1, 2, 3].entries()) {
    await startAnew(warm);
    for (const atMs of moments(8, calm.durationMs, SEED + base)) {
      const kill = await killRun(warm, atMs);
      expect(kill.survivors, `round ${round}, after ${atMs} ms`).toEqual([]);
    }

    const after = await recover(warm);

    expect(after).toEqual({ exitCode: 0, said: "", content: calm.content, leftovers: [] });
  }
}, 1_200_000);
