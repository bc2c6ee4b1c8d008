/**
 * Drivers of every shape through the real sandbox: trees of DKMS with their habits, a configure-style tree from
 * git, and real ones out of Debian's archive.
 */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { CHIMES, commitTree, MACHINE, PICKY, SHAPED, writeTree } from "../support/driver-trees.ts";
import { CLOUD, type TestFarm, useFarms } from "../support/e2e-farm.ts";

const run = promisify(execFile);
const farms = useFarms();
const X86_ONLY = ["shaped", "v4l2loopback", "scap"];

interface Row {
  readonly driver: string;
  readonly architecture: string;
  readonly kversion: string;
  readonly outcome: string;
  readonly path?: string;
  readonly attempt: {
    readonly origin?: { readonly kind: string; readonly place: string; readonly commit?: string };
    readonly failure?: { readonly code: string; readonly cause: string };
    readonly logFile?: string;
  };
}

let farm: TestFarm;
let commit: string;
let exitCode: number;
let rows: readonly Row[];

const rowOf = (driver: string, architecture = "x86_64") => {
  const row = rows.find((one) => one.driver === driver && one.architecture === architecture);
  if (row === undefined) throw new Error(`${driver} was not built for ${architecture}`);
  return row;
};
const modinfo = async (field: string, file: string) =>
  (await run("modinfo", ["--field", field, file])).stdout.trim();
const sections = async (file: string) => (await run("readelf", ["--sections", "--wide", file])).stdout;

beforeAll(async () => {
  const mirror = await farms.mirror();
  farm = await farms.farm({
    mirror,
    releases: ["debian12", "debian13"],
    select: { ...CLOUD, distributions: ["debian12"] },
    exclude: X86_ONLY.map((driver) => ({ driver, architectures: ["aarch64"], reason: "one is enough" })),
    drivers: [
      { name: "chimes", source: "chimes", versions: ["20231108git"] },
      { name: "picky", source: "picky", versions: ["0.12.7-2"] },
      { name: "machine", source: "machine", versions: ["1.0"], make: "make" },
      {
        name: "shaped",
        source: { git: "shaped", revision: "v{version}" },
        versions: ["1.2.3"],
        directory: "module",
        prepare: ["./configure", "touch prepared"],
        make: "make all",
        files: ["firmware/*.bin", "prepared"],
        strip: true,
        compress: "xz",
      },
      {
        name: "v4l2loopback",
        source: { package: "v4l2loopback-dkms", release: "debian13" },
        versions: ["0.15.0-2"],
      },
      {
        name: "scap",
        source: { package: "falcosecurity-scap-dkms", release: "debian13" },
        versions: ["0.20.0"],
        modules: ["scap"],
      },
    ],
  });
  await writeTree(join(farm.directory, "chimes"), CHIMES);
  await writeTree(join(farm.directory, "picky"), PICKY);
  await writeTree(join(farm.directory, "machine"), MACHINE);
  await writeTree(join(farm.directory, "shaped"), SHAPED);
  commit = commitTree(join(farm.directory, "shaped"), "v1.2.3");
  const result = await farm.cli("run", "--json");
  if (result.stdout === "") throw new Error(result.stderr);
  exitCode = result.exitCode;
  rows = (JSON.parse(result.stdout) as { elements: Row[] }).elements;
}, 600_000);

describe("a farm of drivers of every shape", () => {
  it("has built, loaded and published what can be, and names what excludes itself", async () => {
    const outcomes = rows.map(({ driver, architecture, outcome }) =>
      [driver, architecture, outcome].join(" "),
    );

    expect(outcomes.toSorted()).toEqual([
      "chimes aarch64 stable",
      "chimes x86_64 stable",
      "machine aarch64 stable",
      "machine x86_64 stable",
      "picky aarch64 excluded",
      "picky x86_64 stable",
      "scap x86_64 stable",
      "shaped x86_64 stable",
      "v4l2loopback x86_64 excluded",
    ]);
    expect(exitCode).toBe(0);
  });

  it("does nothing the second time, excluded or not", async () => {
    const { stdout, exitCode: again } = await farm.cli("run");

    expect(stdout).toMatch(/7 stable, 0 candidates, 0 failed, 2 excluded, 0 of them new/);
    expect(again).toBe(0);
  });
});

