/**
 * What a kernel needs to boot in a test: its image, in-tree modules that the driver uses, a guest userland.
 * Only these files are kept of packages that are a hundred times their size.
 */

import { createWriteStream } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { markUsed } from "../../base/cache.ts";
import { unpackWhole } from "../../base/decompress.ts";
import { FarmError } from "../../base/error.ts";
import { streamFile } from "../../base/read-stream.ts";
import { throwIfAborted } from "../../base/run.ts";
import { entriesOf, type Scratch } from "../../base/scratch.ts";
import { openModule } from "../../formats/compressed-module.ts";
import { moduleName, readKernelModule } from "../../formats/kernel-module.ts";
import { readVmlinuz, versionInBanner } from "../../formats/vmlinuz.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import { packageFormat } from "../../inputs/package-format.ts";
import type { ArchitectureName } from "../../kernel/architecture.ts";
import { type Package, type VerifiedPackage, verified } from "../../kernel/kernel.ts";
import { type LinuxRoot, rootFromText, rootOfKernel, rootText } from "../../provenance/trees/linux-merkle.ts";
import { keep, readKept } from "./kept.ts";
import { hostBusybox } from "./tools.ts";

export interface BootContext {
  readonly inputs: Inputs;
  readonly scratch: Scratch;
  readonly cache: string;
}

const IMAGE_PATH = /^(boot\/vmlinuz-[^/]+|(usr\/)?lib\/modules\/[^/]+\/vmlinuz)$/;
const MODULE_PATH = /^(?:usr\/)?lib\/modules\/[^/]+\/kernel\/(?:.+\/)?([^/]+\.ko)(?:\.xz|\.zst|\.gz)?$/;
const BUSYBOX_PATH = /^(usr\/)?bin\/busybox$/;

/** The kernel's boot image, taken from its package as it flies by; what is kept of it is looked at again each time. */
export async function fetchBootImage(
  listed: Package,
  context: BootContext,
  signal?: AbortSignal,
): Promise<string> {
  const image = verified(listed);
  const target = join(context.cache, "boot", `${image.sha256}-vmlinuz`);
  if ((await readKept(target)) !== undefined) return target;
  const [file] = await context.inputs.stream(
    image,
    (body) =>
      packageFormat(image).readFiles(
        body,
        (path) => IMAGE_PATH.test(path),
        (found) => found.length > 0,
      ),
    signal,
  );
  if (file === undefined)
    throw new FarmError("PACKAGE_MALFORMED", {
      detail: `${image.name} ${image.version} contains no boot image`,
    });
  await keep(target, file.content, context.scratch);
  return target;
}

/** What a boot image says of its kernel. */
interface BootWords {
  /** `uname -v`; undefined where it does not say it clearly. */
  readonly version?: string | undefined;
  /** DER of each certificate that it trusts modules by. */
  readonly certificates: readonly Uint8Array[];
  /** Of its own modules, where it has one. */
  readonly root?: LinuxRoot | undefined;
}

const KeptWords = z.object({
  version: z.string().optional(),
  certificates: z.array(z.base64()),
  root: z.string().optional(),
});

/**
 * What a kernel's boot image says. It is unpacked for that once: what it said is kept beside it.
 * @throws FarmError MODULE_MALFORMED for what is no boot image, and as `fetchBootImage`
 */
export async function readBootWords(
  image: Package,
  context: BootContext,
  signal?: AbortSignal,
): Promise<BootWords> {
  const target = join(context.cache, "boot", `${verified(image).sha256}-says.json`);
  const kept = await readKept(target);
  if (kept !== undefined) {
    const { version, certificates, root = "" } = KeptWords.parse(JSON.parse(kept.toString("utf8")));
    return {
      version,
      certificates: certificates.map((one) => Buffer.from(one, "base64")),
      root: rootFromText(root),
    };
  }
  const vmlinuz = await readFile(await fetchBootImage(image, context, signal));
  const { banner, certificates, moduleHashes } = await readVmlinuz(
    vmlinuz,
    `the boot image of ${image.name}`,
    unpackWhole,
  );
  const [version, root] = [versionInBanner(banner), rootOfKernel(moduleHashes)];
  const texts = certificates.map((der) => Buffer.from(der).toString("base64"));
  const said = { version, certificates: texts, root: root && rootText(root) };
  await keep(target, JSON.stringify(said), context.scratch);
  return { version, certificates, root };
}

/**
 * A static busybox of the guest's architecture: the first of the packages that can be had, else this machine's own.
 * @throws FarmError NOT_FETCHABLE
 */
export async function fetchBusybox(
  guest: readonly Package[],
  architecture: ArchitectureName,
  context: BootContext,
  signal?: AbortSignal,
): Promise<Buffer> {
  const faults: FarmError[] = [];
  for (const wanted of guest.filter((one) => one.name === "busybox-static")) {
    try {
      return await unpackBusybox(wanted, context, signal);
    } catch (thrown) {
      if (!(thrown instanceof FarmError) || thrown.code !== "NOT_FETCHABLE") throw thrown;
      faults.push(thrown);
    }
  }
  const own = await hostBusybox(architecture);
  if (own !== undefined) return readFile(own);
  throw (
    faults[0] ??
    new FarmError("NOT_FETCHABLE", {
      detail: `no index lists busybox-static for a guest on ${architecture}, and it is not installed here`,
    })
  );
}

