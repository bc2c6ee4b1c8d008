/**
 * Real drivers out of Debian's archive: what we make of each, for two kernels, is what the release's own dkms makes of
 * it on a machine with their headers (outcome, names of modules, first file that a failed build complains of), and what
 * the load test says of it is what a plain guest's `modprobe` says.
 *
 *     KMODFARM_PACKAGES=apfs-dkms,ddcci-dkms KMODFARM_KERNELS='7\..*[0-9]-amd64' npm run test:wide verdicts
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadConfig } from "../../src/farm/config/index.ts";
import { type Farm, openFarm, openInputs } from "../../src/farm/open.ts";
import { readModules } from "../../src/registry/artifact.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { type Listed, listAll } from "../../src/registry/standing.ts";
import { buildByDkms, dkmsMachine, type RealBuild } from "../support/dkms-machine.ts";
import { type DkmsPackage, dkmsPackages } from "../support/dkms-packages.ts";
import { type TestFarm, useFarms } from "../support/e2e-farm.ts";
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
let rows: readonly Row[];
let packages: readonly DkmsPackage[];
let kversions: readonly string[];
let machine: string;

const driverOf = ({ name }: DkmsPackage) => name.replace(/-dkms$/, "");

beforeAll(async () => {
  const mirror = await farms.mirror();
  made = await farms.farm({
    mirror,
    releases: ["debian13"],
    select: { architectures: ["x86_64"], newest: 1 },
  });
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
  const narrowed = process.env.KMODFARM_PACKAGES?.split(",");
  packages = (await dkmsPackages(mirror.main, "trixie")).filter(
    ({ name }) => narrowed?.includes(name) ?? true,
  );
  machine = await dkmsMachine(mirror, kversions);
  await made.configure({
    drivers: packages.map((one) => ({
      name: driverOf(one),
      source: { package: one.name, release: "debian13" },
      // Names of paths have no colon, so an epoch is not written.
      versions: [one.version.replace(/^\d+:/, "")],
    })),
    select: {
      architectures: ["x86_64"],
      kernelRelease: kversions.map((one) => one.replaceAll(/[.+]/g, "\\$&")).join("|"),
    },
  });
  const { stdout, stderr } = await made.cli("run", "--json");
  rows = JSON.parse(stdout || stderr).elements;
  farm = await openFarm(await loadConfig({ config: made.config }));
});
afterAll(() => farm?.close());

it("makes of each driver what dkms and modprobe make of it", async () => {
  const { catalog, indices } = await readPublished(farm.store);
  const inputs = openInputs(farm, catalog, { archived: "none" });
  const standings = listAll(indices);
  const kernels = new Map<string, PlainKernel>();
  for (const kversion of kversions) {
    const { image, modules } = catalog.kernels.find((one) => one.kversion === kversion)?.packages ?? {};
    const debs = await Promise.all([...(image ?? []), ...(modules ?? [])].map((one) => inputs.fetch(one)));
    const place = join(made.directory, "kernels", kversion);
    kernels.set(kversion, await plainKernel([...new Set(debs)], kversion, place, machine));
  }

  const nodesOf = async (driver: string) => {
    const nodes = new Map<string, OnNode>();
    for (const { entry } of standings.filter(({ entry }) => entry.driver === driver))
      nodes.set(entry.kversion, await onNode(entry, kernels.get(entry.kversion) as PlainKernel));
    return nodes;
  };
  const table: Compared[] = [];
  const differences: object[] = [];
  const compareOne = async (one: DkmsPackage) => {
    const driver = driverOf(one);
    const [builds, nodes] = await Promise.all([
      buildByDkms(machine, one, kversions, join(made.directory, "machine", driver)),
      nodesOf(driver),
    ]);
    for (const kversion of kversions) {
      const row = rows.find((each) => each.driver === driver && each.kversion === kversion);
      const [real, node] = [builds.get(kversion) as RealBuild, nodes.get(kversion)];
      const compared = compare(driver, kversion, real, row, node);
      table.push(compared);
      if (isDifferent(compared))
        differences.push({ ...compared, ...row?.attempt, steps: node?.steps, log: real.log.slice(-1500) });
    }
  };
  const waiting = [...packages];
  const compareAll = async () => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) await compareOne(one);
  };
  await Promise.all([compareAll(), compareAll()]);
  table.sort((a, b) => (a.driver < b.driver ? -1 : a.driver > b.driver ? 1 : 0));
  console.table(table);

  expect(differences).toEqual([]);
  expect(table.length).toBe(packages.length * kversions.length);
  expect(table.length).toBeGreaterThan(0);
});

interface OnNode {
  readonly modules: readonly string[];
  readonly loads: boolean;
  /** Each `modprobe` with its exit code, and the kernel's taint. */
  readonly steps: readonly string[];
}

async function onNode(entry: Listed["entry"], kernel: PlainKernel): Promise<OnNode> {
  const modules = (await readModules(farm.store, entry)).map(({ name, bytes }) => ({
    name: name.replace(/\.ko$/, ""),
    bytes,
  }));
  const { loads, steps } = await askNode(kernel, modules, join(made.directory, "node", entry.driver));
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
