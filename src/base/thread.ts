/**
 * Work in threads of their own: what strangers wrote may take long to read, or much memory, and must neither keep everything
 * else waiting nor end it.
 */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import PQueue from "p-queue";
import { FarmError, toFarmError, traceOf } from "./error.ts";
import type { ErrorCode } from "./error-codes.ts";
import { searchFirst, searchPath } from "./programs.ts";

interface Script {
  /** Without extension, relative to `base`: `./diagnose-thread`. It calls `answerAll`. */
  readonly script: string;
  /** The caller's `import.meta.url`: the script is TypeScript where that is. */
  readonly base: string;
}

interface Bounds {
  /** Default: as long as it takes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

interface Thread extends Script, Bounds {
  /** What the script is asked. */
  readonly work: unknown;
}

/** One piece of work in a thread of its own. @throws as `Threads.ask` */
export async function inThread<Result>({ work, script, base, ...bounds }: Thread): Promise<Result> {
  const threads = new Threads({ script, base, most: 1 });
  try {
    return await threads.ask<Result>(work, bounds);
  } finally {
    await threads.end();
  }
}

interface ThreadsOptions extends Script {
  /** How many there are at once; the others wait. */
  readonly most: number;
  /** What JavaScript's objects of one thread may take; what is outside of them, as buffers are, does not count. */
  readonly memoryMiB?: number;
}

/** Threads that are asked one thing after the other, and cost their start once. One that goes out of bounds ends alone. */
export class Threads {
  readonly #options: ThreadsOptions;
  readonly #turns: PQueue;
  readonly #idle = new Set<Worker>();

  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#turns = new PQueue({ concurrency: options.most });
  }

  /**
   * @throws FarmError TIMED_OUT, OUT_OF_MEMORY; what the script throws, as a FarmError; why `signal` was fired; and whatever ends
   * a thread before it has answered
   */
  async ask<Result>(work: unknown, bounds: Bounds = {}): Promise<Result> {
    return this.#turns.add(async () => {
      bounds.signal?.throwIfAborted();
      const [idle] = this.#idle;
      const worker = idle ?? this.#start();
      this.#idle.delete(worker);
      worker.ref();
      const answer = await this.#answer<Result>(worker, work, bounds).catch(async (thrown) => {
        await worker.terminate();
        throw thrown;
      });
      worker.unref();
      this.#idle.add(worker);
      if ("fault" in answer) throw asThrown(answer.fault);
      return answer.result;
    });
  }

  async end(): Promise<void> {
    const workers = [...this.#idle];
    this.#idle.clear();
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  #start(): Worker {
    const { script, base, memoryMiB } = this.#options;
    const extension = base.endsWith(".ts") ? "ts" : "js";
    const worker = new Worker(new URL(`${script}.${extension}`, base), {
      workerData: searchPath(),
      // What a thread closes may have been open before it: files that our parent left open are closed where programs start.
      trackUnmanagedFds: false,
      ...(memoryMiB === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: memoryMiB } }),
    });
    // What an answered question left running may end its thread later, which is nobody's loss.
    worker.on("error", () => {}).once("exit", () => this.#idle.delete(worker));
    return worker;
  }

  async #answer<Result>(
    worker: Worker,
    work: unknown,
    { timeoutMs, signal }: Bounds,
  ): Promise<Answer<Result>> {
    const { script, memoryMiB } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<Answer<Result>>();
    const failed = (code: ErrorCode, fact: string) =>
      reject(new FarmError(code, { detail: `${script}: ${fact}` }));
    const onError = (thrown: unknown) =>
      isOutOfMemory(thrown)
        ? failed("OUT_OF_MEMORY", `not done within ${memoryMiB} MiB of memory`)
        : reject(thrown);
    const onExit = (code: number) => failed("BUG", `the thread ended without a result (${code})`);
    const onAbort = () => reject(signal?.reason);
    const late = () => failed("TIMED_OUT", `not done after ${(timeoutMs ?? 0) / 1000} s`);
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    worker.once("message", resolve).once("error", onError).once("exit", onExit);
    try {
      worker.postMessage(work);
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      worker.off("message", resolve).off("error", onError).off("exit", onExit);
    }
  }
}

/** What a script does: it answers all that its thread is asked. Nothing, where it is imported by others. */
export function answerAll<Work, Result>(read: (work: Work) => Result | Promise<Result>): void {
  if (isMainThread || parentPort === null) return;
  const port = parentPort;
  // Programs are where the main thread finds them.
  searchFirst(String(workerData));
  port.on("message", async (work: Work) => {
    port.postMessage(await answerTo(work, read));
  });
}

async function answerTo<Work, Result>(
  work: Work,
  read: (work: Work) => Result | Promise<Result>,
): Promise<Answer<Result>> {
  try {
    return { result: await read(work) };
  } catch (thrown) {
    const error = toFarmError(thrown);
    const { code, message, at, hint } = error;
    return { fault: { code, message, at, hint, trace: traceOf(error) } };
  }
}

type Answer<Result> = { readonly result: Result } | { readonly fault: Fault };

/** An error as it crosses threads, where it would lose its class. */
interface Fault extends Pick<FarmError, "code" | "message" | "at" | "hint"> {
  readonly trace: string;
}

function asThrown({ code, message, at, hint, trace }: Fault): FarmError {
  const cause = Object.assign(new Error(message), { stack: trace });
  return new FarmError(code, { detail: message, at, hint, ...(trace === "" ? {} : { cause }) });
}

function isOutOfMemory(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "ERR_WORKER_OUT_OF_MEMORY";
}
