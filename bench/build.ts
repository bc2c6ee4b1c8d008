/**
 * Element wall time against bare `make` of the same kernels, caches warm, both sides as many at once as
 * there are processors, in interleaved pairs. Run the demo first: its kernels are the ones measured.
 *
 *     npm run bench:build -- [pairs] [elements]
 */
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import PQueue from "p-queue";
import { run } from "../src/base/run.ts";
import { type BuildContext, buildElement, planRecipe, rootRequest, stageInputs } from "../src/build/build.ts";
import { Inputs } from "../src/build/inputs.ts";
import { nativePaths } from "../src/build/tree.ts";
import { loadConfig } from "../src/farm/config.ts";
import { loadDrivers, openFarm, openToolchains } from "../src/farm/open.ts";
import { architecture } from "../src/kernel/architecture.ts";
import type { Element } from "../src/matrix/element.ts";
import { readPublished } from "../src/registry/generations.ts";

const [pairs = 5, count = 8] = process.argv.slice(2).map(Number);
const cores = availableParallelism();
const farm = await openFarm(await loadConfig({ config: "examples/demo.yaml" }));
const { catalog, matrix } = await readPublished(farm.store, "stable");
const [driver] = await loadDrivers(farm);
if (driver === undefined || matrix.length === 0) throw new Error("nothing to measure: run `make demo` first");

const { http, scratch, images, builder, sandbox } = farm;
const work = scratch.path();
const cache = farm.cache;
const inputs = new Inputs({
  http,
  scratch,
  cache,
  mirrors: new Map(catalog.sources.map(({ id, url }) => [id, url])),
});
const toolchains = openToolchains(farm);
const { limits } = farm.config;
const context: BuildContext = { inputs, toolchains, sandbox, limits, scratch, cache, images, builder };

// Spread over releases and architectures, not the first few of one.
const step = Math.max(1, Math.floor(matrix.length / count));
const elements = matrix.filter((_, index) => index % step === 0).slice(0, count);
const planned = await Promise.all(
  elements.map(async (element) => ({ element, recipe: await planRecipe(element, driver, context) })),
);
const bare = await Promise.all(elements.map((element, index) => bareCommand(element, index)));

const ratios: { wall: number; limit: number }[] = [];
for (let pair = 0; pair < pairs; pair++) {
  const farmSeconds = await timeFarm();
  const make = await timeMake();
  ratios.push({ wall: farmSeconds / make.wall, limit: farmSeconds / (make.cpu / cores) });
  console.log(
    `pair ${pair + 1}: kmodfarm ${farmSeconds.toFixed(2)} s, bare make ${make.wall.toFixed(2)} s wall, ${make.cpu.toFixed(2)} s CPU`,
  );
}
console.log(`${elements.length} elements, ${cores} at once, ${pairs} pairs; medians:`);
console.log(
  `  kmodfarm / bare make, wall:                 ${median(ratios.map(({ wall }) => wall)).toFixed(3)}`,
);
console.log(
  `  kmodfarm wall / (bare make CPU / ${cores} cores):  ${median(ratios.map(({ limit }) => limit)).toFixed(3)}  (budget 1.15)`,
);
await rm(work, { recursive: true, force: true });
await farm.close();

async function timeFarm(): Promise<number> {
  const queue = new PQueue({ concurrency: cores });
  const started = performance.now();
  await Promise.all(
    planned.map(({ element, recipe }) =>
      queue.add(async () => {
        const attempt = await buildElement(element, driver as NonNullable<typeof driver>, recipe, context);
        if (attempt.record.failure !== undefined)
          throw new Error(`${element.kversion}: ${attempt.record.failure.cause}`);
      }),
    ),
  );
  return (performance.now() - started) / 1000;
}

/** The same compilations under `xargs -P`, with nothing of ours around them but the mounts that a compiler needs. */
async function timeMake(): Promise<{ wall: number; cpu: number }> {
  const script = `TIMEFORMAT='%R %U %S'; time xargs -P ${cores} -I LINE sh -c LINE`;
  const result = await run(["bash", "-c", script], { input: bare.join("\n"), timeoutMs: 1_800_000 });
  if (result.exitCode !== 0) throw new Error(result.stderr.slice(-2000));
  const [wall = 0, user = 0, system = 0] = (result.stderr.trim().split("\n").at(-1) ?? "")
    .split(" ")
    .map(Number);
  return { wall, cpu: user + system };
}

async function bareCommand(element: Element, index: number): Promise<string> {
  const trees = (await stageInputs(element, { builder }, context)).map(({ tree }) => tree);
  const { family, version } = element.compiler ?? { family: "gcc", version: "" };
  const root = await toolchains.root(rootRequest(element, { build: { packages: [] } }));
  const { kbuild, triplet } = architecture(element.architecture);
  const prefix = element.architecture === builder ? "" : `${triplet}-`;
  const source = join(work, String(index));
  await mkdir(source, { recursive: true });
  await cp("examples/driver", source, { recursive: true });
  const mounts = (await Promise.all(trees.map(nativePaths)))
    .flat()
    .map(([outside, inside]) => `--ro-bind ${outside} ${inside}`);
  const make = `make -s -C /usr/src/linux-headers-${element.kversion} M=/build ARCH=${kbuild} CROSS_COMPILE=${prefix} CC=${prefix}${family}-${version}`;
  const script = join(work, `${index}.sh`);
  // No process namespace: its init would keep the CPU time of the compiler from being counted.
  const enter = `bwrap --ro-bind ${root.path} / --proc /proc --dev /dev --tmpfs /tmp --tmpfs /usr/src --tmpfs /lib/modules ${mounts.join(" ")} --bind ${source} /build`;
  // What the last round left is removed, as a fresh copy would have it.
  await writeFile(
    script,
    `cd ${source} && rm -f *.o *.ko *.mod *.mod.c .*.cmd modules.order Module.symvers && ${enter} ${make} modules >/dev/null\n`,
  );
  return `sh ${script}`;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
