/**
 * The log of a run: everything that was reported, as NDJSON. The cache keeps those of the last runs.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { lstat, mkdir, readdir, rm } from "node:fs/promises";
import { isAbsolute, join, relative } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";

const KEPT_RUNS = 20;
/** Names in the order of time; two of one moment belong to two processes. */
const OWN_NAME = /^\d{4}-\d\d-\d\dT\d{6}\.\d{3}Z-\d+\.ndjson$/;

export interface RunLog {
  /** As a person here would type it. */
  readonly file: string;
  write(line: string): void;
  close(): void;
}

/**
 * The file that was asked for, else a new one in the cache; undefined where there is neither. What was written of a run that
 * is killed is there.
 * @throws FarmError FILE_UNREADABLE for a file that was asked for and cannot be written
 */
export async function openRunLog(
  file: string | undefined,
  cache: string | undefined,
  now = new Date(),
): Promise<RunLog | undefined> {
  if (file !== undefined) return openAt(file);
  if (cache === undefined) return undefined;
  const directory = join(cache, "logs");
  try {
    await mkdir(directory, { recursive: true });
    if (!(await lstat(directory)).isDirectory()) return undefined;
    const known = (await readdir(directory)).filter((name) => OWN_NAME.test(name)).toSorted();
    for (const name of known.slice(0, Math.max(0, known.length - KEPT_RUNS + 1)))
      await rm(join(directory, name), { force: true });
    return openAt(join(directory, `${now.toISOString().replaceAll(":", "")}-${process.pid}.ndjson`));
  } catch {
    return undefined; // A run is not given up for want of its log.
  }
}

function openAt(file: string): RunLog {
  const descriptor = opened(file);
  let isOpen = true;
  return {
    file: shortest(file),
    write(line) {
      try {
        if (isOpen) writeSync(descriptor, line);
      } catch {
        isOpen = false; // The disk is full: what is built is worth more.
      }
    },
    close() {
      isOpen = false;
      closeSync(descriptor);
    },
  };
}

function opened(file: string): number {
  try {
    return openSync(file, "w", 0o600);
  } catch (cause) {
    const why = isErrno(cause) ? cause.code : String(cause);
    throw new FarmError("FILE_UNREADABLE", { detail: `the log ${file} cannot be written (${why})`, cause });
  }
}

/** A path as a person here would type it. */
export function shortest(path: string): string {
  if (!isAbsolute(path)) return path;
  const below = relative(process.cwd(), path);
  return below === "" || below.startsWith("..") ? path : below;
}
