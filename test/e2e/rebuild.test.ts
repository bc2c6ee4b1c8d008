/**
 * The same recipe built again elsewhere: equal for a driver that minds its own business, and told apart, with the
 * cause, for one that looks around.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { ModuleComparison } from "../../src/check/compare-modules.ts";
import {
  ALL_DONE,
  CLOUD,
  DOORBELL,
  readGeneration,
  readIndices,
  type TestFarm,
  treeDigests,
  useFarms,
} from "../support/e2e-farm.ts";

const farms = useFarms();
let farm: TestFarm;

/** One module for each way of telling where it was built. */
const SINS: Readonly<Record<string, readonly [value: string, cause: RegExp]>> = {
  place: ['"$(abspath $(src))"', /^the build directory/],
  host: ['"built on $(shell hostname)"', /^the name of the machine/],
  user: ['"built by $(shell id -u)"', /^the user who built it/],
  clock: ['"built at $(shell date +%s)"', /^a date or a time/],
  chance: ['"$(shell cat /proc/sys/kernel/random/uuid)"', /^a random value/],
  number: ["$(JOBS)", /^the code itself/],
};

beforeAll(async () => {
  const mirror = await farms.mirror();
  const restless = { name: "restless", source: "restless", versions: ["1.0.0"] };
  farm = await farms.farm({
    mirror,
    warm: ALL_DONE,
    drivers: [DOORBELL, restless],
    select: { ...CLOUD, architectures: ["x86_64"] },
  });
  await writeRestless(join(farm.directory, "restless"));
  expect((await farm.cli("catalog", "update")).exitCode).toBe(0);
  const { exitCode, stdout, stderr } = await farm.cli("build");
  expect(exitCode, `${stdout}${stderr}`).toBe(0);
});

describe("kmodfarm rebuild", () => {
  it("finds the example driver equal, leaves artifacts and attempts as they were, and evidence for the gate", async () => {
    const blobs = () => treeDigests(join(farm.store, "blobs"));
    const attempts = () => treeDigests(join(farm.cache, "attempts"));
    const before = [await blobs(), await attempts()] as const;

    const { exitCode, stdout, stderr } = await farm.cli("rebuild", await outputOf("doorbell"));

    expect(exitCode, `${stdout}${stderr}`).toBe(0);
    expect(stdout).toMatch(/^doorbell 0\.1\.0 \S+: equal, 2 modules, byte by byte, .*\/srv\/another\/place/);
    const after = await blobs();
    expect([...before[0]].filter(([path, digest]) => after.get(path) !== digest)).toEqual([]);
    expect(await attempts()).toEqual(before[1]);
    const { decisions } = JSON.parse((await readGeneration(farm.store)).get("decisions/0") ?? "");
    expect(decisions.at(-1)).toMatchObject({
      action: "evidence",
      artifact: { driver: "doorbell" },
      by: "kmodfarm rebuild",
      why: expect.stringMatching(/ built the same bytes again \(sha256:/),
      verdicts: [],
    });
    const found = (await readIndices(farm.store)).flatMap(({ candidate }) => candidate);
    expect(found.find(({ driver }) => driver === "doorbell")).toMatchObject({ rebuilds: [{}] });
  });

  it("tells what differs of a driver that looks around, and why", async () => {
    const { exitCode, stdout } = await farm.cli("rebuild", await outputOf("restless"), "--json");

    const report = JSON.parse(stdout) as { result: string; modules: ModuleComparison[] };
    expect(exitCode).toBe(1);
    expect(report.result).toBe("different");
    expect(report.modules.map(({ name }) => name).toSorted()).toEqual(
      [...Object.keys(SINS), "innocent"].toSorted(),
    );
    for (const { name, isEqual, isCodeEqual, causes } of report.modules) {
      const [, cause] = SINS[name] ?? [];
      expect({ name, isEqual, isCodeEqual }).toEqual({
        name,
        isEqual: cause === undefined,
        isCodeEqual: cause === undefined,
      });
      expect(causes, name).toEqual(cause === undefined ? [] : [expect.stringMatching(cause)]);
    }
  });

  it("says it to a person, from a manifest file too", { tags: ["wide"] }, async () => {
    const manifest = await manifestOf("restless");

    const { exitCode, stdout } = await farm.cli("rebuild", manifest);

    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/6 of 7 modules differ/);
    expect(stdout).toMatch(
      /place\.ko: the code or data that the kernel loads differ[\s\S]*- \.\S+: .*\/build[\s\S]*\+ \.\S+: .*\/srv\/another\/place\/build/,
    );
    expect(stdout).toMatch(/likely: the name of the machine/);
  });

  it("refuses what would be another recipe", async () => {
    const source = join(farm.directory, "restless", "common.h");
    await writeFile(source, `${await readFile(source, "utf8")}\n/* more */\n`);

    const { exitCode, stderr } = await farm.cli("rebuild", await manifestOf("restless"));

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/a different recipe here: driver differ[\s\S]*\[RECIPE_DIFFERS\]/);
  });

  it("knows no artifact of another name", async () => {
    const { exitCode, stderr } = await farm.cli("rebuild", "nothing/of/the/kind");

    expect(exitCode).toBe(2);
    expect(stderr).toContain("[ARTIFACT_UNKNOWN]");
  });
});

async function writeRestless(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const flags = Object.entries(SINS).map(([name, [value]]) => `CFLAGS_${name}.o := -DSIN='${value}'\n`);
  const modules = [...Object.keys(SINS), "innocent"];
  await writeFile(
    join(directory, "Kbuild"),
    `obj-m := ${modules.map((name) => `${name}.o`).join(" ")}\n${flags.join("")}CFLAGS_innocent.o := -DSIN='"nothing"'\n`,
  );
  await writeFile(
    join(directory, "common.h"),
    `#include <linux/module.h>
static int __init sin_init(void)
{
	WARN_ON(!THIS_MODULE);
	pr_info("%s: " FORMAT "\\n", __FILE__, SIN);
	return 0;
}
module_init(sin_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Looks around");
`,
  );
  for (const name of modules)
    await writeFile(
      join(directory, `${name}.c`),
      `#define FORMAT ${name === "number" ? '"%d"' : '"%s"'}\n#include "common.h"\n`,
    );
}

async function entryOf(driver: string) {
  const indices = await readIndices(farm.store);
  const found = indices.flatMap(({ candidate }) => candidate).find((entry) => entry.driver === driver);
  if (found === undefined) throw new Error(`there is no candidate of ${driver}`);
  return found;
}

async function outputOf(driver: string): Promise<string> {
  return `${driver}/${(await entryOf(driver)).output}`;
}

async function manifestOf(driver: string): Promise<string> {
  const hex = (await entryOf(driver)).manifest.slice("sha256:".length);
  return join(farm.store, "blobs", "sha256", hex.slice(0, 2), hex);
}
