/**
 * One night with everything at once that ever ended one, or kept it from seeing who was at fault: what is good is
 * built and published, and each of the others is named.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitOf } from "../../src/cli/faults.ts";
import {
  ALL_DONE,
  CLOUD,
  type CliResult,
  DOORBELL,
  leftovers,
  type TestFarm,
  useFarms,
} from "../support/e2e-farm.ts";
import { addDeepPath, gitIn } from "../support/git-trees.ts";

const NO_SPACE = "No space left on device";
const UNCONFIRMED =
  "a.sh: 1: syntax error env: 'x': No such file or directory /a: Read-only file system Could not resolve host pahole: not found: gcc: not found";
const KILLERS = ["git", "deep", "links", "says-full", "says-sandbox", "says-killed", "talks"];

const farms = useFarms();
let farm: TestFarm;
let server: Server;

beforeAll(async () => {
  server = await hostileRepository();
  farm = await farms.farm({
    mirror: await farms.mirror(),
    select: { ...CLOUD, architectures: ["x86_64"] },
    warm: ALL_DONE,
    drivers: [
      DOORBELL,
      { name: "indexed", source: { git: "repository", revision: "v1.0.0" }, versions: ["1.0.0"] },
      { name: "git", source: { git: "repository", revision: "deep" }, versions: ["1.0.0"] },
      { name: "deep", source: "deep.tar", versions: ["1.0.0"] },
      { name: "links", source: "links.tar", versions: ["1.0.0"] },
      script("says-full", `echo "cc1: fatal error: error writing to /tmp/ccXX.s: ${NO_SPACE}"; exit 1`),
      script("says-sandbox", `echo "bwrap: Creating new namespace failed: ${NO_SPACE}"; exit 1`),
      script("says-killed", "echo Killed; exit 137"),
      script("talks", `yes "${UNCONFIRMED}" | head -c 3900000; exit 1`),
    ],
  });
  await makeSources(farm.directory);
  const config = JSON.parse(await readFile(farm.config, "utf8"));
  const { port } = server.address() as AddressInfo;
  config.sources.push(
    { kind: "rpm-md", release: "almalinux9.4", baseurl: `http://127.0.0.1:${port}/repo` },
    { kind: "kernel-crawler", list: "broken.json", name: "broken", architecture: "x86_64" },
  );
  await writeFile(farm.config, JSON.stringify(config));
});

afterAll(() => {
  server.close();
});

function script(name: string, line: string) {
  return { name, source: "plain", versions: ["1.0.0"], prepare: line };
}

describe("one night with everything that ever ended one", () => {
  let first: CliResult;

  it("builds and publishes what is good, and names all others", async () => {
    first = await farm.cli("run", "--json");

    const { elements, problems } = JSON.parse(first.stdout);
    const outcomes = new Map(
      elements.map((one: { driver: string; outcome: string }) => [one.driver, one.outcome]),
    );
    expect(Object.fromEntries(outcomes)).toEqual({
      doorbell: "stable",
      indexed: "stable",
      ...Object.fromEntries(KILLERS.map((name) => [name, "failed"])),
    });
    expect(problems.map(({ source }: { source: string }) => source).sort()).toEqual([
      expect.stringMatching(/^almalinux9\.4\/repository-/),
      "broken",
    ]);
    const rows = elements.map((one: { attempt: object }) => ({ ...one, note: one.attempt }));
    expect(first.exitCode).toBe(exitOf({ rows, problems }));
    expect(first.exitCode).not.toBe(0);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("takes no build's word for a fault of this machine", () => {
    const { elements } = JSON.parse(first.stdout);
    const blames = Object.fromEntries(
      elements.map((one: { driver: string; attempt: { failure?: { blame: string; tries?: number } } }) => [
        one.driver,
        [one.attempt.failure?.blame, one.attempt.failure?.tries],
      ]),
    );

    for (const name of ["says-full", "says-sandbox", "says-killed"])
      expect(blames[name], name).toEqual(["unknown", 1]);
    expect(blames.talks?.[0]).toMatch(/^(source|unknown)$/);
  });

  it("shows no terminal code of a stranger", () => {
    expect(first.stderr.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
  });

  it("stops trying what nothing explains after three nights", async () => {
    await farm.cli("run");
    await farm.cli("run");

    const { elements } = JSON.parse((await farm.cli("run", "--json")).stdout);

    const full = elements.find(({ driver }: { driver: string }) => driver === "says-full");
    expect(full.isNew).toBe(false);
    expect(full.attempt.failure.tries).toBe(3);
  });
});

async function makeSources(directory: string): Promise<void> {
  const source = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n';
  for (const name of ["plain", "repository", join("repository", ".git-index")])
    await mkdir(join(directory, name), { recursive: true });
  for (const name of ["plain", "repository"]) {
    await writeFile(join(directory, name, "Kbuild"), "obj-m := x.o\n");
    await writeFile(join(directory, name, "x.c"), source);
  }
  await writeFile(join(directory, "repository", ".git-index", "x"), "x");
  const repository = join(directory, "repository");
  for (const words of [
    ["init", "-q"],
    ["add", "-A"],
    ["commit", "-qm", "x"],
    ["tag", "v1.0.0"],
  ])
    gitIn(repository, "", ...words);
  addDeepPath(repository);
  const module = [tarEntry("d/Kbuild", "obj-m := x.o\n"), tarEntry("d/x.c", source)];
  // Below PATH_MAX by itself, and above it below any cache.
  const deep = `d/${Array.from({ length: 20 }, () => "n".repeat(200)).join("/")}`;
  const long = Buffer.from(`${deep}\0`);
  await writeTar(join(directory, "deep.tar"), [
    ...module,
    tarEntry("././@LongLink", long, "L"),
    tarEntry(deep.slice(0, 100), "", "5"),
  ]);
  await writeTar(join(directory, "links.tar"), [
    ...module,
    tarEntry("d/evil", "", "2", "/\u001b]0;title of your terminal\u0007\u001b[31mred\u001b[2K\r"),
  ]);
  await writeFile(join(directory, "broken.json"), '{"debian": [');
}

function tarEntry(name: string, content: string | Buffer, type = "0", link = ""): Buffer {
  const body = Buffer.from(content);
  const head = Buffer.alloc(512);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits - 1, "0");
  head.write(name, 0, 100);
  head.write(octal(type === "5" ? 0o755 : 0o644, 8), 100);
  head.write(octal(0, 8), 108);
  head.write(octal(0, 8), 116);
  head.write(octal(body.length, 12), 124);
  head.write(octal(0, 12), 136);
  head.write("        ", 148);
  head.write(type, 156);
  head.write(link, 157, 100);
  head.write("ustar  \0", 257, "latin1");
  head.write(
    octal(
      head.reduce((sum, byte) => sum + byte, 0),
      7,
    ),
    148,
  );
  return Buffer.concat([head, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

async function writeTar(file: string, entries: readonly Buffer[]): Promise<void> {
  await writeFile(file, Buffer.concat([...entries, Buffer.alloc(1024)]));
}

/** One whose list of packages is called like a method that every object has. */
async function hostileRepository(): Promise<Server> {
  const primary = "<metadata/>";
  const digest = createHash("sha256").update(primary).digest("hex");
  const repomd = `<?xml version="1.0"?><repomd><revision>1790000000</revision><data type="primary"><checksum type="sha256">${digest}</checksum><location href="repodata/primary.constructor"/><size>${primary.length}</size></data></repomd>`;
  const started = createServer((request, response) => {
    if (request.url?.endsWith("repomd.xml")) response.end(repomd);
    else if (request.url?.endsWith("primary.constructor")) response.end(primary);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  return started;
}
