import { expect, test } from "vitest";
import type { RunRow } from "../farm/night/report.ts";
import { runTables } from "./run-tables.ts";

function row(number: number, changes: Partial<RunRow> & { readonly version?: string } = {}): RunRow {
  const { version = "1.0.0", ...rest } = changes;
  const element = {
    ...{ driver: "doorbell", driverversion: version, distribution: number % 2 ? "debian12" : "debian13" },
    ...{ architecture: "x86_64", kversion: `6.1.0-${number}-amd64`, output: `1.0.0/d/x/${number}` },
  };
  const note = {
    compiler: "gcc-12",
    buildMs: 1000,
    load: { bootMs: 2000, verdict: { verdict: "pass", reasons: [] } },
  };
  const made = { element, note, isNew: false, state: { word: "stable" }, path: `view/${number}`, ...rest };
  return made as unknown as RunRow;
}
const rows = (count: number) => Array.from({ length: count }, (_, number) => row(number));

test("a few elements are a line each", () => {
  const text = runTables(rows(3), "store");

  expect(text.split("\n")).toHaveLength(6);
  expect(text).toContain("debian12/x86_64  6.1.0-1-amd64  gcc-12    1.0      pass 2.0 s  store/view/1");
});

test("many are a line for each release, with what is news or went wrong named", () => {
  const failed = {
    state: { word: "failed" },
    path: undefined,
    note: { compiler: "gcc-12" },
  } as unknown as Partial<RunRow>;
  const text = runTables([...rows(200), row(200, { isNew: true }), row(201, failed)], "store");

  expect(text).toBe(
    [
      "DRIVER          KERNELS OF       ELEMENTS  STABLE  NEW  OTHERWISE",
      "doorbell 1.0.0  debian13/x86_64  101       101     1    -",
      "doorbell 1.0.0  debian12/x86_64  101       100     0    1 failed",
      "",
      "KERNEL OF        RELEASE          COMPILER  BUILD S  LOAD        MODULES",
      "debian13/x86_64  6.1.0-200-amd64  gcc-12    1.0      pass 2.0 s  store/view/200",
      "debian12/x86_64  6.1.0-201-amd64  gcc-12    -        failed      -",
      "",
      "",
    ].join("\n"),
  );
});

test("what is news is named up to a number", () => {
  const text = runTables(
    Array.from({ length: 90 }, (_, number) => row(number, { isNew: true })),
    "store",
  );

  expect(text).toContain("And 60 more: `kmodfarm matrix show`.");
  expect(text.split("\n").length).toBeLessThan(40);
});

test("a version whose path names another one is explained", () => {
  expect(runTables([row(1, { version: "1.0.3" })], "store")).toContain(
    "doorbell 1.0.3 is kept as doorbell/1.0.0: paths name the series",
  );
  expect(runTables([row(1)], "store")).not.toContain("series");
});
