/** Packages that attack the machine that installs them into a toolchain root. */
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { Http } from "../../src/base/http.ts";
import { run } from "../../src/base/run.ts";
import { openScratch } from "../../src/base/scratch.ts";
import { makeRoot } from "../../src/builder/toolchains/roots/index.ts";
import type { DebMirror, ReleaseMirror, RpmMirror } from "../../src/builder/toolchains/roots/root-method.ts";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import { believedKeys } from "../../src/catalog/signing-keys.ts";
import { toolchainMirror } from "../../src/farm/sources.ts";
import { hostArchitecture } from "../../src/kernel/architecture.ts";
import { createAptRepository, makeSigningKey } from "../support/apt-repository.ts";
import { makeDeb } from "../support/debs.ts";
import { escapesIn, hostileScript, listenIn, REPORT } from "../support/hostile-scripts.ts";
import { createRepository, serveFiles } from "../support/rpm-repository.ts";
import { makeRpm } from "../support/rpms.ts";
import { startServer } from "../support/server.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const BUILDER = hostArchitecture(process.arch);
const KEY = makeSigningKey();
const OTHER_KEY = makeSigningKey();
const APPLETS = [
  "cat",
  "chmod",
  "cp",
  "cut",
  "grep",
  "ls",
  "mkdir",
  "mknod",
  "mount",
  "sh",
  "tail",
  "tr",
  "unshare",
  "nc",
];

/** A directory of this machine with a socket in it, and a port; both say what came. */
async function layBait() {
  const directory = join(await temporaryDirectory(), "bait");
  await chmod(join(directory, ".."), 0o755);
  await mkdir(directory);
  await chmod(directory, 0o777);
  const socket = listenIn(directory);
  await once(socket, "listening");
  onTestFinished(() => void socket.close());
  const server = await startServer((_, response) => response.end("reached"));
  return { directory, port: Number(new URL(server.url).port), requests: server.requests };
}

async function make(mirror: ReleaseMirror, what: string, names: readonly string[]) {
  const place = join(await temporaryDirectory(), "place");
  await mkdir(join(place, "work"), { recursive: true, mode: 0o700 });
  await chmod(place, 0o700);
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  const http = new Http();
  onTestFinished(async () => {
    await http.close();
    await scratch.close();
  });
  const root = join(place, "root");
  const packages = names.map((name) => ({ name, isOptional: false }));
  const spec = { what, builder: BUILDER, isEmulated: false, packages, lock: new Map(), root };
  const context = {
    keysOf: (source: Parameters<typeof believedKeys>[0]) => believedKeys(source, { http, scratch, cache }),
  };
  const [work, kept] = [join(place, "work"), join(place, "kept")];
  await mkdir(kept);
  const made = await makeRoot({ ...spec, work, kept }, mirror, context);
  return { root, made };
}

async function rpmRepository(script: string): Promise<string> {
  const directory = join(await temporaryDirectory(), "repository");
  await mkdir(directory);
  await chmod(join(directory, ".."), 0o755);
  makeRpm(directory, "gcc", {
    version: "11.0",
    architecture: BUILDER,
    files: { "usr/bin/busybox": await readFile("/bin/busybox") },
    install: `mkdir -p $R/bin; chmod 755 $R/usr/bin/busybox; for a in ${APPLETS.join(" ")}; do ln -s ../usr/bin/busybox $R/bin/$a; done`,
    list: [...APPLETS.map((name) => `/bin/${name}`), "%post", script],
  });
  return directory;
}

const unsigned = (url: string): RpmMirror => ({
  format: "rpm",
  version: "9",
  repositories: [{ name: "baseos", location: { kind: "baseurl", urls: [url] } }],
  trust: { kind: "unsigned" },
});

/** Whatever is not root's, and what would make somebody root. */
async function leftOf(root: string): Promise<string> {
  const { stdout } = await run([
    "find",
    root,
    "(",
    "-perm",
    "/6000",
    "-o",
    "!",
    "-user",
    "root",
    "-o",
    "!",
    "-group",
    "root",
    ")",
  ]);
  return stdout;
}

describe("a package's script in a toolchain root", () => {
  test("reaches nothing of this machine, of rpm packages that a person takes unsigned", async () => {
    const bait = await layBait();
    const directory = await rpmRepository(hostileScript(bait));
    createRepository(directory);
    await run(["chmod", "--recursive", "a+rX", directory]);

    const { root, made } = await make(unsigned(`file://${directory}/`), "almalinux9", ["gcc"]);

    const report = await readFile(join(root, REPORT), "utf8");
    expect(escapesIn(report), report).toEqual([]);
    expect(bait.requests).toEqual([]);
    expect(await readdir(bait.directory)).toEqual(["socket"]);
    expect(made.notes).toEqual(["almalinux9: its packages are unsigned, as `allowUnsigned` permits"]);
    expect((await stat(join(root, "usr/bin/sharp-shell"))).mode & 0o7777).toBe(0o755);
    expect(await leftOf(root)).toBe("");
  });

  test("never runs where nobody signed its package, and nobody on the way of unsigned ones is asked", async () => {
    const bait = await layBait();
    const directory = await rpmRepository(hostileScript(bait));
    const { url, requests } = await serveFiles(createRepository(directory));
    const keys = { what: "almalinux9", file: KEY.armoured, urls: [], fingerprints: [KEY.fingerprint] };
    const signed = { ...unsigned(url), trust: { kind: "signed" as const, keys, signsMetadata: false } };

    await expect(make(unsigned(url), "almalinux9", ["gcc"])).rejects.toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(url) }),
    );
    expect(requests()).toEqual([]);
    await expect(make(signed, "almalinux9", ["gcc"])).rejects.toThrow(
      expect.objectContaining({ code: "SIGNATURE_INVALID" }),
    );
    expect(bait.requests).toEqual([]);
    expect(await readdir(bait.directory)).toEqual(["socket"]);
  });

  test("reaches nothing of this machine, of Debian packages beside the release's own", async () => {
    const bait = await layBait();
    const debs = await temporaryDirectory();
    await makeDeb(debs, "sharp", {
      "DEBIAN/postinst": `#!/bin/sh\n${hostileScript(bait)}`,
      "usr/share/sharp": "x",
    });
    const { url } = await serveFiles(createAptRepository(KEY, "sharp", debs));
    const known = toolchainMirror([], await readHostMirrors(), "debian12", BUILDER);
    const usual = known as DebMirror;
    const keyring = join(await temporaryDirectory(), "keyring.gpg");
    await writeFile(keyring, Buffer.concat([await readFile(usual.keyring), await readFile(KEY.keyring)]));
    const own = { url, suite: "sharp", components: ["main"] };
    const mirror: DebMirror = { ...usual, keyring, lines: [usual.lines[0], own] };

    const { root, made } = await make(mirror, "debian12", ["sharp"]);

    const report = await readFile(join(root, REPORT), "utf8");
    expect(escapesIn(report), report).toEqual([]);
    expect(bait.requests).toEqual([]);
    expect(await readdir(bait.directory)).toEqual(["socket"]);
    expect(made.packages).toContainEqual({ name: "sharp", version: "1" });
    expect((await stat(join(root, "usr/bin/sharp-shell"))).mode & 0o7777).toBe(0o755);
    expect((await stat(join(root, "usr/bin/su"))).mode & 0o7777).toBe(0o755);
    expect(await leftOf(root)).toBe("");
    await expect(make({ ...mirror, keyring: OTHER_KEY.keyring }, "debian12", ["sharp"])).rejects.toThrow(
      expect.objectContaining({ code: "SIGNATURE_INVALID" }),
    );
  });
});
