import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { makeSigningKey, type SigningKey } from "../../../../test/support/apt-repository.ts";
import { createRepository, serveFiles } from "../../../../test/support/rpm-repository.ts";
import { makeRpm } from "../../../../test/support/rpms.ts";
import { sharedDirectory, temporaryDirectory } from "../../../../test/support/temporary.ts";
import { fileDigest } from "../../../base/file-digest.ts";
import { Http } from "../../../base/http.ts";
import { openScratch } from "../../../base/scratch.ts";
import { believedKeys, type PackageTrust } from "../../../catalog/signing-keys.ts";
import { hostArchitecture } from "../../../kernel/architecture.ts";
import { bubblewrap } from "../../sandboxes/bubblewrap.ts";
import { type ToolchainContext, Toolchains } from "../toolchain.ts";
import { remakeRoot } from "./index.ts";
import type { RpmMirror } from "./root-method.ts";

const BUILDER = hostArchitecture(process.arch);
const SHARED = sharedDirectory();
const IMAGES = join(import.meta.dirname, "..", "..", "..", "..", "images");
const BUSYBOX = readFileSync("/bin/busybox");
const APPLETS = ["sh", "cat", "echo", "ls", "head", "find", "cp", "mkdir"];

/** A distribution of a few packages with the names of AlmaLinux's, that run because busybox does. */
beforeAll(() => {
  const directory = join(SHARED, "repository");
  mkdirSync(directory);
  const make = (name: string, content: Parameters<typeof makeRpm>[2] = {}) =>
    makeRpm(directory, name, { version: "1.0", release: "1.el9", architecture: BUILDER, ...content });
  make("filesystem", {
    install:
      "mkdir -p $R/usr/bin $R/usr/lib $R/usr/sbin $R/proc $R/tmp $R/etc; for d in bin lib sbin; do ln -s usr/$d $R/$d; done",
    list: ["/usr", "/bin", "/lib", "/sbin", "/proc", "/tmp", "/etc"],
  });
  make("bash", {
    head: ["Requires: filesystem"],
    files: { "usr/bin/busybox": BUSYBOX },
    install: `chmod 755 $R/usr/bin/busybox; for a in ${APPLETS.join(" ")}; do ln -s busybox $R/usr/bin/$a; done`,
    list: APPLETS.map((name) => `/usr/bin/${name}`),
  });
  const tool = (name: string, word: string) =>
    make(name, {
      head: ["Requires: bash"],
      files: { [`usr/bin/${name}`]: `#!/bin/sh\necho ${word}\n` },
      install: `chmod 755 $R/usr/bin/${name}`,
    });
  tool("gcc", "gcc 11 stand-in");
  tool("make", "make stand-in");
  for (const name of [
    "coreutils",
    "patch",
    "xz",
    "zstd",
    "gzip",
    "tar",
    "findutils",
    "diffutils",
    "grep",
    "sed",
    "gawk",
    "kmod",
    "elfutils-libelf",
    "openssl-libs",
    "perl-interpreter",
  ])
    make(name);
  KEY.signRpms(readdirSync(directory).map((name) => join(directory, name)));
});

/** Outside of tests: whoever makes it ends its agent after all of them. */
const KEY = makeSigningKey();
const OTHER_KEY = makeSigningKey();

const signedBy = (key: SigningKey, fingerprint = key.fingerprint, signsMetadata = false): PackageTrust => ({
  kind: "signed",
  keys: { what: "almalinux9.4", file: key.armoured, urls: [], fingerprints: [fingerprint] },
  signsMetadata,
});

async function toolchains(mirror: Pick<RpmMirror, "repositories"> & Partial<RpmMirror>, said: string[] = []) {
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  const http = new Http();
  onTestFinished(async () => {
    await http.close();
    await scratch.close();
  });
  const context: ToolchainContext = {
    ...{ cache, scratch, images: IMAGES, builder: BUILDER, emulated: new Set(), compilers: "exact" },
    keysOf: (source, signal) => believedKeys(source, { http, scratch, cache }, signal),
    mirrorOf: () => ({ format: "rpm", version: "9.4", trust: signedBy(KEY), ...mirror }),
    substitutes: new Map(),
    isCrossWanted: true,
    say: (line) => said.push(line),
  };
  return { cache, context, roots: new Toolchains(context) };
}

