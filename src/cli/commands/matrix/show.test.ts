import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeElement } from "../../../../test/support/elements.ts";
import { inProcess } from "../../../../test/support/in-process.ts";
import { makeCatalog, makeKernel } from "../../../../test/support/kernels.ts";
import { farmWith } from "../../../../test/support/stored-farm.ts";
import { makeVerdict } from "../../../../test/support/verdicts.ts";

test("what is excluded is shown with its reason, built or not, and what is published stays so", async () => {
  const element = makeElement();
  const kernels = [makeKernel(), makeKernel({ kversion: "6.1.0-99-amd64" })];
  const given = [{ element, verdicts: [makeVerdict("load", "pass", "it loads")], isStable: true }];
  const farm = await farmWith(given, undefined, makeCatalog(kernels));
  const config = {
    drivers: [{ name: "doorbell", source: ".", versions: ["0.1.1"] }],
    exclude: [{ kernelRelease: "6\\.1\\..*", reason: "not yet" }],
  };
  const file = join(farm.config.base, "kmodfarm.yaml");
  await writeFile(file, JSON.stringify(config));

  const { stdout } = await inProcess(["matrix", "show", "--config", file]);
  const json = await inProcess(["matrix", "show", "--config", file, "--json"]);
  const tsv = await inProcess(["matrix", "show", "--config", file, "--format", "tsv"]);

  expect(stdout).toMatch(/^doorbell +0\.1\.1 +\S+ +stable.*; stays published, but excluded: not yet$/m);
  expect(stdout).toMatch(/^doorbell +0\.1\.1 +\S+6\.1\.0-99-amd64\S* +excluded: not yet$/m);
  const { elements, others } = JSON.parse(json.stdout);
  expect([...elements, ...others].map(({ excluded }) => excluded)).toEqual(["not yet", "not yet"]);
  expect(tsv.stdout.split("\n").map((line) => line.split("\t").length)).toEqual([4, 4, 4, 1]);
});
