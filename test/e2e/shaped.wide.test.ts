/**
 * Kernels of the shape of Enterprise Linux's, Amazon's and Ubuntu's: built for by the compiler that each records,
 * loaded into themselves, published, and built for again when their mirror has lost them. The first run on a machine
 * compiles the kernels.
 */
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readElf } from "../../src/formats/elf.ts";
import { readSymvers } from "../../src/formats/module-symvers.ts";
import { readSystemMap } from "../../src/formats/system-map.ts";
import { packageFormat } from "../../src/inputs/package-format.ts";
import { Manifest } from "../../src/registry/documents.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { makeSigningKey } from "../support/apt-repository.ts";
import { cli, copyDriver, DOORBELL, readBlob, readStable } from "../support/e2e-farm.ts";
import { TEST_CACHE } from "../support/e2e-mirror.ts";
import { SHAPES, type Shape, type ShapedKernel, shapedKernels } from "../support/shaped-kernels.ts";
import { type ShapedRepositories, serveShapedKernels } from "../support/shaped-repositories.ts";
import { sharedDirectory } from "../support/temporary.ts";

const COMPILERS: Record<Shape, string> = {
  "almalinux9.4": "gcc-14",
  "almalinux9.5": "gcc-14",
  "ubuntu24.04": "gcc-14",
  amazonlinux2023: "gcc-13",
};

const directory = sharedDirectory();
const key = makeSigningKey();
const store = join(directory, "store");
let kernels: ReadonlyMap<Shape, ShapedKernel>;
let repositories: ShapedRepositories;

beforeAll(async () => {
  kernels = await shapedKernels();
  repositories = await serveShapedKernels(kernels, key, join(directory, "repositories"), afterAll);
  await copyDriver(join(directory, "driver"));
  // Toolchains take a minute to bootstrap and are the same for every run.
  await mkdir(join(TEST_CACHE, "shaped-roots"), { recursive: true });
  await emptyCache();
  await configure();
});

/** Everything but the toolchains is forgotten. */
async function emptyCache(): Promise<void> {
  await rm(join(directory, "cache"), { recursive: true, force: true });
  await mkdir(join(directory, "cache"));
  await symlink(join(TEST_CACHE, "shaped-roots"), join(directory, "cache", "roots"));
}

async function configure(version = "0.1.0", more = {}): Promise<void> {
  const config = {
    ...more,
    drivers: [{ ...DOORBELL, versions: [version] }],
    sources: repositories.sources,
    toolchains: Object.fromEntries(SHAPES.map((shape) => [shape, "debian13"])),
    archive: "all",
    store: "store",
    cache: "cache",
  };
  await writeFile(join(directory, "kmodfarm.yaml"), JSON.stringify(config, null, 2));
}

function farm(...argv: string[]) {
  return cli([...argv, "--config", join(directory, "kmodfarm.yaml")], { cwd: directory });
}

interface InputNote {
  readonly name: string;
  readonly from: "mirror" | "kernelurls" | "archive";
  readonly tried: readonly { readonly place: string; readonly fault: string }[];
}

/** What the attempts of this cache say of their packages, by kernel release. */
async function inputNotes(): Promise<Map<string, InputNote[]>> {
  const attempts = join(directory, "cache", "attempts");
  const records = (await readdir(attempts)).map(async (name): Promise<[string, InputNote[]]> => {
    const { recipe, inputs } = JSON.parse(await readFile(join(attempts, name, "attempt.json"), "utf8"));
    return [recipe.kernel.kversion, inputs];
  });
  return new Map(await Promise.all(records));
}

const kernelReleases = () => [...kernels.values()].map(({ kversion }) => kversion).toSorted();

