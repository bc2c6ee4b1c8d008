/**
 * C2SP signed notes (c2sp.org/signed-note): a text, a blank line, and signatures of the text, one a line. Those that nodes
 * verify are ECDSA (type 0x02) over P-256 and SHA-256, which `openssl dgst` does since 1.0.2; those of logs and their
 * witnesses are Ed25519 (0x01), and cosignatures with a time (0x04, c2sp.org/tlog-cosignature).
 */
import { createHash, verify } from "node:crypto";
import { FarmError } from "../base/error.ts";
import { type Digest, hexOf } from "../base/json.ts";
import { malformed, readText } from "./lines.ts";
import type { PublicKey } from "./public-key.ts";

export interface NoteSignature {
  /** The origin, as the signer wrote it. Key ids and names only say which signatures need not be tried. */
  readonly name: string;
  readonly keyId: Uint8Array;
  /** ECDSA in DER, Ed25519 in 64 bytes; a cosignature's time before it in eight. */
  readonly signature: Uint8Array;
}

export interface SignedNote {
  /** What is signed, to its last newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

const MOST_SIGNATURES = 16;
const KEY_ID_BYTES = 4;
/** An em dash in UTF-8 begins each signature. */
const DASH = Buffer.from("— ");
/** Names of origins: a host's name and a path below it. */
const ORIGIN = /^[A-Za-z0-9][A-Za-z0-9._~/-]{0,127}$/;
const SIGNATURE_LINE = /^— (\S{1,128}) ([A-Za-z0-9+/]{8,4000}={0,2})$/;

export function isOrigin(name: string): boolean {
  return ORIGIN.test(name);
}

/** @throws FarmError NOTE_MALFORMED, and nothing else */
export function readNote(bytes: Uint8Array, limitBytes: number, what: string): SignedNote {
  if (bytes.length > limitBytes) throw malformed(what, `it has more than ${limitBytes} bytes`);
  const all = Buffer.from(bytes);
  const blank = all.indexOf("\n\n");
  if (blank === -1) throw malformed(what, "it has no blank line before its signatures");
  const text = readText(all.subarray(0, blank + 1), limitBytes, what);
  const tail = all.subarray(blank + 2);
  if (tail.at(-1) !== 0x0a) throw malformed(what, "it does not end with a newline");
  const lines = splitLines(tail.subarray(0, -1));
  if (lines.length > MOST_SIGNATURES) throw malformed(what, `it has more than ${MOST_SIGNATURES} signatures`);
  return { text, signatures: lines.map((line) => readSignature(line, what)) };
}

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; ; ) {
    const end = bytes.indexOf(0x0a, start);
    lines.push(bytes.subarray(start, end === -1 ? undefined : end));
    if (end === -1) return lines;
    start = end + 1;
  }
}

function readSignature(line: Buffer, what: string): NoteSignature {
  const fault = () => malformed(what, "it has a line that is not a signature");
  const isAscii = line.subarray(DASH.length).every((byte) => byte > 0x1f && byte < 0x7f);
  if (!line.subarray(0, DASH.length).equals(DASH) || !isAscii) throw fault();
  const [, name = "", encoded = ""] = SIGNATURE_LINE.exec(line.toString("utf8")) ?? [];
  const decoded = Buffer.from(encoded, "base64");
  // One signature has one spelling.
  if (decoded.length <= KEY_ID_BYTES || decoded.toString("base64") !== encoded) throw fault();
  return { name, keyId: decoded.subarray(0, KEY_ID_BYTES), signature: decoded.subarray(KEY_ID_BYTES) };
}

export function writeNote({ text, signatures }: SignedNote): string {
  const lines = signatures.map(
    ({ name, keyId, signature }) => `— ${name} ${Buffer.concat([keyId, signature]).toString("base64")}\n`,
  );
  return `${text}\n${lines.join("")}`;
}

/** A signature as a note carries it. */
export function noteSignature(origin: string, key: PublicKey, signature: Uint8Array): NoteSignature {
  return { name: origin, keyId: keyIdOf(key, origin), signature };
}

const [ED25519, COSIGNATURE] = [0x01, 0x04];
const ED25519_BYTES = 32;

