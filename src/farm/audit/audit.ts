/**
 * What is wrong in a place full of modules: read in threads where it is a directory of this machine, else fetched.
 */

import { availableParallelism } from "node:os";
import PQueue from "p-queue";
import { FarmError, toFarmError } from "../../base/error.ts";
import { ownScript } from "../../base/own-files.ts";
import { inThread } from "../../base/thread.ts";
import {
  type AuditedFile,
  absent,
  auditFiles,
  type KernelKeys,
  trustedByRelease,
  unread,
} from "../../check/audit.ts";
import { type Finding, findings, type Unjudged, unjudged } from "../../check/audit-findings.ts";
import { type AuditWork, auditDirectory } from "./audit-thread.ts";
import { kernelsBeside } from "./kernels-beside.ts";
import type { ReadPlace } from "./place.ts";
import type { Gap } from "./web-listing.ts";

const MODULE = /\.ko(\.(xz|zst|gz))?$/;
/** Modules in a form that kernels, kmod and this program do not open. */
const STRANGE_MODULE = /\.ko\.(bz2|lz4|lzma|lzo|lz|br|7z|Z|zip)$/;

/** What was seen, and what was not. */
export interface AuditReport {
  readonly files: readonly AuditedFile[];
  readonly findings: readonly Finding[];
  readonly unjudged: readonly Unjudged[];
  /** Places and files that could not be read. */
  readonly gaps: readonly Gap[];
  readonly keys: KernelKeys;
}

/** `kernels` are the releases that modules may be for; default: those whose boot images lie beside them, if any do. */
export async function auditPlace(
  place: ReadPlace,
  kernels: ReadonlySet<string> | undefined,
): Promise<AuditReport> {
  const { keys, releases, builtin, exports, gaps } = await kernelsBeside(place);
  const paths = place.paths.filter((path) => MODULE.test(path));
  const files =
    place.directory === undefined
      ? await auditRemote(place, paths, keys)
      : await auditLocal(place.directory, paths, keys);
  const strange = place.paths
    .filter((path) => STRANGE_MODULE.test(path))
    .map((path) => ({ path, why: "it is compressed in a format that no kernel can read" }));
  return {
    ...{ files, keys },
    findings: findings(files, { kernels: kernels ?? releases, builtin, exports }),
    unjudged: [...unjudged(files), ...strange],
    gaps: [
      ...place.gaps,
      ...gaps,
      ...files.flatMap(({ path, unread: why }) => (why === undefined ? [] : [{ place: path, why }])),
    ],
  };
}

/** Below so many, threads cost more than they bring. */
const FEW = 200;

async function auditLocal(
  directory: string,
  paths: readonly string[],
  keys: KernelKeys,
): Promise<AuditedFile[]> {
  if (paths.length <= FEW) return auditDirectory({ directory, paths, keys });
  const threads = Math.min(availableParallelism(), 8);
  // In turns, since the large ones lie together.
  const shares = Array.from({ length: threads }, (_, share) =>
    paths.filter((_, index) => index % threads === share),
  );
  const parts = await Promise.all(
    shares.map((share) => {
      const work: AuditWork = { directory, paths: share, keys };
      return inThread<AuditedFile[]>({ script: ownScript("farm/audit/audit-thread"), work });
    }),
  );
  return parts.flat().toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

async function auditRemote(
  place: ReadPlace,
  paths: readonly string[],
  keys: KernelKeys,
): Promise<AuditedFile[]> {
  const queue = new PQueue({ concurrency: FETCHED_AT_ONCE });
  const trustedBy = trustedByRelease(keys);
  const audited = await Promise.all(
    paths.map((path) =>
      queue.add(async () => {
        const bytes = await readRemote(place, path);
        if (bytes instanceof FarmError) return [unread(path, bytes.message)];
        if (bytes === undefined) return [absent(path)];
        return auditFiles([{ path, bytes }], trustedBy, place.name);
      }),
    ),
  );
  return audited.flat();
}

/** A file that a server does not give is not known; the others still are. */
async function readRemote(place: ReadPlace, path: string): Promise<Buffer | FarmError | undefined> {
  try {
    return await place.read(path);
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "REMOTE_UNAVAILABLE") throw error;
    return error;
  }
}

const FETCHED_AT_ONCE = 8;
