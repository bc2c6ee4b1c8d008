/**
 * What this machine was short of while a build ran, found out from the kernel: a build's own words are no witness of
 * that, since it may say what it likes. Nor is the kernel's count of killed processes, which any build raises that is
 * killed within its own group, and so would excuse all others.
 */
import { readFile, statfs } from "node:fs/promises";

export type Shortage = "disk" | "memory";

/** A disk that is this full refuses writes, or did a moment ago. */
const LITTLE_DISK_BYTES = 64 * 1024 ** 2;
const FEW_FILES = 1000;
/** With less than this part of the memory left, programs are refused more of it or killed. */
const LITTLE_MEMORY_SHARE = 0.02;

export class ShortageWatch {
  readonly #directory: string;
  readonly #seen = new Set<Shortage>();

  /** @param directory on the disk that the build writes to */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** What has been short at any look so far. */
  async look(): Promise<readonly Shortage[]> {
    if (await isDiskShort(this.#directory)) this.#seen.add("disk");
    if (await isMemoryShort()) this.#seen.add("memory");
    return [...this.#seen];
  }
}

async function isDiskShort(directory: string): Promise<boolean> {
  const { bavail, bsize, files, ffree } = await statfs(directory);
  // Some file systems have no fixed number of files.
  return bavail * bsize < LITTLE_DISK_BYTES || (files > 0 && ffree < FEW_FILES);
}

async function isMemoryShort(): Promise<boolean> {
  const [available, total] = await Promise.all(
    ["MemAvailable", "MemTotal"].map((name) =>
      numberIn("/proc/meminfo", new RegExp(`^${name}: +(\\d+) kB$`, "m")),
    ),
  );
  return (available ?? 0) < (total ?? 0) * LITTLE_MEMORY_SHARE;
}

async function numberIn(path: string, expression: RegExp): Promise<number> {
  return Number(expression.exec(await readFile(path, "utf8"))?.[1] ?? 0);
}
