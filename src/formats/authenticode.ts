/**
 * Who signed an EFI program: the certificates that its Authenticode signatures carry. Source: Microsoft's PE format, and
 * CMS (RFC 5652). Whether the signatures are good is the firmware's to say.
 */
import { DER, readDerValue, readDerValues } from "./der.ts";
import { malformed } from "./elf.ts";

const PE_OFFSET_AT = 0x3c;
const OPTIONAL_HEADER_AT = 24;
const PE32_PLUS = 0x20b;
/** The fifth data directory, behind the fixed part of a PE32+ header. */
const CERTIFICATE_TABLE_AT = 112 + 4 * 8;
const PKCS_SIGNED_DATA = 2;
const ENTRY_HEADER_BYTES = 8;
const MOST_SIGNATURES = 16;

/** DER of each certificate, each once; none if it is not signed. @throws FarmError MODULE_MALFORMED */
export function signersOf(bytes: Uint8Array, what: string): readonly Uint8Array[] {
  const found = new Map<string, Uint8Array>();
  for (const signature of signaturesOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), what))
    for (const certificate of certificatesIn(signature, what))
      found.set(Buffer.from(certificate).toString("latin1"), certificate);
  return [...found.values()];
}

function signaturesOf(file: Buffer, what: string): Buffer[] {
  const pe =
    file.length >= 0x40 && file.toString("latin1", 0, 2) === "MZ" ? file.readUInt32LE(PE_OFFSET_AT) : -1;
  const header = pe + OPTIONAL_HEADER_AT;
  const isProgram =
    pe >= 0 &&
    header + CERTIFICATE_TABLE_AT + 8 <= file.length &&
    file.toString("latin1", pe, pe + 4) === "PE\0\0" &&
    file.readUInt16LE(header) === PE32_PLUS;
  if (!isProgram) throw malformed(what, "it is no EFI program");
  const from = file.readUInt32LE(header + CERTIFICATE_TABLE_AT);
  const end = from + file.readUInt32LE(header + CERTIFICATE_TABLE_AT + 4);
  if (end > file.length) throw malformed(what, "its signatures are not inside the file");
  const signatures: Buffer[] = [];
  for (let at = from; at + ENTRY_HEADER_BYTES <= end; ) {
    const length = file.readUInt32LE(at);
    const isWhole = length > ENTRY_HEADER_BYTES && at + length <= end;
    if (!isWhole || signatures.length === MOST_SIGNATURES)
      throw malformed(what, "its list of signatures is damaged");
    if (file.readUInt16LE(at + 6) === PKCS_SIGNED_DATA)
      signatures.push(file.subarray(at + ENTRY_HEADER_BYTES, at + length));
    at += Math.ceil(length / 8) * 8;
  }
  return signatures;
}

/** SignedData: version, digests, content, and then [0] with the certificates. */
function certificatesIn(signature: Buffer, what: string): Uint8Array[] {
  const [, explicit] = readDerValues(readDerValue(signature, 0, what).content, what);
  const signed = explicit?.tag === DER.tagged(0) ? readDerValue(explicit.content, 0, what) : undefined;
  const fields = signed?.tag === DER.sequence ? readDerValues(signed.content, what) : [];
  const list = fields.find(({ tag }) => tag === DER.tagged(0));
  return list === undefined ? [] : readDerValues(list.content, what).map(({ whole }) => whole);
}
