/**
 * What is in a tar archive, entry by entry, and how many files and directories it makes where it is unpacked. An
 * archive in which another reader could see other entries is refused.
 */
import {
  type EntryKind,
  isEntry,
  malformedTar,
  parseExtended,
  parseTarHeader,
  type Said,
  TAR_BLOCK_BYTES,
  type TarHeader,
  tarPadding,
  textOf,
} from "./tar.ts";

export type TarEntry = TarHeader<EntryKind>;

const SLASH = 0x2f;

/** Puts together what several headers say of one entry. */
export class EntryParts {
  #said: Said = {};
  readonly #before = new Set<TarHeader["kind"]>();

  /** The content is what follows a header that is no entry's own. @throws FarmError PACKAGE_MALFORMED */
  add({ kind }: TarHeader, content: Buffer): void {
    if (kind === "global") {
      if (Object.keys(parseExtended(content)).length > 0)
        throw malformedTar("it gives one name or size to all that is in it");
      return;
    }
    // Of two, readers take the first, the last, or what each of them says.
    if (this.#before.has(kind)) throw malformedTar("an entry has two headers of one kind before it");
    this.#before.add(kind);
    const said: Said =
      kind === "extended"
        ? parseExtended(content)
        : { [kind === "longName" ? "name" : "linkName"]: textOf(content) };
    if (said.name?.length === 0 || said.linkName?.length === 0) throw malformedTar("a long name is empty");
    const twice = Object.keys(said).find((field) => field in this.#said);
    if (twice !== undefined) throw malformedTar(`the ${twice} of an entry is given twice`);
    Object.assign(this.#said, said);
  }

  /** The entry whose own header this is. @throws FarmError PACKAGE_MALFORMED */
  entry(header: TarEntry): TarEntry {
    const entry = { ...header, ...this.#said };
    this.#said = {};
    this.#before.clear();
    if (entry.name.length === 0) throw malformedTar("an entry has no name");
    // So did archives say it before there was a type for directories.
    const isDirectory = entry.kind === "file" && entry.name.at(-1) === SLASH;
    if ((isDirectory || entry.kind !== "file") && entry.size !== 0)
      throw malformedTar("an entry that is no file has content");
    return isDirectory ? { ...entry, kind: "directory" } : entry;
  }

  /** Whether an entry must still come. */
  get isOpen(): boolean {
    return this.#before.size > 0;
  }
}

/** Finds the entries of an archive that comes in pieces, of whatever size. Keeps one header of it at most. */
export class TarScan {
  readonly #parts = new EntryParts();
  /** A header, or what follows one that is no entry's own, as far as it is there. */
  #block = Buffer.alloc(TAR_BLOCK_BYTES);
  #filled = 0;
  /** The header that `#block` follows. */
  #about: TarHeader | undefined;
  /** Of an entry's content, and then of what fills its last block. */
  #content = 0;
  #skip = 0;
  #zeroBlocks = 0;

  /** The entries whose headers end in this piece. @throws FarmError PACKAGE_MALFORMED */
  *push(piece: Buffer): Generator<TarEntry> {
    for (const part of this.parts(piece)) if (!Buffer.isBuffer(part)) yield part;
  }

  /** The entries whose headers end in this piece, each with what there is of its content behind it. @throws FarmError PACKAGE_MALFORMED */
  *parts(piece: Buffer): Generator<TarEntry | Buffer> {
    // Two blocks of zeros end an archive, whatever comes then.
    for (let at = 0; at < piece.length && this.#zeroBlocks < 2; ) {
      if (this.#content > 0) {
        const part = piece.subarray(at, at + this.#content);
        this.#content -= part.length;
        at += part.length;
        yield part;
        continue;
      }
      const skipped = Math.min(this.#skip, piece.length - at);
      this.#skip -= skipped;
      at += skipped;
      const copied = piece.copy(this.#block, this.#filled, at);
      this.#filled += copied;
      at += copied;
      if (copied === 0 || this.#filled < this.#block.length) continue;
      const entry = this.#about === undefined ? this.#header(this.#block) : this.#told(this.#about);
      if (entry !== undefined) yield entry;
    }
  }

  /** To be called when nothing more comes. @throws FarmError PACKAGE_MALFORMED when it ends in the middle */
  end(): void {
    const isWhole =
      this.#content === 0 && this.#skip === 0 && this.#filled === 0 && this.#about === undefined;
    if (!isWhole || this.#parts.isOpen) throw malformedTar("it ends in the middle");
  }

  #header(block: Buffer): TarEntry | undefined {
    // The names of a header are parts of its block.
    this.#await(TAR_BLOCK_BYTES);
    const header = parseTarHeader(block);
    if (header === undefined) {
      this.#zeroBlocks++;
      return undefined;
    }
    if (this.#zeroBlocks > 0) throw malformedTar("it goes on after its end");
    if (isEntry(header)) {
      const entry = this.#parts.entry(header);
      this.#content = entry.size;
      this.#skip = tarPadding(entry.size);
      return entry;
    }
    if (header.size === 0) {
      this.#parts.add(header, Buffer.alloc(0));
      return undefined;
    }
    this.#about = header;
    this.#await(header.size);
    return undefined;
  }

  #told(about: TarHeader): undefined {
    this.#parts.add(about, this.#block);
    this.#skip = tarPadding(about.size);
    this.#about = undefined;
    this.#await(TAR_BLOCK_BYTES);
  }

  #await(size: number): void {
    this.#block = Buffer.alloc(size);
    this.#filled = 0;
  }
}

/**
 * How many files and directories entries make where they are unpacked, at most: themselves, and each directory on the
 * way to them that the entry before was not in. Remembers nothing else, so a directory that is left and entered again
 * counts again; archives are written directory by directory.
 */
export class InodeCount {
  total = 0;
  #last: Buffer = Buffer.alloc(0);

  add(name: Buffer): void {
    const shared = sharedDirectories(this.#last, name);
    this.total += 1;
    for (let at = shared; at < name.length - 1; at++)
      if (name[at] === SLASH && isNamed(name, at)) this.total++;
    this.#last = name;
  }
}

/** Where two paths part: behind the last name up to which they are the same. */
function sharedDirectories(one: Buffer, other: Buffer): number {
  let shared = 0;
  for (let at = 0; at < other.length && (at === one.length || one[at] === other[at]); at++) {
    if (other[at] === SLASH) shared = at + 1;
    if (at === one.length) break;
  }
  return shared;
}

/** Whether what ends at a slash is a name: not the root, `.`, or nothing between two slashes. */
function isNamed(path: Buffer, slash: number): boolean {
  const start = slash === 0 ? 0 : path.lastIndexOf(SLASH, slash - 1) + 1;
  return slash - start > 1 || (slash - start === 1 && path[start] !== 0x2e);
}
