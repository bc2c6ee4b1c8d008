/**
 * `kmodfarm audit` of every module of a kernel against `sha256sum` over the same files, and for compressed ones against
 * `xz -dc | sha256sum`, in interleaved rounds.
 *
 *     npm run bench:audit -- [rounds] [directory]
 *
 * The directory holds uncompressed modules; without one, those of the newest kernel of Debian 12 itself are fetched.
 */
import { cp, mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { loadConfig } from "../src/farm/config/index.ts";
import { openFarm, readingContext } from "../src/farm/open.ts";
import { readPublished } from "../src/registry/generations.ts";
import { catalogFarm, DOORBELL, median, PLACE, spread, timed } from "./measure.ts";

const [rounds = "3", given] = process.argv.slice(2);
const directory = given ?? (await kernelModules());
const packed = join(PLACE, "audit-xz");
await rm(packed, { recursive: true, force: true });
await mkdir(PLACE, { recursive: true });
await cp(directory, packed, { recursive: true });
await timed([
  "sh",
  "-c",
  `find '${packed}' -name '*.ko' -print0 | xargs -0 -P2 -n 50 xz --check=crc32 --lzma2=dict=1MiB`,
]);

const kmodfarm = (place: string) =>
  timed([resolve("bin/kmodfarm"), "audit", place, "--json"], (exit) => exit <= 1);
const peer = (command: string) => timed(["sh", "-c", command]);
for (const [what, place, command, aim] of [
  ["plain", directory, `find '${directory}' -name '*.ko' -print0 | xargs -0 sha256sum`, 3],
  ["xz", packed, `find '${packed}' -name '*.ko.xz' -print0 | xargs -0 xz -dc | sha256sum`, 1.5],
] as const) {
  const seconds: { own: number[]; theirs: number[] } = { own: [], theirs: [] };
  let modules = 0;
  for (let round = 0; round < Number(rounds); round++) {
    const own = await kmodfarm(place);
    modules = (JSON.parse(own.stdout) as { modules: number }).modules;
    seconds.own.push(own.seconds);
    seconds.theirs.push((await peer(command)).seconds);
  }
  const ratio = median(seconds.own.map((own, index) => own / (seconds.theirs[index] as number)));
  console.log(`${what}: ${modules} modules, ${rounds} rounds; medians:
  kmodfarm audit:  ${spread(seconds.own)}
  ${what === "xz" ? "xz | sha256sum: " : "sha256sum:      "} ${spread(seconds.theirs)}
  ratio:           ${ratio.toFixed(2)}  (aim ${aim})`);
}
await rm(packed, { recursive: true, force: true });

async function kernelModules(): Promise<string> {
  const { config } = await catalogFarm("audit", {
    drivers: [DOORBELL],
    sources: [{ kind: "apt", releases: ["debian12"] }],
  });
  const farm = await openFarm(await loadConfig({ config }));
  const { catalog } = await readPublished(farm.store);
  // Backports have theirs compressed.
  const kernel = catalog.kernels.findLast(
    ({ architecture, flavour, kversion, packages }) =>
      [architecture, flavour].join() === "x86_64,generic" &&
      kversion.startsWith("6.1.") &&
      packages.modules.length > 0,
  );
  if (kernel === undefined) throw new Error("Debian 12 lists no kernel with modules");
  const { inputs } = readingContext(farm, catalog);
  const place = join(PLACE, "audit-modules");
  await rm(place, { recursive: true, force: true });
  await mkdir(place, { recursive: true });
  for (const one of kernel.packages.modules) await timed(["dpkg-deb", "-x", await inputs.fetch(one), place]);
  await farm.close();
  return place;
}
