/**
 * CPU architectures: each one's names in the worlds we speak to. `uname -m` names ours.
 */
import { z } from "zod";

export const ArchitectureName = z.enum(["x86_64", "aarch64"]);
export type ArchitectureName = z.infer<typeof ArchitectureName>;

export interface Architecture {
  readonly name: ArchitectureName;
  /** Debian's name: in indices, package names and paths. */
  readonly debian: string;
  /** Kbuild's ARCH. */
  readonly kbuild: string;
  /** GNU triplet, the prefix of a cross compiler without its last dash. */
  readonly triplet: string;
  readonly qemu: {
    readonly program: string;
    /** Debian package that brings it. */
    readonly package: string;
    readonly arguments: readonly string[];
    /** Arguments when the host's own CPU runs the guest. */
    readonly kvmArguments: readonly string[];
    readonly console: string;
  };
}

/** A guest has nothing to do with disks, sensors, or the clock of another hypervisor. */
const BARE = "sata=off,smbus=off,vmport=off";

export const ARCHITECTURES: readonly Architecture[] = [
  {
    name: "x86_64",
    debian: "amd64",
    kbuild: "x86",
    triplet: "x86_64-linux-gnu",
    qemu: {
      program: "qemu-system-x86_64",
      package: "qemu-system-x86",
      arguments: ["-machine", `q35,${BARE}`, "-cpu", "max"],
      kvmArguments: ["-machine", `q35,${BARE}`, "-cpu", "host"],
      console: "ttyS0",
    },
  },
  {
    name: "aarch64",
    debian: "arm64",
    kbuild: "arm64",
    triplet: "aarch64-linux-gnu",
    qemu: {
      program: "qemu-system-aarch64",
      package: "qemu-system-arm",
      // `max` runs kernels of every page size; cortex-a72 hangs silently on 16k ones.
      arguments: ["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
      kvmArguments: ["-machine", "virt", "-cpu", "host"],
      console: "ttyAMA0",
    },
  },
];

export function architecture(name: ArchitectureName): Architecture {
  return ARCHITECTURES.find((known) => known.name === name) as Architecture;
}

/** The architecture that runs this process. */
export function hostArchitecture(nodeArch: string): ArchitectureName {
  return nodeArch === "arm64" ? "aarch64" : "x86_64";
}
