/**
 * `kmodfarm matrix diff` of two kernel lists: by the lists' own keys, as their publisher counts.
 */
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { diffLists, type ListDiff } from "../../../catalog/list-diff.ts";
import { readAnyCatalog } from "../../catalog-io.ts";
import { print, printJson } from "../../output.ts";

export async function diffListFiles(previous: string, current: string, asJson: boolean): Promise<number> {
  const [before, after] = await Promise.all(
    [previous, current].map(async (place) => {
      const read = await readAnyCatalog(place, { as: "kernel-crawler", keepEntries: true });
      if (read.format === "kmodfarm")
        throw new FarmError("BUG", { detail: `${place} was read as another format` });
      return read.list;
    }),
  );
  if (before === undefined || after === undefined) return 0;
  const diff = diffLists(before, after);
  if (asJson) await printJson({ schema: "kmodfarm.list-diff/1", ...diff });
  else await print(toText(diff));
  return 0;
}

function toText({ added, removed, moved, changed, unchanged, formatChanges }: ListDiff): string {
  const lines = [
    ...added.map((key) => `+ ${key}`),
    ...changed.map((key) => `~ ${key}: different header packages`),
    ...removed.map((key) => `- ${key}`),
    ...formatChanges.map(
      ({ distribution, entries, detail }) =>
        `format change: ${distribution}: ${detail} (${counted(entries, "entry")})`,
    ),
    `${added.length} added, ${changed.length} changed, ${removed.length} removed, ${moved.length} only moved, ${unchanged} unchanged`,
  ];
  return `${lines.join("\n")}\n`;
}
