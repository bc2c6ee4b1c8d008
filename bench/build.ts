/**
 * Element wall time against bare `make` of the same kernels, caches warm, both sides as many at once as there are
 * processors, in interleaved pairs: for a driver of two files, one of nine with DKMS, and one of sixty-one.
 *
 *     npm run bench:build -- [pairs] [driver]
 */

import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import PQueue from "p-queue";
import { run } from "../src/base/run.ts";
import { type BuildContext, buildElement, planRecipe } from "../src/builder/build.ts";
import type { LoadedDriver } from "../src/builder/driver.ts";
import { loadConfig } from "../src/farm/config/index.ts";
import { loadDrivers } from "../src/farm/drivers.ts";
import { openFarm, openInputs, openToolchains } from "../src/farm/open.ts";
import type { Element } from "../src/matrix/element.ts";
import { readPublished } from "../src/registry/generations.ts";
import { bareMake, type Planned } from "./bare.ts";
import { writeManyFiles } from "./many-files.ts";
import { DOORBELL, median, PLACE, prepareFarm } from "./measure.ts";

const [pairs = "5", only] = process.argv.slice(2);
const cores = availableParallelism();
await writeManyFiles(join(PLACE, "many"));
const settings = {
  drivers: [
    DOORBELL,
    {
      name: "scap",
      source: { package: "falcosecurity-scap-dkms", release: "debian13" },
      versions: ["0.20.0"],
    },
    { name: "many", source: resolve(PLACE, "many"), versions: ["1"] },
  ],
  sources: [{ kind: "apt", releases: ["debian12", "debian13"] }],
  select: { flavours: ["generic"], newest: 1 },
};
// scap is not for every kernel.
const { config, kmodfarm } = await prepareFarm("build", settings, 1);
const farm = await openFarm(await loadConfig({ config }));
const { catalog } = await readPublished(farm.store);
const matrix = JSON.parse((await kmodfarm("matrix", "generate")).stdout) as Element[];
const { scratch, images, builder, sandbox, cache } = farm;
const { limits } = farm.config;
const inputs = openInputs(farm, catalog, { archived: "none" });
const toolchains = openToolchains(farm);
const context: BuildContext = { inputs, toolchains, sandbox, limits, scratch, cache, images, builder };
const work = scratch.path();

for (const driver of (await loadDrivers(farm)).loaded) {
  if (only === undefined || only === driver.name) await measure(driver);
}
await rm(work, { recursive: true, force: true });
await farm.close();

async function measure(driver: LoadedDriver): Promise<void> {
  const elements = matrix.filter((element) => element.driver === driver.name);
  // This round warms both sides up, and tells which kernels the driver is for.
  const planned: Planned[] = [];
  for (const element of elements) {
    const recipe = await planRecipe(element, driver, context);
    if ((await buildElement(element, driver, recipe, context)).record.failure === undefined)
      planned.push({ element, recipe });
  }
  const bare = await Promise.all(
    planned.map((one, index) => bareMake(one, driver, join(work, driver.name, String(index)), context)),
  );
  if (planned.length === 0) throw new Error(`${driver.name}: none of ${elements.length} kernels was built`);
  await timeMake(bare);
  const ratios: { wall: number; limit: number }[] = [];
  for (let pair = 0; pair < Number(pairs); pair++) {
    const own = await timeFarm(planned, driver);
    const make = await timeMake(bare);
    ratios.push({ wall: own / make.wall, limit: own / (make.cpu / cores) });
    console.log(
      `${driver.name}, pair ${pair + 1}: kmodfarm ${own.toFixed(2)} s, bare make ${make.wall.toFixed(2)} s wall, ${make.cpu.toFixed(2)} s CPU`,
    );
  }
  const wall = median(ratios.map((ratio) => ratio.wall)).toFixed(3);
  const limit = median(ratios.map((ratio) => ratio.limit)).toFixed(3);
  console.log(
    `${driver.name}: ${planned.length} of ${elements.length} kernels, ${driver.source.files.length} files, ${cores} at once, medians of ${pairs} pairs:
  kmodfarm / bare make, wall:                        ${wall}  (budget 1.15)
  kmodfarm wall / (bare make CPU / ${cores} processors):   ${limit}`,
  );
}

async function timeFarm(planned: readonly Planned[], driver: LoadedDriver): Promise<number> {
  const queue = new PQueue({ concurrency: cores });
  const started = performance.now();
  await Promise.all(
    planned.map(({ element, recipe }) =>
      queue.add(async () => {
        const attempt = await buildElement(element, driver, recipe, context);
        if (attempt.record.failure !== undefined)
          throw new Error(`${element.kversion}: ${attempt.record.failure.cause}`);
      }),
    ),
  );
  return (performance.now() - started) / 1000;
}

/** The same compilations under `xargs -P`, with nothing of ours around them but the mounts that a compiler needs. */
async function timeMake(bare: readonly string[]): Promise<{ wall: number; cpu: number }> {
  const script = `TIMEFORMAT='%R %U %S'; time xargs -P ${cores} -I LINE sh -c LINE`;
  const result = await run(["bash", "-c", script], { input: bare.join("\n"), timeoutMs: 1_800_000 });
  if (result.exitCode !== 0) throw new Error(result.stderr.slice(-2000));
  const [wall = 0, user = 0, system = 0] = (result.stderr.trim().split("\n").at(-1) ?? "")
    .split(" ")
    .map(Number);
  return { wall, cpu: user + system };
}
