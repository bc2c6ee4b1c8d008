/**
 * How much of what modules say is held at once. Names in a file may share bytes, so that a set of small files may
 * say more than this machine's memory holds; the bytes of files themselves are bounded by `limits.artifact`.
 */
import { malformed } from "../formats/elf.ts";
import type { KernelModule } from "../formats/kernel-module.ts";

/** A set of 600 real modules takes a tenth. */
const SET_LIMIT_BYTES = 64 << 20;
/** What an entry of a list takes beside its text. */
const ENTRY_BYTES = 128;

export class SetBudget {
  #left = SET_LIMIT_BYTES;

  /**
   * Counts a module of the set, and gives it back; `file` names it in errors.
   * @throws FarmError MODULE_MALFORMED for the module that is too much
   */
  hold(module: KernelModule, file: string): KernelModule {
    this.#left -= heldBytes(module);
    if (this.#left >= 0) return module;
    const limit = `${SET_LIMIT_BYTES >> 20} MiB`;
    throw malformed(
      file,
      `with it, the modules of one set have more than ${limit} of names and texts, which no driver needs`,
    );
  }
}

function heldBytes({ depends, imports, exports, versions, modinfo, compilers }: KernelModule): number {
  let sum = 0;
  const add = (...texts: readonly string[]) => {
    sum += ENTRY_BYTES;
    for (const text of texts) sum += text.length;
  };
  for (const text of depends) add(text);
  for (const text of imports) add(text);
  for (const { name } of exports) add(name);
  for (const name of versions?.keys() ?? []) add(name);
  for (const [key, value] of modinfo) add(key, value);
  for (const text of compilers) add(text);
  return sum;
}
