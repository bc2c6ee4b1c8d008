/**
 * Bubblewrap: namespaces without a daemon, 10 ms to start. Uses nothing that 0.4 (Debian 11) lacks.
 */
import { makeGroup } from "./cgroup.ts";
import { entering, requirePrograms, runConfined } from "./confine.ts";
import { guardingDevices } from "./devices.ts";
import { layOut, type Mount } from "./layout.ts";
import { HOSTNAME, type Sandbox, type SandboxSpec, USER_ID } from "./sandbox.ts";

export const bubblewrap: Sandbox = {
  name: "bwrap",
  needs: [
    ["bwrap", "bubblewrap"],
    ["prlimit", "util-linux"],
    ["setpriv", "util-linux"],
    ["mount", "mount"],
  ],
  async run(spec, signal) {
    requirePrograms(bubblewrap);
    const mounts = await layOut(spec);
    const devices = await guardingDevices(spec.scratch);
    const group = await makeGroup(spec);
    try {
      const inside = ["bwrap", ...argumentsOf(spec, mounts), "--", ...spec.argv];
      const argv = [...entering(spec, group), ...devices, ...inside];
      return await runConfined({ argv, group, isOwnFailure }, spec, signal);
    } finally {
      await group?.remove();
    }
  },
};

/** They speak first, or not at all. */
function isOwnFailure(exitCode: number, output: string): boolean {
  return (
    /^(?:bwrap|unshare|prlimit|setpriv): /.test(output) ||
    (exitCode === 125 && /^(?:sh|mount): /.test(output))
  );
}

/** What shells on the way add to the environment. */
const ADDED = ["PATH", "LC_ALL", "TZ", "HOME", "PWD", "OLDPWD", "SHLVL", "_"];
/** When root starts us, nobody in there is root to the kernel still, whose settings ask for no capability. */
const KERNEL_SETTINGS = ["sys", "sysrq-trigger", "irq", "bus", "fs", "mtrr", "acpi", "scsi"];

function argumentsOf(spec: SandboxSpec, mounts: readonly Mount[]): string[] {
  const userId = String(spec.userId ?? USER_ID);
  const settings = KERNEL_SETTINGS.map((name) => `/proc/${name}`);
  return [
    ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"],
    ["--uid", userId, "--gid", userId, "--hostname", spec.hostname ?? HOSTNAME],
    ["--ro-bind", spec.root, "/", "--proc", "/proc", "--dev", "/dev"],
    ...settings.map((path) => ["--ro-bind-try", path, path]),
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
