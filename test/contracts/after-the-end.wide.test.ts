/** Whether a sandbox that returned is truly over: what is removed then must not be in anybody's hands any more. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../support/temporary.ts";
import { HIDE_GROUPS } from "../support/ungrouped.ts";

const ROUNDS = 500;
const CHILD = join(import.meta.dirname, "../support/swap-rounds.ts");
/** All of this machine is read-only there but one directory: should it fail, it must not take anything along. */
const CONFINE = 'mount --bind "$1" "$1" && mount -o remount,bind,ro / && cd "$1"';

test.each([
  ["with", "true", true],
  ["without", HIDE_GROUPS, false],
])("%s control groups nobody swaps what is being removed", async (_, groups, hasGroups) => {
  const place = await temporaryDirectory();
  const script = `mount --make-rprivate / && ${groups} && ${CONFINE} && shift && exec "$@"`;
  const argv = ["--mount", "sh", "-c", script, "sh", place, process.execPath, CHILD, place, String(ROUNDS)];

  const { stdout } = await promisify(execFile)("unshare", argv);

  expect(JSON.parse(stdout)).toEqual({ hasGroups, round: ROUNDS, lost: 0 });
});
