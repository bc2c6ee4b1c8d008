/**
 * Whether files are modules at all, each one and nothing else: what every other check reads from them rests on this.
 */
import { unpackWhole } from "../base/decompress.ts";
import { toFarmError } from "../base/error.ts";
import { openModule, type Packed, packingOf } from "../formats/compressed-module.ts";
import { type KernelModule, moduleName, readKernelModule } from "../formats/kernel-module.ts";
import { SetBudget } from "./set-budget.ts";
import { type Verdict, verdict, withReasons } from "./verdict.ts";

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

/** `name.ko`, compressed or not; the kernel's own name of it. */
export function fileModuleName(file: string): string {
  return moduleName(file.replace(/\.(xz|zst|gz)$/, ""));
}

/** @throws FarmError MODULE_MALFORMED, TOOL_MISSING */
export async function openModuleFile({ name, bytes }: ModuleFile): Promise<OpenedModule> {
  const [opened, packing] = [await openModule(bytes, name, unpackWhole), packingOf(bytes)];
  const packed = packing === undefined ? undefined : { packing, bytes };
  return { file: name, bytes: opened, packed, module: readKernelModule(opened, name) };
}

/** Opens what can be opened; the verdict names what cannot, and modules whose file has another name. */
export async function checkFormat(
  files: readonly ModuleFile[],
): Promise<{ readonly verdict: Verdict; readonly modules: readonly OpenedModule[] }> {
  const modules: OpenedModule[] = [];
  const faults: string[] = [];
  const budget = new SetBudget();
  for (const file of files) {
    try {
      const opened = await openModuleFile(file);
      const { name } = budget.hold(opened.module, file.name);
      modules.push(opened);
      const [said, is] = [/\.(xz|zst|gz)$/.exec(file.name)?.[1], opened.packed?.packing];
      if (said !== is)
        faults.push(
          `${file.name} is ${is === undefined ? "not compressed" : `compressed as ${is}`}, whatever its name says`,
        );
      if (name !== fileModuleName(file.name)) faults.push(`${file.name} holds a module named ${name}`);
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code !== "MODULE_MALFORMED") throw error;
      faults.push(error.message);
    }
  }
  const good = `${files.map(({ name }) => name).join(", ")}: whole, and nothing else`;
  return {
    modules,
    verdict: faults.length > 0 ? withReasons("format", "fail", faults) : verdict("format", "pass", good),
  };
}
