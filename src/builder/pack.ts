/**
 * The shapes in which nodes get modules: the farm itself strips and compresses what it took over, after the build has
 * ended, with the root's own programs in a sandbox that holds nothing else; and it proves what came out.
 */

import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UNPACK } from "../base/decompress.ts";
import { FarmError } from "../base/error.ts";
import { readFileIn } from "../base/strange-tree.ts";
import { openModules } from "../formats/compressed-module.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import { checkStripped } from "../formats/stripped-module.ts";
import { type BuildLimits, sandboxLimits } from "./limits.ts";
import {
  compressedPath,
  keep,
  MODULE_LIMIT_BYTES,
  modulePath,
  strippedPath,
  type TakenModule,
} from "./outputs.ts";
import type { BuiltModule, Compression, Kept } from "./records.ts";
import type { Sandbox, SandboxResult } from "./sandboxes/sandbox.ts";

export interface PackRequest {
  readonly modules: readonly TakenModule[];
  readonly compress: Compression | undefined;
  /** The root's program that takes debugging information out of modules for this target. */
  readonly strip: string;
  /** The toolchain root. */
  readonly root: string;
  /** A directory of the caller's for what comes and goes. */
  readonly work: string;
  /** Where modules were kept, and their further shapes will be. */
  readonly evidence: string;
}

export interface PackContext {
  readonly sandbox: Sandbox;
  readonly limits: BuildLimits;
  readonly images: string;
}

export type Packed =
  | { readonly kind: "packed"; readonly modules: BuiltModule[] }
  | { readonly kind: "failed"; readonly result: SandboxResult };

/**
 * Nothing to do if no other shapes are wanted. The same programs with the same flags give the same bytes.
 * @throws FarmError MODULE_MALFORMED where what comes out is not the module that went in
 */
export async function packModules(
  request: PackRequest,
  context: PackContext,
  signal?: AbortSignal,
): Promise<Packed> {
  const { modules, compress } = request;
  if (compress === undefined && !modules.some(({ isStripped }) => isStripped))
    return { kind: "packed", modules: modules.map(({ isStripped: _, ...kept }) => kept) };
  const result = await runPack(request, context, signal);
  if (result.exitCode !== 0 || result.stopped !== undefined) return { kind: "failed", result };
  const packed: BuiltModule[] = [];
  for (const batch of batches(modules)) packed.push(...(await provenBatch(batch, request)));
  return { kind: "packed", modules: packed };
}

async function runPack(
  { modules, compress, strip, root, work, evidence }: PackRequest,
  { sandbox, limits, images }: PackContext,
  signal: AbortSignal | undefined,
): Promise<SandboxResult> {
  const place = join(work, "pack");
  const logFile = join(place, "log");
  for (const name of ["output", "scratch"]) await mkdir(join(place, name), { recursive: true });
  const lines = modules.map(({ name, isStripped }) => `${isStripped ? "yes" : "no"} ${name}\n`);
  await writeFile(join(place, "shapes"), lines.join(""));
  const result = await sandbox.run(
    {
      root,
      inputs: [
        [join(images, "pack.sh"), "/run/kmodfarm/pack.sh"],
        [join(place, "shapes"), "/run/kmodfarm/shapes"],
        [join(evidence, "modules"), "/run/kmodfarm/modules"],
      ],
      outputs: [[join(place, "output"), "/output"]],
      scratch: join(place, "scratch"),
      links: [],
      emptyDirectories: [],
      env: {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        LC_ALL: "C",
        STRIP: strip,
        ...(compress === undefined ? {} : { COMPRESS: compress }),
      },
      argv: ["/bin/sh", "/run/kmodfarm/pack.sh"],
      ...sandboxLimits(limits),
      logFile,
    },
    signal,
  );
  await appendFile(join(evidence, "build.log"), await readFile(logFile));
  return result;
}

/** So much is in memory at one time, or one module. */
const BATCH_BYTES = 64 * 1024 * 1024;

/** To open many at once costs little more than to open one. */
function batches(modules: readonly TakenModule[]): TakenModule[][] {
  const all: TakenModule[][] = [];
  let room = 0;
  for (const module of modules) {
    if (module.size > room) {
      all.push([]);
      room = BATCH_BYTES;
    }
    all.at(-1)?.push(module);
    room -= module.size;
  }
  return all;
}

async function provenBatch(
  modules: readonly TakenModule[],
  { compress, work, evidence }: PackRequest,
): Promise<BuiltModule[]> {
  const output = join(work, "pack", "output");
  const plain = await Promise.all(modules.map((one) => plainOf(one, output, evidence)));
  if (compress === undefined) return plain.map(({ module }) => module);
  const files = modules.map(({ name }) => ({
    what: compressedPath(name, compress).replace("compressed/", ""),
    bytes: readPacked(output, compressedPath(name, compress)),
  }));
  const opened = await openModules(files, UNPACK);
  const packed: BuiltModule[] = [];
  for (const [index, { module, bytes }] of plain.entries()) {
    const [file, inside] = [files[index] as (typeof files)[number], opened[index]];
    if (inside instanceof FarmError) throw inside;
    if (inside === undefined || file.bytes.equals(bytes) || !inside.equals(bytes))
      throw malformed(`${file.what} does not contain the module that was compressed`);
    const compressed = await keep(evidence, compressedPath(module.name, compress), file.bytes);
    packed.push({ ...module, compressed });
  }
  return packed;
}

interface Plain {
  readonly module: BuiltModule;
  /** As nodes get it, but for compression. */
  readonly bytes: Buffer;
}

async function plainOf(
  { isStripped, ...module }: TakenModule,
  output: string,
  evidence: string,
): Promise<Plain> {
  const built = await readFile(join(evidence, modulePath(module.name)));
  if (!isStripped) return { module, bytes: built };
  const path = strippedPath(module.name);
  const bytes = readPacked(output, path);
  checkStripped(built, bytes, `${module.name}.ko`);
  readKernelModule(bytes, `${module.name}.ko`);
  const stripped: Kept = await keep(evidence, path, bytes);
  return { module: { ...module, stripped }, bytes };
}

function readPacked(output: string, path: string): Buffer {
  const bytes = readFileIn(output, path, MODULE_LIMIT_BYTES + 1);
  if (bytes === undefined) throw malformed(`${path} was not produced`);
  if (bytes.length > MODULE_LIMIT_BYTES) throw malformed(`${path} is larger than any module`);
  return bytes;
}

function malformed(detail: string): FarmError {
  return new FarmError("MODULE_MALFORMED", { detail });
}
