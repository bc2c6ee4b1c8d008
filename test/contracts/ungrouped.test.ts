/** Where no control group can be made, as in a container: limits are watched, and still end what exceeds them. */
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { makeBusyboxRoot } from "../support/busybox-root.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const root = makeBusyboxRoot();
const SANDBOXES = join(import.meta.dirname, "../../src/build/sandboxes");

/** Runs a script by bubblewrap in another Node.js, which sees no control groups. */
async function runUngrouped(script: string) {
  const place = await temporaryDirectory();
  for (const name of ["output", "scratch"]) await mkdir(join(place, name));
  const spec = {
    root,
    inputs: [],
    outputs: [[join(place, "output"), "/output"]],
    scratch: join(place, "scratch"),
    links: [],
    emptyDirectories: [],
    env: { PATH: "/bin" },
    argv: ["/bin/sh", "-c", script],
    timeoutMs: 20_000,
    memoryBytes: 256 << 20,
    processLimit: 60,
    writableBytes: 32 << 20,
    outputLimitBytes: 1 << 20,
    logFile: join(place, "log"),
  };
  const from = (file: string) => JSON.stringify(pathToFileURL(join(SANDBOXES, file)).href);
  const module = `
    import { bubblewrap } from ${from("bubblewrap.ts")};
    import { groupPlaces } from ${from("cgroup.ts")};
    const { exitCode, stopped } = await bubblewrap.run(${JSON.stringify(spec)});
    console.log(JSON.stringify({ places: await groupPlaces(), exitCode, stopped }));`;
  const hide = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"';
  const argv = ["--mount", "sh", "-c", hide, "sh", process.execPath, "--input-type=module", "--eval", module];
  const { stdout } = await promisify(execFile)("unshare", argv);
  return JSON.parse(stdout);
}

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
  expect(await runUngrouped(script)).toMatchObject({ places: [], stopped });
});

test("what keeps to its limits ends by itself", async () => {
  const result = await runUngrouped("dd if=/dev/zero of=/output/x bs=1M count=20; exit 7");

  expect(result).toEqual({ places: [], exitCode: 7 });
});
