/** The night on any CI system, as deploy/ci/night.sh has it: three machines that share nothing but a directory. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, it } from "vitest";
import { readStable, stableContent, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { CHECKOUT } from "../support/e2e-mirror.ts";

const farms = useFarms();
let farm: TestFarm;
let alone: TestFarm;
/** What a CI system hands from the job that plans to the one that publishes. */
const plans = new Map<string, string>();

beforeAll(async () => {
  const mirror = await farms.mirror();
  [farm, alone] = [await farms.farm({ mirror }), await farms.farm({ mirror })];
});

/** On a machine of its own: a directory, and nothing in its environment but what the script wants. */
async function night(shared: string, machine: string, ...argv: string[]): Promise<string> {
  const place = join(farm.directory, "machines", machine);
  mkdirSync(join(place, "bin"), { recursive: true });
  symlinkSync(join(CHECKOUT, "bin", "kmodfarm"), join(place, "bin", "kmodfarm"));
  const { stdout } = await promisify(execFile)(join(CHECKOUT, "deploy", "ci", "night.sh"), argv, {
    cwd: place,
    env: {
      PATH: `${join(place, "bin")}:${process.env.PATH}`,
      ...{ HOME: place, NO_COLOR: "1", NO_PROXY: "127.0.0.1", SHARED: join(farm.directory, shared) },
      ...(/^(plan|publish)$/.test(argv[0] ?? "") ? { CONFIG: farm.config } : {}),
      WORK: "--private-host 127.0.0.1",
      PLAN: plans.get(shared) ?? "",
    },
  });
  const plan = /^sha256:[0-9a-f]{64}$/m.exec(stdout)?.[0];
  if (argv[0] === "plan" && plan !== undefined) plans.set(shared, plan);
  return stdout;
}

it("publishes what one machine publishes, bit for bit", async () => {
  expect(await night("first", "planner", "plan")).toMatch(/^2 builds and 0 load tests ordered/);
  const { shards } = JSON.parse(
    readFileSync(join(farm.directory, "first", "orders", "shards.json"), "utf8"),
  ) as { shards: { id: string }[] };

  for (const { id } of shards) {
    expect(await night("first", `builder-${id}`, "build", id)).toMatch(/^1 order carried out/);
    expect(await night("first", `tester-${id}`, "check", id)).toMatch(/^1 order carried out/);
  }

  expect(await night("first", "publisher", "publish")).toMatch(/2 stable, 0 candidates, 0 failed/);
  expect((await alone.cli("run")).stdout).toMatch(/2 stable/);
  expect(await readStable(farm.store)).toHaveLength(2);
  expect(await stableContent(farm.store)).toEqual(await stableContent(alone.store));
});

it("orders nothing in a night without news", async () => {
  expect(await night("second", "planner-2", "plan")).toMatch(
    /^No new orders\. 2 of 2 wanted elements need no work\./,
  );
  expect(await night("second", "publisher-2", "publish")).toMatch(/2 stable.*0 of them new/);
});
