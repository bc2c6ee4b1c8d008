/**
 * Real drivers out of Debian's archive, and made-up ones: what we make of each, for two kernels, is what the release's own
 * dkms makes of it on a machine with their headers (outcome, names of modules, first file that a failed build complains
 * of), and what the load test says of it is what a plain guest's `modprobe` says.
 *
 *     KMODFARM_DRIVERS=apfs,ddcci,needy KMODFARM_KERNELS='7\..*[0-9]-amd64' npm run test:wide verdicts
 *
 * All of them take hours on a small machine, so a run that was ended is gone on with by the next one: the farm is kept
 * as long as the code is the same (KMODFARM_CONTINUE=1: whatever it is now), and answers of the real tools by what they
 * were asked. After KMODFARM_MINUTES no further driver is begun.
 */
import { createHash } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadConfig } from "../../src/farm/config/index.ts";
import { type Farm, openFarm, openInputs } from "../../src/farm/open.ts";
import { readModules } from "../../src/registry/artifact.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { type Listed, listAll } from "../../src/registry/standing.ts";
import { buildByDkms, dkmsMachine, type RealBuild } from "../support/dkms-machine.ts";
import { type DkmsPackage, dkmsPackages } from "../support/dkms-packages.ts";
import { writeTree } from "../support/driver-trees.ts";
import { codeDigest, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { keptAnswer } from "../support/kept-answers.ts";
import { MADE_UP } from "../support/made-up-drivers.ts";
import { askNode, type PlainKernel, plainKernel } from "../support/plain-guest.ts";

const farms = useFarms();

/** Of each expression the newest kernel; those with `+deb13` are built by the compiler of Debian 13. */
const KERNELS = process.env.KMODFARM_KERNELS?.split(",") ?? [
  String.raw`6\.12\.\d+\+deb13(\.\d+)?-amd64`,
  String.raw`7\.\d+\.\d+\+deb13(\.\d+)?-amd64`,
];

interface Row {
  readonly driver: string;
  readonly kversion: string;
  readonly outcome: string;
  readonly attempt: {
    readonly load?: { readonly verdict: { readonly verdict: string; readonly reasons: readonly string[] } };
    readonly failure?: {
      readonly cause: string;
      readonly blame: string;
      readonly file?: string;
    };
  };
}

interface Compared {
  readonly driver: string;
  readonly kernel: string;
  readonly dkms: string;
  readonly ours: string;
  readonly modules: string;
  readonly dkmsFile: string;
  readonly ourFile: string;
  readonly node: string;
  readonly load: string;
}

let made: TestFarm;
let farm: Farm;
let drivers: readonly Driver[];
let kversions: readonly string[];
let machine: string;

interface Driver {
  readonly name: string;
  readonly version: string;
  readonly source: unknown;
  /** What the machine with dkms gets: a package, or the directory of a tree. */
  readonly given: DkmsPackage;
  readonly files?: Readonly<Record<string, string>>;
}

function packaged(given: DkmsPackage): Driver {
  return {
    name: given.name.replace(/-dkms$/, ""),
    // Names of paths have no colon, so an epoch is not written.
    version: given.version.replace(/^\d+:/, ""),
    source: { package: given.name, release: "debian13" },
    given,
  };
}

function madeUp(name: string, files: Readonly<Record<string, string>>, directory: string): Driver {
  const source = join(directory, "made-up", name);
  return { name, version: "1.0", source, given: { name: source, version: "1.0" }, files };
}

beforeAll(async () => {
  const mirror = await farms.mirror();
  made = await farms.farm({
    mirror,
    releases: ["debian13"],
    select: { architectures: ["x86_64"], newest: 1 },
    keptAs: "verdicts",
    warm: [],
  });
  await forgetOtherCode();
  const updated = await made.cli("catalog", "update");
  if (updated.exitCode !== 0) throw new Error(updated.stderr);
  kversions = await Promise.all(
    KERNELS.map(async (expression) => {
      const argv = ["matrix", "generate", "--newest", "1", "--kernel-release", expression];
      const { stdout, stderr } = await made.cli(...argv);
      const [element] = JSON.parse(stdout || "[]") as { readonly kversion: string }[];
      if (element === undefined) throw new Error(`no kernel of Debian 13 is like ${expression}: ${stderr}`);
      return element.kversion;
    }),
  );
  const narrowed = process.env.KMODFARM_DRIVERS?.split(",");
  const all = [
    ...(await dkmsPackages(mirror.main, "trixie")).map(packaged),
    ...[...MADE_UP].map(([name, files]) => madeUp(name, files, made.directory)),
  ];
  drivers = narrowed?.flatMap((wanted) => all.filter(({ name }) => name === wanted)) ?? all;
  await rm(join(made.directory, "made-up"), { recursive: true, force: true });
  for (const { given, files = {} } of drivers) await writeTree(given.name, files);
  machine = await dkmsMachine(mirror, kversions);
  await made.configure({
    drivers: drivers.map(({ name, version, source }) => ({ name, source, versions: [version] })),
    select: {
      architectures: ["x86_64"],
      kernelRelease: kversions.map((one) => one.replaceAll(/[.+]/g, "\\$&")).join("|"),
    },
  });
  farm = await openFarm(await loadConfig({ config: made.config }));
});
afterAll(() => farm?.close());

/** What other code made of the drivers is not what is asked here. */
async function forgetOtherCode(): Promise<void> {
  const stamp = join(made.directory, "code");
  const code = await codeDigest(["src", "images"]);
  const before = await readFile(stamp, "utf8").catch(() => "");
  if (before === code || process.env.KMODFARM_CONTINUE === "1") return;
  await rm(made.store, { recursive: true, force: true });
  await made.forget("attempts", "loads", "unfinished");
  await writeFile(stamp, code);
}

/** Elements of some drivers; one that is done is only looked at. */
async function rowsOf(some: readonly Driver[]): Promise<readonly Row[]> {
  const names = some.map(({ name }) => name).join(",");
  const { stdout, stderr } = await made.cli("run", "--driver", names, "--jobs", "1", "--json");
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout).elements;
}

