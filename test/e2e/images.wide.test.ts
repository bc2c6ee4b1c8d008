/** The container image of a release, really built and used: the same modules as the farm's own, byte for byte. */
import { copyFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunResult, run } from "../../src/base/run.ts";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { readStable, sha256Of, sharedElement, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { CHECKOUT } from "../support/e2e-mirror.ts";

const [BASE, IMAGE] = ["localhost/kmodfarm-test-base:debian12", "localhost/kmodfarm-test:debian12"];
const RUNTIME = ["--runtime", "runc", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
const TIMEOUT_MS = 3_000_000;
const farms = useFarms();

/** podman stands in for docker, which takes the same words. */
async function podman(...argv: string[]): Promise<RunResult> {
  const env = { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: "/root" };
  return run(["podman", ...argv], { env, timeoutMs: TIMEOUT_MS });
}

describe("the image of debian12", () => {
  let farm: TestFarm;

  beforeAll(async () => {
    farm = await farms.farm({ mirror: await farms.mirror() });
    expect((await farm.cli("run")).exitCode).toBe(0);
    const base = join(farm.directory, "base.tar");
    const { main = debian.mirrors.main } = await readHostMirrors();
    const made = await run(["mmdebstrap", "--quiet", "--variant=apt", "bookworm", base, main], {
      timeoutMs: TIMEOUT_MS,
    });
    expect(made.exitCode, made.stderr).toBe(0);
    expect((await podman("import", "--quiet", base, BASE)).exitCode).toBe(0);
    await rm(base);
    const context = join(CHECKOUT, "images");
    const built = await podman(
      ...["build", "--isolation", "chroot", "--runtime", "runc", "--quiet", "--build-arg", `BASE=${BASE}`],
      ...["--tag", IMAGE, "--file", join(context, "debian12", "Dockerfile"), context],
    );
    expect(built.exitCode, built.stderr).toBe(0);
  });
  afterAll(async () => {
    await podman("rmi", "--force", IMAGE, BASE);
  });

  it("builds the modules that the farm builds, without network", async () => {
    const { kversion, packages } = await sharedElement("x86_64");
    for (const name of ["headers", "output"]) await mkdir(join(farm.directory, name), { recursive: true });
    for (const { sha256, name } of packages.headers)
      await copyFile(
        join(farm.cache, "inputs", `${sha256}.deb`),
        join(farm.directory, "headers", `${name}.deb`),
      );

    const result = await podman(
      ...["run", "--rm", "--network", "none", ...RUNTIME],
      ...[
        "--env",
        `KVERSION=${kversion}`,
        "--env",
        "DRIVER_VERSION=0.1.0",
        "--env",
        "MODULES=tally doorbell",
      ],
      ...[
        "--volume",
        `${farm.driver}:/driver:ro`,
        "--volume",
        `${join(farm.directory, "headers")}:/headers:ro`,
      ],
      ...["--volume", `${join(farm.directory, "output")}:/output`, IMAGE],
    );

    expect(result.exitCode, result.stdout + result.stderr).toBe(0);
    const stable = (await readStable(farm.store)).find(({ architecture }) => architecture === "x86_64");
    const left = await readdir(join(farm.directory, "output"), { recursive: true });
    for (const { name, digest } of stable?.modules ?? []) {
      const path = left.find((file) => file.endsWith(`${name}.ko`)) ?? "";
      expect(`sha256:${sha256Of(await readFile(join(farm.directory, "output", path)))}`, name).toBe(digest);
    }
    expect(await readFile(join(farm.directory, "output", "compiler.txt"), "utf8")).toMatch(
      /^gcc-12 \(Debian/,
    );
    expect(await readFile(join(farm.directory, "output", "packages.tsv"), "utf8")).toMatch(/^make\t/m);
  });

  it.each([
    ["no kernel", [], /which kernel\?/],
    ["nothing mounted", ["--env", "KVERSION=6.1"], /there is no \/driver/],
    ["another kernel's headers", ["--env", "KVERSION=6.1"], /not those of 6\.1/],
  ])("says what is missing: %s", async (what, argv, words) => {
    const volumes = ["driver", "headers", "output"].flatMap((name) => [
      "--volume",
      `${join(farm.directory, name)}:/${name}`,
    ]);
    const mounted = what.startsWith("another") ? volumes : [];

    const result = await podman("run", "--rm", "--network", "none", ...RUNTIME, ...mounted, ...argv, IMAGE);

    expect(result.exitCode).toBe(2);
    expect(result.stderr).toMatch(words);
  });
});