it("builds each with the compiler it records, loads it into its own kernel and publishes it", async () => {
  const { exitCode, stdout, stderr } = await farm("run");

  expect(exitCode, stdout + stderr).toBe(0);
  const stable = await readStable(store);
  expect(stable.map(({ distribution, kversion }) => `${distribution} ${kversion}`).toSorted()).toEqual(
    [...kernels.values()].map(({ shape, kversion }) => `${shape} ${kversion}`).toSorted(),
  );
  for (const { manifest: digest, distribution, kversion } of stable) {
    const manifest = Manifest.parse(JSON.parse((await readBlob(store, digest)).toString()));
    const { target, declared, observed } = manifest.environment;
    for (const { compiler } of [target, declared, observed])
      expect(compiler.startsWith(COMPILERS[distribution as Shape])).toBe(true);
    expect(manifest.verdicts).toContainEqual(expect.objectContaining({ check: "load", verdict: "pass" }));
    expect(manifest.modules.map(({ name }) => name).toSorted()).toEqual(["doorbell", "tally"]);
    for (const { witnesses } of manifest.modules) {
      expect(witnesses.vermagic.startsWith(`${kversion} `)).toBe(true);
      expect(witnesses.vermagic).toContain(" modversions ");
    }
  }
  expect([...(await inputNotes()).values()].flat().every(({ from }) => from === "mirror")).toBe(true);
});

it("fetches nothing in a night without news", async () => {
  const before = repositories.requests().length;

  const { exitCode } = await farm("run");

  expect(exitCode).toBe(0);
  expect(
    repositories
      .requests()
      .slice(before)
      .filter((path) => /\.(rpm|deb)$/.test(path)),
  ).toEqual([]);
});

it.each(SHAPES)("a module with another CRC is refused by the kernel of %s", async (shape) => {
  const { kversion } = kernels.get(shape) as ShapedKernel;
  const artifact = (await readStable(store)).find(({ distribution }) => distribution === shape);
  const [tally, doorbell] = await Promise.all(
    ["tally", "doorbell"].map(async (name) => {
      const { digest = "" } = artifact?.modules.find((module) => module.name === name) ?? {};
      return Buffer.from(await readBlob(store, digest));
    }),
  );
  const files = ["tally.ko", "doorbell.ko"].map((name) => join(directory, name));
  await writeFile(files[0] as string, tally as Buffer);
  const load = async (bytes: Buffer) => {
    await writeFile(files[1] as string, bytes);
    return farm("load", ...files, "--kernel", `${shape}/x86_64/${kversion}`, "--json");
  };

  const sound = await load(doorbell as Buffer);
  const flipped = await load(withOtherCrc(doorbell as Buffer, "misc_register"));

  expect([sound.exitCode, flipped.exitCode], sound.stderr + flipped.stderr).toEqual([0, 1]);
  expect(flipped.stdout).toContain("disagrees about version of symbol misc_register");
});

it("a kernel's System.map and its Module.symvers say alike what it exports", async () => {
  const { directory: packages } = kernels.get("almalinux9.4") as ShapedKernel;
  const texts = await Promise.all(
    (await readdir(packages)).map(async (name) => {
      const { readFiles } = packageFormat({ name, version: "", path: name });
      const found = await readFiles(
        createReadStream(join(packages, name)),
        (path) => /\/(System\.map|Module\.symvers)$/.test(path),
        () => false,
      );
      return found.map(({ path, content }): [string, string] => [basename(path), content.toString()]);
    }),
  );
  const text = new Map(texts.flat());

  const { exports } = readSystemMap(text.get("System.map") ?? "", "System.map");

  const { symbols } = readSymvers(text.get("Module.symvers") ?? "", "Module.symvers");
  const own = [...symbols].filter(([, { exportedBy }]) => exportedBy === "vmlinux").map(([name]) => name);
  expect(own.length).toBeGreaterThan(1000);
  expect([...exports].toSorted()).toEqual(own.toSorted());
});

