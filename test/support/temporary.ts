/** Directories that last as long as one test, or one file of tests. */
import { mkdtempSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, onTestFinished } from "vitest";

const PREFIX = join(tmpdir(), "kmodfarm-test-");

/** A fresh directory that is removed when the running test ends. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(PREFIX);
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A fresh directory that is removed after the last test of the file or the `describe` block that asks for it. */
export function sharedDirectory(): string {
  const directory = mkdtempSync(PREFIX);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
