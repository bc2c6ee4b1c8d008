/**
 * What commands that write workflows have in common.
 */

import { lstat, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { FarmError, isErrno } from "../../../base/error.ts";
import { ownFile } from "../../../base/own-files.ts";
import { print, printJson } from "../../output.ts";

/** Writes the files, over earlier ones, and says which. */
export async function writeGithub(
  output: string,
  files: ReadonlyMap<string, string>,
  { json }: { readonly json?: boolean | undefined },
  next: string,
): Promise<void> {
  for (const [path, text] of files) await writeIn(output, path, text);
  const written = [...files.keys()];
  if (json) await printJson({ schema: "kmodfarm.github-init/1", output, files: written });
  else await print(`${written.map((path) => `${path}\n`).join("")}${next}`);
}

/**
 * A repository may be a stranger's, and a link in it may lead to any file of this machine. @throws FarmError PLACE_UNUSABLE
 */
async function writeIn(output: string, path: string, text: string): Promise<void> {
  await mkdir(output, { recursive: true });
  const names = path.split("/");
  const refuse = (place: string, what: string) => {
    throw new FarmError("PLACE_UNUSABLE", {
      detail: `${place} is no ${what}`,
      hint: "Remove it, and run it again.",
    });
  };
  for (let depth = 1; depth < names.length; depth++) {
    const place = join(output, ...names.slice(0, depth));
    await mkdir(place).catch((thrown) => {
      if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
    });
    if (!(await lstat(place)).isDirectory()) refuse(place, "directory");
  }
  const file = join(output, path);
  const found = await lstat(file).catch(() => undefined);
  if (found !== undefined && !found.isFile()) refuse(file, "file");
  // A rename replaces what is there by then, and follows no link.
  const part = `${file}.${process.pid}.part`;
  await writeFile(part, text, { flag: "wx" });
  await rename(part, file);
}

/** A file or directory as a job finds it in its checkout. It goes into a shell command. @throws FarmError USAGE */
export function pathIn(output: string, what: string, file: string): string {
  const path = relative(output, file) || ".";
  if (path === "." || (/^[A-Za-z0-9][A-Za-z0-9._/-]*$/.test(path) && !path.split("/").includes("..")))
    return path;
  throw new FarmError("USAGE", {
    detail: `${what} ${file} is not a plain path in the repository ${output}`,
    hint: "Name the repository with --output, and keep what you name in it, under a name without special characters.",
  });
}

/** What npm installs, if nothing else is asked for: this very version. */
export async function ownPackage(): Promise<string> {
  const file = ownFile("package.json");
  return `kmodfarm@${(JSON.parse(await readFile(file, "utf8")) as { version: string }).version}`;
}
