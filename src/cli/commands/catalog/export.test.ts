import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";
import { makeCatalog, makeKernel } from "../../../../test/support/kernels.ts";
import { farmWith } from "../../../../test/support/stored-farm.ts";

let directory: string;
let config: string;

beforeEach(async () => {
  const farm = await farmWith([], undefined, makeCatalog([makeKernel()]));
  directory = farm.config.base;
  config = join(directory, "kmodfarm.yaml");
});

const exported = (...argv: string[]) =>
  inProcess(["catalog", "export", "--config", config, "--format", ...argv]);

async function configure(drivers: readonly object[]): Promise<void> {
  await writeFile(config, JSON.stringify({ drivers }));
}

test("driverkit's tree is of the configured driver", async () => {
  await configure([{ name: "doorbell", source: "driver", versions: ["0.1.0"] }]);
  const output = join(directory, "out");

  const { exitCode, stderr } = await exported("driverkit", "--output", output);

  expect(exitCode, stderr).toBe(0);
  expect(stderr).toContain("1 file written");
  const [file] = (await readdir(output, { recursive: true })).filter((name) => name.endsWith(".yaml"));
  expect(file).toMatch(/^0\.1\.0\/x86_64\/debian_/);
});

test.each<[string, readonly object[], RegExp]>([
  ["none is", [], /none is configured: name them with --driver and --driver-version/],
  [
    "there are several versions",
    [{ name: "doorbell", source: "driver", versions: ["0.1.0", "0.2.0"] }],
    /several are configured/,
  ],
])("and nobody guesses which, where %s", async (_, drivers, fact) => {
  await configure(drivers);

  const { exitCode, stderr } = await exported("driverkit", "--output", join(directory, "out"));

  expect(exitCode).toBe(2);
  expect(stderr).toMatch(fact);
});

test("several configurations need a directory, and no architecture helps", async () => {
  await configure([{ name: "doorbell", source: "driver", versions: ["0.1.0"] }]);

  const { exitCode, stderr } = await exported("driverkit");

  expect(exitCode).toBe(2);
  expect(stderr).toContain("Give a directory with --output.");
  expect(stderr).not.toContain("--arch");
});

test("an architecture without kernels is named", async () => {
  const { exitCode, stderr } = await exported("kernel-crawler", "--arch", "aarch64");

  expect(exitCode).toBe(2);
  expect(stderr).toContain("there is no kernel to export for aarch64");
});
