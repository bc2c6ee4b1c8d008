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
import { readSigner, verifySignature } from "../../src/check/signature.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { readVmlinuz } from "../../src/formats/vmlinuz.ts";
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
    const packages = [...(found?.packages.modules ?? []), ...(found?.packages.image ?? [])];
    for (const path of new Set(packages.map((one) => one.path))) {
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
    console.log(`Linux ${series} for ${architecture}: ${files.length} modules`);
    expect(files.length).toBeGreaterThan(FEWEST);
  });

  it("are signed by the key that their kernel was built with, and by no other kernel's", async () => {
    const [image = ""] = globSync(`${directory}/**/vmlinuz-*`);
    const { banner, certificates, hasModuleKey } = await readVmlinuz(await readFile(image), image);
    const signers = certificates.slice(0, hasModuleKey ? 1 : 0).map((der) => readSigner(der, image));
    const verdicts = new Map<string, number>();
    for (const file of files) {
      const { kind } = verifySignature(splitSignature(await readFile(file), file), signers);
      verdicts.set(kind, (verdicts.get(kind) ?? 0) + 1);
    }
    console.log(
      `${banner.slice(0, 50)}…: ${certificates.length} certificates, ${JSON.stringify([...verdicts])}`,
    );

    expect(banner).toContain(`Linux version ${image.replace(/.*vmlinuz-/, "")} `);
    expect(hasModuleKey).toBe(true);
    expect([...verdicts]).toEqual([["good", files.length]]);
    const foreign = certificates.slice(1).map((der) => readSigner(der, image));
    const [first = ""] = files;
    expect(verifySignature(splitSignature(await readFile(first), first), foreign).kind).toBe("bad");
  });
});
