/**
 * Real logs, and what they mean. `expected.json` was read and judged by a person, log by log; see
 * test/fixtures/logs/how-made.md.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { diagnose } from "./diagnose.ts";
import { LAST, STRONG, UNPROVEN, WEAK } from "./symptoms/index.ts";

const PLACE = join(import.meta.dirname, "../../test/fixtures/logs");
const LOGS = readdirSync(PLACE).filter((name) => name.endsWith(".log"));
const EXPECTED: Readonly<Record<string, unknown>> = JSON.parse(
  readFileSync(join(PLACE, "expected.json"), "utf8"),
);

const read = (name: string) => readFileSync(join(PLACE, name), "utf8");

/** Trees of DKMS were built where DKMS has them, all others at /build. */
function directoryOf(log: string): string {
  return /\/var\/lib\/dkms\/[^/\s]+\/[^/\s]+\/build/.exec(log)?.[0] ?? "/build";
}

describe("real logs", () => {
  test("are there, and each is judged", () => {
    expect(LOGS.length).toBeGreaterThan(60);
    expect(Object.keys(EXPECTED).toSorted()).toEqual(LOGS.toSorted());
  });

  test.each(LOGS)("%s", (name) => {
    const { line: _, ...diagnosis } = diagnose({
      log: read(name),
      exitCode: 2,
      directory: directoryOf(read(name)),
    });

    expect(diagnosis).toEqual(EXPECTED[name]);
  });

  test("hold no path of the machine that made them", () => {
    for (const name of LOGS) expect(read(name), name).not.toMatch(/\/(?:work|home|root|var\/lib\/[^d])\//);
  });
});

describe("symptoms", () => {
  const all = [...UNPROVEN, ...STRONG, ...WEAK, ...LAST];

  test("fill every word of their texts from their own expression", () => {
    for (const { expression, notedBy, cause, advice } of all) {
      const sources = `${expression.source} ${notedBy?.source}`;
      const groups = new Set([...sources.matchAll(/\(\?<(\w+)>/g)].map(([, name]) => name));
      const words = [...`${cause} ${advice}`.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect(
        words.filter((word) => !groups.has(word)),
        expression.source,
      ).toEqual([]);
    }
  });
});
