/**
 * What a program finds inside, the same in every sandbox: mounts in their order, with a place for each.
 */
import { readdirSync, statSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { exists } from "../../base/scratch.ts";
import type { SandboxSpec } from "./sandbox.ts";

export interface Mount {
  readonly outside: string;
  readonly inside: string;
  readonly isWritable: boolean;
}

/** Everything that programs expect to be writable. On disk and not in memory: so it is measured like outputs. */
const TEMPORARY = ["/tmp", "/run", "/dev/shm"];

/** All that programs are known to ask /proc for, besides processes: the rest tells of this machine, or changes it. */
const SEEN_OF_PROC = new Set([
  ...["cpuinfo", "filesystems", "loadavg", "meminfo", "mounts", "net", "self", "stat", "sys", "sysvipc"],
  ...["thread-self", "uptime", "version"],
]);

/** What is not to be seen below /proc on this machine. */
export function hiddenOfProc(): string[] {
  const names = readdirSync("/proc").filter((name) => !/^\d+$/.test(name) && !SEEN_OF_PROC.has(name));
  return names.map((name) => `/proc/${name}`);
}

/** As a container engine's `--mount` wants it: comma-separated values, quoted where they hold a comma. */
export function mountOption({ outside, inside, isWritable }: Mount): string {
  const fields = ["type=bind", `src=${outside}`, `dst=${inside}`, ...(isWritable ? [] : ["readonly"])];
  return fields.map((field) => (/[",]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join();
}

/** Makes the directories that are empty inside, and what mounts need to stand on. In order of mounting. */
export async function layOut(spec: SandboxSpec): Promise<Mount[]> {
  const empty = [...TEMPORARY, ...spec.emptyDirectories].map((inside) => ({
    outside: join(spec.scratch, inside),
    inside,
    isWritable: true,
  }));
  const mounts = [
    ...spec.inputs.map(([outside, inside]) => ({ outside, inside, isWritable: false })),
    ...spec.outputs.map(([outside, inside]) => ({ outside, inside, isWritable: true })),
  ];
  for (const { outside } of empty) await mkdir(outside, { recursive: true });
  for (const [target, inside] of spec.links) {
    const link = join(spec.scratch, inside);
    await mkdir(dirname(link), { recursive: true });
    await symlink(target, link);
  }
  for (const mount of [...empty, ...mounts]) await makeMountPoint(mount, empty, spec);
  return [...empty, ...mounts];
}

/** The root is read-only once inside: what is missing in it is made beforehand. */
async function makeMountPoint({ outside, inside }: Mount, empty: readonly Mount[], spec: SandboxSpec) {
  const isMadeInside = inside.startsWith("/dev/");
  const isBelow = empty.some((directory) => inside.startsWith(`${directory.inside}/`));
  const path = join(isBelow ? spec.scratch : spec.root, inside);
  if (isMadeInside || (await exists(path))) return;
  if (statSync(outside).isDirectory()) await mkdir(path, { recursive: true });
  else if (isBelow) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, "");
  }
}
