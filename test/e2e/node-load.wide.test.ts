/**
 * `--load` on nodes of Debian releases, against nginx: a first load, an upgrade, a version that the kernel refuses, one that
 * is in use, and one that is denied and must not be loaded after a reboot.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bundleNodeClient } from "../../scripts/node-client.ts";
import { CHECKOUT } from "../support/e2e-mirror.ts";
import {
  bootNode,
  buildDriver,
  makeDisk,
  type NodeRelease,
  nodeRelease,
  startNginx,
} from "../support/node-machine.ts";
import { blockOf, given, makeNodeRegistry, type NodeRegistry, rootNote } from "../support/node-registry.ts";
import { startServer } from "../support/server.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const CLIENT_FILES = [
  "kmodfarm-fetch",
  "kmodfarm-registry.sh",
  "kmodfarm-sets.sh",
  "kmodfarm-proofs.sh",
  "kmodfarm-lines.awk",
];

const SHELL = "dash /usr/local/lib/kmodfarm/kmodfarm-fetch";
const NODE = "node /usr/local/lib/kmodfarm/kmodfarm-fetch.mjs";

/** What a node does until it is turned off, and what each line says of it. */
const FIRST_BOOT: readonly (readonly [string, RegExp])[] = [
  ["step one", /^STEP one$/],
  ["get", /^SAID 0 exact: doorbell 1\.0\.0 is loaded from /],
  ["state", /^STATE kernel 1\.0\.0 disk 1\.0\.0 bells 7 rung 1 times$/],
  ["step two", /^STEP two$/],
  ["get", /^SAID 0 exact: doorbell 2\.0\.0 /],
  ["state", /^STATE kernel 2\.0\.0 disk 2\.0\.0 bells 7 rung 1 times$/],
  ["get", /^SAID 0 exact: /],
  ["step bad", /^STEP bad$/],
  [
    "get",
    /^SAID 3 cannotLoad: doorbell 3\.0\.0 does not load: .*(Input\/output|EIO).*in place again, and loaded$/,
  ],
  ["state", /^STATE kernel 2\.0\.0 disk 2\.0\.0 bells 7 rung 1 times$/],
  ["get", /^SAID 3 cannotLoad: .*next boot$/],
  ["state", /^STATE kernel 2\.0\.0 disk 2\.0\.0 bells 7 rung 2 times$/],
  ["step four", /^STEP four$/],
  ["exec 3</dev/doorbell; get", /^SAID 3 cannotLoad: doorbell cannot be replaced while it is in use/],
  ["exec 3<&-; state", /^STATE kernel 2\.0\.0 disk 2\.0\.0 bells 7 rung 3 times$/],
  ["get", /^SAID 0 exact: doorbell 4\.0\.0 /],
  ["state", /^STATE kernel 4\.0\.0 disk 4\.0\.0 bells 7 rung 1 times$/],
  ["step denied", /^STEP denied$/],
  ["get", /^SAID 1 denied: what was in place is removed: CVE-2026-1234$/],
];
const SECOND_BOOT: readonly (readonly [string, RegExp])[] = [
  ["modprobe doorbell; state", /^STATE kernel none disk none bells none rung none$/],
  ["get", /^SAID 1 withheld: .*CVE-2026-1234$/],
  ["state", /^STATE kernel none disk none bells none rung none$/],
  ["step back", /^STEP back$/],
  ["get", /^SAID 0 exact: doorbell 2\.0\.0 /],
  ["state", /^STATE kernel 2\.0\.0 disk 2\.0\.0 bells 7 rung 1 times$/],
];

const FUNCTIONS = (client: string, control: string, registry: string) => `
step() { curl -fsS "${control}/step/$1" >/dev/null && echo "STEP $1"; }
get() { said=$(${client} doorbell --load --registry "${registry}" 2>&1); echo "SAID $? $said"; }
state() {
  kernel=none bells=none rung=none
  [ ! -r /sys/module/doorbell/version ] || read -r kernel </sys/module/doorbell/version
  [ ! -r /sys/module/doorbell/parameters/bells ] || read -r bells </sys/module/doorbell/parameters/bells
  [ ! -c /dev/doorbell ] || { echo ring >/dev/doorbell && read -r rung </dev/doorbell; }
  disk=$(modinfo -F version doorbell 2>/dev/null) || disk=none
  echo "STATE kernel $kernel disk $disk bells $bells rung \${rung#rung }"
}
`;

