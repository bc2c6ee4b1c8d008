/**
 * `kmodfarm build`: the compiling part of the night alone.
 */
import { FarmError } from "../../../base/error.ts";
import type { OptionsOf } from "../../command.ts";
import { readMatrix } from "../../matrix-io.ts";
import { withFarm } from "../../options.ts";
import type { BUILD } from "./command.ts";
import { printReport, runWithBoard } from "./run.ts";

export async function build(options: OptionsOf<typeof BUILD>): Promise<number> {
  const matrix = options.matrix === undefined ? undefined : await readMatrix(options.matrix);
  return withFarm(options, async (farm) => {
    if (farm.config.drivers.length === 0) {
      throw new FarmError("CONFIG_INVALID", {
        detail: "no driver is configured, so there is no source to build",
      });
    }
    const report = await runWithBoard(farm, options, {
      without: ["catalog", "load"],
      ...(matrix === undefined ? {} : { matrix }),
    });
    if (matrix === undefined && report.kernels === 0) {
      throw new FarmError("USAGE", {
        detail: "the store's catalog is empty, so there is nothing to build",
        hint: "Run `kmodfarm catalog update` first; `kmodfarm run` does that by itself.",
      });
    }
    return printReport(report, farm, options);
  });
}
