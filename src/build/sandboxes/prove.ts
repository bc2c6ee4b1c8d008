/**
 * What a sandbox truly keeps on this machine, found out by trying to get out of it.
 */
import { lstat, mkdir, readlink, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../../base/error.ts";
import type { Sandbox, SandboxResult, SandboxSpec } from "./sandbox.ts";

/** Things that a sandbox must keep. */
export const GUARDED = ["network", "read-only root", "memory", "processes", "disk"] as const;
export type Guarded = (typeof GUARDED)[number];

interface Escape {
  readonly guarded: Guarded;
  readonly script: string;
  readonly changes?: Partial<SandboxSpec>;
  readonly isKept: (result: SandboxResult) => Promise<boolean> | boolean;
}

const MIB = 1024 ** 2;

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
];

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
    return (await isKept(result)) ? [guarded] : [];
  });
  const settled = await Promise.allSettled(attempts);
  await rm(directory, { recursive: true, force: true });
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
