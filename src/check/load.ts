/**
 * The load test: the very kernel boots in a virtual machine, takes modules in, lets them go, and does it once more. Sets
 * of modules for one kernel share a boot, until one of them harms it; the others then get another.
 */
import { randomBytes } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { FarmError } from "../base/error.ts";
import type { Packed } from "../formats/compressed-module.ts";
import { insertionOrder, type KernelModule, readKernelModule } from "../formats/kernel-module.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import type { Package } from "../kernel/kernel.ts";
import { pathSegment } from "../kernel/path-segment.ts";
import { type BootContext, fetchBootImage, fetchBusybox, fetchTreeModules } from "./boot-image.ts";
import { type GuestModule, type GuestReport, type GuestSet, guestArchive, readGuestReport } from "./guest.ts";
import { fetchKmod, unopenedBy } from "./guest-kmod.ts";
import { fellAlone, harmsKernel, judgeSet } from "./load-verdict.ts";
import { type Accelerator, type Boot, bootGuest } from "./qemu.ts";
import { type Verdict, verdict } from "./verdict.ts";

interface LoadKernel {
  readonly kversion: string;
  readonly architecture: ArchitectureName;
  readonly packages: { readonly image: readonly Package[]; readonly modules: readonly Package[] };
}

interface LoadModule {
  readonly name: string;
  /** Not compressed. */
  readonly bytes: Buffer;
  /** As nodes have it, where they have it compressed: kmod opens it, or does not. */
  readonly packed?: Packed | undefined;
}

/** Modules of one driver, and its own script to try them out. */
export interface LoadSet {
  readonly modules: readonly LoadModule[];
  readonly smoke?: string | undefined;
}

export interface LoadRequest {
  readonly kernel: LoadKernel;
  /** Packages with a userland for the guest, the likeliest first. */
  readonly guest: readonly Package[];
  readonly sets: readonly LoadSet[];
}

export interface LoadReport {
  readonly verdict: Verdict;
  /** Wall time of the virtual machine, which other sets may have shared. */
  readonly bootMs: number;
  readonly accelerator: Accelerator;
  /** The kernel's messages while modules went in and out, and what the guest said last. */
  readonly log: string;
}

interface ReadySet {
  /** In the order of insertion. */
  readonly modules: readonly LoadModule[];
  readonly read: readonly KernelModule[];
  readonly smoke: string | undefined;
}

/**
 * Loads sets of modules into their kernel; one report for each, in their order. What modules do wrong is a verdict; what
 * this machine or a mirror does wrong is thrown.
 * @throws FarmError NOT_FETCHABLE when the boot image is nowhere, MODULE_MALFORMED
 */
export async function loadModules(
  request: LoadRequest,
  context: BootContext,
  signal?: AbortSignal,
): Promise<LoadReport[]> {
  const { kernel, guest } = request;
  const image = kernel.packages.image[0];
  if (image === undefined)
    throw new FarmError("NOT_FETCHABLE", { detail: `no index lists a boot image for ${kernel.kversion}` });
  const sets = request.sets.map(readySet);
  const own = new Set(sets.flatMap(({ read }) => read.map((one) => one.name)));
  const depended = sets.flatMap(({ read }) => read.flatMap(({ depends }) => depends));
  const foreign = [...new Set(depended)].filter((name) => !own.has(name));
  const [vmlinuz, busyboxFile, kmod, found] = await Promise.all([
    fetchBootImage(image, context, signal),
    fetchBusybox(guest, kernel.architecture, context, signal),
    fetchKmod(guest, context, signal),
    fetchTreeModules(foreign, kernel.packages.modules, context, signal),
  ]);
  const busybox = await readFile(busyboxFile);
  const tree = inOrder([...found].map(([name, bytes]) => ({ name, bytes }))).map(plainFile);
  const reports: LoadReport[] = [];
  const loading = { kernel, vmlinuz, busybox, kmod, tree };
  while (reports.length < sets.length)
    reports.push(...(await bootSets(sets.slice(reports.length), loading, context, signal)));
  return reports;
}

function readySet({ modules, smoke }: LoadSet): ReadySet {
  const ordered = inOrder(modules.map((one) => ({ ...one, name: one.name.replaceAll("-", "_") })));
  const read = ordered.map(({ name, bytes }) => readKernelModule(bytes, `${name}.ko`));
  // Names become paths and words of the guest's script.
  for (const { name } of read) pathSegment(name, "module");
  return { modules: ordered, read, smoke };
}

