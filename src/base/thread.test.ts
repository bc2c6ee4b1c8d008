import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import type { ThreadWork } from "../../test/support/thread-work.ts";
import { searchFirst, searchPath } from "./programs.ts";
import { Threads } from "./thread.ts";

const threads = new Threads({
  ...{ script: "../../test/support/thread-work", base: import.meta.url },
  ...{ most: 1, memoryMiB: 64 },
});
afterAll(() => threads.end());
const ask = (work: ThreadWork, bounds = {}) => threads.ask<unknown>(work, bounds);

test("one thread answers one question after the other", async () => {
  expect(await Promise.all([ask("add"), ask("add"), ask("add")])).toEqual([1, 2, 3]);
});

test.each<[ThreadWork, object, object]>([
  ["fill", {}, { code: "OUT_OF_MEMORY", message: expect.stringContaining("64 MiB of memory") }],
  ["loop", { timeoutMs: 300 }, { code: "TIMED_OUT", message: expect.stringContaining("0.3 s") }],
  ["loop", { signal: AbortSignal.timeout(1500) }, { name: "TimeoutError" }],
  ["crash", {}, { code: "BUG", message: expect.stringContaining("without a result (3)") }],
])("what %s does ends its thread, and the next question is answered", async (work, bounds, error) => {
  await expect(ask(work, bounds)).rejects.toMatchObject(error);
  expect(await ask("add")).toBe(1);
});

test("an error is the same on the other side, and costs no thread", async () => {
  const before = (await ask("add")) as number;
  await expect(ask("throw")).rejects.toMatchObject({
    ...{
      name: "FarmError",
      code: "DOCUMENT_INVALID",
      message: "a list: is none",
      at: { url: "x" },
      hint: "Look.",
    },
  });
  await expect(ask("bug")).rejects.toMatchObject({
    ...{
      code: "BUG",
      message: "x is not a function",
      cause: { stack: expect.stringContaining("thread-work") },
    },
  });
  expect(await ask("add")).toBe(before + 3);
});

test("what a thread throws when nobody waits for it is nobody's loss", async () => {
  await ask("crash later");
  await sleep(100);

  expect(await ask("add")).toBe(1);
});

test("a question that is stopped before its turn is not asked", async () => {
  const reason = new Error("stopped");
  await expect(ask("add", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test("programs are where the main thread finds them", async () => {
  searchFirst("/opt/own/bin");
  const other = new Threads({
    ...{ script: "../../test/support/thread-work", base: import.meta.url, most: 1 },
  });
  try {
    expect(await other.ask("path")).toBe(searchPath());
  } finally {
    searchFirst();
    await other.end();
  }
});
