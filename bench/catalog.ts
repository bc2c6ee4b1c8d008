/**
 * The live Debian catalog, x86_64 and aarch64: a first crawl and an unchanged one. kernel-crawler needs 19 s
 * (13 s CPU) for Debian's x86_64 on a machine of two cores; give `--peer PATH` to its checkout to measure it in
 * the same run.
 *
 *     npm run bench:catalog -- [--peer PATH] [pairs]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Http } from "../src/base/http.ts";
import { run } from "../src/base/run.ts";
import { openScratch } from "../src/base/scratch.ts";
import { EMPTY_CATALOG } from "../src/catalog/catalog.ts";
import { updateCatalog } from "../src/catalog/update.ts";
import { loadConfig } from "../src/farm/config.ts";
import { openFarm } from "../src/farm/open.ts";

const RECORDED_PEER_SECONDS = 19;

const { values, positionals } = parseArgs({ options: { peer: { type: "string" } }, allowPositionals: true });
const pairs = Number(positionals[0] ?? 3);
const farm = await openFarm(await loadConfig({ config: "examples/demo.yaml" }));
const ratios = { first: [] as number[], again: [] as number[] };
for (let pair = 0; pair < pairs; pair++) {
  const cache = await mkdtemp(join(tmpdir(), "kmodfarm-bench-"));
  const scratch = await openScratch(join(cache, "tmp"));
  const http = new Http();
  const context = { http, scratch, cache };
  const first = await timed(() => updateCatalog(EMPTY_CATALOG, farm.sources, context, { now: new Date() }));
  const bytes = http.traffic.bytes;
  const again = await timed(() =>
    updateCatalog(first.result.catalog, farm.sources, context, { now: new Date() }),
  );
  const peer = values.peer === undefined ? RECORDED_PEER_SECONDS : await timePeer(values.peer);
  ratios.first.push(first.seconds / peer);
  ratios.again.push(again.seconds / peer);
  console.log(
    `pair ${pair + 1}: ${first.result.catalog.kernels.length} kernels, first ${first.seconds.toFixed(2)} s (${(bytes / 2 ** 20).toFixed(0)} MiB), ` +
      `unchanged ${again.seconds.toFixed(2)} s, kernel-crawler ${peer.toFixed(1)} s${values.peer === undefined ? " (recorded, x86_64 only)" : ""}`,
  );
  await http.close();
  await rm(cache, { recursive: true });
}
console.log(
  `medians: first ${median(ratios.first).toFixed(3)} (budget 0.1), unchanged ${median(ratios.again).toFixed(3)} (budget 0.02) of kernel-crawler`,
);
await farm.close();

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; seconds: number }> {
  const started = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - started) / 1000 };
}

async function timePeer(path: string): Promise<number> {
  const argv = ["python3", "-m", "kernel_crawler.main", "crawl", "--distro", "debian", "--arch", "x86_64"];
  const { seconds } = await timed(() => run(argv, { cwd: path, timeoutMs: 600_000 }));
  return seconds;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
