import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
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

  const [unnamed, memory] = [await unnamedOf(pid), memoryOf([pid])];

  // mmap of Python keeps a descriptor of its own, which is the same file.
  expect(unnamed).toBe(12 * MIB);
  expect(memory).toBeGreaterThan(64 * MIB);
  expect(memory).toBeLessThan(96 * MIB);
});

test.each([
  ["under a name of two lines", 'file = held("two\\nlines")'],
  [
    "under a path that nothing can be told of",
    `
for _ in range(30):
    os.mkdir("n" * 200)
    os.chdir("n" * 200)
file = held("x")`,
  ],
  [
    "as a program, with nothing of it in memory but its last page",
    `
shutil.copy("/bin/sleep", "program")
with open("program", "ab") as program: program.write(b"x" * (8 << 20))
child = subprocess.Popen(["./program", "60"])
time.sleep(0.3)
os.unlink("program")
target = child.pid`,
  ],
])("a file without a name is seen: %s", async (_, script) => {
  const { pid, said } = await python(`
import os, shutil, subprocess, sys, time
os.chdir(sys.argv[1])
target = os.getpid()
def held(name):
    file = os.open(name, os.O_CREAT | os.O_RDWR)
    os.write(file, b"x" * (8 << 20))
    os.unlink(name)
    return file
${script}
print(target, flush=True)
time.sleep(60)`);

  const unnamed = await unnamedOf(Number(said));

  if (Number(said) !== pid) onTestFinished(() => void process.kill(Number(said), "SIGKILL"));
  expect(unnamed).toBeGreaterThanOrEqual(8 * MIB);
  expect(unnamed).toBeLessThan(9 * MIB);
});

async function unnamedOf(pid: number): Promise<number> {
  return bytesUnnamed([pid], new Set([(await stat(tmpdir())).dev]));
}

/** Runs it until it says something. */
async function python(
  script: string,
): Promise<ChildProcess & { readonly pid: number; readonly said: string }> {
  const child = spawn("python3", ["-c", script, await temporaryDirectory()], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [said] = await once(child.stdout, "data");
  return Object.assign(child as typeof child & { pid: number }, { said: String(said).trim() });
}
