/**
 * A driver's own repository on GitHub Actions: what `kmodfarm github try` writes, run with the real command line for a
 * change that is good and one that is not.
 */
import { globSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { ALL_DONE, cli, copyDriver, sharedElement, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { runWorkflow, type WorkflowRun } from "../support/workflow-runner.ts";

/** Also where others use the machine. */
const LIMIT_MS = 15 * 60_000;
const BROKEN = "static int __init tally_init(void)\n{\n\treturn nonsense();\n}\n";

const farms = useFarms();
let farm: TestFarm;
let repository: string;

beforeAll(async () => {
  const mirror = await farms.mirror();
  farm = await farms.farm({ mirror, warm: ALL_DONE });
  repository = join(farm.directory, "repository");
  await mkdir(repository);
  await copyDriver(join(repository, "driver"));
  const { kversion } = await sharedElement("x86_64");
  const config = {
    sources: [{ kind: "apt", releases: ["debian12"], mirror: mirror.main, securityMirror: mirror.security }],
    select: { architectures: ["x86_64"], kernelRelease: kversion.replaceAll(/[.+]/g, "\\$&") },
    privateHosts: ["127.0.0.1"],
  };
  await writeFile(join(repository, "kmodfarm.yaml"), JSON.stringify(config));
  const written = await cli(["github", "try", "driver"], { cwd: repository });
  expect(written.exitCode, written.stderr).toBe(0);
});

/** The farm's toolchains are there already: what a runner's cache brings is looked at by itself. */
function run(): Promise<WorkflowRun> {
  return runWorkflow(
    { repository, place: join(farm.directory, "actions"), prepare: () => {} },
    ".github/workflows/kmodfarm-try.yml",
  );
}

it(
  "is green for a good change, red for a bad one with the guilty line, and makes toolchains once",
  async () => {
    const good = await run();
    const source = join(repository, "driver", "tally.c");
    const text = await readFile(source, "utf8");
    await writeFile(source, `${BROKEN}${text}`);
    const bad = await run();

    const [first, second] = [good, bad].map(({ jobs }) => jobs[0]);
    expect(first?.result, first?.log).toBe("success");
    expect(first?.summary).toMatch(/^## kmodfarm try\n\n1 of 1 kernel&#58; built and loaded/);
    expect(second?.result, second?.log).toBe("failure");
    expect(second?.log).toMatch(/^::error file=driver\/tally\.c,line=\d+,title=kmodfarm%3A 1 kernel::/m);
    expect(second?.summary).toMatch(/### Failures\n\n\| driver \| kernels \|/);
    // What the first run kept was there for the second, which made nothing that is not in it.
    const kept = globSync("*", { cwd: join(farm.directory, "actions", "caches") });
    expect(kept).toHaveLength(1);
  },
  LIMIT_MS,
);
