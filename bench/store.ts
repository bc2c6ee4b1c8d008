/**
 * What a registry in a bucket costs, on a real server (radosgw) of this machine: requests and bytes of a publication and of
 * a night without news, as they go over the wire; speed beside rclone's; memory. Each line with its limit; exits 1 unless
 * all are kept.
 *
 *     npm run bench:store -- [artifacts] [releases]
 */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import PQueue from "p-queue";
import { sha256, toDocument } from "../src/base/json.ts";
import { run } from "../src/base/run.ts";
import { openScratch } from "../src/base/scratch.ts";
import { withAllLearned } from "../src/kernel/facts.ts";
import { blobPath, putBlob } from "../src/registry/blobs.ts";
import { type Author, commit } from "../src/registry/commit.ts";
import { copyStore } from "../src/registry/copy.ts";
import type { Published } from "../src/registry/documents.ts";
import { newestGeneration, readPublished } from "../src/registry/generations.ts";
import { publishHead } from "../src/registry/head.ts";
import { keptBlobs } from "../src/registry/kept.ts";
import { NOTHING_PUBLISHED } from "../src/registry/parts.ts";
import { nextState, type Outcome } from "../src/registry/publish.ts";
import { openFolderStore } from "../src/registry/stores/folder.ts";
import { openS3Store } from "../src/registry/stores/s3.ts";
import type { Store } from "../src/registry/stores/store.ts";
import { adopt, openVoucher, readVouched } from "../src/registry/vouched.ts";
import { makeManifest } from "../test/support/artifacts.ts";
import { startS3Proxy } from "../test/support/s3-proxy.ts";
import { placeOf, startRadosgw, withBucket } from "../test/support/s3-servers.ts";
import { firstRoot, headMaker, putRoot } from "../test/support/signed-store.ts";
import { factsOn, firstNight, megabytes, notedOutcome } from "./registry.ts";

const [count = 10_000, releases = 20] = process.argv.slice(2).map(Number);
const AUTHOR = { who: "bench", what: "run", now: () => new Date() };
/** With a root, heads and a log, as farms have them. */
const SIGNER = { ...AUTHOR, head: headMaker({ now: new Date() }) };
const FILES = { number: 500, bytes: 700_000 };
const LARGE_BYTES = 200_000_000;
const PART_OF_RCLONE = 0.7;
const MEMORY_LIMIT_BYTES = 150e6;

const undo: (() => unknown)[] = [];
let environment: Readonly<Record<string, string>> = {};
let isGood = true;
const place = await mkdtemp(join(tmpdir(), "kmodfarm-bench-"));
const scratch = await openScratch(join(place, "tmp"));
try {
  console.error("starting radosgw");
  const server = await withBucket(await startRadosgw(18480));
  undo.push(() => server.stop());
  environment = { ...server.env, PATH: process.env.PATH ?? "" };
  await requests(server.endpoint);
  await speed(server.endpoint);
  await memory(server.endpoint);
} finally {
  for (const stop of undo.toReversed()) await stop();
  await scratch.close();
  await rm(place, { recursive: true });
}
process.exitCode = isGood ? 0 : 1;

function line(what: string, found: string, limit: string, isKept: boolean): void {
  isGood &&= isKept;
  console.log(`${isKept ? "ok  " : "OVER"}  ${what.padEnd(46)} ${found.padEnd(34)} limit: ${limit}`);
}

