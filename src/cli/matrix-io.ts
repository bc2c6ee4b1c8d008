/**
 * Matrices in and out of files: as streams, so that their size is the disk's concern.
 */
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { parseDocument } from "../base/json.ts";
import { AnyMatrix, type Element } from "../matrix/element.ts";
import {
  diffStreams,
  isLineMatrix,
  matrixLines,
  parseMatrixLines,
  type StreamedChange,
  sharedElements,
} from "../matrix/stream.ts";
import { readText } from "./input.ts";
import { printDocument } from "./output.ts";

const CHUNK_CHARACTERS = 1 << 20;

export async function printMatrix(elements: Iterable<Element>): Promise<void> {
  let chunk = "";
  for (const line of matrixLines(elements)) {
    chunk += line;
    if (chunk.length < CHUNK_CHARACTERS) continue;
    await printDocument(chunk);
    chunk = "";
  }
  await printDocument(chunk);
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

/** What differs between two large files. */
export async function* diffFiles(previous: string, current: string): AsyncGenerator<StreamedChange> {
  const areLines = isLineMatrix(await beginningOf(previous)) && isLineMatrix(await beginningOf(current));
  const known = areLines ? await sharedElements(linesOf(previous), linesOf(current)) : new Set<string>();
  yield* diffStreams(streamMatrix(previous, known), streamMatrix(current, known), known.size);
}

/** The elements of a file as they come; a file that has not one element a line is read as a whole. */
async function* streamMatrix(place: string, known: ReadonlySet<string>): AsyncGenerator<Element> {
  if (isLineMatrix(await beginningOf(place))) yield* parseMatrixLines(linesOf(place), place, known);
  else yield* await readMatrix(place);
}

/** Opens the file when its first line is asked for: an interface loses those that come before. */
async function* linesOf(place: string): AsyncGenerator<string> {
  const input = createReadStream(place, { highWaterMark: CHUNK_CHARACTERS });
  yield* createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
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
