import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { emulatedArchitectures } from "./emulation.ts";

const REGISTERED = `enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: PF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
`;

test.each([
  ["registered so that it works in roots", REGISTERED, ["aarch64"]],
  ["switched off", REGISTERED.replace("enabled", "disabled"), []],
  ["looked for inside the root", REGISTERED.replace("flags: PF", "flags: P"), []],
  ["not registered", undefined, []],
])("an architecture is emulated where qemu-user is: %s", async (_, text, expected) => {
  const directory = await temporaryDirectory();
  if (text !== undefined) await writeFile(join(directory, "qemu-aarch64"), text);

  expect([...(await emulatedArchitectures(directory))]).toEqual(expected);
});

test("no architecture is where the kernel has no such thing", async () => {
  expect([...(await emulatedArchitectures("/nowhere"))]).toEqual([]);
});
