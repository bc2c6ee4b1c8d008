/**
 * The load test: the very kernel boots in a virtual machine, takes the modules in, and lets them go again.
 */
import { randomBytes } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { FarmError } from "../base/error.ts";
import {
  insertionOrder,
  isGplCompatible,
  type KernelModule,
  readKernelModule,
} from "../formats/kernel-module.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import type { Package } from "../kernel/kernel.ts";
import { type BootContext, fetchBootImage, fetchBusybox, fetchTreeModules } from "./boot-image.ts";
import { type GuestReport, guestArchive, readGuestReport } from "./guest.ts";
import { type Accelerator, type Boot, bootGuest } from "./qemu.ts";
import type { Verdict } from "./verdict.ts";

export interface LoadRequest {
  readonly kernel: {
    readonly kversion: string;
    readonly architecture: ArchitectureName;
    readonly packages: { readonly image: readonly Package[]; readonly modules: readonly Package[] };
  };
  /** Packages with a userland for the guest, the likeliest first. */
  readonly guest: readonly Package[];
  /** The driver's modules, uncompressed. */
  readonly modules: readonly { readonly name: string; readonly bytes: Buffer }[];
}

export interface LoadReport {
  readonly verdict: Verdict;
  /** Wall time of the virtual machine. */
  readonly bootMs: number;
  readonly accelerator: Accelerator;
  /** The kernel's messages while modules went in and out, and what the guest said last. */
  readonly log: string;
}

/**
 * Loads modules into their kernel. What the modules do wrong is a verdict; what this machine or a mirror
 * does wrong is thrown.
 * @throws FarmError NOT_FETCHABLE when the boot image is nowhere
 */
export async function loadModules(
  request: LoadRequest,
  context: BootContext,
  signal?: AbortSignal,
): Promise<LoadReport> {
  const { kernel } = request;
  const image = kernel.packages.image[0];
  if (image === undefined) {
    throw new FarmError("NOT_FETCHABLE", { detail: `no index lists a boot image for ${kernel.kversion}` });
  }
  const read = request.modules.map(({ name, bytes }) => readKernelModule(bytes, `${name}.ko`));
  const own = new Set(read.map((one) => one.name));
  const foreign = [...new Set(read.flatMap(({ depends }) => depends))].filter((name) => !own.has(name));
  const [vmlinuz, busybox, tree] = await Promise.all([
    fetchBootImage(image, context, signal),
    fetchBusybox(request.guest, kernel.architecture, context, signal),
    fetchTreeModules(foreign, kernel.packages.modules, context, signal),
  ]);
  const bytesOf = new Map([
    ...tree,
    ...request.modules.map(({ name, bytes }) => [name.replaceAll("-", "_"), bytes] as const),
  ]);
  const order = insertionOrder([...[...tree].map(([name, bytes]) => readKernelModule(bytes, name)), ...read]);
  const nonce = randomBytes(8).toString("hex");
  const archive = guestArchive({
    busybox: await readFile(busybox),
    modules: order.map((name) => ({ name, bytes: bytesOf.get(name) as Buffer })),
    nonce,
  });
  const [initramfs, console] = [context.scratch.path(), context.scratch.path()];
  try {
    await context.scratch.write(initramfs, gzipSync(archive, { level: 1 }));
    await context.scratch.write(console, "");
    const boot = await bootGuest({ architecture: kernel.architecture, vmlinuz, initramfs, console }, signal);
    const report = readGuestReport(boot.console, nonce);
    return {
      verdict: judge(report, kernel.kversion, order, read, boot),
      bootMs: boot.bootMs,
      accelerator: boot.accelerator,
      log: [
        ...report.log,
        ...(report.ended ? [] : ["--- last words of the console ---", ...report.lastWords]),
      ].join("\n"),
    };
  } finally {
    await rm(initramfs, { force: true });
    await rm(console, { force: true });
  }
}

/** Taints that say only that a module is not the distribution's own (O), or carries no signature (E). */
const EXPECTED_TAINT = (1 << 12) | (1 << 13);
const PROPRIETARY_TAINT = 1 << 0;
const TAINT_WORDS: ReadonlyMap<number, string> = new Map([
  [1, "was forced to load a module"],
  [4, "saw a machine check"],
  [5, "found a bad page"],
  [7, "oopsed"],
  [9, "gave a warning"],
  [14, "had a soft lockup"],
]);

function judge(
  report: GuestReport,
  kversion: string,
  order: readonly string[],
  own: readonly KernelModule[],
  boot: Pick<Boot, "timedOut" | "isFlooded">,
): Verdict {
  const verdict = (word: Verdict["verdict"], ...reasons: string[]): Verdict => ({
    check: "load",
    verdict: word,
    reasons,
  });
  if (report.release === undefined) {
    return verdict(
      "unknown",
      `the guest said nothing${boot.timedOut ? " until its time was over" : " before it ended"}: this proves nothing about the modules`,
    );
  }
  if (boot.isFlooded) return verdict("fail", "the guest flooded its console and was ended");
  if (report.release !== kversion)
    return verdict("unknown", `the guest runs ${report.release}, not ${kversion}`);
  for (const name of order) {
    const inserted = report.inserted.get(name);
    if (inserted === undefined)
      return verdict(
        "fail",
        `the kernel stopped while ${name} was inserted: ${report.lastWords.at(-1) ?? ""}`,
      );
    if (inserted.exitCode !== 0) {
      const fault = report.log.find((line) => KERNEL_FAULT.test(line));
      return fault === undefined
        ? verdict("fail", `${name} is refused: ${refusal(inserted.message, report.log, name)}`)
        : verdict("fail", `the kernel oopsed while ${name} was inserted: ${withoutTime(fault)}`);
    }
    const removed = report.removed.get(name);
    if (removed !== undefined && removed.exitCode !== 0)
      return verdict("fail", `${name} cannot be removed: ${removed.message}`);
  }
  if (!report.ended)
    return verdict(
      "fail",
      `the kernel stopped before the modules were removed: ${report.lastWords.at(-1) ?? ""}`,
    );
  const allowed =
    EXPECTED_TAINT | (own.some(({ license }) => !isGplCompatible(license)) ? PROPRIETARY_TAINT : 0);
  const unexpected = (report.taint ?? 0) & ~((report.taintBefore ?? 0) | allowed);
  if (unexpected !== 0) return verdict("fail", `with the modules in, the kernel ${taintWords(unexpected)}`);
  return verdict("pass", `${order.join(", ")} inserted and removed again`);
}

/** How a kernel that goes on living begins to tell of its own fault, on either architecture. */
const KERNEL_FAULT = /\b(BUG: |Oops|Unable to handle kernel|kernel BUG at|general protection fault)/;

function withoutTime(line: string): string {
  return line.replace(/^\[[ 0-9.]+\] /, "");
}

/** The kernel's own sentence says more than insmod's ("Invalid module format"). */
function refusal(message: string, log: readonly string[], name: string): string {
  const own = log.findLast((line) => line.includes(`${name}: `));
  return own === undefined ? message : `${message} (${withoutTime(own)})`;
}

function taintWords(taint: number): string {
  const bits = Array.from({ length: 20 }, (_, bit) => bit).filter((bit) => (taint & (1 << bit)) !== 0);
  return bits.map((bit) => TAINT_WORDS.get(bit) ?? `is tainted (bit ${bit})`).join(" and ");
}
