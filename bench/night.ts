/**
 * A night over Debian's live archive, both architectures: cold (nothing in the cache, nothing published), after a patch of the
 * driver (inputs are there), and without news. Time, processor time, bytes and requests of each.
 *
 *     npm run bench:night -- [newest kernels of each release, architecture and flavour; default 1; `all` for the whole archive]
 */
import { appendFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { formatSize } from "../src/base/size.ts";
import { loadConfig } from "../src/farm/config/index.ts";
import type { RunReport } from "../src/farm/night/report.ts";
import { runFarm } from "../src/farm/night/run.ts";
import { openFarm } from "../src/farm/open.ts";
import { DOORBELL, PLACE } from "./measure.ts";

const [newest = "1"] = process.argv.slice(2);
await mkdir(PLACE, { recursive: true });
const place = await mkdtemp(join(PLACE, "night-"));
const source = join(place, "driver");
await cp(DOORBELL.source, source, { recursive: true });
const apt = { kind: "apt", acceptExpired: true };
const config = {
  drivers: [{ ...DOORBELL, source }],
  sources: [{ ...apt, releases: ["debian11", "debian12", "debian13", "debian14", "debiansid"] }],
  ...(newest === "all" ? {} : { select: { newest: Number(newest) } }),
};
await writeFile(join(place, "kmodfarm.yaml"), JSON.stringify(config));

const nights = [];
nights.push(await night("cold"));
await appendFile(join(source, "doorbell.c"), '\nMODULE_INFO(patched, "1");\n');
nights.push(await night("the driver is patched"));
nights.push(await night("nothing changed"));
console.table(Object.fromEntries(nights));
await rm(place, { recursive: true, force: true });

async function night(name: string): Promise<[string, object]> {
  const farm = await openFarm(await loadConfig({}, place));
  const [started, before] = [performance.now(), await processorSeconds()];
  try {
    const report = await runFarm(farm, {
      progress: { say: () => {}, element: () => {} },
      signal: new AbortController().signal,
      now: () => new Date(),
    });
    const seconds = (performance.now() - started) / 1000;
    const { requests, bytes } = farm.http.traffic;
    return [
      name,
      {
        elements: report.rows.length,
        stable: report.rows.filter(({ path }) => path !== undefined).length,
        new: countNew(report),
        minutes: (seconds / 60).toFixed(1),
        "processor minutes": (((await processorSeconds()) - before) / 60).toFixed(1),
        fetched: formatSize(bytes),
        requests,
      },
    ];
  } finally {
    await farm.close();
  }
}

function countNew({ rows }: RunReport): number {
  return rows.filter(({ isNew }) => isNew).length;
}

/** Of this process and of all that it waited for, in proc(5)'s ticks of a hundredth of a second. */
async function processorSeconds(): Promise<number> {
  const fields = (await readFile("/proc/self/stat", "utf8")).split(") ")[1]?.split(" ") ?? [];
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
}
