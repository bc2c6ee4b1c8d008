/**
 * Booting a kernel in QEMU: with the host's own processor where that truly works, else by emulation. QEMU works on what
 * strangers made, so it runs in a box (box.ts).
 */
import { access, constants, readFile, stat, truncate } from "node:fs/promises";
import { FarmError } from "../../base/error.ts";
import { isInstalled } from "../../base/programs.ts";
import { lastLines, run } from "../../base/run.ts";
import { deviceArguments, type LoadSettings } from "../../builder/load-settings.ts";
import { type ArchitectureName, architecture, hostArchitecture } from "../../kernel/architecture.ts";
import { boxed } from "./box.ts";
import type { Firmware } from "./firmware.ts";

export type Accelerator = "kvm" | "tcg";

export interface Guest {
  readonly architecture: ArchitectureName;
  readonly vmlinuz: string;
  readonly initramfs: string;
  /** An empty file that gets what the guest writes to its console. */
  readonly console: string;
  readonly devices: NonNullable<LoadSettings["devices"]>;
  /** What each line of its report begins with: as long as such lines come, it is at work. */
  readonly mark: string;
  /** Without, QEMU itself starts the kernel. */
  readonly firmware?: Firmware | undefined;
}

export interface Boot {
  readonly console: string;
  readonly bootMs: number;
  readonly accelerator: Accelerator;
  /** The guest was ended when its time was over, or when it had reported nothing for long. */
  readonly timedOut: boolean;
  /** It went on reporting all that time: it is slow, and does not hang. */
  readonly isSlow: boolean;
  /** The guest was ended because it wrote more than a console may hold. */
  readonly isFlooded: boolean;
  /** What QEMU itself said last. */
  readonly said: string;
}

/** Twice what a guest takes to notice that a step of its own hangs; it notices nothing if its kernel does. */
export const QUIET_LIMIT_MS = 120_000;
/** For one that goes on, as emulated ones do on busy machines. */
export const BOOT_LIMIT_MS = 600_000;
/** Firmware has as much before the kernel, which reports nothing meanwhile. */
const FIRMWARE_LIMIT_MS = 120_000;
export const CONSOLE_LIMIT_BYTES = 4 * 1024 * 1024;
const LOOK_EVERY_MS = 500;
const KERNEL_SETTINGS = "rcupdate.rcu_expedited=1 printk.devkmsg=on";
/** Twice what modules of a kernel take as an archive, and room for what the largest kernels want. */
const MEMORY_MIB = "1024";

/**
 * Boots a guest to its end: it powers itself off, panics, or is ended when it reports no more or its console is full.
 * @throws FarmError TOOL_MISSING without QEMU
 */
export async function bootGuest(guest: Guest, signal?: AbortSignal): Promise<Boot> {
  const { program, package: from } = architecture(guest.architecture).qemu;
  // A box without it would only be silent, as a guest is that dies.
  if (!isInstalled(program))
    throw new FarmError("TOOL_MISSING", {
      detail: `${program} is not installed, so no kernel for ${guest.architecture} can be booted`,
      hint: `Run apt-get install ${from}, or skip the load test with \`kmodfarm check --no-load\`.`,
    });
  const accelerator = await probeAccelerator(guest.architecture);
  const boot = await bootWith(guest, accelerator, signal);
  // A device that is there and does not work shows only now.
  if (accelerator === "kvm" && boot.console === "") return bootWith(guest, "tcg", signal);
  return boot;
}

async function bootWith(guest: Guest, accelerator: Accelerator, signal?: AbortSignal): Promise<Boot> {
  const { vmlinuz, initramfs, console, firmware } = guest;
  await truncate(console);
  const box = await boxed(qemuArguments(guest, accelerator), {
    readable: [[vmlinuz, "/vmlinuz"], [initramfs, "/initramfs"], ...(firmware?.readable ?? [])],
    writable: [[console, "/console"], ...(firmware?.writable ?? [])],
    devices: accelerator === "kvm" ? ["/dev/kvm"] : [],
    fileLimitBytes: CONSOLE_LIMIT_BYTES,
  });
  const started = performance.now();
  const { stderr, timedOut, isQuiet } = await runWatched(box, guest, signal);
  const bytes = await readFile(console);
  return {
    console: bytes.toString("utf8"),
    bootMs: Math.round(performance.now() - started),
    accelerator,
    timedOut: timedOut || isQuiet,
    isSlow: timedOut,
    isFlooded: bytes.length >= CONSOLE_LIMIT_BYTES,
    said: lastLines(stderr, 2),
  };
}

