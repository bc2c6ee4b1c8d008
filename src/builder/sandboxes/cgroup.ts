/**
 * Control groups: what the kernel itself counts and refuses. One group for each run, version 1 or 2 or both,
 * below the farm's own group so that whatever binds the farm binds its builds. Facts: the kernel's
 * Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
 */
import { randomBytes } from "node:crypto";
import { access, mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError } from "../../base/error.ts";
import { isAlive, processName } from "../../base/process-name.ts";
import { run } from "../../base/run.ts";

export interface GroupLimits {
  readonly memoryBytes: number;
  readonly processLimit: number;
}

type Controller = "memory" | "pids";

/** A directory in which groups can be made that limit something. */
export interface GroupPlace {
  readonly version: 1 | 2;
  readonly directory: string;
  readonly controllers: readonly Controller[];
}

export interface ControlGroup {
  /** A process that writes its id to each of these is in the group. */
  readonly entrances: readonly string[];
  readonly limits: ReadonlySet<Controller>;
  /** Which limit was met: by a process the kernel killed for memory, or a fork that it refused. */
  exceeded(): Promise<"memoryLimit" | "processLimit" | undefined>;
  processes(): Promise<number[]>;
  /** Ends every process that is left in it, and removes the group. @throws FarmError NOT_ENDED */
  remove(): Promise<void>;
}

/** A hierarchy of groups that is mounted here. */
export interface Hierarchy {
  readonly version: 1 | 2;
  readonly mount: string;
  /** The group that we are in. */
  readonly own: string;
  /** Version 1 only: in version 2 each group has its own list. */
  readonly controllers: readonly string[];
}

const PREFIX = "kmodfarm-";
const FILES = {
  memory: { 1: "memory.limit_in_bytes", 2: "memory.max" },
  pids: { 1: "pids.max", 2: "pids.max" },
} as const;

/** Reads /proc/self/mountinfo and /proc/self/cgroup; a group that is outside of what is mounted is left out. */
export function hierarchiesOf(mountinfo: string, membership: string): Hierarchy[] {
  const groups = membership
    .split("\n")
    .map((line) => /^\d+:([^:]*):(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, controllers = "", path = ""]) => ({ controllers: controllers.split(","), path }));
  return mountinfo.split("\n").flatMap((line): Hierarchy[] => {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root = "", mount = ""] = before.split(" ");
    const [kind, , options = ""] = after.split(" ");
    if (kind !== "cgroup" && kind !== "cgroup2") return [];
    const version = kind === "cgroup" ? 1 : 2;
    const controllers = version === 1 ? options.split(",") : [];
    const group = groups.find((one) =>
      version === 2
        ? one.controllers.join() === ""
        : one.controllers.some((word) => controllers.includes(word)),
    );
    if (group === undefined) return [];
    const isBelow = root === "/" || group.path === root || group.path.startsWith(`${root}/`);
    if (!isBelow || group.path.split("/").includes("..")) return [];
    const below = root === "/" ? group.path.slice(1) : group.path.slice(root.length + 1);
    const own = below === "" ? mount : join(mount, below);
    return [{ version, mount, own, controllers }];
  });
}

let places: Promise<readonly GroupPlace[]> | undefined;

/** Where groups can be made on this machine, tried out once; what dead farms left there is removed. */
export function groupPlaces(): Promise<readonly GroupPlace[]> {
  places ??= findPlaces();
  return places;
}

async function hierarchiesHere(): Promise<Hierarchy[]> {
  const [mountinfo, membership] = await Promise.all(
    ["mountinfo", "cgroup"].map((name) => readFile(`/proc/self/${name}`, "utf8").catch(() => "")),
  );
  return hierarchiesOf(mountinfo ?? "", membership ?? "");
}

async function findPlaces(): Promise<readonly GroupPlace[]> {
  const hierarchies = await hierarchiesHere();
  const found: GroupPlace[] = [];
  for (const controller of ["memory", "pids"] as const) {
    const place = await findPlace(controller, hierarchies);
    const same = found.findIndex(({ directory }) => directory === place?.directory);
    if (place === undefined) continue;
    if (same === -1) found.push(place);
    else found[same] = { ...place, controllers: [...(found[same]?.controllers ?? []), controller] };
  }
  for (const { directory } of found) await sweep(directory);
  return found;
}

async function findPlace(
  controller: Controller,
  hierarchies: readonly Hierarchy[],
): Promise<GroupPlace | undefined> {
  for (const { version, mount, own, controllers } of hierarchies) {
    if (version === 1 && !controllers.includes(controller)) continue;
    // Version 2 has no limits below a group with processes of its own, so the next one above must do.
    const candidates = version === 1 ? [own] : upTo(mount, own);
    // Only the true root may have both: there, the first process turns the controllers on.
    if (version === 2) await writeFile(join(own, "cgroup.subtree_control"), `+${controller}`).catch(() => {});
    for (const directory of candidates) {
      if (await canLimit(directory, controller, version))
        return { version, directory, controllers: [controller] };
    }
  }
  return undefined;
}

function upTo(mount: string, own: string): string[] {
  return own === mount || !own.startsWith(`${mount}/`) ? [mount] : [own, ...upTo(mount, dirname(own))];
}

/** A group can be made, has the controller, and a process of ours can enter it. */
async function canLimit(directory: string, controller: Controller, version: 1 | 2): Promise<boolean> {
  const group = join(directory, newName());
  try {
    await mkdir(group);
  } catch {
    return false;
  }
  try {
    await access(join(group, FILES[controller][version]));
    const enter = await run(["sh", "-c", 'echo $$ >"$1"', "sh", join(group, "cgroup.procs")]);
    return enter.exitCode === 0;
  } catch {
    return false;
  } finally {
    await removeGroup(group);
  }
}

