/**
 * Work in a thread of its own: what strangers wrote may take long to read, and must not keep everything else waiting.
 */
import { Worker } from "node:worker_threads";
import { FarmError } from "./error.ts";

/** A script that posts one message, the result. */
interface Thread {
  /** Without extension, relative to `base`: `./diagnose-thread`. */
  readonly script: string;
  /** The caller's `import.meta.url`: the script is TypeScript where that is. */
  readonly base: string;
  /** What the script finds in `workerData`. */
  readonly work: unknown;
  /** Default: as long as it takes. */
  readonly timeoutMs?: number;
}

/** @throws FarmError TIMED_OUT; and whatever ends the thread before it has a result */
export async function inThread<Result>({ script, base, work, timeoutMs }: Thread): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  const extension = base.endsWith(".ts") ? "ts" : "js";
  // What a thread closes may have been open before it: files that our parent left open are closed where programs start.
  const options = { workerData: work, trackUnmanagedFds: false };
  const worker = new Worker(new URL(`${script}.${extension}`, base), options);
  const failed = (code: "TIMED_OUT" | "BUG", fact: string) =>
    reject(new FarmError(code, { detail: `${script}: ${fact}` }));
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => failed("TIMED_OUT", `not done after ${timeoutMs / 1000} s`), timeoutMs);
  worker
    .once("message", resolve)
    .once("error", reject)
    .once("exit", (code) => failed("BUG", `the thread ended without a result (${code})`));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
