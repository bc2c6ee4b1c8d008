/**
 * `kmodfarm try` of a driver that was just changed, on six kernels, against the same kernels with bare `make` and a bare boot
 * of what it made, both with as many at once as there are processors, caches warm, in interleaved rounds.
 *
 *     npm run bench:try -- [rounds]
 */
import { randomUUID } from "node:crypto";
import { appendFile, cp, mkdir, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type BuildContext, planRecipe } from "../src/builder/build.ts";
import { fetchBootImage, fetchBusybox } from "../src/check/guest/boot-image.ts";
import { commandLineOf } from "../src/check/guest/qemu.ts";
import { guestPackages } from "../src/check/guest/tools.ts";
import { loadConfig } from "../src/farm/config/index.ts";
import { loadDrivers } from "../src/farm/drivers.ts";
import { openFarm, openInputs, openToolchains } from "../src/farm/open.ts";
import { type CpioEntry, cpioArchive } from "../src/formats/cpio.ts";
import { architecture } from "../src/kernel/architecture.ts";
import type { Element } from "../src/matrix/element.ts";
import { readPublished } from "../src/registry/generations.ts";
import { bareMake } from "./bare.ts";
import { catalogFarm, DOORBELL, median, PLACE, spread, timed } from "./measure.ts";

const [rounds = 5] = process.argv.slice(2).map(Number);
const KERNELS = 6;
const BUDGET = 1.25;
const cores = availableParallelism();
const source = join(PLACE, "try-driver");
await rm(source, { recursive: true, force: true });
await mkdir(PLACE, { recursive: true });
await cp(DOORBELL.source, source, { recursive: true });
/** The driver's own sources, of which one changes each time. */
const CHANGED = join(source, "doorbell.c");

const { config, kmodfarm } = await catalogFarm("try", {
  drivers: [{ ...DOORBELL, source }],
  sources: [{ kind: "apt", releases: ["debian12", "debian13"] }],
  select: { flavours: ["generic"], newest: 1 },
});
interface Tried {
  readonly kernels: readonly {
    readonly kernel: string;
    readonly architecture: string;
    readonly loaded: string;
  }[];
}
const tryOnce = async () => {
  const begun = performance.now();
  const { stdout } = await kmodfarm("try", "--kernels", String(KERNELS), "--json");
  return { seconds: (performance.now() - begun) / 1000, tried: JSON.parse(stdout) as Tried };
};
console.error("preparing: toolchains, headers, boot images");
const { tried } = await tryOnce();
const names = new Set(tried.kernels.map((one) => `${one.architecture}/${one.kernel}`));

const farm = await openFarm(await loadConfig({ config }));
const { catalog } = await readPublished(farm.store);
const all = JSON.parse((await kmodfarm("matrix", "generate")).stdout) as Element[];
const elements = all.filter((one) => names.has(`${one.architecture}/${one.kversion}`));
if (elements.length !== names.size) throw new Error(`${names.size} kernels tried, ${elements.length} found`);
const inputs = openInputs(farm, catalog, { archived: "none" });
const { scratch, images, builder, sandbox, cache } = farm;
const { limits } = farm.config;
const toolchains = openToolchains(farm);
const context: BuildContext = { inputs, toolchains, sandbox, limits, scratch, cache, images, builder };
const [driver] = (await loadDrivers(farm)).loaded;
if (driver === undefined) throw new Error("there is no driver");
const work = scratch.path();
await mkdir(work);
const commands = await Promise.all(elements.map((element, index) => bareCommand(element, String(index))));

const seconds: { ours: number[]; bare: number[] } = { ours: [], bare: [] };
for (let round = 0; round <= rounds; round++) {
  // What was built of the same source before would be taken as it is.
  await appendFile(CHANGED, `/* ${randomUUID()} */\n`);
  const ours = await tryOnce();
  const bad = ours.tried.kernels.filter(({ loaded }) => loaded !== "pass");
  if (bad.length > 0) throw new Error(JSON.stringify(bad));
  const bare = await timed([
    "sh",
    "-c",
    `xargs -P ${cores} -I LINE sh -c LINE <<'END'\n${commands.join("\n")}\nEND\n`,
  ]);
  // The first round warms both sides up.
  if (round === 0) continue;
  seconds.ours.push(ours.seconds);
  seconds.bare.push(bare.seconds);
}
await rm(work, { recursive: true });
await farm.close();
const ratio = median(seconds.ours.map((one, index) => one / (seconds.bare[index] as number)));
console.log(`${elements.length} kernels, ${rounds} rounds, ${cores} at once; medians
  kmodfarm try           ${spread(seconds.ours)}
  bare make and boot     ${spread(seconds.bare)}
  ratio                  ${ratio.toFixed(2)} (budget ${BUDGET})`);
process.exitCode = ratio <= BUDGET ? 0 : 1;

/** Compiles, packs what came out with a busybox that inserts and removes it, and boots that in QEMU. */
async function bareCommand(element: Element, name: string): Promise<string> {
  const place = join(work, name);
  const recipe = await planRecipe(element, driver as NonNullable<typeof driver>, context);
  const make = await bareMake({ element, recipe }, driver as NonNullable<typeof driver>, place, context);
  const boot = { inputs, scratch, cache };
  const kernel = catalog.kernels.find(
    (one) => one.kversion === element.kversion && one.architecture === element.architecture,
  );
  const [image] = kernel?.packages.image ?? [];
  if (image === undefined) throw new Error(`${element.kversion} has no image`);
  const vmlinuz = await fetchBootImage(image, boot);
  const busybox = await fetchBusybox(guestPackages(catalog.guests, element), element.architecture, boot);
  const init = `#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox insmod /tally.ko && /bin/busybox insmod /doorbell.ko && /bin/busybox rmmod doorbell tally && echo it-loads
/bin/busybox poweroff -f
`;
  const base: CpioEntry[] = [
    ...["dev", "proc"].map((path): CpioEntry => ({ path, mode: 0o040755 })),
    { path: "dev/console", mode: 0o020600, rdev: { major: 5, minor: 1 } },
    { path: "bin/busybox", mode: 0o100755, content: busybox },
    { path: "init", mode: 0o100755, content: init },
  ];
  const archive = join(place, "base.cpio");
  await writeFile(archive, cpioArchive(base));
  const { program, arguments: machine } = architecture(element.architecture).qemu;
  const qemu = `${program} -accel tcg ${machine.join(" ")} -m 1024 -smp 1 -nodefaults -display none -no-reboot -serial stdio -kernel ${vmlinuz} -initrd ${place}/initrd -append '${commandLineOf(element.architecture)}'`;
  const script = join(place, "try.sh");
  await writeFile(
    script,
    `set -e
${make}
cd ${place}/source
(cat ${archive}; printf 'tally.ko\\ndoorbell.ko\\n' | cpio --quiet -o -H newc) >../initrd
${qemu} </dev/null | grep -q it-loads
`,
  );
  return `sh ${script}`;
}
