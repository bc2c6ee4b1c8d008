import { expect, test } from "vitest";
import { upstreamOf } from "./upstream.ts";

const define = (name: string, value: number | string) => `#define LINUX_VERSION_${name} ${value}\n`;

test.each([
  // Of linux-headers-6.12.118+deb13-amd64.
  [
    "6.12.118",
    `${define("CODE", 396406)}${define("MAJOR", 6)}${define("PATCHLEVEL", 12)}${define("SUBLEVEL", 118)}`,
  ],
  [
    "6.1.300",
    `${define("CODE", 0x0601ff)}${define("MAJOR", 6)}${define("PATCHLEVEL", 1)}${define("SUBLEVEL", 300)}`,
  ],
  // Ubuntu calls it 4.15.0, and the code is of 4.15.18.
  ["4.15.18", `${define("CODE", 266002)}#define KERNEL_VERSION(a,b,c) (((a) << 16) + ((b) << 8) + (c))\n`],
  ["5.4.0", define("CODE", 0x050400)],
])("%s is the release that it was made from", (release, header) => {
  expect(upstreamOf(header)).toBe(release);
});

test.each([
  ["nothing", ""],
  ["a code that may stand for several", define("CODE", 0x0404ff)],
  ["a code of no kernel", define("CODE", 999_999_999)],
  ["words", define("CODE", "LATEST")],
  ["two of three numbers", `${define("MAJOR", 6)}${define("PATCHLEVEL", 1)}`],
])("%s says of no release that it is the one", (_, header) => {
  expect(upstreamOf(header)).toBeUndefined();
});
