/**
 * A store in a folder of this machine. A lock of a process that died is taken over, so are its leftovers; one of a
 * process elsewhere is, once it gave no sign of life for a while.
 */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { FarmError } from "../../base/error.ts";
import { hexOf, sha256 } from "../../base/json.ts";
import { processName, stateOfProcess } from "../../base/process-name.ts";
import { makePlace, openScratch, type Scratch, SILENCE_LIMIT_MS } from "../../base/scratch.ts";
import { FolderTree, type Modes, storeError } from "./folder-tree.ts";
import { isPrivate, type Store, sizeLimitOf } from "./store.ts";

const LOCK = ".lock";
const TEMPORARY = ".tmp";
const LOCK_LIMIT_BYTES = 1024;

/** Web servers serve a store as it is. */
const PUBLIC: Modes = { file: 0o644, directory: 0o777 };
const PRIVATE: Modes = { file: 0o600, directory: 0o700 };

export async function openFolderStore(directory: string): Promise<Store> {
  return new FolderStore(directory);
}

class FolderStore implements Store {
  readonly place: string;
  readonly #tree: FolderTree;
  #scratch: Scratch | undefined;
  /** What our lock says, while we have it. */
  #held: string | undefined;

  constructor(directory: string) {
    this.place = directory;
    this.#tree = new FolderTree(directory);
  }

  read(path: string): Promise<Buffer | undefined> {
    return this.#tree.read(path, sizeLimitOf(path));
  }

  async write(path: string, content: string | Uint8Array): Promise<void> {
    await this.#put(path, content, false);
  }

  create(path: string, content: string | Uint8Array): Promise<boolean> {
    return this.#put(path, content, true);
  }

  list(path: string): Promise<string[]> {
    return this.#tree.names(path);
  }

  async remove(path: string): Promise<void> {
    await this.#checkLock();
    await this.#tree.remove(path);
  }

  async lock(): Promise<() => Promise<void>> {
    const scratch = await this.#temporary();
    const text = `${processName() ?? process.pid} ${hostname()} ${randomBytes(8).toString("hex")}`;
    try {
      await this.#claim(text, scratch);
    } catch (thrown) {
      await this.#tidy(scratch);
      throw thrown;
    }
    this.#held = text;
    return async () => {
      this.#held = undefined;
      try {
        if ((await this.#lockText()) === text) await this.#tree.remove(LOCK);
      } finally {
        // The mark goes last: it is what others see of us as long as the lock is there.
        await this.#tidy(scratch);
      }
    };
  }

  async #put(path: string, content: string | Uint8Array, isNew: boolean): Promise<boolean> {
    const limit = sizeLimitOf(path);
    if (Buffer.byteLength(content) > limit)
      throw new FarmError("STORE_UNUSABLE", {
        detail: `${this.place}/${path} would have more than the ${limit} bytes that are read back`,
      });
    await this.#checkLock();
    return this.#make(path, content, isNew);
  }

  async #make(path: string, content: string | Uint8Array, isNew: boolean): Promise<boolean> {
    const scratch = await this.#temporary();
    const maker = { directory: TEMPORARY, name: basename(scratch.path()) };
    return this.#tree.put(path, content, isPrivate(path) ? PRIVATE : PUBLIC, maker, isNew);
  }

  async #tidy(scratch: Scratch): Promise<void> {
    await scratch.close();
    this.#scratch = undefined;
  }

  /** A file is created by one process only, whatever the others do at the same time. */
  async #claim(text: string, scratch: Scratch, lock = LOCK): Promise<void> {
    for (let tries = 0; tries < 5; tries++) {
      if (await this.#make(lock, text, true)) return;
      const holder = await this.#lockText(lock);
      if (holder === undefined) continue;
      await this.#refuseLiving(holder, scratch, lock);
      // Dead. Only who has claimed its grave may clear it away: a slow one would clear away its successor's.
      const grave = `${LOCK}-${hexOf(sha256(holder)).slice(0, 16)}`;
      await this.#claim(text, scratch, grave);
      if ((await this.#lockText(lock)) === holder) await this.#tree.remove(lock);
      await this.#tree.remove(grave);
    }
    throw this.#busy("is being opened by several processes at once");
  }

  /** @throws FarmError STORE_BUSY unless the holder of a lock is dead, or as good as dead */
  async #refuseLiving(holder: string, scratch: Scratch, lock: string): Promise<void> {
    const [process = "", host = "another machine"] = holder.split(" ");
    const state = stateOfProcess(process);
    if (state === "dead") return;
    const who = `is being written by process ${process.replace(/\..*/, "")} on ${host}`;
    if (state === "alive") throw this.#busy(who);
    const silentMs = scratch.silenceOf(process, (await this.#tree.modifiedAt(lock)) ?? 0);
    if (silentMs >= SILENCE_LIMIT_MS) return;
    const [silentSeconds, limitMinutes] = [
      Math.max(0, Math.round(silentMs / 1000)),
      SILENCE_LIMIT_MS / 60_000,
    ];
    throw this.#busy(
      who,
      `Wait until it ends. It runs where this machine cannot see it (another machine, container or boot): if it died, its lock is taken over ${limitMinutes} minutes after its last sign of life, which was ${silentSeconds} s ago.`,
    );
  }

  /** @throws FarmError STORE_BUSY when somebody took us for dead, so that two writers never mix */
  async #checkLock(): Promise<void> {
    if (this.#held === undefined || (await this.#lockText()) === this.#held) return;
    throw this.#busy(
      "was taken over by another process, because this one gave no sign of life",
      "Run the same command again: it goes on from what the other one published.",
    );
  }

  async #lockText(lock = LOCK): Promise<string | undefined> {
    return (await this.#tree.read(lock, LOCK_LIMIT_BYTES))?.toString();
  }

  #busy(fact: string, hint?: string): FarmError {
    return new FarmError("STORE_BUSY", {
      detail: `${this.place} ${fact}`,
      at: { lock: join(this.place, LOCK) },
      ...(hint === undefined ? {} : { hint }),
    });
  }

  async #temporary(): Promise<Scratch> {
    if (this.#scratch !== undefined) return this.#scratch;
    try {
      await makePlace(this.place);
      this.#scratch = await openScratch(join(this.place, TEMPORARY));
      return this.#scratch;
    } catch (thrown) {
      throw storeError(thrown, this.place);
    }
  }
}
