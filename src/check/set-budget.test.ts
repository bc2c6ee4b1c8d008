import { expect, test } from "vitest";
import { craftModule } from "../../test/support/crafted-module.ts";
import { checkFormat } from "./format.ts";

test("a set of small files that say more together than memory should hold is refused, by the one too many", async () => {
  const files = Array.from({ length: 4 }, (_, index) => ({
    name: `m${index}.ko`,
    bytes: craftModule(`m${index}`, { symbols: 65_000, nameBytes: 240 }),
  }));

  const { verdict, modules } = await checkFormat(files);

  expect(modules.map(({ file }) => file)).toEqual(["m0.ko", "m1.ko"]);
  expect(verdict).toMatchObject({ check: "format", verdict: "fail" });
  expect(verdict.reasons[0]).toMatch(/m2\.ko: with it, the modules of one set say more than 64 MiB/);
});

test("one such module alone is none the worse for it", async () => {
  const bytes = craftModule("m", { symbols: 65_000, nameBytes: 240 });

  expect((await checkFormat([{ name: "m.ko", bytes }])).verdict.verdict).toBe("pass");
});
