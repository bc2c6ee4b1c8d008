import type { Reporter, TestModule } from "vitest/node";

/**
 * Ends a run with `N passed, N failed`, alone on its line, for people and for CI. Before that it names what passed only when it
 * was tried again: on a machine that does other things too, that may be the machine's doing, and is worth a look.
 */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandled.length;
    let skipped = 0;
    for (const testModule of modules) {
      if (testModule.state() === "failed" && testModule.errors().length > 0) failed++;
      for (const suite of testModule.children.allSuites()) if (suite.errors().length > 0) failed++;
      for (const test of testModule.children.allTests()) {
        const state = test.result().state;
        if (test.diagnostic()?.flaky) process.stdout.write(`\npassed when tried again: ${test.fullName}`);
        if (state === "passed") passed++;
        else if (state === "failed") failed++;
        else skipped++;
      }
    }
    const skips = skipped > 0 ? `, ${skipped} skipped` : "";
    process.stdout.write(`\n${passed} passed, ${failed} failed${skips}\n`);
  }
}
