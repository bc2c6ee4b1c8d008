/**
 * What a running program holds, measured from outside: for limits that no kernel keeps for us.
 */
import { readdirSync, readFileSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

const BLOCK_BYTES = 512;

/**
 * Bytes of files on these devices that have no name any more, and that these processes hold: open, mapped, or as their
 * program. Asked of the kernel by what each leads to: names, in links of /proc too, are the processes' own.
 */
export async function bytesUnnamed(
  processes: readonly number[],
  devices: ReadonlySet<number>,
): Promise<number> {
  const seen = new Map<string, number>();
  const look = async (link: string) => {
    const status = await stat(link).catch(() => undefined);
    if (status?.isFile() && status.nlink === 0 && devices.has(status.dev))
      seen.set(`${status.dev}:${status.ino}`, status.blocks * BLOCK_BYTES);
  };
  for (const pid of processes) {
    await look(`/proc/${pid}/exe`);
    for (const directory of holdersOf(pid))
      for (const name of await readdir(directory).catch(() => [])) await look(join(directory, name));
  }
  return [...seen.values()].reduce((sum, size) => sum + size, 0);
}

/** Where a process's open files are to be seen: each thread may have its own, memory they have in common. */
function holdersOf(pid: number): string[] {
  const threads = threadsOf(pid);
  // Most processes have no such file in memory, and map_files is long.
  const inMemory = threads.filter(hasUnnamedInMemory).slice(0, 1);
  return [...threads.map((thread) => `/proc/${thread}/fd`), ...inMemory.map((id) => `/proc/${id}/map_files`)];
}

/**
 * A thread's number has a directory in /proc like a process's. The first thread, whose number is the process's, may
 * have ended, and then shows nothing of what the others hold.
 */
function threadsOf(pid: number): number[] {
  return attempt(() => readdirSync(`/proc/${pid}/task`), []).map(Number);
}

/** The kernel writes these words last, and every line end of a name as `\012`. */
function hasUnnamedInMemory(thread: number): boolean {
  return / \(deleted\)$/m.test(attempt(() => readFileSync(`/proc/${thread}/maps`, "utf8"), ""));
}

/**
 * A process and everything that descends from it, until there are `enough`. Read at one go: on a busy machine
 * a file at a time gives others so much time that a flood of processes is over before it is seen.
 */
export function processesUnder(root: number, enough = Number.POSITIVE_INFINITY): number[] {
  const found = [root];
  for (const pid of found) {
    if (found.length > enough) break;
    for (const thread of threadsOf(pid)) {
      const text = attempt(() => readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8"), "");
      found.push(...text.split(" ").filter(Boolean).map(Number));
    }
  }
  return found;
}

/** Memory of these processes, on disk too where it was moved there; what they share with each other counts once. */
export function memoryOf(processes: readonly number[]): number {
  const sizes = processes.map((pid) => {
    const [thread, text] = statusOf(pid);
    const own = sizeIn(text, "RssAnon") + sizeIn(text, "VmSwap");
    const shared = sizeIn(text, "RssShmem");
    if (shared === 0) return own;
    // Few programs have any; to find each one's part of it takes the kernel a while.
    const parts = attempt(() => readFileSync(`/proc/${thread}/smaps_rollup`, "utf8"), "");
    return own + (/^Pss_Shmem:/m.test(parts) ? sizeIn(parts, "Pss_Shmem") : shared);
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** What the first thread that has not ended shows. */
function statusOf(pid: number): readonly [thread: number, text: string] {
  for (const thread of threadsOf(pid)) {
    const text = attempt(() => readFileSync(`/proc/${thread}/status`, "utf8"), "");
    if (/^RssAnon:/m.test(text)) return [thread, text];
  }
  return [pid, ""];
}

function sizeIn(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0) * 1024;
}

/** Processes come and go while they are looked at. */
function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