it("makes of each driver what dkms and modprobe make of it", async () => {
  const { catalog } = await readPublished(farm.store);
  const inputs = openInputs(farm, catalog, { archived: "none" });
  const kernels = new Map<string, NodeKernel>();
  for (const kversion of kversions) {
    const { image, modules } = catalog.kernels.find((one) => one.kversion === kversion)?.packages ?? {};
    const listed = [...(image ?? []), ...(modules ?? [])];
    const debs = await Promise.all(listed.map((one) => inputs.fetch(one)));
    const place = join(made.directory, "kernels", kversion);
    await rm(place, { recursive: true, force: true });
    const plain = await plainKernel([...new Set(debs)], kversion, place, machine);
    kernels.set(kversion, { ...plain, packages: listed.map(({ sha256 = "" }) => sha256) });
  }

  const table: Compared[] = [];
  const differences: object[] = [];
  const compareOne = async (one: Driver, rows: readonly Row[]) => {
    const driver = one.name;
    const [builds, nodes] = [await asked.get(one)?.promise, await nodesOf(one, kernels)];
    for (const kversion of kversions) {
      const row = rows.find((each) => each.driver === driver && each.kversion === kversion);
      const [real, node] = [builds?.[kversion] as RealBuild, nodes.get(kversion)];
      const compared = compare(driver, kversion, real, row, node);
      table.push(compared);
      console.log(JSON.stringify(compared));
      if (isDifferent(compared))
        differences.push({ ...compared, ...row?.attempt, steps: node?.steps, log: real.log.slice(-1500) });
    }
  };
  // One processor for dkms, and one for us and the nodes.
  const asked = new Map(drivers.map((one) => [one, Promise.withResolvers<Builds>()]));
  const askDkms = async () => {
    for (const [one, { promise, resolve, reject }] of asked) {
      promise.catch(() => {}); // Whoever compares hears of it.
      if (Date.now() > DEADLINE) reject(new Error("its time was over before dkms was asked"));
      else await buildsOf(one, kernels).then(resolve, reject);
    }
  };
  const compareAll = async () => {
    for (let at = 0; at < drivers.length && Date.now() < DEADLINE; at += SOME) {
      const some = drivers.slice(at, at + SOME);
      const rows = await rowsOf(some);
      // One that cannot be compared keeps no other from it.
      for (const one of some)
        await compareOne(one, rows).catch(({ message }: Error) =>
          differences.push({ driver: one.name, fault: message }),
        );
    }
  };
  await Promise.all([askDkms(), compareAll()]);
  table.sort((a, b) => (a.driver < b.driver ? -1 : a.driver > b.driver ? 1 : 0));
  console.table(table);

  expect(differences).toEqual([]);
  expect(table.length).toBe(drivers.length * kversions.length);
  expect(table.length).toBeGreaterThan(0);
});

interface NodeKernel extends PlainKernel {
  /** Digests of what it was unpacked from. */
  readonly packages: readonly string[];
}

