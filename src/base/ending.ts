/**
 * How a program that was started is ended with everything that it started in turn.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError } from "./error.ts";

/** Of a child process, what its end is seen by. */
export interface Child {
  readonly pid?: number | undefined;
  readonly exitCode: number | null;
  readonly signalCode: string | null;
}

export interface Ending {
  /** Ends all of it now. */
  stop(): void;
  /** Resolves once the program is over and nothing of it is left. @throws FarmError NOT_ENDED */
  whole(): Promise<void>;
  /** Only ever fails, with NOT_ENDED: a while after `stop` the program is still there. */
  readonly overdue: Promise<never>;
}

/** What was killed is gone at once, unless it waits for a device or frees very much memory. */
const PATIENCE_MS = 30_000;

/** A process group. What left it is not ended; programs that run what a stranger wrote have a namespace. */
export function endingOfGroup(child: Child): Ending {
  return { stop: () => killGroup(child), whole: async () => {}, overdue: new Promise(() => {}) };
}

export function killGroup(child: Child): void {
  if (child.pid !== undefined) kill(-child.pid, "SIGKILL");
}

/**
 * A process namespace that `unshare --fork` made. All of it dies with its first process, which is a zombie only after
 * the last of the others is gone. So the first process is killed and looked at, and then `unshare`, whose own end
 * would prove nothing.
 */
export function endingOfNamespace(child: Child): Ending {
  const { promise: overdue, reject } = Promise.withResolvers<never>();
  overdue.catch(() => {});
  const finding = findFirst(child);
  const end = async () => {
    const first = await finding;
    // Held, it cannot reap its child, nor say anything of how that ended.
    if (!isOver(child)) kill(child.pid ?? 0, "SIGSTOP");
    if (first !== undefined) await killWhole(first);
    killGroup(child);
  };
  let ended: Promise<void> | undefined;
  return {
    overdue,
    stop() {
      ended ??= end();
      ended.catch(reject);
    },
    async whole() {
      // Usually there is nothing to wait for, unless something else killed `unshare` itself.
      const first = await finding;
      if (first !== undefined) await killWhole(first);
    },
  };
}

function isOver({ exitCode, signalCode, pid }: Child): boolean {
  return exitCode !== null || signalCode !== null || pid === undefined;
}

async function findFirst(child: Child): Promise<Process | undefined> {
  for (let pauseMs = 1; !isOver(child); pauseMs = Math.min(pauseMs * 2, 50)) {
    const first = firstChildOf(child.pid ?? 0);
    if (first !== undefined) return first;
    await sleep(pauseMs);
  }
  return undefined;
}

async function killWhole(first: Process): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; isAlive(first); await sleep(5)) {
    kill(first.pid, "SIGKILL");
    if (performance.now() > deadline) throw notEnded();
  }
}

function notEnded(): FarmError {
  return new FarmError("NOT_ENDED", {
    detail: `a killed program is still running after ${PATIENCE_MS / 1000} s`,
  });
}

interface Process {
  readonly pid: number;
  readonly startTime: string;
}

function firstChildOf(pid: number): Process | undefined {
  const [child] = read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  const startTime = child === undefined ? undefined : statOf(child)[STARTED];
  return child === undefined || startTime === undefined ? undefined : { pid: child, startTime };
}

/** The first process of a namespace is a zombie only once no other process is left in it; it does not matter who reaps it. */
function isAlive({ pid, startTime }: Process): boolean {
  const fields = statOf(pid);
  return fields[STARTED] === startTime && !/^[ZX]$/.test(fields[STATE] ?? "");
}

/** Fields of proc_pid_stat(5), counted from the one after the command's name, which may hold anything. */
const [STATE, STARTED] = [0, 19];

function statOf(pid: number): string[] {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function kill(pid: number, signal: "SIGKILL" | "SIGSTOP"): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It is already gone.
  }
}
