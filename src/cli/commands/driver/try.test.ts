import { once } from "node:events";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import type { Progress } from "../../../base/progress.ts";
import { configIn } from "../../../farm/config/index.ts";
import { asOfAStranger, resultOf, withoutPublishing } from "./try.ts";

test.each<[string, (server: string) => object]>([
  ["mirror", (server) => ({ kind: "apt", releases: ["debian12"], mirror: server })],
  ["securityMirror", (server) => ({ kind: "apt", releases: ["debian12"], securityMirror: server })],
  ["portsMirror", (server) => ({ kind: "apt", releases: ["ubuntu24.04"], portsMirror: server })],
  ["keyring", () => ({ kind: "apt", releases: ["debian12"], keyring: "key.gpg" })],
  ["acceptExpired", () => ({ kind: "apt", releases: ["debian12"], acceptExpired: true })],
  ["baseurl", (server) => ({ kind: "rpm-md", release: "rocky9.4", baseurl: server })],
  ["mirrorlist", (server) => ({ kind: "rpm-md", release: "rocky9.4", mirrorlist: server })],
  ["metalink", (server) => ({ kind: "rpm-md", release: "rocky9.4", metalink: server })],
  ["keyUrl", (server) => ({ kind: "rpm-md", release: "rocky9.4", keyUrl: server })],
  ["fingerprints", () => ({ kind: "rpm-md", release: "rocky9.4", fingerprints: ["A".repeat(40)] })],
  ["list", (server) => ({ kind: "kernel-crawler", list: `${server}/x86_64/list.json` })],
  ["list", () => ({ kind: "kernel-crawler", list: "list.json", architecture: "x86_64" })],
  [
    "list, credentials",
    () => ({
      ...{ kind: "kernel-crawler", list: "https://lists.example/list.json", architecture: "x86_64" },
      credentials: { tokenFile: "../../.ssh/token" },
    }),
  ],
])(
  "a configuration that lies in the tree has no server asked, and nobody believed: %s",
  async (word, source) => {
    let requests = 0;
    const server = createServer((_, response) => {
      requests++;
      response.end();
    });
    onTestFinished(() => void server.close());
    await once(server.listen(0, "127.0.0.1"), "listening");
    const tree = await temporaryDirectory();
    await mkdir(join(tree, "src"));
    await writeFile(join(tree, "src/Kbuild"), "obj-m += x.o\n");
    const { port } = server.address() as AddressInfo;
    const config = { sources: [source(`http://127.0.0.1:${port}`)] };
    await writeFile(join(tree, "kmodfarm.yaml"), JSON.stringify(config));

    const { exitCode, stderr } = await inProcess(["try"], { cwd: join(tree, "src") });

    expect([exitCode, requests]).toEqual([2, 0]);
    expect(stderr).toContain(`whom to believe (${word} in \`sources\`)`);
    expect(stderr).toContain(`try --config ${join(tree, "kmodfarm.yaml")}`);
  },
);

test("a directory that is not there is not tried as the driver of the configuration above", async () => {
  const tree = await temporaryDirectory();
  await writeFile(join(tree, "Kbuild"), "obj-m += x.o\n");
  await writeFile(join(tree, "kmodfarm.yaml"), "drivers: [{name: x, source: ., versions: ['1']}]\n");

  for (const path of ["no-such-directory", "Kbuild"])
    expect(await inProcess(["try", path], { cwd: tree })).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/no directory/),
    });
});

test("a configuration that lies in the tree decides nothing of this machine", async () => {
  const tree = await temporaryDirectory();
  const theirs = configIn(
    tree,
    {
      ...{ sources: [{ kind: "apt", releases: ["debian12"] }], select: { newest: 2 } },
      ...{ jobs: 10_000, sandbox: "docker", limits: { memory: "900G" }, cacheLimit: "1M", policy: "p.yaml" },
      ...{ privateHosts: ["10.0.0.1"], order: "gap" },
      feeds: [{ kind: "kev", from: "http://10.0.0.2/kev.json" }],
    },
    {},
  );

  const ours = asOfAStranger(theirs, {});

  const usual = configIn(tree, {}, {});
  const kept = { sources: theirs.sources, select: theirs.select, own: theirs.own };
  expect(ours).toEqual({ ...usual, ...kept });
});

test("the progress of a try calls nothing published, because nothing is", () => {
  const seen: unknown[] = [];
  const board: Progress = { say: () => {}, element: ({ name }, ...more) => seen.push([name, ...more]) };
  const progress = withoutPublishing(board);

  progress.element({ key: "a", name: "a" }, "published");
  progress.element({ key: "b", name: "b" }, "candidate", "load: unknown");
  progress.element({ key: "c", name: "c" }, "failed", "why");

  expect(seen).toEqual([
    ["a", "built", undefined],
    ["b", "built", "load: unknown"],
    ["c", "failed", "why"],
  ]);
});

test.each(["../..", "../link-to-home"])(
  "a configuration that lies in the tree does not make a driver of what lies above it (%s)",
  async (source) => {
    const home = await temporaryDirectory();
    const tree = join(home, "work/driver");
    await mkdir(tree, { recursive: true });
    await symlink(home, join(home, "work/link-to-home"));
    await writeFile(join(home, "secret"), "PRIVATE\n");
    await writeFile(join(tree, "README"), "");
    const driver = { name: "thief", source, directory: "work/driver", versions: ["1.0.0"] };
    await writeFile(join(tree, "kmodfarm.yaml"), JSON.stringify({ drivers: [driver] }));

    const { exitCode, stderr } = await inProcess(["try"], { cwd: tree });

    // The tree itself is looked at instead, and builds nothing.
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/work\/driver has no dkms\.conf, and no Kbuild/);
  },
);

test("a try of no kernel says what left none, and is no success", () => {
  const none = { rows: [], problems: [], covering: 0, kernels: 175 };

  expect(resultOf({ ...none, ofAll: 24 })).toBe(
    "No kernel was tried: of the 24 kernels that the configuration selects, the command line asks for none.",
  );
  expect(resultOf(none)).toBe(
    "No kernel was tried: the configuration selects none of the 175 known kernels.",
  );
});
