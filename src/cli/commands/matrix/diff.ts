/**
 * `kmodfarm matrix diff`: what one matrix has that another one has not, or has otherwise.
 */
import { diffMatrix, elementsToBuild, formatChangesOf } from "../../../matrix/diff.ts";
import { elementKey } from "../../../matrix/element.ts";
import type { StreamedChange } from "../../../matrix/stream.ts";
import { isKernelList } from "../../catalog-io.ts";
import type { OptionsOf } from "../../command.ts";
import { diffFiles, isLarge, printMatrix, readMatrix } from "../../matrix-io.ts";
import { print, printDocument, printJson } from "../../output.ts";
import type { DIFF } from "./command.ts";

type DiffOptions = OptionsOf<typeof DIFF>;

export async function diff(previous: string, current: string, options: DiffOptions): Promise<number> {
  if ((await isKernelList(previous)) && (await isKernelList(current))) {
    const { diffListFiles } = await import("./diff-lists.ts");
    return diffListFiles(previous, current, options.json ?? false);
  }
  if ((await isLarge(previous)) || (await isLarge(current))) return diffLarge(previous, current, options);
  const [before, after] = await Promise.all([readMatrix(previous), readMatrix(current)]);
  const result = diffMatrix(before, after);
  if (!options.report) {
    await printMatrix(elementsToBuild(result));
  } else if (options.json) {
    const changed = result.changed.map(({ element, reasons }) => ({ ...element, reasons }));
    const formatChanges = formatChangesOf(result);
    const { added, removed, unchanged } = result;
    await printJson({ schema: "kmodfarm.matrix-diff/1", added, changed, removed, unchanged, formatChanges });
  } else {
    const lines = [
      ...result.added.map((element) => `+ ${elementKey(element)}`),
      ...result.changed.map(({ element, reasons }) => `~ ${elementKey(element)}: ${reasons.join("; ")}`),
      ...result.removed.map((element) => `- ${elementKey(element)}`),
      ...formatChangesOf(result).map(
        ({ distribution, elements, detail }) => `${distribution}: ${detail} (${elements} elements)`,
      ),
      `${result.added.length} added, ${result.changed.length} changed, ${result.removed.length} removed, ${result.unchanged} unchanged`,
    ];
    await print(`${lines.join("\n")}\n`);
  }
  return 0;
}

/** Nothing is held but keys and digests; a report then names the parts that differ, without their old values. */
async function diffLarge(previous: string, current: string, options: DiffOptions): Promise<number> {
  const counts = { added: 0, changed: 0 };
  let isFirst = true;
  for await (const change of diffFiles(previous, current)) {
    if (change.kind === "end") {
      const { removed, unchanged } = change;
      const summary = { ...counts, removed: removed.length, unchanged };
      if (!options.report) await printDocument(isFirst ? "[]\n" : "\n]\n");
      else if (options.json)
        await printJson({ schema: "kmodfarm.matrix-diff-counts/1", ...summary, removedKeys: removed });
      else
        await print(
          `${removed.map((key) => `- ${key}\n`).join("")}${Object.entries(summary)
            .map(([name, count]) => `${count} ${name}`)
            .join(", ")}\n`,
        );
      break;
    }
    counts[change.kind]++;
    if (!options.report) await printDocument(`${isFirst ? "[\n" : ",\n"}${JSON.stringify(change.element)}`);
    else if (!options.json) await print(changeLine(change));
    isFirst = false;
  }
  return 0;
}

function changeLine(change: Exclude<StreamedChange, { kind: "end" }>): string {
  const key = elementKey(change.element);
  return change.kind === "added" ? `+ ${key}\n` : `~ ${key}: ${change.parts.join(", ")}\n`;
}
