/**
 * Killing a farm at any moment, and looking whether anything of it outlives that.
 */
import { readdir, readFile, readlink, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { leftovers, type RunningCli, stableContent, type TestFarm } from "./e2e-farm.ts";

export interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Tells a process from a later one with the same id. */
  readonly started: string;
  readonly name: string;
}

/** Every process of this machine that has not ended; a zombie has. */
export async function processes(): Promise<Process[]> {
  const found: Process[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const text = await readFile(`/proc/${entry}/stat`, "utf8").catch(() => "");
    const open = text.indexOf("(");
    const close = text.lastIndexOf(")");
    const [state = "Z", parent = "0", ...rest] = text.slice(close + 2).split(" ");
    if (text === "" || state === "Z" || state === "X") continue;
    // Field 22 of stat; state is field 3.
    const started = rest[17] ?? "";
    found.push({
      pid: Number(entry),
      parent: Number(parent),
      started,
      name: text.slice(open + 1, close),
    });
  }
  return found;
}

export async function descendants(pid: number): Promise<Process[]> {
  const all = await processes();
  const found: Process[] = [];
  for (let parents = [pid]; parents.length > 0; ) {
    const children = all.filter(({ parent }) => parents.includes(parent));
    found.push(...children);
    parents = children.map((child) => child.pid);
  }
  return found;
}

/** Processes that work in a farm's directory: by their arguments, their directory, or what they have mounted. */
export async function processesIn({ directory }: TestFarm): Promise<Process[]> {
  const found: Process[] = [];
  for (const process of await processes()) {
    const place = `/proc/${process.pid}`;
    const [argv, mounts, cwd] = await Promise.all([
      readFile(`${place}/cmdline`, "utf8").catch(() => ""),
      readFile(`${place}/mountinfo`, "utf8").catch(() => ""),
      readlink(`${place}/cwd`).catch(() => ""),
    ]);
    // Inside a namespace the directory is told relative to its file system.
    const name = directory.split("/").slice(-2).join("/");
    if ([argv, mounts, cwd].some((text) => text.includes(name))) found.push(process);
  }
  return found;
}

/** Waits until none of the processes is left, and none works in the farm; returns those that would not go. */
export async function survivors(farm: TestFarm, watched: readonly Process[]): Promise<Process[]> {
  const ids = new Set(watched.map(({ pid, started }) => `${pid} ${started}`));
  for (let tries = 0; ; tries++) {
    const alive = (await processes()).filter(({ pid, started }) => ids.has(`${pid} ${started}`));
    const left = [...alive, ...(await processesIn(farm))];
    if (left.length === 0 || tries === 100) return left;
    await sleep(50);
  }
}

/** Polls until something is true of the running farm. */
export async function waitFor(isSo: () => Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; tries < 10_000; tries++) {
    if (await isSo()) return;
    await sleep(10);
  }
  throw new Error(`in vain: ${what}`);
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One moment in each of `count` equal parts of a duration. */
export function moments(count: number, durationMs: number, seed: number): number[] {
  const random = randomFrom(seed);
  return Array.from({ length: count }, (_, index) => Math.round((durationMs * (index + random())) / count));
}

/** Publishes everything from the beginning, undisturbed; returns what is stable then, and how long it took. */
export async function undisturbed(farm: TestFarm): Promise<{ content: string[]; durationMs: number }> {
  const started = performance.now();
  const { exitCode, stdout, stderr } = await farm.cli("run");
  if (exitCode !== 0) throw new Error(`exit ${exitCode}: ${stdout}${stderr}`);
  return { content: await stableContent(farm.store), durationMs: performance.now() - started };
}

export interface Killed {
  readonly atMs: number;
  /** Names of the programs that were running for the farm just before. */
  readonly programs: readonly string[];
  readonly survivors: readonly Process[];
  /** Whether there was still something to kill. */
  readonly wasRunning: boolean;
}

/**
 * Starts a run, or whatever else, and kills its process, and nothing else, after so many milliseconds or as soon as a
 * program of that name runs for it.
 */
export async function killRun(
  farm: TestFarm,
  moment: number | RegExp,
  start: (farm: TestFarm) => RunningCli = (one) => one.start("run"),
): Promise<Killed> {
  const running = start(farm);
  const began = performance.now();
  let watched: Process[] = [];
  const isDue = async () => {
    watched = await descendants(running.pid);
    return watched.some(({ name }) => (moment as RegExp).test(name));
  };
  await Promise.race([
    typeof moment === "number" ? sleep(moment) : waitFor(isDue, `${moment} runs`),
    running.ended,
  ]);
  if (typeof moment === "number") watched = await descendants(running.pid);
  const atMs = Math.round(performance.now() - began);
  running.kill("SIGKILL");
  const { exitCode } = await running.ended;
  return {
    atMs,
    programs: watched.map(({ name }) => name),
    survivors: await survivors(farm, watched),
    wasRunning: exitCode === 137,
  };
}

/** After a kill: runs to the end, and tells what is then stable, and what temporary things are left. */
export async function recover(farm: TestFarm) {
  const { exitCode, stdout, stderr } = await farm.cli("run");
  return {
    exitCode,
    said: exitCode === 0 ? "" : `${stdout}${stderr}`,
    content: await stableContent(farm.store),
    leftovers: await leftovers(farm),
  };
}

/** As if nothing had ever been published here, nor anything been done of what is forgotten: by default, all of it. */
export async function startAnew(
  farm: TestFarm,
  forgotten: readonly ("attempts" | "loads" | "unfinished")[] = ["attempts", "loads", "unfinished"],
): Promise<void> {
  await rm(farm.store, { recursive: true, force: true });
  await farm.forget(...forgotten);
  await rm(join(farm.cache, "tmp"), { recursive: true, force: true });
}