/** With a parameter, which the node sets; the bad one fails in its second module. */
const changed = (isBad: boolean) => (file: string, text: string) =>
  file !== "doorbell.c"
    ? text
    : text
        .replace(
          "static ssize_t doorbell_read",
          "static int bells = 1;\nmodule_param(bells, int, 0444);\n\nstatic ssize_t doorbell_read",
        )
        .replace(
          "int failed = misc_register(&doorbell);",
          isBad ? "int failed = -EIO;" : "int failed = misc_register(&doorbell);",
        );

async function prepare(node: NodeRelease, registry: NodeRegistry) {
  const { release, version } = node;
  const artifacts = new Map<string, Awaited<ReturnType<typeof given>>>();
  for (const number of ["1.0.0", "2.0.0", "3.0.0", "4.0.0"]) {
    const modules = await buildDriver(node, number, changed(number === "3.0.0"));
    artifacts.set(number, await given(registry, { version: number, modules }));
  }
  const block = (number: string) =>
    blockOf(artifacts.get(number) as Awaited<ReturnType<typeof given>>, {
      ...{ release, uname: { kind: "uname", text: version } },
    });
  const four = artifacts.get("4.0.0");
  const why = "CVE-2026-1234";
  const denied =
    four !== undefined && "artifact" in four
      ? four.artifact.modules.map(({ digest }) => ({ module: digest, why }))
      : [];
  const steps: Readonly<Record<string, () => Promise<void>>> = {
    one: () => registry.publish([block("1.0.0")]),
    two: () => registry.publish([block("2.0.0")]),
    bad: () => registry.publish([block("3.0.0")]),
    four: () => registry.publish([block("4.0.0")]),
    denied: () => registry.publish([{ ...block("4.0.0"), answer: { kind: "withheld", why }, denied }]),
    back: () => registry.publish([{ ...block("2.0.0"), denied }]),
  };
  return steps;
}

test.each([
  ["bullseye", SHELL],
  ["bookworm", SHELL],
  ["trixie", SHELL],
  ["forky", SHELL],
  ["sid", SHELL],
  ["trixie", NODE],
])("a node of %s loads what it should, by %s", async (codename, client) => {
  const node = await nodeRelease(codename);
  const registry = await makeNodeRegistry();
  const steps = await prepare(node, registry);
  const nginx = await startNginx(node, registry.directory);
  let script = "";
  const control = await startServer((request, response) => {
    const [, name = ""] = /^\/step\/(\w+)$/.exec(request.url ?? "") ?? [];
    if (name === "") return void response.end(script);
    void (steps[name]?.() ?? Promise.reject(new Error(name))).then(
      () => response.end(),
      (fault: Error) => response.writeHead(500).end(fault.message),
    );
  });
  const port = Number(new URL(control.url).port);
  const directory = await temporaryDirectory();
  const files: Record<string, string | Buffer> = {
    "etc/kmodfarm/root": rootNote(),
    "etc/modprobe.d/doorbell.conf": "options doorbell bells=7\n",
  };
  for (const file of CLIENT_FILES)
    files[`usr/local/lib/kmodfarm/${file}`] = await readFile(join(CHECKOUT, "deploy/node", file));
  if (client === NODE) {
    await bundleNodeClient(join(directory, "client.mjs"));
    files["usr/local/lib/kmodfarm/kmodfarm-fetch.mjs"] = await readFile(join(directory, "client.mjs"));
    files["usr/local/bin/node"] = await readFile(process.execPath);
  }
  const disk = await makeDisk(node, files, directory);
  try {
    for (const acts of [FIRST_BOOT, SECOND_BOOT]) {
      script = `${FUNCTIONS(client, `http://10.0.2.2:${port}`, `http://10.0.2.2:${nginx.port}`)}\n${acts.map(([act]) => `${act}\n`).join("")}`;
      const said = await bootNode(node, disk, port, directory);
      expect(said).toEqual(acts.map(([, line]) => expect.stringMatching(line)));
    }
  } finally {
    await nginx.stop();
  }
});
