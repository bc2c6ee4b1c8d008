import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";

test("verify of a farm's own directory leads to its registry", async () => {
  const farm = await temporaryDirectory();
  await mkdir(join(farm, ".kmodfarm/store"), { recursive: true });

  expect(await inProcess(["verify", farm])).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining(`not a registry (did you mean ${farm}/.kmodfarm/store?)`),
  });
});
