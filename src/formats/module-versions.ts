/**
 * The CRCs that a module was built with: one for each symbol it imports, and for the layout of `struct module`.
 * Source: the kernel's scripts/mod/modpost.c and kernel/module/version.c, read for their formats.
 */
import { type Elf, malformed, sectionNamed } from "./elf.ts";

/** `unsigned long crc; char name[56]`, on 64-bit machines. */
const ENTRY_BYTES = 64;
const CRC_BYTES = 8;
/** Many times what the module with the most imports has. */
const MAX_VERSIONS = 1 << 16;

/**
 * Symbol → CRC; undefined for a module without any, whose kernel has no CONFIG_MODVERSIONS. The extended tables of
 * Linux 6.14 may repeat what the old one says, but not contradict it.
 * @throws FarmError MODULE_MALFORMED
 */
export function readVersions(elf: Elf, what: string): ReadonlyMap<string, number> | undefined {
  const versions = new Map<string, number>();
  const add = (name: string, crc: number) => {
    if (name === "") throw malformed(what, "it has a version for a symbol without a name");
    if ((versions.get(name) ?? crc) !== crc)
      throw malformed(what, `it has two versions for ${JSON.stringify(name)}`);
    versions.set(name, crc);
  };
  const plain = sectionNamed(elf, "__versions", what);
  if (plain !== undefined) readPlain(plain.bytes, add, what);
  const crcs = sectionNamed(elf, "__version_ext_crcs", what);
  const names = sectionNamed(elf, "__version_ext_names", what);
  if ((crcs === undefined) !== (names === undefined))
    throw malformed(what, "it has one of the two tables of extended versions");
  if (crcs !== undefined && names !== undefined) readExtended(crcs.bytes, names.bytes, add, what);
  return plain === undefined && crcs === undefined ? undefined : versions;
}

type Add = (name: string, crc: number) => void;

function readPlain(bytes: Uint8Array, add: Add, what: string): void {
  const count = bytes.length / ENTRY_BYTES;
  if (!Number.isInteger(count) || count > MAX_VERSIONS)
    throw malformed(what, `its section __versions has ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
    if (view.getUint32(at + 4, true) !== 0) throw malformed(what, "one of its versions is longer than a CRC");
    const name = bytes.subarray(at + CRC_BYTES, at + ENTRY_BYTES);
    const end = name.indexOf(0);
    if (end === -1 || name.subarray(end).some((byte) => byte !== 0))
      throw malformed(what, "one of its versions has a name without end");
    add(latin1(name.subarray(0, end)), view.getUint32(at, true));
  }
}

function readExtended(crcs: Uint8Array, names: Uint8Array, add: Add, what: string): void {
  const all = latin1(names).split("\0");
  const isClosed = all.pop() === "";
  if (crcs.length % 4 !== 0 || !isClosed || all.length !== crcs.length / 4 || all.length > MAX_VERSIONS)
    throw malformed(what, `it has ${crcs.length / 4} extended versions for ${all.length} symbols`);
  const view = new DataView(crcs.buffer, crcs.byteOffset, crcs.byteLength);
  for (const [index, name] of all.entries()) add(name, view.getUint32(index * 4, true));
}

/** Symbols are bytes to the kernel; no two of them may become one. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
