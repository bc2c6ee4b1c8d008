/**
 * The night on the real mirror, in the real sandbox and the real virtual machine: what it publishes, and what
 * makes it build again.
 */
import { execFile } from "node:child_process";
import { chown, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { readPublished } from "../../src/registry/generations.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import {
  DOORBELL,
  leftovers,
  readBlob,
  readStable,
  sha256Of,
  stableContent,
  type TestFarm,
  treeDigests,
  useFarms,
} from "../support/e2e-farm.ts";
import type { TestMirror } from "../support/e2e-mirror.ts";

const farms = useFarms();
let mirror: TestMirror;
let farm: TestFarm;

beforeAll(async () => {
  mirror = await farms.mirror();
  farm = await farms.farm({ mirror });
});

describe("kmodfarm run", () => {
  it("builds, loads and publishes the newest kernel of each architecture", async () => {
    const { stdout, exitCode } = await farm.cli("run");

    expect(stdout).toMatch(/2 stable, 0 candidates, 0 failed, 2 of them new/);
    expect(exitCode).toBe(0);
    const artifacts = await readStable(farm.store);
    expect(artifacts.map(({ architecture }) => architecture).sort()).toEqual(["aarch64", "x86_64"]);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("publishes modules that modinfo knows as the kernel's own", async () => {
    const artifacts = await readStable(farm.store);

    expect(artifacts).toHaveLength(2);
    for (const { kversion, modules } of artifacts) {
      expect(modules.map(({ name }) => name).sort()).toEqual(["doorbell", "tally"]);
      for (const { name, digest } of modules) {
        const file = join(farm.directory, `${name}.ko`);
        await writeFile(file, await readBlob(farm.store, digest));
        expect((await modinfo("vermagic", file)).split(" ")[0]).toBe(kversion);
        expect(await modinfo("version", file)).toBe("0.1.0");
        expect(await modinfo("name", file)).toBe(name);
        expect(await modinfo("depends", file)).toBe(name === "doorbell" ? "tally" : "");
      }
    }
  });

  it("shows them at view/<driver>/<series>/<distribution>/<arch>/<kversion>_<packageVersion>", async () => {
    const artifacts = await readStable(farm.store);

    expect(artifacts).toHaveLength(2);
    for (const { architecture, kversion, packageVersion, modules, manifest } of artifacts) {
      const leaf = `${kversion}_${packageVersion}`;
      const folder = join(farm.store, "view", "doorbell", "0.1.0", "debian12", architecture, leaf);
      expect((await readdir(folder)).sort()).toEqual([
        "build.log",
        "doorbell.ko",
        "manifest.json",
        "provenance.sigstore.json",
        "sbom.cdx.json",
        "tally.ko",
      ]);
      for (const { name, digest } of modules)
        expect(`sha256:${sha256Of(await readFile(join(folder, `${name}.ko`)))}`).toBe(digest);
      expect(`sha256:${sha256Of(await readFile(join(folder, "manifest.json")))}`).toBe(manifest);
      expect(await readFile(join(folder, "build.log"), "utf8")).toMatch(/CC \[M\] .*tally\.o/);
    }
  });

  it("says in each manifest what the module is and how it was made, and holds no clock", async () => {
    const artifacts = await readStable(farm.store);

    expect(artifacts).toHaveLength(2);
    for (const { architecture, kversion, packageVersion, modules, manifest } of artifacts) {
      const text = (await readBlob(farm.store, manifest)).toString("utf8");
      const document = JSON.parse(text);
      expect(document).toMatchObject({
        schema: "kmodfarm.manifest/2",
        identity: {
          driver: { name: "doorbell", version: "0.1.0" },
          distribution: { id: "debian", version: "12", release: "debian12" },
          architecture,
          kernel: { release: kversion, packageVersion, flavour: "cloud" },
        },
      });
      expect(
        document.verdicts.map((one: { check: string; verdict: string }) => [one.check, one.verdict]),
      ).toEqual([
        ["format", "pass"],
        ["identity", "pass"],
        ["environment", "pass"],
        ["symbols", "pass"],
        ["signature", "notApplicable"],
        ["provenance", "pass"],
        ["load", "pass"],
      ]);
      expect(document.environment.observed.compiler).toMatch(/gcc-12 .*12\./);
      expect(document.environment.target.compiler).toBe("gcc-12");
      expect(document.modules.map((one: { digests: { unsigned: string } }) => one.digests.unsigned)).toEqual(
        modules.map(({ digest }) => digest),
      );
      expect(text).not.toMatch(/\d{4}-\d\d-\d\dT\d\d:\d\d/);
      expect(text).not.toContain(farm.directory);
      expect(text).not.toContain("127.0.0.1");
    }
  });

  it("names every blob by its digest, and has none that nothing names", async () => {
    const blobs = await treeDigests(join(farm.store, "blobs", "sha256"));
    const { generation: newest } = JSON.parse(await readFile(join(farm.store, "channels/stable"), "utf8"));
    const parts = new Set<string>();
    for (let number = 1; number <= newest; number++) {
      const text = await readFile(join(farm.store, "generations", String(number), "generation.json"), "utf8");
      const named = Object.values(JSON.parse(text).parts as Record<string, { digest: string }>);
      for (const { digest } of named) parts.add(digest.replace("sha256:", ""));
    }

    for (const [path, digest] of blobs) expect(path).toBe(`${digest.slice(0, 2)}/${digest}`);
    for (const digest of parts) expect(blobs.has(`${digest.slice(0, 2)}/${digest}`)).toBe(true);
    const { exitCode, stdout } = await farm.inProcess("fsck", "--full", "--json");
    expect([exitCode, JSON.parse(stdout).findings]).toEqual([0, []]);
  });

  it("publishes no path of this machine", async () => {
    // Exit code 1: nothing found.
    await expect(
      promisify(execFile)("grep", ["-rlaF", "-e", farm.directory, farm.store]),
    ).rejects.toMatchObject({ code: 1 });
  });

  it("does nothing the second time but ask for each suite's InRelease", async () => {
    const before = await treeDigests(farm.store);
    mirror.forget();

    const { stdout, exitCode } = await farm.cli("run");

    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/2 stable, 0 candidates, 0 failed, 0 of them new/);
    expect(mirror.asked.map(({ path }) => path).sort()).toEqual([
      "debian-security/dists/bookworm-security/InRelease",
      "debian/dists/bookworm-backports/InRelease",
      "debian/dists/bookworm-updates/InRelease",
      "debian/dists/bookworm/InRelease",
    ]);
    // Three suites are served as they were; the fourth may not be there at all.
    expect(mirror.asked.filter(({ status }) => status === 304).length).toBeGreaterThanOrEqual(2);
    expect(mirror.asked.filter(({ status }) => status === 200)).toEqual([]);
    expect(await treeDigests(farm.store)).toEqual(before);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("says of nothing that is damaged or missing that it is stable, and restores it", async () => {
    const [artifact] = (await readStable(farm.store)).filter(({ architecture }) => architecture === "x86_64");
    const name = `doorbell/0.1.0/debian12/x86_64/${artifact?.kversion}_${artifact?.packageVersion}`;
    const shown = join(farm.store, "view", name, "doorbell.ko");
    const hex =
      artifact?.modules.find((one) => one.name === "doorbell")?.digest.slice("sha256:".length) ?? "";
    const blob = join(farm.store, "blobs/sha256", hex.slice(0, 2), hex);
    const right = await readFile(shown);
    const harms: readonly (readonly [string, () => Promise<unknown>])[] = [
      ["damaged in the view", () => writeFile(shown, Buffer.concat([right, Buffer.from("junk")]))],
      ["missing in the view", () => rm(shown)],
      ["damaged as a blob", () => writeFile(blob, "junk")],
      ["gone altogether", () => Promise.all([rm(shown), rm(blob)])],
    ];

    for (const [what, harm] of harms) {
      await harm();
      const check = await farm.inProcess("check", name, "--no-load");
      const show = await farm.inProcess("matrix", "show", "--full");
      const run = await farm.cli("run");

      expect([what, check.exitCode, check.stderr]).toEqual([what, 4, expect.stringMatching(/STORE_CORRUPT/)]);
      expect([what, show.exitCode]).toEqual([what, 4]);
      expect(show.stdout).toMatch(/x86_64\/\S+ +damaged: .* is (damaged|missing)/);
      expect([what, run.exitCode, run.stdout]).toEqual([what, 0, expect.stringMatching(/2 stable/)]);
      expect((await readFile(shown)).equals(right), what).toBe(true);
      expect((await readFile(blob)).equals(right), what).toBe(true);
    }
  });

  it("builds nothing when only times, owner and group of the source changed", async () => {
    const before = await treeDigests(farm.store);
    const files = await readdir(farm.driver);
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      await utimes(join(farm.driver, file), 1_000_000_000, 1_000_000_000);
      await chown(join(farm.driver, file), 1234, 1234);
    }

    const { stdout, exitCode } = await farm.cli("run");

    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/2 stable, .* 0 of them new/);
    expect(await treeDigests(farm.store)).toEqual(before);
  });

  it("builds again when a comment of the source changed, and finds the same bytes", async () => {
    const [stable, before] = [await readStable(farm.store), await stableContent(farm.store)];
    const { head } = await readPublished(await openFolderStore(farm.store));
    const source = join(farm.driver, "tally.c");
    await writeFile(source, `${await readFile(source, "utf8")}\n/* A comment more. */\n`);

    const { stdout, exitCode } = await farm.cli("run");

    expect(exitCode).toBe(0);
    // A comment at the end of a file is no code, and the build itself is reproducible: that is no news for anybody.
    expect(stdout).toMatch(/2 elements came out byte for byte as published/);
    expect(stdout).toMatch(/2 stable, .* 0 of them new/);
    expect(await readStable(farm.store)).toEqual(stable);
    expect(await stableContent(farm.store)).toEqual(before);
    expect((await readPublished(await openFolderStore(farm.store))).head).toEqual(head);
  });

  it("publishes a patch release of the driver at the same path, with its version in the modules", {
    tags: ["wide"],
  }, async () => {
    const paths = await viewFiles();
    await farm.configure({ drivers: [{ ...DOORBELL, versions: ["0.1.1"] }] });

    const { stdout, exitCode } = await farm.cli("run");

    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/2 stable, .* 2 of them new/);
    expect(await viewFiles()).toEqual(paths);
    const modules = paths.filter((path) => path.endsWith(".ko"));
    expect(modules).toHaveLength(4);
    for (const path of modules)
      expect(await modinfo("version", join(farm.store, "view", path))).toBe("0.1.1");
    const artifacts = await readStable(farm.store);
    expect(artifacts.map(({ driverVersion }) => driverVersion)).toEqual(["0.1.1", "0.1.1"]);
    expect(await leftovers(farm)).toEqual([]);
  });
});

async function viewFiles(): Promise<string[]> {
  return [...(await treeDigests(join(farm.store, "view"))).keys()];
}

async function modinfo(field: string, file: string): Promise<string> {
  const { stdout } = await promisify(execFile)("modinfo", ["-F", field, file]);
  return stdout.trim();
}
