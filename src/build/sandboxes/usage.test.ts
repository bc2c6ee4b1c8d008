import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { bytesUnnamed, memoryOf } from "./usage.ts";

const MIB = 1 << 20;

test.each([
  ["goes on", ""],
  ["ended", "ctypes.CDLL(None).pthread_exit(None)"],
])("what a thread holds is seen while the first one %s", async (_, end) => {
  const { pid } = await python(`
import ctypes, mmap, os, sys, threading, time
def hold():
    time.sleep(0.3)
    names = [os.path.join(sys.argv[1], name) for name in ("open", "mapped")]
    files = [os.open(name, os.O_CREAT | os.O_RDWR) for name in names]
    for file, size in zip(files, (8, 4)): os.write(file, b"x" * (size << 20))
    mapped = mmap.mmap(files[1], 4096)
    for name in names: os.unlink(name)
    os.close(files[1])
    memory = b"x" * (64 << 20)
    print("holds", flush=True)
    time.sleep(60)
thread = threading.Thread(target=hold)
thread.start()
${end}
thread.join()`);

  const [unnamed, memory] = [await bytesUnnamed([pid]), memoryOf([pid])];

  // mmap of Python keeps a descriptor of its own, which is the same file.
  expect(unnamed).toBe(12 * MIB);
  expect(memory).toBeGreaterThan(64 * MIB);
  expect(memory).toBeLessThan(96 * MIB);
});

/** Runs it until it says something. */
async function python(script: string): Promise<ChildProcess & { readonly pid: number }> {
  const child = spawn("python3", ["-c", script, await temporaryDirectory()], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return child as typeof child & { pid: number };
}
