/**
 * Temporary files that never stay behind: each is named after the process that owns it, so whoever comes
 * next can tell a dead owner's leftovers from a living one's work.
 */
import { randomBytes } from "node:crypto";
import { constants, readFileSync } from "node:fs";
import { access, mkdir, open, readdir, rename, rmdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FarmError, isErrno } from "./error.ts";
import { removeTree } from "./strange-tree.ts";

/** A name for this process that no later process has: its id and when it was started. */
export function processName(pid = process.pid): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name in parentheses may hold anything; the fields after it are plain. Field 22 is the start time.
    const startTime = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    return startTime === undefined ? undefined : `${pid}-${startTime}`;
  } catch {
    return undefined;
  }
}

/** Whether the process that a name of `processName` stands for is still alive on this machine. */
export function isAlive(name: string): boolean {
  const pid = Number.parseInt(name, 10);
  return Number.isSafeInteger(pid) && processName(pid) === name;
}

/** A directory for temporary files, on the same file system as what they will become. */
export interface Scratch {
  /** A fresh path that does not exist yet. */
  path(): string;
  /** Writes a whole file so that readers see the old content or the new, never a part, a power failure included. */
  write(target: string, content: string | Uint8Array, mode?: number): Promise<void>;
  /** Removes what is left of it and of dead processes, and the directory itself when that empties it. */
  close(): Promise<void>;
}

/** Opens the directory and removes what processes that died left in it, as far as that can be done. */
export async function openScratch(directory: string): Promise<Scratch> {
  const own = `${processName() ?? process.pid}-${randomBytes(6).toString("hex")}-`;
  let count = 0;
  const path = () => join(directory, `${own}${count++}`);
  await makePlace(directory);
  await occupy(directory, path());
  await sweep(directory);
  return {
    path,
    async write(target, content, mode = 0o644) {
      const temporary = path();
      await mkdir(directory, { recursive: true });
      const file = await open(temporary, "wx", mode);
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
      await mkdir(dirname(target), { recursive: true });
      await rename(temporary, target);
      await syncDirectory(dirname(target));
    },
    async close() {
      await sweep(directory, own);
      await rmdir(directory).catch(() => {}); // Not empty: another process is at work.
    },
  };
}

/**
 * Makes a directory that a user named, with those above it. Not by `recursive`: that tries for ever where a
 * file system makes no directories (/proc).
 * @throws FarmError PLACE_UNUSABLE
 */
export async function makePlace(directory: string): Promise<void> {
  try {
    await makeWithParents(directory);
    await access(directory, constants.W_OK);
  } catch (cause) {
    if (!isErrno(cause)) throw cause;
    throw new FarmError("PLACE_UNUSABLE", { detail: `${directory} cannot be made (${cause.code})`, cause });
  }
}

async function makeWithParents(directory: string): Promise<void> {
  if ((await stat(directory).catch(() => undefined))?.isDirectory()) return;
  if (dirname(directory) !== directory) await makeWithParents(dirname(directory));
  await mkdir(directory).catch(async (thrown) => {
    if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
    // Another process was faster; or a file is in the way.
    if (!(await stat(directory)).isDirectory()) throw thrown;
  });
}

/** A file of ours keeps another process that is done from removing the directory under us. */
async function occupy(directory: string, mark: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    await mkdir(directory, { recursive: true });
    try {
      return await writeFile(mark, "");
    } catch (thrown) {
      if (tries === 100 || !isErrno(thrown) || thrown.code !== "ENOENT") throw thrown;
    }
  }
}

/**
 * Removes what begins with `own`, and what dead processes left. What cannot be removed stays, and the next sweep
 * tries again: leftovers are no reason not to work.
 */
async function sweep(directory: string, own?: string): Promise<void> {
  for (const entry of await entriesOf(directory)) {
    const owner = entry.split("-").slice(0, 2).join("-");
    const isOurs = own !== undefined && entry.startsWith(own);
    if (isOurs || !isAlive(owner)) await removeTree(join(directory, entry)).catch(ignoreErrno);
  }
}

function ignoreErrno(thrown: unknown): void {
  if (!isErrno(thrown)) throw thrown;
}

/** A name is on disk only when its directory is. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Names in a directory, sorted; none when there is no such directory. */
export async function entriesOf(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (thrown) {
    if (isErrno(thrown) && thrown.code === "ENOENT") return [];
    throw thrown;
  }
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
