/**
 * Writing tar archives: headers as every reader takes them, GNU's long names included.
 */
import { malformedTar, TAR_BLOCK_BYTES, tarPadding } from "./tar.ts";
import type { TarEntry } from "./tar-entries.ts";

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

/** What comes before an entry's content. @throws FarmError PACKAGE_MALFORMED for what no archive of ours holds */
export function tarHeaders({ kind, name, linkName, mode, size, mtime }: TarEntry): Buffer {
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

/** A plain file's headers. */
export function tarFile(path: string, size: number): Buffer {
  const entry = {
    kind: "file",
    name: Buffer.from(path),
    linkName: Buffer.alloc(0),
    mode: 0o644,
    size,
    mtime: 0,
  };
  return tarHeaders(entry as TarEntry);
}

/** What comes behind a file's content. */
export function tarFilling(size: number): Buffer {
  return Buffer.alloc(tarPadding(size));
}

export const TAR_END = Buffer.alloc(2 * TAR_BLOCK_BYTES);