const serve = async (files: Map<string, Buffer> = createRepository(join(SHARED, "repository"))) => {
  const { url, requests } = await serveFiles(files);
  return {
    requests,
    mirror: { repositories: [{ name: "BaseOS", location: { kind: "baseurl" as const, urls: [url] } }] },
  };
};
const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : 1);
const wanted = {
  release: "almalinux9.4",
  architecture: BUILDER,
  compiler: { family: "gcc" as const, version: "11.4.1", source: "config" as const },
};

describe("a root of an rpm distribution", () => {
  test("is installed by dnf, works in the sandbox, and tells its packages inside and outside", async () => {
    const said: string[] = [];
    const files = createRepository(join(SHARED, "repository"));
    const repomd = files.get("repodata/repomd.xml")?.toString() ?? "";
    files.set("repodata/repomd.xml.asc", Buffer.from(KEY.signBeside(repomd)));
    const { mirror, requests } = await serve(files);
    const trust = signedBy(KEY, KEY.fingerprint, true);
    const { roots, cache, context } = await toolchains({ ...mirror, trust }, said);

    const root = await roots.root(wanted);

    const place = await temporaryDirectory();
    for (const name of ["output", "scratch"]) await mkdir(join(place, name));
    const result = await bubblewrap.run({
      root: root.path,
      scratch: join(place, "scratch"),
      inputs: [],
      outputs: [[join(place, "output"), "/output"]],
      links: [],
      emptyDirectories: [],
      env: { PATH: "/usr/bin" },
      argv: ["/bin/sh", "-c", "make && gcc"],
      ...{
        timeoutMs: 60_000,
        memoryBytes: 1 << 30,
        processLimit: 100,
        writableBytes: 1 << 20,
        outputLimitBytes: 1 << 20,
      },
      logFile: join(place, "log"),
    });
    expect(result.output).toContain("make stand-in\ngcc 11 stand-in\n");
    expect(root.packages).toContainEqual({ name: "gcc", version: "1.0-1.el9" });
    expect(root).toMatchObject({ builder: BUILDER, compiler: { command: "gcc" } });
    expect(root.mismatch).toBeUndefined();
    expect(said).toEqual(["almalinux9.4: its repositories have no dwarves"]);
    expect(root.compilers).toEqual({ [BUILDER]: "gcc 11 stand-in" });
    expect(await readdir(join(root.path, "dev"))).toEqual([]);
    // Nothing of this machine's rpm or dnf took part, and the next one costs nothing.
    expect(await readdir(join(root.path, "var/lib/rpm"))).not.toEqual([]);
    expect(await readdir(join(cache, "roots"))).toHaveLength(1);
    const before = requests().length;
    expect(await roots.isReady(wanted)).toBe(true);
    expect((await roots.root(wanted)).path).toBe(root.path);
    expect(requests().length).toBe(before);
    // Of a root that an earlier version made, the rest is found out when it is first used.
    const record = join(root.path, "..", "root.json");
    const { compilers: _, ...earlier } = JSON.parse(await readFile(record, "utf8"));
    await writeFile(record, JSON.stringify(earlier));
    await chmod(join(root.path, "usr/bin/busybox"), 0o4755);
    const again = new Toolchains({ ...context, say: (line) => said.push(line) });
    expect((await again.root(wanted)).compilers).toEqual(root.compilers);
    expect(JSON.parse(await readFile(record, "utf8"))).toEqual({ ...earlier, compilers: root.compilers });
    expect((await stat(join(root.path, "usr/bin/busybox"))).mode & 0o7777).toBe(0o755);
    expect((await stat(join(cache, "roots"))).mode & 0o777).toBe(0o700);
    expect(requests().length).toBe(before);
  });

  test("is made again of the packages that were kept, and of nothing else", async () => {
    const { mirror } = await serve();
    const { context, roots: others } = await toolchains(mirror);
    const roots = new Toolchains({ ...context, keepsPackages: true });
    const root = await roots.root(wanted);
    const materials = await roots.materials(wanted);
    if (materials === undefined) throw new Error("nobody knows what it was made of");
    const { format, files, fileOf } = materials;
    const place = await temporaryDirectory();
    const [made, work] = [join(place, "root"), join(place, "work")];
    await mkdir(work);

    const installed = await remakeRoot(
      { what: "almalinux9.4", builder: BUILDER, isEmulated: false, root: made, work },
      format,
      files.map(fileOf),
    );

    expect(installed).toEqual(root.packages);
    expect(files.map(({ name, version }) => ({ name, version })).toSorted(byName)).toEqual(root.packages);
    for (const one of files) {
      expect(`sha256:${one.sha256}`).toBe(await fileDigest(fileOf(one)));
      expect(one).toMatchObject({ architecture: expect.stringMatching(/^(x86_64|aarch64|noarch)$/) });
      expect(one.place).toMatch(/^http:/);
    }
    expect(readFileSync(join(made, "usr/bin/gcc"))).toEqual(readFileSync(join(root.path, "usr/bin/gcc")));
    // Another process finds the same.
    expect(await others.materials(wanted)).toMatchObject({ files });
  });

  test("without a package it needs is a fault that names it, and leaves nothing", async () => {
    const files = createRepository(join(SHARED, "repository"));
    const lacking = new Map(
      [...files].filter(([path]) => !path.includes("/primary") && !path.startsWith("kmod")),
    );
    const { mirror } = await serve(lacking);
    const { roots, cache } = await toolchains(mirror);

    await expect(roots.root(wanted)).rejects.toThrow(
      expect.objectContaining({
        code: "REMOTE_UNAVAILABLE",
        message: expect.stringContaining("almalinux9.4"),
      }),
    );
    expect(await readdir(cache)).not.toContain("roots");
  });

  test("is not made from metadata without a signature, where the distribution signs it", async () => {
    const { mirror } = await serve();
    const { roots } = await toolchains({ ...mirror, trust: signedBy(KEY, KEY.fingerprint, true) });

    await expect(roots.root(wanted)).rejects.toThrow(expect.objectContaining({ code: "SIGNATURE_INVALID" }));
  });

  test.each<[string, () => PackageTrust, string]>([
    ["somebody else's key is believed", () => signedBy(OTHER_KEY), "SIGNATURE_INVALID"],
    [
      "the key is not the one with that fingerprint",
      () => signedBy(KEY, OTHER_KEY.fingerprint),
      "SIGNATURE_INVALID",
    ],
    ["nobody named a key", () => ({ kind: "unknown" }), "CONFIG_INVALID"],
    ["they need no signature, and come over http", () => ({ kind: "unsigned" }), "CONFIG_INVALID"],
  ])("is refused when %s", async (_, trust, code) => {
    const { mirror, requests } = await serve();
    const { roots, cache } = await toolchains({ ...mirror, trust: trust() });

    await expect(roots.root(wanted)).rejects.toThrow(expect.objectContaining({ code }));
    expect(await readdir(cache)).not.toContain("roots");
    if (code === "CONFIG_INVALID") expect(requests()).toEqual([]);
  });

  test("of a compiler that the release does not offer is refused, or the nearest taken on the record", async () => {
    const { mirror } = await serve();
    const { roots } = await toolchains(mirror);
    const strange = { ...wanted, compiler: { ...wanted.compiler, version: "15.1.0" } };

    await expect(roots.root(strange)).rejects.toThrow(
      expect.objectContaining({ code: "COMPILER_UNAVAILABLE" }),
    );
  });

  test("for another architecture needs a machine that runs its programs", async () => {
    const { mirror } = await serve();
    const { roots } = await toolchains(mirror);
    const other = BUILDER === "x86_64" ? "aarch64" : "x86_64";

    await expect(roots.root({ ...wanted, architecture: other })).rejects.toThrow(
      expect.objectContaining({
        code: "ARCHITECTURE_UNAVAILABLE",
        message: `the image almalinux9 has no cross compiler, and this ${BUILDER} machine cannot run ${other} programs`,
      }),
    );
  });
});

test("the packages that the test serves are what rpm takes them for", () => {
  const file = join(SHARED, "repository", `gcc-1.0-1.el9.${BUILDER}.rpm`);

  expect(execFileSync("rpm", ["-qp", "--requires", file], { encoding: "utf8" })).toContain("bash\n");
});
