/**
 * Writes DER (ITU-T X.690), as formats/der.ts reads it.
 */
import { DER } from "./der.ts";

/** One value: what it holds is bytes, or values that were written before. */
export function writeDer(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Uint8Array.of(tag, ...lengthOf(content.length)), content]);
}

/** `2.16.840.1.101.3.4.2.1` */
export function writeObjectIdentifier(name: string): Buffer {
  const [first = 0, second = 0, ...rest] = name.split(".").map(Number);
  return writeDer(DER.objectIdentifier, Buffer.from([first * 40 + second, ...rest].flatMap(inSevens)));
}

/** A positive integer, from hexadecimal digits. */
export function writePositiveInteger(hex: string): Buffer {
  const even = hex.length % 2 === 0 ? hex : `0${hex}`;
  // Without a zero before it, a number of which the highest bit is set would be negative.
  return writeDer(
    DER.integer,
    Buffer.from(Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even, "hex"),
  );
}

function lengthOf(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes = bytesOf(length);
  return [0x80 | bytes.length, ...bytes];
}

function bytesOf(number: number): number[] {
  return number === 0 ? [] : [...bytesOf(Math.floor(number / 256)), number % 256];
}

/** Seven bits a byte, with a mark on all but the last. */
function inSevens(number: number): number[] {
  const high = Math.floor(number / 128);
  return high === 0 ? [number] : [...inSevens(high).map((byte) => byte | 0x80), number % 128];
}
