/**
 * What a sandbox truly keeps on this machine, found out by trying to get out of it.
 */
import { lstat, mkdir, readdir, readlink, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError } from "../../base/error.ts";
import { removeTree } from "../../base/strange-tree.ts";
import { hostArchitecture } from "../../kernel/architecture.ts";
import type { Sandbox, SandboxResult, SandboxSpec } from "./sandbox.ts";
import { numberOf, REFUSED, SOCKET_MAKERS } from "./system-calls.ts";

/** Things that a sandbox must keep. */
export const GUARDED = [
  ...([
    "network",
    "read-only root",
    "memory",
    "processes",
    "disk",
    "descriptors",
    "keys",
    "namespaces",
  ] as const),
  ...(["host sockets", "kernel facts", "shared counters", "its end"] as const),
] as const;
export type Guarded = (typeof GUARDED)[number];

interface Escape {
  readonly guarded: Guarded;
  readonly script: string;
  readonly changes?: Partial<SandboxSpec>;
  /** @param output the directory that the sandbox could write to */
  readonly isKept: (result: SandboxResult, output: string) => Promise<boolean> | boolean;
}

const MIB = 1024 ** 2;

/** In a language of this machine that can make a system call by its number: prints the error, or "done". */
function calling(name: "keyctl" | "socket" | "inotify_init1", args: readonly number[]): string {
  const known = [...REFUSED.EPERM, ...REFUSED.ENOSYS, ...SOCKET_MAKERS].find(([known]) => known === name);
  const words = [known && numberOf(known, hostArchitecture(process.arch)), ...args].join(", ");
  const perl = `$! = 0; print syscall(${words}) == -1 ? "error ".($!+0) : "done"`;
  const python = `import ctypes; l = ctypes.CDLL(None, use_errno=True); print("done" if l.syscall(${words}) != -1 else "error %d" % ctypes.get_errno())`;
  return `perl -e '${perl}' 2>/dev/null || python3 -c '${python}' 2>/dev/null`;
}

const isRefused = ({ output }: SandboxResult) => /^error \d+$/.test(output.trim());
/** KEYCTL_JOIN_SESSION_KEYRING would do no harm, and is the first that a build would ask for. */
const [JOIN_SESSION, AF_VSOCK, SOCK_STREAM] = [1, 40, 1];

const ESCAPES: readonly Escape[] = [
  {
    guarded: "network",
    script: "readlink /proc/self/ns/net; tail -n +3 /proc/net/dev | cut -d: -f1",
    isKept: async ({ output }) => {
      const [namespace, ...interfaces] = output.trim().split(/\s+/);
      const ours = await readlink("/proc/self/ns/net");
      return /^net:/.test(namespace ?? "") && namespace !== ours && interfaces.join() === "lo";
    },
  },
  {
    guarded: "read-only root",
    script:
      "for place in / /usr /etc /dev /proc/sys/kernel/domainname; do touch $place/x 2>/dev/null && echo $place; done; echo tried",
    isKept: ({ output }) => output.trim() === "tried",
  },
  {
    guarded: "memory",
    // By many processes together: a limit for each alone is none.
    script: "for i in 1 2 3 4 5 6; do head -c 40000000 /dev/zero | tail -c 40000000 | sleep 5 & done; wait",
    changes: { memoryBytes: 128 * MIB },
    isKept: ({ stopped }) => stopped === "memoryLimit",
  },
  {
    guarded: "processes",
    script: "i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done; wait",
    changes: { processLimit: 64 },
    isKept: ({ stopped }) => stopped === "processLimit",
  },
  {
    guarded: "disk",
    script: "for i in 1 2 3 4 5 6 7 8; do head -c 4000000 /dev/zero >/tmp/$i; done; sleep 5",
    changes: { writableBytes: 16 * MIB },
    isKept: ({ stopped }) => stopped === "writeLimit",
  },
  {
    guarded: "descriptors",
    script: "for fd in /proc/self/fd/*; do readlink $fd; done; echo tried",
    isKept: ({ output }) =>
      output
        .trim()
        .split("\n")
        .every((line) => /^(?:socket:|pipe:|\/dev\/null$|\/proc\/|tried$)/.test(line)),
  },
  { guarded: "keys", script: calling("keyctl", [JOIN_SESSION, 0]), isKept: isRefused },
  {
    guarded: "namespaces",
    script: "unshare --user true 2>/dev/null && echo made; echo tried",
    isKept: ({ output }) => output.trim() === "tried",
  },
  { guarded: "host sockets", script: calling("socket", [AF_VSOCK, SOCK_STREAM, 0]), isKept: isRefused },
  {
    guarded: "kernel facts",
    script:
      "head -c 9 -q /proc/kallsyms /proc/kpageflags /proc/keys /proc/timer_list 2>/dev/null; echo tried",
    isKept: ({ output }) => output.trim() === "tried",
  },
  { guarded: "shared counters", script: calling("inotify_init1", [0]), isKept: isRefused },
  {
    guarded: "its end",
    // Each process asks for a new session, and so is in no group that could be ended.
    script:
      "for i in 1 2 3 4; do setsid sh -c 'while :; do echo >/output/$$; done' & done >/dev/null 2>&1; sleep 0.2",
    isKept: async (_, output) => {
      const before = await changesIn(output);
      await sleep(50);
      return before.length > 0 && before.join() === (await changesIn(output)).join();
    },
  },
];

