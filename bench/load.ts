/**
 * What a load test costs: one artifact in its kernel, ten of one driver in one kernel, which share its boot, and one of each
 * of ten drivers, which do not, on all processors.
 *
 *     npm run bench:load -- [rounds]
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import PQueue from "p-queue";
import { buildElement, planRecipe } from "../src/builder/build.ts";
import { modulePath } from "../src/builder/outputs.ts";
import { guestPackages } from "../src/check/guest/tools.ts";
import { type LoadReport, loadModules } from "../src/check/load.ts";
import { textsOf } from "../src/check/verdict.ts";
import { loadConfig } from "../src/farm/config/index.ts";
import { loadDrivers } from "../src/farm/drivers.ts";
import { LoadQueue } from "../src/farm/executors/load-queue.ts";
import { openBuild, openFarm } from "../src/farm/open.ts";
import type { Element } from "../src/matrix/element.ts";
import { readPublished } from "../src/registry/generations.ts";
import { median, PLACE, prepareFarm, spread } from "./measure.ts";

const [rounds = 5] = process.argv.slice(2).map(Number);
const names = Array.from({ length: 10 }, (_, index) => `ten_${index}`);
const source = join(PLACE, "ten");
await mkdir(source, { recursive: true });
await writeFile(join(source, "Kbuild"), names.map((name) => `obj-m += ${name}.o\n`).join(""));
for (const name of names)
  await writeFile(
    join(source, `${name}.c`),
    `#include <linux/module.h>
static int __init ${name}_init(void) { pr_info("here\\n"); return 0; }
static void __exit ${name}_exit(void) { }
module_init(${name}_init);
module_exit(${name}_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("one of ten");
`,
  );
const { config, kmodfarm } = await prepareFarm("load", {
  drivers: [{ name: "ten", source, versions: ["1"] }],
  sources: [{ kind: "apt", releases: ["debian12"] }],
  select: { flavours: ["cloud"], newest: 1 },
});
const matrix = JSON.parse((await kmodfarm("matrix", "generate")).stdout) as Element[];
const farm = await openFarm(await loadConfig({ config }));
const { catalog } = await readPublished(farm.store);
const build = openBuild(farm, catalog, () => {});
const context = { inputs: build.inputs, scratch: farm.scratch, cache: farm.cache };
const [driver] = (await loadDrivers(farm)).loaded;
if (driver === undefined) throw new Error("there is no driver");

for (const element of matrix) {
  const attempt = await buildElement(element, driver, await planRecipe(element, driver, build), build);
  const sets = await Promise.all(
    attempt.record.modules.map(async ({ name }) => ({
      driver: "ten",
      modules: [{ name, bytes: await readFile(join(attempt.directory, modulePath(name))) }],
    })),
  );
  const guest = guestPackages(catalog.guests, element);
  const together = (count: number) =>
    loadModules({ kernel: element, guest, sets: sets.slice(0, count) }, context);
  const apart = () => {
    const processors = new PQueue({ concurrency: availableParallelism() });
    const { signal } = new AbortController();
    const queue = new LoadQueue(processors, (request) => loadModules(request, context, signal), signal);
    const ofMany = sets.map((set, index) => ({ ...set, driver: `driver-${index}` }));
    return Promise.all(ofMany.map((set) => queue.load({ element, guest, set, rank: 0 }, () => {})));
  };
  const timed = async (load: () => Promise<LoadReport[]>) => {
    const started = performance.now();
    const reports = await load();
    const bad = reports.find(({ verdict }) => verdict.verdict !== "pass");
    if (bad !== undefined) throw new Error(`${element.kversion}: ${textsOf(bad.verdict).join("; ")}`);
    return (performance.now() - started) / 1000;
  };
  await timed(() => together(1)); // Boot image and kmod are fetched.
  const seconds: { one: number[]; ten: number[]; drivers: number[] } = { one: [], ten: [], drivers: [] };
  for (let round = 0; round < rounds; round++) {
    seconds.one.push(await timed(() => together(1)));
    seconds.ten.push(await timed(() => together(names.length)));
    seconds.drivers.push(await timed(apart));
  }
  const ratio = median(seconds.ten.map((ten, index) => ten / (seconds.one[index] as number)));
  console.log(`${element.architecture}/${element.kversion}, ${rounds} rounds; medians:
  one artifact:             ${spread(seconds.one)}  (aim 6 s)
  ten of one driver:        ${spread(seconds.ten)}
  ten / one:                ${ratio.toFixed(2)}  (aim 1.5)
  one of each of ten:       ${spread(seconds.drivers)}  (${availableParallelism()} at a time)`);
}
await farm.close();
