/**
 * The header of a module's type information (`.BTF`): a kernel that reads types refuses a module whose types it cannot
 * read. Source: the kernel's Documentation/bpf/btf.rst, section 2.1.
 */
import { malformed } from "./elf.ts";

const MAGIC = 0xeb9f;
const VERSION = 1;
/** Later kernels may add to it. */
const HEADER_BYTES = 24;

/** @throws FarmError MODULE_MALFORMED for what no kernel reads */
export function checkBtf(bytes: Uint8Array, what: string): void {
  const fault = (fact: string) => malformed(what, `its section .BTF ${fact}`);
  if (bytes.length < HEADER_BYTES) throw fault("is shorter than its header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) !== MAGIC) throw fault("does not begin as type information does");
  if (view.getUint8(2) !== VERSION) throw fault(`has the version ${view.getUint8(2)}, not ${VERSION}`);
  const headerBytes = view.getUint32(4, true);
  if (headerBytes < HEADER_BYTES || headerBytes > bytes.length)
    throw fault(`declares a header of ${headerBytes} bytes`);
  for (const [name, at] of [
    ["types", 8],
    ["strings", 16],
  ] as const) {
    const end = headerBytes + view.getUint32(at, true) + view.getUint32(at + 4, true);
    if (end > bytes.length) throw fault(`ends before its ${name}`);
  }
}
