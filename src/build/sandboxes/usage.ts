/**
 * What a running program holds, measured from outside: for limits that no kernel keeps for us.
 */
import { readdirSync, readFileSync } from "node:fs";
import { lstat, readdir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";

const BLOCK_BYTES = 512;
/** Also an empty file costs: an inode and a name. */
const ENTRY_BYTES = 4096;
const PAGE_BYTES = 4096;

/** Bytes on disk below the directories; stops counting where `enough` is reached. */
export async function bytesBelow(directories: readonly string[], enough: number): Promise<number> {
  const waiting = [...directories];
  let total = 0;
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    const here = directory;
    const entries = await readdir(here, { withFileTypes: true }).catch(() => []);
    waiting.push(...entries.filter((entry) => entry.isDirectory()).map((entry) => join(here, entry.name)));
    const sizes = await Promise.all(
      entries.map(async (entry) => {
        if (!entry.isFile()) return ENTRY_BYTES;
        const status = await lstat(join(here, entry.name)).catch(() => undefined);
        return ENTRY_BYTES + (status?.blocks ?? 0) * BLOCK_BYTES;
      }),
    );
    for (const size of sizes) total += size;
    if (total >= enough) return total;
  }
  return total;
}

/** Bytes of files that have no name any more and are held open by these processes. */
export async function bytesUnnamed(processes: readonly number[]): Promise<number> {
  const seen = new Map<number, number>();
  for (const pid of processes) {
    const directory = `/proc/${pid}/fd`;
    for (const name of await readdir(directory).catch(() => [])) {
      const target = await readlink(join(directory, name)).catch(() => "");
      if (!target.startsWith("/") || target.startsWith("/memfd:") || !target.endsWith(" (deleted)")) continue;
      const status = await stat(join(directory, name)).catch(() => undefined);
      if (status?.isFile() && status.nlink === 0) seen.set(status.ino, status.blocks * BLOCK_BYTES);
    }
  }
  return [...seen.values()].reduce((sum, size) => sum + size, 0);
}

/**
 * A process and everything that descends from it, until there are `enough`. Read at one go: on a busy machine
 * a file at a time gives others so much time that a flood of processes is over before it is seen.
 */
export function processesUnder(root: number, enough = Number.POSITIVE_INFINITY): number[] {
  const found = [root];
  for (const pid of found) {
    if (found.length > enough) break;
    for (const thread of attempt(() => readdirSync(`/proc/${pid}/task`), [])) {
      const text = attempt(() => readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8"), "");
      found.push(...text.split(" ").filter(Boolean).map(Number));
    }
  }
  return found;
}

/** Memory of these processes that is theirs alone. */
export function memoryOf(processes: readonly number[]): number {
  const sizes = processes.map((pid) => {
    const text = attempt(() => readFileSync(`/proc/${pid}/statm`, "utf8"), "");
    const [, resident = 0, shared = 0] = text.split(" ").map(Number);
    return (resident - shared) * PAGE_BYTES;
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Processes come and go while they are looked at. */
function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
