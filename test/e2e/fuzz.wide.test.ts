/**
 * What reads bytes from outside, on many bytes that nobody wrote: real files, damaged by chance. Each is read or refused
 * by the one error, in bounded time. KMODFARM_FUZZ sets the number of inputs to each reader; KMODFARM_FUZZ_SEED repeats
 * one run.
 */
import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect, it } from "vitest";
import { FarmError } from "../../src/base/error.ts";
import { readDynamicElf } from "../../src/formats/elf-dynamic.ts";
import { readKernelModule } from "../../src/formats/kernel-module.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { readSymvers } from "../../src/formats/module-symvers.ts";
import { readSystemMap } from "../../src/formats/system-map.ts";

const COUNT = Number(process.env.KMODFARM_FUZZ ?? 100_000);
const SEED = Number(process.env.KMODFARM_FUZZ_SEED ?? Date.now() % 2 ** 31);
const SLOW_MS = 2000;

const MODULES = globSync(`${import.meta.dirname}/../fixtures/modules/*.ko`).map((file) => readFileSync(file));
const SYMVERS = Buffer.from(
  Array.from(
    { length: 200 },
    (_, at) => `0x${(at * 7919).toString(16).padStart(8, "0")}\tsymbol_${at}\tvmlinux\tEXPORT_SYMBOL_GPL\t\n`,
  ).join(""),
);

const SYSTEM_MAP = Buffer.from(
  Array.from(
    { length: 200 },
    (_, at) => `ffffffff8${(at * 7919).toString(16).padStart(7, "0")} r __ksymtab_symbol_${at}\n`,
  ).join(""),
);

const READERS: readonly (readonly [string, readonly Buffer[], (bytes: Buffer) => unknown])[] = [
  ["readKernelModule", MODULES, (bytes) => readKernelModule(bytes, "fuzz")],
  ["splitSignature", MODULES, (bytes) => splitSignature(bytes, "fuzz")],
  ["readDynamicElf", [readFileSync("/bin/sh"), ...MODULES], (bytes) => readDynamicElf(bytes)],
  ["readSystemMap", [SYSTEM_MAP], (bytes) => readSystemMap(bytes.toString("latin1"), "fuzz")],
  ["readSymvers", [SYMVERS], (bytes) => readSymvers(bytes.toString("utf8"), "fuzz")],
];

describe(`readers of bytes from outside, seed ${SEED}`, () => {
  it.each(READERS)(
    "%s says what is wrong, and nothing else happens",
    (_, samples, read) => {
      const random = randomFrom(SEED);
      const told = { read: 0, refused: 0, slowestMs: 0 };
      for (let count = 0; count < COUNT; count++) {
        const sample = samples[random(samples.length)] as Buffer;
        const bytes = damaged(sample, random);
        const started = performance.now();
        try {
          read(bytes);
          told.read++;
        } catch (thrown) {
          if (!(thrown instanceof FarmError && thrown.code === "MODULE_MALFORMED"))
            throw new Error(`input ${count} of seed ${SEED}`, { cause: thrown });
          told.refused++;
        }
        told.slowestMs = Math.max(told.slowestMs, performance.now() - started);
      }
      console.log(
        `${COUNT} inputs: ${told.read} read, ${told.refused} refused, slowest ${told.slowestMs.toFixed(1)} ms`,
      );
      expect(told.read + told.refused).toBe(COUNT);
      expect(told.slowestMs).toBeLessThan(SLOW_MS);
    },
    3_600_000,
  );

  it("has real samples to begin with", () => {
    expect(MODULES.length).toBeGreaterThan(2);
    expect(
      globSync(`${import.meta.dirname}/../fixtures/modules/*.ko`).map((file) => basename(file)),
    ).toContain("crc7.ko");
  });
});

type Random = (below: number) => number;

/** Whole numbers from 0 up (mulberry32, which is public domain). */
function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Numbers that readers stumble over. */
const NUMBERS = [0, 1, 2, 0x7f, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

function damaged(sample: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(sample);
  for (let times = 1 + random(4); times > 0 && bytes.length > 8; times--) {
    // Headers and the end, where numbers lie that others rest on, are hit as often as all the rest.
    const places = [
      random(64),
      bytes.length - 1 - random(Math.min(bytes.length, 4096)),
      random(bytes.length),
    ];
    const at = Math.min(places[random(3)] as number, bytes.length - 5);
    switch (random(6)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8));
        break;
      case 1:
        bytes.writeUInt32LE(NUMBERS[random(NUMBERS.length)] as number, Math.max(at, 0));
        break;
      case 2:
        bytes.writeUInt16LE(random(0x10000), Math.max(at, 0));
        break;
      case 3:
        bytes = bytes.subarray(0, at + 1);
        break;
      case 4:
        bytes = Buffer.concat([bytes, bytes.subarray(at)]);
        break;
      default: {
        const from = random(bytes.length);
        bytes.copyWithin(Math.max(at, 0), from, from + random(64));
      }
    }
  }
  return bytes;
}
