/** Directories that last as long as one test, or one file of tests. */
import { mkdtempSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, onTestFinished } from "vitest";
import { removeTree } from "../../src/base/strange-tree.ts";

const NAME = "kmodfarm-test-";

/** A fresh directory that is removed when the running test ends. */
export async function temporaryDirectory(above: string = tmpdir()): Promise<string> {
  const directory = await mkdtemp(join(above, NAME));
  // Some tests leave trees there that no path leads to the end of.
  onTestFinished(() => removeTree(directory));
  return directory;
}

/** A fresh directory that is removed after the last test of the file or the `describe` block that asks for it. */
export function sharedDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), NAME));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
