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

test.each([
  [["--distro", "debain12"], 2, /--distro: there is no distribution or release 'debain12' \(did you mean/],
  [["--flavour", "genric"], 2, /--flavour: none of the 1 kernels has the flavour 'genric'/],
  [["--kernel-release", "6.1"], 0, /matches none of 1\. --kernel-release must match the whole release/],
])("what names nothing is said: %j", async (argv, exit, said) => {
  const farm = await farmWith([], undefined, makeCatalog([makeKernel()]));

  const { exitCode, stdout, stderr } = await inProcess([
    ...["catalog", "list", ...argv, "--config", join(farm.config.base, "kmodfarm.yaml")],
  ]);

  expect(exitCode).toBe(exit);
  expect(`${stdout}${stderr}`).toMatch(said);
});
