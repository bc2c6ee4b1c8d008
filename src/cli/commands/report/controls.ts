/** `kmodfarm report controls`: evidence for controls, file by file. */
import { FRAMEWORKS } from "../../../farm/assurance/control-catalogue.ts";
import { type ControlReport, reportControls } from "../../../farm/assurance/controls.ts";
import type { OptionsOf } from "../../command.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { CONTROLS } from "./command.ts";

export async function controls(options: OptionsOf<typeof CONTROLS>): Promise<number> {
  return withStoredFarm(options, async ({ store }) => {
    const found = await reportControls(store);
    if (options.json)
      await printJson({ schema: "kmodfarm.controls/1", registry: store.place, controls: found });
    else await print(toText(store.place, found));
    return 0;
  });
}

function toText(place: string, found: readonly ControlReport[]): string {
  const parts = FRAMEWORKS.map((framework) => {
    const own = found.filter((one) => one.framework === framework);
    return `${framework}\n${own.map((one) => controlText(place, one)).join("")}`;
  });
  const open = found.filter(({ missing }) => missing.length > 0).length;
  return `${parts.join("\n")}\n${found.length - open} of ${found.length} controls have all the evidence that is looked for.\n`;
}

function controlText(place: string, { id, asks, evidence, missing }: ControlReport): string {
  const lines = [
    ...evidence.flatMap(({ fact, file, digest, command }) => [
      `    ${fact}`,
      ...(file === undefined ? [] : [`      ${place}/${file}`, `      ${digest}`]),
      `      ${command}`,
    ]),
    ...missing.map((what) => `    missing: ${what}`),
  ];
  return `  ${id}: ${asks}\n${lines.map((line) => `${line}\n`).join("")}`;
}
