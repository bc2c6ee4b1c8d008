/**
 * What a node's first question costs beside the modules: requests and bytes of metadata, and processor time of both clients,
 * beside curl of the very same files.
 *
 *     npm run bench:fetch -- [artifacts…]
 */
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { machine, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { bundleNodeClient } from "../scripts/node-client.ts";
import { sha256 } from "../src/base/json.ts";
import { run } from "../src/base/run.ts";
import { removeTree } from "../src/base/strange-tree.ts";
import { blobPath } from "../src/provenance/blob-path.ts";
import { HEAD_PATH, writeHead } from "../src/provenance/head.ts";
import { toTime } from "../src/provenance/lines.ts";
import type { NodeBlock } from "../src/provenance/node-index.ts";
import { writeNote } from "../src/provenance/signed-note.ts";
import { writeTrust } from "../src/provenance/trust.ts";
import { writeIndex } from "../src/provenance/write-node-index.ts";
import { craftModule } from "../test/support/crafted-module.ts";
import { ORIGIN, signed } from "../test/support/notes.ts";
import { firstRoot, HEAD_KEY, ROOT_KEY } from "../test/support/signed-store.ts";
import { median } from "./measure.ts";

const given = process.argv.slice(2).map(Number);
const counts = given.length > 0 ? given : [10_000, 1_000_000];
const ROUNDS = 5;
/** What the crafted module was built for. */
const RELEASE = "6.1.0-56-amd64";
const VERSION = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)";
const BUDGETS = [
  { artifacts: 10_000, requests: 5, kibibytes: 32 },
  { artifacts: 1_000_000, requests: 6, kibibytes: 64 },
];
const SHELL_SECONDS = 0.5;
const MODULE = craftModule("doorbell");

const place = await mkdtemp(join(tmpdir(), "kmodfarm-fetch-"));
const client = join(place, "client.mjs");
await bundleNodeClient(client);
for (const count of counts) await measure(count);
await removeTree(place);

async function measure(count: number): Promise<void> {
  const files = registryOf(count);
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = (request.url ?? "").slice(1);
    asked.push(path);
    const bytes = files.get(path);
    response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const seconds: Record<string, number[]> = { sh: [], Node: [], curl: [] };
  const clients = { sh: ["dash", resolve("deploy/node/kmodfarm-fetch")], Node: [process.execPath, client] };
  let metadata: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, argv] of Object.entries(clients)) {
      const host = await makeHost(`${count}-${name}-${round}`);
      asked.length = 0;
      const options = ["--host-root", host, "--registry", url, "--to", join(host, "to")];
      seconds[name]?.push(await processorTime([...argv, "doorbell", ...options]));
      metadata = asked.filter((path) => files.get(path) !== MODULE);
    }
    const fetched = metadata.map((path) => `${url}/${path}`);
    seconds.curl?.push(
      await processorTime(["sh", "-c", 'for one; do curl -sS -o /dev/null "$one"; done', "sh", ...fetched]),
    );
  }
  server.close();
  const bytes = metadata.reduce((sum, path) => sum + (files.get(path)?.length ?? 0), 0);
  const budget = BUDGETS.find(({ artifacts }) => count <= artifacts);
  console.log(
    `${count.toLocaleString("en-US")} artifacts: ${metadata.length} requests (budget ${budget?.requests}), ${(bytes / 1024).toFixed(1)} KiB of metadata (budget ${budget?.kibibytes})`,
  );
  for (const [name, all] of Object.entries(seconds))
    console.log(
      `  ${name.padEnd(5)}${median(all).toFixed(2)} s of processor time${name === "sh" ? ` (budget ${SHELL_SECONDS})` : ""}`,
    );
}

/** By path. The kernel that is asked for is one of so many of its driver. */
function registryOf(count: number): ReadonlyMap<string, Buffer> {
  const sized = (text: string) => ({ digest: sha256(text), size: 9000 });
  const module = { file: "doorbell.ko", digest: sha256(MODULE), size: MODULE.length };
  const block = (at: number): NodeBlock => {
    const release = at === 0 ? RELEASE : `6.1.0-${at}-cloud-amd64`;
    const artifact = {
      ...{ version: "0.1.0", manifest: sized(`manifest ${at}`), provenance: [sized(`statement ${at}`)] },
      modules: [at === 0 ? module : { ...module, digest: sha256(`module ${at}`) }],
      signatures: [
        { file: "doorbell.ko", keyId: "6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1", ...sized(`p7s ${at}`) },
      ],
    };
    return {
      ...{ release, distribution: "debian12", packageVersion: "6.1.170-3", denied: [] },
      uname: { kind: "uname", text: VERSION },
      answer: { kind: "exact", artifact },
    };
  };
  const question = { driver: "doorbell", machine: machine() };
  const index = writeIndex(
    question,
    Array.from({ length: count }, (_, at) => block(at)),
  );
  const now = Date.now();
  const head = writeHead({
    ...{
      origin: ORIGIN,
      serial: 1,
      issued: toTime(new Date(now - 1000)),
      expires: toTime(new Date(now + 3_600_000)),
    },
    generation: { number: 1, digest: sha256("generation") },
    indices: [{ ...question, widths: index.widths, top: index.top }],
  });
  const files = new Map([[blobPath(module.digest), MODULE]]);
  files.set(HEAD_PATH, Buffer.from(writeNote(signed(head, ORIGIN, [HEAD_KEY]))));
  for (const [digest, text] of index.files) files.set(blobPath(digest), Buffer.from(text));
  return files;
}

async function makeHost(name: string): Promise<string> {
  const host = join(place, name);
  await mkdir(join(host, "etc/kmodfarm"), { recursive: true });
  await mkdir(join(host, "proc/sys/kernel"), { recursive: true });
  await writeFile(join(host, "proc/sys/kernel/osrelease"), `${RELEASE}\n`);
  await writeFile(join(host, "proc/sys/kernel/version"), `${VERSION}\n`);
  await writeFile(
    join(host, "etc/kmodfarm/root"),
    writeNote(signed(writeTrust(firstRoot()), ORIGIN, [ROOT_KEY])),
  );
  return host;
}

/** Of a program and all that it starts, as the shell counts it. */
async function processorTime(argv: readonly string[]): Promise<number> {
  const { stdout, exitCode } = await run(["sh", "-c", '"$@" >/dev/null || exit; times', "sh", ...argv]);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")} ended with ${exitCode}`);
  const times = stdout.trim().split("\n").at(-1) ?? "";
  return [...times.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, m, s]) => sum + Number(m) * 60 + Number(s),
    0,
  );
}
