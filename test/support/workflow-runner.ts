/**
 * Runs workflows of GitHub Actions on this machine, as far as ours go: jobs in the order of their needs and in parallel,
 * matrices, conditions, outputs and summaries; each job in a directory of its own. Expressions are GitHub's own library's;
 * actions of others are small stand-ins, artifacts lie in a folder. What runs in a step is real, but for the programs of
 * `programsIn`.
 */
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import {
  cpSync,
  existsSync,
  globSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import PQueue from "p-queue";
import { parse } from "yaml";
import { CHECKOUT } from "./e2e-mirror.ts";
import { type Context, evaluate, isTrue, type Status, template } from "./workflow-expressions.ts";

export interface RunnerSettings {
  /** The repository: a directory with a configuration and `.github`. */
  readonly repository: string;
  /** Where everything of a run lies: `jobs`, `artifacts`, and all that was said. */
  readonly place: string;
  readonly vars?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
  /** Role → what its credentials are, for jobs that may ask for a token. */
  readonly roles?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Makes of a new machine one that was used before. */
  readonly prepare?: (job: string, workspace: string) => void;
  /** Jobs that end with their machine as soon as there is a file: job → a pattern in its workspace. */
  readonly dies?: (job: string) => string | undefined;
}

export interface JobRun {
  /** As people see it: `build debian12.x86_64.0-1`. */
  readonly name: string;
  readonly result: Status;
  readonly outputs: Readonly<Record<string, string>>;
  readonly log: string;
  readonly summary: string;
}

export interface WorkflowRun {
  readonly jobs: readonly JobRun[];
  readonly artifacts: string;
}

interface Step {
  readonly id?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, unknown>>;
  readonly run?: string;
}

interface Job {
  readonly name?: string;
  readonly needs?: string | readonly string[];
  readonly if?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly "runs-on"?: unknown;
  readonly strategy?: { readonly matrix: unknown };
  readonly outputs?: Readonly<Record<string, unknown>>;
  readonly steps?: readonly Step[];
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

/** As many jobs at once as this machine bears. */
const AT_ONCE = 2;

export async function runWorkflow(
  settings: RunnerSettings,
  file: string,
  inputs: Readonly<Record<string, unknown>> = {},
): Promise<WorkflowRun> {
  const run = new Run(settings, join(settings.place, randomUUID().slice(0, 8)));
  await run.workflow(file, { github: DISPATCHED, inputs });
  return { jobs: run.done, artifacts: run.artifacts };
}

const DISPATCHED = {
  ...{ event_name: "workflow_dispatch", ref_name: "main" },
  event: { repository: { default_branch: "main" } },
};

class Run {
  readonly done: JobRun[] = [];
  readonly artifacts: string;
  readonly #settings: RunnerSettings;
  readonly #place: string;
  readonly #caches: string;
  readonly #queue = new PQueue({ concurrency: AT_ONCE });

  constructor(settings: RunnerSettings, place: string) {
    this.#settings = settings;
    this.#place = place;
    this.#caches = join(settings.place, "caches");
    this.artifacts = join(place, "artifacts");
    mkdirSync(this.artifacts, { recursive: true });
  }

  async workflow(file: string, given: Context): Promise<void> {
    const { jobs } = parse(readFileSync(join(this.#settings.repository, file), "utf8")) as {
      jobs: Record<string, Job>;
    };
    const { vars = {}, secrets = {} } = this.#settings;
    const context = { ...given, vars, secrets, runner: { arch: "X64", os: "Linux" } };
    const running = new Map<string, Promise<NeededJob>>();
    for (const [id, job] of Object.entries(jobs)) running.set(id, this.#whenReady(id, job, context, running));
    await Promise.all(running.values());
  }

  async #whenReady(
    id: string,
    job: Job,
    given: Context,
    running: ReadonlyMap<string, Promise<NeededJob>>,
  ): Promise<NeededJob> {
    const names = [job.needs ?? []].flat();
    const waited = names.map(
      async (name) => [name, await (running.get(name) as Promise<NeededJob>)] as const,
    );
    const needs = Object.fromEntries(await Promise.all(waited));
    const context = { ...given, needs };
    const results = Object.values(needs).map(({ result }) => result);
    const status = results.every((result) => result === "success") ? "success" : "failure";
    if (!isTrue(job.if ?? "success()", context, status)) return { result: "skipped", outputs: {} };
    if (job.uses !== undefined) {
      await this.workflow(job.uses.replace(/^\.\//, ""), { ...given, inputs: values(job.with, context) });
      return { result: "success", outputs: {} };
    }
    const matrix =
      job.strategy === undefined ? { include: [{}] } : evaluateValue(job.strategy.matrix, context);
    const entries = (matrix as { include: Record<string, unknown>[] }).include;
    const all = await Promise.all(
      entries.map((entry) => this.#queue.add(() => this.#job(id, job, { ...context, matrix: entry }))),
    );
    for (const one of all) this.done.push(one);
    const result = all.every((one) => one.result === "success") ? "success" : "failure";
    return { result, outputs: all.at(-1)?.outputs ?? {} };
  }

  async #job(id: string, job: Job, given: Context): Promise<JobRun> {
    const name = template(job.name ?? id, given);
    const runsOn = evaluateValue(job["runs-on"], given);
    if (typeof runsOn !== "string" && !Array.isArray(runsOn)) throw new Error(`${name} runs on nothing`);
    const machine = new Machine(name, join(this.#place, "jobs", name.replaceAll(/[^\w.-]/g, "-")));
    const runner = { ...(given.runner as object), temp: machine.temporary };
    this.#settings.prepare?.(id, machine.workspace);
    const { status, steps } = await this.#steps(job.steps ?? [], job, { ...given, runner }, machine);
    const outputs = values(job.outputs, { ...given, steps }) as Record<string, string>;
    const summary = readFileSync(machine.summaryFile, "utf8");
    return { name, result: status, outputs, log: machine.log, summary };
  }

  /** Of a job, or of a composite action: one after the other, those after a failure only if they ask for that. */
  async #steps(
    all: readonly Step[],
    job: Job,
    given: Context,
    machine: Machine,
  ): Promise<{ readonly status: Status; readonly steps: Steps; readonly isLost: boolean }> {
    const steps: Steps = {};
    let status: Status = "success";
    for (const step of all) {
      const context = { ...given, steps };
      if (!isTrue(step.if ?? "success()", context, status)) continue;
      const outcome = await this.#step(step, job, context, machine);
      if (step.id !== undefined) steps[step.id] = { outputs: outcome.outputs };
      if (outcome.result === "lost") return { status: "failure", steps, isLost: true };
      if (outcome.result === "failure") status = "failure";
    }
    return { status, steps, isLost: false };
  }

  async #step(step: Step, job: Job, context: Context, machine: Machine): Promise<Outcome> {
    const env = values(step.env, context) as Record<string, string>;
    if (step.run !== undefined) {
      const pattern = this.#settings.dies?.(machine.name);
      return machine.run(template(step.run, context), env, pattern);
    }
    const inputs = values(step.with, context) as Record<string, string>;
    const uses = step.uses ?? "";
    if (uses.startsWith("./")) return this.#composite(uses, inputs, job, context, machine);
    const [action = ""] = uses.split("@");
    try {
      return { result: "success", outputs: this.#standIn(action, inputs, job, machine) };
    } catch (fault) {
      machine.log += `${action}: ${String(fault)}\n`;
      return { result: "failure", outputs: {} };
    }
  }

  async #composite(
    uses: string,
    given: Readonly<Record<string, string>>,
    job: Job,
    context: Context,
    machine: Machine,
  ): Promise<Outcome> {
    const file = join(machine.workspace, uses, "action.yml");
    const { runs, inputs = {} } = parse(readFileSync(file, "utf8")) as Composite;
    const usual = Object.fromEntries(Object.entries(inputs).map(([key, input]) => [key, input.default]));
    const inner = { ...context, inputs: { ...usual, ...given } };
    const { status, isLost } = await this.#steps(runs.steps, job, inner, machine);
    return { result: isLost ? "lost" : status === "success" ? "success" : "failure", outputs: {} };
  }

  #standIn(
    action: string,
    inputs: Readonly<Record<string, string>>,
    job: Job,
    machine: Machine,
  ): Record<string, string> {
    switch (action) {
      case "actions/checkout":
        cpSync(this.#settings.repository, machine.workspace, { recursive: true });
        return {};
      case "actions/upload-artifact":
        return this.#upload(inputs, machine.workspace);
      case "actions/download-artifact":
        this.#download(inputs, machine.workspace);
        return {};
      case "actions/cache/restore":
        return this.#restore(inputs);
      case "actions/cache/save":
        copyLinked(inputs.path ?? "", join(this.#caches, inputs.key ?? "", "content"));
        return {};
      case "aws-actions/configure-aws-credentials": {
        if (job.permissions?.["id-token"] !== "write") throw new Error("may not ask for a token");
        const credentials = this.#settings.roles?.[inputs["role-to-assume"] ?? ""];
        if (credentials === undefined) throw new Error(`no role ${inputs["role-to-assume"]}`);
        Object.assign(machine.environment, credentials);
        return {};
      }
      default:
        throw new Error(`no stand-in for ${action}`);
    }
  }

  /** One path, and patterns that take something from it; what is kept of them is relative to that path. */
  #upload(inputs: Readonly<Record<string, string>>, workspace: string): Record<string, string> {
    const { name = "artifact", path = "" } = inputs;
    const lines = path.split("\n").filter((line) => line !== "");
    const [wanted = ""] = lines;
    const without = lines.slice(1).map((line) => join(workspace, line.replace(/^!/, "")));
    const found = globSync(wanted, { cwd: workspace }).map((one) => join(workspace, one));
    const target = join(this.artifacts, name);
    if (existsSync(target) && inputs.overwrite !== "true") throw new Error(`there is an artifact ${name}`);
    rmSync(target, { recursive: true, force: true });
    const isOne = found.length === 1 && !wanted.includes("*");
    for (const one of found)
      copyLinked(one, isOne ? target : join(target, relative(join(workspace, wanted, ".."), one)), without);
    if (found.length === 0) return {};
    return { "artifact-id": idOf(name) };
  }

  /** What was kept for every run of the repository: the newest whose key begins as one of those asked for. */
  #restore({
    path = "",
    key = "",
    "restore-keys": more = "",
  }: Readonly<Record<string, string>>): Record<string, string> {
    const wanted = [key, ...more.split("\n")].filter((one) => one !== "");
    const kept = existsSync(this.#caches) ? readdirSync(this.#caches) : [];
    const age = (name: string) => statSync(join(this.#caches, name)).mtimeMs;
    const [found] = kept
      .filter((name) => wanted.some((start) => name.startsWith(start)))
      .toSorted((a, b) => age(b) - age(a));
    if (found === undefined) return {};
    copyLinked(join(this.#caches, found, "content"), path);
    return { "cache-matched-key": found };
  }

  #download(inputs: Readonly<Record<string, string>>, workspace: string): void {
    const { name, pattern, "artifact-ids": id, path = "." } = inputs;
    const all = readdirSync(this.artifacts);
    const isWanted = (one: string) =>
      pattern === undefined ? one === name || idOf(one) === id : one.startsWith(pattern.replace(/\*$/, ""));
    const found = all.filter(isWanted);
    if (found.length === 0 && pattern === undefined) throw new Error(`there is no artifact ${name ?? id}`);
    for (const one of found) {
      // A single artifact is put into the path itself since version 5 (actions/download-artifact, pull request 416), whether
      // it was named or is all that a pattern fits.
      const target = join(workspace, path, found.length === 1 ? "" : one);
      copyLinked(join(this.artifacts, one), target);
    }
  }
}

interface NeededJob {
  readonly result: Status;
  readonly outputs: Readonly<Record<string, string>>;
}

type Steps = Record<string, { readonly outputs: Readonly<Record<string, string>> }>;

interface Composite {
  readonly inputs?: Readonly<Record<string, { readonly default: string }>>;
  readonly runs: { readonly steps: readonly Step[] };
}

interface Outcome {
  readonly result: "success" | "failure" | "lost";
  readonly outputs: Record<string, string>;
}

/** A machine of one job: nothing is in its environment but what GitHub puts there. */
class Machine {
  readonly name: string;
  readonly workspace: string;
  readonly summaryFile: string;
  readonly environment: Record<string, string> = {};
  readonly temporary: string;
  log = "";
  readonly #place: string;

  constructor(name: string, place: string) {
    this.name = name;
    this.#place = place;
    this.workspace = join(place, "work");
    this.summaryFile = join(place, "summary.md");
    this.temporary = join(place, "tmp");
    for (const directory of [this.workspace, join(place, "bin"), this.temporary, join(place, "home")])
      mkdirSync(directory, { recursive: true });
    writeFileSync(this.summaryFile, "");
    for (const [program, text] of Object.entries(programsIn(join(place, "bin"))))
      writeFileSync(join(place, "bin", program), `#!/bin/sh\nset -eu\n${text}`, { mode: 0o755 });
  }

  /** Runs a script as GitHub's `shell: bash` does; ends it, and what it started, once a file fits the pattern. */
  async run(script: string, env: Readonly<Record<string, string>>, dies?: string): Promise<Outcome> {
    const outputFile = join(this.#place, "output");
    writeFileSync(outputFile, "");
    const child = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], {
      cwd: this.workspace,
      detached: true,
      env: {
        PATH: `${join(this.#place, "bin")}:${process.env.PATH}`,
        ...{ HOME: join(this.#place, "home"), RUNNER_TEMP: this.temporary },
        ...{ GITHUB_ACTIONS: "true", GITHUB_WORKSPACE: this.workspace, GITHUB_OUTPUT: outputFile },
        ...{ GITHUB_STEP_SUMMARY: this.summaryFile, NO_COLOR: "1", NO_PROXY: "127.0.0.1" },
        ...this.environment,
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.log += `$ ${script}\n`;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.log += text;
      });
    let isLost = false;
    const look = setInterval(() => {
      if (dies === undefined || isLost || globSync(dies, { cwd: this.workspace }).length === 0) return;
      isLost = true;
      process.kill(-(child.pid as number), "SIGKILL");
    }, 50);
    const exit = await new Promise<number>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => resolve(code ?? 1));
    });
    clearInterval(look);
    const outputs = Object.fromEntries(
      readFileSync(outputFile, "utf8")
        .split("\n")
        .filter((line) => line.includes("="))
        .map((line) => line.split(/=(.*)/s) as [string, string]),
    );
    this.log += exit === 0 ? "" : `exit code ${exit}\n`;
    return { result: isLost ? "lost" : exit === 0 ? "success" : "failure", outputs };
  }
}

/** Programs that would change this machine, or give what only a runner has. */
function programsIn(place: string): Readonly<Record<string, string>> {
  return {
    "apt-get": 'echo "apt-get $*"',
    npm: `echo "npm $*"; ln -sf ${CHECKOUT}/bin/kmodfarm ${place}/kmodfarm`,
    // Drops the environment as sudo does.
    sudo: `
kept="PATH=$PATH HOME=/root NO_COLOR=1 NO_PROXY=127.0.0.1"
while :; do
  case \${1-} in
  --preserve-env=*)
    for name in $(echo "\${1#*=}" | tr , ' '); do
      eval "value=\\\${$name-}"
      [ -z "$value" ] || kept="$kept $name=$value"
    done ;;
  *=*) kept="$kept $1" ;;
  *) break ;;
  esac
  shift
done
exec env -i $kept "$@"`,
  };
}

/** Toolchains are large, and nobody writes into what is there. */
function copyLinked(from: string, to: string, without: readonly string[] = []): void {
  if (without.includes(from)) return;
  if (!statSync(from).isDirectory()) {
    mkdirSync(dirname(to), { recursive: true });
    linkSync(from, to);
    return;
  }
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) copyLinked(join(from, name), join(to, name), without);
}

function idOf(name: string): string {
  return String(Number.parseInt(createHash("sha256").update(name).digest("hex").slice(0, 8), 16));
}

function values(
  given: Readonly<Record<string, unknown>> | undefined,
  context: Context,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(given ?? {}).map(([key, value]) => [key, template(String(value), context)]),
  );
}

/** A value that may be one expression, and then need not be a text. */
function evaluateValue(value: unknown, context: Context): unknown {
  const [, expression] = /^\$\{\{(.*)\}\}$/s.exec(String(value)) ?? [];
  return expression === undefined ? value : evaluate(expression, context);
}
