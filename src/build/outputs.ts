/**
 * Taking over what a build left: modules in the shapes that nodes may want, further files, and what the
 * sandbox saw of itself. All of it is as hostile as the driver.
 */
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { FarmError, isErrno } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import type { Packing } from "../formats/compressed-module.ts";
import { moduleName, readKernelModule } from "../formats/kernel-module.ts";
import { pathSegment } from "../kernel/path-segment.ts";
import type { Compression, DriverBuild } from "./driver.ts";

const Kept = z.object({ sha256: z.string(), size: z.int() });

/** A module as it was built; stripped and compressed where the driver wants that. */
export const BuiltModule = z.object({
  name: z.string(),
  ...Kept.shape,
  stripped: Kept.optional(),
  compressed: Kept.optional(),
});
export type BuiltModule = z.infer<typeof BuiltModule>;

/** A further file, with its path in the driver's tree. */
export const BuiltFile = z.object({ path: z.string(), ...Kept.shape });
export type BuiltFile = z.infer<typeof BuiltFile>;

/** The end of a compressed module's name. */
export const PACKINGS: Readonly<Record<Compression, Packing>> = { xz: "xz", zstd: "zst", gz: "gz" };

/** No module is anywhere near that; a build that leaves more is not taken over. */
const OUTPUT_LIMIT_BYTES = 256 * 1024 * 1024;
const COUNT_LIMIT = 1000;

/** Where in an attempt's directory the bytes are. */
export function modulePath(name: string): string {
  return `modules/${name}.ko`;
}
export function strippedPath(name: string): string {
  return `stripped/${name}.ko`;
}
export function compressedPath(name: string, compression: Compression): string {
  return `compressed/${name}.ko.${PACKINGS[compression]}`;
}

/**
 * Takes over what the build left as modules; what cannot be read as one is nothing to publish.
 * @throws FarmError MODULE_MALFORMED, MODULE_MISSING
 */
export async function takeModules(
  output: string,
  evidence: string,
  { compress }: Pick<DriverBuild, "compress">,
): Promise<BuiltModule[]> {
  const modules: BuiltModule[] = [];
  const stripped = await filesBelow(output, "stripped");
  for (const file of (await filesBelow(output, "modules")).filter((name) => name.endsWith(".ko"))) {
    const name = pathSegment(file.slice(0, -".ko".length), "module");
    const built = await readOutput(join(output, modulePath(name)));
    checkModule(built, file);
    const module: BuiltModule = { name, ...(await keep(evidence, modulePath(name), built)) };
    if (stripped.includes(file)) {
      const bytes = await readOutput(join(output, strippedPath(name)));
      checkModule(bytes, file);
      module.stripped = await keep(evidence, strippedPath(name), bytes);
    }
    if (compress !== undefined) {
      const path = compressedPath(name, compress);
      module.compressed = await keep(evidence, path, await readOutput(join(output, path)));
    }
    modules.push(module);
  }
  if (modules.length > 0) return modules;
  throw new FarmError("MODULE_MISSING", { detail: "the build gave no modules at all" });
}

function checkModule(bytes: Buffer, file: string): void {
  const { name } = readKernelModule(bytes, file);
  if (name !== moduleName(file))
    throw new FarmError("MODULE_MALFORMED", { detail: `${file} says that its name is ${name}` });
}

/** Takes over the further files that the driver's patterns chose. */
export async function takeFiles(output: string, evidence: string): Promise<BuiltFile[]> {
  const files: BuiltFile[] = [];
  for (const path of await filesBelow(output, "files")) {
    for (const part of path.split("/")) pathSegment(part, "file");
    files.push({
      path,
      ...(await keep(evidence, `files/${path}`, await readOutput(join(output, "files", path)))),
    });
  }
  return files;
}

async function keep(evidence: string, path: string, bytes: Buffer): Promise<z.infer<typeof Kept>> {
  const target = join(evidence, path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, bytes);
  return { sha256: sha256(bytes), size: bytes.length };
}

/** A text that the sandbox left; empty when there is none. */
export async function readNote(output: string, name: string): Promise<string> {
  return (await readOutput(join(output, name)).catch(() => Buffer.alloc(0))).toString("utf8");
}

/** Paths of what is below a directory that a build could write to, sorted; no link is followed on the way. */
async function filesBelow(output: string, directory: string): Promise<string[]> {
  const found: string[] = [];
  const walk = async (below: string) => {
    const full = join(output, directory, below);
    if (!(await lstat(full)).isDirectory()) return;
    for (const entry of await readdir(full, { withFileTypes: true })) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else found.push(path);
      if (found.length > COUNT_LIMIT)
        throw new FarmError("MODULE_MALFORMED", {
          detail: `the build gave more than ${COUNT_LIMIT} ${directory}`,
        });
    }
  };
  try {
    await walk("");
  } catch (thrown) {
    if (!isErrno(thrown) || thrown.code !== "ENOENT") throw thrown;
  }
  return found.sort();
}

/** A file that a build left: never through a link, which could lead to the host's own files. */
async function readOutput(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (cause: NodeJS.ErrnoException) => {
      throw new FarmError("MODULE_MALFORMED", {
        detail: `${basename(path)} is not a plain file (${cause.code})`,
        cause,
      });
    },
  );
  try {
    const status = await file.stat();
    if (!status.isFile())
      throw new FarmError("MODULE_MALFORMED", { detail: `${basename(path)} is not a plain file` });
    if (status.size > OUTPUT_LIMIT_BYTES)
      throw new FarmError("MODULE_MALFORMED", { detail: `${basename(path)} is ${status.size} bytes large` });
    return await file.readFile();
  } finally {
    await file.close();
  }
}
