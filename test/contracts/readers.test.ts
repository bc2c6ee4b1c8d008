/** What every reader of bytes from outside promises, on some thousand inputs; fuzz.wide.test.ts has more of them. */
import { describe, expect, test } from "vitest";
import { expectAnswers, MODULES, readers } from "../support/readers.ts";

const COUNT = 2000;
const SEED = 20_261_128;
const READERS = await readers();

describe("readers of bytes from outside", () => {
  test.each(READERS)("$name says what is wrong, and nothing else happens", async (reader) => {
    const { read, refused } = await expectAnswers(reader, COUNT, SEED);

    expect(read + refused).toBeGreaterThan(0);
  });

  test("have real samples to begin with", async () => {
    expect(MODULES.length).toBeGreaterThan(2);
    for (const { samples, read } of READERS) await read(samples[0] as Buffer);
  });
});
