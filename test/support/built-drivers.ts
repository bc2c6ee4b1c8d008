/** Drivers built for one kernel, in this process, to be loaded there in any company. */
import type { BootContext } from "../../src/check/guest/boot-image.ts";
import { guestPackages } from "../../src/check/guest/tools.ts";
import { type LoadReport, type LoadSet, loadModules } from "../../src/check/load.ts";
import { loadConfig } from "../../src/farm/config/index.ts";
import { openFarm, openInputs } from "../../src/farm/open.ts";
import { readModules } from "../../src/registry/artifact.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { CLOUD, type Farms } from "./e2e-farm.ts";
import { type LyingDriver, writeDriver } from "./lying-drivers.ts";

export interface BuiltDrivers {
  /** Loads drivers that were asked for together, in this order. */
  load(...drivers: readonly LyingDriver[]): Promise<LoadReport[]>;
  readonly context: BootContext;
  readonly image: CatalogImage;
  close(): Promise<void>;
}

type CatalogImage = Parameters<typeof loadModules>[0]["kernel"]["packages"]["image"][number];

/** Builds drivers for the newest x86_64 kernel of the cloud; drivers of one name are one, with several scripts. */
export async function buildDrivers(farms: Farms, drivers: readonly LyingDriver[]): Promise<BuiltDrivers> {
  const made = await farms.farm({
    mirror: await farms.mirror(),
    select: { ...CLOUD, architectures: ["x86_64"] },
  });
  await made.configure({
    drivers: await Promise.all(drivers.map((driver) => writeDriver(made.directory, driver))),
  });
  for (const step of [["catalog", "update"], ["build"]]) {
    const { exitCode, stdout, stderr } = await made.cli(...step);
    if (exitCode !== 0) throw new Error(`${step.join(" ")}: ${stdout}${stderr}`);
  }
  const farm = await openFarm(await loadConfig({ config: made.config }));
  const { catalog, indices } = await readPublished(farm.store);
  const entries = indices.flatMap(({ candidate }) => candidate);
  const [first] = entries;
  const kernel = catalog.kernels.find(
    ({ kversion, architecture }) => kversion === first?.kversion && architecture === "x86_64",
  );
  const [image] = kernel?.packages.image ?? [];
  if (kernel === undefined || image === undefined) throw new Error("nothing was built");
  const modules = new Map(
    await Promise.all(
      entries.map(async (entry) => [entry.driver, await readModules(farm.store, entry)] as const),
    ),
  );
  const setOf = ({ name, driver = name, smoke }: LyingDriver): LoadSet => ({
    driver,
    modules: (modules.get(name) ?? []).map((one) => ({
      name: one.name.replace(/\.ko$/, ""),
      bytes: one.bytes,
    })),
    smoke,
  });
  const guest = guestPackages(catalog.guests, kernel);
  const inputs = openInputs(farm, catalog, { archived: "none" });
  const context = { inputs, scratch: farm.scratch, cache: farm.cache };
  return {
    load: (...asked) => loadModules({ kernel, guest, sets: asked.map(setOf) }, context),
    context,
    image,
    close: () => farm.close(),
  };
}
