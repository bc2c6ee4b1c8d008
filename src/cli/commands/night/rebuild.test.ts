import { expect, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";

test("what only a registry's artifact needs is refused without one, by the name that a person typed", async () => {
  for (const [option, value] of [
    ["--private-host", "mirror.lan"],
    ["--password-file", "password"],
  ] as const)
    expect(await inProcess(["rebuild", "hello", option, value])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining(`${option} goes with --registry`),
    });
});