async function requests(endpoint: string): Promise<void> {
  const proxy = await startS3Proxy(endpoint, (stop) => undo.push(stop));
  /** As another process has it, with what this machine keeps. */
  const open = (cache: string): Promise<Store> =>
    openS3Store(placeOf(proxy, "farm"), { kept: keptBlobs(join(place, cache), scratch) });
  const { catalog, facts, outcomes } = firstNight(count, releases);
  const all = nextState(NOTHING_PUBLISHED, catalog, outcomes, { facts });
  const first = await open("warm");
  // Modules are as small as they can be: their bytes are not what is measured, but each has a place in its set.
  const queue = new PQueue({ concurrency: 8 });
  await Promise.all(outcomes.map((_, index) => queue.add(() => putBlob(first, `module built ${index}`))));
  await putBlob(first, "log built");
  const { state } = await commit(first, () => ({ state: all, result: 0 }), AUTHOR);
  // Showing ten thousand artifacts is not measured either.
  await first.removeAll("marks");
  console.log(`${count} artifacts in ${releases} releases: ${Object.keys(state.parts).length} parts`);

  /** What is published now, as a run begins. */
  const begin = async (store: Store, { head }: Author) =>
    head === undefined ? readPublished(store) : readVouched(store, await openVoucher(store, head));
  const night = async (cache: string, author: Author = AUTHOR) => {
    const store = await open(cache);
    proxy.requests.length = 0;
    const published = await begin(store, author);
    const { show } = await commit(
      store,
      (before) => ({ state: nextState(before, catalog, []), result: 0 }),
      author,
      { state: published, isNewest: true },
    );
    await show();
    return counted();
  };
  const counted = () => ({
    all: proxy.requests.length,
    writes: proxy.requests.filter(({ method }) => method !== "GET" && method !== "HEAD").length,
    lists: proxy.requests.filter(({ query }) => query.has("list-type")).length,
    sent: proxy.requests.reduce((sum, { sent }) => sum + sent, 0),
  });
  const words = ({ all: asked, writes, lists }: ReturnType<typeof counted>) =>
    `${asked} requests, ${writes} writes, ${lists} LIST`;
  const cold = await night("cold");
  const isQuiet = cold.writes === 0 && cold.lists === 0;
  line(
    "a night without news, nothing in the cache",
    words(cold),
    "60 requests, 0 writes, 0 LIST",
    isQuiet && cold.all <= 60,
  );
  const warm = await night("warm");
  line("the same, warm cache", words(warm), "5 requests", warm.all <= 5 && warm.writes + warm.lists === 0);

  const changed = async (index: number, author: Author) => {
    const store = await open("warm");
    proxy.requests.length = 0;
    const published = await begin(store, author);
    await publishOne(store, published, outcomes[index] as Outcome, author);
    return counted();
  };
  for (const index of [1, Math.floor(count / 2), count - 1]) {
    const { all: asked, sent } = await changed(index, AUTHOR);
    line(
      `one changed element (number ${index}), all of it`,
      `${asked} requests, ${megabytes(sent)} sent`,
      "40 requests, 3 MB",
      asked <= 40 && sent <= 3e6,
    );
  }

  await putRoot(first, firstRoot());
  const signer = await open("warm");
  const voucher = await openVoucher(signer, SIGNER.head);
  await adopt(signer, await newestGeneration(signer), voucher);
  await publishHead(signer, await readPublished(signer), voucher);
  // The first one sees that no writer left anything.
  await night("warm", SIGNER);
  const signed = await night("warm", SIGNER);
  line(
    "with signatures: a night without news, warm cache",
    words(signed),
    "5 requests",
    signed.all <= 5 && signed.writes + signed.lists === 0,
  );
  const one = await changed(2, SIGNER);
  line(
    "with signatures: one changed element",
    `${one.all} requests, ${megabytes(one.sent)} sent`,
    "40 requests, 3 MB",
    one.all <= 40 && one.sent <= 3e6,
  );
}

/** What a build of one element brings: its bytes, what was learned of its kernel, and the view. */
async function publishOne(
  store: Store,
  published: Published,
  { element }: Outcome,
  author: Author,
): Promise<void> {
  const content = randomBytes(4).toString("hex");
  await putBlob(store, `module ${content}`);
  await putBlob(store, `log ${content}`);
  await putBlob(store, toDocument(makeManifest(element, [], content)));
  const learned = { ...factsOn(element), image: { of: sha256("image"), version: `#${content} SMP` } };
  const { show } = await commit(
    store,
    (before) => ({
      state: nextState(before, before.catalog, [notedOutcome(element, content, true)], {
        facts: withAllLearned(before.facts, [learned]),
      }),
      result: 0,
    }),
    author,
    { state: published, isNewest: true },
  );
  await show();
}

