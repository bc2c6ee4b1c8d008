/**
 * The variables of a machine's firmware as EDK II keeps them in flash, which QEMU has as a file: a firmware volume that holds
 * a store of authenticated variables (MdeModulePkg's VariableFormat.h). Variables are appended to a template, as the
 * firmware itself would append them.
 */
import { malformed } from "./elf.ts";

/** A variable that is to be there, in place of one of the same name. */
export interface EfiVariable {
  readonly name: string;
  readonly vendor: string;
  readonly attributes: number;
  readonly data: Uint8Array;
}

const VOLUME_SIGNATURE_AT = 40;
const VOLUME_HEADER_SIZE_AT = 48;
const AUTHENTICATED_STORE = "aaf32c78-947b-439a-a180-2e144ec37792";
const STORE_HEADER_BYTES = 28;
const VARIABLE_HEADER_BYTES = 60;
const STARTS = 0x55aa;
const IS_ADDED = 0x3f;
/** What a variable becomes when it is replaced. */
const IS_DELETED = IS_ADDED & ~0x02;
const NAME_LIMIT_BYTES = 1024;

const NON_VOLATILE = 1;
const BOOT_SERVICES = 2;
const RUNTIME = 4;
const AUTHENTICATED_BY_TIME = 0x20;

const GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const IMAGE_SECURITY = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
const SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23";
const X509 = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072";

/** Secure Boot with the keys of one owner: what `allowed` signed may boot, and with the patch of Debian and Fedora be a module. */
export function secureBootVariables(
  owner: Uint8Array,
  allowed: readonly Uint8Array[],
): readonly EfiVariable[] {
  const attributes = NON_VOLATILE | BOOT_SERVICES | RUNTIME | AUTHENTICATED_BY_TIME;
  return [
    { name: "PK", vendor: GLOBAL, attributes, data: certificateLists([owner]) },
    { name: "KEK", vendor: GLOBAL, attributes, data: certificateLists([owner]) },
    { name: "db", vendor: IMAGE_SECURITY, attributes, data: certificateLists(allowed) },
  ];
}

/** What the machine's owner enrolled with shim's MokManager. */
export function mokVariables(certificates: readonly Uint8Array[]): readonly EfiVariable[] {
  const attributes = NON_VOLATILE | BOOT_SERVICES;
  return [{ name: "MokList", vendor: SHIM, attributes, data: certificateLists(certificates) }];
}

/** One EFI_SIGNATURE_LIST for each, as certificates differ in size (UEFI 32.4.1). */
function certificateLists(certificates: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    certificates.map((certificate) => {
      const sizes = Buffer.alloc(12);
      const signature = guidBytes(SHIM).length + certificate.length;
      sizes.writeUInt32LE(16 + sizes.length + signature, 0);
      sizes.writeUInt32LE(signature, 8);
      return Buffer.concat([guidBytes(X509), sizes, guidBytes(SHIM), certificate]);
    }),
  );
}

/**
 * Firmware's flash with variables in it; all else stays as it is.
 * @throws FarmError MODULE_MALFORMED for what is no store of authenticated variables, or has no room
 */
export function withVariables(flash: Uint8Array, variables: readonly EfiVariable[], what: string): Buffer {
  const bytes = Buffer.from(flash);
  const { first, end } = storeIn(bytes, what);
  let at = first;
  for (; isVariable(bytes, at, end); at = next(bytes, at, end, what))
    for (const { name, vendor } of variables)
      if (isNamed(bytes, at, name, vendor)) bytes[at + 2] = (bytes[at + 2] ?? 0) & IS_DELETED;
  for (const variable of variables) {
    const packed = packedVariable(variable);
    if (at + packed.length > end) throw malformed(what, "its store has no room for the variables");
    packed.copy(bytes, at);
    at = aligned(at + packed.length);
  }
  return bytes;
}

/** Where variables begin, and where their store ends. */
function storeIn(bytes: Buffer, what: string): { readonly first: number; readonly end: number } {
  const isVolume = bytes.length > 64 && bytes.toString("latin1", VOLUME_SIGNATURE_AT, 44) === "_FVH";
  if (!isVolume) throw malformed(what, "it is no firmware volume");
  const store = bytes.readUInt16LE(VOLUME_HEADER_SIZE_AT);
  if (
    store + STORE_HEADER_BYTES > bytes.length ||
    !guidBytes(AUTHENTICATED_STORE).equals(bytes.subarray(store, store + 16))
  )
    throw malformed(what, "it has no store of authenticated variables");
  const end = store + bytes.readUInt32LE(store + 16);
  if (end > bytes.length) throw malformed(what, "its store of variables is longer than the file");
  return { first: store + STORE_HEADER_BYTES, end };
}

function isVariable(bytes: Buffer, at: number, end: number): boolean {
  return at + VARIABLE_HEADER_BYTES <= end && bytes.readUInt16LE(at) === STARTS;
}

function next(bytes: Buffer, at: number, end: number, what: string): number {
  const [name, data] = [bytes.readUInt32LE(at + 36), bytes.readUInt32LE(at + 40)];
  const after = aligned(at + VARIABLE_HEADER_BYTES + name + data);
  if (name > NAME_LIMIT_BYTES || after > end) throw malformed(what, "a variable is longer than its store");
  return after;
}

function isNamed(bytes: Buffer, at: number, name: string, vendor: string): boolean {
  const size = bytes.readUInt32LE(at + 36);
  const start = at + VARIABLE_HEADER_BYTES;
  return (
    bytes.subarray(start, start + size).equals(nameBytes(name)) &&
    bytes.subarray(at + 44, at + 60).equals(guidBytes(vendor))
  );
}

function packedVariable({ name, vendor, attributes, data }: EfiVariable): Buffer {
  const header = Buffer.alloc(VARIABLE_HEADER_BYTES);
  const text = nameBytes(name);
  header.writeUInt16LE(STARTS, 0);
  header[2] = IS_ADDED;
  header.writeUInt32LE(attributes, 4);
  header.writeUInt32LE(text.length, 36);
  header.writeUInt32LE(data.length, 40);
  guidBytes(vendor).copy(header, 44);
  return Buffer.concat([header, text, data]);
}

function nameBytes(name: string): Buffer {
  return Buffer.from(`${name}\0`, "utf16le");
}

function aligned(offset: number): number {
  return Math.ceil(offset / 4) * 4;
}

/** A GUID as it lies in memory: the first three numbers with their lowest byte first. */
function guidBytes(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll("-", ""), "hex");
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}
