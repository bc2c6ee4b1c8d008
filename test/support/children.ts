/** Real other processes: those that hold something when they are killed, and those somebody else left running. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";

/**
 * Starts another Node.js with a module as text, and returns when it has printed its first line. It runs until
 * it ends by itself, or the test does. `within` is what starts it: `unshare` with its options, say.
 */
export async function startChild(
  module: string,
  args: readonly string[] = [],
  within: readonly string[] = [],
): Promise<{ child: ChildProcess; said: string }> {
  const argv = [...within, process.execPath, "--input-type=module", "--eval", module, ...args];
  const child = spawn(argv[0] as string, argv.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout });
  const [said] = (await Promise.race([once(lines, "line"), once(child, "exit")])) as [unknown];
  return { child, said: String(said) };
}

/** A process namespace of its own, under this machine's host name: as two containers of one pod's name have it. */
export const OTHER_NAMESPACE = ["unshare", "-Ur", "--pid", "--fork", "--kill-child", "--mount-proc"];

/** `kill -9`, and waits until the process is gone. */
export async function killNow(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

/** Whether a process runs; one that is dead and not yet waited for does not. */
export function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

/** Processes of this machine that have a word in their command line. */
export async function processesWith(word: string): Promise<string[]> {
  const lines = await Promise.all(
    (await readdir("/proc"))
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  // The shell that runs the script has it too, as part of a longer word.
  return lines.filter((line) => line.split("\0").includes(word));
}
