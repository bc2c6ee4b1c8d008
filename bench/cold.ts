/**
 * Elements whose headers nobody has fetched yet, against what is usual instead: for each a container from a ready
 * image, `apt-get install linux-headers-…`, make. Toolchains and package indices are there on both sides, and both
 * work on as many elements at once as there are processors. Then the parts that the time consists of, each beside what it
 * takes without us.
 *
 *     npm run bench:cold -- [rounds] [kernels of each flavour]
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import PQueue from "p-queue";
import type { Element } from "../src/matrix/element.ts";
import { DOORBELL, debianRoot, median, PLACE, prepareFarm, spread, timed } from "./measure.ts";

const [rounds = 3, newest = 4] = process.argv.slice(2).map(Number);
const cores = availableParallelism();
const root = await debianRoot("apt-root", ["gcc-12", "make"]);
const farm = await prepareFarm("cold", {
  drivers: [DOORBELL],
  sources: [{ kind: "apt", releases: ["debian12"] }],
  select: { architectures: ["x86_64"], newest },
});
// Each measurement in places of its own, and nothing is removed before the end: for minutes ext4 looks past every file
// that was, one by one, before it makes a new one.
await mkdir(PLACE, { recursive: true });
const place = await mkdtemp(join(PLACE, "cold-"));
const elements = JSON.parse((await farm.kmodfarm("matrix", "generate")).stdout) as Element[];
const matrix = join(place, "matrix.json");
await writeFile(matrix, JSON.stringify(elements));
// A store that knows the kernels and has nothing built.
await farm.kmodfarm("catalog", "update", "--store", join(place, "catalog"));

const EACH = {
  extract: 'dpkg-deb --extract "$1" "$2"',
  open: 'dpkg-deb --fsys-tarfile "$1" >/dev/null',
} as const;
const PARTS = ["kmodfarm", "again", "unpack", "open", "container", "make"] as const;
type Part = (typeof PARTS)[number];
const seconds = Object.fromEntries(PARTS.map((part) => [part, [] as number[]])) as Record<Part, number[]>;
for (let round = 0; round < rounds; round++) {
  const cache = join(place, `cache-${round}`);
  await mkdir(cache, { mode: 0o700 });
  // The same files: a room that is a link is refused.
  await timed(["cp", "--archive", "--link", join(farm.cache, "roots"), cache]);
  seconds.kmodfarm.push(await secondsOf(await farmWith(cache, `${round}`)));
  // What was built is forgotten, and what it was built from is there.
  for (const room of ["attempts", "loads", "unfinished"])
    await rm(join(cache, room), { recursive: true, force: true });
  seconds.again.push(await secondsOf(await farmWith(cache, `${round}-again`)));
  seconds.unpack.push(await secondsOf(() => forEachPackage(round, "extract")));
  seconds.open.push(await secondsOf(() => forEachPackage(round, "open")));
  const makes: number[] = [];
  seconds.container.push(await secondsOf(() => runContainers(round, makes)));
  seconds.make.push(makes.reduce((sum, one) => sum + one, 0) / cores);
  const words = PARTS.map((part) => `${part} ${seconds[part].at(-1)?.toFixed(1)}`);
  console.log(`round ${round + 1}, seconds: ${words.join(", ")}`);
}
/** The median of what each round's seconds come to. */
const each = (of: (at: Record<Part, number>) => number) =>
  median(
    seconds.make.map((_, round) =>
      of(Object.fromEntries(PARTS.map((part) => [part, seconds[part][round]])) as Record<Part, number>),
    ),
  ).toFixed(2);
console.log(`${elements.length} elements, ${cores} at once, ${rounds} rounds; medians:
  kmodfarm, nothing fetched:  ${spread(seconds.kmodfarm)}
  container + apt + make:     ${spread(seconds.container)}
  make alone of that:         ${spread(seconds.make)}  (nothing that compiles can be quicker)
  kmodfarm / make:            ${each(({ kmodfarm, make }) => kmodfarm / make)}  (aim 1.25)
  throughput, times:          ${each(({ container, kmodfarm }) => container / kmodfarm)}  (aim 10; with make alone ${each(({ container, make }) => container / make)})
of which, beside what it takes at least:
  all that is not packages:   ${spread(seconds.again)}  (kmodfarm again, with packages unpacked; ${each(({ again, make }) => again / make)} of make)
  fetching and unpacking:     ${each(({ kmodfarm, again }) => kmodfarm - again)} s  (each package once: dpkg-deb to this disk ${each(({ unpack }) => unpack)} s, to nowhere ${each(({ open }) => open)} s)
  make and dpkg-deb / make:   ${each(({ make, open }) => (make + open) / make)} to nowhere, ${each(({ make, unpack }) => (make + unpack) / make)} to this disk  (what cannot be left out)`);
await rm(place, { recursive: true, force: true });

/** The clock's seconds of work beside which nothing else is under way here. */
async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** The whole program, from a store that knows the catalog and has nothing built. */
async function farmWith(cache: string, name: string): Promise<() => Promise<unknown>> {
  const store = join(place, `store-${name}`);
  await cp(join(place, "catalog"), store, { recursive: true, verbatimSymlinks: true });
  return () => farm.kmodfarm("build", "--matrix", matrix, "--store", store, "--cache", cache);
}

/** What Debian's own program does with each package that the round fetched, with every processor busy. */
async function forEachPackage(round: number, what: keyof typeof EACH): Promise<void> {
  const inputs = join(place, `cache-${round}`, "inputs");
  const packages = (await readdir(inputs)).filter((name) => name.endsWith(".deb"));
  const queue = new PQueue({ concurrency: cores });
  const target = join(place, `unpacked-${round}`);
  await mkdir(target, { recursive: true });
  await queue.addAll(
    packages.map(
      (name) => () => timed(["sh", "-c", EACH[what], "sh", join(inputs, name), join(target, name)]),
    ),
  );
}

/** `makes` are the seconds of each one's make. */
async function runContainers(round: number, makes: number[]): Promise<void> {
  const queue = new PQueue({ concurrency: cores });
  await queue.addAll(
    elements.map((element, index) => async () => {
      makes.push(await container(element, `${round}-${index}`));
    }),
  );
}

/** Returns the seconds of its make. */
async function container({ kversion, compiler }: Element, name: string): Promise<number> {
  const work = join(place, `container-${name}`);
  const compilerName = `${compiler?.family}-${compiler?.version}`;
  const argv = [resolve("bench/apt-element.sh"), root, work, DOORBELL.source, kversion, compilerName];
  await timed(["unshare", "--mount", "--propagation", "private", ...argv]);
  const uptime = async (file: string) => Number.parseFloat(await readFile(join(work, file), "utf8"));
  return (await uptime("after")) - (await uptime("before"));
}
