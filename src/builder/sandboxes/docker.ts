/**
 * Docker: each toolchain root is imported as an image once. Unproven on a real engine so far; its command line
 * was tried with podman's.
 *
 * The engine runs the container, not we: it is removed by name when the run ends, and what a farm that was
 * killed left running ends by its own clock, or when the next farm starts.
 */
import { lchown, readdir, readFile, readlink, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../../base/error.ts";
import { digestOf, hexOf } from "../../base/json.ts";
import { isAlive, processName } from "../../base/process-name.ts";
import { lastLines, type RunResult, run } from "../../base/run.ts";
import { type ControlGroup, groupOf, newName } from "./cgroup.ts";
import { requirePrograms, resourceLimits, runConfined, wasThere } from "./confine.ts";
import { layOut, type Mount, mountOption } from "./layout.ts";
import { HOSTNAME, type Sandbox, type SandboxResult, type SandboxSpec, USER_ID } from "./sandbox.ts";

/** An orphan may run so much longer than it would have been given. */
const GRACE_SECONDS = 60;
const OWNER = "kmodfarm.owner";

class Engine {
  readonly #images = new Map<string, Promise<string>>();
  #swept: Promise<void> | undefined;

  /** The image of a root, imported when the engine has none. */
  imageOf(spec: SandboxSpec, signal?: AbortSignal): Promise<string> {
    const known = this.#images.get(spec.root);
    if (known !== undefined) return known;
    const made = this.#import(spec, signal);
    this.#images.set(spec.root, made);
    made.catch(() => this.#images.delete(spec.root));
    return made;
  }

  async #import({ root, scratch }: SandboxSpec, signal?: AbortSignal): Promise<string> {
    const { ino, mtimeMs } = await stat(root);
    const image = `kmodfarm-root:${hexOf(digestOf([root, ino, mtimeMs, await readdir(root)])).slice(0, 24)}`;
    if ((await this.#ask(["image", "inspect", image])).exitCode === 0) return image;
    const archive = join(scratch, "root.tar");
    try {
      for (const argv of [
        ["tar", "-C", root, "--numeric-owner", "-cf", archive, "."],
        ["docker", "import", archive, image],
      ]) {
        const { exitCode, stderr } = await run(argv, {}, signal);
        if (exitCode !== 0)
          throw new FarmError("TOOL_FAILED", {
            detail: `docker cannot import ${root} as an image: ${lastLines(stderr, 2)}`,
          });
      }
    } finally {
      await rm(archive, { force: true });
    }
    return image;
  }

  /** The container's group. Asking the engine for it takes a while, and nothing waits for the answer. */
  groupOf(name: string): ControlGroup {
    const known: { group?: ControlGroup | undefined; isAsking?: boolean } = {};
    const find = () => {
      if (known.group === undefined && !known.isAsking) {
        known.isAsking = true;
        void this.#processOf(name)
          .then(async (pid) => {
            known.group = pid > 0 ? await groupOf(pid) : undefined;
          })
          .catch(() => {}) // The next look asks again.
          .finally(() => {
            known.isAsking = false;
          });
      }
      return known.group;
    };
    return {
      entrances: [],
      limits: new Set(["memory", "pids"]),
      exceeded: async () => find()?.exceeded(),
      processes: async () => (await find()?.processes()) ?? [],
      async remove() {},
    };
  }

  async #processOf(name: string): Promise<number> {
    const { stdout } = await this.#ask(["inspect", "--format", "{{.State.Pid}}", name]);
    return Number.parseInt(stdout, 10);
  }

  /** Asks the engine what it saw: it keeps the group's memory limit, and knows when that was met. */
  async judge(name: string, result: SandboxResult): Promise<SandboxResult> {
    if (result.stopped !== undefined) return result;
    const { stdout } = await this.#ask(["inspect", "--format", "{{.State.OOMKilled}}", name]);
    return stdout.trim() === "true" ? { ...result, stopped: "memoryLimit" } : result;
  }

  /** The engine's word for it: it gives the time of a start only to what it started. */
  async hasRun(name: string): Promise<boolean> {
    const { stdout } = await this.#ask(["inspect", "--format", "{{.State.StartedAt}}", name]);
    return /^[1-9]/.test(stdout.trim());
  }

  /** The engine answers when the container's last process is gone. @throws FarmError NOT_ENDED */
  async remove(name: string): Promise<void> {
    const { exitCode, stderr } = await this.#ask(["rm", "--force", "--volumes", name]);
    if (exitCode !== 0 && !/no such container/i.test(stderr))
      throw new FarmError("NOT_ENDED", { detail: `docker does not stop ${name}: ${lastLines(stderr, 1)}` });
  }

  /** Removes containers of farms of this machine that died. */
  sweep(): Promise<void> {
    this.#swept ??= (async () => {
      const { exitCode, stderr } = await this.#ask(["version"]);
      if (exitCode !== 0)
        throw new FarmError("TOOL_FAILED", {
          detail: `the docker engine does not answer: ${lastLines(stderr, 1)}`,
          hint: "Start it, or use another sandbox.",
        });
      const machine = await machineName();
      const filter = ["--filter", `label=${OWNER}`, "--format", `{{.ID}} {{.Label "${OWNER}"}}`];
      const { stdout } = await this.#ask(["ps", "--all", ...filter]);
      for (const line of stdout.split("\n")) {
        const [id = "", owner = ""] = line.split(" ");
        const [where, who = ""] = owner.split("/");
        if (where === machine && !isAlive(who)) await this.remove(id);
      }
    })();
    this.#swept.catch(() => {
      this.#swept = undefined;
    });
    return this.#swept;
  }

  #ask(argv: readonly string[]): Promise<RunResult> {
    return run(["docker", ...argv], { timeoutMs: 60_000 });
  }
}

