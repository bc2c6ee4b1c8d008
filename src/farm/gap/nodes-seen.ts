/** What nodes run, as history keeps it: when one was first seen on a kernel that a driver series has modules for. */
import type { CatalogKernel } from "../../catalog/catalog.ts";
import type { RecordOf } from "../../gap/records.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { resolveNode } from "../../kernel/node.ts";
import type { HistoryEntry } from "../../registry/documents.ts";
import type { Happened } from "../../registry/history.ts";

/** A node whose words fit several kernels, or none, was seen on none. */
export function happenedOnNodes(
  nodes: readonly RecordOf<"node">[],
  kernels: readonly CatalogKernel[],
  history: readonly HistoryEntry[],
): Happened[] {
  const bySeries = Map.groupBy(history, ({ kernel }) => kernel);
  const reports = Map.groupBy(nodes, ({ release, version, machine }) =>
    [release, version, machine].join("\n"),
  );
  return [...reports.values()].flatMap((alike) => {
    const [first] = alike.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at));
    if (first === undefined) return [];
    const { release, version = "", machine = "x86_64", at } = first;
    const answer = resolveNode(kernels, { release, version, machine });
    if (answer.kind !== "found") return [];
    const times = { node: new Date(at).toISOString() };
    return (bySeries.get(kernelName(answer.kernel)) ?? []).map(
      ({ driver, series, kernel }): Happened => ({ driver, series, kernel, times }),
    );
  });
}
