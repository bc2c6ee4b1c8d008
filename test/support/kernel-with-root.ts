/** An ELF file with the sections that a kernel's `vmlinux` has, as far as the root of its modules needs them. */

export interface KernelShape {
  readonly bits?: 32 | 64;
  readonly order?: "little" | "big";
  /** How many sections of that name it has. */
  readonly copies?: number;
}

export interface Root {
  readonly levels: number;
  readonly hash: Uint8Array;
}

const NAMES = Buffer.from("\0.shstrtab\0.text\0.module_hashes\0");
const EM_X86_64 = 62;

/** Without a root it has no such section. */
export function kernelWithRoot(
  root: Root | undefined,
  { bits = 64, order = "little", copies = 1 }: KernelShape = {},
): Buffer {
  const [isWide, isLittle] = [bits === 64, order === "little"];
  const put = (buffer: Buffer, at: number, value: number, bytes: number) =>
    isLittle
      ? buffer.writeUIntLE(value, at, Math.min(bytes, 6))
      : buffer.writeUIntBE(value, at + Math.max(0, bytes - 6), Math.min(bytes, 6));
  const [headerBytes, entryBytes, word] = isWide ? [64, 64, 8] : [52, 40, 4];
  const levels = Buffer.alloc(4);
  put(levels, 0, root?.levels ?? 0, 4);
  const content =
    root === undefined ? [] : Array.from({ length: copies }, () => Buffer.concat([levels, root.hash]));
  const bodies = [
    { name: 0, type: 0, bytes: Buffer.alloc(0) },
    { name: 1, type: 3, bytes: NAMES },
    { name: 11, type: 1, bytes: Buffer.alloc(64, 0x90) },
    ...content.map((bytes) => ({ name: 17, type: 1, bytes })),
  ];
  const header = Buffer.alloc(headerBytes);
  header.set([0x7f, 0x45, 0x4c, 0x46, isWide ? 2 : 1, isLittle ? 1 : 2, 1]);
  put(header, 16, 2, 2);
  put(header, 18, EM_X86_64, 2);
  put(header, 20, 1, 4);
  const parts: Buffer[] = [header];
  let at = headerBytes;
  const table = Buffer.alloc(bodies.length * entryBytes);
  for (const [index, { name, type, bytes }] of bodies.entries()) {
    const entry = index * entryBytes;
    put(table, entry, name, 4);
    put(table, entry + 4, type, 4);
    put(table, entry + (isWide ? 24 : 16), type === 0 ? 0 : at, word);
    put(table, entry + (isWide ? 32 : 20), bytes.length, word);
    put(table, entry + (isWide ? 48 : 32), 1, word);
    const padded = Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
    parts.push(padded);
    at += padded.length;
  }
  put(header, isWide ? 40 : 32, at, word);
  const tail = isWide ? 52 : 40;
  put(header, tail, headerBytes, 2);
  put(header, tail + 6, entryBytes, 2);
  put(header, tail + 8, bodies.length, 2);
  put(header, tail + 10, 1, 2);
  return Buffer.concat([...parts, table]);
}
