/**
 * Running a program within its limits: what is the same for every sandbox. The kernel keeps memory and
 * processes where there are control groups; time, output and disk are watched, and so is what it does not keep.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError } from "../../base/error.ts";
import { isInstalled } from "../../base/programs.ts";
import { lastLines, run } from "../../base/run.ts";
import { exists } from "../../base/scratch.ts";
import { measureTrees } from "../../base/strange-tree.ts";
import type { ControlGroup } from "./cgroup.ts";
import type { Limit, Sandbox, SandboxResult, SandboxSpec } from "./sandbox.ts";
import { type Shortage, ShortageWatch } from "./shortage.ts";
import { bytesUnnamed, memoryOf, processesUnder } from "./usage.ts";

const LOOK_EVERY_MS = 500;
/** Looking takes at most this share of the time, unless that would be too seldom. */
const LOOK_SHARE = 20;
const LOOK_AT_LEAST_EVERY_MS = 2000;

/** What programs and shells say of a file that would grow beyond RLIMIT_FSIZE. */
const FILE_TOO_LARGE = /File size limit exceeded|File too large/;

/** @throws FarmError TOOL_MISSING: the programs on the way would only say that one of them found nothing */
export function requirePrograms({ name, needs }: Sandbox): void {
  const missing = needs.filter(([program]) => !isInstalled(program));
  if (missing.length === 0) return;
  throw new FarmError("TOOL_MISSING", {
    detail: `the sandbox ${name} needs ${missing.map(([program]) => program).join(" and ")}, which is not installed`,
    hint: `apt-get install --no-install-recommends ${missing.map(([, debianPackage]) => debianPackage).join(" ")}`,
  });
}

/**
 * A NUL ends a word of a command line: what comes behind one would be a word of its own, and so an option of the sandbox.
 * @throws FarmError UNSAFE_NAME
 */
export function requireWholeWords(words: readonly string[]): void {
  const cut = words.find((word) => word.includes("\0"));
  if (cut === undefined) return;
  throw new FarmError("UNSAFE_NAME", {
    detail: `what the sandbox is given holds a NUL: ${JSON.stringify(cut.slice(0, 200))}`,
  });
}

export interface Confinement {
  /** The sandbox's own program, which is the first of a process namespace. */
  readonly argv: readonly string[];
  readonly group: ControlGroup | undefined;
  /** Whether the program came to run, and to an end: by something that the program itself can neither say nor write. */
  readonly hasRun: (exitCode: number) => Promise<boolean>;
  /** Whether the sandbox itself looks for processes in /proc. Default: false. */
  readonly readsProc?: boolean;
}

/** @throws FarmError TOOL_FAILED when it is not the program that failed */
export async function runConfined(
  { argv, group, hasRun, readsProc = false }: Confinement,
  spec: SandboxSpec,
  signal?: AbortSignal,
): Promise<SandboxResult> {
  const [end, over] = [new AbortController(), new AbortController()];
  const look = new Look(spec, group);
  const looking = repeat(async () => {
    const limit = await look.exceeded();
    if (limit !== undefined) end.abort(limit);
  }, over.signal);
  const { logFile, timeoutMs, outputLimitBytes } = spec;
  const limits = { timeoutMs, outputLimitBytes, endsAtOutputLimit: true, until: end.signal };
  const options = { logFile, contained: readsProc ? ("withProc" as const) : true, ...limits };
  const result = await run(argv, { ...options, onStart: (pid) => look.at(pid) }, signal).finally(() =>
    over.abort(),
  );
  await looking;
  // Each sandbox gives its program one pipe for both streams: only of one is the order known.
  const output = [result.stdout, result.stderr].filter((text) => text !== "").join("\n");
  const { exitCode } = result;
  const stopped =
    (end.signal.reason as Limit | undefined) ??
    (result.truncated ? "outputLimit" : undefined) ??
    (await group?.exceeded()) ??
    (result.timedOut ? "timeLimit" : undefined) ??
    ((await look.isDiskFull()) || (exitCode !== 0 && FILE_TOO_LARGE.test(output)) ? "writeLimit" : undefined);
  if (stopped === undefined && !(await hasRun(exitCode)))
    throw new FarmError("TOOL_FAILED", {
      detail: `the sandbox could not start the build: ${lastLines(output, 2)}`,
      hint: "Run `kmodfarm doctor` to see what is missing on this machine.",
    });
  if (stopped !== undefined) return { exitCode, output, stopped };
  const short = exitCode === 0 ? [] : await look.short();
  return { exitCode, output, ...(short.length === 0 ? {} : { short }) };
}

