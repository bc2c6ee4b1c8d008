import { expect, test } from "vitest";
import { sandboxLimits, settingOf } from "./limits.ts";

const LIMITS = {
  ...{ minutes: 0.5, memory: 512 << 20, processes: 200, disk: 8 * 1024 ** 3, output: 1 << 20 },
  artifact: 1 << 30,
};

test("limits are given to the sandbox in its own units", () => {
  expect(sandboxLimits(LIMITS)).toEqual({
    timeoutMs: 30_000,
    memoryBytes: 536_870_912,
    processLimit: 200,
    writableBytes: 8_589_934_592,
    outputLimitBytes: 1_048_576,
  });
});

test.each([
  ["timeLimit", "limits.minutes is 0.5"],
  ["memoryLimit", "limits.memory is 512.0 MiB"],
  ["processLimit", "limits.processes is 200"],
  ["writeLimit", "limits.disk is 8.0 GiB"],
  ["outputLimit", "limits.output is 1.0 MiB"],
] as const)("%s names its setting", (stopped, setting) => {
  expect(settingOf(stopped, LIMITS)).toBe(setting);
});