type NodeKernels = ReadonlyMap<string, NodeKernel>;
type Builds = Readonly<Record<string, RealBuild>>;

const DEADLINE = Date.now() + Number(process.env.KMODFARM_MINUTES ?? 24 * 60) * 60_000;

/** How many drivers a run is asked for at once: what it did is compared, and shown, before the next ones. */
const SOME = 4;

const BUILDING_TOOLS = ["dkms-machine.ts", "dkms-machine.sh"].map((name) => `test/support/${name}`);
const NODE_TOOLS = ["test/support/plain-guest.ts"];

/** What dkms makes of a driver, by kernel. */
function buildsOf(one: Driver, kernels: NodeKernels): Promise<Builds> {
  const question = {
    ...(one.files === undefined ? one.given : one.files),
    kernels: [...kernels.values()].map(({ kversion, packages }) => [kversion, packages]),
  };
  return keptAnswer(question, BUILDING_TOOLS, async () => {
    const layer = join(made.directory, "machine", one.name);
    await rm(layer, { recursive: true, force: true });
    return Object.fromEntries(await buildByDkms(machine, one.given, [...kernels.keys()], layer));
  });
}

/** What nodes make of the modules that we built of a driver, by kernel. */
async function nodesOf(
  { name, version }: Driver,
  kernels: NodeKernels,
): Promise<ReadonlyMap<string, OnNode>> {
  const nodes = new Map<string, OnNode>();
  for (const { entry } of listAll((await readPublished(farm.store)).indices))
    if (entry.driver === name && entry.driverVersion === version)
      nodes.set(entry.kversion, await onNode(entry, kernels.get(entry.kversion) as NodeKernel));
  return nodes;
}

interface OnNode {
  readonly modules: readonly string[];
  readonly loads: boolean;
  /** Each `modprobe` with its exit code, and the kernel's taint. */
  readonly steps: readonly string[];
}

async function onNode(entry: Listed["entry"], kernel: NodeKernel): Promise<OnNode> {
  const modules = (await readModules(farm.store, entry)).map(({ name, bytes }) => ({
    name: name.replace(/\.ko$/, ""),
    bytes,
  }));
  const digests = modules.map(({ name, bytes }) => [name, createHash("sha256").update(bytes).digest("hex")]);
  const { loads, steps } = await keptAnswer({ digests, packages: kernel.packages }, NODE_TOOLS, async () => {
    const place = join(made.directory, "node", `${entry.driver}-${entry.kversion}`);
    const { loads, steps } = await askNode(kernel, modules, place);
    return { loads, steps };
  });
  return { modules: modules.map(({ name }) => name).toSorted(), loads, steps };
}

function compare(
  driver: string,
  kernel: string,
  real: RealBuild,
  row: Row | undefined,
  node: OnNode | undefined,
): Compared {
  const ours = outcomeOf(row);
  const own = node?.modules ?? [];
  const isSame = own.join() === real.modules.join();
  return {
    ...{ driver, kernel, dkms: real.outcome, ours },
    modules: isSame ? `${own.length} equal` : `dkms ${real.modules.join()}, ours ${own.join()}`,
    ...{ dkmsFile: real.file, ourFile: row?.attempt.failure?.file ?? "" },
    node: node === undefined ? "" : node.loads ? "pass" : "fail",
    load: row?.attempt.load?.verdict.verdict ?? "",
  };
}

/** In the words of dkms. What failed for another reason than the driver is none of these. */
function outcomeOf(row: Row | undefined): string {
  if (row === undefined) return "not tried";
  const { outcome, attempt } = row;
  if (outcome === "excluded") return "excluded";
  if (outcome === "stable" || outcome === "candidate") return "built";
  return attempt.failure?.blame === "source" ? "failed" : `${outcome}: ${attempt.failure?.cause}`;
}

function isDifferent({ dkms, ours, modules, dkmsFile, ourFile, node, load }: Compared): boolean {
  return dkms !== ours || !modules.endsWith(" equal") || !isSameFile(dkmsFile, ourFile) || node !== load;
}

/**
 * Kbuild names files from the directory that it is in, ours from the top of the tree; and where an error stands in a
 * macro of the kernel's headers, ours is the driver's file that uses it.
 */
function isSameFile(theirs: string, ours: string): boolean {
  if (theirs === ours || ours.endsWith(`/${theirs}`)) return true;
  return theirs.startsWith("/usr/src/linux-headers-") && /^[^/].*\.[ch]$/.test(ours);
}
