/**
 * Which modules a tree has, in the order in which its kernel counts them: `modules.order` of a build tree names objects
 * (`drivers/net/dummy.o`), that of an installed one modules (`kernel/drivers/net/dummy.ko`), however these are compressed.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { FarmError, isErrno, toFarmError } from "../../base/error.ts";
import { readLocalFile } from "../audit/local-file.ts";
import type { Form } from "./forms.ts";

export interface OrderedModules {
  /** Of each place, the module as `modules.order` names it, ending in `.ko`, and the file that has it, below the directory. */
  readonly modules: readonly { readonly name: string; readonly file: string }[];
  /** All of `modules.order`, to see whether it is still so in the end. */
  readonly order: string;
}

/** Ten times what the largest kernels have. */
const ORDER_LIMIT_BYTES = 8 * 1024 * 1024;
const MOST_MODULES = 100_000;
const ENDINGS = ["", ".xz", ".zst", ".gz"] as const;

export function readOrder(directory: string): string {
  const file = join(directory, "modules.order");
  try {
    return readLocalFile(file, ORDER_LIMIT_BYTES).toString("utf8");
  } catch (thrown) {
    throw new FarmError("FILE_UNREADABLE", {
      about: file,
      detail: toFarmError(thrown).message,
      hint: "Name the top of a kernel's build tree, or /lib/modules/RELEASE: a set's order is its kernel's own.",
      cause: thrown,
    });
  }
}

/** @throws FarmError FILE_UNREADABLE for an order that names no modules of this directory, each once */
export function modulesInOrder(directory: string, form: Form): OrderedModules {
  const order = readOrder(directory);
  const lines = order.split("\n");
  if (lines.at(-1) === "") lines.pop();
  if (lines.length > MOST_MODULES) throw wrong(directory, `it has more than ${MOST_MODULES} lines`);
  const seen = new Set<string>();
  const entries = new Map<string, ReadonlySet<string>>();
  const modules = lines.map((line, index) => {
    const [, stem = "", kind] = /^([!-~]{1,4000})\.(o|ko)$/.exec(line) ?? [];
    if (!isBelow(stem)) throw wrong(directory, `line ${index + 1} names no module below it`);
    const name = `${stem}.ko`;
    if (seen.has(name)) throw wrong(directory, `it names ${name} twice`);
    seen.add(name);
    const isStripped = kind === "o" && form === "stripped";
    return { name, file: isStripped ? `${name}.stripped` : fileOf(directory, name, entries) };
  });
  return { modules, order };
}

function isBelow(path: string): boolean {
  return path !== "" && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** The one file that is the module: with two, nobody could say which one a kernel loads. */
function fileOf(directory: string, name: string, entries: Map<string, ReadonlySet<string>>): string {
  const [folder, base] = name.includes("/")
    ? [name.slice(0, name.lastIndexOf("/")), name.slice(name.lastIndexOf("/") + 1)]
    : ["", name];
  const there = entries.get(folder) ?? namesIn(join(directory, folder));
  entries.set(folder, there);
  const [ending, another] = ENDINGS.filter((one) => there.has(`${base}${one}`));
  if (ending === undefined) throw wrong(directory, `${name} is not there`);
  if (another !== undefined)
    throw wrong(directory, `${name} is there twice, ${name}${ending} and ${name}${another}`);
  return `${name}${ending}`;
}

function namesIn(folder: string): ReadonlySet<string> {
  try {
    return new Set(readdirSync(folder));
  } catch (thrown) {
    // A folder that is not there has no modules; what else is wrong with it is said when they are read.
    if (isErrno(thrown)) return new Set();
    throw thrown;
  }
}

function wrong(directory: string, fact: string): FarmError {
  return new FarmError("FILE_UNREADABLE", {
    about: join(directory, "modules.order"),
    detail: fact,
    hint: "A root is over all modules in the order of modules.order: install or build them all, and hash the tree then.",
  });
}
