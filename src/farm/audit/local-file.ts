/**
 * Files of this machine that a person named the place of, whole and in one go: as large as somebody made them.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { FarmError, isErrno } from "../../base/error.ts";

/** Four times what a module may unpack to. */
export const FILE_LIMIT_BYTES = 512 * 1024 * 1024;

/**
 * All of a file; a thread for each step, as Node's asynchronous calls have it, costs more than small files do. `memoryFor`
 * gives the memory that it is read into.
 * @throws FarmError FILE_UNREADABLE, whose detail says why without naming the file
 */
export function readLocalFile(
  file: string,
  limitBytes: number,
  memoryFor: (size: number) => Buffer = (size) => Buffer.alloc(size),
): Buffer {
  try {
    // Opening a pipe waits for its other end.
    const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return readOpen(descriptor, limitBytes, memoryFor);
    } finally {
      closeSync(descriptor);
    }
  } catch (thrown) {
    if (!isErrno(thrown) || thrown instanceof FarmError) throw thrown;
    throw unreadable(`it cannot be read (${thrown.code})`, thrown);
  }
}

function readOpen(descriptor: number, limitBytes: number, memoryFor: (size: number) => Buffer): Buffer {
  const found = fstatSync(descriptor);
  if (!found.isFile()) throw unreadable("it is no longer a regular file");
  if (found.size > limitBytes) throw unreadable(`it is larger than ${limitBytes} bytes`);
  const bytes = memoryFor(found.size);
  let at = 0;
  for (let got = -1; got !== 0 && at < bytes.length; at += got)
    got = readSync(descriptor, bytes, at, bytes.length - at, at);
  return bytes.subarray(0, at);
}

function unreadable(detail: string, cause?: unknown): FarmError {
  return new FarmError("FILE_UNREADABLE", { detail, cause });
}
