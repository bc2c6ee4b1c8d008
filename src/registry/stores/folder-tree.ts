/**
 * The tree of files of a store in a folder. Others may be able to write there too: every part of a path is entered
 * by descriptor, no link is followed, nothing but plain files is opened, and sizes are looked at before bytes are.
 * Only the folder itself may be a link, to another disk say.
 */
import { isUtf8 } from "node:buffer";
import type { Stats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { FarmError, isErrno } from "../../base/error.ts";
import { StrangeDirectory } from "../../base/strange-directory.ts";
import { kindOf, removeIn } from "../../base/strange-tree.ts";
import { partsOf } from "./path.ts";
import type { FileFacts } from "./store.ts";

/** Modes of what is written; `umask` takes its part. */
export interface Modes {
  readonly file: number;
  readonly directory: number;
}

/** Where a file is made before it is put in its place: a directory beside the rest, and a name there. */
export interface Maker {
  readonly directory: string;
  readonly name: string;
}

/** Writes a new file's content. */
export type Fill = (file: FileHandle) => Promise<void>;

/** What file systems without hard links answer. */
const CANNOT_LINK = new Set(["EPERM", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EMLINK"]);
const NAMES_LIMIT = 1_000_000;
const NO_DIRECTORY = new Set(["ENOTDIR", "ELOOP"]);
/** Each time but the last somebody else has come to an end of something. */
const MOST_TRIES = 100;

export class FolderTree {
  readonly place: string;

  constructor(place: string) {
    this.place = place;
  }

  /** A plain file's bytes; undefined where there is none. @throws FarmError STORE_CORRUPT for anything else there */
  async read(path: string, limitBytes: number): Promise<Buffer | undefined> {
    return this.#guarded(path, async (way) => {
      const file = await this.#openAt(path, way);
      if (file === undefined) return undefined;
      try {
        return await this.#bytesOf(file, path, limitBytes);
      } finally {
        await file.close();
      }
    });
  }

  /** The same, bit by bit. */
  async stream(path: string, limitBytes: number): Promise<Readable | undefined> {
    return this.#guarded(path, async (way) => {
      const file = await this.#openAt(path, way);
      if (file === undefined) return undefined;
      try {
        await this.#checkedSize(file, path, limitBytes);
        return file.createReadStream();
      } catch (thrown) {
        await file.close();
        throw thrown;
      }
    });
  }

  /** Of what is at a path; undefined where nothing is, or a directory. */
  async facts(path: string): Promise<FileFacts | undefined> {
    return this.#guarded(path, async (way) => {
      const found = this.#lastOf(path, way);
      if (found === undefined) return undefined;
      const { directory, name } = found;
      const status = await unlessAbsent(async () => directory.statusOf(name));
      return status === "absent" || status.isDirectory() ? undefined : factsOf(path, status);
    });
  }

  /** Every file below a directory; "" is the top, of which `without` are left out. Links are files here: who reads them is told. */
  async *walk(path: string, without: readonly string[]): AsyncGenerator<FileFacts> {
    const names = path === "" ? await this.#topNames() : await this.names(path);
    for (const name of names) {
      if (path === "" && without.includes(name)) continue;
      const below = path === "" ? name : `${path}/${name}`;
      const facts = await this.facts(below);
      if (facts === undefined) yield* this.walk(below, without);
      else yield facts;
    }
  }

  /** Names directly below a directory, sorted; none where there is no such directory. */
  async names(path: string): Promise<string[]> {
    return this.#guarded(path, async (way) => {
      const found = this.#lastOf(path, way);
      if (found === undefined) return [];
      const { directory, name } = found;
      const listed = this.#enter(directory, name, way, path);
      if (listed === "absent") return [];
      if (listed === "file") throw this.#strange(path, directory, name, "a directory");
      return this.#namesIn(listed, path);
    });
  }

  async #topNames(): Promise<string[]> {
    try {
      using way = new Way();
      const top = this.#top(way);
      return top === undefined ? [] : this.#namesIn(top, ".");
    } catch (thrown) {
      throw storeError(thrown, this.place);
    }
  }

  #namesIn(directory: StrangeDirectory, path: string): string[] {
    const names: string[] = [];
    for (const entry of directory.names()) {
      if (!isUtf8(entry)) throw this.#corrupt(path, "holds a name that is not UTF-8");
      if (names.push(entry.toString()) > NAMES_LIMIT) throw this.#corrupt(path, "holds too many names");
    }
    return names.sort();
  }

  async #openAt(path: string, way: Way): Promise<FileHandle | undefined> {
    const found = this.#lastOf(path, way);
    if (found === undefined) return undefined;
    const { directory, name } = found;
    const file = await unlessAbsent(() => directory.openForReading(name));
    if (file === "absent") return undefined;
    if (file === undefined) throw this.#strange(path, directory, name, "a file");
    return file;
  }

  /**
   * Puts a file in its place, whole and durably. With `isNew` only where nothing is: false is the answer when
   * something exists already, even if it was created a moment ago.
   */
  async put(path: string, fill: Fill, modes: Modes, maker: Maker, isNew: boolean): Promise<boolean> {
    return this.#guarded(path, async () => {
      for (let tries = 1; ; tries++) {
        using way = new Way();
        try {
          return await this.#putOnce(path, fill, modes, maker, isNew, way);
        } catch (thrown) {
          // Who removes the last file of a directory removes that too, perhaps while we go there: it is made again.
          if (!isErrno(thrown) || thrown.code !== "ENOENT" || tries === MOST_TRIES) throw thrown;
        }
      }
    });
  }

  async #putOnce(
    path: string,
    fill: Fill,
    modes: Modes,
    maker: Maker,
    isNew: boolean,
    way: Way,
  ): Promise<boolean> {
    const making = await this.#makeDirectory([maker.directory], modes, way, maker.directory);
    const temporary = Buffer.from(maker.name);
    const parts = partsOf(path);
    const name = Buffer.from(parts.pop() as string);
    try {
      await writeNew(making, temporary, fill, modes.file);
      const directory = await this.#makeDirectory(parts, modes, way, path);
      if (!isNew) this.#move(making, temporary, directory, name, path);
      else if (!this.#hasLinked(making, temporary, directory, name)) return false;
      await directory.sync();
      return true;
    } finally {
      // Moved away, or of no use: half a file would fill a disk that is full.
      await removeIn(making, temporary).catch(() => {});
    }
  }

  /** Removes what is at a path, and the directories above that this leaves empty. */
  async remove(path: string): Promise<void> {
    await this.#guarded(path, async (way) => {
      const found = this.#lastOf(path, way);
      if (found === undefined) return;
      const { directory, name } = found;
      if ((await unlessAbsent(() => removeIn(directory, name))) === "absent") return;
      // Folders are there because of what is in them, as in every other kind of store.
      const above = partsOf(path).slice(0, -1);
      for (const [index, part] of [...above.entries()].toReversed())
        if (!hasRemoved(way.open[index] as StrangeDirectory, Buffer.from(part))) return;
    });
  }

  /** Lets work go down a path; what the system says of it becomes one of our errors. */
  async #guarded<T>(path: string, work: (way: Way) => Promise<T>): Promise<T> {
    partsOf(path);
    using way = new Way();
    try {
      return await work(way);
    } catch (thrown) {
      throw storeError(thrown, this.place, path);
    }
  }

  /** The directory that a path's last part is in, and that part; undefined where there is no such directory. */
  #lastOf(path: string, way: Way): { directory: StrangeDirectory; name: Buffer } | undefined {
    const names = partsOf(path).map((part) => Buffer.from(part));
    const last = names.pop() as Buffer;
    let directory = this.#top(way);
    for (const name of names) {
      if (directory === undefined) return undefined;
      const below = this.#enter(directory, name, way, path);
      directory = below === "absent" || below === "file" ? undefined : below;
    }
    return directory === undefined ? undefined : { directory, name: last };
  }

  #top(way: Way): StrangeDirectory | undefined {
    try {
      return way.add(StrangeDirectory.openOwn(this.place));
    } catch (thrown) {
      if (isErrno(thrown) && thrown.code === "ENOENT") return undefined;
      throw thrown;
    }
  }

  #enter(
    above: StrangeDirectory,
    name: Buffer,
    way: Way,
    path: string,
  ): StrangeDirectory | "absent" | "file" {
    try {
      return way.add(above.enter(name));
    } catch (thrown) {
      if (!isErrno(thrown)) throw thrown;
      if (thrown.code === "ENOENT") return "absent";
      if (!NO_DIRECTORY.has(thrown.code ?? "")) throw thrown;
    }
    const found = statusIn(above, name);
    if (found === undefined) return "absent";
    if (found.isFile()) return "file";
    throw this.#strange(path, above, name, "a directory");
  }

  async #makeDirectory(
    parts: readonly string[],
    { directory: mode }: Modes,
    way: Way,
    path: string,
  ): Promise<StrangeDirectory> {
    let above = way.open[0] ?? way.add(StrangeDirectory.openOwn(this.place));
    for (const part of parts) {
      const name = Buffer.from(part);
      if (above.makeDirectory(name, mode)) await above.sync();
      try {
        above = way.add(above.enter(name));
      } catch (thrown) {
        if (!isErrno(thrown) || !NO_DIRECTORY.has(thrown.code ?? "")) throw thrown;
        throw this.#strange(path, above, name, "a directory");
      }
    }
    return above;
  }

  #move(from: StrangeDirectory, name: Buffer, to: StrangeDirectory, newName: Buffer, path: string): void {
    try {
      from.move(name, to, newName);
    } catch (thrown) {
      if (!isErrno(thrown) || !["EISDIR", "ENOTEMPTY", "EEXIST"].includes(thrown.code ?? "")) throw thrown;
      throw this.#strange(path, to, newName, "a file");
    }
  }

  async #bytesOf(file: FileHandle, path: string, limitBytes: number): Promise<Buffer> {
    const size = await this.#checkedSize(file, path, limitBytes);
    const buffer = Buffer.allocUnsafe(size);
    let length = 0;
    for (let read = -1; read !== 0 && length < size; length += read)
      read = (await file.read(buffer, length, size - length, length)).bytesRead;
    return buffer.subarray(0, length);
  }

  async #checkedSize(file: FileHandle, path: string, limitBytes: number): Promise<number> {
    const { size } = await file.stat();
    if (size <= limitBytes) return size;
    throw this.#corrupt(path, `has ${size} bytes; no more than ${limitBytes} are read`);
  }

  /** A second name is made by one process only, whatever the others do at the same time. */
  #hasLinked(from: StrangeDirectory, name: Buffer, to: StrangeDirectory, newName: Buffer): boolean {
    try {
      from.link(name, to, newName);
      return true;
    } catch (thrown) {
      if (isErrno(thrown) && thrown.code === "EEXIST") return false;
      if (isErrno(thrown) && CANNOT_LINK.has(thrown.code ?? ""))
        throw new FarmError("STORE_UNSAFE", {
          detail: `the file system of ${this.place} has no hard links (${thrown.code}), so two writers could overwrite each other's work`,
        });
      throw thrown;
    }
  }

  #strange(path: string, directory: StrangeDirectory, name: Buffer, wanted: string): FarmError {
    const kind = {
      file: "a file",
      directory: "a directory",
      link: "a link",
      special: "a FIFO, socket or device",
    };
    const found = kind[kindOf(directory.statusOf(name))];
    return this.#corrupt(path, `cannot be used: ${name.toString()} is ${found}, not ${wanted}`);
  }

  #corrupt(path: string, fact: string): FarmError {
    return new FarmError("STORE_CORRUPT", {
      about: this.place,
      joint: "/",
      detail: `${path} ${fact}`,
      at: { path },
    });
  }
}

