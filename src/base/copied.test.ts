import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { copied, cut } from "./copied.ts";
import { run } from "./run.ts";

const COPIED = new URL("copied.ts", import.meta.url).href;

describe("what is kept of strangers' texts", () => {
  test("is what it was", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        expect(copied(value)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("is cut without half a character", () => {
    expect(cut("a😀b", 2)).toBe("a\ufffd");
    expect(cut("a😀b", 3)).toBe("a😀");
    expect(cut("short", 100)).toBe("short");
  });

  // Two hundred texts of nearly a megabyte do not fit into so little memory, and twenty characters of each do.
  test.each([
    ["holds nothing but itself", "cut(text, 20)", 0],
    ["would hold all of a text as a mere part of it", "text.slice(0, 20)", 134],
  ])("%s", async (_, kept, exitCode) => {
    const program = `
      import { cut } from ${JSON.stringify(COPIED)};
      const all = [];
      for (let at = 0; at < 200; at++) {
        const text = Buffer.alloc(900_000, 97 + (at % 26)).toString("latin1");
        all.push(${kept});
      }
      if (all.length !== 200) process.exit(1);`;
    const argv = [process.execPath, "--max-old-space-size=48", "--input-type=module", "--eval", program];

    expect((await run(argv, { timeoutMs: 60_000 })).exitCode).toBe(exitCode);
  });
});