describe("modules of one kernel of Enterprise Linux for another", () => {
  const [own, next] = ["almalinux9.4", "almalinux9.5"] as const;
  const kernelOf = (shape: Shape) => `${shape}/x86_64/${(kernels.get(shape) as ShapedKernel).kversion}`;
  const doorbell = (shape: Shape) => `doorbell/0.1.0/${shape}`;
  const reuse = (artifact: string, kernel: string) =>
    farm("reuse", artifact, "--kernel", kernel, "--why", "no build of its own", "--json");
  const movesOf = ({ stdout }: { readonly stdout: string }) =>
    (JSON.parse(stdout) as { moves: { result: string; reasons: string[] }[] }).moves;
  const servedBy = async (shape: Shape) => {
    const { indices } = await readPublished(await openFolderStore(store));
    return indices.find(({ distribution }) => distribution === shape)?.loadsOn ?? [];
  };
  const allow = (releases: readonly string[]) =>
    writeFile(join(directory, "policy.yaml"), JSON.stringify({ loadsOn: releases }));

  it("are not published while the policy does not say so, nor while it has modules of its own", async () => {
    const needless = await reuse(`${own}/x86_64`, kernelOf(next));
    expect(movesOf(needless)).toMatchObject([{ result: "nothing to do" }]);
    await farm("withdraw", next, "--all", "--why", "makes room");

    const { exitCode, stdout } = await reuse(`${own}/x86_64`, kernelOf(next));

    expect(exitCode).toBe(1);
    expect(movesOf({ stdout })).toMatchObject([{ result: "refused" }]);
    expect(stdout).toContain(`the policy does not list ${own} under loadsOn`);
    expect(await servedBy(next)).toEqual([]);
  });

  it("are proven there and published, where the policy says so", async () => {
    await configure("0.1.0", { policy: "policy.yaml" });
    await allow(["almalinux"]);

    const { exitCode, stdout, stderr } = await reuse(`${own}/x86_64`, kernelOf(next));

    expect(exitCode, stdout + stderr).toBe(0);
    expect(movesOf({ stdout })).toMatchObject([{ result: "reused" }]);
    expect(stdout).toContain("tally, doorbell loaded with busybox and unloaded, twice");
    expect(await servedBy(next)).toMatchObject([
      { kversion: kernels.get(next)?.kversion, artifact: { distribution: own, driver: "doorbell" } },
    ]);
    expect((await farm("matrix", "show")).stdout).toContain("loads on: served by the modules of");
    expect((await farm("check", `${own}/x86_64`, "--no-load")).stdout).toContain(
      `Also tested on, and served to: ${next}/x86_64/`,
    );
  });

  it("say no for a kernel with other CRCs, whatever the policy says", async () => {
    await farm("withdraw", "amazonlinux2023", "--all", "--why", "makes room");

    const said = await farm(
      "check",
      ...(await modulesOf(own)),
      ...["--kernel", kernelOf("amazonlinux2023"), "--json"],
    );
    const { exitCode, stdout } = await reuse(`${own}/x86_64`, kernelOf("amazonlinux2023"));

    expect(JSON.parse(said.stdout).answer.answer).toBe("refuses");
    expect([exitCode, movesOf({ stdout })[0]?.result]).toEqual([1, "refused"]);
    expect(stdout).toContain("does not belong to the Enterprise Linux family");
    expect(await servedBy("amazonlinux2023")).toEqual([]);
  });

  it("are refused where one CRC differs, whatever else the policy lets through", async () => {
    const files = await modulesOf(own);
    const doorbell = files.find((file) => file.endsWith("doorbell.ko")) as string;
    await writeFile(doorbell, withOtherCrc(await readFile(doorbell), "misc_register"));
    await writeFile(
      join(directory, "policy.yaml"),
      JSON.stringify({ require: ["format"], loadsOn: ["almalinux"] }),
    );
    const target = ["--target", kernelOf(own), "--driver", "spoilt", "--driver-version", "1"];
    await farm("import", ...files, ...target, "--no-load", "--why", "a test");
    await farm("promote", "spoilt", "--why", "a test");

    const { exitCode, stdout } = await reuse("spoilt", kernelOf(next));

    expect([exitCode, movesOf({ stdout })[0]?.result], stdout).toEqual([1, "refused"]);
    expect(stdout).toMatch(/misc_register has CRC/);
    expect((await servedBy(next)).map(({ artifact }) => artifact.driver)).toEqual(["doorbell"]);
    await farm("withdraw", "spoilt", "--all", "--why", "a test");
    await allow(["almalinux"]);
  });

  it("no longer serve it when somebody says so, or takes them back", async () => {
    const ended = await farm(
      "withdraw",
      doorbell(own),
      "--kernel",
      kernelOf(next),
      "--why",
      "not there",
      "--json",
    );
    expect(movesOf(ended)).toMatchObject([{ result: "reuse ended" }]);
    expect(await servedBy(next)).toEqual([]);
    await reuse(doorbell(own), kernelOf(next));
    expect(await servedBy(next)).toHaveLength(1);

    await farm("withdraw", doorbell(own), "--why", "oopses");

    expect(await servedBy(next)).toEqual([]);
    for (const name of [own, next, "amazonlinux2023"] as const)
      await farm("promote", doorbell(name), "--why", "as it was");
    expect(await readStable(store)).toHaveLength(SHAPES.length);
  });
});

