/**
 * `kmodfarm generations accept`: a person vouches for what a machine without a key published.
 */
import { oneLine } from "../../../base/visible.ts";
import { type Acceptance, acceptGeneration } from "../../../farm/signing/accept.ts";
import type { OptionsOf } from "../../command.ts";
import { withFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { ACCEPT } from "./command.ts";
import { differenceWords } from "./generations.ts";

export function accept(number: number, options: OptionsOf<typeof ACCEPT>): Promise<number> {
  return withFarm(options, async (farm) => {
    const isDryRun = options.dryRun ?? false;
    const request = {
      number,
      digest: options.digest,
      isDryRun,
      say: (found: Acceptance) => tell(found, options),
    };
    await acceptGeneration(farm, request, () => new Date());
    if (options.json) return 0;
    await print(
      isDryRun
        ? "Nothing was signed. Without --dry-run this machine vouches for it.\n"
        : `This machine vouches for generation ${number} now.\n`,
    );
    return 0;
  });
}

async function tell(found: Acceptance, { json }: OptionsOf<typeof ACCEPT>): Promise<void> {
  if (json) return printJson({ schema: "kmodfarm.accept/1", ...found });
  const { generation, digest, since, published, difference, given, taken, decisions } = found;
  const lines = [
    `Generation ${generation}, ${digest}`,
    since === undefined
      ? "Nobody vouches for any generation before it: all of it is new."
      : `Generation ${since} is the last one that is vouched for. Since then:`,
    ...published.map(({ number, who, what }) => `  ${number}  says it is of ${who}, by ${what}`),
    `Changes: ${differenceWords(difference)}`,
    ...given.map((place) => `  + ${place}`),
    ...taken.map((place) => `  - ${place}`),
    ...decisions.map(({ action, artifact, by, why }) => `  ${action} ${artifact.driver} by ${by}: ${why}`),
  ];
  await print(`${lines.map(oneLine).join("\n")}\n`);
}
