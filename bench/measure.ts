/** What the measurements share: a farm of their own, time of programs, and roots for what kmodfarm is compared with. */
import { existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { run } from "../src/base/run.ts";
import { readHostMirrors } from "../src/catalog/apt-host.ts";
import { debian } from "../src/kernel/distributions/debian.ts";

/** Where measurements keep what they may need again. */
export const PLACE = resolve(".kmodfarm/bench");

export const DOORBELL = {
  name: "doorbell",
  source: resolve("examples/driver"),
  versions: ["0.1.0"],
  modules: ["tally", "doorbell"],
};

/** Runs a program to its good end; seconds and what it said. */
export async function timed(
  argv: readonly string[],
  isGood: (exitCode: number) => boolean = (exitCode) => exitCode === 0,
): Promise<{ seconds: number; stdout: string }> {
  const started = performance.now();
  const { exitCode, stdout, stderr } = await run(argv, {
    timeoutMs: 3_600_000,
    outputLimitBytes: 64 * 1024 * 1024,
  });
  const seconds = (performance.now() - started) / 1000;
  if (!isGood(exitCode))
    throw new Error(`${argv.join(" ").slice(0, 300)}: ${(stdout + stderr).slice(-2000)}`);
  return { seconds, stdout };
}

/** A farm with its catalog, and nothing built. `mostExitCode` is 1 for drivers that are not for every kernel. */
export async function catalogFarm(name: string, settings: object, mostExitCode = 0) {
  const config = join(PLACE, `${name}.yaml`);
  await mkdir(PLACE, { recursive: true });
  await writeFile(config, JSON.stringify({ ...settings, store: `${name}-store`, cache: "cache" }, null, 2));
  const kmodfarm = (...argv: string[]) =>
    timed([resolve("bin/kmodfarm"), ...argv, "--config", config], (exitCode) => exitCode <= mostExitCode);
  console.error("preparing: catalog");
  await kmodfarm("catalog", "update");
  return { config, kmodfarm, store: join(PLACE, `${name}-store`), cache: join(PLACE, "cache") };
}

/** A farm that has built everything once, with its toolchains, inputs and catalog. */
export async function prepareFarm(...[name, settings, mostExitCode]: Parameters<typeof catalogFarm>) {
  const farm = await catalogFarm(name, settings, mostExitCode);
  console.error("preparing: toolchains, headers");
  await farm.kmodfarm("build");
  return farm;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** `12.3 s (11.9 to 14.0)` */
export function spread(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return `${median(values).toFixed(2)} s (${least.toFixed(2)} to ${most.toFixed(2)})`;
}

/** A root of Debian 12 with apt, its indices, and some packages: what a container image for the purpose holds. */
export async function debianRoot(name: string, packages: readonly string[]): Promise<string> {
  const place = join(PLACE, name);
  if (existsSync(place)) return place;
  const { main = debian.mirrors.main, security = debian.mirrors.security } = await readHostMirrors();
  // All that the catalog has kernels from.
  const suites = debian.releases.find(({ key }) => key === "debian12")?.suites ?? [];
  const sources = suites.map(
    ({ name, archive }) => `deb ${archive === "security" ? security : main} ${name} main`,
  );
  const temporary = `${place}.part`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(PLACE, { recursive: true });
  // Headers of newer kernels depend on the kernel itself; nobody boots this root.
  const unneeded = ["man", "doc", "info", "locale"].map((kind) => `/usr/share/${kind}/*`);
  unneeded.push("/etc/kernel/*", "/lib/modules/*/kernel/*");
  const quick = unneeded.map((pattern) => `--dpkgopt=path-exclude=${pattern}`);
  await timed(
    [
      ["mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=apt", ...quick],
      ['--aptopt=Acquire::Languages "none"', "--skip=cleanup/apt", `--include=${packages.join(",")}`],
      ["--keyring=/usr/share/keyrings/debian-archive-keyring.gpg", "bookworm", temporary, ...sources],
    ].flat(),
  );
  await rename(temporary, place);
  return place;
}
