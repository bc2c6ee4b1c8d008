/** A sandbox as it is in most containers: no control group can be made, and there are few processes, whose ids are small. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { afterAll } from "vitest";
import { FarmError } from "../../src/base/error.ts";
import type { ErrorCode } from "../../src/base/error-codes.ts";
import type { Sandbox, SandboxResult } from "../../src/builder/sandboxes/sandbox.ts";

/** In a mount namespace of one's own: takes the mounts of control groups away. */
export const HIDE_GROUPS = "umount -R /sys/fs/cgroup && mount -t tmpfs -o ro none /sys/fs/cgroup";
const ENTER = `mount --make-rprivate / && ${HIDE_GROUPS} && exec "$@"`;

export interface Answer {
  readonly id: number;
  readonly result?: SandboxResult;
  readonly failure?: { readonly code: ErrorCode; readonly message: string };
}

/** The same sandbox in another Node.js that sees no control groups; it ends with the file of tests. */
export function ungrouped(sandbox: Sandbox): Sandbox {
  const apart = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
  return elsewhere(sandbox, ["unshare", ...apart, "sh", "-c", ENTER, "sh"]);
}

/** The same sandbox, started by a user who has no rights on this machine. */
export function ofNobody(sandbox: Sandbox): Sandbox {
  return elsewhere(sandbox, ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"]);
}

export const NOBODY = 65_534;

function elsewhere(sandbox: Sandbox, enter: readonly string[]): Sandbox {
  const waiting = new Map<number, (answer: Answer) => void>();
  let child: ChildProcess | undefined;
  const start = () => {
    const module = new URL("ungrouped-child.ts", import.meta.url).pathname;
    const [program, ...words] = [...enter, process.execPath, module, sandbox.name];
    const started = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: started.stdout }).on("line", (line) => {
      const answer: Answer = JSON.parse(line);
      waiting.get(answer.id)?.(answer);
    });
    return started;
  };
  afterAll(() => void child?.kill("SIGKILL"));
  let count = 0;
  return {
    ...sandbox,
    async run(spec, signal) {
      child ??= start();
      const [id, { promise, resolve }] = [count++, Promise.withResolvers<Answer>()];
      waiting.set(id, resolve);
      const say = (message: object) => child?.stdin?.write(`${JSON.stringify({ id, ...message })}\n`);
      say({ spec });
      signal?.addEventListener("abort", () => say({ isStopped: true }));
      const { result, failure } = await promise;
      if (result === undefined)
        throw new FarmError(failure?.code ?? "BUG", { detail: failure?.message ?? "" });
      return result;
    },
  };
}