describe("a tree of DKMS", () => {
  it.each(["x86_64", "aarch64"])("is built as its dkms.conf says (%s)", async (architecture) => {
    const { path = "", kversion } = rowOf("chimes", architecture);
    const chimes = join(path, "chimes.ko");

    expect((await readdir(path)).toSorted()).toEqual([
      ...["build.log", "chimes.ko", "manifest.json", "provenance.sigstore.json", "wind.ko"],
    ]);
    expect(await modinfo("version", chimes)).toBe(kversion);
    expect(await modinfo("description", chimes)).toBe("as it was patched");
    expect(path).toContain("/chimes/20231108git/");
  });

  it("tells no place that it was built in", async () => {
    const { path = "" } = rowOf("chimes");

    expect(await modinfo("place", join(path, "chimes.ko"))).toBe("./src/chimes.c");
    expect((await readFile(join(path, "wind.ko"))).includes("/var/lib/dkms")).toBe(false);
  });

  it("is stripped unless it says no", async () => {
    const { path = "" } = rowOf("chimes");
    const { modules } = JSON.parse(await readFile(join(path, "manifest.json"), "utf8"));
    const digests = Object.fromEntries(
      modules.map((one: { name: string; digests: object }) => [
        one.name,
        Object.keys(one.digests).toSorted(),
      ]),
    );

    expect(digests).toEqual({ chimes: ["stripped", "unsigned"], wind: ["unsigned"] });
    expect(await sections(join(path, "chimes.ko"))).not.toContain(".debug_info");
    expect(await sections(join(path, "wind.ko"))).toContain(".debug_info");
  });

  it("says in its log what of dkms.conf means nothing here", async () => {
    const log = await readFile(join(rowOf("chimes").path ?? "", "build.log"), "utf8");

    expect(log).toMatch(/note: .*BUILD_DEPENDS: bells/);
    expect(log).toMatch(/note: modules are not installed here: .*NO_WEAK_MODULES of dkms\.conf is not done/);
    expect(log).toContain("building as DKMS 3.0.10 does");
    expect(log).toContain("applying always.patch");
    expect(log).not.toContain("never.patch");
  });

  it("that does not want a kernel is excluded, with the reason", () => {
    const { failure } = rowOf("picky", "aarch64").attempt;

    expect(failure).toMatchObject({ code: "KERNEL_EXCLUDED" });
    expect(failure?.cause).toContain(
      'BUILD_EXCLUSIVE_ARCH="^x86_64$" of its dkms.conf does not take aarch64',
    );
  });

  it("out of Debian's archive is no other: v4l2loopback excludes a kernel without video", () => {
    const { attempt } = rowOf("v4l2loopback");

    expect(attempt.failure?.cause).toContain("REQUIRES CONFIG_VIDEO_DEV");
    expect(attempt.origin).toMatchObject({ kind: "package", place: "v4l2loopback-dkms 0.15.0-2" });
  });

  it("out of Debian's archive is no other: scap is built and loads", async () => {
    const { path = "", kversion } = rowOf("scap");

    expect((await modinfo("vermagic", join(path, "scap.ko"))).split(" ")[0]).toBe(kversion);
  });
});

describe("a tree with configure and a make of its own", () => {
  it("is built from its git revision, which is remembered", async () => {
    const { path = "", attempt } = rowOf("shaped");

    expect(await modinfo("version", join(path, "shaped.ko"))).toBe("1.2.3");
    expect(attempt.origin).toMatchObject({ kind: "git", commit });
  });

  it("is published with its files, stripped and compressed, each digest kept", async () => {
    const { path = "" } = rowOf("shaped");
    const { modules, files } = JSON.parse(await readFile(join(path, "manifest.json"), "utf8"));

    expect((await readdir(path)).toSorted()).toEqual([
      "build.log",
      "files",
      "manifest.json",
      "provenance.sigstore.json",
      "shaped.ko",
      "shaped.ko.xz",
    ]);
    expect(files.map((file: { path: string }) => file.path)).toEqual(["firmware/bell.bin", "prepared"]);
    expect(await readFile(join(path, "files/firmware/bell.bin"), "utf8")).toBe("ding");
    expect(Object.keys(modules[0].digests).toSorted()).toEqual(["compressed", "stripped", "unsigned"]);
    expect(await sections(join(path, "shaped.ko"))).not.toContain(".debug_info");
  });

  it("is compressed as the kernel's modules_install does it", async () => {
    const { path = "" } = rowOf("shaped");
    const packed = join(path, "shaped.ko.xz");
    const unpacked = await run("xz", ["-dc", packed], { encoding: "buffer", maxBuffer: 1 << 28 });
    const { stdout: facts } = await run("xz", ["--list", "--verbose", "--verbose", packed]);

    expect(unpacked.stdout.equals(await readFile(join(path, "shaped.ko")))).toBe(true);
    expect(facts).toMatch(/CRC32/);
    expect(facts).toMatch(/--lzma2=dict=1MiB/);
  });
});