async function unpackBusybox(wanted: Package, context: BootContext, signal?: AbortSignal): Promise<Buffer> {
  const target = join(context.cache, "boot", `${verified(wanted).sha256}-busybox`);
  const kept = await readKept(target);
  if (kept !== undefined) return kept;
  const file = await context.inputs.fetch(wanted, [], signal, "boot");
  const [busybox] = await streamFile(file, (body) =>
    packageFormat(wanted).readFiles(
      body,
      (path) => BUSYBOX_PATH.test(path),
      (found) => found.length > 0,
    ),
  );
  if (busybox === undefined) {
    throw new FarmError("PACKAGE_MALFORMED", {
      detail: `${wanted.name} ${wanted.version} contains no busybox`,
    });
  }
  await keep(target, busybox.content, context.scratch);
  return busybox.content;
}

/** A chain of modules is read link by link, each time from the package's beginning. Real ones have about ten. */
const MOST_READINGS = 48;

/**
 * In-tree modules by name, and those they need in turn, in no particular order. Names that no package has are
 * built into the kernel or missing: insertion will tell.
 * @throws FarmError NOT_FETCHABLE, PACKAGE_MALFORMED for a chain without end
 */
export async function fetchTreeModules(
  names: readonly string[],
  packages: readonly Package[],
  context: BootContext,
  signal?: AbortSignal,
): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  const holders = packages.map(verified);
  for (const holder of holders) {
    await loadKept(directoryOf(holder, context), names, found);
    await markUsed(directoryOf(holder, context));
  }
  const fetched = new Map<string, string>();
  let readings = 0;
  const begin = ({ name }: VerifiedPackage) => {
    throwIfAborted(signal);
    if (++readings <= MOST_READINGS) return;
    throw new FarmError("PACKAGE_MALFORMED", {
      detail: `the dependency chains among the modules of ${name} take more than ${MOST_READINGS} reads`,
    });
  };
  try {
    // What a module needs may be in a package before its own: once more, until nothing new comes.
    for (let before = -1; before !== found.size; ) {
      before = found.size;
      for (const holder of holders) {
        if (missingFrom(found, names).size === 0) return found;
        const file = fetched.get(holder.sha256) ?? context.scratch.path();
        if (!fetched.has(holder.sha256)) {
          fetched.set(holder.sha256, file);
          await context.inputs.stream(holder, (body) => pipeline(body, createWriteStream(file)), signal);
        }
        await takeModules(names, holder, file, found, begin, context);
      }
    }
  } finally {
    for (const file of fetched.values()) await rm(file, { force: true });
  }
  return found;
}

/** Adds what one package has of the missing modules, and of those that they need in turn. */
async function takeModules(
  names: readonly string[],
  holder: VerifiedPackage,
  file: string,
  found: Map<string, Buffer>,
  begin: (holder: VerifiedPackage) => void,
  context: BootContext,
): Promise<void> {
  for (;;) {
    begin(holder);
    const wanted = missingFrom(found, names);
    const files = await streamFile(file, (body) =>
      packageFormat(holder).readFiles(
        body,
        (path) => wanted.has(moduleName(MODULE_PATH.exec(path)?.[1] ?? "")),
        (files) => files.length >= wanted.size,
      ),
    );
    for (const { path, content } of files) {
      const [, name = ""] = MODULE_PATH.exec(path) ?? [];
      const bytes = await openModule(content, path, unpackWhole);
      found.set(moduleName(name), bytes);
      await keep(join(directoryOf(holder, context), `${moduleName(name)}.ko`), bytes, context.scratch);
    }
    if (files.length === 0 || missingFrom(found, names).size === 0) return;
  }
}

function directoryOf({ sha256 }: VerifiedPackage, { cache }: BootContext): string {
  return join(cache, "boot", `${sha256}-modules`);
}

/** Names asked for, and those that what was found depends on, which are not there yet. */
function missingFrom(found: ReadonlyMap<string, Buffer>, names: readonly string[]): Set<string> {
  const needed = new Set(names);
  for (const [name, bytes] of found)
    for (const dependency of readKernelModule(bytes, name).depends) needed.add(dependency);
  return new Set([...needed].filter((name) => !found.has(name)));
}

async function loadKept(
  directory: string,
  names: readonly string[],
  found: Map<string, Buffer>,
): Promise<void> {
  const kept = new Set(await entriesOf(directory));
  const queue = [...names];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (!kept.has(`${name}.ko`) || found.has(name)) continue;
    const bytes = await readKept(join(directory, `${name}.ko`));
    if (bytes === undefined) continue;
    found.set(name, bytes);
    queue.push(...readKernelModule(bytes, name).depends);
  }
}
