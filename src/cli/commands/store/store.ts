/** `kmodfarm generations`, `prune`, `fsck`: what a store has, should have, and need not have. */
import { FarmError } from "../../../base/error.ts";
import { formatSize } from "../../../base/size.ts";
import { keptCopies } from "../../../farm/kept-copies.ts";
import type { Difference } from "../../../registry/documents.ts";
import { type FsckReport, fsck } from "../../../registry/fsck.ts";
import { history, newestGeneration } from "../../../registry/generations.ts";
import { prune } from "../../../registry/prune.ts";
import type { OptionsOf } from "../../command.ts";
import type { PlaceOptions } from "../../common-options.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";
import type { FSCK, PRUNE } from "./command.ts";

export function generations(options: PlaceOptions): Promise<number> {
  return withStoredFarm(options, async ({ store }) => {
    const newest = await newestGeneration(store);
    const found = [];
    for await (const one of history(store, newest?.head ?? null)) found.push(one);
    if (options.json)
      await printJson(
        found.map(({ head, generation }) => ({
          ...head,
          publishedAt: generation.publishedAt,
          ...(generation.schema === "kmodfarm.generation/2"
            ? { by: generation.by, difference: generation.difference }
            : {}),
        })),
      );
    else if (found.length === 0) await print("Nothing was published yet. `kmodfarm run` does.\n");
    else {
      const rows = found.map(({ head, generation }) => [
        String(head.number),
        generation.publishedAt.slice(0, 16).replace("T", " "),
        ...(generation.schema === "kmodfarm.generation/2"
          ? [generation.by.what, generation.by.who, differenceWords(generation.difference)]
          : ["-", "-", "by a version that did not say"]),
      ]);
      await print(table(["NUMBER", "TIME (UTC)", "COMMAND", "BY", "WHAT CHANGED"], rows));
    }
    return 0;
  });
}

/** `+2 stable, 1 of them changed; 14 kernels` */
function differenceWords({ stable, candidates, attempts, kernels, decisions }: Difference): string {
  const moved = (what: string, { added, changed, removed }: Difference["stable"]) =>
    [
      ...(added > 0 ? [`+${added}`] : []),
      ...(removed > 0 ? [`-${removed}`] : []),
      ...(changed > 0 ? [`~${changed}`] : []),
    ]
      .map((count) => `${count} ${what}`)
      .slice(0, 3);
  const some = (count: number, one: string) => (count === 0 ? [] : [counted(count, one)]);
  const words = [
    ...moved("stable", stable),
    ...moved("candidate", candidates),
    ...some(decisions, "decision"),
    ...some(attempts, "attempt"),
    ...some(kernels, "kernel"),
  ];
  return words.length === 0 ? "sources, or toolchains" : words.join(", ");
}

const DAY_MS = 24 * 3600_000;

export async function pruneStore(options: OptionsOf<typeof PRUNE>): Promise<number> {
  // A night may take a day until it publishes what it has stored.
  if (options.graceDays < 2)
    throw new FarmError("USAGE", {
      detail: `--grace-days ${options.graceDays} is less than 2`,
      hint: "What a running night has stored and not yet published would be removed.",
    });
  return withStoredFarm(options, async ({ store }) => {
    const pruned = await prune(store, {
      keep: options.keep,
      graceMs: options.graceDays * DAY_MS,
      now: new Date(),
      isDryRun: options.dryRun ?? false,
    });
    if (options.json) await printJson(pruned);
    else {
      const { generations: old, files, bytes, kept } = pruned;
      const verb = options.dryRun ? "would be removed" : "removed";
      await print(
        `${counted(files, "file")} (${formatSize(bytes)}) ${verb}, of ${counted(old.length, "generation")}; ${counted(kept.generations, "generation")} and ${counted(kept.files, "file")} stay.\n`,
      );
    }
    return 0;
  });
}

type FsckOptions = OptionsOf<typeof FSCK>;

export function checkStore(options: FsckOptions): Promise<number> {
  return withStoredFarm(options, async ({ store, cache }) => {
    const report = await fsck(store, {
      isFull: options.full ?? false,
      isRepair: options.repair ?? false,
      copyOf: keptCopies(cache),
    });
    if (options.json) await printJson(report);
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
  repairable: "--repair restores the store here",
  lost: "lost: no good copy is known here",
  leave: "no file of a registry, and left alone",
};

function fsckText({ generation, files, findings, unnamed }: FsckReport, options: FsckOptions): string {
  const lines = findings.map(({ path, fact, by, remedy }) => {
    const owner = by === undefined || path.startsWith(by) ? "" : ` (${by})`;
    return `${fact}: ${path}${owner}\n  ${REMEDIES[remedy]}\n`;
  });
  const looked = options.full ? "every byte was read" : "sizes were looked at; --full reads every byte";
  const left =
    unnamed.files === 0
      ? ""
      : `${counted(unnamed.files, "blob")} (${formatSize(unnamed.bytes)}) of no generation: \`kmodfarm prune\` removes what is old of it.\n`;
  const lost = findings.filter(({ remedy }) => remedy === "lost").length;
  const said = findings.length === 0 ? "whole" : `${counted(findings.length, "fault")}, ${lost} of them lost`;
  return `${lines.join("")}Generation ${generation}, ${counted(files, "file")}: ${said} (${looked}).\n${left}`;
}

function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? "" : "s"}`;
}