/** Of ECDSA it is the beginning of the fingerprint, of Ed25519 that of the name, the type and the key itself. */
function keyIdOf(key: PublicKey, name: string, type = ED25519): Uint8Array {
  if (key.kind !== "ed25519") return Buffer.from(hexOf(key.fingerprint), "hex").subarray(0, KEY_ID_BYTES);
  const bytes = Buffer.concat([Buffer.from(`${name}\n`), typedKey(key, type)]);
  return createHash("sha256").update(bytes).digest().subarray(0, KEY_ID_BYTES);
}

/** An SPKI of Ed25519 ends with the key. */
function typedKey({ spki }: PublicKey, type: number): Buffer {
  return Buffer.concat([Buffer.of(type), Buffer.from(spki).subarray(-ED25519_BYTES)]);
}

/** An Ed25519 key as programs for logs take it: `NAME+KEYID+BASE64`. */
export function verifierKey(key: PublicKey, name: string): string {
  const id = Buffer.from(keyIdOf(key, name)).toString("hex");
  return `${name}+${id}+${typedKey(key, ED25519).toString("base64")}`;
}

/**
 * Which of some keys signed a note: each counts once, however many lines it has. Signatures of others are passed over.
 * @throws FarmError METADATA_UNSIGNED for a line that claims to be of one of the keys and is not
 */
export function signersOf(
  { text, signatures }: SignedNote,
  origin: string,
  keys: readonly PublicKey[],
  what: string,
): ReadonlySet<Digest> {
  const signers = new Set<Digest>();
  const message = Buffer.from(text);
  for (const { name, keyId, signature } of signatures) {
    const claimed = keys.filter(
      (key) => name === origin && keyIdOf(key, name).every((byte, at) => byte === keyId[at]),
    );
    if (claimed.length === 0) continue;
    const signer = claimed.find((key) => isSignature(message, key, signature));
    if (signer === undefined)
      throw new FarmError("METADATA_UNSIGNED", {
        about: what,
        detail: `a signature of the key ${claimed[0]?.fingerprint} is wrong`,
      });
    signers.add(signer.fingerprint);
  }
  return signers;
}

const TIME_BYTES = 8;

/** What a witness signs: the note, and when it saw that. */
export function cosignedText(text: string, seconds: number): string {
  return `cosignature/v1\ntime ${seconds}\n${text}`;
}

/** A cosignature as a note carries it, under the witness's own name. */
export function noteCosignature(
  name: string,
  key: PublicKey,
  seconds: number,
  signature: Uint8Array,
): NoteSignature {
  const time = Buffer.alloc(TIME_BYTES);
  time.writeBigUInt64BE(BigInt(seconds));
  return { name, keyId: keyIdOf(key, name, COSIGNATURE), signature: Buffer.concat([time, signature]) };
}

/**
 * Which of some keys cosigned a note, whatever name they did it under: each counts once.
 * @throws FarmError METADATA_UNSIGNED for a line that claims to be of one of the keys and is not
 */
export function cosignersOf(
  { text, signatures }: SignedNote,
  keys: readonly PublicKey[],
  what: string,
): ReadonlySet<Digest> {
  const cosigners = new Set<Digest>();
  for (const { name, keyId, signature } of signatures) {
    const claimed = keys.filter((key) =>
      keyIdOf(key, name, COSIGNATURE).every((byte, at) => byte === keyId[at]),
    );
    if (claimed.length === 0) continue;
    const bytes = Buffer.from(signature);
    const time = bytes.length > TIME_BYTES ? bytes.readBigUInt64BE(0) : 0n;
    const message = Buffer.from(cosignedText(text, Number(time)));
    const signer = claimed.find(
      (key) =>
        time <= BigInt(Number.MAX_SAFE_INTEGER) && isSignature(message, key, bytes.subarray(TIME_BYTES)),
    );
    if (signer === undefined)
      throw new FarmError("METADATA_UNSIGNED", {
        about: what,
        detail: `a cosignature of the witness ${claimed[0]?.fingerprint} is wrong`,
      });
    cosigners.add(signer.fingerprint);
  }
  return cosigners;
}

function isSignature(message: Uint8Array, { kind, key }: PublicKey, signature: Uint8Array): boolean {
  if (kind === "ed25519") return signature.length === 64 && verify(null, message, key, signature);
  if (kind !== "p256") return false;
  try {
    return verify("sha256", message, { key, dsaEncoding: "der" }, signature);
  } catch {
    // OpenSSL may refuse what is not DER with an error.
    return false;
  }
}
