import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { inProcess } from "../../../test/support/in-process.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { readVouched } from "../../registry/vouched.ts";
import { loadConfig } from "../config/index.ts";
import { openFarm } from "../open.ts";
import { openTrust } from "./opening.ts";

const LIST = join(import.meta.dirname, "../../../test/fixtures/kernel-crawler/aarch64.json");

test("a second store of the same keys begins with a catalog that a run goes on from", async () => {
  const directory = await temporaryDirectory();
  for (const name of ["one", "two"]) {
    const config = join(directory, `${name}.yaml`);
    await writeFile(config, `store: ${name}\n`);
    const { exitCode, stderr } = await inProcess(["catalog", "import", LIST, "--config", config]);
    expect(exitCode, stderr).toBe(0);
    const farm = await openFarm(await loadConfig({ config }, directory));

    const voucher = await openTrust(
      farm,
      () => {},
      () => new Date(),
    );

    const { head } = await readVouched(farm.store, voucher);
    expect(head?.number).toBe(1);
    await farm.close();
  }
});
