/**
 * `kmodfarm audit`: what is wrong in a heap of modules that somebody has. Needs no store and no configuration.
 */
import { availableParallelism } from "node:os";
import PQueue from "p-queue";
import { ERRORS, FarmError, toFarmError } from "../../../base/error.ts";
import { inThread } from "../../../base/thread.ts";
import {
  type AuditedFile,
  absent,
  auditFiles,
  type KernelKeys,
  signersByRelease,
  unread,
} from "../../../check/audit.ts";
import { type Finding, findings, type Unjudged, unjudged } from "../../../check/audit-findings.ts";
import { type AuditWork, auditDirectory } from "../../audit-worker.ts";
import type { OptionsOf } from "../../command.ts";
import { kernelsBeside } from "../../kernels-beside.ts";
import { type Heap, openHeap } from "../../module-heap.ts";
import { print, printJson, table } from "../../output.ts";
import type { Gap } from "../../web-listing.ts";
import type { AUDIT } from "./command.ts";

type AuditOptions = OptionsOf<typeof AUDIT>;

const MODULE = /\.ko(\.(xz|zst|gz))?$/;
/** Modules in a form that kernels, kmod and this program do not open. */
const STRANGE_MODULE = /\.ko\.(bz2|lz4|lzma|lzo|lz|br|7z|Z|zip)$/;

/** What was seen, and what was not. */
interface Report {
  readonly files: readonly AuditedFile[];
  readonly findings: readonly Finding[];
  readonly unjudged: readonly Unjudged[];
  /** Places and files that could not be read. */
  readonly gaps: readonly Gap[];
  readonly keys: KernelKeys;
}

/** Exit code 3 where not everything could be read: what is there and was not seen may be wrong too. */
export async function audit(place: string, options: AuditOptions): Promise<number> {
  await using heap = await openHeap(place);
  const report = await reportOf(heap, options);
  if (report.files.length + report.unjudged.length + report.gaps.length === 0)
    throw new FarmError("USAGE", {
      detail: `there is no module (.ko, .ko.xz, .ko.zst, .ko.gz) below ${place}`,
      hint: "Name the directory or address that they lie in; links are not followed.",
    });
  if (options.json) await printJson(toJson(place, report));
  else await print(toText(report));
  if (report.gaps.length > 0) return ERRORS.REMOTE_UNAVAILABLE.exit;
  return report.findings.length > 0 ? 1 : 0;
}

async function reportOf(heap: Heap, options: AuditOptions): Promise<Report> {
  const { keys, releases, builtin, exports, gaps } = await kernelsBeside(heap);
  const paths = heap.paths.filter((path) => MODULE.test(path));
  const files =
    heap.directory === undefined
      ? await auditRemote(heap, paths, keys)
      : await auditLocal(heap.directory, paths, keys);
  const kernels = options.kernels === undefined ? releases : await releasesOf(options.kernels);
  const strange = heap.paths
    .filter((path) => STRANGE_MODULE.test(path))
    .map((path) => ({ path, why: "it is packed in a way that no kernel opens" }));
  return {
    ...{ files, keys },
    findings: findings(files, { kernels, builtin, exports }),
    unjudged: [...unjudged(files), ...strange],
    gaps: [
      ...heap.gaps,
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
      return inThread<AuditedFile[]>({ script: "../../audit-worker", base: import.meta.url, work });
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
        const bytes = await readRemote(heap, path);
        if (bytes instanceof FarmError) return [unread(path, bytes.message)];
        if (bytes === undefined) return [absent(path)];
        return auditFiles([{ path, bytes }], signersOf, heap.place);
      }),
    ),
  );
  return audited.flat();
}

/** A file that a server does not give is not known; the others still are. */
async function readRemote(heap: Heap, path: string): Promise<Buffer | FarmError | undefined> {
  try {
    return await heap.read(path);
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "REMOTE_UNAVAILABLE") throw error;
    return error;
  }
}

const FETCHED_AT_ONCE = 8;

/** Releases in a catalog, a matrix, or a kernel list. */
async function releasesOf(place: string): Promise<ReadonlySet<string>> {
  const { readCatalog } = await import("../../catalog-io.ts");
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

function toText({ files, findings: found, unjudged: unknown, gaps, keys }: Report): string {
  const claimed = new Set(files.flatMap(({ claim }) => claim?.release ?? []));
  const rows = found.map(({ kind, path, fact }) => [WORDS[kind], path, fact]);
  const shown = rows.length === 0 ? "" : `${table(["WHAT", "FILE", "WHY"], rows)}\n`;
  const unseen = unverified(files, keys);
  const lines = [
    `${counted(files.length, "module")} for ${counted(claimed.size, "kernel")}: ${factOf(found, gaps)}.`,
    ...[...Map.groupBy(unknown, ({ why }) => why)].map(
      ([why, of]) => `${of.length} cannot be judged (${examples(of.map(({ path }) => path))}): ${why}.`,
    ),
    ...(unseen === 0
      ? []
      : [
          `Signatures of ${counted(unseen, "module")} not verified: their kernel's key is in its boot image, which does not lie beside them.`,
        ]),
    ...(gaps.length === 0
      ? []
      : [
          "This is not all of it:",
          ...gaps.slice(0, MOST_GAPS).map(({ place, why }) => `  ${place}: ${why}`),
          ...(gaps.length > MOST_GAPS
            ? [`  and ${gaps.length - MOST_GAPS} more (--json names them all)`]
            : []),
        ]),
  ];
  return `${shown}${lines.join("\n")}\n`;
}

const MOST_GAPS = 20;

function factOf(found: readonly Finding[], gaps: readonly Gap[]): string {
  const kinds = [...Map.groupBy(found, ({ kind }) => kind)].map(
    ([kind, of]) => `${of.length} ${WORDS[kind]}`,
  );
  const wrong = new Set(found.map(({ path }) => path)).size;
  if (wrong > 0) return `${wrong} ${wrong === 1 ? "is" : "are"} wrong (${kinds.join(", ")})`;
  return gaps.length > 0 ? "of what could be read, nothing is wrong" : "nothing is wrong";
}

function examples(paths: readonly string[]): string {
  const [shown, rest] = [paths.slice(0, 3).join(", "), paths.length - 3];
  return rest > 0 ? `${shown} and ${rest} more` : shown;
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
  unsigned: "unsigned",
  duplicate: "duplicate",
  noKernel: "no kernel",
};

function toJson(place: string, { files, findings: found, unjudged: unknown, gaps, keys }: Report) {
  return {
    schema: "kmodfarm.audit/1",
    place,
    modules: files.length,
    kernels: [...new Set(files.flatMap(({ claim }) => claim?.release ?? []))].sort(),
    unclaimed: files.filter(({ claim }) => claim === undefined).map(({ path }) => path),
    unjudged: unknown,
    unread: gaps,
    signaturesUnverified: unverified(files, keys),
    findings: found,
  };
}