/** Each after those that it depends on. */
function inOrder(modules: readonly LoadModule[]): LoadModule[] {
  const read = modules.map(({ name, bytes }) => readKernelModule(bytes, `${name}.ko`));
  const byName = new Map(read.map(({ name }, index) => [name, modules[index] as LoadModule]));
  return insertionOrder(read).map((name) => ({ ...(byName.get(name) as LoadModule), name }));
}

function plainFile({ name, bytes }: LoadModule): GuestModule {
  return { name, file: `${name}.ko`, bytes };
}

function packedFile(one: LoadModule): GuestModule {
  const { name, packed } = one;
  return packed === undefined
    ? plainFile(one)
    : { name, file: `${name}.ko.${packed.packing}`, bytes: packed.bytes };
}

interface Loading {
  readonly kernel: LoadKernel;
  readonly vmlinuz: string;
  readonly busybox: Buffer;
  readonly kmod: Awaited<ReturnType<typeof fetchKmod>>;
  readonly tree: readonly GuestModule[];
}

/** One boot; reports of as many sets, from the first on, as it proved something of. At least one. */
async function bootSets(
  sets: readonly ReadySet[],
  { kernel, vmlinuz, busybox, kmod, tree }: Loading,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<LoadReport[]> {
  const nonce = randomBytes(8).toString("hex");
  // Busybox opens nothing that is compressed.
  const fileOf = kmod === undefined ? plainFile : packedFile;
  const inside = sets.map(({ modules, smoke }): GuestSet => ({ modules: modules.map(fileOf), smoke }));
  const archive = guestArchive({ busybox, kmod, tree, sets: inside, nonce });
  const [initramfs, console] = [context.scratch.path(), context.scratch.path()];
  try {
    await context.scratch.write(initramfs, gzipSync(archive, { level: 1 }));
    await context.scratch.write(console, "");
    const guest = { architecture: kernel.architecture, vmlinuz, initramfs, console };
    let boot = await bootGuest(guest, signal);
    let report = readGuestReport(boot.console, nonce);
    // Emulated kernels now and then die by themselves: no module has a part in that.
    if (diedAlone(report, boot, sets[0])) {
      boot = await bootGuest(guest, signal);
      report = readGuestReport(boot.console, nonce);
    }
    return reportsOf(sets, report, boot, {
      kversion: kernel.kversion,
      by: kmod === undefined ? "busybox" : "kmod",
      unopened: kmod === undefined ? [] : unopenedBy(kmod),
    });
  } finally {
    await rm(initramfs, { force: true });
    await rm(console, { force: true });
  }
}

/** Before any program ran, or before any module was in. */
function diedAlone(report: GuestReport, { timedOut }: Boot, set: ReadySet | undefined): boolean {
  if (report.release === undefined) return !timedOut;
  const first = report.sets.get(0);
  return first !== undefined && set !== undefined && fellAlone(set.read, first, report.lastWords);
}

/** Where sets are inserted, and by what. */
interface Inserting {
  readonly kversion: string;
  readonly by: "kmod" | "busybox";
  readonly unopened: readonly Packed["packing"][];
}

function reportsOf(
  sets: readonly ReadySet[],
  report: GuestReport,
  boot: Boot,
  { kversion, by, unopened }: Inserting,
): LoadReport[] {
  const { bootMs, accelerator } = boot;
  const reports: LoadReport[] = [];
  for (const [index, { modules, read, smoke }] of sets.entries()) {
    const found = report.sets.get(index);
    const packings = modules.map(({ packed }) => packed?.packing);
    const set = {
      ...{ modules: read, hasSmoke: smoke !== undefined, by },
      unopened: unopened.find((packing) => packings.includes(packing)),
    };
    // It gets another boot, as the first one there.
    if (index > 0 && found !== undefined && fellAlone(read, found, report.lastWords)) return reports;
    const judged = judgeSet(set, found, report, boot, kversion);
    if (judged === undefined && index > 0) return reports;
    const log = [
      ...(found?.log ?? report.log),
      ...(report.ended ? [] : ["--- last words of the console ---", ...report.lastWords]),
    ].join("\n");
    const silent = verdict("load", "unknown", "the guest ended before it came to the modules");
    reports.push({ verdict: judged ?? silent, bootMs, accelerator, log });
    if (found === undefined || harmsKernel(found)) return reports;
  }
  return reports;
}
