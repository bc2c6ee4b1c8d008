/** What whoever only reads a registry needs of it: nodes, verifiers, other farms. Every store is one. */
export interface RegistryReader {
  /** For people: a path or a URL. */
  readonly place: string;
  /**
   * A file's bytes, or undefined when there is no such file.
   * @throws FarmError STORE_CORRUPT for one that is longer than `limitBytes`
   */
  read(path: string, limitBytes: number): Promise<Buffer | undefined>;
}
