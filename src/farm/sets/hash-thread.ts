/**
 * A thread of `modules root`: reads modules of a tree and makes their leaves.
 */
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { Unpacker } from "../../base/decompress.ts";
import { FarmError, isErrno, toFarmError } from "../../base/error.ts";
import { openedModules } from "../../formats/compressed-module.ts";
import { cutSignature } from "../../formats/module-signature.ts";
import { leafOf } from "../../provenance/trees/linux-merkle.ts";
import { FILE_LIMIT_BYTES, readLocalFile } from "../audit/local-file.ts";

export interface PlacedFile {
  readonly position: number;
  /** Below the directory. */
  readonly file: string;
}

export interface HashWork {
  readonly directory: string;
  readonly files: readonly PlacedFile[];
}

/** Errors lose what they are on their way to another thread. */
export interface HashFault {
  readonly file: string;
  readonly code: "FILE_UNREADABLE" | "MODULE_MALFORMED" | "SOURCE_CHANGED";
  readonly fact: string;
}

export interface HashedFiles {
  readonly leaves: readonly { readonly position: number; readonly leaf: Uint8Array }[];
  /** The first file that could not be hashed; no leaf is worth anything then. */
  readonly fault?: HashFault;
}

/** So much is in memory at once, or one file. */
const BATCH_BYTES = 64 * 1024 * 1024;
const BATCH_FILES = 400;

interface ReadFile extends PlacedFile {
  readonly bytes: Buffer;
  readonly what: string;
}

/** @throws FarmError TOOL_MISSING without xz */
export async function hashFiles({ directory, files }: HashWork): Promise<HashedFiles> {
  const leaves: { position: number; leaf: Uint8Array }[] = [];
  const states = files.map(({ file }) => stateOf(join(directory, file)));
  using unpacker = new Unpacker();
  let at = 0;
  const fault = (file: string, thrown: unknown): HashedFiles => {
    const error = toFarmError(thrown);
    if (error.code !== "FILE_UNREADABLE" && error.code !== "MODULE_MALFORMED") throw error;
    return { leaves: [], fault: { file, code: error.code, fact: error.factAbout(file) } };
  };
  while (at < files.length) {
    const batch: ReadFile[] = [];
    for (let size = 0; at < files.length && size < BATCH_BYTES && batch.length < BATCH_FILES; at++) {
      const one = files[at] as PlacedFile;
      try {
        const bytes = readLocalFile(join(directory, one.file), FILE_LIMIT_BYTES);
        batch.push({ ...one, bytes, what: one.file });
        size += bytes.length;
      } catch (thrown) {
        return fault(one.file, thrown);
      }
    }
    for await (const [index, plain] of openedModules(batch, unpacker.unpack)) {
      const { position, file } = batch[index] as ReadFile;
      if (plain instanceof FarmError) return fault(file, plain);
      try {
        leaves.push({ position, leaf: leafOf(position, cutSignature(plain, file).content) });
      } catch (thrown) {
        return fault(file, thrown);
      }
    }
  }
  const changed = files.find(({ file }, index) => stateOf(join(directory, file)) !== states[index]);
  return changed === undefined
    ? { leaves }
    : {
        leaves: [],
        fault: { file: changed.file, code: "SOURCE_CHANGED", fact: "it changed while it was hashed" },
      };
}

/** What changes with a file's bytes, and with the file that has its name. */
function stateOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = lstatSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join();
  } catch (thrown) {
    if (isErrno(thrown)) return thrown.code ?? "";
    throw thrown;
  }
}

if (parentPort !== null) parentPort.postMessage(await hashFiles(workerData as HashWork));
