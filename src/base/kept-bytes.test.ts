import { expect, test } from "vitest";
import { KeptBytes } from "./kept-bytes.ts";

test("bytes that come one by one are all there", () => {
  const count = 500_000;
  const kept = new KeptBytes(1 << 20);

  // As a stream has them: each in memory of its own.
  for (let at = 0; at < count; at++) kept.add(Buffer.from(new Uint8Array([0x61]).buffer));

  expect(kept.text()).toBe("a".repeat(count));
});

test("what is kept does not change with where it came from", () => {
  const kept = new KeptBytes(10_000);
  const part = Buffer.alloc(5000, "x");

  kept.add(part);
  part.fill("y");
  kept.add(part);

  expect(kept.text()).toBe("x".repeat(5000) + "y".repeat(5000));
});
