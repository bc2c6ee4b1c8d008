/**
 * The family of stores: a tree of files that a registry lives in, with just enough to publish atomically.
 */

export interface Store {
  /** For people: a path or a URL. */
  readonly place: string;
  /** A file's bytes, or undefined when there is no such file. */
  read(path: string): Promise<Buffer | undefined>;
  /** Writes a file that readers see whole or not at all, durably. */
  write(path: string, content: string | Uint8Array): Promise<void>;
  /** Names directly below a directory, sorted; none when there is no such directory. */
  list(path: string): Promise<string[]>;
  /** Removes a file or a whole directory. */
  remove(path: string): Promise<void>;
  /**
   * Becomes the only writer until the returned function is called.
   * @throws FarmError STORE_BUSY while another process is
   */
  lock(): Promise<() => Promise<void>>;
}
