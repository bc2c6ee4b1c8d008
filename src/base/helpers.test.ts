import { expect, test } from "vitest";
import type { HelperWork } from "../../test/support/helper-work.ts";
import { Helpers } from "./helpers.ts";
import { searchFirst, searchPath } from "./programs.ts";

const helpers = new Helpers({
  ...{ script: new URL("../../test/support/helper-work.ts", import.meta.url) },
  ...{ most: 1, memoryMiB: 64 },
});
const ask = (work: HelperWork, bounds = {}) => helpers.ask<unknown>(work, { timeoutMs: 60_000, ...bounds });

test("one process answers the questions that wait, and ends with the last of them", async () => {
  expect(await Promise.all([ask("add"), ask("add"), ask("add")])).toEqual([1, 2, 3]);
  expect(await ask("add")).toBe(1);
});

test.each<[HelperWork, object, object]>([
  ["fill", {}, { code: "OUT_OF_MEMORY", message: expect.stringContaining("64 MiB of memory") }],
  ["fill beside", {}, { code: "OUT_OF_MEMORY" }],
  ["loop", { timeoutMs: 1500 }, { code: "TIMED_OUT", message: expect.stringContaining("1.5 s") }],
  ["crash", {}, { code: "BUG", message: expect.stringContaining("without a result (3)") }],
  ["crash later", {}, { code: "BUG", message: expect.stringContaining("nobody waits for this") }],
])("what %s does ends its process, and the next question is answered", async (work, bounds, error) => {
  const bad = ask(work, bounds);
  const next = ask("add");

  await expect(bad).rejects.toMatchObject(error);
  expect(await next).toBe(1);
});

test("a question may be stopped, before its turn and while it is answered", async () => {
  const reason = new Error("stopped");
  const later = new AbortController();
  const running = ask("loop", { signal: later.signal });
  const waiting = ask("add", { signal: AbortSignal.abort(reason) });
  setTimeout(() => later.abort(reason), 300);

  await expect(running).rejects.toBe(reason);
  await expect(waiting).rejects.toBe(reason);
});

test("an error is the same on the other side, and costs no process", async () => {
  const [thrown, bug, after] = [ask("throw"), ask("bug"), ask("add")];

  await expect(thrown).rejects.toMatchObject({
    ...{ name: "FarmError", code: "DOCUMENT_INVALID", message: "a list: is none" },
    ...{ at: { url: "x" }, hint: "Look." },
  });
  await expect(bug).rejects.toMatchObject({
    ...{ code: "BUG", message: "x is not a function" },
    cause: { stack: expect.stringContaining("helper-work") },
  });
  expect(await after).toBe(3);
});

test("long questions and answers come whole", async () => {
  const long = "x".repeat(5_000_000);

  expect(await helpers.ask<string>({ echo: long }, { timeoutMs: 60_000 })).toBe(long);
});

test("programs are where the process that asks finds them", async () => {
  searchFirst("/opt/own/bin");
  try {
    expect(await ask("path")).toBe(searchPath());
  } finally {
    searchFirst();
  }
});
