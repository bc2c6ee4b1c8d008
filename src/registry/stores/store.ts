/**
 * The family of stores: a tree of files that a registry lives in, with just enough to publish atomically. Whoever
 * else may write to it is a stranger: what is read is input.
 */

export interface Store {
  /** For people: a path or a URL. */
  readonly place: string;
  /**
   * A file's bytes, or undefined when there is no such file.
   * @throws FarmError STORE_CORRUPT for anything but a file of a size that `sizeLimitOf` allows
   */
  read(path: string): Promise<Buffer | undefined>;
  /** Writes a file that readers see whole or not at all, durably. */
  write(path: string, content: string | Uint8Array): Promise<void>;
  /** Does the same where there is no such file; false when there is one, which stays. Of several writers one succeeds. */
  create(path: string, content: string | Uint8Array): Promise<boolean>;
  /** Names directly below a directory, sorted; none when there is no such directory. */
  list(path: string): Promise<string[]>;
  /** Removes a file or a whole directory. */
  remove(path: string): Promise<void>;
  /**
   * Becomes the only writer until the returned function is called. Should another one have taken over meanwhile,
   * every further write of this one is refused.
   * @throws FarmError STORE_BUSY while another process is
   */
  lock(): Promise<() => Promise<void>>;
}

/** Catalogs of every kernel that ever was are the largest. */
export const DOCUMENT_LIMIT_BYTES = 256 << 20;
const POINTER_LIMIT_BYTES = 64 << 10;
const BLOB_LIMIT_BYTES = 1 << 30;

/** How large a file may be, by where it lies: what is larger is neither read nor written. */
export function sizeLimitOf(path: string): number {
  const [top] = path.split("/");
  if (top === "channels") return POINTER_LIMIT_BYTES;
  if (top === "blobs" || top === "private" || top === "view") return BLOB_LIMIT_BYTES;
  return DOCUMENT_LIMIT_BYTES;
}

/** Whether nobody but the farm is to read a file: packages that may not be passed on. */
export function isPrivate(path: string): boolean {
  return path.startsWith("private/");
}