/**
 * Ends a guest whose console is full, or that reports no more. The kernel keeps the console within its limit, but QEMU's
 * processors are deaf to the signal that says so.
 */
async function runWatched(
  argv: readonly string[],
  { console, mark, firmware }: Pick<Guest, "console" | "mark" | "firmware">,
  signal?: AbortSignal,
) {
  const enough = new AbortController();
  const begun = performance.now() + (firmware === undefined ? 0 : FIRMWARE_LIMIT_MS);
  const seen = { size: 0, mark: -1, at: begun };
  let isQuiet = false;
  const look = async () => {
    const { size } = await stat(console);
    if (size >= CONSOLE_LIMIT_BYTES) enough.abort();
    const mostRecent = size === seen.size ? seen.mark : (await readFile(console)).lastIndexOf(mark);
    seen.size = size;
    if (mostRecent > seen.mark) [seen.mark, seen.at] = [mostRecent, performance.now()];
    if (performance.now() - seen.at < QUIET_LIMIT_MS) return;
    isQuiet = true;
    enough.abort();
  };
  const looking = setInterval(() => void look().catch(() => {}), LOOK_EVERY_MS); // The next look asks again.
  try {
    const result = await run(argv, { timeoutMs: BOOT_LIMIT_MS, until: enough.signal }, signal);
    return { ...result, isQuiet };
  } finally {
    clearInterval(looking);
  }
}

/** What the kernel is told. */
export function commandLineOf(name: ArchitectureName): string {
  // A module's end waits for grace periods, which are slow where nothing else happens. Programs that lie at the same
  // addresses each time are translated once.
  return `console=${architecture(name).qemu.console} panic=-1 quiet norandmaps ${KERNEL_SETTINGS}`;
}

function qemuArguments({ devices, firmware, ...guest }: Guest, accelerator: Accelerator): string[] {
  const { qemu } = architecture(guest.architecture);
  return [
    [qemu.program, "-accel", accelerator, ...(accelerator === "kvm" ? qemu.kvmArguments : qemu.arguments)],
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ["-m", MEMORY_MIB, "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    // A console on a pipe loses characters whenever we are slow to read; on a file it does not.
    ["-serial", "file:/console"],
    firmware?.arguments ?? [],
    deviceArguments(devices),
    firmware?.hasDisk === true
      ? []
      : ["-kernel", "/vmlinuz", "-initrd", "/initramfs", "-append", commandLineOf(guest.architecture)],
  ].flat();
}

let kvmWorks: Promise<boolean> | undefined;

/** How a guest of an architecture is run here: with the host's own processor only where that truly works. */
export async function probeAccelerator(guest: ArchitectureName): Promise<Accelerator> {
  if (guest !== hostArchitecture(process.arch)) return "tcg";
  kvmWorks ??= probeKvm(guest);
  return (await kvmWorks) ? "kvm" : "tcg";
}

/** Makes a machine with KVM and reads its registers: a device that opens, and even a virtual machine without a processor, proves little. */
async function probeKvm(host: ArchitectureName): Promise<boolean> {
  const mayOpen = await access("/dev/kvm", constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!mayOpen) return false;
  const argv = [
    architecture(host).qemu.program,
    "-accel",
    "kvm",
    ...architecture(host).qemu.kvmArguments,
    ...["-S", "-m", "64", "-nodefaults", "-display", "none", "-monitor", "stdio"],
  ];
  const result = await run(argv, { input: "info registers\nquit\n", timeoutMs: 10_000 }).catch(
    () => undefined,
  );
  return result?.exitCode === 0 && !result.timedOut;
}
