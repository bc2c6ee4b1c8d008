import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Runs that take long or need the whole live archive; asked for by name, not by `npm test`. */
export default defineConfig({
  test: {
    include: ["test/**/*.wide.test.ts"],
    reporters: [["default", { summary: false }], "./test/closing-line.ts"],
    // What a user without a configuration has there is no matter of tests.
    env: { XDG_CACHE_HOME: join(import.meta.dirname, ".kmodfarm/test-cache/user") },
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
    maxWorkers: 1,
  },
});
