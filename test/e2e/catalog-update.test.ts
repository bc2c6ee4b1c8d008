/** `kmodfarm catalog update` on a bad day: what it says, where, and with which exit code. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { makeSigningKey, startRepository } from "../support/apt-repository.ts";
import { inProcess } from "../support/in-process.ts";
import { makeListedPackage } from "../support/kernels.ts";
import { serveFiles } from "../support/rpm-repository.ts";
import { makeRpmRepositories } from "../support/rpm-source.ts";
import { startServer } from "../support/server.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const BIN = fileURLToPath(new URL("../../bin/kmodfarm", import.meta.url));
const KEY = makeSigningKey();
const { repositoryOf } = makeRpmRepositories();

/** A farm without drivers in a directory of its own, as somebody tries it first. */
async function openFarm(sources: string) {
  const directory = await temporaryDirectory();
  const config = join(directory, "kmodfarm.yaml");
  const configure = (text: string) => writeFile(config, `sources:\n${text}`);
  await configure(sources);
  return {
    directory,
    configure,
    update: (...args: string[]) => inProcess(["catalog", "update", "--config", config, ...args]),
  };
}

/** The command in a process of its own. */
async function kmodfarm(directory: string, ...args: readonly string[]) {
  try {
    return { exitCode: 0, ...(await promisify(execFile)(BIN, args, { cwd: directory })) };
  } catch (thrown) {
    const { code, stdout, stderr } = thrown as { code: number; stdout: string; stderr: string };
    return { exitCode: code, stdout, stderr };
  }
}

function kernelPackages(abi: number) {
  const kversion = `6.1.0-${abi}-amd64`;
  return [
    makeListedPackage({
      name: `linux-headers-${kversion}`,
      depends: `linux-headers-6.1.0-${abi}-common, linux-kbuild-6.1, gcc-12`,
    }),
    makeListedPackage({ name: `linux-headers-6.1.0-${abi}-common`, architecture: "all" as const }),
    makeListedPackage({ name: "linux-kbuild-6.1" }),
    makeListedPackage({ name: `linux-image-${kversion}` }),
  ];
}

const debian12 = (url: string, more = "") =>
  `  - {kind: apt, releases: [debian12], mirror: '${url}', securityMirror: '${url}', keyring: ${KEY.keyring}${more}}\n`;

const count = (text: string, part: string) => text.split(part).length - 1;

describe("what is not there", () => {
  test.each<[string, (url: string) => string, string]>([
    [
      "an rpm repository",
      (url) => `  - {kind: rpm-md, release: almalinux9.4, name: own, baseurl: '${url}/wrong/$basearch'}\n`,
      "/wrong/x86_64/repodata/repomd.xml",
    ],
    ["an apt mirror", (url) => debian12(`${url}/wrong`), "/wrong/dists/bookworm/InRelease"],
    ["a suite", (url) => debian12(url, ", suites: [bookworm, nosuch]"), "/dists/nosuch/InRelease"],
    ["a list", (url) => `  - {kind: kernel-crawler, list: '${url}/x86_64/list.json'}\n`, "/x86_64/list.json"],
  ])("%s that the configuration names: exit 3, and its URL", async (_, sources, path) => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: kernelPackages(55) });
    const { update } = await openFarm(sources(repository.url));

    const { exitCode, stdout, stderr } = await update();

    expect(exitCode).toBe(3);
    expect(stderr).toContain(`failed: the server has no ${repository.url}${path}`);
    expect(stderr).toMatch(/of \d+ sources needs? a look/);
    expect(stderr).toContain("Compare the mirror, release, suites or list");
    expect(stderr).not.toMatch(/acceptExpired|--accept-withdrawals/);
    expect(stdout).not.toContain(path);
    expect(stdout).toMatch(/ failed +0 /);
  });

  test("a suite that not every release has: exit 0, and nothing said", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: kernelPackages(55) });
    const { update } = await openFarm(debian12(repository.url));

    const { exitCode, stdout, stderr } = await update();

    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^debian\/bookworm-backports +debian12 +notServed/m);
    expect(stdout).toMatch(/\n1 kernel, 1 of them new\.\n$/);
  });
});