/** Shells and env(1) end so when there is no such program. */
const NOT_FOUND = 127;

/** Whether a program that something else in the sandbox had to start was there; the root is as we made it. */
export async function wasThere({ root, argv }: SandboxSpec, exitCode: number): Promise<boolean> {
  return exitCode !== NOT_FOUND || exists(join(root, argv[0] ?? ""));
}

/** Open files that a program may have: as much as systems give by default. */
const OPEN_FILES = 1024;
/** Signals and timers that wait are counted for each user of this machine, whom the program may share with others. */
const PENDING_SIGNALS = 1024;

/** Limits of each process, by the names that prlimit(1) and container engines have for them. */
export function resourceLimits({ writableBytes }: SandboxSpec): Readonly<Record<string, number>> {
  return { fsize: writableBytes, core: 0, nofile: OPEN_FILES, sigpending: PENDING_SIGNALS, msgqueue: 0 };
}

class Look {
  readonly #spec: SandboxSpec;
  readonly #group: ControlGroup | undefined;
  readonly #shortage: ShortageWatch;
  #pid: number | undefined;

  constructor(spec: SandboxSpec, group: ControlGroup | undefined) {
    this.#spec = spec;
    this.#group = group;
    this.#shortage = new ShortageWatch(spec.scratch);
  }

  at(pid: number): void {
    this.#pid = pid;
  }

  short(): Promise<readonly Shortage[]> {
    return this.#shortage.look();
  }

  async exceeded(): Promise<Limit | undefined> {
    await this.#shortage.look();
    const limits = this.#group?.limits;
    const isKept = limits?.has("memory") && limits.has("pids");
    return (
      (await this.#group?.exceeded()) ??
      (isKept ? undefined : this.#tooMuch()) ??
      ((await this.isDiskFull()) ? "writeLimit" : undefined)
    );
  }

  async isDiskFull(): Promise<boolean> {
    const { outputs, scratch, writableBytes } = this.#spec;
    const directories = [scratch, ...outputs.map(([outside]) => outside)];
    const named = await measureTrees(directories, writableBytes);
    if (named >= writableBytes) return true;
    const devices = new Set(await Promise.all(directories.map(async (path) => (await stat(path)).dev)));
    return named + (await bytesUnnamed(await this.#processes(), devices)) >= writableBytes;
  }

  async #processes(): Promise<readonly number[]> {
    if (this.#group !== undefined) return this.#group.processes();
    return this.#pid === undefined ? [] : processesUnder(this.#pid, this.#spec.processLimit);
  }

  #tooMuch(): Limit | undefined {
    if (this.#pid === undefined) return undefined;
    const { processLimit, memoryBytes } = this.#spec;
    const processes = processesUnder(this.#pid, processLimit);
    if (processes.length > processLimit) return "processLimit";
    return memoryOf(processes) > memoryBytes ? "memoryLimit" : undefined;
  }
}

/** Works again and again until the signal fires. */
async function repeat(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const pause = (delayMs: number) => sleep(delayMs, true, { signal, ref: false }).catch(() => false);
  let delayMs = LOOK_EVERY_MS / 2;
  while (await pause(delayMs)) {
    const started = performance.now();
    await work().catch(() => {}); // What cannot be measured now is measured next time.
    const shareMs = (performance.now() - started) * LOOK_SHARE;
    delayMs = Math.min(Math.max(LOOK_EVERY_MS, shareMs), LOOK_AT_LEAST_EVERY_MS);
  }
}
