/**
 * Booting a kernel in QEMU: with the host's own processor where that truly works, else by emulation.
 */
import { access, constants, readFile, truncate } from "node:fs/promises";
import { run } from "../base/run.ts";
import { type ArchitectureName, architecture, hostArchitecture } from "../kernel/architecture.ts";

export type Accelerator = "kvm" | "tcg";

export interface Guest {
  readonly architecture: ArchitectureName;
  readonly vmlinuz: string;
  readonly initramfs: string;
  /** An empty file that gets what the guest writes to its console. */
  readonly console: string;
}

export interface Boot {
  readonly console: string;
  readonly bootMs: number;
  readonly accelerator: Accelerator;
  readonly timedOut: boolean;
  /** The guest wrote more than a console may hold, and was ended for it. */
  readonly isFlooded: boolean;
}

const TIMEOUT_MS = 120_000;
const CONSOLE_LIMIT_BYTES = 4 * 1024 * 1024;
const MEMORY_MIB = "512";

/** Boots a guest to its end: it powers itself off, panics, or is ended when its time is over. */
export async function bootGuest(guest: Guest, signal?: AbortSignal): Promise<Boot> {
  const accelerator = await probeAccelerator(guest.architecture);
  const boot = await bootWith(guest, accelerator, signal);
  // A device that is there and does not work shows only now.
  if (accelerator === "kvm" && boot.console === "") return bootWith(guest, "tcg", signal);
  return boot;
}

async function bootWith(guest: Guest, accelerator: Accelerator, signal?: AbortSignal): Promise<Boot> {
  const { qemu } = architecture(guest.architecture);
  const system = ["/usr", "/bin", "/lib", "/lib64", "/etc/alternatives"].flatMap((path) => [
    "--ro-bind-try",
    path,
    path,
  ]);
  const argv = [
    // A console on a pipe loses characters whenever we are slow to read; on a file it does not.
    // QEMU runs code nobody has vouched for: it gets no network and sees no files but these.
    [
      "bwrap",
      "--unshare-all",
      "--die-with-parent",
      "--new-session",
      "--cap-drop",
      "ALL",
      ...system,
      "--tmpfs",
      "/tmp",
    ],
    ["--dev", "/dev", ...(accelerator === "kvm" ? ["--dev-bind", "/dev/kvm", "/dev/kvm"] : [])],
    [
      "--bind",
      guest.console,
      "/console",
      "--ro-bind",
      guest.vmlinuz,
      "/vmlinuz",
      "--ro-bind",
      guest.initramfs,
      "/initramfs",
      "--",
    ],
    [qemu.program, "-accel", accelerator, ...(accelerator === "kvm" ? qemu.kvmArguments : qemu.arguments)],
    [
      "-m",
      MEMORY_MIB,
      "-smp",
      "1",
      "-nodefaults",
      "-no-user-config",
      "-display",
      "none",
      "-no-reboot",
      "-serial",
      "file:/console",
    ],
    ["-kernel", "/vmlinuz", "-initrd", "/initramfs"],
    // A module's end waits for grace periods, which are slow where nothing else happens.
    ["-append", `console=${qemu.console} panic=-1 quiet rcupdate.rcu_expedited=1`],
  ].flat();
  await truncate(guest.console);
  const started = performance.now();
  const result = await run(argv, { timeoutMs: TIMEOUT_MS }, signal);
  const console = await readFile(guest.console, "utf8");
  return {
    console,
    bootMs: Math.round(performance.now() - started),
    accelerator,
    timedOut: result.timedOut,
    isFlooded: console.length >= CONSOLE_LIMIT_BYTES,
  };
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
