/**
 * Drivers that leave something else than their modules: in the real sandbox, by the real command line. What nodes get is
 * what was checked, and nothing that nobody asked for.
 */
import { execFileSync } from "node:child_process";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { CLOUD, sha256Of, type TestFarm, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();
const CRC7 = join(import.meta.dirname, "../fixtures/modules/crc7.ko");
const EMPTY = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n';
const script = (...lines: readonly string[]) => lines.map((line) => `$(shell ${line})\n`).join("");
const fake = (name: string, body: string) =>
  `printf '#!/bin/sh\\n${body}\\n' >/tmp/kmodfarm/bin/${name}; chmod +x /tmp/kmodfarm/bin/${name}`;

/** A driver of one module, and what its Kbuild does besides. */
const DRIVERS: Readonly<Record<string, readonly string[]>> = {
  // Programs of its own in the place of those that make the shapes.
  shapes: [
    fake("strip", "cp /bin/true $3; echo OWN >>$3"),
    fake("xz", "echo another module"),
    "mkdir -p /output/stripped /output/compressed",
    "echo another module >/output/stripped/shapes.ko; echo a third one >/output/compressed/shapes.ko.xz",
  ],
  // A directory of outputs that leads to the host.
  linked: [fake("cp", '/bin/cp "$$@"; mv /output/modules /output/was; ln -s PRIVATE /output/modules')],
  // Nothing on the disk, and two gigabytes for who reads it.
  fat: [
    "mkdir -p /output/files/fw",
    "for i in 1 2 3 4 5 6 7 8; do truncate -s 250M /output/files/fw/$$i; done; echo x >/output/files/x.html",
  ],
  // The same, in files that the configuration names.
  full: ["mkdir -p $(src)/fw; for i in 1 2 3 4 5 6 7 8; do truncate -s 250M $(src)/fw/$$i; done"],
  // A module that lies in its source, and a copy of it.
  given: ["cp $(src)/tools/crc7.ko $(src)/copy.ko"],
  carried: ["cp $(src)/tools/crc7.ko $(src)/carried.ko"],
  // Testimony about its own surroundings.
  words: [
    "printf 'gcc-12 (Debian 99.9) \\033]0;owned\\007\\n' >/output/compiler.txt",
    "head -c 6000000 /dev/zero | tr '\\0' x >>/output/compiler.txt",
    "printf 'gcc-12\\t99.9-forged\\nmake\\t99\\n' >/output/packages.tsv",
    "echo stray >/output/modules/stray.ko",
  ],
};

/** What every artifact is published with. */
const AROUND = ["build.log", "manifest.json", "provenance.sigstore.json", "sbom.cdx.json"];

describe("what a build left", () => {
  let farm: TestFarm;
  let stdout: string;
  let stderr: string;
  beforeAll(async () => {
    farm = await farms.farm({
      mirror: await farms.mirror(),
      select: { ...CLOUD, architectures: ["x86_64"] },
      drivers: Object.keys(DRIVERS).map((name) => ({
        ...{ name, source: name, versions: ["1.0.0"] },
        ...(name === "given" ? {} : { modules: [name] }),
        ...(name === "shapes" ? { strip: true, compress: "xz" } : {}),
        ...(name === "full" ? { files: ["fw/*"] } : {}),
      })),
    });
    const secret = join(farm.directory, "private");
    await mkdir(secret);
    await writeFile(join(secret, "linked.ko"), "a private file of the host");
    for (const [name, lines] of Object.entries(DRIVERS)) {
      const object = name === "carried" ? "given" : name;
      const kbuild = `obj-m := ${object}.o\n${script(...lines)}`.replace("PRIVATE", secret);
      await mkdir(join(farm.directory, name));
      await writeFile(join(farm.directory, name, `${object}.c`), EMPTY);
      await writeFile(join(farm.directory, name, "Kbuild"), kbuild);
    }
    for (const name of ["given", "carried"]) {
      await mkdir(join(farm.directory, name, "tools"));
      await cp(CRC7, join(farm.directory, name, "tools", "crc7.ko"));
    }
    expect((await farm.cli("catalog", "update")).exitCode).toBe(0);
    ({ stdout, stderr } = await farm.cli("run", "--json"));
  });

  /** Files of an artifact in the view, by their names. */
  async function shown(driver: string): Promise<Map<string, Buffer>> {
    const top = join(farm.store, "view", driver);
    const entries = await readdir(top, { recursive: true, withFileTypes: true }).catch(() => []);
    const files = entries.filter((one) => one.isFile());
    return new Map(
      await Promise.all(
        files.map(async (one) => [one.name, await readFile(join(one.parentPath, one.name))] as const),
      ),
    );
  }

  it("gets its shapes from the farm: every file that nodes get is the module that was checked", async () => {
    const files = await shown("shapes");

    expect([...files.keys()].toSorted()).toEqual([...[...AROUND, "shapes.ko", "shapes.ko.xz"]]);
    const plain = execFileSync("xz", ["-dc"], { input: files.get("shapes.ko.xz") as Buffer });
    expect(plain).toEqual(files.get("shapes.ko"));
    const manifest = JSON.parse(String(files.get("manifest.json")));
    const [{ digests }] = manifest.modules;
    expect([digests.stripped, digests.compressed]).toEqual(
      ["shapes.ko", "shapes.ko.xz"].map((name) => `sha256:${sha256Of(files.get(name) ?? "")}`),
    );
    for (const { check, verdict, of } of manifest.verdicts) {
      const seen = of.map(({ sha256 }: { sha256: string }) => sha256);
      if (verdict === "pass") expect([digests.stripped, digests.compressed], check).toContain(seen.join(" "));
    }
    expect(manifest.verdicts.filter(({ verdict }: { verdict: string }) => verdict === "pass")).toHaveLength(
      6,
    );
  });

  it("is never read through a link to the host", async () => {
    expect(failureOf("linked")).toMatchObject({ code: "MODULE_MISSING" });
    const blobs = await readdir(join(farm.store, "blobs"), { recursive: true, withFileTypes: true });
    for (const blob of blobs.filter((one) => one.isFile()))
      expect(String(await readFile(join(blob.parentPath, blob.name)))).not.toContain("a private file");
  });

  it("is published only where it is configured", async () => {
    expect(new Set((await shown("fat")).keys())).toEqual(new Set([...AROUND, "fat.ko"]));
    expect(new Set((await shown("words")).keys())).toEqual(new Set([...AROUND, "words.ko"]));
  });

  it("is not what lay in its source, wherever that was copied to", async () => {
    expect(new Set((await shown("given")).keys())).toEqual(new Set([...AROUND, "given.ko"]));
    expect(failureOf("carried")).toMatchObject({
      code: "MODULE_MISSING",
      cause: expect.stringContaining("tools/crc7.ko was already in the source"),
    });
    expect(stderr).toMatch(/driver given 1\.0\.0: its source contains modules; .*: tools\/crc7\.ko/);
  });

  it("has a budget that holes in files do not pass by", () => {
    expect(failureOf("full")).toMatchObject({
      code: "LIMIT_EXCEEDED",
      cause: expect.stringContaining("limits.artifact is 1.0 GiB"),
    });
  });

  it("is no witness of the compiler and the packages that built it", async () => {
    const { environment } = JSON.parse(String((await shown("words")).get("manifest.json")));

    expect(environment.observed.compiler).toMatch(/^gcc-12 \(Debian 12\.[\w.+-]+\) 12\.[\d.]+$/);
    expect(environment.observed.packages).toEqual(environment.declared.packages);
  });

  function failureOf(driver: string) {
    const { elements } = JSON.parse(stdout) as {
      elements: { driver: string; attempt: { failure?: { code: string; cause: string } } }[];
    };
    return elements.find((element) => element.driver === driver)?.attempt.failure;
  }
});
