/** Files that a person names, whatever they are. */
import { readFile, stat } from "node:fs/promises";
import { FarmError } from "../base/error.ts";

/** @throws FarmError FILE_UNREADABLE */
export async function readNamedFile(file: string, limitBytes: number): Promise<Buffer> {
  const unreadable = (fact: string, cause?: unknown) =>
    new FarmError("FILE_UNREADABLE", { about: file, joint: " ", detail: fact, cause });
  try {
    const status = await stat(file);
    // Opening a pipe waits for its other end.
    if (!status.isFile()) throw unreadable("is not a regular file");
    if (status.size > limitBytes) throw unreadable(`has more than ${limitBytes} bytes`);
    return await readFile(file);
  } catch (thrown) {
    if (thrown instanceof FarmError) throw thrown;
    throw unreadable(`cannot be read (${(thrown as NodeJS.ErrnoException).code})`, thrown);
  }
}
