/**
 * Matrices in and out of files: as streams, so that their size is the disk's concern.
 */
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { parseDocument } from "../base/json.ts";
import { AnyMatrix, type Element } from "../matrix/element.ts";
import { isLineMatrix, matrixLines, parseMatrixLines } from "../matrix/stream.ts";
import { readText } from "./input.ts";
import { print } from "./output.ts";

const CHUNK_CHARACTERS = 1 << 20;

export async function printMatrix(elements: Iterable<Element>): Promise<void> {
  let chunk = "";
  for (const line of matrixLines(elements)) {
    chunk += line;
    if (chunk.length < CHUNK_CHARACTERS) continue;
    await print(chunk);
    chunk = "";
  }
  await print(chunk);
}

/** A whole matrix: a file, a URL, or standard input (`-`), in any of the forms there are. */
export async function readMatrix(place: string): Promise<Element[]> {
  return parseDocument(AnyMatrix, await readText(place), place);
}

/** Whether a file is too large to be compared as a whole. */
export async function isLarge(place: string): Promise<boolean> {
  const status = await stat(place).catch(() => undefined);
  return status?.isFile() === true && status.size > LARGE_BYTES;
}

const LARGE_BYTES = 64 * 1024 * 1024;

/** The elements of a file as they come; a file that has not one element a line is read as a whole. */
export async function* streamMatrix(place: string): AsyncGenerator<Element> {
  if (!isLineMatrix(await beginningOf(place))) {
    yield* await readMatrix(place);
    return;
  }
  const lines = createInterface({ input: createReadStream(place), crlfDelay: Number.POSITIVE_INFINITY });
  yield* parseMatrixLines(lines, place);
}

async function beginningOf(place: string): Promise<string> {
  const file = await open(place);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}
