import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { both } from "./read-stream.ts";

const CHUNKS = Array.from({ length: 200 }, (_, index) => Buffer.alloc(10_000, index));
const ALL = Buffer.concat(CHUNKS);
const body = () => Readable.from(CHUNKS, { objectMode: false });
const leaving = async () => undefined;

describe("two readers of the same bytes", () => {
  test("get all of them, each in its own time", async () => {
    const slow = async (bytes: Readable) => {
      const parts: Buffer[] = [];
      for await (const part of bytes) {
        parts.push(part);
        await new Promise(setImmediate);
      }
      return Buffer.concat(parts);
    };

    const [first, second] = await both(body(), slow, buffer);

    expect(first.equals(ALL) && second.equals(ALL)).toBe(true);
  });

  test.each<["first" | "second"]>([["first"], ["second"]])(
    "%s: one that leaves keeps nothing from the other",
    async (one) => {
      const [first, second] =
        one === "first" ? await both(body(), leaving, buffer) : await both(body(), buffer, leaving);

      expect((first ?? second)?.equals(ALL)).toBe(true);
    },
  );

  test("leave the body open for whoever reads on, when both have left", async () => {
    const bytes = body();

    await both(bytes, leaving, leaving);

    expect(bytes.destroyed).toBe(false);
    expect((await buffer(bytes)).length).toBeGreaterThan(0);
  });

  test("one that fails fails both, once the other has all", async () => {
    const seen: number[] = [];
    const count = async (bytes: Readable) => seen.push((await buffer(bytes)).length);
    const failing = async () => {
      throw new Error("no room");
    };

    await expect(both(body(), failing, count)).rejects.toThrow("no room");
    await expect(both(body(), count, failing)).rejects.toThrow("no room");
    expect(seen).toEqual([ALL.length, ALL.length]);
  });

  test("hear what befalls the bytes, and that outweighs what they made of them", async () => {
    const broken = Readable.from(
      (async function* () {
        yield CHUNKS[0];
        throw new Error("the line is cut");
      })(),
    );
    const failing = async (bytes: Readable) => {
      await buffer(bytes).catch(() => undefined);
      throw new Error("nonsense");
    };

    await expect(both(broken, failing, failing)).rejects.toThrow("the line is cut");
  });
});
