/**
 * What a program finds inside, the same in every sandbox: mounts in their order, with a place for each.
 */
import { readdirSync, statSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FarmError } from "../../base/error.ts";
import { exists } from "../../base/scratch.ts";
import { isGone, StrangeDirectory } from "../../base/strange-directory.ts";
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
  if (inside.startsWith("/dev/")) return;
  const isDirectory = statSync(outside).isDirectory();
  if (!empty.some((directory) => inside.startsWith(`${directory.inside}/`)))
    return makeInRoot(spec.root, inside, isDirectory);
  const path = join(spec.scratch, inside);
  if (await exists(path)) return;
  await mkdir(isDirectory ? path : dirname(path), { recursive: true });
  if (!isDirectory) await writeFile(path, "");
}

/** What a kernel follows at most. */
const LINK_LIMIT = 40;

/**
 * Makes the directories of a path in a root, part by part: packages wrote the root, and where the links of one lead
 * from this machine's top is not where they lead inside. Those of a merged /usr, which stay inside, are followed.
 * @throws FarmError TOOL_FAILED for any other
 */
export function makeInRoot(root: string, inside: string, isDirectory: boolean): void {
  const ahead = inside.split("/").toReversed();
  using held = new DisposableStack();
  const reached = [held.use(StrangeDirectory.openOwn(root))];
  let followed = 0;
  for (let part = ahead.pop(); part !== undefined; part = ahead.pop()) {
    const directory = reached.at(-1);
    if (directory === undefined) throw leadsOut(root, inside);
    if (part === "" || part === ".") continue;
    if (part === "..") {
      reached.pop();
      continue;
    }
    const name = Buffer.from(part);
    const target = linkAt(directory, name);
    if (target !== undefined) {
      if (target.startsWith("/") || ++followed > LINK_LIMIT) throw leadsOut(root, inside);
      ahead.push(...target.split("/").toReversed());
      continue;
    }
    const isLast = ahead.length === 0;
    if (isLast && (!isDirectory || kindAt(directory, name) !== undefined)) return;
    directory.makeDirectory(name, 0o777);
    if (!isLast) reached.push(held.use(directory.enter(name)));
  }
  if (reached.length === 0) throw leadsOut(root, inside);
}

function kindAt(directory: StrangeDirectory, name: Buffer): "link" | "other" | undefined {
  try {
    return directory.statusOf(name).isSymbolicLink() ? "link" : "other";
  } catch (thrown) {
    if (isGone(thrown)) return undefined;
    throw thrown;
  }
}

function linkAt(directory: StrangeDirectory, name: Buffer): string | undefined {
  return kindAt(directory, name) === "link" ? directory.linkOf(name).toString() : undefined;
}

function leadsOut(root: string, inside: string): FarmError {
  return new FarmError("TOOL_FAILED", {
    detail: `the toolchain root ${root} has a link on the path to ${inside} that is absolute or points outside the root`,
    hint: "Remove the root, so that it is built again; if the link returns, a package of the image creates it.",
  });
}
