/**
 * The thread that reads all modules of a kernel: what they say of themselves, and what depmod would make of it.
 */
import { UNPACK } from "../../base/decompress.ts";
import { FarmError } from "../../base/error.ts";
import { answerOnce } from "../../base/thread.ts";
import { openedModules } from "../../formats/compressed-module.ts";
import { type KernelModule, readKernelModule } from "../../formats/kernel-module.ts";
import { depmodFiles, type IndexedModule, indexedModule } from "../../formats/module-index.ts";

/** Modules and lists of a kernel, by their paths below /lib/modules/<release>. */
export interface TreeWork {
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export type ReadTree =
  | {
      /** Paths of modules in the kernel's own order. */
      readonly modules: readonly string[];
      /** Names of depmod's files, and what is in them. */
      readonly index: ReadonlyMap<string, Uint8Array>;
    }
  | { readonly fault: string };

/** Ten times what a whole kernel of Debian unpacks to. */
const UNPACKED_LIMIT_BYTES = 6 * 1024 ** 3;

async function readTree({ files }: TreeWork): Promise<ReadTree> {
  const text = (name: string) => Buffer.from(files.get(name) ?? []).toString("latin1");
  const builtIn = { paths: text("modules.builtin"), modinfo: text("modules.builtin.modinfo") };
  const paths = inOrder([...files.keys()], text("modules.order"));
  try {
    const modules = await indexOf(paths.map((path) => [path, asBuffer(files.get(path) as Uint8Array)]));
    return { modules: paths, index: depmodFiles(modules, builtIn) };
  } catch (thrown) {
    // Errors lose what they are on their way to another thread.
    if (thrown instanceof FarmError && thrown.code === "PACKAGE_MALFORMED") return { fault: thrown.message };
    throw thrown;
  }
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** Where several modules are asked for by one name, the kernel's own order decides. */
function inOrder(paths: readonly string[], order: string): string[] {
  const places = new Map(order.split("\n").map((path, index) => [path, index]));
  const placeOf = (path: string) => places.get(path.replace(/\.ko\..*$/, ".ko")) ?? places.size;
  return paths
    .filter((path) => path.startsWith("kernel/"))
    .toSorted((a, b) => placeOf(a) - placeOf(b) || (a < b ? -1 : 1));
}

/** One that cannot be read has its name and its file: the kernel reports what is wrong when it is requested. */
async function indexOf(modules: readonly (readonly [string, Buffer])[]): Promise<IndexedModule[]> {
  const index: IndexedModule[] = [];
  let unpacked = 0;
  const files = modules.map(([what, bytes]) => ({ what, bytes }));
  for await (const [place, bytes] of openedModules(files, UNPACK)) {
    const [path] = modules[place] as (typeof modules)[number];
    const isOpen = Buffer.isBuffer(bytes);
    unpacked += isOpen ? bytes.length : 0;
    if (unpacked > UNPACKED_LIMIT_BYTES)
      throw new FarmError("PACKAGE_MALFORMED", {
        detail: `they unpack to more than ${UNPACKED_LIMIT_BYTES} bytes`,
      });
    index[place] = indexedModule(path, isOpen ? readable(bytes, path) : undefined);
  }
  return index;
}

function readable(bytes: Buffer, what: string): KernelModule | undefined {
  try {
    return readKernelModule(bytes, what);
  } catch {
    return undefined;
  }
}

await answerOnce(readTree);
