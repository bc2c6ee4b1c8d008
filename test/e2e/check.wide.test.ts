/**
 * The gate over every kernel that there is room for: what belongs to a kernel passes every check, each way to be wrong is
 * refused by the check that is for it, and what we say a kernel would do with a module is what it does.
 *
 * KMODFARM_FARM names a directory with a farm that has run, instead of one that is made here; KMODFARM_KERNELS how many
 * kernels of each architecture it must have (default: 60).
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CatalogKernel, findKernel } from "../../src/catalog/catalog.ts";
import { guestPackages } from "../../src/check/guest/tools.ts";
import { loadModules } from "../../src/check/load.ts";
import type { ModuleFile } from "../../src/check/opened-modules.ts";
import { wouldLoad } from "../../src/check/would-load.ts";
import { loadConfig } from "../../src/farm/config/index.ts";
import { type Farm, openFarm, openInputs } from "../../src/farm/open.ts";
import { readKernelModule } from "../../src/formats/kernel-module.ts";
import { fetchKernelRecord, type KernelRecord } from "../../src/inputs/kernel-record.ts";
import { Manifest, type Published } from "../../src/registry/documents.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { viewPath } from "../../src/registry/view-path.ts";
import { ATTACKS, refusing, type Strangers, verdictsOf } from "../support/attacks.ts";
import { DOORBELL, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();
const WANTED = Number(process.env.KMODFARM_KERNELS ?? 60);

interface Artifact {
  readonly kernel: CatalogKernel;
  readonly files: readonly ModuleFile[];
  readonly manifest: Manifest;
  readonly record: KernelRecord;
}

let farm: Farm;
let published: Published;
let artifacts: Artifact[];

beforeAll(async () => {
  farm = await openFarm(await loadConfig({ config: await configOfFarm() }));
  published = await readPublished(farm.store);
  const inputs = openInputs(farm, published.catalog, { archived: "none" });
  artifacts = [];
  for (const { distribution, architecture, stable } of published.indices)
    for (const entry of stable) {
      const kernel = findKernel(
        published.catalog,
        `${distribution}/${architecture}/${entry.kversion}_${entry.packageVersion}`,
      );
      const place = join(farm.store.place, viewPath(entry));
      const names = (await readdir(place)).filter((name) => name.endsWith(".ko"));
      artifacts.push({
        kernel,
        files: await Promise.all(
          names.map(async (name) => ({ name, bytes: await readFile(join(place, name)) })),
        ),
        manifest: Manifest.parse(JSON.parse(await readFile(join(place, "manifest.json"), "utf8"))),
        record: await fetchKernelRecord(kernel, inputs),
      });
    }
}, 3_600_000);
afterAll(() => farm?.close());

async function configOfFarm(): Promise<string> {
  const { KMODFARM_FARM: ready } = process.env;
  if (ready !== undefined) return join(ready, "kmodfarm.yaml");
  const made = await farms.farm({
    mirror: await farms.mirror(),
    releases: ["debian11", "debian12", "debian13", "debian14", "debiansid"],
    select: { newest: Math.ceil(WANTED / 7) },
    drivers: [{ ...DOORBELL, moduleVersion: "{version}" }],
  });
  const { stdout, stderr, exitCode } = await made.cli("run");
  if (exitCode > 1) throw new Error(`${stdout}${stderr}`);
  return made.config;
}

const countOf = (name: string) => artifacts.filter(({ kernel }) => kernel.architecture === name).length;

/** Modules for other kernels than this one. */
function strangersOf({ kernel }: Artifact): Strangers {
  const find = (fits: (one: CatalogKernel) => boolean) => artifacts.find((one) => fits(one.kernel))?.files;
  const upstream = ({ kversion }: CatalogKernel) => /^\d+\.\d+(?:\.\d+)?/.exec(kversion)?.[0];
  return {
    flavour: find(
      ({ distribution, architecture, packageVersion, flavour }) =>
        distribution === kernel.distribution &&
        architecture === kernel.architecture &&
        packageVersion === kernel.packageVersion &&
        flavour !== kernel.flavour,
    ),
    suite: find(
      (one) =>
        one.distribution !== kernel.distribution &&
        one.architecture === kernel.architecture &&
        one.flavour === kernel.flavour &&
        // Two releases may carry one and the same package.
        one.packageVersion !== kernel.packageVersion &&
        upstream(one) === upstream(kernel),
    ),
    architecture: find(({ architecture }) => architecture !== kernel.architecture),
  };
}

