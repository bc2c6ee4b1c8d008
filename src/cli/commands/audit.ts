/**
 * `kmodfarm audit`: what is wrong in a heap of modules that somebody has. Needs no store and no configuration.
 */
import { availableParallelism } from "node:os";
import PQueue from "p-queue";
import { FarmError, toFarmError } from "../../base/error.ts";
import { inThread } from "../../base/thread.ts";
import {
  type AuditedFile,
  auditFiles,
  type Finding,
  findings,
  type KernelKeys,
  signersByRelease,
  unreadable,
} from "../../check/audit.ts";
import { type AuditWork, auditDirectory } from "../audit-worker.ts";
import { kernelsBeside } from "../kernels-beside.ts";
import { type Heap, openHeap } from "../module-heap.ts";
import { print, printJson, table } from "../output.ts";

export interface AuditOptions {
  readonly kernels?: string;
  readonly json?: boolean;
}

const MODULE = /\.ko(\.(xz|zst|gz))?$/;

export async function audit(place: string, options: AuditOptions): Promise<number> {
  await using heap = await openHeap(place);
  const { keys, releases, builtin, exports } = await kernelsBeside(heap);
  const paths = heap.paths.filter((path) => MODULE.test(path));
  if (paths.length === 0)
    throw new FarmError("USAGE", {
      detail: `there is no module (.ko, .ko.xz, .ko.zst, .ko.gz) below ${place}`,
      hint: "Name the directory or address that they lie in; links are not followed.",
    });
  const files =
    heap.directory === undefined
      ? await auditRemote(heap, paths, keys)
      : await auditLocal(heap.directory, paths, keys);
  const kernels = options.kernels === undefined ? releases : await releasesOf(options.kernels);
  const found = findings(files, { kernels, builtin, exports });
  if (options.json) await printJson(toJson(place, files, found, keys));
  else await print(toText(files, found, keys));
  return found.length > 0 ? 1 : 0;
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
      return inThread<AuditedFile[]>({ script: "../audit-worker", base: import.meta.url, work });
    }),
  );
  return parts.flat().toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

async function auditRemote(heap: Heap, paths: readonly string[], keys: KernelKeys): Promise<AuditedFile[]> {
  const queue = new PQueue({ concurrency: FETCHED_AT_ONCE });
  const signersOf = signersByRelease(keys);
  const audited = await Promise.all(
    paths.map((path) =>
      queue.add(async () => {
        const bytes = await heap.read(path);
        return bytes === undefined
          ? [unreadable(path, "it is listed, and not there")]
          : auditFiles([{ path, bytes }], signersOf, heap.place);
      }),
    ),
  );
  return audited.flat();
}

const FETCHED_AT_ONCE = 8;

/** Releases in a catalog, a matrix, or a kernel list. */
async function releasesOf(place: string): Promise<ReadonlySet<string>> {
  const { readCatalog } = await import("../catalog-io.ts");
  try {
    const { catalog } = await readCatalog(place);
    return new Set(catalog.kernels.map(({ kversion }) => kversion));
  } catch (thrown) {
    const { code, message, cause } = toFarmError(thrown);
    if (code !== "DOCUMENT_INVALID") throw thrown;
    const hint =
      "Give --kernels a catalog (`kmodfarm catalog export > FILE`), a kernel-crawler list or driverkit configurations.";
    throw new FarmError(code, { detail: message, hint, cause });
  }
}

function toText(files: readonly AuditedFile[], found: readonly Finding[], keys: KernelKeys): string {
  const claimed = new Set(files.flatMap(({ claim }) => claim?.release ?? []));
  const rows = found.map(({ kind, path, fact }) => [WORDS[kind], path, fact]);
  const shown = rows.length === 0 ? "" : `${table(["WHAT", "FILE", "WHY"], rows)}\n`;
  const kinds = [...Map.groupBy(found, ({ kind }) => kind)].map(
    ([kind, of]) => `${of.length} ${WORDS[kind]}`,
  );
  const wrong = new Set(found.map(({ path }) => path)).size;
  const fact =
    wrong === 0 ? "nothing is wrong" : `${wrong} ${wrong === 1 ? "is" : "are"} wrong (${kinds.join(", ")})`;
  const unclaimed = files.filter(({ claim }) => claim === undefined).length;
  const unseen = unverified(files, keys);
  const lines = [
    `${counted(files.length, "module")} for ${counted(claimed.size, "kernel")}: ${fact}.`,
    ...(unclaimed === 0
      ? []
      : [`Of ${unclaimed} nobody can see from the path which kernel they are for (--json names them).`]),
    ...(unseen === 0
      ? []
      : [
          `Signatures of ${counted(unseen, "module")} not verified: their kernel's key is in its boot image, which does not lie beside them.`,
        ]),
  ];
  return `${shown}${lines.join("\n")}\n`;
}

/** How many are signed by somebody whose key nobody here knows. */
function unverified(files: readonly AuditedFile[], keys: KernelKeys): number {
  return files.filter(({ claim, facts }) => facts?.signer !== undefined && !keys.has(claim?.release ?? ""))
    .length;
}

function counted(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

const WORDS: Readonly<Record<Finding["kind"], string>> = {
  damaged: "damaged",
  misnamed: "misnamed",
  wrongKernel: "wrong kernel",
  cannotLoad: "cannot load",
  duplicate: "duplicate",
  noKernel: "no kernel",
};

function toJson(place: string, files: readonly AuditedFile[], found: readonly Finding[], keys: KernelKeys) {
  return {
    schema: "kmodfarm.audit/1",
    place,
    modules: files.length,
    kernels: [...new Set(files.flatMap(({ claim }) => claim?.release ?? []))].sort(),
    unclaimed: files.filter(({ claim }) => claim === undefined).map(({ path }) => path),
    signaturesUnverified: unverified(files, keys),
    findings: found,
  };
}
