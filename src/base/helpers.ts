/**
 * Processes of this very program that read what strangers wrote: each has its own memory and time, so that whatever a reader
 * has overlooked ends it, and nothing else. (A thread that has too little memory ends its whole process, now and then.)
 */
import { getCompileCacheDir } from "node:module";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { deserialize, serialize } from "node:v8";
import PQueue from "p-queue";
import { FarmError, isErrno } from "./error.ts";
import { type Answer, answerTo, resultOf } from "./fault.ts";
import { searchFirst, searchPath } from "./programs.ts";
import { type Pipe, pipeThrough } from "./run.ts";

interface HelpersOptions {
  /** It calls `answerAll`. */
  readonly script: URL;
  /** How many there are at once; other questions wait. */
  readonly most: number;
  /** What JavaScript's objects of each may take. */
  readonly memoryMiB: number;
}

/** What is not JavaScript's objects: buffers and stacks, and the half of it that V8 only reserves for code. */
const BESIDE_MIB = 1024;
/** As V8, Node.js and C++ say it. */
const OUT_OF_MEMORY = /out of memory|heap limit|Failed to reserve|bad_alloc/i;

interface Bounds {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** A process with the frames that it answers. */
interface Helper {
  readonly pipe: Pipe;
  readonly answers: AsyncIterator<Buffer>;
}

/** Processes that answer one question after the other, until there is none. */
export class Helpers {
  readonly #options: HelpersOptions;
  readonly #turns: PQueue;
  readonly #idle: Helper[] = [];

  constructor(options: HelpersOptions) {
    this.#options = options;
    this.#turns = new PQueue({ concurrency: options.most });
  }

  /**
   * @throws FarmError TIMED_OUT, OUT_OF_MEMORY; what the script throws, as a FarmError; and why `signal` was fired
   */
  async ask<Result>(question: unknown, bounds: Bounds): Promise<Result> {
    return this.#turns.add(async () => {
      bounds.signal?.throwIfAborted();
      const helper = this.#idle.pop() ?? this.#start();
      const answer = await this.#answer<Result>(helper, question, bounds).catch(async (thrown) => {
        await this.#end([helper]);
        throw thrown;
      });
      const isSpent = "fault" in answer && answer.fault.code === "OUT_OF_MEMORY";
      if (this.#turns.size > 0 && !isSpent) this.#idle.push(helper);
      else await this.#end([helper, ...(this.#turns.size > 0 ? [] : this.#idle.splice(0))]);
      return resultOf(answer);
    });
  }

  #start(): Helper {
    const { script, memoryMiB } = this.#options;
    const file = fileURLToPath(script);
    const compiled = getCompileCacheDir();
    const pipe = pipeThrough(
      [
        ...["prlimit", `--data=${(memoryMiB + BESIDE_MIB) * 1024 ** 2}`, "--core=0", "--"],
        ...[process.execPath, `--max-old-space-size=${memoryMiB}`, "--disable-warning=ExperimentalWarning"],
        ...[file, searchPath()],
      ],
      { env: compiled === undefined ? {} : { NODE_COMPILE_CACHE: compiled } },
    );
    return { pipe, answers: framesOf(pipe.stdout) };
  }

  async #answer<Result>(
    { pipe, answers }: Helper,
    question: unknown,
    { timeoutMs, signal }: Bounds,
  ): Promise<Answer<Result>> {
    const { script, memoryMiB } = this.#options;
    const { promise, reject } = Promise.withResolvers<never>();
    const failed = (code: "TIMED_OUT" | "OUT_OF_MEMORY" | "BUG", fact: string) =>
      new FarmError(code, { detail: `${basename(script.pathname)}: ${fact}` });
    const timer = setTimeout(
      () => reject(failed("TIMED_OUT", `not done after ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    const onAbort = () => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      pipe.stdin.write(frameOf(question));
      const next = await Promise.race([answers.next(), promise]);
      if (next.done !== true) return deserialize(next.value) as Answer<Result>;
      const exit = await pipe.exit;
      if (OUT_OF_MEMORY.test(pipe.said()))
        throw failed("OUT_OF_MEMORY", `not done within ${memoryMiB} MiB of memory`);
      throw failed("BUG", `the process ended without a result (${exit}): ${pipe.said().trim()}`);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async #end(helpers: readonly Helper[]): Promise<void> {
    await Promise.all(
      helpers.map(async ({ pipe }) => {
        pipe.stop();
        await pipe.exit;
      }),
    );
  }
}

/** What a script does: it answers all that its process is asked. */
export async function answerAll<Work, Result>(read: (work: Work) => Result | Promise<Result>): Promise<void> {
  // Programs are where the process that asks finds them.
  searchFirst(process.argv[2]);
  const within = async (work: Work) => {
    try {
      return await read(work);
    } catch (thrown) {
      if (!isErrno(thrown) || thrown.code !== "ERR_MEMORY_ALLOCATION_FAILED") throw thrown;
      throw new FarmError("OUT_OF_MEMORY", {
        detail: "not done within the memory of its process",
        cause: thrown,
      });
    }
  };
  for await (const frame of framesOf(process.stdin))
    process.stdout.write(frameOf(await answerTo(deserialize(frame) as Work, within)));
}

const LENGTH_BYTES = 4;

function frameOf(value: unknown): Buffer {
  const bytes = serialize(value);
  const frame = Buffer.alloc(LENGTH_BYTES + bytes.length);
  frame.writeUInt32BE(bytes.length);
  bytes.copy(frame, LENGTH_BYTES);
  return frame;
}

async function* framesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    held.push(chunk);
    size += chunk.length;
    while (size >= LENGTH_BYTES) {
      if ((held[0]?.length ?? 0) < LENGTH_BYTES) held = [Buffer.concat(held)];
      const end = LENGTH_BYTES + (held[0] as Buffer).readUInt32BE();
      if (size < end) break;
      const all = Buffer.concat(held);
      yield all.subarray(LENGTH_BYTES, end);
      held = [all.subarray(end)];
      size -= end;
    }
  }
}
