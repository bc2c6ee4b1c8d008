/**
 * The box that packages are fetched and installed in: a user namespace whose ids belong to no user of this machine, with
 * process, network and mount namespaces of its own. What runs in it as root owns nothing but what it is shown.
 */
import { chmod, chown, mkdir } from "node:fs/promises";
import { FarmError } from "../../../base/error.ts";
import { isInstalled } from "../../../base/programs.ts";
import { lastLines, type RunResult, run } from "../../../base/run.ts";
import { exists } from "../../../base/scratch.ts";
import { makeGroup } from "../../sandboxes/cgroup.ts";

/** What the box shows of this machine. */
export interface Shown {
  readonly outside: string;
  readonly inside: string;
  readonly isWritable?: boolean;
}

export interface RootBox {
  readonly argv: readonly string[];
  /** In order; one whose `inside` is `/` comes first. Without such a one, this machine's own programs are shown. */
  readonly shows: readonly Shown[];
  /** To fetch with; programs of packages never have it. */
  readonly hasNetwork?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly timeoutMs: number;
}

/**
 * Ids 0 to 65535 inside are these outside: above those of systemd's containers and below 2^31, where neither people
 * nor services are (systemd, "Users, Groups, UIDs and GIDs on systemd Systems").
 */
const FIRST_ID = 0x7000_0000;
const ID_COUNT = 65_536;

const MEMORY_BYTES = 8 * 1024 ** 3;
const PROCESSES = 4096;

/** What dpkg, rpm and the scripts of packages do to their own root; all of it counts there only. */
const CAPABILITIES = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SYS_CHROOT",
].flatMap((name) => ["--cap-add", `CAP_${name}`]);

/** This machine's programs, and what the network's names and certificates need. */
const SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];
const NETWORK = ["resolv.conf", "hosts", "nsswitch.conf", "gai.conf", "ssl", "ca-certificates", "pki"].map(
  (name) => `/etc/${name}`,
);

/**
 * Run by root in mount and process namespaces of its own: `ENTRANCES… -- OUTSIDE… -- COMMAND…`. What the box shows is
 * bound to a place that its ids can reach, since directories on the way there are closed to them; nobody keeps anything
 * below /sys. Then a process without a user of this machine waits for its ids.
 */
const ENTER = `set -e
inside=$1 first=$2 count=$3
shift 3
while [ "$1" != -- ]; do echo $$ >"$1"; shift; done
shift
mount -t proc proc /proc
mount -t tmpfs -o mode=755 stage /sys
number=0
while [ "$1" != -- ]; do
	if [ -d "$1" ]; then mkdir /sys/$number; else : >/sys/$number; fi
	mount --bind "$1" /sys/$number
	number=$((number + 1))
	shift
done
shift
exec 3<&0
unshare --user --keep-caps -- sh -c "$inside" sh "$@" <&3 3<&- &
own=$(readlink /proc/self/ns/user)
until [ "$(readlink /proc/$!/ns/user)" != "$own" ]; do sleep 0.005; done
echo "0 $first $count" >/proc/$!/gid_map
echo "0 $first $count" >/proc/$!/uid_map
wait $!`;

/** No namespaces of users below this one, where the machine lets us say so: their makers would have all capabilities. */
const INSIDE = `until read -r _ </proc/self/uid_map; do sleep 0.005; done
echo 0 2>/dev/null >/proc/sys/user/max_user_namespaces || :
exec setpriv --reuid 0 --regid 0 --clear-groups -- "$@"`;

const NEEDED = [
  ["unshare", "util-linux"],
  ["setpriv", "util-linux"],
  ["mount", "mount"],
  ["bwrap", "bubblewrap"],
] as const;