/** The modules of a shape's artifact, as files. */
async function modulesOf(shape: Shape): Promise<string[]> {
  const artifact = (await readStable(store)).find(({ distribution }) => distribution === shape);
  const files = (artifact?.modules ?? []).map(async ({ name, digest }) => {
    const file = join(directory, `${name}.ko`);
    await writeFile(file, await readBlob(store, digest));
    return file;
  });
  return Promise.all(files);
}

it("builds from where a package lay before, when its mirror has lost it", async () => {
  const { stdout } = await farm("matrix", "generate");
  const elements = JSON.parse(stdout) as { kernelurls: string[] }[];
  const elsewhere = repositories.moveTo("elsewhere", repositories.lose(HEADERS));
  const moved = elements.map((element) => ({
    ...element,
    kernelurls: element.kernelurls.map((url) => `${elsewhere}/${url.split("/").at(-1)}`),
  }));
  await writeFile(join(directory, "matrix.json"), JSON.stringify(moved));
  await emptyCache();

  // A store of its own: in the first one everything is there, in its archive too.
  const other = ["--store", join(directory, "other-store")];
  await farm("catalog", "update", ...other);
  const { exitCode, stdout: said } = await farm(
    "build",
    "--matrix",
    join(directory, "matrix.json"),
    ...other,
  );

  expect(exitCode, said).toBe(0);
  const notes = await inputNotes();
  expect([...notes.keys()].toSorted()).toEqual(kernelReleases());
  for (const { from, tried } of [...notes.values()].flat())
    expect([from, tried.length]).toEqual(["kernelurls", 1]);
});

it("builds and loads from the archive, when they are nowhere else", async () => {
  repositories.lose(/./);
  await emptyCache();
  // Something to do: what is published is built from other sources.
  await configure("0.2.0");

  const { exitCode, stdout, stderr } = await farm("run");

  expect(exitCode, stdout + stderr).toBe(0);
  const stable = (await readStable(store)).filter(({ driverVersion }) => driverVersion === "0.2.0");
  expect(stable.map(({ kversion }) => kversion).toSorted()).toEqual(kernelReleases());
  for (const { from, tried } of [...(await inputNotes()).values()].flat()) {
    expect(from).toBe("archive");
    expect(tried.length).toBeGreaterThan(0);
  }
});

/** What a build for one of them needs. */
const HEADERS = /kernel[\d.]*-devel|linux-headers/;

/** The module as if its headers had another checksum of a symbol's type. */
function withOtherCrc(module: Buffer, symbol: string): Buffer {
  const changed = Buffer.from(module);
  const versions = readElf(changed, "module").sections.find(({ name }) => name === "__versions");
  if (versions === undefined) throw new Error("there are no CRCs in it");
  // `struct modversion_info`: eight bytes for the CRC, then the name.
  const at = Buffer.from(versions.bytes).indexOf(`${symbol}\0`) - 8;
  if (at < 0 || at % 64 !== 0) throw new Error(`there is no CRC of ${symbol}`);
  changed[versions.offset + at] = (changed[versions.offset + at] as number) ^ 0xff;
  return changed;
}
