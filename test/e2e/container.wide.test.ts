/** images/kmodfarm really built, and a farm run in it: what comes out is what the farm makes outside of it. */
import { execFileSync } from "node:child_process";
import { cp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunResult, run } from "../../src/base/run.ts";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { readStable, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { CHECKOUT, TEST_CACHE } from "../support/e2e-mirror.ts";
import { sharedDirectory } from "../support/temporary.ts";

const [BASE, IMAGE] = ["localhost/kmodfarm-test-base:bookworm", "localhost/kmodfarm-test-farm"];
const LIMITS = ["--ulimit", "nofile=16384:16384", "--ulimit", "nproc=32768:32768"];
const TIMEOUT_MS = 3_000_000;
const farms = useFarms();

async function podman(...argv: string[]): Promise<RunResult> {
  const env = { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: "/root" };
  return run(["podman", ...argv], { env, timeoutMs: TIMEOUT_MS });
}

describe("the image of kmodfarm", () => {
  const context = sharedDirectory();
  let farm: TestFarm;

  /** kmodfarm in the image, where the farm's directory is /farm and everything else is as docs/container.md has it. */
  const inContainer = (...argv: string[]) =>
    podman(
      // Without them podman asks for its own defaults, which are above what a machine may have that may not raise limits.
      ...["run", "--rm", "--privileged", "--network", "host", "--runtime", "runc", ...LIMITS],
      ...["--volume", `${farm.directory}:/farm`, "--volume", `${TEST_CACHE}:${TEST_CACHE}`],
      ...["--volume", `${farm.store}:/store`, "--volume", `${farm.cache}:/cache`, IMAGE, ...argv],
    );

  beforeAll(async () => {
    farm = await farms.farm({ mirror: await farms.mirror() });
    const base = join(context, "base.tar");
    const { main = debian.mirrors.main } = await readHostMirrors();
    const made = await run(["mmdebstrap", "--quiet", "--variant=apt", "bookworm", base, main], {
      timeoutMs: TIMEOUT_MS,
    });
    expect(made.exitCode, made.stderr).toBe(0);
    expect((await podman("import", "--quiet", base, BASE)).exitCode).toBe(0);
    await rm(base);
    await cp(join(CHECKOUT, "images/kmodfarm"), context, { recursive: true });
    execFileSync("npm", ["pack", "--pack-destination", context], { cwd: CHECKOUT, stdio: "pipe" });
    // A machine whose way to npm has an authority of its own.
    const authority = process.env.NODE_EXTRA_CA_CERTS;
    const trusting =
      authority === undefined
        ? []
        : [
            "--volume",
            `${authority}:/tmp/authority.pem:ro`,
            "--env",
            "NODE_EXTRA_CA_CERTS=/tmp/authority.pem",
          ];
    const built = await podman(
      ...["build", "--isolation", "chroot", "--runtime", "runc", "--quiet", "--build-arg", `BASE=${BASE}`],
      ...[...trusting, "--tag", IMAGE, context],
    );
    expect(built.exitCode, built.stderr).toBe(0);
    for (const place of [farm.store, farm.cache]) await mkdir(place, { recursive: true });
  });
  afterAll(async () => {
    await podman("rmi", "--force", IMAGE, BASE);
  });

  it("has all that a farm needs", async () => {
    const { stdout, stderr } = await inContainer("doctor", "--store", "/store", "--cache", "/cache");

    expect(stdout, stderr).toMatch(/^ok +sandbox bwrap/m);
    // Of sandboxes that are not chosen it says what they would need.
    expect(stdout).not.toMatch(/^PROBLEM/m);
    expect(stdout).toMatch(/No problems/);
  });

  it("runs, publishes to its volume, and has nothing to do the second time", async () => {
    const first = await inContainer();
    const second = await inContainer();

    expect(first.exitCode, first.stdout + first.stderr).toBe(0);
    expect(second.stdout, second.stderr).toMatch(/2 stable, 0 candidates, 0 failed/);
    expect((await readStable(farm.store)).map(({ architecture }) => architecture).toSorted()).toEqual([
      "aarch64",
      "x86_64",
    ]);
    // The same farm outside of it finds all of it done.
    const outside = await farm.cli("run", "--dry-run");
    expect(outside.stdout, outside.stderr).toMatch(/Nothing would be built/);
  });
});