async function speed(endpoint: string): Promise<void> {
  const folder = join(place, "folder");
  const files: { digest: string; bytes: Buffer }[] = [];
  for (let index = 0; index < FILES.number; index++) {
    const bytes = randomBytes(FILES.bytes);
    const digest = sha256(bytes);
    files.push({ digest, bytes });
    const file = join(folder, blobPath(digest));
    await mkdir(join(file, ".."), { recursive: true });
    await writeFile(file, bytes);
  }
  const rates = { rclone: [] as number[], copy: [] as number[], artifacts: [] as number[] };
  const rate = async (work: () => Promise<unknown>) => {
    const from = performance.now();
    await work();
    return (FILES.number * FILES.bytes) / 1e6 / ((performance.now() - from) / 1000);
  };
  // In turn, so that whatever else this machine does befalls all of them.
  for (const round of [1, 2, 3]) {
    rates.rclone.push(await rate(() => rclone(endpoint, folder, `rclone${round}`)));
    const [source, copy] = [
      await openFolderStore(folder),
      await openS3Store(placeOf({ endpoint }, `copy${round}`)),
    ];
    rates.copy.push(await rate(() => copyStore(source, copy, scratch)));
    const store = await openS3Store(placeOf({ endpoint }, `artifacts${round}`));
    const queue = new PQueue({ concurrency: 8 });
    rates.artifacts.push(
      await rate(() => Promise.all(files.map(({ bytes }) => queue.add(() => putBlob(store, bytes))))),
    );
  }
  const best = (all: readonly number[]) => Math.max(...all);
  const least = PART_OF_RCLONE * best(rates.rclone);
  const limit = `${PART_OF_RCLONE} x rclone's ${best(rates.rclone).toFixed(0)} MB/s`;
  for (const [what, all] of [
    [`${FILES.number} artifacts of 700 KB, eight at once`, rates.artifacts],
    ["the same files by `store copy`", rates.copy],
  ] as const)
    line(what, `${best(all).toFixed(0)} MB/s`, limit, best(all) >= least);
}

async function rclone(endpoint: string, folder: string, prefix: string): Promise<void> {
  const remote = `:s3,provider=Ceph,env_auth=true,endpoint="${endpoint}":farm/${prefix}`;
  const { exitCode, stderr } = await run(["rclone", "copy", "--transfers", "8", folder, remote], {
    timeoutMs: 600_000,
    env: { ...environment, RCLONE_CONFIG: "/dev/null" },
  });
  if (exitCode !== 0) throw new Error(`rclone: ${stderr}`);
}

/** What a process has in memory at most that archives a package, beside one that opens the same store. */
async function memory(endpoint: string): Promise<void> {
  const file = join(place, "package");
  const bytes = randomBytes(LARGE_BYTES);
  await writeFile(file, bytes);
  const source = (path: string) => JSON.stringify(new URL(`../${path}`, import.meta.url).href);
  const digest = sha256(bytes).slice("sha256:".length);
  const peakOf = async (work: string) => {
    const module = `
      import { readFileSync } from "node:fs";
      import { openS3Store } from ${source("src/registry/stores/s3.ts")};
      import { inputArchive } from ${source("src/registry/input-archive.ts")};
      const store = await openS3Store(${JSON.stringify(placeOf({ endpoint }, "memory"))});
      const archive = inputArchive(store);
      await store.prepare();
      ${work}
      // Not the system's own count of a process: that begins with what its parent had.
      console.log(Number(/VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024);`;
    const argv = [process.execPath, "--input-type=module", "--eval", module];
    const { exitCode, stdout, stderr } = await run(argv, {
      timeoutMs: 600_000,
      env: environment,
    });
    if (exitCode !== 0) throw new Error(stderr);
    return Number(stdout);
  };
  const idle = await peakOf("");
  const there = await peakOf(`await archive.write("${digest}", ${JSON.stringify(file)}, false);`);
  const back = await peakOf(`let size = 0;
    for await (const chunk of await archive.open("${digest}")) size += chunk.length;
    if (size !== ${LARGE_BYTES}) throw new Error(String(size));`);
  const limit = `${megabytes(MEMORY_LIMIT_BYTES)} above an idle process (${megabytes(idle)})`;
  for (const [what, peak] of [
    ["memory while a package of 200 MB is archived", there],
    ["memory while it is read from there", back],
  ] as const)
    line(what, `${megabytes(peak - idle)} more`, limit, peak - idle <= MEMORY_LIMIT_BYTES);
}
