/**
 * A directory that a stranger may have written to, held by its descriptor. Whatever is done here takes one name
 * in that very directory: no link is followed, nothing is reached through `..`, no path is too long, and a name
 * may be any bytes. Linux only: `/proc/self/fd/N/name` is what openat(N, "name") would be.
 */
import {
  chmodSync,
  closeSync,
  constants,
  type Dir,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  type Stats,
  unlinkSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { isErrno } from "./error.ts";

/** A descriptor that only names a file: opening it reads nothing, waits for nothing and wakes no device. */
const O_PATH = 0o10000000;
const HOLD = O_PATH | constants.O_NOFOLLOW;
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Fails if another process's lease on the file would make us wait until the kernel breaks it. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK;
const BATCH = 512;

export class StrangeDirectory implements Disposable {
  readonly #descriptor: number;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** The top of a strange tree, by a path of ours whose last part must not be a link. @throws errors of open(2) */
  static open(path: string): StrangeDirectory {
    return new StrangeDirectory(openSync(path, HOLD | constants.O_DIRECTORY));
  }

  /** A directory of ours, in which a strange tree lies; links on the way are ours too. @throws errors of open(2) */
  static openOwn(path: string): StrangeDirectory {
    return new StrangeDirectory(openSync(path, O_PATH | constants.O_DIRECTORY));
  }

  /** A directory in this one. @throws ENOTDIR for anything else, a link to a directory included */
  enter(name: Uint8Array): StrangeDirectory {
    return new StrangeDirectory(openSync(this.#at(name), HOLD | constants.O_DIRECTORY));
  }

  /** Names in it, in the order of the file system, however many there are. @throws EACCES */
  *names(): Generator<Buffer> {
    const directory = opendirSync(this.#self, { encoding: "buffer" as "utf8", bufferSize: BATCH });
    try {
      for (let entry = directory.readSync(); entry !== null; entry = directory.readSync())
        yield nameOf(entry);
    } finally {
      directory.closeSync();
    }
  }

  status(): Stats {
    return fstatSync(this.#descriptor);
  }

  /** What a name stands for; of a link, the link. */
  statusOf(name: Uint8Array): Stats {
    return lstatSync(this.#at(name));
  }

  /** Where a link leads, as it is written. */
  linkOf(name: Uint8Array): Buffer {
    return readlinkSync(this.#at(name), { encoding: "buffer" });
  }

  /**
   * A plain file, opened for reading; undefined for anything else, which is not opened at all. The caller
   * closes it.
   */
  openFile(name: Uint8Array): number | undefined {
    const held = openSync(this.#at(name), HOLD);
    try {
      return fstatSync(held).isFile() ? openSync(`/proc/self/fd/${held}`, READ) : undefined;
    } finally {
      closeSync(held);
    }
  }

  /** The same, read without keeping others waiting. */
  async openForReading(name: Uint8Array): Promise<FileHandle | undefined> {
    const held = openSync(this.#at(name), HOLD);
    try {
      return fstatSync(held).isFile() ? await open(`/proc/self/fd/${held}`, READ) : undefined;
    } finally {
      closeSync(held);
    }
  }

  /** A new file, opened for writing. @throws EEXIST for whatever is there, a link to nowhere included */
  create(name: Uint8Array, mode: number): Promise<FileHandle> {
    return open(this.#at(name), CREATE, mode);
  }

  /** Makes a directory, unless something is there already; answers whether it did. */
  makeDirectory(name: Uint8Array, mode: number): boolean {
    try {
      mkdirSync(this.#at(name), mode);
      return true;
    } catch (thrown) {
      if (isErrno(thrown) && thrown.code === "EEXIST") return false;
      throw thrown;
    }
  }

  /** Gives a file a second name. @throws EEXIST for whatever is there: only one of several can make it */
  link(name: Uint8Array, to: StrangeDirectory, newName: Uint8Array): void {
    linkSync(this.#at(name), to.#at(newName));
  }

  /** Returns when its names outlast a power failure. */
  async sync(): Promise<void> {
    const directory = await open(this.#self, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  /** Moves a name of this directory to another one. */
  move(name: Uint8Array, to: StrangeDirectory, newName: Uint8Array): void {
    renameSync(this.#at(name), to.#at(newName));
  }

  /** Removes anything but a directory. */
  unlink(name: Uint8Array): void {
    unlinkSync(this.#at(name));
  }

  /** Removes an empty directory. */
  removeDirectory(name: Uint8Array): void {
    rmdirSync(this.#at(name));
  }

  /** Gives its owner every right on it. */
  unlock(): void {
    chmodSync(this.#self, 0o700);
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }

  get #self(): string {
    return `/proc/self/fd/${this.#descriptor}`;
  }

  #at(name: Uint8Array): Buffer {
    if (!isName(name)) throw new RangeError(`not the name of a file: ${JSON.stringify(name.toString())}`);
    return Buffer.concat([Buffer.from(`${this.#self}/`), name]);
  }
}

/** One part of a path that stays in its directory. */
function isName(name: Uint8Array): boolean {
  const [first, second] = name;
  const isDots = first === DOT && (name.length === 1 || (name.length === 2 && second === DOT));
  return name.length > 0 && !isDots && !name.includes(SLASH) && !name.includes(0);
}

const [DOT, SLASH] = [0x2e, 0x2f];

/** Node's types do not know that an encoding of bytes gives names in bytes. */
function nameOf({ name }: NonNullable<ReturnType<Dir["readSync"]>>): Buffer {
  return name as unknown as Buffer;
}

/** Whether an error says that a name is gone, or is not a directory (any more). */
export function isGone(thrown: unknown): boolean {
  return isErrno(thrown) && ["ENOENT", "ENOTDIR", "ELOOP"].includes(thrown.code ?? "");
}
