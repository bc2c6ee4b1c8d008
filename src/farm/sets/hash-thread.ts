/**
 * A thread of `modules root`: reads modules of a tree and makes their leaves.
 */
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { UNPACK } from "../../base/decompress.ts";
import { FarmError, isErrno, toFarmError } from "../../base/error.ts";
import { answerOnce } from "../../base/thread.ts";
import { openedModules, type PackedFile, packingOf } from "../../formats/compressed-module.ts";
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

/** @throws FarmError TOOL_MISSING without xz */
export async function hashFiles({ directory, files }: HashWork): Promise<HashedFiles> {
  const leaves: { position: number; leaf: Uint8Array }[] = [];
  const states = files.map(({ file }) => stateOf(join(directory, file)));
  let looked = "";
  const modules = readModules(directory, files, (file) => {
    looked = file;
  });
  try {
    for await (const [index, plain] of openedModules(modules, UNPACK)) {
      const { position, file } = files[index] as PlacedFile;
      looked = file;
      if (plain instanceof FarmError) throw plain;
      leaves.push({ position, leaf: leafOf(position, cutSignature(plain, file).content) });
    }
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "FILE_UNREADABLE" && error.code !== "MODULE_MALFORMED") throw error;
    return { leaves: [], fault: { file: looked, code: error.code, fact: error.factAbout(looked) } };
  }
  const changed = files.find(({ file }, index) => stateOf(join(directory, file)) !== states[index]);
  return changed === undefined
    ? { leaves }
    : {
        leaves: [],
        fault: { file: changed.file, code: "SOURCE_CHANGED", fact: "it changed while it was hashed" },
      };
}

/**
 * One file after the other, all in the same memory: to get fresh memory for each takes longer than to hash it. What is in xz
 * is unpacked together with others, so it stays. @throws FarmError FILE_UNREADABLE
 */
function* readModules(
  directory: string,
  files: readonly PlacedFile[],
  begin: (file: string) => void,
): Generator<PackedFile> {
  let memory = Buffer.alloc(0);
  const memoryFor = (size: number) => {
    if (memory.length < size) memory = Buffer.allocUnsafeSlow(size);
    return memory.subarray(0, size);
  };
  for (const { file } of files) {
    begin(file);
    const bytes = readLocalFile(join(directory, file), FILE_LIMIT_BYTES, memoryFor);
    yield { bytes: packingOf(bytes) === "xz" ? Buffer.from(bytes) : bytes, what: file };
  }
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

await answerOnce(hashFiles);
