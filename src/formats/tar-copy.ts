/**
 * A tar archive written anew from what our reader found in another: every header is ours, so whoever unpacks it sees the
 * very entries that were judged. docs/adr/0019 says why.
 */
import { malformedTar, TAR_BLOCK_BYTES, tarPadding } from "./tar.ts";
import { type TarEntry, TarScan } from "./tar-entries.ts";

/** What GNU tar calls the entries that are about the next one's name. */
const ABOUT_NEXT = Buffer.from("././@LongLink");
const NAME_BYTES = 100;
const SIZE_LIMIT_BYTES = 8 ** 11;

const TYPES: Readonly<Record<TarEntry["kind"], string | undefined>> = {
  file: "0",
  link: "1",
  symlink: "2",
  directory: "5",
  fifo: "6",
  "character-device": undefined,
  "block-device": undefined,
};

/** Copies an archive that comes in pieces, of whatever size; `isWanted` is asked of each entry before it is written. */
export class TarCopy {
  readonly #scan = new TarScan();
  readonly #isWanted: (entry: TarEntry) => boolean;
  #isWriting = false;
  /** Of the content of the entry that comes by now. */
  #left = 0;
  #padding = Buffer.alloc(0);

  constructor(isWanted: (entry: TarEntry) => boolean) {
    this.#isWanted = isWanted;
  }

  /** What this piece adds to the copy. @throws FarmError PACKAGE_MALFORMED, and what `isWanted` throws */
  push(piece: Buffer): Buffer {
    const written: Buffer[] = [];
    for (const part of this.#scan.parts(piece)) {
      if (Buffer.isBuffer(part)) {
        this.#left -= part.length;
        if (!this.#isWriting) continue;
        written.push(part);
        if (this.#left === 0) written.push(this.#padding);
        continue;
      }
      this.#isWriting = this.#isWanted(part);
      this.#left = part.size;
      this.#padding = Buffer.alloc(tarPadding(part.size));
      if (this.#isWriting) written.push(headersOf(part));
    }
    return Buffer.concat(written);
  }

  /** The end of the copy. @throws FarmError PACKAGE_MALFORMED when the archive ends in the middle */
  end(): Buffer {
    this.#scan.end();
    return Buffer.alloc(2 * TAR_BLOCK_BYTES);
  }
}

function headersOf({ kind, name, linkName, mode, size, mtime }: TarEntry): Buffer {
  const type = TYPES[kind];
  if (type === undefined) throw malformedTar(`it holds a ${kind}`);
  if (size >= SIZE_LIMIT_BYTES) throw malformedTar("a file in it is beyond measure");
  const isLink = kind === "link" || kind === "symlink";
  return Buffer.concat([
    ...aboutNext("L", name),
    ...(isLink ? aboutNext("K", linkName) : []),
    header({ type, name, linkName: isLink ? linkName : Buffer.alloc(0), mode: mode & 0o7777, size, mtime }),
  ]);
}

/** The entry that gives the next one a long name. */
function aboutNext(type: "L" | "K", text: Buffer): Buffer[] {
  if (text.length < NAME_BYTES) return [];
  const size = text.length + 1;
  const head = header({ type, name: ABOUT_NEXT, linkName: Buffer.alloc(0), mode: 0o644, size, mtime: 0 });
  return [head, text, Buffer.alloc(1 + tarPadding(size))];
}

function header({
  type,
  name,
  linkName,
  mode,
  size,
  mtime,
}: Omit<TarEntry, "kind"> & { readonly type: string }): Buffer {
  const block = Buffer.alloc(TAR_BLOCK_BYTES);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  name.copy(block, 0, 0, NAME_BYTES - 1);
  block.write(octal(mode, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(mtime, 11), 136);
  block.write(" ".repeat(8), 148);
  block.write(type, 156);
  linkName.copy(block, 157, 0, NAME_BYTES - 1);
  block.write("ustar  \0", 257);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${octal(sum, 6)}\0 `, 148);
  return block;
}
