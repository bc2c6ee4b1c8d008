/**
 * Reads Module.symvers: what a kernel and its modules export, and the CRC of each. One symbol a line, fields parted by
 * tabs: CRC, name, who exports it, how, and since Linux 5.4 its namespace. Source: the kernel's
 * Documentation/kbuild/modules.rst.
 */
import { FarmError } from "../base/error.ts";
import type { KernelModule } from "./kernel-module.ts";

export interface ExportedSymbol {
  readonly crc: number;
  /** `vmlinux`, or the path of a module without its ending. */
  readonly exportedBy: string;
  readonly gplOnly: boolean;
  /** Empty for none; `module:a,b` names the modules that may use it. */
  readonly namespace: string;
}

export interface Symvers {
  readonly symbols: ReadonlyMap<string, ExportedSymbol>;
  /** False when every CRC is 0: the kernel was built without CONFIG_MODVERSIONS. */
  readonly hasVersions: boolean;
}

/** Ten times the lines of the largest. */
const MAX_LINES = 400_000;
const GPL_ONLY: ReadonlyMap<string, boolean> = new Map([
  ["EXPORT_SYMBOL", false],
  ["EXPORT_SYMBOL_GPL", true],
  // Kernels before 5.17 have these too; the first two were never for proprietary modules for long.
  ["EXPORT_SYMBOL_GPL_FUTURE", false],
  ["EXPORT_UNUSED_SYMBOL", false],
  ["EXPORT_UNUSED_SYMBOL_GPL", true],
]);

/** `what` names the file in errors. @throws FarmError MODULE_MALFORMED, and nothing else */
export function readSymvers(text: string, what: string): Symvers {
  const lines = text.split("\n");
  const bad = (number: number, fact: string) =>
    new FarmError("MODULE_MALFORMED", { detail: `${what}, line ${number}: ${fact}`, at: { file: what } });
  if (lines.pop() !== "") throw bad(lines.length + 1, "its last line is cut off");
  if (lines.length > MAX_LINES) throw bad(MAX_LINES, "no kernel exports so much");
  const symbols = new Map<string, ExportedSymbol>();
  for (const [index, line] of lines.entries()) {
    const fields = line.split("\t");
    const [crc = "", name = "", exportedBy = "", how = "", namespace = ""] = fields;
    const gplOnly = GPL_ONLY.get(how);
    if (fields.length < 4 || fields.length > 5) throw bad(index + 1, `it has ${fields.length} fields, not 5`);
    if (!/^0x[0-9a-f]{8}$/i.test(crc)) throw bad(index + 1, `${JSON.stringify(crc)} is no CRC`);
    if (!/^[^\s]+$/.test(name)) throw bad(index + 1, "it has no symbol");
    if (gplOnly === undefined) throw bad(index + 1, `${JSON.stringify(how)} is no kind of export`);
    if (symbols.has(name)) throw bad(index + 1, `${name} is exported twice`);
    symbols.set(name, { crc: Number.parseInt(crc, 16), exportedBy, gplOnly, namespace });
  }
  return { symbols, hasVersions: [...symbols.values()].some(({ crc }) => crc !== 0) };
}

/**
 * The list that modpost reads of what modules export, as their own build would have written it. A kernel without
 * versions writes noughts for CRCs.
 */
export function symversText(modules: readonly Pick<KernelModule, "name" | "exports">[]): string {
  const lines = modules.flatMap(({ name: module, exports }) =>
    exports.map(({ name, crc = 0, gplOnly, namespace = "" }) =>
      [crcText(crc), name, module, gplOnly ? "EXPORT_SYMBOL_GPL" : "EXPORT_SYMBOL", namespace].join("\t"),
    ),
  );
  return lines.map((line) => `${line}\n`).join("");
}

/** A CRC as Module.symvers and modprobe write it: `0x0012ab34`. */
export function crcText(crc: number): string {
  return `0x${crc.toString(16).padStart(8, "0")}`;
}
