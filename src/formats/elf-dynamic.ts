/**
 * What a dynamic program or library says of libraries: its own name, those it needs, and who loads it. Source: the ELF
 * gABI, chapter 5. 64-bit and little-endian only; of files that a distribution signed for.
 */
export interface DynamicElf {
  readonly soname?: string;
  readonly needed: readonly string[];
  /** `/lib64/ld-linux-x86-64.so.2` of a program. */
  readonly interpreter?: string;
}

const [PT_LOAD, PT_DYNAMIC, PT_INTERP] = [1, 2, 3];
const [DT_NEEDED, DT_STRTAB, DT_SONAME] = [1, 5, 14];
const MAX_ENTRIES = 1000;

/** Undefined for what is no such file. */
export function readDynamicElf(bytes: Buffer): DynamicElf | undefined {
  try {
    return bytes.toString("latin1", 0, 6) === "\x7fELF\x02\x01" ? readDynamic(bytes) : undefined;
  } catch (thrown) {
    if (thrown instanceof RangeError) return undefined;
    throw thrown;
  }
}

function readDynamic(bytes: Buffer): DynamicElf | undefined {
  const [table, count] = [Number(bytes.readBigUInt64LE(32)), bytes.readUInt16LE(56)];
  const segments = Array.from({ length: Math.min(count, 64) }, (_, index) => {
    const at = table + index * 56;
    const [offset, address, size] = [8, 16, 32].map((field) => Number(bytes.readBigUInt64LE(at + field)));
    return { type: bytes.readUInt32LE(at), offset, address, size } as Record<
      "type" | "offset" | "address" | "size",
      number
    >;
  });
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) return undefined;
  const entries: [tag: number, value: number][] = [];
  for (
    let at = dynamic.offset;
    at + 16 <= dynamic.offset + dynamic.size && entries.length < MAX_ENTRIES;
    at += 16
  )
    entries.push([Number(bytes.readBigInt64LE(at)), Number(bytes.readBigUInt64LE(at + 8))]);
  const address = entries.find(([tag]) => tag === DT_STRTAB)?.[1] ?? Number.NaN;
  const home = segments.find(
    (one) => one.type === PT_LOAD && address >= one.address && address < one.address + one.size,
  );
  if (home === undefined) return undefined;
  const strings = address - home.address + home.offset;
  const textAt = (offset: number) => bytes.toString("utf8", offset, bytes.indexOf(0, offset));
  const soname = entries.find(([tag]) => tag === DT_SONAME)?.[1];
  const program = segments.find(({ type }) => type === PT_INTERP);
  return {
    needed: entries.filter(([tag]) => tag === DT_NEEDED).map(([, value]) => textAt(strings + value)),
    ...(soname === undefined ? {} : { soname: textAt(strings + soname) }),
    ...(program === undefined ? {} : { interpreter: textAt(program.offset) }),
  };
}
