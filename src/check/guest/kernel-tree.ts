/**
 * A kernel's own modules as `modprobe` finds them on a node: every one that its packages have, and depmod's files. Made
 * once for each kernel, as an archive that an initramfs begins with: whatever may be asked for is there.
 */

import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { markUsed } from "../../base/cache.ts";
import { FarmError } from "../../base/error.ts";
import { digestOf, hexOf } from "../../base/json.ts";
import { ownScript } from "../../base/own-files.ts";
import { exists } from "../../base/scratch.ts";
import { inThread } from "../../base/thread.ts";
import { type Packing, packingOf } from "../../formats/compressed-module.ts";
import { cpioArchive } from "../../formats/cpio.ts";
import type { PackageFile } from "../../inputs/byte-reader.ts";
import { packageFormat } from "../../inputs/package-format.ts";
import { type Package, type VerifiedPackage, verified } from "../../kernel/kernel.ts";
import type { BootContext } from "./boot-image.ts";
import { keep, readKept } from "./kept.ts";
import type { ReadTree, TreeWork } from "./kernel-tree-thread.ts";

/** Raised when what a tree holds changes. */
const TREE_VERSION = 1;

const TREE_PATH = /^(?:usr\/)?lib\/modules\/[^/]+\/(kernel\/(?:.+\/)?[^/]+\.ko(?:\.xz|\.zst|\.gz)?)$/;
const LIST_PATH = /^(?:usr\/)?lib\/modules\/[^/]+\/(modules\.(?:order|builtin|builtin\.modinfo))$/;

/**
 * Ten times what Debian's largest kernel has: 4,230 modules whose longest path has 123 characters in 13 parts, and lists of
 * 170 KB. A whole kernel is read in one minute on a slow machine.
 */
const MOST = { files: 50_000, pathLength: 1024, depth: 100, listBytes: 4 * 1024 * 1024 } as const;
const READING_LIMIT_MS = 10 * 60 * 1000;

/**
 * The archive of a kernel's modules below /lib/modules/<release>; not compressed as a whole, for its files are. Those
 * that a package has as they are, are compressed so that the release's kmod opens them. All of it is read once, and
 * may have as many bytes as may be kept of a package.
 * @throws FarmError NOT_FETCHABLE, PACKAGE_MALFORMED; TIMED_OUT for modules that take too long to read
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
  // Who merely names the same digests may name them wrongly, or where nobody has them, and fails alone.
  const request = digestOf([target, holders]);
  const known = refused.get(request);
  if (known !== undefined) throw known;
  const making = makingWith(context.inputs);
  const running =
    making.get(request) ??
    haveTree(target, () => makeTree(kversion, holders, packing, context, signal), context);
  making.set(request, running);
  try {
    await running;
  } catch (thrown) {
    if (thrown instanceof FarmError && LASTING.has(thrown.code)) refused.set(request, thrown);
    throw thrown;
  } finally {
    making.delete(request);
  }
  return target;
}

/** Under way, for those who ask the same places: two drivers may wait for one kernel's. */
const underWay = new WeakMap<BootContext["inputs"], Map<string, Promise<void>>>();

function makingWith(inputs: BootContext["inputs"]): Map<string, Promise<void>> {
  const making = underWay.get(inputs) ?? new Map<string, Promise<void>>();
  underWay.set(inputs, making);
  return making;
}

/** What is wrong with some, so that not every driver of a night waits for the same fault. */
const refused = new Map<string, FarmError>();
const LASTING: ReadonlySet<string> = new Set(["PACKAGE_MALFORMED", "TIMED_OUT"]);
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
  const files = await takeFiles(kversion, holders, packing, context, signal);
  checkPaths([...files.keys()], kversion);
  const work: TreeWork = { files };
  const read = await inThread<ReadTree>({
    script: ownScript("check/guest/kernel-tree-thread"),
    work,
    timeoutMs: READING_LIMIT_MS,
  });
  if ("fault" in read) throw malformed(kversion, read.fault);
  const order = [...files].filter(([path]) => path === "modules.order");
  const modules = read.modules.map((path) => [path, files.get(path) as Buffer] as const);
  const entries = [...modules, ...read.index, ...order].map(([path, content]) => ({
    path: `lib/modules/${kversion}/${path}`,
    mode: 0o100644,
    content,
  }));
  return cpioArchive(entries);
}

/** Modules and lists of packages, by their paths below /lib/modules/<release>. */
async function takeFiles(
  kversion: string,
  holders: readonly VerifiedPackage[],
  packing: "zst" | "gz" | undefined,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const pack = packedWith(packing);
  const keeping = (file: PackageFile) => {
    withinLimits(file, kversion);
    return pack(file);
  };
  for (const holder of holders) {
    const isWanted = (path: string) => TREE_PATH.test(path) || LIST_PATH.test(path);
    const found = await context.inputs.stream(
      holder,
      (body) => packageFormat(holder).readFiles(body, isWanted, () => false, keeping),
      signal,
    );
    for (const { path, content } of found)
      files.set(TREE_PATH.exec(path)?.[1] ?? LIST_PATH.exec(path)?.[1] ?? path, content);
  }
  return files;
}

/** Names from packages become paths of an archive. */
function checkPaths(paths: readonly string[], kversion: string): void {
  if (paths.length > MOST.files)
    throw malformed(kversion, `there are more than ${MOST.files} files, which no kernel has`);
  const directories = new Set(
    paths.flatMap((path) => path.split("/").map((_, index, all) => all.slice(0, index).join("/"))),
  );
  const bad = paths.find(
    (path) => directories.has(path) || path.split("/").some((name) => ["", ".", ".."].includes(name)),
  );
  if (bad !== undefined) throw malformed(kversion, `they include the path ${JSON.stringify(bad)}`);
}

function malformed(kversion: string, fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `the modules of ${kversion} cannot be used: ${fact}` });
}

/** Looks at a file as soon as it is here: a few bytes of a package may unpack to all that may be kept of it. */
function withinLimits({ path, content }: PackageFile, kversion: string): void {
  if (path.length > MOST.pathLength || path.split("/").length > MOST.depth)
    throw malformed(
      kversion,
      `one of their paths has more than ${MOST.pathLength} characters or ${MOST.depth} directories`,
    );
  if (LIST_PATH.test(path) && content.length > MOST.listBytes)
    throw malformed(kversion, `their ${path.replace(/^.*\//, "")} is larger than ${MOST.listBytes} bytes`);
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
