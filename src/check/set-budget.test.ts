import { expect, test } from "vitest";
import { craftModule } from "../../test/support/crafted-module.ts";
import { format } from "./checks/format.ts";
import { type ModuleFile, openModuleFiles } from "./opened-modules.ts";

async function checkFormat(given: readonly ModuleFile[]) {
  const files = await openModuleFiles(given);
  return { files, verdict: format.judge({ files, kernel: { architecture: "x86_64" } }) };
}

test("a set of small files that say more together than memory should hold is refused, by the one too many", async () => {
  const files = Array.from({ length: 4 }, (_, index) => ({
    name: `m${index}.ko`,
    bytes: craftModule(`m${index}`, { symbols: 65_000, nameBytes: 240 }),
  }));

  const { verdict, files: opened } = await checkFormat(files);

  expect(opened.flatMap((one) => one.opened?.file ?? [])).toEqual(["m0.ko", "m1.ko"]);
  expect(verdict).toMatchObject({ check: "format", verdict: "fail" });
  expect(verdict?.reasons[0]?.text).toMatch(/m2\.ko: with it, the modules of one set have more than 64 MiB/);
});

test("one such module alone is none the worse for it", async () => {
  const bytes = craftModule("m", { symbols: 65_000, nameBytes: 240 });

  expect((await checkFormat([{ name: "m.ko", bytes }])).verdict?.verdict).toBe("pass");
});
