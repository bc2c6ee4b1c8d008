/**
 * Every module of real kernels, read by us and by the tools of the field: the one that is newest in each of three
 * series of Debian, with and without CONFIG_MODVERSIONS, on both architectures.
 */
import { execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CatalogKernel } from "../../src/catalog/catalog.ts";
import { type TestFarm, useFarms } from "../support/e2e-farm.ts";
import {
  compareNotes,
  compareStructure,
  compareWithModinfo,
  compareWithModprobe,
} from "../support/module-tools.ts";

const farms = useFarms();
const FEWEST = 1000;
const AT_ONCE = 50;

let farm: TestFarm;
let base: string;
let kernels: readonly CatalogKernel[];

beforeAll(async () => {
  const mirror = await farms.mirror();
  base = mirror.main;
  farm = await farms.farm({ mirror, releases: ["debian12", "debian13"] });
  await farm.cli("catalog", "update");
  const { stdout } = await farm.cli("catalog", "export", "--format", "kmodfarm");
  kernels = (JSON.parse(stdout) as { kernels: CatalogKernel[] }).kernels;
});

describe.each([
  ["6.1", "debian12", "x86_64", "generic"],
  ["6.12", "debian13", "aarch64", "cloud"],
  ["7", "debian13", "x86_64", "cloud"],
])("the modules of Linux %s of %s for %s, %s", (series, distribution, architecture, flavour) => {
  let directory: string;
  let files: string[];

  beforeAll(async () => {
    const found = kernels.findLast(
      (one) =>
        one.distribution === distribution &&
        one.architecture === architecture &&
        one.flavour === flavour &&
        one.kversion.startsWith(`${series}.`) &&
        // Packages of other suites are elsewhere on the mirror.
        one.packages.modules.every(({ source }) => !source.includes("security")),
    );
    directory = join(farm.directory, `modules-${series}`);
    await mkdir(directory);
    for (const { path } of found?.packages.modules ?? []) {
      const answer = await fetch(`${base}/${path}`);
      await writeFile(join(directory, "package.deb"), Buffer.from(await answer.arrayBuffer()));
      execFileSync("dpkg-deb", ["-x", "package.deb", "."], { cwd: directory });
    }
    const packed = globSync(`${directory}/**/*.ko.xz`);
    if (packed.length > 0) execFileSync("xz", ["-d", ...packed], { maxBuffer: 1 << 28 });
    files = globSync(`${directory}/**/*.ko`).toSorted();
  }, 600_000);
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it("are read as modinfo, modprobe and readelf read them", async () => {
    for (let at = 0; at < files.length; at += AT_ONCE) {
      const some = files.slice(at, at + AT_ONCE);
      for (const compare of [compareWithModinfo, compareWithModprobe, compareNotes, compareStructure])
        compare(some);
    }
    const bytes = (await Promise.all(files.map((file) => readFile(file)))).reduce(
      (sum, { length }) => sum + length,
      0,
    );
    console.log(
      `Linux ${series} for ${architecture}: ${files.length} modules, ${(bytes / 1e6).toFixed(0)} MB`,
    );
    expect(files.length).toBeGreaterThan(FEWEST);
  });
});
