import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { makeElement } from "../../../../test/support/elements.ts";
import { inProcess } from "../../../../test/support/in-process.ts";
import { farmWith } from "../../../../test/support/stored-farm.ts";
import { makeVerdict } from "../../../../test/support/verdicts.ts";
import type { Farm } from "../../../farm/open.ts";
import { readPublished } from "../../../registry/generations.ts";

const ELEMENTS = ["6.1.0-55-amd64", "6.1.0-56-amd64"].map((kversion) => makeElement({ kversion }));

let farm: Farm;

beforeEach(async () => {
  farm = await farmWith(
    ELEMENTS.map((element) => ({
      element,
      verdicts: [makeVerdict("load", "pass", "it loads")],
      isStable: true,
    })),
  );
});

const withdraw = (...argv: string[]) =>
  inProcess(["withdraw", ...argv, "--why", "x", "--config", join(farm.config.base, "kmodfarm.yaml")]);

async function stable(): Promise<string[]> {
  return (await readPublished(farm.store)).indices.flatMap((index) =>
    index.stable.map((one) => one.kversion),
  );
}

test("a word that fits several withdraws none, unless all are meant", async () => {
  const refused = await withdraw("doorbell");

  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toMatch(/'doorbell' names 2 artifacts: doorbell\/\S+6\.1\.0-55-amd64\S*, doorbell/);
  expect(refused.stderr).toMatch(/--all to withdraw every one of them/);
  expect(await stable()).toHaveLength(2);

  expect((await withdraw("doorbell", "--all")).exitCode).toBe(0);
  expect(await stable()).toEqual([]);
});

test("a name that fits one withdraws that one", async () => {
  const { exitCode, stdout } = await withdraw("6.1.0-55-amd64");

  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/withdrawn +doorbell\/\S+6\.1\.0-55-amd64.*\n.*Generation 2\.\n$/);
  expect(await stable()).toEqual(["6.1.0-56-amd64"]);
});

test("why it was done is shown with the generation", async () => {
  await inProcess([
    ...[
      "withdraw",
      "6.1.0-55-amd64",
      "--why",
      "it oopses",
      "--config",
      join(farm.config.base, "kmodfarm.yaml"),
    ],
  ]);

  const { stdout } = await inProcess(["generations", "--config", join(farm.config.base, "kmodfarm.yaml")]);

  expect(stdout).toMatch(/^2 .* withdraw .*1 decision: it oopses$/m);
});

test("--dry-run shows what would be withdrawn, without a reason, and withdraws nothing", async () => {
  const config = ["--config", join(farm.config.base, "kmodfarm.yaml")];
  const { exitCode, stdout } = await inProcess(["withdraw", "doorbell", "--all", "--dry-run", ...config]);
  const unexplained = await inProcess(["withdraw", "doorbell", "--all", ...config]);

  expect(unexplained).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("--why") });
  expect(exitCode).toBe(0);
  expect(stdout.match(/^would be withdrawn /gm)).toHaveLength(2);
  expect(stdout).toMatch(/Nothing was changed: this is what would be done\.\n$/);
  expect(await stable()).toHaveLength(2);
});
