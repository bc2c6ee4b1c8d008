/**
 * Every module of real kernels, read by us and by the tools of the field: the one that is newest in each of three
 * series of Debian, with and without CONFIG_MODVERSIONS, on both architectures.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { unpackWhole } from "../../src/base/decompress.ts";
import type { CatalogKernel } from "../../src/catalog/catalog.ts";
import { readSigner, verifySignature } from "../../src/check/signature.ts";
import { symbolFaults } from "../../src/check/symbols.ts";
import { moduleName, readKernelModule } from "../../src/formats/kernel-module.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { readSymvers } from "../../src/formats/module-symvers.ts";
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
  let kversion: string;

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
    kversion = found?.kversion ?? "";
    directory = join(farm.directory, `modules-${series}`);
    const packages = [...(found?.packages.modules ?? []), ...(found?.packages.image ?? [])];
    for (const path of new Set(packages.map((one) => one.path))) {
      await unpack(path, directory);
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

  it("are signed by the key that their kernel was built with", async () => {
    const [image = ""] = globSync([`${directory}/boot/vmlinuz-*`, `${directory}/**/lib/modules/*/vmlinuz`]);
    const { banner, certificates, hasModuleKey } = await readVmlinuz(
      await readFile(image),
      image,
      unpackWhole,
    );
    const signers = certificates.slice(0, hasModuleKey ? 1 : 0).map((der) => readSigner(der, image));
    const verdicts = new Map<string, number>();
    for (const file of files) {
      const { kind } = verifySignature(splitSignature(await readFile(file), file), signers);
      verdicts.set(kind, (verdicts.get(kind) ?? 0) + 1);
    }
    console.log(
      `${banner.slice(0, 50)}…: ${certificates.length} certificates, ${JSON.stringify([...verdicts])}`,
    );

    expect(banner).toContain(`Linux version ${kversion} `);
    expect(hasModuleKey).toBe(true);
    expect([...verdicts]).toEqual([["good", files.length]]);
  });
});

describe("the symbols of Linux 6.1", () => {
  let files: string[];
  const symvers = new Map<string, string>();

  beforeAll(async () => {
    const generic = kernels.filter(
      (one) =>
        one.distribution === "debian12" &&
        one.architecture === "x86_64" &&
        one.flavour === "generic" &&
        one.packages.headers.every(({ source }) => !source.includes("security")),
    );
    const [own] = generic.filter(({ kversion }) => kversion.startsWith("6.1.")).slice(-1);
    const others = [generic.find(({ kversion }) => kversion.startsWith("6.1.")), generic.at(-1)];
    const tree = join(farm.directory, "symbols");
    for (const kernel of [own, ...others]) {
      for (const { name, path } of kernel?.packages.headers ?? [])
        if (name.endsWith(kernel?.kversion ?? "")) await unpack(path, tree);
      const [found = ""] = globSync(`${tree}/usr/src/linux-headers-${kernel?.kversion}/Module.symvers`);
      symvers.set(kernel?.kversion ?? "", found);
    }
    for (const { path } of own?.packages.modules ?? []) await unpack(path, tree);
    files = globSync(`${tree}/lib/modules/**/*.ko`).toSorted();
  }, 600_000);

  it("are missing and disagree where depmod says so", async () => {
    const modules = await Promise.all(
      files.map(async (file) => readKernelModule(await readFile(file), file)),
    );
    const tree = join(farm.directory, "symbols");
    const fromModules = new Set(modules.flatMap(({ exports }) => exports.map(({ name }) => name)));
    const [release = ""] = [...symvers.keys()];
    for (const [kversion, file] of symvers) {
      const said = spawnSync("depmod", ["-n", "-e", "-E", file, "-b", tree, release], { maxBuffer: 1 << 30 });
      const theirs = said.stderr
        .toString()
        .split("\n")
        .flatMap((line) => {
          const [, path = "", what = "", symbol = ""] =
            /WARNING: (\S+) (needs unknown symbol|disagrees about version of symbol) (\S+)/.exec(line) ?? [];
          const kind = what.startsWith("needs") ? "missing" : "version";
          return symbol === "" ? [] : [`${moduleName(path.replace(/.*\//, ""))} ${symbol} ${kind}`];
        });
      const { symbols, hasVersions } = readSymvers(await readFile(file, "utf8"), file);
      // depmod takes what modules export from the modules that are there, even when this kernel has it built in.
      const fromKernel = [...symbols].filter(
        ([name, { exportedBy }]) => exportedBy === "vmlinux" && !fromModules.has(name),
      );
      const faults = symbolFaults(modules, { symbols: new Map(fromKernel), hasVersions });
      const ours = faults
        .filter(({ kind }) => kind === "missing" || kind === "version")
        .map(({ module, symbol, kind }) => `${module} ${symbol} ${kind}`);
      console.log(
        `${modules.length} modules of ${release} against ${kversion}: ${ours.length} faults, depmod ${theirs.length}`,
      );

      expect(new Set(ours)).toEqual(new Set(theirs));
    }
  });
});

async function unpack(path: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  const answer = await fetch(`${base}/${path}`);
  const file = join(target, "package.deb");
  await writeFile(file, Buffer.from(await answer.arrayBuffer()));
  execFileSync("dpkg-deb", ["-x", file, target]);
}
