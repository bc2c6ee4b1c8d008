import { join } from "node:path";
import { expect, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";
import { makeCatalog, makeKernel } from "../../../../test/support/kernels.ts";
import { farmWith } from "../../../../test/support/stored-farm.ts";

test("says which suites list a kernel, in the words of its distribution", async () => {
  const sources = ["debian/bookworm", "debian/bookworm-security"];
  const farm = await farmWith([], undefined, makeCatalog([{ ...makeKernel(), sources }]));

  const { stdout } = await inProcess([
    "catalog",
    "list",
    "--config",
    join(farm.config.base, "kmodfarm.yaml"),
  ]);

  const [head = "", row = ""] = stdout.split("\n");
  expect(head.split(/ {2,}/)).toContain("SUITE");
  expect(row.slice(head.indexOf("SUITE"))).toMatch(/^bookworm, bookworm-security {2}/);
});
