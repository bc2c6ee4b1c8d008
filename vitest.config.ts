import { statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Tests write many files, and wait until a disk has each: memory has them at once, where there is enough. */
const MEMORY = "/dev/shm";
const LEAST_BYTES = 12 * 2 ** 30;

function temporaryPlace(): string {
  try {
    const { bsize, bavail } = statfsSync(MEMORY);
    return bsize * bavail < LEAST_BYTES ? tmpdir() : MEMORY;
  } catch {
    return tmpdir();
  }
}

export default defineConfig({
  test: {
    exclude: ["**/*.wide.test.ts", "node_modules/**"],
    reporters: [["default", { summary: false }], "./test/closing-line.ts"],
    // What a user without a configuration has there is no matter of tests.
    env: {
      XDG_CACHE_HOME: join(import.meta.dirname, ".kmodfarm/test-cache/user"),
      TMPDIR: temporaryPlace(),
    },
    testTimeout: 600_000,
    hookTimeout: 900_000,
    // Two processors are busy with two files: with three, the whole took longer.
    maxWorkers: 2,
    retry: 1,
    tags: [
      {
        name: "wide",
        description: "not in `npm test`: further cases of what that shows, `npm run test:faults`",
      },
    ],
    // Both share the workers, in the order of their names: what takes minutes comes first, and many small files fill
    // what is left. Each file has a process of its own, because starting a program takes the longer the more memory
    // the starting process has.
    projects: [
      { extends: true, test: { name: "e2e", include: ["test/e2e/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "test/*.test.ts", "test/contracts/**/*.test.ts"],
        },
      },
    ],
  },
});
