/**
 * Reads System.map: the symbols of a kernel as `nm -n vmlinux` lists them, sorted by address, one a line: address, a
 * letter for its kind, name. What the kernel exports to modules has an entry `__ksymtab_NAME` in it. Source: nm(1), the
 * kernel's scripts/mksysmap.
 */
import { FarmError } from "../base/error.ts";

export interface SystemMap {
  /** How many symbols it lists. */
  readonly size: number;
  /** What the kernel itself exports to modules. */
  readonly exports: ReadonlySet<string>;
}

/** Ten times the lines of the largest. */
const MAX_LINES = 4_000_000;
const LINE = /^([0-9a-f]{8}|[0-9a-f]{16}) ([A-Za-z?-]) (\S+)$/;
const EXPORT = "__ksymtab_";
/** Debian keeps the real one in a package with debugging information. */
const STUB = /^f+ B The real System\.map is in the (\S+) package/;

/** `what` names the file in errors. @throws FarmError MODULE_MALFORMED, and nothing else */
export function readSystemMap(text: string, what: string): SystemMap {
  const bad = (fact: string) =>
    new FarmError("MODULE_MALFORMED", { detail: `${what}${fact}`, at: { file: what } });
  const elsewhere = STUB.exec(text)?.[1];
  if (elsewhere !== undefined) throw bad(` only says that the real one is in the package ${elsewhere}`);
  const lines = text.split("\n");
  if (lines.pop() !== "") throw bad(`, line ${lines.length + 1}: its last line is cut off`);
  if (lines.length === 0) throw bad(" lists nothing");
  if (lines.length > MAX_LINES) throw bad(`, line ${MAX_LINES}: no kernel has so many symbols`);
  const exports = new Set<string>();
  let last = "";
  for (const [index, line] of lines.entries()) {
    const [, address = "", , name = ""] = LINE.exec(line) ?? [];
    if (address === "") throw bad(`, line ${index + 1}: it is no address, kind and name`);
    if (last !== "" && address.length !== last.length)
      throw bad(`, line ${index + 1}: its address has a different width`);
    if (address < last) throw bad(`, line ${index + 1}: it is not in the order of addresses`);
    last = address;
    if (name.startsWith(EXPORT)) exports.add(name.slice(EXPORT.length));
  }
  return { size: lines.length, exports };
}
