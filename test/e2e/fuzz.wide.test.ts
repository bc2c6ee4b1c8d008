/**
 * What reads bytes from outside, on many bytes that nobody wrote: real files, damaged by chance. Each is read or refused
 * by the one error, in bounded time. KMODFARM_FUZZ sets the number of inputs to each reader; KMODFARM_FUZZ_SEED repeats
 * one run.
 */
import { describe, expect, it } from "vitest";
import { expectAnswers, readers } from "../support/readers.ts";

const COUNT = Number(process.env.KMODFARM_FUZZ ?? 100_000);
const SEED = Number(process.env.KMODFARM_FUZZ_SEED ?? Date.now() % 2 ** 31);

describe(`readers of bytes from outside, seed ${SEED}`, async () => {
  it.each(await readers())(
    "$name says what is wrong, and nothing else happens",
    async (reader) => {
      const { read, refused, slowestMs } = await expectAnswers(reader, COUNT, SEED);

      console.log(`${read} read, ${refused} refused, slowest ${slowestMs.toFixed(1)} ms`);
      expect(read + refused).toBeGreaterThan(0);
    },
    3_600_000,
  );
});
