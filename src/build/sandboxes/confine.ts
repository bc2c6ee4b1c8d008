/**
 * Running a program within its limits: what is the same for every sandbox. The kernel keeps memory and
 * processes where there are control groups; time, output and disk are watched, and so is what it does not keep.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError } from "../../base/error.ts";
import { isInstalled, lastLines, run } from "../../base/run.ts";
import type { ControlGroup } from "./cgroup.ts";
import type { Limit, Sandbox, SandboxResult, SandboxSpec } from "./sandbox.ts";
import { bytesBelow, bytesUnnamed, memoryOf, processesUnder } from "./usage.ts";

const LOOK_EVERY_MS = 500;
/** Looking takes at most this share of the time. */
const LOOK_SHARE = 20;

/** What programs and shells say of a file that would grow beyond RLIMIT_FSIZE. */
const FILE_TOO_LARGE = /File size limit exceeded|File too large/;

/** @throws FarmError TOOL_MISSING: the programs on the way would only say that one of them found nothing */
export function requirePrograms({ name, needs }: Sandbox): void {
  const missing = needs.filter(([program]) => !isInstalled(program));
  if (missing.length === 0) return;
  throw new FarmError("TOOL_MISSING", {
    detail: `the sandbox ${name} needs ${missing.map(([program]) => program).join(" and ")}, which this machine lacks`,
    hint: `apt-get install --no-install-recommends ${missing.map(([, debianPackage]) => debianPackage).join(" ")}`,
  });
}

export interface Confinement {
  /** The sandbox's own program; everything it starts must end with it. */
  readonly argv: readonly string[];
  readonly group: ControlGroup | undefined;
  /** Whether it was the sandbox that failed, before it came to start anything. */
  readonly isOwnFailure: (exitCode: number, output: string) => boolean;
}

/** @throws FarmError TOOL_FAILED when it is not the program that failed */
export async function runConfined(
  { argv, group, isOwnFailure }: Confinement,
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
  const options = { logFile, timeoutMs, outputLimitBytes, endsAtOutputLimit: true, until: end.signal };
  const result = await run(argv, { ...options, onStart: (pid) => look.at(pid) }, signal).finally(() =>
    over.abort(),
  );
  await looking;
  const output = `${result.stdout}\n${result.stderr}`;
  const { exitCode } = result;
  const stopped =
    (end.signal.reason as Limit | undefined) ??
    (result.truncated ? "outputLimit" : undefined) ??
    (await group?.exceeded()) ??
    (result.timedOut ? "timeLimit" : undefined) ??
    ((await look.isDiskFull()) || (exitCode !== 0 && FILE_TOO_LARGE.test(output)) ? "writeLimit" : undefined);
  if (stopped === undefined && exitCode !== 0 && isOwnFailure(exitCode, output.trim()))
    throw new FarmError("TOOL_FAILED", {
      detail: `the sandbox could not start the build: ${lastLines(output, 2)}`,
      hint: "Ask `kmodfarm doctor` what this machine lacks.",
    });
  return { exitCode, output, ...(stopped === undefined ? {} : { stopped }) };
}

/** Command words that enter a group, set the umask and the limits of each process, and become what follows. */
export function entering(spec: SandboxSpec, group: ControlGroup | undefined): string[] {
  const script =
    'umask "$1"; shift; while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@"';
  const umask = (spec.umask ?? 0o022).toString(8);
  // Without a group for memory, at least no single process gets all of it.
  const memory = group?.limits.has("memory") ? [] : [`--as=${spec.memoryBytes}`];
  return [
    ["sh", "-c", script, "sh", umask, ...(group?.entrances ?? []), "--"],
    ["prlimit", ...memory, `--fsize=${spec.writableBytes}`, "--core=0", "--"],
  ].flat();
}

class Look {
  readonly #spec: SandboxSpec;
  readonly #group: ControlGroup | undefined;
  #pid: number | undefined;

  constructor(spec: SandboxSpec, group: ControlGroup | undefined) {
    this.#spec = spec;
    this.#group = group;
  }

  at(pid: number): void {
    this.#pid = pid;
  }

  async exceeded(): Promise<Limit | undefined> {
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
    const named = await bytesBelow(directories, writableBytes);
    if (named >= writableBytes) return true;
    return named + (await bytesUnnamed(await this.#processes())) >= writableBytes;
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
    delayMs = Math.max(LOOK_EVERY_MS, (performance.now() - started) * LOOK_SHARE);
  }
}
