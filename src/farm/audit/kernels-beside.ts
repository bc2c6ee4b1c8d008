/**
 * What lies beside modules of the kernels that they are for, and says what those kernels are.
 */
import { unpackWhole } from "../../base/decompress.ts";
import { toFarmError } from "../../base/error.ts";
import type { KernelKeys } from "../../check/audit.ts";
import { moduleName } from "../../formats/kernel-module.ts";
import { readSystemMap } from "../../formats/system-map.ts";
import { readVmlinuz } from "../../formats/vmlinuz.ts";
import { FILE_LIMIT_BYTES } from "./local-file.ts";
import type { ReadPlace } from "./place.ts";
import type { Gap } from "./web-listing.ts";

/** Each by `uname -r`. */
interface KernelsBeside {
  /** What boot images say. */
  readonly keys: KernelKeys;
  /** Kernels that have a boot image; undefined if there is none at all, so that none is reported as missing. */
  readonly releases: ReadonlySet<string> | undefined;
  /** Modules that are part of the kernel itself. */
  readonly builtin: ReadonlyMap<string, ReadonlySet<string>>;
  /** What the kernel exports to modules. */
  readonly exports: ReadonlyMap<string, ReadonlySet<string>>;
  /** Which of their files could not be read. */
  readonly gaps: readonly Gap[];
}

interface Kind {
  readonly at: RegExp;
  /** Several times what any has; a text that is longer may be more lines than fit into memory. */
  readonly limitBytes: number;
}

const VMLINUZ: Kind = {
  at: /(?:^|\/)(?:vmlinuz-([^/]+)|([^/]+)\/vmlinuz)$/,
  limitBytes: FILE_LIMIT_BYTES,
};
const BUILTIN: Kind = { at: /(?:^|\/)([^/]+)\/modules\.builtin$/, limitBytes: 4 * 1024 * 1024 };
const SYSTEM_MAP: Kind = {
  at: /(?:^|\/)(?:System\.map-([^/]+)|([^/]+)\/System\.map)$/,
  limitBytes: 64 * 1024 * 1024,
};

export async function kernelsBeside(place: ReadPlace): Promise<KernelsBeside> {
  const gaps: Gap[] = [];
  const releases = place.paths.flatMap((path) => releaseIn(place, path, VMLINUZ.at) ?? []);
  return {
    keys: await readBeside(place, gaps, VMLINUZ, (bytes, path) => readVmlinuz(bytes, path, unpackWhole)),
    releases: releases.length === 0 ? undefined : new Set(releases),
    builtin: await readBeside(place, gaps, BUILTIN, async (bytes) => {
      const lines = bytes.toString("utf8").split("\n");
      return new Set(lines.map((line) => moduleName(line.split("/").at(-1) ?? "")));
    }),
    exports: await readBeside(
      place,
      gaps,
      SYSTEM_MAP,
      async (bytes, path) => readSystemMap(bytes.toString("latin1"), path).exports,
    ),
    gaps,
  };
}

/** The tree of one kernel says which by its own name. */
function releaseIn(place: ReadPlace, path: string, at: RegExp): string | undefined {
  const [, byName, byPlace] = at.exec(`${place.name}/${path}`) ?? [];
  return byName ?? byPlace;
}

/** The first file of each kernel that is what its name says: what is something else says nothing about modules. */
async function readBeside<T>(
  place: ReadPlace,
  gaps: Gap[],
  { at, limitBytes }: Kind,
  read: (bytes: Buffer, path: string) => Promise<T>,
): Promise<Map<string, T>> {
  const found = new Map<string, T>();
  for (const path of place.paths) {
    const release = releaseIn(place, path, at);
    if (release === undefined || found.has(release)) continue;
    try {
      const bytes = await place.read(path);
      if (bytes !== undefined && bytes.length > limitBytes)
        gaps.push({ place: path, why: `it is larger than ${limitBytes} bytes` });
      else if (bytes !== undefined) found.set(release, await read(bytes, path));
    } catch (thrown) {
      const { code, message } = toFarmError(thrown);
      if (code === "FILE_UNREADABLE" || code === "REMOTE_UNAVAILABLE")
        gaps.push({ place: path, why: message });
      else if (code !== "MODULE_MALFORMED" && code !== "TOOL_MISSING") throw thrown;
    }
  }
  return found;
}
