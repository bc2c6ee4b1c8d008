/**
 * Reads DER (ITU-T X.690), and nothing that is only BER: one encoding for one value, so that what a signature
 * covers and what we read are the same bytes. Lengths are bounded before they are used.
 */
import { malformed } from "./elf.ts";

export interface DerValue {
  /** The identifier octet: class, constructed bit, tag number. */
  readonly tag: number;
  /** A view of the value's bytes, without tag and length. */
  readonly content: Uint8Array;
  /** The same with tag and length. */
  readonly whole: Uint8Array;
}

export const DER = {
  integer: 0x02,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  sequence: 0x30,
  set: 0x31,
  /** Context-specific and constructed: `[n]`. */
  tagged: (number: number) => 0xa0 | number,
  /** Context-specific and primitive: `[n] IMPLICIT` of a string or number. */
  implicit: (number: number) => 0x80 | number,
} as const;

const LONG_TAG = 0x1f;
const LONGEST_LENGTH_BYTES = 4;

/** Values one after another that fill `bytes` to the end. @throws FarmError MODULE_MALFORMED */
export function readDerValues(bytes: Uint8Array, what: string): DerValue[] {
  const values: DerValue[] = [];
  for (let at = 0; at < bytes.length; ) {
    const value = readDerValue(bytes, at, what);
    values.push(value);
    at += value.whole.length;
  }
  return values;
}

/** The value that begins at an offset; what follows it is not looked at. @throws FarmError MODULE_MALFORMED */
export function readDerValue(bytes: Uint8Array, at: number, what: string): DerValue {
  const bad = (fact: string) => malformed(what, `its DER ${fact}`);
  const [tag, first] = [bytes[at], bytes[at + 1]];
  if (tag === undefined || first === undefined) throw bad("is cut off");
  if ((tag & LONG_TAG) === LONG_TAG) throw bad("has a tag of several bytes");
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || lengthBytes > LONGEST_LENGTH_BYTES) throw bad("has a length that DER does not have");
  const start = at + 2 + lengthBytes;
  if (start > bytes.length) throw bad("is cut off");
  const length =
    first < 0x80 ? first : bytes.subarray(at + 2, start).reduce((sum, byte) => sum * 256 + byte, 0);
  const isShortest = first < 0x80 || (length >= 0x80 && bytes[at + 2] !== 0);
  if (!isShortest) throw bad("has a length that is not the shortest");
  if (start + length > bytes.length) throw bad("has a value that is longer than what holds it");
  return { tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) };
}

/** `2.16.840.1.101.3.4.2.1`; each number must be in its shortest form and below 2^32. */
export function readObjectIdentifier({ content }: DerValue, what: string): string {
  const bad = () => malformed(what, "its DER has a malformed object identifier");
  const numbers: number[] = [];
  let [number, isBegun] = [0, false];
  for (const byte of content) {
    if (!isBegun && byte === 0x80) throw bad();
    number = number * 128 + (byte & 0x7f);
    if (number >= 2 ** 32) throw bad();
    isBegun = (byte & 0x80) !== 0;
    if (isBegun) continue;
    numbers.push(number);
    number = 0;
  }
  const [head, ...rest] = numbers;
  if (isBegun || head === undefined) throw bad();
  const first = Math.min(2, Math.floor(head / 40));
  return [first, head - first * 40, ...rest].join(".");
}

/** The bytes of a positive integer, without the zero that only keeps it positive, in lower-case hexadecimal. */
export function readPositiveInteger({ tag, content }: DerValue, what: string): string {
  const [first = 0x80, second = 0x80] = content;
  const isShortest = content.length === 1 || first !== 0 || second >= 0x80;
  if (tag !== DER.integer || first >= 0x80 || !isShortest)
    throw malformed(what, "its DER has a malformed number");
  const digits = Buffer.from(content).toString("hex");
  return content.length > 1 && first === 0 ? digits.slice(2) : digits;
}
