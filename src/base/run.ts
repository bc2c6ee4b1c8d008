/**
 * The one place that starts other programs: argument arrays only, a time limit, the whole process group
 * ended, output capped, and children that do not outlive us.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { type Readable, Writable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { closeInherited } from "./descriptors.ts";
import { endingOfGroup, endingOfNamespace, killGroup } from "./ending.ts";
import { FarmError, isErrno } from "./error.ts";
import { KeptBytes } from "./kept-bytes.ts";
import { isInstalled, searchPath } from "./programs.ts";
import type { Secret } from "./secret.ts";

export interface RunOptions {
  readonly cwd?: string;
  /** The child's whole environment; default: a small fixed one, and where programs are. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: Uint8Array | string | Readable;
  readonly timeoutMs?: number;
  /** How much of stdout and stderr together is kept; what comes after is dropped and marked. */
  readonly outputLimitBytes?: number;
  /** Ends the program when it says more than that. */
  readonly endsAtOutputLimit?: boolean;
  /** Also writes both streams, as they come, to this file. */
  readonly logFile?: string;
  /** Ends the program when it fires, and calls that no error. */
  readonly until?: AbortSignal;
  /** Told the program's process id once it runs. */
  readonly onStart?: (pid: number) => void;
  /**
   * Puts the program and everything it starts into a process namespace that ends with us, and a mount namespace where
   * we are root: nothing of it is left when `run` returns, whatever it did. With a /proc of that namespace if the program
   * looks there for processes by the ids that they have in it; a user who is not root in a container may get none.
   */
  readonly contained?: boolean | "withProc";
  readonly descriptors?: readonly Descriptor[];
  /** A file that is open here, which its answer goes to; default: a pipe to us. */
  readonly answer?: number;
}

/**
 * What a program finds at its descriptor 3, and then at 4, …: a file that is open here and that only the program reads,
 * or a secret, by a pipe. Neither is seen in arguments or environments.
 */
export type Descriptor = number | Secret;

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit code; 128 + number when a signal ended it, as a shell says it. */
  readonly exitCode: number;
  readonly timedOut: boolean;
  readonly truncated: boolean;
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};
const SAID_LIMIT = 4096;
const DEFAULT_OUTPUT_LIMIT_BYTES = 8 * 1024 * 1024;

/** The environment every program gets unless told otherwise: no locale, no time zone, of the user's only the PATH. */
const plainEnvironment = () => ({
  PATH: searchPath(),
  LC_ALL: "C.UTF-8",
  TZ: "UTC",
  HOME: "/nonexistent",
});

/**
 * Runs a program to its end and returns what it said, whatever its exit code.
 * @throws FarmError TOOL_MISSING when there is no such program, INTERRUPTED when `signal` fires, NOT_ENDED when it
 * cannot be ended; what the log or the input fails with
 */
export async function run(
  argv: readonly string[],
  options: RunOptions = {},
  signal?: AbortSignal,
): Promise<RunResult> {
  throwIfAborted(signal);
  const child = start(argv, options);
  const ending = options.contained ? endingOfNamespace(child) : endingOfGroup(child);
  const end: { timedOut: boolean; fault?: Error } = { timedOut: false };
  const stop = () => ending.stop();
  /** Our own end of a pipe, or the log, cannot go on: neither can the program. */
  const fail = (fault: Error) => {
    end.fault ??= fault;
    stop();
  };
  const timer = setTimeout(() => {
    end.timedOut = true;
    stop();
  }, options.timeoutMs ?? 600_000);
  const orders = [signal, options.until].filter((one) => one !== undefined);
  for (const order of orders) order.addEventListener("abort", stop);
  try {
    if (child.pid !== undefined) options.onStart?.(child.pid);
    if (options.until?.aborted) stop();
    const output = collect(child, options, fail, options.endsAtOutputLimit ? stop : undefined);
    feed(child, options.input, fail);
    const exitCode = await Promise.race([exitOf(child, argv[0] ?? "", stop), ending.overdue]);
    await ending.whole();
    throwIfAborted(signal);
    const said = await output;
    if (end.fault !== undefined) throw end.fault;
    return { ...said, exitCode, timedOut: end.timedOut };
  } finally {
    clearTimeout(timer);
    for (const order of orders) order.removeEventListener("abort", stop);
    stop();
  }
}

export interface Pipe {
  readonly stdout: Readable;
  readonly stdin: NodeJS.WritableStream;
  /** Resolves with the exit code when the program has ended. */
  readonly exit: Promise<number>;
  /** The beginning of what it said on stderr so far. */
  said(): string;
  /** Ends the program now. */
  stop(): void;
}

/** Starts a filter program (`xz -dc`) whose two ends the caller holds. */
export function pipeThrough(
  argv: readonly string[],
  options: Pick<RunOptions, "answer" | "descriptors" | "env"> = {},
): Pipe {
  const child = start(argv, options);
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    if (said.length < SAID_LIMIT) said += text;
  });
  const exit = exitOf(child, argv[0] ?? "", () => killGroup(child));
  // The reader learns of a failure by the exit code; a broken pipe is no news of its own.
  exit.catch(() => {});
  child.stdin?.on("error", () => {});
  return {
    stdout: child.stdout as Readable,
    stdin: child.stdin as NodeJS.WritableStream,
    exit,
    said: () => said,
    stop: () => killGroup(child),
  };
}

