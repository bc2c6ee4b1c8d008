/**
 * Drivers that lie: whatever one of them does in a guest, it decides nothing of another, and gains nothing for itself.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fetchBootImage } from "../../src/check/guest/boot-image.ts";
import { type BuiltDrivers, buildDrivers } from "../support/built-drivers.ts";
import { sha256Of, useFarms } from "../support/e2e-farm.ts";
import { FLOOD, LIAR, SPY, STARTER, VICTIM } from "../support/lying-drivers.ts";

const farms = useFarms();
let built: BuiltDrivers;

beforeAll(async () => {
  built = await buildDrivers(farms, [SPY, LIAR, VICTIM]);
}, 900_000);
afterAll(() => built?.close());

describe("a kernel with a driver that lies", () => {
  it("is not one that another driver is tested in", async () => {
    const [spy, liar, victim] = await built.load(SPY, LIAR, VICTIM);

    expect(victim?.verdict).toMatchObject({
      verdict: "fail",
      reasons: expect.arrayContaining([{ code: "oops", text: "the kernel oopsed: loading victim" }]),
    });
    expect(liar?.verdict).toMatchObject({
      verdict: "fail",
      reasons: expect.arrayContaining([
        { code: "scriptStop", text: "the kernel stopped: the driver's own script" },
      ]),
    });
    expect(spy?.verdict).toMatchObject({
      verdict: "pass",
      of: [{ module: "spy", sha256: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) }],
    });
    expect([...(spy?.log.matchAll(/spy: (\/\S+)/g) ?? [])].map(([, file]) => file)).toEqual([
      "/sets/0/smoke",
      "/sets/0/spy.ko",
    ]);
  });
});

it("does not boot what the disk kept of a boot image", async () => {
  const whole = await readFile(await fetchBootImage(built.image, built.context));
  const place = join(built.context.cache, "boot", `${built.image.sha256}-vmlinuz`);
  // In the place of a link into the cache of all tests.
  await rm(place);
  await writeFile(place, whole.subarray(0, whole.length / 2));

  const again = await readFile(await fetchBootImage(built.image, built.context));

  expect(sha256Of(again)).toBe(sha256Of(whole));
});

describe("a driver that lies for itself", { tags: ["wide"] }, () => {
  let others: BuiltDrivers;
  beforeAll(async () => {
    others = await buildDrivers(farms, [STARTER, FLOOD]);
  }, 900_000);
  afterAll(() => others?.close());

  it("does not pass when its module starts a program that reports", async () => {
    const [starter] = await others.load(STARTER);

    expect(starter?.verdict).toMatchObject({
      verdict: "fail",
      reasons: expect.arrayContaining([{ code: "death", text: "the kernel died: loading starter" }]),
    });
  });

  it("is ended when it has filled its console, long before its time is over", async () => {
    const [flood] = await others.load(FLOOD);

    expect(flood?.verdict).toMatchObject({
      verdict: "fail",
      reasons: [
        { code: "flood", text: "the console was flooded: loading flood" },
        { code: "ended", text: "the guest was stopped because it wrote 4 MiB to its console" },
      ],
    });
    expect(flood?.bootMs).toBeLessThan(100_000);
  });
});
