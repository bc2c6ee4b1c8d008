/**
 * The load test: the very kernel boots in a virtual machine, takes modules in, lets them go, and does it once more. Sets
 * of one driver share a boot, until one of them harms it; the others then get another. Two drivers never share one: code in
 * a kernel decides what that kernel reports, of itself and of all that is there with it.
 */
import { randomBytes } from "node:crypto";
import { appendFile, chmod, copyFile, rm } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import type { LoadSettings } from "../builder/load-settings.ts";
import type { Packed } from "../formats/compressed-module.ts";
import { insertionOrder, type KernelModule, moduleName, readKernelModule } from "../formats/kernel-module.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import type { Package } from "../kernel/kernel.ts";
import { LivePatchAttributes, type LivePatchState, livePatchState } from "../kernel/live-patch.ts";
import { pathSegment } from "../kernel/path-segment.ts";
import { loadReason } from "./checks/load.ts";
import { type BootContext, fetchBootImage, fetchBusybox, fetchTreeModules } from "./guest/boot-image.ts";
import { type SecureBoot, withFirmware } from "./guest/firmware.ts";
import {
  type GuestContent,
  type GuestModule,
  type GuestTree,
  guestArchive,
  isRequestable,
  planOf,
} from "./guest/initramfs.ts";
import { fetchKernelTree } from "./guest/kernel-tree.ts";
import { fetchKmod, unopenedBy } from "./guest/kmod.ts";
import { askedFor, reportMark } from "./guest/plan.ts";
import { type Accelerator, type Boot, bootGuest, commandLineOf } from "./guest/qemu.ts";
import { type GuestReport, type Lockdown, readGuestReport } from "./guest/report.ts";
import { fellAlone, harmsKernel, judgeSet } from "./load-verdict.ts";
import { SetBudget } from "./set-budget.ts";
import { type Subject, type Verdict, verdict } from "./verdict.ts";

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

/** Modules of one version of a driver, and its own script to try them out. */
export interface LoadSet {
  /** Whose modules they are, as far as that is certain: sets of the same driver may share a boot, and no others. */
  readonly driver: string;
  readonly modules: readonly LoadModule[];
  readonly smoke?: string | undefined;
  readonly settings?: LoadSettings | undefined;
  /** Modules of other drivers that these need: they go in before, like those of the kernel's own tree. */
  readonly needs?: readonly LoadModule[];
}

export interface LoadRequest {
  readonly kernel: LoadKernel;
  /** Packages with a userland for the guest, the likeliest first. */
  readonly guest: readonly Package[];
  readonly sets: readonly LoadSet[];
  /** Go in before all else, in this order, and stay. */
  readonly livePatches?: readonly LoadModule[];
  /** Boots with firmware that starts signed kernels only, whose kernel then takes signed modules only. */
  readonly secureBoot?: SecureBoot | undefined;
}

export interface LoadReport {
  readonly verdict: Verdict;
  /** Wall time of the virtual machine, which other sets may have shared. */
  readonly bootMs: number;
  readonly accelerator: Accelerator;
  /** The kernel's messages while modules went in and out, and what the guest said last. */
  readonly log: string;
  /** What the kernel said of each live patch once it was in. */
  readonly livePatches: readonly AppliedLivePatch[];
  /** What the kernel demanded of modules, if it was booted with Secure Boot and said so. */
  readonly lockdown?: Lockdown;
}

export interface AppliedLivePatch {
  readonly patch: string;
  readonly state: LivePatchState;
  /** Undefined if it did not go in. */
  readonly attributes?: LivePatchAttributes;
}

