/**
 * A store in a folder of this machine. A lock of a process that died is taken over; so are its leftovers.
 */
import { link, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { FarmError, isErrno } from "../../base/error.ts";
import { hexOf, sha256 } from "../../base/json.ts";
import { entriesOf, isAlive, makePlace, openScratch, processName, type Scratch } from "../../base/scratch.ts";
import type { Store } from "./store.ts";

const LOCK = ".lock";
const TEMPORARY = ".tmp";

export async function openFolderStore(directory: string): Promise<Store> {
  return new FolderStore(directory);
}

class FolderStore implements Store {
  readonly place: string;
  #scratch: Scratch | undefined;

  constructor(directory: string) {
    this.place = directory;
  }

  async read(path: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.place, path));
    } catch (thrown) {
      if (isErrno(thrown) && (thrown.code === "ENOENT" || thrown.code === "ENOTDIR")) return undefined;
      throw thrown;
    }
  }

  async write(path: string, content: string | Uint8Array): Promise<void> {
    const scratch = await this.#temporary();
    await scratch.write(join(this.place, path), content);
  }

  list(path: string): Promise<string[]> {
    return entriesOf(join(this.place, path));
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.place, path), { recursive: true, force: true });
    // Folders are there because of what is in them, as in every other kind of store.
    for (let above = dirname(path); above !== "."; above = dirname(above))
      if (!(await isRemoved(join(this.place, above)))) return;
  }

  async lock(): Promise<() => Promise<void>> {
    const scratch = await this.#temporary();
    const owner = `${processName() ?? process.pid} ${hostname()}`;
    const claim = scratch.path();
    await writeFile(claim, owner);
    try {
      await this.#claim(claim);
    } catch (thrown) {
      await this.#tidy(scratch);
      throw thrown;
    }
    await rm(claim, { force: true });
    return async () => {
      await this.#tidy(scratch);
      await rm(join(this.place, LOCK), { force: true });
    };
  }

  async #tidy(scratch: Scratch): Promise<void> {
    await scratch.close();
    this.#scratch = undefined;
  }

  /** A hard link is made by one process only, whatever the others do at the same time. */
  async #claim(claim: string, lock = join(this.place, LOCK)): Promise<void> {
    for (let tries = 0; tries < 5; tries++) {
      try {
        await link(claim, lock);
        return;
      } catch (thrown) {
        if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
      }
      const holder = await readText(lock);
      if (holder === undefined) continue;
      const [process = "", host = ""] = holder.split(" ");
      if (host !== hostname() || isAlive(process)) throw this.#busy(holder);
      // Dead. Only who has claimed its grave may clear it away: a slow one would clear away its successor's.
      const grave = join(this.place, `${LOCK}-${hexOf(sha256(holder)).slice(0, 16)}`);
      await this.#claim(claim, grave);
      if ((await readText(lock)) === holder) await rm(lock, { force: true });
      await rm(grave, { force: true });
    }
    throw this.#busy("several processes at once");
  }

  #busy(holder: string): FarmError {
    const [process, host] = holder.split(" ");
    return new FarmError("STORE_BUSY", {
      detail: `${this.place} is being written by process ${process} on ${host ?? "this machine"}`,
      at: { lock: join(this.place, LOCK) },
    });
  }

  async #temporary(): Promise<Scratch> {
    if (this.#scratch === undefined) {
      await makePlace(this.place);
      this.#scratch = await openScratch(join(this.place, TEMPORARY));
    }
    return this.#scratch;
  }
}

/** Only an empty folder can be. */
async function isRemoved(folder: string): Promise<boolean> {
  return rmdir(folder).then(
    () => true,
    () => false,
  );
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}
