/** A file as a stream, for readers that may stop before its end. */
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";

/** Closes the file whatever `consume` leaves of it: a stream that nobody reads to its end keeps its descriptor for ever. */
export async function streamFile<T>(file: string, consume: (body: Readable) => Promise<T>): Promise<T> {
  const body = createReadStream(file);
  try {
    return await consume(body);
  } finally {
    body.destroy();
  }
}
