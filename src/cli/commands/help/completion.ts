/**
 * `kmodfarm completion`: what shells need to complete command lines.
 */
import type { Command } from "commander";
import { FarmError } from "../../../base/error.ts";
import { COMPLETIONS, type Shell } from "../../completion.ts";
import { print } from "../../output.ts";

/** `program` has every command there is. */
export async function completion(program: Command, shell: string): Promise<number> {
  if (!Object.hasOwn(COMPLETIONS, shell))
    throw new FarmError("USAGE", {
      detail: `'${shell}' is not a shell that this is known for; choose from ${Object.keys(COMPLETIONS).join(", ")}`,
    });
  await print(COMPLETIONS[shell as Shell](program));
  return 0;
}
