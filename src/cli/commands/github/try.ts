/**
 * `kmodfarm github try`: the workflow for a driver's own repository.
 */
import { resolve } from "node:path";
import { tryFiles } from "../../../ci/try.ts";
import type { OptionsOf } from "../../command.ts";
import type { TRY_WORKFLOW } from "./command.ts";
import { ownPackage, pathIn, writeGithub } from "./written.ts";

const USUAL_RUNNER = "ubuntu-24.04";

export async function tryWorkflow(
  path: string | undefined,
  options: OptionsOf<typeof TRY_WORKFLOW>,
): Promise<number> {
  const output = resolve(options.output ?? ".");
  const files = tryFiles({
    path: pathIn(output, "the driver's directory", resolve(output, path ?? ".")),
    package: options.package ?? (await ownPackage()),
    runner: options.runner ?? USUAL_RUNNER,
  });
  await writeGithub(
    output,
    files,
    options,
    "Commit them. The next pull request is tried; docs/github.md says more.\n",
  );
  return 0;
}
