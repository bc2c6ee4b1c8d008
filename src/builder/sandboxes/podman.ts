/**
 * Podman on a bare root directory, no image and no service: an OCI runtime with its seccomp profile. Needs root.
 *
 * Podman's containers outlive the process that started them. So it runs in a process and a mount namespace that end
 * with us, and keeps its state in the run's scratch directory: nothing is left to be found and ended later.
 */
import { mkdir, readFile, realpath, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError, isErrno } from "../../base/error.ts";
import { exists } from "../../base/scratch.ts";
import { StrangeDirectory } from "../../base/strange-directory.ts";
import { hostArchitecture } from "../../kernel/architecture.ts";
import { type ControlGroup, makeGroup, newName, removeEverywhere, sweepEverywhere } from "./cgroup.ts";
import { requirePrograms, resourceLimits, runConfined, wasThere } from "./confine.ts";
import { mountTable } from "./devices.ts";
import { hiddenOfProc, layOut, type Mount, makeInRoot, mountOption } from "./layout.ts";
import { HOSTNAME, type Sandbox, type SandboxSpec, USER_ID } from "./sandbox.ts";
import { type EngineProfile, narrowedProfile } from "./seccomp.ts";

/** Who the container's root is outside: nobody. It starts the program and owns what the runtime makes. */
const RUNTIME_USER_ID = 100_000;

/** What the runtime's hooks leave behind: a program ran, and was waited for until its end. */
const [STARTED, ENDED] = ["started", "ended"];

/** Where the state is seen in the run's own mount namespace: podman refuses long paths. */
const PLACE = "/run/kmodfarm";
const PLACES = [
  ...["root", "runroot", "tmpdir"].map((name) => `--${name}=${PLACE}/${name}`),
  ...["--storage-driver=vfs", `--hooks-dir=${PLACE}/hooks`, "--log-level=error"],
];

let swept: Promise<void> | undefined;

export const podman: Sandbox = {
  name: "podman",
  needs: [
    ["podman", "podman"],
    ["runc", "runc"],
    ["unshare", "util-linux"],
    ["mount", "mount"],
  ],
  async run(spec, signal) {
    requirePrograms(podman);
    requireRoot();
    swept ??= sweep();
    await swept;
    const mounts = await layOut(spec);
    const state = join(spec.scratch, "podman");
    const parent = newName();
    const group = await makeGroup(spec);
    try {
      await writeState(state, group);
      await makeRuntimePlaces(spec.root);
      const argv = [
        ["sh", "-c", ENTER, "sh", join(state, "mounts")],
        ["env", `CONTAINERS_CONF=${PLACE}/containers.conf`, "podman", ...PLACES],
        ["run", ...argumentsOf(spec, mounts), `--cgroup-parent=/${parent}`],
        // Runtimes take no root that is a link.
        ["--rootfs", await realpath(spec.root), ...commandOf(spec)],
      ].flat();
      const hasRun = async (exitCode: number) =>
        (await exists(join(state, STARTED))) &&
        (await exists(join(state, ENDED))) &&
        wasThere(spec, exitCode);
      return await runConfined({ argv, group, hasRun }, spec, signal);
    } finally {
      await group?.remove();
      await removeEverywhere(parent);
    }
  },
};

async function sweep(): Promise<void> {
  await mkdir(PLACE, { recursive: true });
  await sweepEverywhere();
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new FarmError("CONFIG_INVALID", {
    detail: "the sandbox podman needs root",
    hint: "Run as root, or use `sandbox: bwrap`, which does not need root.",
  });
}

