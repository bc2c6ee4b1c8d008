/**
 * What lies beside modules of the kernels that they are for, and says what those kernels are.
 */
import { unpackWhole } from "../base/decompress.ts";
import { FarmError } from "../base/error.ts";
import type { KernelKeys } from "../check/audit.ts";
import { moduleName } from "../formats/kernel-module.ts";
import { readSystemMap } from "../formats/system-map.ts";
import { readVmlinuz } from "../formats/vmlinuz.ts";
import type { Heap } from "./module-heap.ts";

/** Each by `uname -r`. */
interface KernelsBeside {
  /** Certificates of boot images. */
  readonly keys: KernelKeys;
  /** What there is a boot image for; undefined where there is none at all, so that nobody misses one. */
  readonly releases: ReadonlySet<string> | undefined;
  /** Modules that are part of the kernel itself. */
  readonly builtin: ReadonlyMap<string, ReadonlySet<string>>;
  /** What the kernel exports to modules. */
  readonly exports: ReadonlyMap<string, ReadonlySet<string>>;
}

const VMLINUZ = /(?:^|\/)(?:vmlinuz-([^/]+)|([^/]+)\/vmlinuz)$/;
const BUILTIN = /(?:^|\/)([^/]+)\/modules\.builtin$/;
const SYSTEM_MAP = /(?:^|\/)(?:System\.map-([^/]+)|([^/]+)\/System\.map)$/;

export async function kernelsBeside(heap: Heap): Promise<KernelsBeside> {
  const releases = heap.paths.flatMap((path) => releaseIn(heap, path, VMLINUZ) ?? []);
  return {
    keys: await readBeside(
      heap,
      VMLINUZ,
      async (bytes, path) => (await readVmlinuz(bytes, path, unpackWhole)).certificates,
    ),
    releases: releases.length === 0 ? undefined : new Set(releases),
    builtin: await readBeside(heap, BUILTIN, async (bytes) => {
      const lines = bytes.toString("utf8").split("\n");
      return new Set(lines.map((line) => moduleName(line.split("/").at(-1) ?? "")));
    }),
    exports: await readBeside(
      heap,
      SYSTEM_MAP,
      async (bytes, path) => readSystemMap(bytes.toString("latin1"), path).exports,
    ),
  };
}

/** The tree of one kernel says which by its own name. */
function releaseIn(heap: Heap, path: string, place: RegExp): string | undefined {
  const [, byName, byPlace] = place.exec(`${heap.place}/${path}`) ?? [];
  return byName ?? byPlace;
}

/** The first file of each kernel that is what its name says: what cannot be read says nothing about modules. */
async function readBeside<T>(
  heap: Heap,
  place: RegExp,
  read: (bytes: Buffer, path: string) => Promise<T>,
): Promise<Map<string, T>> {
  const found = new Map<string, T>();
  for (const path of heap.paths) {
    const release = releaseIn(heap, path, place);
    if (release === undefined || found.has(release)) continue;
    try {
      const bytes = await heap.read(path);
      if (bytes !== undefined) found.set(release, await read(bytes, path));
    } catch (thrown) {
      if (!(thrown instanceof FarmError) || !["MODULE_MALFORMED", "TOOL_MISSING"].includes(thrown.code))
        throw thrown;
    }
  }
  return found;
}
