/**
 * What may follow a module's ELF file: a signature, a record of 12 bytes about it, and a marker. Source: the kernel's
 * include/uapi/linux/module_signature.h; for Merkle proofs the series "module: Introduce hash-based integrity
 * checking" (version 5). Only the last one counts, so there must be but one.
 */
import { type CmsSignature, readCms } from "./cms.ts";
import { malformed } from "./elf.ts";

export type ModuleSignature =
  | { readonly kind: "pkcs7"; readonly bytes: Uint8Array; readonly cms: CmsSignature }
  | {
      readonly kind: "merkle";
      readonly bytes: Uint8Array;
      /** Place of the module among those of its kernel, from 0. */
      readonly position: number;
      /** SHA-256 of each neighbour on the way up, the lowest first. */
      readonly siblings: readonly Uint8Array[];
    };

export interface SplitModule {
  /** What is signed: everything before the signature. */
  readonly content: Uint8Array;
  readonly signature?: ModuleSignature;
}

const MARKER = Buffer.from("~Module signature appended~\n", "latin1");
const RECORD_BYTES = 12;
const PKCS7 = 2;
export const MERKLE = 3;
const POSITION_BYTES = 4;
const HASH_BYTES = 32;
/** A tree of 2^32 leaves. */
const MOST_LEVELS = 32;

/** What follows the signature, so that the three behind a module are the signed module. */
export function signatureTrailer(signature: Uint8Array, kind: ModuleSignature["kind"] = "pkcs7"): Buffer {
  const record = Buffer.alloc(RECORD_BYTES);
  record[2] = kind === "pkcs7" ? PKCS7 : MERKLE;
  record.writeUInt32BE(signature.length, 8);
  return Buffer.concat([record, MARKER]);
}

/** A record as it stands, good or not. */
export interface TrailerRecord {
  readonly type: number;
  /** What it says of the signature before it. */
  readonly length: number;
  /** Whether the fields that no kind of signature uses are zero. */
  readonly isClean: boolean;
  /** Where it begins in the file. */
  readonly at: number;
}

/** The record before the marker. `cut` is a marker with nothing before it that could be a record behind something. */
export function readRecord(bytes: Uint8Array): TrailerRecord | "unsigned" | "cut" {
  if (bytes.length === MARKER.length || !endsWithMarker(bytes)) return "unsigned";
  const at = bytes.length - MARKER.length - RECORD_BYTES;
  if (at <= 0) return "cut";
  const record = new DataView(bytes.buffer, bytes.byteOffset + at, RECORD_BYTES);
  return {
    type: record.getUint8(2),
    length: record.getUint32(8, false),
    isClean: [0, 1, 3, 4, 5, 6, 7].every((field) => record.getUint8(field) === 0),
    at,
  };
}

interface CutModule {
  /** What is signed: everything before the signature. */
  readonly content: Uint8Array;
  readonly trailer?: { readonly type: number; readonly signature: Uint8Array };
}

/**
 * Parts a module from its signature, whatever kind that is.
 * @throws FarmError MODULE_MALFORMED
 */
export function cutSignature(bytes: Uint8Array, what: string): CutModule {
  const record = readRecord(bytes);
  if (record === "unsigned") return { content: bytes };
  if (record === "cut") throw malformed(what, "its signature is cut off");
  const { type, length, isClean, at } = record;
  if (!isClean) throw malformed(what, "its signature has a malformed record");
  if (length === 0 || length >= at) throw malformed(what, `its signature claims ${length} bytes of ${at}`);
  const content = bytes.subarray(0, at - length);
  // The kernel looks at the last signature only; the first would be unexplained bytes behind the ELF file.
  if (endsWithMarker(content)) throw malformed(what, "it is signed twice");
  return { content, trailer: { type, signature: bytes.subarray(at - length, at) } };
}

/**
 * Parts a module from its signature; whether that is a good one is not judged here.
 * @throws FarmError MODULE_MALFORMED
 */
export function splitSignature(bytes: Uint8Array, what: string): SplitModule {
  const { content, trailer } = cutSignature(bytes, what);
  return trailer === undefined
    ? { content }
    : { content, signature: readSignature(trailer.type, trailer.signature, what) };
}

function readSignature(type: number, bytes: Uint8Array, what: string): ModuleSignature {
  switch (type) {
    case PKCS7:
      return { kind: "pkcs7", bytes, cms: readCms(bytes, what) };
    case MERKLE:
      return { kind: "merkle", bytes, ...readProof(bytes, what) };
    default:
      throw malformed(what, `its signature is of the unknown type ${type}`);
  }
}

function readProof(bytes: Uint8Array, what: string) {
  const levels = (bytes.length - POSITION_BYTES) / HASH_BYTES;
  if (!Number.isInteger(levels) || levels < 1 || levels > MOST_LEVELS)
    throw malformed(what, `its Merkle proof has ${bytes.length} bytes`);
  return {
    position: new DataView(bytes.buffer, bytes.byteOffset, POSITION_BYTES).getUint32(0, false),
    siblings: Array.from({ length: levels }, (_, level) => {
      const start = POSITION_BYTES + level * HASH_BYTES;
      return bytes.subarray(start, start + HASH_BYTES);
    }),
  };
}

export function endsWithMarker(bytes: Uint8Array): boolean {
  const start = bytes.length - MARKER.length;
  return start >= 0 && MARKER.equals(bytes.subarray(start));
}
