/**
 * The family of stores: a tree of files that a registry lives in. Nobody locks one: the creation of a file that is not
 * there yet is all that writers agree on. Whoever else may write to it is a stranger: what is read is input.
 */
import type { Readable } from "node:stream";
import { FarmError } from "../../base/error.ts";
import { BUNDLE_LIMIT_BYTES } from "../../provenance/trees/tiles.ts";
import type { RegistryReader } from "../reader.ts";

export interface FileFacts {
  readonly path: string;
  readonly size: number;
  /** By the store's own clock. */
  readonly modified: Date;
}

/** Copies of blobs: whoever has the digest need not ask for the bytes. */
export interface KeptBlobs {
  read(digest: string): Promise<Buffer | undefined>;
  keep(digest: string, bytes: Uint8Array): Promise<void>;
}

export interface Store extends RegistryReader {
  /** Whether looking at every file of it costs next to nothing; each is a request otherwise, which somebody pays. */
  readonly isNear: boolean;
  /** Copies on this machine of what is read again every night. Default: none. */
  readonly kept?: KeptBlobs;
  /**
   * A file's bytes, or undefined when there is no such file.
   * @throws FarmError STORE_CORRUPT for anything but a file of a size that `sizeLimitOf` allows, and `limitBytes`
   */
  read(path: string, limitBytes?: number): Promise<Buffer | undefined>;
  /** The same for a file that need not fit in memory; who takes it reads it to its end or destroys it. */
  stream(path: string): Promise<Readable | undefined>;
  facts(path: string): Promise<FileFacts | undefined>;
  /** Writes a file that readers see whole or not at all, durably. */
  write(path: string, content: string | Uint8Array): Promise<void>;
  /**
   * Does the same where there is no such file; false when there is one, which stays. Of several writers one succeeds.
   * @throws FarmError STORE_UNSAFE where the store cannot promise that
   */
  create(path: string, content: string | Uint8Array): Promise<boolean>;
  /** Writes a copy of a file of this machine, however large. */
  writeFile(path: string, file: string): Promise<void>;
  /** Names directly below a directory, sorted; none when there is no such directory. */
  list(path: string): Promise<string[]>;
  /** Every file below a directory, and of the whole store below "". */
  walk(path: string): AsyncIterable<FileFacts>;
  /** Removes a file. */
  remove(path: string): Promise<void>;
  /** Removes whatever is at a path: a file or a whole directory. */
  removeAll(path: string): Promise<void>;
  /**
   * Makes sure that it can be written to, before work is done for it. Once: whoever writes first asks for it otherwise.
   * @throws FarmError STORE_UNSAFE, STORE_UNUSABLE, DISK_FULL
   */
  prepare(): Promise<void>;
  /** Removes what is temporary. */
  close(): Promise<void>;
}

/** Where stores are tried out. Nothing below it is part of a store. */
export const PROBE = "probe";

/** Catalogs of every kernel that ever was are the largest. */
export const DOCUMENT_LIMIT_BYTES = 256 << 20;
const POINTER_LIMIT_BYTES = 64 << 10;
/** The head names every driver and machine. */
const METADATA_LIMIT_BYTES = 768 << 10;
export const BLOB_LIMIT_BYTES = 1 << 30;

/** How large a file may be, by where it lies: what is larger is neither read nor written. */
export function sizeLimitOf(path: string): number {
  const [top, below] = path.split("/");
  if (top === "metadata" && below === "log") return BUNDLE_LIMIT_BYTES;
  if (top === "channels") return POINTER_LIMIT_BYTES;
  if (top === "metadata") return METADATA_LIMIT_BYTES;
  if (top === "blobs" || top === "private" || top === "view" || top === "view-falco") return BLOB_LIMIT_BYTES;
  return DOCUMENT_LIMIT_BYTES;
}

/** Refuses to write what could not be read back. @throws FarmError STORE_UNUSABLE */
export function checkSize({ place }: Pick<Store, "place">, path: string, size: number): void {
  const limit = sizeLimitOf(path);
  if (size > limit)
    throw new FarmError("STORE_UNUSABLE", {
      detail: `${place}/${path} would be larger than the ${limit} bytes that can be read back`,
    });
}

/** Whether only the farm may read a file: packages that may not be redistributed. */
export function isPrivate(path: string): boolean {
  return path.startsWith("private/");
}
