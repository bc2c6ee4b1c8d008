/**
 * Firmware with Secure Boot for a guest: OVMF, and flash of its own in which certificates are enrolled. Either the firmware
 * itself starts the kernel, which its `db` allows; or it starts shim, which Microsoft signed, and GRUB from a disk, as on a
 * machine that somebody installed, and the certificates are in shim's list (MOK).
 */
import { chmod, readFile, rm, stat, truncate } from "node:fs/promises";
import { FarmError } from "../../base/error.ts";
import { isInstalled } from "../../base/programs.ts";
import { lastLines, run } from "../../base/run.ts";
import { exists, type Scratch } from "../../base/scratch.ts";
import { signersOf } from "../../formats/authenticode.ts";
import { mokVariables, secureBootVariables, withVariables } from "../../formats/efi-variables.ts";

/** What a machine with Secure Boot knows beside its kernel's own signer. */
export interface SecureBoot {
  /** DER of certificates that its owner enrolled. */
  readonly enrolled: readonly Uint8Array[];
  /** Where: in the firmware's `db`, or by shim in the list of the machine's owner. */
  readonly list: "db" | "mok";
}

export interface Firmware {
  /** QEMU's arguments, with the files as the box shows them. */
  readonly arguments: readonly string[];
  readonly readable: readonly (readonly [string, string])[];
  readonly writable: readonly (readonly [string, string])[];
  /** Whether it finds the kernel on a disk of its own. */
  readonly hasDisk: boolean;
}

/** What starts, and where the words of its command line come from. */
interface Boot {
  readonly vmlinuz: string;
  readonly initramfs: string;
  readonly commandLine: string;
}

const CODE = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const EMPTY_FLASH = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const MICROSOFT_FLASH = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";
const SHIM = "/usr/lib/shim/shimx64.efi.signed";
const GRUB = "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";

/** What each list needs of this machine, and the Debian packages that bring it. */
const NEEDS = {
  db: [
    [CODE, "ovmf"],
    [EMPTY_FLASH, "ovmf"],
  ],
  mok: [
    [CODE, "ovmf"],
    [MICROSOFT_FLASH, "ovmf"],
    [SHIM, "shim-signed"],
    [GRUB, "grub-efi-amd64-signed"],
    ["mformat", "mtools"],
    ["mcopy", "mtools"],
  ],
} as const;

/** @throws FarmError TOOL_MISSING with the package that brings what is missing */
export async function requireFirmware(
  list: SecureBoot["list"],
  isThere: (thing: string) => Promise<boolean> = isHere,
): Promise<void> {
  for (const [thing, from] of NEEDS[list])
    if (!(await isThere(thing)))
      throw new FarmError("TOOL_MISSING", {
        detail: `${thing} is not installed, so no kernel can be booted with Secure Boot here`,
        hint: `Run apt-get install ${from}, or scripts/setup.sh secure-boot in a checkout.`,
      });
}

async function isHere(thing: string): Promise<boolean> {
  return thing.startsWith("/") ? exists(thing) : isInstalled(thing);
}

/**
 * Makes the firmware's files, hands them to `use`, and removes them.
 * @throws FarmError LOAD_FAILED for a kernel that nobody signed, TOOL_MISSING, TOOL_FAILED
 */
export async function withFirmware<T>(
  { enrolled, list }: SecureBoot,
  boot: Boot,
  scratch: Scratch,
  use: (firmware: Firmware) => Promise<T>,
): Promise<T> {
  await requireFirmware(list);
  const signers = signersOf(await readFile(boot.vmlinuz), "the boot image");
  const [owner] = signers;
  if (owner === undefined)
    throw new FarmError("LOAD_FAILED", {
      detail: "the kernel's boot image is not signed, so Secure Boot does not start it",
    });
  const [flash, disk] = [scratch.path(), scratch.path()];
  const template = await readFile(list === "db" ? EMPTY_FLASH : MICROSOFT_FLASH);
  const variables =
    list === "db" ? secureBootVariables(owner, [...signers, ...enrolled]) : mokVariables(enrolled);
  try {
    await scratch.write(flash, withVariables(template, variables, "OVMF's flash"));
    if (list === "mok") await makeDisk(disk, boot, scratch);
    return await use(firmwareOf(flash, list === "mok" ? disk : undefined));
  } finally {
    for (const file of [flash, disk]) await rm(file, { force: true });
  }
}

function firmwareOf(flash: string, disk: string | undefined): Firmware {
  return {
    arguments: [
      ...["-machine", "smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"],
      ...["-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/firmware"],
      ...["-drive", "if=pflash,unit=1,format=raw,file=/flash"],
      ...(disk === undefined
        ? []
        : [
            ...["-drive", "if=none,id=disk,format=raw,readonly=on,file=/disk"],
            ...["-device", "virtio-blk-pci,drive=disk,bootindex=0,romfile="],
          ]),
    ],
    readable: [[CODE, "/firmware"], ...(disk === undefined ? [] : [[disk, "/disk"] as const])],
    writable: [[flash, "/flash"]],
    hasDisk: disk !== undefined,
  };
}

/** Room for what a file system says of itself, and a size that FAT32 has at least. */
const DISK_SPARE_BYTES = 48 * 1024 * 1024;
const SECTOR_BYTES = 512;

/** A system partition without a partition table, which firmware starts as it starts a USB stick. */
async function makeDisk(disk: string, boot: Boot, scratch: Scratch): Promise<void> {
  const config = scratch.path();
  const files = [
    [SHIM, "EFI/BOOT/BOOTX64.EFI"],
    [GRUB, "EFI/BOOT/grubx64.efi"],
    [boot.vmlinuz, "vmlinuz"],
    [boot.initramfs, "initramfs"],
    [config, "EFI/debian/grub.cfg"],
  ] as const;
  try {
    await scratch.write(config, `linux /vmlinuz ${boot.commandLine}\ninitrd /initramfs\nboot\n`);
    const sizes = await Promise.all(files.map(async ([file]) => (await stat(file)).size));
    const bytes = sizes.reduce((sum, size) => sum + size, DISK_SPARE_BYTES);
    const sectors = Math.ceil(bytes / SECTOR_BYTES);
    await scratch.write(disk, "");
    await truncate(disk, sectors * SECTOR_BYTES);
    await mtool(["mformat", "-i", disk, "-F", "-T", String(sectors), "::"]);
    await mtool(["mmd", "-i", disk, "::EFI", "::EFI/BOOT", "::EFI/debian"]);
    for (const [file, place] of files) await mtool(["mcopy", "-i", disk, file, `::${place}`]);
    await chmod(disk, 0o644);
  } finally {
    await rm(config, { force: true });
  }
}

async function mtool(argv: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await run(argv);
  if (exitCode !== 0)
    throw new FarmError("TOOL_FAILED", { detail: `${argv[0]} failed: ${lastLines(stderr, 2)}` });
}
