/**
 * Files that a command takes as the modules of one driver.
 */
import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { FarmError } from "../base/error.ts";
import { fileModuleName } from "../check/checks/format.ts";
import type { ModuleFile } from "../check/opened-modules.ts";

/** @throws FarmError FILE_UNREADABLE, USAGE for two of one name, which could never be in a kernel together */
export async function readModuleFiles(files: readonly string[]): Promise<ModuleFile[]> {
  const names = files.map((file) => fileModuleName(basename(file)));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw new FarmError("USAGE", {
      detail: `${twice} is given twice: all files of one command must be modules of one driver, for one kernel`,
    });
  return Promise.all(
    files.map(async (file) => ({ name: basename(file), bytes: await readModuleFile(file) })),
  );
}

/** A bundle with a statement of how modules were built. @throws FarmError FILE_UNREADABLE */
export async function readBundleFile(file: string): Promise<ModuleFile> {
  return { name: basename(file), bytes: await readModuleFile(file) };
}

/** @throws FarmError FILE_UNREADABLE */
export async function readModuleFile(file: string): Promise<Buffer> {
  // Opening a pipe waits for its other end.
  const kind = await stat(file).catch(() => undefined);
  if (kind !== undefined && !kind.isFile())
    throw new FarmError("FILE_UNREADABLE", { detail: `${file} is not a regular file` });
  return readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", {
      detail: `${file} cannot be read (${cause.code})`,
      ...(cause.code === "ENOENT" && !/\.(ko|json)/.test(file)
        ? {
            hint: "Check the path. To check an artifact of the store, omit --kernel: the artifact has its own.",
          }
        : {}),
      cause,
    });
  });
}