/** The last non-empty lines of a text, on one line. */
export function lastLines(text: string, count: number): string {
  const lines = text.split("\n").map((line) => line.trim());
  return lines
    .filter((line) => line !== "")
    .slice(-count)
    .join(" · ");
}

/** @throws FarmError INTERRUPTED */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new FarmError("INTERRUPTED", { detail: "the work was stopped" });
}

let isAlone = false;

function start(argv: readonly string[], options: RunOptions): ChildProcess {
  if (!isAlone) closeInherited();
  isAlone = true;
  // `setpriv --pdeathsig` and `unshare --kill-child`: a kill -9 of the farm takes its children along.
  const mortal = ["setpriv", "--pdeathsig", "KILL", "--"];
  const [program, ...args] = [
    ...mortal,
    ...(options.contained ? containing(options.contained === "withProc") : []),
    ...argv,
  ];
  const { descriptors = [] } = options;
  const child: ChildProcess = spawn(program as string, args, {
    cwd: options.cwd ?? "/",
    env: { ...(options.env ?? plainEnvironment()) },
    stdio: [
      "pipe",
      options.answer ?? "pipe",
      "pipe",
      ...descriptors.map((one) => (typeof one === "number" ? one : "pipe")),
    ],
    detached: true,
  });
  for (const [index, one] of descriptors.entries())
    if (typeof one !== "number") pass(one, child.stdio[3 + index]);
  return child;
}

function pass(secret: Secret, pipe: Readable | Writable | null | undefined): void {
  if (!(pipe instanceof Writable)) return;
  pipe.on("error", () => {}); // A program may end without reading it.
  pipe.end(secret.reveal());
}

function containing(hasProc: boolean): string[] {
  // Without root, namespaces are possible only inside a user namespace, and there are no mounts of the machine to separate.
  const kinds = process.getuid?.() === 0 ? ["--mount"] : ["--user", "--map-current-user"];
  const proc = hasProc ? ["--mount-proc"] : [];
  return ["unshare", ...kinds, ...proc, "--pid", "--fork", "--kill-child=KILL", "--"];
}

function exitOf(child: ChildProcess, program: string, stop: () => void): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on("error", (cause) => {
      const missing = isErrno(cause) && cause.code === "ENOENT";
      reject(
        new FarmError(missing ? "TOOL_MISSING" : "TOOL_FAILED", {
          detail: `cannot start ${program}: ${cause.message}`,
          cause,
        }),
      );
    });
    // What a program leaves behind would hold its ends of the pipes, and us, until the time is over.
    child.on("exit", stop);
    child.on("close", (code, signalName) => {
      // setpriv and unshare answer 127 when there is no such program; so may a program for reasons of its own.
      if (code === 127 && !isInstalled(program))
        reject(new FarmError("TOOL_MISSING", { detail: `there is no program '${program}' on this machine` }));
      else resolve(code ?? 128 + (SIGNAL_NUMBERS[signalName ?? ""] ?? 0));
    });
  });
}

async function collect(
  child: ChildProcess,
  options: RunOptions,
  onFault: (fault: Error) => void,
  onTooMuch?: () => void,
): Promise<Pick<RunResult, "stdout" | "stderr" | "truncated">> {
  const limit = options.outputLimitBytes ?? DEFAULT_OUTPUT_LIMIT_BYTES;
  const kept = { stdout: new KeptBytes(limit), stderr: new KeptBytes(limit) };
  const log = options.logFile === undefined ? undefined : createWriteStream(options.logFile, { flags: "a" });
  log?.on("error", onFault);
  let total = 0;
  const take = (stream: "stdout" | "stderr") => (chunk: Buffer) => {
    const room = Math.max(0, limit - total);
    total += chunk.length;
    if (total > limit) onTooMuch?.();
    if (room === 0) return;
    const part = chunk.subarray(0, room);
    kept[stream].add(part);
    log?.write(part);
  };
  child.stdout?.on("data", take("stdout")).on("error", onFault);
  child.stderr?.on("data", take("stderr")).on("error", onFault);
  await new Promise<void>((resolve) => {
    child.on("close", () => resolve());
    child.on("error", () => resolve());
  });
  const truncated = total > limit;
  await closeLog(log, truncated);
  return { stdout: kept.stdout.text(), stderr: kept.stderr.text(), truncated };
}

async function closeLog(log: WriteStream | undefined, truncated: boolean): Promise<void> {
  if (log === undefined) return;
  if (truncated) log.write("\n[kmodfarm: output limit reached, the rest was dropped]\n");
  log.end();
  await finished(log).catch(() => {}); // Its error listener has already heard of it.
}

function feed(child: ChildProcess, input: RunOptions["input"], onFault: (fault: Error) => void): void {
  const { stdin } = child;
  if (stdin === null) return;
  stdin.on("error", () => {}); // A program may end without reading all of its input.
  if (input === undefined) stdin.end();
  else if (typeof input === "string" || input instanceof Uint8Array) stdin.end(input);
  else {
    // Once the program's end is gone, the input is closed for that alone.
    input.on("error", (fault) => {
      if (!stdin.destroyed) onFault(fault);
    });
    pipeline(input, stdin).catch(() => {}); // Both ends have a listener.
  }
}
