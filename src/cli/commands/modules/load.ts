/**
 * `kmodfarm load`: loads existing modules into a kernel that the catalog knows.
 */
import { FarmError } from "../../../base/error.ts";
import { findKernel } from "../../../catalog/catalog.ts";
import { guestPackages } from "../../../check/guest/tools.ts";
import { type LoadReport, loadModules } from "../../../check/load.ts";
import { openModuleFile } from "../../../check/opened-modules.ts";
import { textsOf } from "../../../check/verdict.ts";
import { readingContext } from "../../../farm/open.ts";
import { kernelName } from "../../../kernel/kernel.ts";
import { readPublished } from "../../../registry/generations.ts";
import type { OptionsOf } from "../../command.ts";
import { readText } from "../../input.ts";
import { readModuleFiles } from "../../module-files.ts";
import { stopSignal, withStoredFarm } from "../../options.ts";
import { print, printJson, seconds, shownVerdict } from "../../output.ts";
import type { LOAD } from "./command.ts";

const EXITS = { pass: 0, fail: 1, unknown: 3, notApplicable: 3, waived: 0 } as const;

export async function load(files: readonly string[], options: OptionsOf<typeof LOAD>): Promise<number> {
  const modules = await Promise.all((await readModuleFiles(files)).map(openModuleFile));
  return withStoredFarm(options, async (farm) => {
    const { catalog } = await readPublished(farm.store);
    const kernel = findKernel(catalog, options.kernel);
    const foreign = modules.find(({ module }) => module.architecture !== kernel.architecture)?.module;
    if (foreign !== undefined) {
      throw new FarmError("LOAD_FAILED", {
        detail: `${foreign.name} is a module for ${foreign.architecture}, but ${kernelName(kernel)} is not`,
      });
    }
    const set = {
      driver: modules.map(({ module: { name } }) => name).join(),
      modules: modules.map(({ module: { name }, bytes, packed }) => ({ name, bytes, packed })),
      smoke: options.smoke === undefined ? undefined : await readText(options.smoke),
    };
    const guest = guestPackages(catalog.guests, kernel);
    const [report] = await loadModules(
      { kernel, guest, sets: [set] },
      readingContext(farm, catalog),
      stopSignal(),
    );
    const { verdict, bootMs, accelerator, log } = report as LoadReport;
    if (options.json)
      await printJson({
        schema: "kmodfarm.load/1",
        kernel: kernelName(kernel),
        verdict: shownVerdict(verdict),
        bootMs,
        accelerator,
        log: log.split("\n"),
      });
    else
      await print(
        `${log}\n\n${verdict.verdict}: ${textsOf(verdict).join("; ")} (${kernelName(kernel)}, ${seconds(bootMs)} s, ${accelerator})\n`,
      );
    return EXITS[verdict.verdict];
  });
}
