import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeCatalog, makeKernel } from "../../../test/support/kernels.ts";
import { farmWith } from "../../../test/support/stored-farm.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { kernelName } from "../../kernel/kernel.ts";
import type { Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import type { Farm } from "../open.ts";
import { ingest } from "./feeds.ts";
import { openGapOrder } from "./order.ts";

const NOW = new Date("2026-11-27T00:00:00Z");
const SHA = "a".repeat(40);
const cve = (id: string, fixed: string) =>
  JSON.stringify({
    id,
    published: "2026-08-20",
    title: id,
    fix: [SHA],
    pairs: [["6.1", SHA, fixed, SHA]],
    files: ["a.c"],
  });
const kernelOf = (abi: number, packageVersion: string, changes: { flavour?: string } = {}) =>
  makeKernel({ kversion: `6.1.0-${abi}-amd64`, packageVersion, ...changes });
const [OLD, MIDDLE, NEW, CLOUD] = [
  kernelOf(50, "6.1.150-1"),
  kernelOf(51, "6.1.160-1"),
  kernelOf(52, "6.1.170-1"),
  kernelOf(53, "6.1.170-1", { flavour: "cloud" }),
] as const;

async function farmWithFeeds(): Promise<Farm> {
  const farm = await farmWith([], undefined, makeCatalog([OLD, MIDDLE, NEW, CLOUD]));
  const directory = await temporaryDirectory();
  const [cves, kev] = [join(directory, "cves.ndjson"), join(directory, "kev.json")];
  await writeFile(cves, [cve("CVE-2026-1001", "6.1.155"), cve("CVE-2026-1002", "6.1.165")].join("\n"));
  await writeFile(
    kev,
    JSON.stringify({
      vulnerabilities: [
        { cveID: "CVE-2026-1002", dateAdded: "2026-08-01", vendorProject: "Linux", product: "Kernel" },
      ],
    }),
  );
  const options = { by: "ann", now: () => NOW, say: () => {}, signal: new AbortController().signal };
  const feeds = [
    { kind: "compact", from: cves },
    { kind: "kev", from: kev },
  ];
  const { answers } = await ingest(farm, feeds, options);
  expect(answers.map(({ result }) => result)).toEqual(["read", "read"]);
  return farm;
}

const orderOf = async ({ store }: Farm, changes: Partial<Published> = {}) =>
  openGapOrder(store, { ...(await readPublished(store)), ...changes }, NOW);

test("kernels come first that close what is exploited, then what closes more, and say why", async () => {
  const order = await orderOf(await farmWithFeeds());
  const [old, middle, newest] = [OLD, MIDDLE, NEW].map((kernel) => order.rankOf(kernel));

  expect(order.date).toBe("2026-08-20");
  expect([newest! > middle!, middle! > old!]).toEqual([true, true]);
  expect(order.whyOf(NEW)).toMatch(/closes 1 exploited \(CVE-2026-1002\)/);
  // The only one of its flavour: nodes that boot it run it already.
  expect(order.rankOf(CLOUD)).toBe(old);
});

test("what nodes can boot already closes nothing any more", async () => {
  const stable = { driver: "d", series: "1.0.0", kernel: kernelName(NEW), stable: NOW.toISOString() };

  const order = await orderOf(await farmWithFeeds(), { history: [stable] });

  expect(order.rankOf(NEW)).toBe(order.rankOf(OLD));
});

test("without feeds all matter as much", async () => {
  const farm = await farmWith([], undefined, makeCatalog([OLD, NEW]));

  const order = await orderOf(farm);

  expect([order.date, order.rankOf(OLD), order.rankOf(NEW)]).toEqual([undefined, 0, 0]);
});
