import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SANDBOXES } from "../../src/build/sandboxes/index.ts";
import { sharedDirectory } from "../support/temporary.ts";
import { ROOT_DIRECTORIES, sandboxContract } from "./sandbox.ts";

const BUSYBOX = "/bin/busybox";

/** The smallest root that a shell script can run in. */
function makeRoot(): string {
  const root = join(sharedDirectory(), "root");
  for (const directory of ROOT_DIRECTORIES) mkdirSync(join(root, directory), { recursive: true });
  copyFileSync(BUSYBOX, join(root, "bin", "busybox"));
  const applets = execFileSync(BUSYBOX, ["--list"]).toString().trim().split("\n");
  for (const applet of applets) if (applet !== "busybox") symlinkSync("busybox", join(root, "bin", applet));
  return root;
}

for (const sandbox of SANDBOXES) sandboxContract(sandbox, makeRoot());

test("there is a sandbox, and each has a name of its own", () => {
  const names = SANDBOXES.map(({ name }) => name);

  expect(names.length).toBeGreaterThan(0);
  expect(new Set(names).size).toBe(names.length);
});
