/** A file that a person or a setting names: it may be a device that never ends. */
import { createReadStream } from "node:fs";

/** Rejects with the system's own error where the file cannot be read, and with EFBIG where it has more than `limitBytes`. */
export async function readAtMost(file: string, limitBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  // `end` is the last byte that is read: one more than may be there.
  for await (const piece of createReadStream(file, { end: limitBytes })) {
    pieces.push(piece);
    size += piece.length;
  }
  if (size > limitBytes)
    throw Object.assign(new Error(`${file} has more than ${limitBytes} bytes`), { code: "EFBIG" });
  return Buffer.concat(pieces);
}
