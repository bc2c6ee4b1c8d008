/** A store in a folder of this machine, or of one that it shares. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Readable } from "node:stream";
import { makePlace, openScratch, type Scratch } from "../../base/scratch.ts";
import { type Fill, FolderTree, type Modes, storeError } from "./folder-tree.ts";
import { checkSize, type FileFacts, isPrivate, type Store, sizeLimitOf } from "./store.ts";
import { triedFirst } from "./tried-first.ts";

/** Files are made here before they are put in their places. Nothing in it is part of the store. */
const TEMPORARY = ".tmp";

/** Web servers serve a store as it is. */
const PUBLIC: Modes = { file: 0o644, directory: 0o777 };
const PRIVATE: Modes = { file: 0o600, directory: 0o700 };

export async function openFolderStore(directory: string): Promise<Store> {
  return triedFirst(new FolderStore(directory));
}

class FolderStore implements Store {
  readonly place: string;
  readonly isNear = true;
  readonly #tree: FolderTree;
  #scratch: Promise<Scratch> | undefined;

  constructor(directory: string) {
    this.place = directory;
    this.#tree = new FolderTree(directory);
  }

  read(path: string, limitBytes = Number.POSITIVE_INFINITY): Promise<Buffer | undefined> {
    return this.#tree.read(path, Math.min(limitBytes, sizeLimitOf(path)));
  }

  stream(path: string): Promise<Readable | undefined> {
    return this.#tree.stream(path, sizeLimitOf(path));
  }

  facts(path: string): Promise<FileFacts | undefined> {
    return this.#tree.facts(path);
  }

  async write(path: string, content: string | Uint8Array): Promise<void> {
    checkSize(this, path, Buffer.byteLength(content));
    await this.#put(path, (file) => file.writeFile(content), false);
  }

  create(path: string, content: string | Uint8Array): Promise<boolean> {
    checkSize(this, path, Buffer.byteLength(content));
    return this.#put(path, (file) => file.writeFile(content), true);
  }

  async writeFile(path: string, source: string): Promise<void> {
    const { size } = await stat(source);
    checkSize(this, path, size);
    await this.#put(path, (file) => file.writeFile(createReadStream(source)), false);
  }

  list(path: string): Promise<string[]> {
    return this.#tree.names(path);
  }

  walk(path: string): AsyncIterable<FileFacts> {
    return this.#tree.walk(path, [TEMPORARY]);
  }

  remove(path: string): Promise<void> {
    return this.#tree.remove(path);
  }

  removeAll(path: string): Promise<void> {
    return this.#tree.remove(path);
  }

  async prepare(): Promise<void> {
    await this.#temporary();
  }

  async close(): Promise<void> {
    const scratch = await this.#scratch;
    this.#scratch = undefined;
    await scratch?.close();
  }

  async #put(path: string, fill: Fill, isNew: boolean): Promise<boolean> {
    const maker = { directory: TEMPORARY, name: basename((await this.#temporary()).path()) };
    return this.#tree.put(path, fill, isPrivate(path) ? PRIVATE : PUBLIC, maker, isNew);
  }

  #temporary(): Promise<Scratch> {
    this.#scratch ??= this.#openTemporary();
    return this.#scratch;
  }

  async #openTemporary(): Promise<Scratch> {
    try {
      await makePlace(this.place);
      return await openScratch(join(this.place, TEMPORARY));
    } catch (thrown) {
      this.#scratch = undefined;
      throw storeError(thrown, this.place);
    }
  }
}