async function changesIn(directory: string): Promise<string[]> {
  const names = (await readdir(directory)).toSorted();
  const status = await Promise.all(names.map((name) => stat(join(directory, name), { bigint: true })));
  return status.map(({ ctimeNs }, index) => `${names[index]} ${ctimeNs}`);
}

/**
 * Which things the sandbox kept.
 * @param directory where temporary files of this may be
 * @throws FarmError when the sandbox does not work at all
 */
export async function proveSandbox(
  sandbox: Sandbox,
  directory: string,
  signal?: AbortSignal,
): Promise<ReadonlySet<Guarded>> {
  const { root, inputs } = await hostRoot(join(directory, "root"));
  const attempts = ESCAPES.map(async ({ guarded, script, changes, isKept }, index) => {
    const place = join(directory, `try-${index}`);
    for (const name of ["output", "scratch"]) await mkdir(join(place, name), { recursive: true });
    const result = await sandbox.run({ ...specOf(script, place), root, inputs, ...changes }, signal);
    return (await isKept(result, join(place, "output"))) ? [guarded] : [];
  });
  const settled = await Promise.allSettled(attempts);
  await removeTree(directory);
  const failed = settled.find((one) => one.status === "rejected");
  if (failed !== undefined)
    throw failed.reason instanceof FarmError
      ? failed.reason
      : new FarmError("TOOL_FAILED", { detail: String(failed.reason), cause: failed.reason });
  return new Set(settled.flatMap((one) => (one.status === "fulfilled" ? one.value : [])));
}

function specOf(script: string, place: string): Omit<SandboxSpec, "root" | "inputs"> {
  return {
    outputs: [[join(place, "output"), "/output"]],
    scratch: join(place, "scratch"),
    links: [],
    emptyDirectories: [],
    env: { PATH: "/usr/bin:/bin" },
    argv: ["/bin/sh", "-c", script],
    timeoutMs: 30_000,
    memoryBytes: 1024 * MIB,
    processLimit: 256,
    writableBytes: 256 * MIB,
    outputLimitBytes: MIB,
    logFile: join(place, "log"),
  };
}

/** A root that shows this machine's own programs, so that trying needs no toolchain. */
export async function hostRoot(root: string): Promise<Pick<SandboxSpec, "root" | "inputs">> {
  const inputs: [string, string][] = [];
  for (const name of ["dev", "etc", "proc", "run", "sys", "tmp"])
    await mkdir(join(root, name), { recursive: true });
  for (const name of ["usr", "bin", "sbin", "lib", "lib64"]) {
    const status = await lstat(`/${name}`).catch(() => undefined);
    if (status?.isSymbolicLink()) await symlink(await readlink(`/${name}`), join(root, name));
    else if (status?.isDirectory()) inputs.push([`/${name}`, `/${name}`]);
  }
  return { root, inputs };
}
