/**
 * Bubblewrap: namespaces without a daemon, 10 ms to start. Uses only what 0.4 (Debian 11) has, and more only if it is available.
 */
import { statSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../base/run.ts";
import { hostArchitecture } from "../../kernel/architecture.ts";
import { type ControlGroup, makeGroup } from "./cgroup.ts";
import { requirePrograms, requireWholeWords, resourceLimits, runConfined } from "./confine.ts";
import { mountTable } from "./devices.ts";
import { hiddenOfProc, layOut, type Mount } from "./layout.ts";
import { HOSTNAME, type Sandbox, type SandboxSpec, USER_ID } from "./sandbox.ts";
import { seccompFilter } from "./seccomp.ts";

export const bubblewrap: Sandbox = {
  name: "bwrap",
  needs: [
    ["bwrap", "bubblewrap"],
    ["prlimit", "util-linux"],
    ["setpriv", "util-linux"],
    ["unshare", "util-linux"],
    ["mount", "mount"],
  ],
  async run(spec, signal) {
    requirePrograms(bubblewrap);
    const mounts = await layOut(spec);
    const group = await makeGroup(spec);
    try {
      const own = await writeOrders(spec, mounts, group);
      const argv = [...entering(spec, own, group), "bwrap", "--args", "3", "--", ...spec.argv];
      const hasRun = async () => /"exit-code"/.test(await readFile(join(own, "status"), "utf8"));
      return await runConfined({ argv, group, hasRun, readsProc: true }, spec, signal);
    } finally {
      await group?.remove();
    }
  },
};

/** Writes what the sandbox reads and we read of it, to a directory that the program does not see. */
async function writeOrders(
  spec: SandboxSpec,
  mounts: readonly Mount[],
  group: ControlGroup | undefined,
): Promise<string> {
  const own = join(spec.scratch, ".bwrap");
  await mkdir(join(own, "empty"), { recursive: true });
  // In a file and not on the command line, which the program can read: it tells where things are on this machine.
  const words = argumentsOf(spec, mounts, own, await namespacesOfUsers());
  requireWholeWords(words);
  const architecture = hostArchitecture(process.arch);
  const countsMemory = group?.limits.has("memory") ?? false;
  await writeFile(join(own, "arguments"), words.map((word) => `${word}\0`).join(""));
  await writeFile(join(own, "filter"), seccompFilter({ architecture, countsMemory }));
  await writeFile(join(own, "status"), "");
  await writeFile(join(own, "mounts"), mountTable());
  return own;
}

/** The first process of the run's namespace: it sets what all others inherit, one pipe for both streams among it, and becomes bwrap. */
const ENTER = `umask "$1" && cd "$2" && shift 2 || exit
while [ "$1" != -- ]; do echo 0 >"$1" || exit; shift; done; shift
[ ! -s mounts ] || mount --all --fstab mounts || exit
unset PWD OLDPWD
exec "$@" 3<arguments 4<filter 5>status 2>&1`;

function entering(spec: SandboxSpec, own: string, group: ControlGroup | undefined): string[] {
  const umask = (spec.umask ?? 0o022).toString(8);
  // Without a group for memory, at least no single process gets all of it.
  const memory = group?.limits.has("memory") ? [] : [`--as=${spec.memoryBytes}`];
  const limits = Object.entries(resourceLimits(spec)).map(([name, value]) => `--${name}=${value}`);
  return [
    ["sh", "-c", ENTER, "sh", umask, own, ...(group?.entrances ?? []), "--"],
    ["prlimit", ...memory, ...limits, "--"],
  ].flat();
}

/** What shells on the way add to the environment. */
const ADDED = ["PATH", "LC_ALL", "TZ", "HOME", "PWD", "OLDPWD", "SHLVL", "_"];
function argumentsOf(
  spec: SandboxSpec,
  mounts: readonly Mount[],
  own: string,
  userNamespaces: readonly string[],
): string[] {
  const userId = String(spec.userId ?? USER_ID);
  const nothing = (path: string) => (statSync(path).isDirectory() ? join(own, "empty") : "/dev/null");
  return [
    ["--unshare-all", ...userNamespaces, "--die-with-parent", "--new-session", "--cap-drop", "ALL"],
    ["--seccomp", "4", "--json-status-fd", "5"],
    ["--uid", userId, "--gid", userId, "--hostname", spec.hostname ?? HOSTNAME],
    ["--ro-bind", spec.root, "/", "--proc", "/proc", "--dev", "/dev"],
    // If root starts us, the user in there is still root to the kernel, whose settings require no capability.
    ["--ro-bind", "/proc/sys", "/proc/sys"],
    ...hiddenOfProc().map((path) => ["--ro-bind", nothing(path), path]),
    ...mounts.map(({ outside, inside, isWritable }) => [
      isWritable ? "--bind" : "--ro-bind",
      outside,
      inside,
    ]),
    ["--remount-ro", "/dev"],
    ...ADDED.map((name) => ["--unsetenv", name]),
    ...Object.entries(spec.env).map(([name, value]) => ["--setenv", name, value]),
    ["--chdir", spec.outputs[0]?.[1] ?? "/"],
  ].flat();
}

let known: Promise<readonly string[]> | undefined;

/** Options that take from a program what the filter takes too: since 0.8, and where /proc/sys can be written. */
function namespacesOfUsers(): Promise<readonly string[]> {
  known ??= (async () => {
    const options = ["--unshare-user", "--disable-userns"];
    const trial = await run(["bwrap", ...options, "--ro-bind", "/", "/", "--", "true"]);
    return trial.exitCode === 0 ? options : [];
  })();
  return known;
}