interface ReadySet {
  readonly driver: string;
  /** In the order of insertion. */
  readonly modules: readonly LoadModule[];
  readonly read: readonly KernelModule[];
  readonly smoke: string | undefined;
  readonly settings: LoadSettings;
  /** Modules of other people's that it depends on: in-tree ones, where the kernel has them as modules. */
  readonly foreign: readonly string[];
  /** Those, and what it asks for in `softdep`: modules or aliases. */
  readonly wanted: readonly string[];
  /** Those of other drivers, in the order of insertion. */
  readonly needs: readonly LoadModule[];
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
  const { kernel, guest, secureBoot } = request;
  const image = kernel.packages.image[0];
  if (image === undefined)
    throw new FarmError("NOT_FETCHABLE", { detail: `no index lists a boot image for ${kernel.kversion}` });
  const sets = request.sets.map(readySet);
  const livePatches = (request.livePatches ?? []).map(plainFile);
  for (const { name } of livePatches) pathSegment(name, "module");
  const [vmlinuz, busybox, kmod] = await Promise.all([
    fetchBootImage(image, context, signal),
    fetchBusybox(guest, kernel.architecture, context, signal),
    fetchKmod(guest, context, signal),
  ]);
  const userland = { kernel, vmlinuz, busybox, kmod, secureBoot };
  const reports = new Map<ReadySet, LoadReport>();
  // What one set needs from the kernel's tree must not be there for another that brings its own.
  for (const alike of Map.groupBy(sets, ({ driver, wanted, needs, settings: { devices } }) =>
    JSON.stringify([driver, wanted, devices, needs.map(({ bytes }) => sha256(bytes))]),
  ).values()) {
    const { wanted = [], needs = [] } = alike[0] ?? {};
    const tree = await fetchTree(wanted, userland, context, signal);
    const loading = { ...userland, livePatches, tree, needs: needs.map(plainFile) };
    for (let rest = alike; rest.length > 0; ) {
      const boot = await bootSets(rest, loading, context, signal);
      for (const [index, report] of boot.entries()) reports.set(rest[index] as ReadySet, report);
      rest = rest.slice(boot.length);
    }
  }
  return sets.map((set) => reports.get(set) as LoadReport);
}

function readySet({ driver, modules, smoke, settings = {}, needs: others = [] }: LoadSet): ReadySet {
  const { ordered, read } = inOrder(modules);
  const needs = inOrder(others);
  const all = [...needs.read, ...read];
  // Names become paths and words of the guest's script.
  for (const { name } of all) pathSegment(name, "module");
  const own = new Set(all.map(({ name }) => name));
  const foreign = new Set(all.flatMap(({ depends }) => depends).filter((name) => !own.has(name)));
  const soft = all.flatMap(({ softdeps: { pre, post } }) => [...pre, ...post]);
  const wanted = [...foreign, ...soft.filter((name) => !own.has(name) && !foreign.has(name))];
  return {
    ...{ driver, modules: ordered, read, smoke, settings },
    foreign: [...foreign],
    wanted: [...new Set(wanted)].filter(isRequestable).toSorted(),
    needs: needs.ordered,
  };
}

/**
 * What of the kernel's own modules a guest has: all of them where any is asked for by name, none where nothing is; and
 * where there is no kmod for it, those that are needed.
 */
