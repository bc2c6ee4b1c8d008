import { describe, expect, test } from "vitest";
import { DEVICE_NAMES, deviceArguments, LoadSettings } from "./load-settings.ts";

describe("LoadSettings", () => {
  test("takes parameters, devices by name, and an expected refusal", () => {
    const settings = { parameters: { tally: ["debug=1", "names=a,b"] }, devices: ["edu"], noDevice: true };

    expect(LoadSettings.parse(settings)).toEqual(settings);
  });

  test.each([
    ["a device that is none of the list", { devices: ["virtio-blk-pci,drive=x"] }],
    ["arguments in a device's place", { devices: ["edu", "-hda"] }],
    ["words of a shell", { parameters: { tally: ["a='$(reboot)'"] } }],
    ["two parameters in one", { parameters: { tally: ["a=1 b=2"] } }],
    ["a module that is a path", { parameters: { "../tally": ["a=1"] } }],
    ["a setting that is none", { memory: 4096 }],
  ])("refuses %s", (_, settings) => {
    expect(LoadSettings.safeParse(settings).success).toBe(false);
  });
});

describe("deviceArguments", () => {
  test("has a controller once for all that need it", () => {
    expect(deviceArguments(["usb-mouse", "usb-tablet"])).toEqual([
      ...["-device", "qemu-xhci", "-device", "usb-mouse", "-device", "usb-tablet"],
    ]);
    expect(deviceArguments([])).toEqual([]);
  });

  test("brings no file, backend or network of the host's", () => {
    const all = deviceArguments(DEVICE_NAMES).filter((word) => word !== "-device");

    for (const word of all) expect(word).toMatch(/^[\w-]+(,romfile=)?$/);
  });
});
