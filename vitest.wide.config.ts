import { defineConfig } from "vitest/config";

/** Runs that take long or need the whole live archive; asked for by name, not by `npm test`. */
export default defineConfig({
  test: {
    include: ["test/**/*.wide.test.ts"],
    reporters: [["default", { summary: false }], "./test/closing-line.ts"],
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
    maxWorkers: 1,
  },
});
