/**
 * The cache: within its limit after a run, and not needed by who shares the store, which alone is the farm's state.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  ALL_DONE,
  CLOUD,
  cli,
  copyDriver,
  DOORBELL,
  leftovers,
  SAME_FOR_EVERYBODY,
  type TestFarm,
  treeDigests,
  useFarms,
} from "../support/e2e-farm.ts";
import type { TestMirror } from "../support/e2e-mirror.ts";

const farms = useFarms();
const X86 = { ...CLOUD, architectures: ["x86_64"] };
let mirror: TestMirror;

beforeAll(async () => {
  mirror = await farms.mirror();
});

describe("a cache with a limit", () => {
  let farm: TestFarm;

  beforeAll(async () => {
    farm = await farms.farm({
      mirror,
      select: X86,
      cacheLimit: "64K",
      warm: [...SAME_FOR_EVERYBODY, "loads"],
    });
  });

  it("is within it after a run, which works all the same", async () => {
    const { exitCode, stdout, stderr } = await farm.cli("run");

    expect(exitCode, stderr).toBe(0);
    expect(stdout).toMatch(/1 stable, 0 candidates, 0 failed, 1 of them new/);
    expect(stderr).toMatch(/^[\d:]{8} cache: \d+ entries removed, [\d.]+ \w+ freed, [\d.]+ \w+ left$/m);
    expect(await sizeOf(farm)).toBeLessThanOrEqual(64 * 1024);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("is not needed by a run that has nothing to do", async () => {
    mirror.forget();

    const { exitCode, stdout } = await farm.cli("run");

    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/1 stable, 0 candidates, 0 failed, 0 of them new/);
    expect(mirror.asked.filter(({ path }) => !path.includes("/dists/"))).toEqual([]);
  });

  it("gets smaller when told, and says what it holds", async () => {
    const pruned = await farm.cli("cache", "prune", "--limit", "1");
    const listed = await farm.cli("cache");

    expect(pruned.stdout).toMatch(/^\d+ entr(?:y|ies) removed, .* freed; .* left\.$/m);
    expect(listed.stdout).toMatch(/0 entries, 0 B, limit 64\.0 KiB/);
  });
});

describe("a second machine with the same store", () => {
  let first: TestFarm;
  let second: TestFarm;
  const onSecond = (...argv: string[]) =>
    cli([...argv, "--config", second.config, "--store", first.store], { cwd: second.directory });

  beforeAll(async () => {
    const drivers = [DOORBELL, { ...DOORBELL, name: "broken", source: "broken", versions: ["1.0.0"] }];
    first = await farms.farm({ mirror, select: X86, drivers, warm: ALL_DONE });
    second = await farms.farm({ mirror, select: X86, drivers, warm: [] });
    for (const farm of [first, second]) await makeBroken(farm);
  });

  it("builds nothing and asks for nothing but the catalog, nor tries what failed again", {
    tags: ["wide"],
  }, async () => {
    const before = await first.cli("run");
    expect(before.stdout).toMatch(/1 stable, 0 candidates, 1 failed, 2 of them new/);
    const store = await treeDigests(first.store);
    mirror.forget();

    const { exitCode, stdout, stderr } = await onSecond("run");

    expect(exitCode, stderr).toBe(1);
    expect(stdout).toMatch(/1 stable, 0 candidates, 1 failed, 0 of them new/);
    expect(stdout).toMatch(
      /atomic64_ad_return[\s\S]*not tried again|not tried again[\s\S]*atomic64_ad_return/,
    );
    expect(mirror.asked.filter(({ path }) => !path.includes("/dists/"))).toEqual([]);
    expect([...(await treeDigests(first.store))]).toEqual([...store]);
  });
});

async function makeBroken(farm: TestFarm): Promise<void> {
  await copyDriver(join(farm.directory, "broken"));
  await replaceIn(join(farm.directory, "broken", "tally.c"), "atomic64_add_return(", "atomic64_ad_return(");
}

async function replaceIn(file: string, before: string, after: string): Promise<void> {
  const text = await readFile(file, "utf8");
  if (!text.includes(before)) throw new Error(`${file} does not say ${before}`);
  await writeFile(file, text.replace(before, after));
}

async function sizeOf(farm: TestFarm): Promise<number> {
  const { stdout } = await farm.cli("cache", "--json");
  const { entries } = JSON.parse(stdout) as { entries: { sizeBytes: number }[] };
  return entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
