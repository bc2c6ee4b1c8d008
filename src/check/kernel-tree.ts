/**
 * A kernel's own modules as `modprobe` finds them on a node: every one that its packages have, and depmod's files. Made
 * once for each kernel, as an archive that an initramfs begins with: whatever may be asked for is there.
 */

import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { markUsed } from "../base/cache.ts";
import { unpackWhole } from "../base/decompress.ts";
import { FarmError } from "../base/error.ts";
import { digestOf, hexOf } from "../base/json.ts";
import { exists } from "../base/scratch.ts";
import type { PackageFile } from "../builder/inputs/byte-reader.ts";
import { packageFormat } from "../builder/inputs/package-format.ts";
import { openModules, type Packing, packingOf } from "../formats/compressed-module.ts";
import { cpioArchive } from "../formats/cpio.ts";
import { type KernelModule, readKernelModule } from "../formats/kernel-module.ts";
import { depmodFiles, type IndexedModule, indexedModule } from "../formats/module-index.ts";
import { type Package, type VerifiedPackage, verified } from "../kernel/kernel.ts";
import type { BootContext } from "./boot-image.ts";
import { keep, readKept } from "./kept.ts";

/** Raised when what a tree holds changes. */
const TREE_VERSION = 1;

const TREE_PATH = /^(?:usr\/)?lib\/modules\/[^/]+\/(kernel\/(?:.+\/)?[^/]+\.ko(?:\.xz|\.zst|\.gz)?)$/;
const LIST_PATH = /^(?:usr\/)?lib\/modules\/[^/]+\/(modules\.(?:order|builtin|builtin\.modinfo))$/;

/**
 * The archive of a kernel's modules below /lib/modules/<release>; not compressed as a whole, for its files are. Those
 * that a package has as they are, are compressed so that the release's kmod opens them. All of it is read once, and
 * may have as many bytes as may be kept of a package.
 * @throws FarmError NOT_FETCHABLE, PACKAGE_MALFORMED
 */
export async function fetchKernelTree(
  kversion: string,
  packages: readonly Package[],
  unopened: readonly Packing[],
  context: BootContext,
  signal?: AbortSignal,
): Promise<string> {
  const holders = packages.map(verified);
  const packing = (["zst", "gz"] as const).find((one) => !unopened.includes(one));
  const subject = [TREE_VERSION, kversion, holders.map(({ sha256 }) => sha256), packing ?? ""];
  const target = join(context.cache, "boot", `${hexOf(digestOf(subject))}-tree`);
  const running =
    making.get(target) ??
    haveTree(target, () => makeTree(kversion, holders, packing, context, signal), context);
  making.set(target, running);
  try {
    await running;
  } finally {
    making.delete(target);
  }
  return target;
}

/** Under way: two drivers may wait for one kernel's. */
const making = new Map<string, Promise<void>>();
/** Looked at by this process: each has a hundred megabytes. */
const intact = new Set<string>();

async function haveTree(
  target: string,
  make: () => Promise<Buffer>,
  { scratch }: BootContext,
): Promise<void> {
  if (intact.has(target) && (await exists(target))) return markUsed(target);
  if ((await readKept(target)) === undefined) await keep(target, await make(), scratch);
  intact.add(target);
}

async function makeTree(
  kversion: string,
  holders: readonly VerifiedPackage[],
  packing: "zst" | "gz" | undefined,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const files = await takeFiles(holders, packing, context, signal);
  checkPaths([...files.keys()], kversion);
  const text = (name: string) => files.get(name)?.toString("latin1") ?? "";
  const builtIn = { paths: text("modules.builtin"), modinfo: text("modules.builtin.modinfo") };
  const modules = inOrder(files, text("modules.order"));
  const order = [...files].filter(([path]) => path === "modules.order");
  const index = depmodFiles(await indexOf(modules), builtIn);
  const entries = [...modules, ...index, ...order].map(([path, content]) => ({
    path: `lib/modules/${kversion}/${path}`,
    mode: 0o100644,
    content,
  }));
  return cpioArchive(entries);
}

/** Modules and lists of packages, by their paths below /lib/modules/<release>. */
async function takeFiles(
  holders: readonly VerifiedPackage[],
  packing: "zst" | "gz" | undefined,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const holder of holders) {
    const isWanted = (path: string) => TREE_PATH.test(path) || LIST_PATH.test(path);
    const found = await context.inputs.stream(
      holder,
      (body) => packageFormat(holder).readFiles(body, isWanted, () => false, packedWith(packing)),
      signal,
    );
    for (const { path, content } of found)
      files.set(TREE_PATH.exec(path)?.[1] ?? LIST_PATH.exec(path)?.[1] ?? path, content);
  }
  return files;
}

/** Where several modules are asked for by one name, the kernel's own order decides. */
function inOrder(files: ReadonlyMap<string, Buffer>, order: string): (readonly [string, Buffer])[] {
  const places = new Map(order.split("\n").map((path, index) => [path, index]));
  const placeOf = (path: string) => places.get(path.replace(/\.ko\..*$/, ".ko")) ?? places.size;
  return [...files]
    .filter(([path]) => path.startsWith("kernel/"))
    .toSorted(([a], [b]) => placeOf(a) - placeOf(b) || (a < b ? -1 : 1));
}

/** Names from packages become paths of an archive. */
function checkPaths(paths: readonly string[], kversion: string): void {
  const directories = new Set(
    paths.flatMap((path) => path.split("/").map((_, index, all) => all.slice(0, index).join("/"))),
  );
  const bad = paths.find(
    (path) => directories.has(path) || path.split("/").some((name) => ["", ".", ".."].includes(name)),
  );
  if (bad === undefined) return;
  throw new FarmError("PACKAGE_MALFORMED", {
    detail: `the modules of ${kversion} have the path ${JSON.stringify(bad)}`,
  });
}

/** Compresses modules that are not. */
function packedWith(packing: "zst" | "gz" | undefined) {
  return (file: PackageFile): PackageFile => {
    const { path, content } = file;
    if (packing === undefined || !path.endsWith(".ko") || packingOf(content) !== undefined) return file;
    return {
      path: `${path}.${packing}`,
      content: packing === "zst" ? zstdCompressSync(content) : gzipSync(content),
    };
  };
}

/** Modules opened at a time. */
const BATCH = 256;

/** One that cannot be read has its name and its file: whoever asks for it hears of the kernel what is wrong. */
async function indexOf(modules: readonly (readonly [string, Buffer])[]): Promise<IndexedModule[]> {
  const index: IndexedModule[] = [];
  for (let at = 0; at < modules.length; at += BATCH) {
    const batch = modules.slice(at, at + BATCH);
    const opened = await openModules(
      batch.map(([what, bytes]) => ({ what, bytes })),
      unpackWhole,
    );
    for (const [place, [path]] of batch.entries()) {
      const bytes = opened[place];
      index.push(indexedModule(path, Buffer.isBuffer(bytes) ? readable(bytes, path) : undefined));
    }
  }
  return index;
}

function readable(bytes: Buffer, what: string): KernelModule | undefined {
  try {
    return readKernelModule(bytes, what);
  } catch {
    return undefined;
  }
}
