/** rpm packages taken apart and put together otherwise, as no tool makes them. */
import { createHash } from "node:crypto";

const LEAD_BYTES = 96;
const INTRO_BYTES = 16;
const ENTRY_BYTES = 16;
const REGION_TAG = 62;
const TYPE = { int32: 4, string: 6, bytes: 7, strings: 8 } as const;

export interface RpmParts {
  readonly lead: Buffer;
  /** The signature header, as it is in the package. */
  readonly signatures: Buffer;
  /** With its intro: what is signed. */
  readonly header: Buffer;
  readonly payload: Buffer;
}

export function partsOfRpm(bytes: Buffer): RpmParts {
  const signatures = headerAt(bytes, LEAD_BYTES);
  const after = LEAD_BYTES + signatures.length;
  const header = headerAt(bytes, after + ((8 - (after % 8)) % 8));
  const lead = bytes.subarray(0, LEAD_BYTES);
  return { lead, signatures, header, payload: bytes.subarray(bytes.indexOf(header) + header.length) };
}

function headerAt(bytes: Buffer, at: number): Buffer {
  const size = bytes.readUInt32BE(at + 8) * ENTRY_BYTES + bytes.readUInt32BE(at + 12);
  return bytes.subarray(at, at + INTRO_BYTES + size);
}

/** What a signature header may hold; digests that fit are always there, as rpm wants them. */
export interface Signatures {
  /** Over the header: tags RSAHEADER and DSAHEADER. */
  readonly rsa?: Buffer;
  readonly dsa?: Buffer;
  /** Over header and payload, as before rpm 4.14. */
  readonly legacy?: Buffer;
  /** Several, as rpm 6 keeps them. */
  readonly openpgp?: readonly Buffer[];
}

/** The same package with other signatures. */
export function withSignatures(
  { lead, header, payload }: Omit<RpmParts, "signatures">,
  made: Signatures,
): Buffer {
  const { rsa, dsa, legacy, openpgp } = made;
  const size = Buffer.alloc(4);
  size.writeUInt32BE(header.length + payload.length);
  const text = (value: string) => Buffer.from(`${value}\0`);
  const hex = (algorithm: string) => createHash(algorithm).update(header).digest("hex");
  const whole = createHash("md5").update(header).update(payload).digest();
  const entries: (readonly [tag: number, type: number, value: Buffer, count?: number])[] = [
    ...(dsa === undefined ? [] : [[267, TYPE.bytes, dsa] as const]),
    ...(rsa === undefined ? [] : [[268, TYPE.bytes, rsa] as const]),
    [269, TYPE.string, text(hex("sha1")), 1],
    [273, TYPE.string, text(hex("sha256")), 1],
    ...(openpgp === undefined
      ? []
      : [
          [
            278,
            TYPE.strings,
            Buffer.concat(openpgp.map((one) => text(one.toString("base64")))),
            openpgp.length,
          ] as const,
        ]),
    [1000, TYPE.int32, size, 1],
    ...(legacy === undefined ? [] : [[1002, TYPE.bytes, legacy] as const]),
    [1004, TYPE.bytes, whole],
  ];
  const signatures = headerOf(entries);
  const padding = Buffer.alloc((8 - (signatures.length % 8)) % 8);
  return Buffer.concat([lead, signatures, padding, header, payload]);
}

function headerOf(entries: readonly (readonly [number, number, Buffer, number?])[]): Buffer {
  const index: Buffer[] = [];
  let store = Buffer.alloc(0);
  for (const [tag, type, value, count = value.length] of entries) {
    if (type === TYPE.int32) store = Buffer.concat([store, Buffer.alloc((4 - (store.length % 4)) % 4)]);
    index.push(words(tag, type, store.length, count));
    store = Buffer.concat([store, value]);
  }
  const bytes = (entries.length + 1) * ENTRY_BYTES;
  const region = words(REGION_TAG, TYPE.bytes, store.length, ENTRY_BYTES);
  store = Buffer.concat([store, words(REGION_TAG, TYPE.bytes, -bytes, ENTRY_BYTES)]);
  const intro = Buffer.concat([
    Buffer.from("8eade80100000000", "hex"),
    words(entries.length + 1, store.length),
  ]);
  return Buffer.concat([intro, region, ...index, store]);
}

function words(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(numbers.length * 4);
  for (const [at, number] of numbers.entries()) bytes.writeInt32BE(number, at * 4);
  return bytes;
}

/** A header whose entry has another tag: what was found by the first is found by the second. */
export function renamedTag(header: Buffer, from: number, to: number): Buffer {
  const changed = Buffer.from(header);
  for (let index = 0; index < header.readUInt32BE(8); index++) {
    const at = INTRO_BYTES + index * ENTRY_BYTES;
    if (header.readUInt32BE(at) === from) changed.writeUInt32BE(to, at);
  }
  return changed;
}
