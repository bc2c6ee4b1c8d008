import { createReadStream, existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sharedFile } from "../../test/support/shared.ts";
import { kernelName } from "../kernel/kernel.ts";
import { resolveNode } from "../kernel/node.ts";
import type { CatalogKernel } from "./catalog.ts";
import { EMPTY_CATALOG } from "./catalog.ts";
import { readKernelCrawler } from "./kernel-crawler.ts";
import { reportsOfList } from "./kernel-list.ts";
import { mergeCatalog } from "./merge.ts";

const LISTS = ["x86_64", "aarch64"].map((machine) =>
  sharedFile(`data/catalogs/debian-2026-11_${machine}.json`),
);
const NOW = "2026-11-20T00:00:00.000Z";

async function liveDebian(): Promise<readonly CatalogKernel[]> {
  let catalog = EMPTY_CATALOG;
  for (const file of LISTS) {
    const list = await readKernelCrawler(createReadStream(file), { url: file });
    catalog = mergeCatalog(catalog, reportsOfList(list, catalog, NOW), { now: NOW });
  }
  return catalog.kernels;
}

/** What a node of Debian says while it runs a kernel. */
function nodeOf({ kversion, packageVersion, architecture, distribution }: CatalogKernel) {
  return {
    release: kversion,
    version: `#1 SMP PREEMPT_DYNAMIC Debian ${packageVersion} (2026-11-01)`,
    machine: architecture,
    osId: "debian",
    osVersion: distribution.replace("debian", ""),
  };
}

// The field's tool asks by upstream version and flavour: 41 of these kernels get another release's module, 66
// none, 18 one of two.
describe.skipIf(!LISTS.every(existsSync))("nodes of every live Debian kernel", () => {
  test("get their own kernel: none wrong, none missing, none ambiguous", async () => {
    const kernels = await liveDebian();

    const counts = { right: 0, wrong: 0, missing: 0, ambiguous: 0 };
    for (const kernel of kernels) {
      const answer = resolveNode(kernels, nodeOf(kernel));
      if (answer.kind === "unknown") counts.missing++;
      else if (answer.kind === "ambiguous") counts.ambiguous++;
      else if ([answer.kernel, ...answer.same].map(kernelName).includes(kernelName(kernel))) counts.right++;
      else counts.wrong++;
    }

    expect(kernels.length).toBeGreaterThanOrEqual(242);
    expect(counts).toEqual({ right: kernels.length, wrong: 0, missing: 0, ambiguous: 0 });
  });

  test("get their own kernel whatever system's os-release they read", async () => {
    const kernels = await liveDebian();

    for (const kernel of kernels) {
      const answer = resolveNode(kernels, { ...nodeOf(kernel), osId: "ubuntu", osVersion: "24.04" });
      const isRight = answer.kind === "found" && answer.kernel.packageVersion === kernel.packageVersion;
      const isTie = answer.kind === "ambiguous" && answer.kernels.includes(kernel);
      expect(isRight || isTie, kernelName(kernel)).toBe(true);
    }
  });
});