describe("modules of live Debian kernels", () => {
  it.each(["x86_64", "aarch64"])("are there for enough kernels (%s)", (architecture) => {
    expect(countOf(architecture)).toBeGreaterThanOrEqual(WANTED);
  });

  it("pass every check where they belong", () => {
    for (const { kernel, manifest } of artifacts) {
      const bad = manifest.verdicts.filter(
        ({ check, verdict }) => verdict !== "pass" && check !== "signature",
      );
      expect([kernel.kversion, bad]).toEqual([kernel.kversion, []]);
    }
    console.log(
      `${artifacts.length} artifacts pass every check: ${countOf("x86_64")} x86_64, ${countOf("aarch64")} aarch64`,
    );
  });

  it("are refused by the named check whatever is wrong with them", async () => {
    const counts = new Map(ATTACKS.map(({ name }) => [name, 0]));
    for (const artifact of artifacts) {
      const { files, record: kernel } = artifact;
      const good = { files, kernel };
      expect(refusing(await verdictsOf(good))).toEqual([]);
      const strangers = strangersOf(artifact);
      for (const { name, check, spoil } of ATTACKS) {
        const bad = spoil(good, strangers);
        if (bad === undefined) continue;
        const refused = refusing(await verdictsOf(bad));
        expect([artifact.kernel.kversion, name, refused.includes(check)]).toEqual([
          artifact.kernel.kversion,
          name,
          true,
        ]);
        counts.set(name, (counts.get(name) ?? 0) + 1);
      }
    }
    console.log([...counts].map(([name, count]) => `${String(count).padStart(4)} × ${name}`).join("\n"));
    for (const [name, count] of counts) expect([name, count > 0]).toEqual([name, true]);
  }, 1_800_000);

  it("load, or are refused, as was said", async () => {
    const inputs = openInputs(farm, published.catalog, { archived: "none" });
    const context = { inputs, scratch: farm.scratch, cache: farm.cache };
    const rows: string[] = [];
    const wrong: string[] = [];
    for (const architecture of ["x86_64", "aarch64"] as const) {
      const own = artifacts.filter(({ kernel }) => kernel.architecture === architecture);
      const step = Math.max(1, Math.floor(own.length / KERNELS));
      for (const target of own.filter((_, index) => index % step === 0).slice(0, KERNELS)) {
        const candidates = [target, ...nearest(own, target)].map(({ kernel, files }) => ({
          from: kernel.kversion,
          files,
        }));
        const sets = candidates.map(({ files }) => ({
          driver: "doorbell",
          modules: files.map(({ name, bytes }) => ({ name: name.replace(/\.ko$/, ""), bytes })),
        }));
        const guest = guestPackages(published.catalog.guests, target.kernel);
        const reports = await loadModules({ kernel: target.kernel, guest, sets }, context);
        for (const [index, { from, files }] of candidates.entries()) {
          const read = files.map(({ name, bytes }) => readKernelModule(bytes, name));
          const { answer } = wouldLoad(read, target.record);
          const { verdict, reasons } = reports[index]?.verdict ?? { verdict: "none", reasons: [] };
          const did = verdict === "pass" ? "loads" : verdict === "fail" ? "refuses" : verdict;
          const row = `${from} into ${target.kernel.kversion}: said ${answer}, did ${did}`;
          rows.push(`${row}${did === "loads" ? "" : ` (${reasons[0]?.text.slice(0, 90)})`}`);
          if (answer !== did) wrong.push(row);
        }
      }
    }
    console.log(`${rows.length} pairs\n${rows.join("\n")}`);
    expect(wrong).toEqual([]);
    expect(rows.length).toBeGreaterThanOrEqual(Math.min(200, 2 * artifacts.length));
  }, 3_600_000);
});

/** Kernels of each architecture that are booted, and modules that each is given beside its own. */
const KERNELS = 11;
const OTHERS = 9;

/** Modules of the kernels around one: the same release in another suite, its neighbours, and some from far away. */
function nearest(own: readonly Artifact[], target: Artifact): Artifact[] {
  const others = own.filter((one) => one !== target);
  const at = own.indexOf(target);
  const close = others.toSorted((a, b) => Math.abs(own.indexOf(a) - at) - Math.abs(own.indexOf(b) - at));
  return [...close.slice(0, OTHERS - 3), ...close.slice(-3)];
}