describe("what went wrong is told once, with the step that helps", () => {
  test("lost kernels: accept them; then they are withdrawn", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: [53, 54, 55, 56].flatMap(kernelPackages) });
    const { update } = await openFarm(debian12(repository.url));
    await update();
    repository.publish("bookworm", { packages: [55, 56].flatMap(kernelPackages) });

    const doubted = await update();
    const accepted = await update("--accept-withdrawals");

    expect(doubted.exitCode).toBe(3);
    expect(count(doubted.stdout + doubted.stderr, "are gone at once")).toBe(1);
    expect(doubted.stdout).toMatch(/^debian\/bookworm +debian12 +suspect +4 /m);
    expect(doubted.stderr).toContain("catalog update --accept-withdrawals");
    expect(doubted.stderr).not.toContain("acceptExpired");
    expect(accepted).toMatchObject({ exitCode: 0, stderr: "" });
    expect(accepted.stdout).toContain("2 withdrawn");
  });

  test("bytes that are wrong: the kernels stay, and the table says how many", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: kernelPackages(55) });
    const { update } = await openFarm(debian12(repository.url));
    await update();
    repository.publish("bookworm", { packages: kernelPackages(56) });
    for (const [path, bytes] of repository.files)
      if (path.endsWith("binary-amd64/Packages.xz")) repository.files.set(path, Buffer.alloc(bytes.length));

    const { exitCode, stdout, stderr } = await update();

    expect(exitCode).toBe(4);
    expect(stdout).toMatch(/^debian\/bookworm +debian12 +failed +1 /m);
    expect(count(stdout + stderr, "Packages.xz")).toBe(1);
    expect(stderr).toContain("every kernel known before was kept");
    expect(stderr).not.toContain("Nothing was kept");
  });

  test("old metadata: it can be accepted", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", {
      packages: kernelPackages(55),
      validUntil: "Mon, 09 Feb 2026 10:00:00 UTC",
    });
    const { update } = await openFarm(debian12(repository.url));

    const { exitCode, stderr } = await update();

    expect(exitCode).toBe(3);
    expect(stderr).toMatch(/expired: its metadata was valid until.*\n[\s\S]*acceptExpired: true/);
    expect(stderr).not.toContain("--accept-withdrawals");
  });

  test("with --json it is one document on stdout and one on stderr", async () => {
    const { update } = await openFarm("  - {kind: kernel-crawler, list: nowhere.json, name: theirs}\n");

    const { exitCode, stdout, stderr } = await update("--json");

    expect(exitCode).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({
      problems: [{ source: "theirs", detail: expect.stringContaining("ENOENT") }],
      sources: [{ id: "theirs", status: "failed" }],
    });
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: "CATALOG_SUSPECT", message: expect.stringContaining("1 of 1 sources needs a look") },
    });
  });
});

describe("what is left out is a warning", () => {
  test("entries of a list", async () => {
    const { directory, update } = await openFarm("  - {kind: kernel-crawler, list: x86_64.json}\n");
    const release = "6.1.12-17.42.amzn2023.x86_64";
    const list = {
      AmazonLinux2023: [
        {
          ...{ kernelversion: 1, kernelrelease: release, target: "amazonlinux2023" },
          headers: [`https://cdn.example/kernel-devel-${release}.rpm`],
        },
        { kernelversion: 1, kernelrelease: "../../etc", target: "fedora" },
      ],
    };
    await writeFile(join(directory, "x86_64.json"), JSON.stringify(list));

    const { exitCode, stdout, stderr } = await update();

    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/^warning: kernel-crawler-x86_64: 1 entry dropped: .*\n$/);
    expect(stdout).toMatch(/\n1 kernel, 1 of them new, 1 left out\.\n$/);
  });
});

describe("sources that are no longer configured", () => {
  test("have no row that says they are well, and their kernels stay", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: kernelPackages(55) });
    const alma = await serveFiles(await repositoryOf("alma"));
    const { configure, update } = await openFarm(debian12(repository.url));
    await update();
    await configure(`  - {kind: rpm-md, release: almalinux9.4, name: own, baseurl: '${alma.url}'}\n`);

    const { exitCode, stdout } = await update();

    expect(exitCode).toBe(0);
    expect(stdout).not.toMatch(/^debian\/bookworm /m);
    expect(stdout).toMatch(
      /so not queried; their kernels stay: debian\/bookworm \(1\)\.\n3 kernels, 2 of them new\.\n$/,
    );
  });
});

describe("while servers take their time", () => {
  test("others may write to the store, and what they learned is not lost", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: kernelPackages(55) });
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const slow = await startServer(({ url = "" }, response) => {
      if (url.includes("InRelease")) asked.resolve();
      void gate.promise.then(() => {
        const content = repository.files.get(url.slice(1));
        response.writeHead(content === undefined ? 404 : 200).end(content);
      });
    });
    const { directory } = await openFarm(debian12(slow.url));
    const list = {
      fedora: [
        {
          ...{ kernelversion: 1, kernelrelease: "6.8.5-301.fc40.x86_64", target: "fedora" },
          headers: ["https://cdn.example/kernel-devel-6.8.5-301.fc40.x86_64.rpm"],
        },
      ],
    };
    await writeFile(join(directory, "list.json"), JSON.stringify(list));

    const updating = kmodfarm(directory, "catalog", "update");
    await asked.promise;
    const imported = await kmodfarm(directory, "catalog", "import", "list.json", "--arch", "x86_64");
    gate.resolve();
    const updated = await updating;

    expect(imported, imported.stderr).toMatchObject({ exitCode: 0 });
    expect(updated, updated.stderr).toMatchObject({ exitCode: 0 });
    expect(updated.stdout).toMatch(/\n2 kernels, 1 of them new\.\n$/);
  });
});
