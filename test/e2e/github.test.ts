/**
 * The night on GitHub Actions: the workflows that `kmodfarm github init` writes, run with the real command line on
 * machines that share nothing but artifacts. What it publishes is what one machine publishes.
 */
import { globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { stableContent, useFarms } from "../support/e2e-farm.ts";
import { type GithubFarm, NIGHT, useGithubFarm } from "../support/github-farm.ts";
import type { WorkflowRun } from "../support/workflow-runner.ts";

/** Also where others use the machine. */
const LIMIT_MS = 30 * 60_000;

const open = useGithubFarm(useFarms());
let farm: GithubFarm;
let first: WorkflowRun;

beforeAll(async () => {
  farm = await open();
  await farm.configure({ bullseye: ["x86_64"] });
});

const resultsOf = ({ jobs }: WorkflowRun) => jobs.map(({ name, result }) => `${name}: ${result}`).toSorted();
const logsOf = ({ jobs }: WorkflowRun) => jobs.map(({ name, log }) => `--- ${name}\n${log}`).join("");

it(
  "builds and tests in three shards what one machine publishes, bit for bit",
  async () => {
    const SHARDS = ["debian11.x86_64", "debian12.aarch64", "debian12.x86_64"].map((group) => `${group}.0-1`);

    first = await farm.run(NIGHT);

    expect(resultsOf(first), logsOf(first)).toEqual([
      ...SHARDS.map((shard) => `build ${shard}: success`),
      ...SHARDS.map((shard) => `check ${shard}: success`),
      "plan: success",
      "publish: success",
    ]);
    const alone = await farm.runAlone("alone");
    expect(alone.stdout).toMatch(/3 stable, 0 candidates, 0 failed/);
    expect(await stableContent(farm.store)).toEqual(await stableContent(join(farm.directory, "alone")));
    const summary = first.jobs.find(({ name }) => name === "publish")?.summary;
    expect(summary).toMatch(/^## kmodfarm: generation \d+\n\n3 of 3 wanted elements \(100 %\) stable\.\n/);
  },
  LIMIT_MS,
);

it(
  "starts no build in a night without news",
  async () => {
    const second = await farm.run(NIGHT);

    expect(resultsOf(second), logsOf(second)).toEqual(["plan: success", "publish: success"]);
    expect(second.jobs[1]?.log).toMatch(/3 stable, 0 candidates, 0 failed, 0 of them new/);
  },
  LIMIT_MS,
);

it("leaves nothing of a credential, and no place of a machine, in what travels", () => {
  const files = globSync("**", { cwd: first.artifacts }).map((path) => join(first.artifacts, path));
  const read = files.filter((file) => statSync(file).isFile() && statSync(file).size < 64 << 20);

  expect(read.length).toBeGreaterThan(10);
  for (const file of read) expect(readFileSync(file).includes(farm.directory), file).toBe(false);
});
