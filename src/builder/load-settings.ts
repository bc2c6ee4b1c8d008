/**
 * What a driver needs to be tried out, as its owner says it: parameters of its modules, a device that QEMU has, or that it
 * refuses without one that QEMU has not.
 */
import { z } from "zod";
import { PathSegment } from "../kernel/path-segment.ts";

/** A device of QEMU's by the name that a driver's owner calls it, and QEMU's arguments for it: no others get there. */
const DEVICES = {
  // Made to be a driver's first device.
  edu: ["edu"],
  "pci-testdev": ["pci-testdev"],
  // Networks: the card without a cable.
  e1000: ["e1000,romfile="],
  e1000e: ["e1000e,romfile="],
  igb: ["igb,romfile="],
  rtl8139: ["rtl8139,romfile="],
  vmxnet3: ["vmxnet3,romfile="],
  "virtio-net": ["virtio-net-pci,romfile="],
  // Others of virtio.
  "virtio-rng": ["virtio-rng-pci"],
  "virtio-balloon": ["virtio-balloon-pci"],
  "virtio-serial": ["virtio-serial-pci"],
  "virtio-scsi": ["virtio-scsi-pci"],
  // USB, each with a controller.
  "usb-controller": ["qemu-xhci"],
  "usb-hub": ["qemu-xhci", "usb-hub"],
  "usb-keyboard": ["qemu-xhci", "usb-kbd"],
  "usb-mouse": ["qemu-xhci", "usb-mouse"],
  "usb-tablet": ["qemu-xhci", "usb-tablet"],
  "usb-wacom": ["qemu-xhci", "usb-wacom-tablet"],
  // Sound, without a codec.
  "intel-hda": ["intel-hda"],
  // Storage without media.
  ahci: ["ich9-ahci"],
  lsi53c895a: ["lsi53c895a"],
  megasas: ["megasas"],
  mptsas1068: ["mptsas1068"],
  "sdhci-pci": ["sdhci-pci"],
  // A watchdog.
  i6300esb: ["i6300esb"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

type DeviceName = keyof typeof DEVICES;

export const DEVICE_NAMES = Object.keys(DEVICES) as [DeviceName, ...DeviceName[]];

/** QEMU's arguments for devices, each controller once. */
export function deviceArguments(names: readonly DeviceName[]): string[] {
  const devices = new Set<string>(names.flatMap((name) => [...DEVICES[name]]));
  return [...devices].flatMap((device) => ["-device", device]);
}

/** As insmod and modprobe take it; no words of a shell. */
const Parameter = z.string().regex(/^[A-Za-z0-9_.-]+(=[A-Za-z0-9_.,:;/+@%=-]*)?$/, {
  error: "is not name=value, made of letters, digits and _ . , : ; / + @ % -",
});

export const LoadSettings = z
  .strictObject({
    parameters: z
      .record(PathSegment, z.array(Parameter).min(1).max(100))
      .optional()
      .describe("Parameters of its modules (module → list of name=value), as in `options` of modprobe.d."),
    devices: z
      .array(z.enum(DEVICE_NAMES))
      .min(1)
      .optional()
      .describe(`Additional devices of the virtual machine: ${DEVICE_NAMES.join(", ")}.`),
    noDevice: z
      .boolean()
      .optional()
      .describe(
        "Its modules refuse to load without their device (-ENODEV). That counts neither as a failure nor as a pass; the policy accepts it with `standIns.load: [noDevice]`.",
      ),
  })
  .describe("Settings of the load test for this driver.");
export type LoadSettings = z.infer<typeof LoadSettings>;
