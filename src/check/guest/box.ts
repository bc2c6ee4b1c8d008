/**
 * The box that QEMU runs in: no network, none of the machine's files but programs, libraries and those of its guest, no
 * more on disk than it may write, and where we can make it one, a user of the machine who owns nothing.
 */
import { chown, stat } from "node:fs/promises";
import { boxedProgram } from "../../base/programs.ts";
import { run } from "../../base/run.ts";

export interface BoxSpec {
  /** [outside, inside]; files of our own, which the user in the box can read. */
  readonly readable: readonly (readonly [string, string])[];
  readonly writable: readonly (readonly [string, string])[];
  readonly devices: readonly string[];
  /** No file that is written to grows beyond that; a program that hears signals is ended at that byte. */
  readonly fileLimitBytes: number;
}

/** Owns nothing on any machine. */
const NOBODY = 65534;
const SYSTEM = [
  // What bwrap makes on the way to a mount is closed to all but root.
  ...["--dir", "/etc"],
  ...["/usr", "/bin", "/lib", "/lib64", "/etc/alternatives"].flatMap((path) => ["--ro-bind-try", path, path]),
];

/** The command line that runs a program in a box; what it may write to becomes its user's. */
export async function boxed([program = "", ...args]: readonly string[], spec: BoxSpec): Promise<string[]> {
  const { path, shows } = boxedProgram(program);
  const argv = [path, ...args];
  const mounts = [
    ...SYSTEM,
    ...shows,
    ...["--dev", "/dev"],
    ...spec.devices.flatMap((path) => ["--dev-bind", path, path]),
    ...spec.readable.flatMap(([outside, inside]) => ["--ro-bind", outside, inside]),
    ...spec.writable.flatMap(([outside, inside]) => ["--bind", outside, inside]),
    ...["--remount-ro", "/"],
  ];
  const limits = ["prlimit", `--fsize=${spec.fileLimitBytes}`, "--core=0", "--"];
  if (!(await mayBecomeNobody()))
    return [...limits, "bwrap", ...ALONE, "--unshare-user", ...mounts, "--", ...argv];
  for (const [outside] of spec.writable) await chown(outside, NOBODY, NOBODY);
  // The group of /dev/kvm is the one thing that a guest's processor needs.
  const groups = await Promise.all(spec.devices.map(async (path) => (await stat(path)).gid));
  return [...limits, ...asNobody(mounts, groups), ...argv];
}

const ALONE = [
  ...["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"],
  ...["--die-with-parent", "--new-session", "--cap-drop", "ALL"],
];

/** Root of a user namespace is still root's user to the kernel; so the machine's root makes the box and continues as another user. */
function asNobody(mounts: readonly string[], groups: readonly number[]): string[] {
  const change = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"];
  const user = ["setpriv", `--reuid=${NOBODY}`, `--regid=${groups[0] ?? NOBODY}`, "--clear-groups", "--"];
  return ["bwrap", ...ALONE, ...change, ...mounts, "--", ...user];
}

let nobodyWorks: Promise<boolean> | undefined;

/** Whether we may make such a box and leave root in it, tried out once: in containers root may be too little of one. */
function mayBecomeNobody(): Promise<boolean> {
  nobodyWorks ??= (async () => {
    if (process.getuid?.() !== 0) return false;
    return (await run([...asNobody(SYSTEM, []), "true"])).exitCode === 0;
  })();
  return nobodyWorks;
}