async function fetchTree(
  wanted: readonly string[],
  { kernel, kmod }: Pick<Loading, "kernel" | "kmod">,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<Loading["tree"]> {
  const packages = kernel.packages.modules;
  if (wanted.length === 0) return { kind: "some", modules: [] };
  if (kmod !== undefined && packages.length > 0) return wholeTree(wanted, { kernel, kmod }, context, signal);
  const found = await fetchTreeModules(wanted, packages, context, signal);
  const modules = inOrder([...found].map(([name, bytes]) => ({ name, bytes }))).ordered.map(plainFile);
  return { kind: "some", modules };
}

async function wholeTree(
  names: readonly string[],
  { kernel, kmod = [] }: Pick<Loading, "kernel" | "kmod">,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<Loading["tree"]> {
  const { kversion, packages } = kernel;
  const archive = await fetchKernelTree(kversion, packages.modules, unopenedBy(kmod), context, signal);
  return { kind: "whole", names, archive };
}

/** Each after those that it depends on, under its own name. */
function inOrder(
  modules: readonly LoadModule[],
): Pick<ReadySet, "read"> & { readonly ordered: LoadModule[] } {
  const budget = new SetBudget();
  const byName = new Map<string, { readonly one: LoadModule; readonly its: KernelModule }>();
  for (const one of modules) {
    const file = `${moduleName(one.name)}.ko`;
    const its = budget.hold(readKernelModule(one.bytes, file), file);
    byName.set(its.name, { one, its });
  }
  const all = [...byName.values()];
  const sorted = insertionOrder(all.map(({ its }) => its)).map((name) => byName.get(name) as (typeof all)[0]);
  return {
    ordered: sorted.map(({ one, its }) => ({ ...one, name: its.name })),
    read: sorted.map(({ its }) => its),
  };
}

function plainFile({ name, bytes }: LoadModule): GuestModule {
  return { name, file: `${name}.ko`, bytes };
}

/** What a guest gets of a set; busybox opens nothing that is compressed. */
function guestSet({ modules, read, smoke, settings }: ReadySet, hasKmod: boolean): GuestContent["sets"][0] {
  const fileOf = hasKmod ? packedFile : plainFile;
  const parameters = new Map(
    Object.entries(settings.parameters ?? {}).map(([name, its]) => [moduleName(name), its]),
  );
  return {
    smoke,
    modules: modules.map((one, index) => ({
      ...fileOf(one),
      parameters: parameters.get(one.name) ?? [],
      aliases: [
        ...(read[index]?.modinfo ?? []).flatMap(([key, value]) => (key === "alias" ? [value] : [])),
        // As depmod lists them: `symbol_request()` asks for the module that exports a name.
        ...(read[index]?.exports ?? []).map((symbol) => `symbol:${symbol.name}`),
      ],
      softdeps: {
        pre: [...(read[index]?.depends ?? []), ...(read[index]?.softdeps.pre ?? [])],
        post: read[index]?.softdeps.post ?? [],
      },
    })),
  };
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
  readonly tree: GuestTree | (GuestTree & { readonly kind: "whole"; readonly archive: string });
  readonly livePatches: readonly GuestModule[];
  readonly needs: readonly GuestModule[];
  readonly secureBoot: SecureBoot | undefined;
}

/** One boot; reports of as many sets, from the first on, as it proved something of. At least one. */
async function bootSets(
  sets: readonly ReadySet[],
  loading: Loading,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<LoadReport[]> {
  const { kernel, kmod, tree } = loading;
  const inside = sets.map((set) => guestSet(set, kmod !== undefined));
  const isLocked = loading.secureBoot !== undefined;
  const secret = randomBytes(16).toString("hex");
  const content = { ...loading, sets: inside, secret, saysLockdown: isLocked };
  const { boot, report } = await bootContent(content, sets[0], loading, context, signal);
  // Which of them made the report worthless cannot be said, so each gets a boot of its own.
  if (report.strange !== undefined && sets.length > 1)
    return bootSets(sets.slice(0, 1), loading, context, signal);
  const asked = tree.kind === "whole" ? [] : askedFor(report.log);
  if (asked.length > 0 && kmod !== undefined && kernel.packages.modules.length > 0) {
    const whole = await wholeTree(sets[0]?.wanted ?? [], loading, context, signal);
    return bootSets(sets, { ...loading, tree: whole }, context, signal);
  }
  return reportsOf(sets, report, boot, {
    kversion: kernel.kversion,
    isLocked,
    by: kmod === undefined ? "busybox" : "kmod",
    unopened: kmod === undefined ? [] : unopenedBy(kmod),
    subjects: inside.map(({ modules }) => modules.map(subjectOf)),
    missing: [
      ...new Set([...(kernel.packages.modules.length > 0 ? [] : (sets[0]?.foreign ?? [])), ...asked]),
    ],
  });
}

async function bootContent(
  content: GuestContent,
  first: ReadySet | undefined,
  { kernel: { architecture }, vmlinuz, tree, secureBoot }: Loading,
  { scratch }: BootContext,
  signal: AbortSignal | undefined,
): Promise<{ readonly boot: Boot; readonly report: GuestReport }> {
  const [initramfs, console] = [scratch.path(), scratch.path()];
  const once = async () => {
    const devices = first?.settings.devices ?? [];
    const mark = reportMark(content.secret);
    const guest = { architecture, vmlinuz, initramfs, console, devices, mark };
    const starting = { vmlinuz, initramfs, commandLine: commandLineOf(architecture) };
    const boot =
      secureBoot === undefined
        ? await bootGuest(guest, signal)
        : await withFirmware(secureBoot, starting, scratch, (firmware) =>
            bootGuest({ ...guest, firmware }, signal),
          );
    return { boot, report: readGuestReport(boot.console, content.secret, planOf(content)) };
  };
  try {
    if ("archive" in tree) await copyFile(tree.archive, initramfs);
    await appendFile(initramfs, gzipSync(guestArchive(content), { level: 1 }));
    // Guests run as another user.
    await chmod(initramfs, 0o644);
    await scratch.write(console, "");
    const { boot, report } = await once();
    // Emulated kernels now and then die or hang by themselves: no module has a part in that.
    return diedAlone(report, boot, first) ? await once() : { boot, report };
  } finally {
    await rm(initramfs, { force: true });
    await rm(console, { force: true });
  }
}

function subjectOf({ name, bytes }: GuestModule): Subject {
  return { module: name, sha256: sha256(bytes) };
}

/** Before any program ran, or before any module was in. */
function diedAlone(report: GuestReport, { isFlooded }: Boot, set: ReadySet | undefined): boolean {
  if (report.release === undefined) return !isFlooded;
  const first = report.sets.get(0);
  return first !== undefined && set !== undefined && fellAlone(set.read, first, report.lastWords);
}

/** Where sets are inserted, and by what. */
interface Inserting {
  readonly kversion: string;
  readonly isLocked: boolean;
  readonly by: "kmod" | "busybox";
  readonly unopened: readonly Packed["packing"][];
  /** The bytes that went into the guest, for each set. */
  readonly subjects: readonly (readonly Subject[])[];
  /** Names of modules that were needed or asked for, and that no guest here can have. */
  readonly missing: readonly string[];
}

function appliedLivePatch({ module, message: said }: GuestReport["livePatches"][0]): AppliedLivePatch {
  const attributes = said.split(" ").map((word) => word.split("="));
  const read = LivePatchAttributes.safeParse(Object.fromEntries(attributes));
  if (!read.success) return { patch: module, state: "not_applied" };
  return { patch: module, state: livePatchState(read.data), attributes: read.data };
}

function reportsOf(
  sets: readonly ReadySet[],
  report: GuestReport,
  boot: Boot,
  { kversion, isLocked, by, unopened, subjects, missing }: Inserting,
): LoadReport[] {
  const { bootMs, accelerator } = boot;
  const livePatches = report.livePatches.map(appliedLivePatch);
  const reports: LoadReport[] = [];
  for (const [index, { modules, read, smoke, settings, needs }] of sets.entries()) {
    const found = report.sets.get(index);
    const packings = modules.map(({ packed }) => packed?.packing);
    const set = {
      ...{ modules: read, hasSmoke: smoke !== undefined, by, noDevice: settings.noDevice, unheld: missing },
      ...{ isLocked, needs: needs.map(({ name }) => name) },
      unopened: unopened.find((packing) => packings.includes(packing)),
    };
    // It gets another boot, as the first one there.
    const isAlone = found !== undefined && fellAlone(read, found, report.lastWords);
    if (index > 0 && (isAlone || (boot.isSlow && found?.taint === undefined))) return reports;
    const judged = judgeSet(set, found, report, boot, kversion);
    if (judged === undefined && index > 0) return reports;
    const log = [
      ...(found?.log ?? report.log),
      ...(report.ended ? [] : ["--- end of the console ---", ...report.lastWords]),
    ].join("\n");
    const silent = verdict(
      "load",
      "unknown",
      loadReason("silent", "the guest ended before it reached the modules"),
    );
    const said = { ...(judged ?? silent), of: [...(subjects[index] ?? [])] };
    const { lockdown } = report;
    reports.push({
      ...{ verdict: said, bootMs, accelerator, log, livePatches },
      ...(lockdown === undefined ? {} : { lockdown }),
    });
    if (found === undefined || harmsKernel(found)) return reports;
  }
  return reports;
}
