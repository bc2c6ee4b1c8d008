/** Files that a person names, whatever they are. */
import { stat } from "node:fs/promises";
import { FarmError } from "../base/error.ts";
import { readAtMost } from "../base/read-at-most.ts";

/** @throws FarmError FILE_UNREADABLE */
export async function readNamedFile(file: string, limitBytes: number): Promise<Buffer> {
  const unreadable = (fact: string, cause?: unknown) =>
    new FarmError("FILE_UNREADABLE", { about: file, joint: " ", detail: fact, cause });
  try {
    const status = await stat(file);
    // Opening a pipe waits for its other end.
    if (!status.isFile()) throw unreadable("is not a regular file");
    return await readAtMost(file, limitBytes);
  } catch (thrown) {
    if (thrown instanceof FarmError) throw thrown;
    if ((thrown as NodeJS.ErrnoException).code === "EFBIG")
      throw new FarmError("FILE_UNREADABLE", {
        ...{ about: file, joint: " ", detail: `has more than ${limitBytes} bytes` },
        hint: "Name the file that was meant: those of this kind are smaller.",
      });
    throw unreadable(`cannot be read (${(thrown as NodeJS.ErrnoException).code})`, thrown);
  }
}