/** This boot of this machine, and this process namespace of it: only there a process id means anything. */
async function machineName(): Promise<string> {
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
  const namespace = (await readlink("/proc/self/ns/pid")).replaceAll(/\D/g, "");
  return `${boot.trim()}-${namespace}`;
}

interface User {
  readonly id: number;
  readonly owner: string;
}

/** The engine gives a container real users: what it may write to must be that user's. */
async function handOver({ scratch, outputs, userId = USER_ID }: SandboxSpec): Promise<User> {
  const owner = `${await machineName()}/${processName() ?? process.pid}`;
  if (process.getuid?.() !== 0) return { id: process.getuid?.() ?? userId, owner };
  for (const place of [scratch, ...outputs.map(([outside]) => outside)]) await giveTo(place, userId);
  return { id: userId, owner };
}

async function giveTo(place: string, userId: number): Promise<void> {
  await lchown(place, userId, userId);
  for (const entry of await readdir(place, { recursive: true, withFileTypes: true }))
    await lchown(join(entry.parentPath, entry.name), userId, userId);
}

function argumentsOf(spec: SandboxSpec, mounts: readonly Mount[], name: string, user: User): string[] {
  const { memoryBytes, processLimit } = spec;
  return [
    ["--name", name, "--label", `${OWNER}=${user.owner}`, "--network=none", "--read-only", "--ipc=private"],
    ["--cap-drop=ALL", "--security-opt=no-new-privileges", `--user=${user.id}:${user.id}`],
    [`--hostname=${spec.hostname ?? HOSTNAME}`, `--memory=${memoryBytes}`, `--memory-swap=${memoryBytes}`],
    [`--pids-limit=${processLimit}`, `--ulimit=nproc=${processLimit}:${processLimit}`],
    ...Object.entries(resourceLimits(spec)).map(([limit, value]) => `--ulimit=${limit}=${value}:${value}`),
    ...mounts.map((mount) => ["--mount", mountOption(mount)]),
    ["--log-driver=none", `--workdir=${spec.outputs[0]?.[1] ?? "/"}`],
  ].flat();
}

/** The first process ends the container with it: `timeout` does, if no other process is left to do so. */
function commandOf({ env, argv, timeoutMs, umask = 0o022 }: SandboxSpec): string[] {
  const seconds = Math.ceil(timeoutMs / 1000) + GRACE_SECONDS;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const script = 'umask "$1"; shift; exec "$@" 2>&1';
  return [
    ["timeout", "-s", "KILL", String(seconds), "sh", "-c", script, "sh", umask.toString(8)],
    ["env", "-i", ...variables, ...argv],
  ].flat();
}

const engine = new Engine();

export const docker: Sandbox = {
  name: "docker",
  needs: [
    ["docker", "docker.io"],
    ["tar", "tar"],
  ],
  async run(spec, signal) {
    requirePrograms(docker);
    await engine.sweep();
    const mounts = await layOut(spec);
    const image = await engine.imageOf(spec, signal);
    const user = await handOver(spec);
    const name = newName();
    const argv = ["docker", "run", ...argumentsOf(spec, mounts, name, user), image, ...commandOf(spec)];
    try {
      const hasRun = async (exitCode: number) => (await engine.hasRun(name)) && wasThere(spec, exitCode);
      const result = await runConfined({ argv, group: engine.groupOf(name), hasRun }, spec, signal);
      return await engine.judge(name, result);
    } finally {
      await engine.remove(name);
    }
  },
};
