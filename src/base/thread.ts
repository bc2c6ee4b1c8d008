/**
 * Work in a thread of its own: what strangers wrote may take long to read, and must not keep everything else waiting.
 */
import { basename } from "node:path";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { FarmError } from "./error.ts";
import { type Answer, answerTo, resultOf } from "./fault.ts";
import { searchFirst, searchPath } from "./programs.ts";

interface Thread {
  /** It calls `answerOnce`. */
  readonly script: URL;
  /** What the script is asked. */
  readonly work: unknown;
  /** Default: as long as it takes. */
  readonly timeoutMs?: number;
}

interface Asked<Work> {
  readonly path: string;
  readonly work: Work;
}

/** @throws FarmError TIMED_OUT; what the script throws, as a FarmError; and whatever ends the thread before it has a result */
export async function inThread<Result>({ script, work, timeoutMs }: Thread): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer<Result>>();
  const worker = new Worker(script, {
    workerData: { path: searchPath(), work } satisfies Asked<unknown>,
    // What a thread closes may have been open before it: files that our parent left open are closed where programs start.
    trackUnmanagedFds: false,
  });
  const failed = (code: "TIMED_OUT" | "BUG", fact: string) =>
    reject(new FarmError(code, { detail: `${basename(script.pathname)}: ${fact}` }));
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => failed("TIMED_OUT", `not done after ${timeoutMs / 1000} s`), timeoutMs);
  worker
    .once("message", resolve)
    .once("error", reject)
    .once("exit", (code) => failed("BUG", `the thread ended without a result (${code})`));
  try {
    return resultOf(await promise);
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}

/** What a script does: it answers what its thread is asked. Nothing, where it is imported by others. */
export async function answerOnce<Work, Result>(
  read: (work: Work) => Result | Promise<Result>,
): Promise<void> {
  if (isMainThread || parentPort === null) return;
  const { path, work } = workerData as Asked<Work>;
  // Programs are where the main thread finds them.
  searchFirst(path);
  parentPort.postMessage(await answerTo(work, read));
}
