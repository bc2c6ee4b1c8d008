/** Where no control group can be made, as in a container: limits are watched, and still end what exceeds them. */
import { chmod, chown, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { bubblewrap } from "../../src/builder/sandboxes/bubblewrap.ts";
import { podman } from "../../src/builder/sandboxes/podman.ts";
import { makeBusyboxRoot } from "../support/busybox-root.ts";
import { runnerIn } from "../support/in-sandbox.ts";
import { NOBODY, ofNobody, ungrouped } from "../support/ungrouped.ts";
import { sandboxEscapes } from "./sandbox-escapes.ts";

const root = makeBusyboxRoot();
const { runScript } = runnerIn(ungrouped(bubblewrap), () => ({ root, inputs: [] }));

// The rest of the contract: test/contracts/ungrouped.wide.test.ts.
sandboxEscapes(ungrouped(bubblewrap), { countsMemory: false });

test.each([
  ["processes", "i=0; while [ $i -lt 200 ]; do sleep 15 & i=$((i+1)); done; wait", "processLimit"],
  [
    "memory of all of them",
    "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero bs=50M 2>/dev/null | sleep 15 & done; wait",
    "memoryLimit",
  ],
  [
    "files without a name",
    'for i in 3 4 5 6 7; do eval "exec $i>/output/x"; rm /output/x; dd if=/dev/zero bs=1M count=8 >&$i; done; sleep 15',
    "writeLimit",
  ],
])("too much of %s is seen", async (_, script, stopped) => {
  expect(await runScript(script)).toMatchObject({ stopped });
});

test("what keeps to its limits ends by itself", async () => {
  const result = await runScript("dd if=/dev/zero of=/output/x bs=1M count=20; exit 7");

  expect(result).toMatchObject({ exitCode: 7, stopped: undefined });
});

test.each([
  ["may be written and not be read", "chmod 300 /output/d"],
  ["is closed again", "chmod 300 /output/d; (sleep 1; chmod 000 /output/d) & true"],
])("what an ordinary user hides in a directory that %s counts as too much", async (_, close) => {
  const script = `mkdir /output/d; ${close}; i=0; while [ $i -lt 10 ]; do dd if=/dev/zero of=/output/d/$i bs=1M count=20 2>/dev/null; i=$((i+1)); done; sleep 15`;
  const sandbox = ofNobody(bubblewrap);
  const { place, spec } = await runnerIn(sandbox, () => ({ root, inputs: [] })).specOf(script, {
    inputs: [],
  });
  // It is root who made the root, and nobody makes anything more in it.
  for (const name of ["output", "dev/shm"]) await mkdir(join(root, name), { recursive: true });
  await chmod(dirname(root), 0o755);
  for (const name of ["", "output", "scratch"]) await chown(join(place, name), NOBODY, NOBODY);

  expect(await sandbox.run(spec)).toMatchObject({ stopped: "writeLimit" });
});

test("podman says that its runtime needs them", async () => {
  const running = runnerIn(ungrouped(podman), () => ({ root, inputs: [] })).runScript("echo ran");

  await expect(running).rejects.toThrow(
    expect.objectContaining({ code: "TOOL_FAILED", message: expect.stringContaining("cgroup") }),
  );
});