/** Runs a program in the box; what it leaves in writable directories belongs to the box's ids. */
export async function runInBox(box: RootBox, signal?: AbortSignal): Promise<RunResult> {
  for (const [program, debianPackage] of NEEDED) requireTool(program, debianPackage);
  const group = await makeGroup({ memoryBytes: MEMORY_BYTES, processLimit: PROCESSES });
  try {
    const shown = [...box.shows, ...(box.hasNetwork ? await networkFiles() : [])];
    const argv = [
      [
        "sh",
        "-c",
        ENTER,
        "sh",
        INSIDE,
        String(FIRST_ID),
        String(ID_COUNT),
        ...(group?.entrances ?? []),
        "--",
      ],
      [...shown.map(({ outside }) => outside), "--", "bwrap"],
      [...bubbleArguments({ ...box, shows: shown }), "--", ...box.argv],
    ].flat();
    const { timeoutMs, input } = box;
    const options = { timeoutMs, contained: true, ...(input === undefined ? {} : { input }) };
    return await run(argv, options, signal);
  } finally {
    await group?.remove();
  }
}

function bubbleArguments({ shows, hasNetwork = false, env = {} }: RootBox): string[] {
  const isSystemShown = !shows.some(({ inside }) => inside === "/");
  const show = ({ inside, isWritable = false }: Shown, index: number) => [
    isWritable ? "--bind" : "--ro-bind",
    `/sys/${index}`,
    inside,
  ];
  const whole = shows.flatMap((one, index) => (one.inside === "/" ? show(one, index) : []));
  const parts = shows.flatMap((one, index) => (one.inside === "/" ? [] : show(one, index)));
  const environment = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8", HOME: "/root", ...env };
  return [
    ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "kmodfarm"],
    hasNetwork ? [] : ["--unshare-net"],
    ["--die-with-parent", "--new-session", "--cap-drop", "ALL", ...CAPABILITIES, ...whole],
    (isSystemShown ? SYSTEM : []).flatMap((path) => ["--ro-bind-try", path, path]),
    ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", ...parts, "--chdir", "/", "--clearenv"],
    Object.entries(environment).flatMap(([name, value]) => ["--setenv", name, value]),
  ].flat();
}

async function networkFiles(): Promise<Shown[]> {
  const found = await Promise.all(NETWORK.map(async (path) => ((await exists(path)) ? [path] : [])));
  return found.flat().map((path) => ({ outside: path, inside: path }));
}

/** Makes the directory that becomes a root. */
export async function makeBoxRoot(path: string): Promise<void> {
  await mkdir(path);
  await chmod(path, 0o755);
  await chown(path, FIRST_ID, FIRST_ID);
}

/** Gives what we wrote to the box's root, whatever modes our umask made of it. Before anything of others is there. */
export async function handIn(path: string): Promise<void> {
  await must(["chown", "--recursive", `${FIRST_ID}:${FIRST_ID}`, path]);
}

async function must(argv: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await run(argv);
  if (exitCode !== 0)
    throw new FarmError("TOOL_FAILED", { detail: `${argv[0]} failed in a root: ${lastLines(stderr, 2)}` });
}

/**
 * Takes a directory out of the box: everything in it becomes root's, and no program in it changes who runs it. Only
 * once nothing runs in there any more.
 */
export async function takeOut(path: string): Promise<void> {
  await chmod(path, 0o755);
  await must(["chown", "--no-dereference", "--recursive", "0:0", path]);
  await must(["chmod", "--recursive", "ug-s", path]);
  // dpkg and rpm left that to us: a root that lost its end with the power would be believed.
  await must(["sync", "--file-system", path]);
}

/** Why packages cannot be installed on this machine, if they cannot: found out by trying. */
export async function boxFault(signal?: AbortSignal): Promise<string | undefined> {
  const { exitCode, stderr } = await runInBox({ argv: ["true"], shows: [], timeoutMs: 30_000 }, signal);
  return exitCode === 0 ? undefined : lastLines(stderr, 2) || `it failed with exit code ${exitCode}`;
}

/** @throws FarmError TOOL_MISSING: in a box, a missing program would be reported only in the box's own words */
export function requireTool(program: string, debianPackage: string): void {
  if (isInstalled(program)) return;
  throw new FarmError("TOOL_MISSING", {
    detail: `'${program}', which builds toolchain roots, is not installed`,
    hint: `On Debian and Ubuntu: apt-get install --no-install-recommends ${debianPackage}.`,
  });
}
