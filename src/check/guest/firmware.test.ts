import { existsSync, readFileSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import type { FarmError } from "../../base/error.ts";
import { openScratch } from "../../base/scratch.ts";
import { requireFirmware, withFirmware } from "./firmware.ts";

const SETUP = readFileSync(join(import.meta.dirname, "../../../scripts/setup.sh"), "utf8");

describe("requireFirmware", () => {
  test.each([
    ["db", ["ovmf"]],
    ["mok", ["ovmf", "shim-signed", "grub-efi-amd64-signed", "mtools"]],
  ] as const)(
    "names what is missing for %s, and its package, which the set-up installs",
    async (list, packages) => {
      const asked: string[] = [];
      await requireFirmware(list, async (thing) => asked.push(thing) > 0);
      const faults = await Promise.all(
        asked.map((missing) =>
          requireFirmware(list, async (thing) => thing !== missing).catch((thrown: FarmError) => thrown),
        ),
      );

      for (const [index, fault] of faults.entries()) {
        expect(fault).toMatchObject({ code: "TOOL_MISSING" });
        expect(fault?.message).toContain(asked[index]);
      }
      const named = faults.map((fault) => /apt-get install (\S+),/.exec(fault?.hint ?? "")?.[1]);
      expect(new Set(named)).toEqual(new Set(packages));
      for (const one of packages) expect(SETUP).toMatch(new RegExp(`:${one}$`, "m"));
    },
  );
});

test.skipIf(!existsSync("/usr/share/OVMF/OVMF_VARS_4M.fd"))(
  "a kernel that nobody signed is not booted, and nothing is left of the try",
  async () => {
    const directory = await temporaryDirectory();
    const vmlinuz = join(directory, "vmlinuz");
    const scratch = await openScratch(join(directory, "scratch"));
    const program = Buffer.alloc(2048);
    program.write("MZ", 0, "latin1");
    program.writeUInt32LE(0x80, 0x3c);
    program.write("PE\0\0", 0x80, "latin1");
    program.writeUInt16LE(0x20b, 0x80 + 24);
    await writeFile(vmlinuz, program);

    const booted = withFirmware(
      { list: "db", enrolled: [] },
      { vmlinuz, initramfs: "", commandLine: "" },
      scratch,
      async () => "booted",
    );

    await expect(booted).rejects.toMatchObject({ code: "LOAD_FAILED" });
    await scratch.close();
    expect(await readdir(join(directory, "scratch")).catch(() => [])).toEqual([]);
  },
);
