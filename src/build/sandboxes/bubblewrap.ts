/**
 * Bubblewrap: namespaces without a daemon, 10 ms to start.
 */
import { statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../base/run.ts";
import { exists } from "../../base/scratch.ts";
import type { Sandbox, SandboxSpec } from "./sandbox.ts";

/** Nobody in particular, the same everywhere. */
const USER_ID = 1000;
const HOSTNAME = "kmodfarm";
const TEMPORARY = ["/tmp", "/run"];

export const bubblewrap: Sandbox = {
  name: "bwrap",
  needs: [
    ["bwrap", "bubblewrap"],
    ["prlimit", "util-linux"],
    ["setpriv", "util-linux"],
  ],
  async run(spec, signal) {
    await makeMountPoints(spec);
    const argv = [
      "prlimit",
      `--as=${spec.memoryBytes}`,
      "--core=0",
      "--",
      ...withUmask(spec.umask),
      "bwrap",
      ...argumentsOf(spec),
      "--",
      ...spec.argv,
    ];
    const { logFile, timeoutMs, outputLimitBytes } = spec;
    const limits = { logFile, timeoutMs, outputLimitBytes, endsAtOutputLimit: true };
    const result = await run(argv, limits, signal);
    const stopped = result.timedOut ? "timeLimit" : result.truncated ? "outputLimit" : undefined;
    return {
      exitCode: result.exitCode,
      output: `${result.stdout}\n${result.stderr}`,
      ...(stopped === undefined ? {} : { stopped }),
    };
  },
};

function withUmask(umask = 0o022): string[] {
  return ["sh", "-c", 'umask "$1"; shift; exec "$@"', "sh", umask.toString(8)];
}

function argumentsOf(spec: SandboxSpec): string[] {
  const userId = String(spec.userId ?? USER_ID);
  return [
    ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"],
    ["--uid", userId, "--gid", userId, "--hostname", spec.hostname ?? HOSTNAME],
    ["--ro-bind", spec.root, "/", "--proc", "/proc", "--dev", "/dev"],
    // When root starts us, nobody in there is root to the kernel still, whose settings ask for no capability.
    ...["/proc/sys", "/proc/sysrq-trigger"].map((path) => ["--ro-bind-try", path, path]),
    ...[...TEMPORARY, ...spec.emptyDirectories].map((path) => ["--tmpfs", path]),
    ...spec.inputs.map(([outside, inside]) => ["--ro-bind", outside, inside]),
    ...spec.outputs.map(([outside, inside]) => ["--bind", outside, inside]),
    ...spec.links.map(([target, inside]) => ["--symlink", target, inside]),
    ...Object.entries(spec.env).map(([name, value]) => ["--setenv", name, value]),
    ["--chdir", spec.outputs[0]?.[1] ?? "/"],
  ].flat();
}

/** A directory needs a place to go, and the root is read-only once inside: empty ones are made beforehand. */
async function makeMountPoints(spec: SandboxSpec): Promise<void> {
  const empty = [...TEMPORARY, ...spec.emptyDirectories];
  const mounts = [...spec.inputs, ...spec.outputs].filter(([outside]) => statSync(outside).isDirectory());
  for (const inside of [...spec.emptyDirectories, ...mounts.map((mount) => mount[1])]) {
    const isMadeInside = empty.some((directory) => inside.startsWith(`${directory}/`));
    const path = join(spec.root, inside);
    if (!isMadeInside && !(await exists(path))) await mkdir(path, { recursive: true });
  }
}
