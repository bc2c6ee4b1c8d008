/**
 * `kmodfarm fsck`: what a store has, and what it should have.
 */

import { counted } from "../../../base/counted.ts";
import { formatSize } from "../../../base/size.ts";
import { oneLine } from "../../../base/visible.ts";
import { keptCopies } from "../../../farm/kept-copies.ts";
import { type FsckReport, fsck } from "../../../registry/fsck.ts";
import { withTask } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { FSCK } from "./command.ts";

type FsckOptions = OptionsOf<typeof FSCK>;

export function checkStore(options: FsckOptions): Promise<number> {
  return withStoredFarm(options, async ({ store, cache }) => {
    const [isFull, isRepair] = [options.full ?? false, options.repair ?? false];
    const report = await withTask(options, `looking at ${store.place}`, () =>
      fsck(store, { isFull, isRepair, copyOf: keptCopies(cache) }),
    );
    if (options.json) await printJson({ schema: "kmodfarm.fsck/1", ...report });
    else await print(fsckText(report, options));
    return exitOf(report);
  });
}

/** 0 for a whole store, 1 for one that can be repaired, 4 for one that lost something. */
function exitOf({ findings }: FsckReport): number {
  if (findings.some(({ remedy }) => remedy === "lost")) return 4;
  return findings.some(({ remedy }) => remedy !== "repaired") ? 1 : 0;
}

const REMEDIES: Readonly<Record<FsckReport["findings"][number]["remedy"], string>> = {
  repaired: "repaired",
  repairable: "--repair restores it",
  lost: "lost: no good copy was found here",
  leave: "not a file of a registry; left alone",
};

function fsckText({ generation, files, findings, unnamed }: FsckReport, options: FsckOptions): string {
  const lines = findings.map(({ path, fact, by, remedy }) => {
    const owner = by === undefined || path.startsWith(by) ? "" : ` (${by})`;
    return `${oneLine(`${fact}: ${path}${owner}`)}\n  ${REMEDIES[remedy]}\n`;
  });
  const looked = options.full ? "every byte was read" : "only sizes were compared; --full reads every byte";
  const left =
    unnamed.files === 0
      ? ""
      : `${counted(unnamed.files, "blob")} (${formatSize(unnamed.bytes)}) not used by any generation: \`kmodfarm prune\` removes the old ones.\n`;
  const lost = findings.filter(({ remedy }) => remedy === "lost").length;
  const said = findings.length === 0 ? "whole" : `${counted(findings.length, "fault")}, ${lost} of them lost`;
  return `${lines.join("")}Generation ${generation}, ${counted(files, "file")}: ${said} (${looked}).\n${left}`;
}