/** The directories that are held on the way down a path, the top first. */
class Way implements Disposable {
  readonly open: StrangeDirectory[] = [];

  add(directory: StrangeDirectory): StrangeDirectory {
    this.open.push(directory);
    return directory;
  }

  [Symbol.dispose](): void {
    for (const directory of this.open) directory[Symbol.dispose]();
  }
}

function factsOf(path: string, { size, mtimeMs }: Stats): FileFacts {
  return { path, size, modified: new Date(mtimeMs) };
}

/** What the system says of a store's files as one of our errors: nothing of it is a fault of kmodfarm. */
export function storeError(thrown: unknown, place: string, path = ""): unknown {
  if (thrown instanceof FarmError || !isErrno(thrown)) return thrown;
  const where = path === "" ? place : `${place}/${path}`;
  if (thrown.code === "ENOSPC" || thrown.code === "EDQUOT")
    return new FarmError("DISK_FULL", {
      detail: `${where} cannot be written to (${thrown.code})`,
      cause: thrown,
    });
  return new FarmError("STORE_UNUSABLE", { detail: `${where}: ${thrown.message}`, cause: thrown });
}

function statusIn(directory: StrangeDirectory, name: Buffer): Stats | undefined {
  try {
    return directory.statusOf(name);
  } catch (thrown) {
    if (isErrno(thrown) && thrown.code === "ENOENT") return undefined;
    throw thrown;
  }
}

async function unlessAbsent<T>(work: () => Promise<T>): Promise<T | "absent"> {
  try {
    return await work();
  } catch (thrown) {
    if (isErrno(thrown) && thrown.code === "ENOENT") return "absent";
    throw thrown;
  }
}

async function writeNew(directory: StrangeDirectory, name: Buffer, fill: Fill, mode: number): Promise<void> {
  const file = await directory.create(name, mode);
  try {
    await fill(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Only an empty directory can be. */
function hasRemoved(parent: StrangeDirectory, name: Buffer): boolean {
  try {
    parent.removeDirectory(name);
    return true;
  } catch {
    return false;
  }
}
