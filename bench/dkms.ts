/**
 * A night over kernels whose headers are there, against a loop of `dkms build` over the same kernels in a root where
 * they are installed, with the same source. DKMS takes one kernel after the other, as it does on a host.
 *
 *     npm run bench:dkms -- [rounds] [kernels of each flavour]
 */
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Element } from "../src/matrix/element.ts";
import { DOORBELL, debianRoot, median, PLACE, prepareFarm, spread, timed } from "./measure.ts";

const [rounds = 3, newest = 4] = process.argv.slice(2).map(Number);
const version = DOORBELL.versions[0] as string;
const tree = join(PLACE, "dkms-tree");
await rm(tree, { recursive: true, force: true });
await cp(DOORBELL.source, tree, { recursive: true });
await writeFile(
  join(tree, "dkms.conf"),
  `PACKAGE_NAME="${DOORBELL.name}"
PACKAGE_VERSION="${version}"
MAKE[0]="make -C $kernel_source_dir M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build CC=gcc-12 DRIVER_VERSION=${version} modules"
${DOORBELL.modules
  .map((name, index) => `BUILT_MODULE_NAME[${index}]="${name}"\nDEST_MODULE_LOCATION[${index}]="/updates"`)
  .join("\n")}
`,
);
const farm = await prepareFarm("dkms", {
  drivers: [{ ...DOORBELL, source: tree }],
  sources: [{ kind: "apt", releases: ["debian12"] }],
  select: { architectures: ["x86_64"], newest },
});
const place = join(PLACE, "dkms");
await rm(place, { recursive: true, force: true });
await mkdir(place, { recursive: true });
const elements = JSON.parse((await farm.kmodfarm("matrix", "generate")).stdout) as Element[];
const kernels = elements.map(({ kversion }) => kversion);
const root = await debianRoot("dkms-root", [
  ...["dkms", "gcc-12", "make"],
  ...kernels.map((kversion) => `linux-headers-${kversion}`),
]);
await farm.kmodfarm("catalog", "update", "--store", join(place, "catalog"));

const seconds: { kmodfarm: number[]; dkms: number[] } = { kmodfarm: [], dkms: [] };
for (let round = 0; round < rounds; round++) {
  seconds.kmodfarm.push(await timeFarm());
  seconds.dkms.push(await timeDkms());
  console.log(
    `round ${round + 1}: kmodfarm ${seconds.kmodfarm.at(-1)?.toFixed(1)} s, dkms ${seconds.dkms.at(-1)?.toFixed(1)} s`,
  );
}
const ratios = seconds.kmodfarm.map((own, index) => (seconds.dkms[index] as number) / own);
console.log(`${elements.length} kernels, ${rounds} rounds; medians:
  kmodfarm build:      ${spread(seconds.kmodfarm)}
  dkms build, a loop:  ${spread(seconds.dkms)}
  throughput, times:   ${median(ratios).toFixed(2)}`);
await rm(place, { recursive: true, force: true });

/** The whole program, with everything but results in its cache. */
async function timeFarm(): Promise<number> {
  const store = join(place, "store");
  await rm(store, { recursive: true, force: true });
  await rm(join(farm.cache, "attempts"), { recursive: true, force: true });
  await cp(join(place, "catalog"), store, { recursive: true, verbatimSymlinks: true });
  return (await farm.kmodfarm("build", "--store", store)).seconds;
}

async function timeDkms(): Promise<number> {
  const argv = [resolve("bench/dkms-loop.sh"), root, tree, DOORBELL.name, version, ...kernels];
  const { stdout } = await timed(["unshare", "--mount", "--propagation", "private", ...argv]);
  const built = stdout.split("\n").filter((line) => line.startsWith("built ")).length;
  if (built !== kernels.length) throw new Error(`dkms built ${built} of ${kernels.length}: ${stdout}`);
  return Number(/^seconds (.+)$/m.exec(stdout)?.[1]);
}
