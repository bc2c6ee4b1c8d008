/**
 * Files that may be modules, each opened once: what every check reads is read here.
 */
import { unpackWhole } from "../base/decompress.ts";
import { toFarmError } from "../base/error.ts";
import { openModule, type Packed, packingOf } from "../formats/compressed-module.ts";
import { type KernelModule, readKernelModule } from "../formats/kernel-module.ts";
import { SetBudget } from "./set-budget.ts";

export interface ModuleFile {
  /** `doorbell.ko`, `loop.ko.xz` */
  readonly name: string;
  readonly bytes: Buffer;
}

/** A module that was read, with the bytes that a kernel would see. */
export interface OpenedModule {
  readonly file: string;
  readonly bytes: Buffer;
  /** The file itself, where it is compressed. */
  readonly packed?: Packed | undefined;
  readonly module: KernelModule;
}

/** A file, and the module that it is; or why it is none. */
export interface OpenedFile {
  readonly name: string;
  readonly opened?: OpenedModule;
  readonly fault?: string;
}

/** @throws FarmError MODULE_MALFORMED, TOOL_MISSING */
export async function openModuleFile({ name, bytes }: ModuleFile): Promise<OpenedModule> {
  const [opened, packing] = [await openModule(bytes, name, unpackWhole), packingOf(bytes)];
  const packed = packing === undefined ? undefined : { packing, bytes };
  return { file: name, bytes: opened, packed, module: readKernelModule(opened, name) };
}

/** What is in a file that may be compressed, a module or not; undefined for what cannot be opened. @throws FarmError TOOL_MISSING */
export async function plainBytes({ name, bytes }: ModuleFile): Promise<Buffer | undefined> {
  try {
    return await openModule(bytes, name, unpackWhole);
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "MODULE_MALFORMED") throw error;
    return undefined;
  }
}

/** Opens what can be opened, in the order of the files. @throws FarmError TOOL_MISSING */
export async function openModuleFiles(files: readonly ModuleFile[]): Promise<OpenedFile[]> {
  const found: OpenedFile[] = [];
  const budget = new SetBudget();
  for (const file of files) {
    const { name } = file;
    try {
      const opened = await openModuleFile(file);
      budget.hold(opened.module, name);
      found.push({ name, opened });
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code !== "MODULE_MALFORMED") throw error;
      found.push({ name, fault: error.message });
    }
  }
  return found;
}
