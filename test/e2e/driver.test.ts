import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { parseConfig } from "../../src/farm/config/index.ts";
import { ALL_DONE, cli, copyDriver, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const BROKEN = "static int __init tally_init(void)\n{\n\treturn nonsense();\n";

async function driverIn(directory: string): Promise<string> {
  const place = join(directory, "own");
  await copyDriver(place);
  return place;
}

describe("kmodfarm init", () => {
  it("writes what a farm can read, once, and nothing where there is no driver", async () => {
    const place = await driverIn(await temporaryDirectory());
    const empty = await temporaryDirectory();

    const first = await cli(["init", place, "--yes"]);
    const again = await cli(["init", place, "--yes", "--name", "other"]);
    const none = await cli(["init", empty, "--yes"]);

    expect(first.exitCode, first.stderr).toBe(0);
    const file = join(place, "kmodfarm.yaml");
    const text = await readFile(file, "utf8");
    expect(parseConfig(text, file).drivers).toMatchObject([{ source: ".", modules: ["tally", "doorbell"] }]);
    expect([again.exitCode, none.exitCode]).toEqual([2, 2]);
    expect(again.stderr).toContain("there is a configuration already");
    expect(text).not.toContain("other");
    expect(await readdir(empty)).toEqual([]);
  });
});

describe("kmodfarm try", () => {
  const farms = useFarms();
  let farm: TestFarm;

  beforeAll(async () => {
    farm = await farms.farm({ mirror: await farms.mirror(), warm: ALL_DONE });
  });

  it("builds and loads a driver as it lies there, publishes nothing, and names the guilty line", async () => {
    const place = await driverIn(farm.directory);
    const argv = ["try", place, "--config", farm.config, "--arch", "x86_64", "--kernels", "1"];

    const good = await cli([...argv, "--json"]);
    const source = join(place, "tally.c");
    const text = await readFile(source, "utf8");
    await writeFile(source, `${BROKEN}}\n${text}`);
    const bad = await cli(argv, { env: { GITHUB_ACTIONS: "true" } });

    expect(good.exitCode, good.stderr).toBe(0);
    expect(JSON.parse(good.stdout)).toMatchObject({
      schema: "kmodfarm.try/1",
      kernels: [{ architecture: "x86_64", built: true, loaded: "pass" }],
    });
    expect(bad.exitCode, bad.stdout).toBe(1);
    expect(bad.stdout).toMatch(/0 of 1 kernel built and loaded; 1 failed/);
    expect(bad.stderr).toMatch(/^::error file=\S*tally\.c,line=1,title=tally%3A 1 kernel::/m);
    expect(existsSync(farm.store)).toBe(false);
  });

  it("asks no sources of releases that it is not to try", async () => {
    const place = await driverIn(farm.directory);
    const dead = "http://127.0.0.1:9";
    const settings = parse(await readFile(farm.config, "utf8"));
    settings.sources.push({ kind: "apt", releases: ["debian13"], mirror: dead, securityMirror: dead });
    const config = join(farm.directory, "two-releases.yaml");
    await writeFile(config, stringify(settings));
    const argv = ["try", place, "--config", config, "--arch", "x86_64", "--kernels", "1"];

    const { exitCode, stdout, stderr } = await cli([...argv, "--distro", "debian12"]);

    expect(exitCode, stdout + stderr).toBe(0);
  });

  it("leaves a run with the same cache to publish what it built, with all that a rebuild needs", async () => {
    // A try archives nothing, and a build that is found finished fetches nothing.
    await farm.forget("inputs");

    const run = await farm.cli("run", "--arch", "x86_64");
    const verified = await cli(["verify", farm.store]);

    expect(run.exitCode, run.stdout + run.stderr).toBe(0);
    expect(verified.exitCode, verified.stdout + verified.stderr).toBe(0);
  });
});