/** A new name that tells whose group it is. */
export function newName(): string {
  return `${PREFIX}${processName() ?? process.pid}-${randomBytes(4).toString("hex")}`;
}

/** Makes a group for one run; undefined where this machine lets us make none. */
export async function makeGroup(limits: GroupLimits): Promise<ControlGroup | undefined> {
  const here = await groupPlaces();
  if (here.length === 0) return undefined;
  const name = newName();
  const groups = here.map((place) => ({ ...place, directory: join(place.directory, name) }));
  for (const group of groups) await prepare(group, limits);
  return controlGroup(groups);
}

/** The groups that others made for a process: to be read, not to be entered or removed. */
export async function groupOf(pid: number): Promise<ControlGroup | undefined> {
  const membership = await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
  const hierarchies = hierarchiesOf(await readFile("/proc/self/mountinfo", "utf8"), membership);
  const groups = (["memory", "pids"] as const).flatMap((controller): GroupPlace[] => {
    const found = hierarchies.find(({ version, controllers }) =>
      version === 1 ? controllers.includes(controller) : true,
    );
    return found === undefined
      ? []
      : [{ version: found.version, directory: found.own, controllers: [controller] }];
  });
  return groups.length === 0 ? undefined : { ...controlGroup(groups), entrances: [], async remove() {} };
}

function controlGroup(groups: readonly GroupPlace[]): ControlGroup {
  const directories = groups.map(({ directory }) => directory);
  return {
    entrances: directories.map((directory) => join(directory, "cgroup.procs")),
    limits: new Set(groups.flatMap(({ controllers }) => controllers)),
    async exceeded() {
      const met = await Promise.all(groups.map(limitMet));
      return met.find((limit) => limit !== undefined);
    },
    async processes() {
      return processesIn(directories[0] ?? "");
    },
    async remove() {
      for (const directory of directories) await removeGroup(directory);
    },
  };
}

async function prepare({ directory, version, controllers }: GroupPlace, limits: GroupLimits): Promise<void> {
  await mkdir(directory);
  const set = (file: string, value: number | string) => writeFile(join(directory, file), String(value));
  if (controllers.includes("pids")) await set("pids.max", limits.processLimit);
  if (!controllers.includes("memory")) return;
  await set(FILES.memory[version], limits.memoryBytes);
  // Swap is no way around the limit, where the kernel counts it.
  if (version === 1) await set("memory.memsw.limit_in_bytes", limits.memoryBytes).catch(() => {});
  else {
    await set("memory.swap.max", 0).catch(() => {});
    await set("memory.oom.group", 1).catch(() => {}); // Older kernels have none.
  }
}

async function limitMet({ directory, version, controllers }: GroupPlace) {
  const count = async (file: string, word: string) => {
    const text = await readFile(join(directory, file), "utf8").catch(() => "");
    return Number(new RegExp(`^${word} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  };
  const memoryFile = version === 1 ? "memory.oom_control" : "memory.events";
  if (controllers.includes("memory") && (await count(memoryFile, "oom_kill")) > 0) return "memoryLimit";
  if (controllers.includes("pids") && (await count("pids.events", "max")) > 0) return "processLimit";
  return undefined;
}

const REMOVAL_TRIES = 100;

/** Removes a group of ours with what is below. Whatever is left in it is killed, and gone a moment later. */
async function removeGroup(directory: string): Promise<void> {
  for (let tries = 0; tries < REMOVAL_TRIES; tries++) {
    if (await removeEmpty(directory)) return;
    await killIn(directory);
    await sleep(tries < 10 ? 5 : 50);
  }
  throw new FarmError("NOT_ENDED", {
    detail: `the control group ${directory} cannot be emptied and removed`,
  });
}

/** Removes a group and those below, unless processes are in them. Answers whether it is gone. */
async function removeEmpty(directory: string): Promise<boolean> {
  for (const below of await groupsBelow(directory)) await removeEmpty(below);
  return rmdir(directory).then(
    () => true,
    (fault: NodeJS.ErrnoException) => fault.code === "ENOENT",
  );
}

async function killIn(directory: string): Promise<void> {
  for (const below of await groupsBelow(directory)) await killIn(below);
  for (const pid of await processesIn(directory)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

async function groupsBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(directory, name));
}

async function processesIn(directory: string): Promise<number[]> {
  const text = await readFile(join(directory, "cgroup.procs"), "utf8").catch(() => "");
  // A process of another process namespace is 0 to us.
  return text
    .split("\n")
    .map(Number)
    .filter((pid) => pid > 0);
}

/** Removes groups of farms that died. Their processes died with them; one with processes stays. */
async function sweep(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    const owner = name.startsWith(PREFIX) ? name.slice(PREFIX.length).split("-").slice(0, 2).join("-") : "";
    if (owner !== "" && !isAlive(owner)) await removeEmpty(join(directory, name));
  }
}

/** Removes a group of this name from the top of every hierarchy, which is where engines make them. */
export async function removeEverywhere(name: string): Promise<void> {
  for (const { mount } of await hierarchiesHere()) await removeGroup(join(mount, name));
}

/** Removes groups of dead farms from there. */
export async function sweepEverywhere(): Promise<void> {
  for (const { mount } of await hierarchiesHere()) await sweep(mount);
}
