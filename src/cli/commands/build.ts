/**
 * `kmodfarm build`: the compiling part of the night alone.
 */
import { FarmError } from "../../base/error.ts";
import { readMatrix } from "../matrix-io.ts";
import { type PlaceOptions, withFarm } from "../options.ts";
import { printReport, runWithBoard } from "./run.ts";

interface BuildOptions extends PlaceOptions {
  readonly matrix?: string;
  readonly retry?: boolean;
}

export async function build(options: BuildOptions): Promise<number> {
  const matrix = options.matrix === undefined ? undefined : await readMatrix(options.matrix);
  return withFarm(options, async (farm) => {
    if (farm.config.drivers.length === 0) {
      throw new FarmError("CONFIG_INVALID", {
        detail: "the configuration names no driver, so there is no source to build",
      });
    }
    const report = await runWithBoard(farm, options, {
      without: ["catalog", "load"],
      ...(matrix === undefined ? {} : { matrix }),
    });
    if (matrix === undefined && report.kernels === 0) {
      throw new FarmError("USAGE", {
        detail: "the store knows no kernel yet, so there is nothing to build",
        hint: "`kmodfarm catalog update` fills its catalog; `kmodfarm run` does that by itself.",
      });
    }
    return printReport(report, farm, options.json ?? false);
  });
}
