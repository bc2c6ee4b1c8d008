/**
 * What a node remembers between two questions, in the form that the client in sh has too: the newest root, head and
 * checkpoint of a log that it accepted, and blobs that it fetched. One client at a time works with it.
 */
import { constants } from "node:fs";
import { chmod, mkdir, open, readdir, readFile, rename, stat, unlink, utimes } from "node:fs/promises";
import { join } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";
import { type Digest, hexOf, sha256 } from "../base/json.ts";
import { strangerAbove, strangerAt } from "../base/own-place.ts";
import { type Pipe, pipeThrough } from "../base/run.ts";
import { makePlace } from "../base/scratch.ts";
import { removeTree } from "../base/strange-tree.ts";

const { O_WRONLY, O_CREAT, O_NOFOLLOW } = constants;

/** What no question has needed for that long goes. */
const OLD_MS = 31 * 24 * 3600_000;
const STICKY = 0o1000;

/** Notes that a node keeps. */
type Kept = "root" | "head" | "checkpoint";

export class State {
  readonly #directory: string;
  readonly #work: string;
  readonly #lock: Pipe;
  #written = 0;

  private constructor(directory: string, lock: Pipe) {
    this.#directory = directory;
    this.#work = join(directory, `work.${process.pid}`);
    this.#lock = lock;
  }

  /**
   * Undefined if another client works there for longer than `waitMs`.
   * @throws FarmError PLACE_UNUSABLE, TOOL_MISSING
   */
  static async open(directory: string, waitMs: number): Promise<State | undefined> {
    await makePlace(directory);
    await requireOwnState(directory);
    await keepToSelf(directory);
    const lock = await takeLock(join(directory, "lock"), waitMs);
    if (lock === undefined) return undefined;
    const state = new State(directory, lock);
    await writing(directory, async () => {
      await state.#clear();
      await mkdir(state.#work);
      await mkdir(join(directory, "blobs"), { recursive: true });
    });
    return state;
  }

  async close(): Promise<void> {
    await this.#clear();
    this.#lock.stdin.end();
    await this.#lock.exit;
  }

  /** A killed client leaves its directory. */
  async #clear(): Promise<void> {
    const names = await readdir(this.#directory);
    for (const name of names.filter((one) => one.startsWith("work.")))
      await removeTree(join(this.#directory, name));
  }

  async read(name: Kept): Promise<Buffer | undefined> {
    return readIfThere(join(this.#directory, name));
  }

  /** @throws FarmError PLACE_UNUSABLE */
  async save(name: Kept, bytes: Buffer): Promise<void> {
    if ((await this.read(name))?.equals(bytes) !== true)
      await this.#write(join(this.#directory, name), bytes);
  }

  /** Bytes that were fetched before, if they still are what they were. */
  async blob(digest: Digest): Promise<Buffer | undefined> {
    const path = this.#blobPath(digest);
    const bytes = await readIfThere(path);
    if (bytes === undefined || sha256(bytes) !== digest) return undefined;
    const now = new Date();
    // What cannot be marked as used is fetched again some day.
    await utimes(path, now, now).catch(() => {});
    return bytes;
  }

  /** @throws FarmError PLACE_UNUSABLE */
  async keepBlob(digest: Digest, bytes: Buffer): Promise<void> {
    await this.#write(this.#blobPath(digest), bytes);
  }

  async removeOldBlobs(now: Date): Promise<void> {
    const directory = join(this.#directory, "blobs");
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      if (now.getTime() - (await stat(path)).mtimeMs > OLD_MS) await unlink(path);
    }
  }

  #blobPath(digest: Digest): string {
    return join(this.#directory, "blobs", hexOf(digest));
  }

  async #write(path: string, bytes: Buffer): Promise<void> {
    await writing(path, async () => {
      const temporary = join(this.#work, String(this.#written++));
      await writeSynced(temporary, bytes);
      await rename(temporary, path);
    });
  }
}

/** What was kept is believed, so nobody else may have put it there. @throws FarmError PLACE_UNUSABLE */
async function requireOwnState(directory: string): Promise<void> {
  const own = new Set([0, process.getuid?.()]);
  const kept = ["root", "head", "checkpoint", "blobs"].map((name) => strangerAt(join(directory, name), own));
  const facts = [strangerAbove(directory, own), strangerAt(directory, own, true), ...kept];
  for (const detail of await Promise.all(facts))
    if (detail !== undefined)
      throw new FarmError("PLACE_UNUSABLE", { about: directory, joint: ": ", detail });
}

/** Whoever can read the lock can hold it for ever. A directory that everybody shares, or that is another's, stays as it is. */
async function keepToSelf(directory: string): Promise<void> {
  const isShared = ((await stat(directory)).mode & STICKY) !== 0;
  if (!isShared) await chmod(directory, 0o700).catch(() => {});
}

/**
 * A program that holds the lock as long as our end of its pipe is open: Node itself cannot take one. Undefined if another
 * process holds it for longer than `waitMs`. @throws FarmError PLACE_UNUSABLE, TOOL_MISSING
 */
export async function takeLock(file: string, waitMs: number): Promise<Pipe | undefined> {
  await writing(file, async () => {
    await using made = await open(file, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
    await made.chmod(0o600);
  });
  const lock = pipeThrough(["flock", file, "cat"]);
  const timer = setTimeout(() => lock.stop(), waitMs);
  lock.stdin.write("held\n");
  const isHeld = new Promise<boolean>((resolve) => lock.stdout.once("data", () => resolve(true)));
  try {
    return (await Promise.race([isHeld, lock.exit.then(() => false)])) ? lock : undefined;
  } finally {
    clearTimeout(timer);
  }
}

/** @throws FarmError PLACE_UNUSABLE for whatever the system refuses */
export async function writing<T>(place: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (thrown) {
    if (!isErrno(thrown)) throw thrown;
    throw new FarmError("PLACE_UNUSABLE", {
      about: place,
      joint: " ",
      detail: `cannot be written (${thrown.code})`,
      cause: thrown,
    });
  }
}

/** A new file, or another content of one, which is on disk when this returns. */
export async function writeSynced(path: string, bytes: string | Uint8Array): Promise<void> {
  await using file = await open(path, "w", 0o644);
  await file.writeFile(bytes);
  await file.sync();
}

/** Undefined for whatever cannot be read. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (thrown) {
    if (isErrno(thrown)) return undefined;
    throw thrown;
  }
}