function argumentsOf(spec: SandboxSpec, mounts: readonly Mount[]): string[] {
  const userId = spec.userId ?? USER_ID;
  return [
    ["--rm", "--network=none", "--read-only", "--read-only-tmpfs=false", "--pids-limit=0", "--systemd=false"],
    ["--cap-drop=all", "--security-opt=no-new-privileges", "--no-hosts", "--passwd=false"],
    ["--http-proxy=false", "--log-driver=none", `--hostname=${spec.hostname ?? HOSTNAME}`],
    [`--user=${userId}:${userId}`, `--umask=${(spec.umask ?? 0o022).toString(8).padStart(4, "0")}`],
    // Files that are ours outside are the user's inside, as in bubblewrap.
    ...["--uidmap", "--gidmap"].map((map) => [`${map}=0:${RUNTIME_USER_ID}:1`, `${map}=${userId}:0:1`]),
    [`--ulimit=nproc=${spec.processLimit}:${spec.processLimit}`],
    ...Object.entries(resourceLimits(spec)).map(([name, value]) => `--ulimit=${name}=${value}:${value}`),
    [`--security-opt=seccomp=${PLACE}/seccomp.json`, `--security-opt=mask=${hiddenOfProc().join(":")}`],
    ["--mount=type=tmpfs,dst=/sys,ro=true"],
    ...mounts.map((mount) => ["--mount", mountOption(mount)]),
    [`--workdir=${spec.outputs[0]?.[1] ?? "/"}`],
  ].flat();
}

/** The engine has an environment of its own to give, and two pipes that it reads in no order: the program gets neither. */
function commandOf({ env, argv }: SandboxSpec): string[] {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return ["sh", "-c", 'exec "$@" 2>&1', "sh", "env", "-i", ...variables, ...argv];
}

const SETTINGS = `[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
`;

/** The first process of the run's namespace. Engines look for themselves in /proc. */
const ENTER = 'mount --all --fstab "$1" && mount -t proc proc /proc || exit; shift; exec "$@"';

/** Moves a container into our group before its program starts: its own group is gone before one can ask it. */
const JOIN = `pid=$(sed 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/') && for file; do echo "$pid" >"$file" || exit 1; done`;
/** The engine says how a program ended, and how it failed itself, in one and the same way: this is how we know. */
const SAY = ': >"$1"';

async function writeState(state: string, group: ControlGroup | undefined): Promise<void> {
  await mkdir(join(state, "hooks"), { recursive: true });
  await writeFile(join(state, "containers.conf"), SETTINGS);
  await writeFile(join(state, "mounts"), mountTable([[state, PLACE]]));
  const countsMemory = group?.limits.has("memory") ?? false;
  const options = { architecture: hostArchitecture(process.arch), countsMemory };
  const profile = narrowedProfile(await engineProfile(), options);
  await writeFile(join(state, "seccomp.json"), JSON.stringify(profile));
  await writeHook(state, "createRuntime", [JOIN, "sh", ...(group?.entrances ?? [])]);
  await writeHook(state, "poststart", [SAY, "sh", join(PLACE, STARTED)]);
  await writeHook(state, "poststop", [SAY, "sh", join(PLACE, ENDED)]);
}

async function writeHook(state: string, stage: string, script: readonly string[]): Promise<void> {
  const hook = { path: "/bin/sh", args: ["sh", "-c", ...script] };
  const text = JSON.stringify({ version: "1.0.0", hook, when: { always: true }, stages: [stage] });
  await writeFile(join(state, "hooks", `${stage}.json`), text);
}

/** Where containers-common has it, and where an administrator puts another. */
const PROFILES = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];

async function engineProfile(): Promise<EngineProfile> {
  for (const path of PROFILES) {
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined) return JSON.parse(text);
  }
  throw new FarmError("TOOL_MISSING", {
    detail: `the sandbox podman needs its seccomp profile, but neither ${PROFILES.join(" nor ")} exists`,
    hint: "apt-get install --no-install-recommends golang-github-containers-common",
  });
}

/** What the runtime mounts by itself, it would make in the root as a user of its own. */
async function makeRuntimePlaces(root: string): Promise<void> {
  for (const inside of ["/sys", "/etc"]) makeInRoot(root, inside, true);
  using etc = StrangeDirectory.open(join(root, "etc"));
  // Whatever has that name already is mounted over inside.
  const hostname = await etc.create(Buffer.from("hostname"), 0o644).catch(ignoreExisting);
  await hostname?.close();
}

function ignoreExisting(thrown: unknown): undefined {
  if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
  return undefined;
}
