/**
 * Names for processes that no other process has, wherever and whenever it runs, and what can be known by them.
 */
import { createHash, randomUUID } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";

/** `4711-99123.5f0c…`: process id, when it was started, and where ids mean that. */
const NAME = /^(\d+)-\d+(?:\.([0-9a-f]+))?/;

/**
 * This boot of this machine and this process namespace of it: only there a process id says which process it is.
 * Two containers may well have one host name.
 */
const HERE = nameOfHere();

function nameOfHere(): string {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const namespace = readlinkSync("/proc/self/ns/pid");
  // Where /proc shows another namespace than ours, nothing can be learned of others by their ids.
  const shown = readlinkSync("/proc/self") === String(process.pid) ? "" : randomUUID();
  return createHash("sha256").update(`${boot} ${namespace} ${shown}`).digest("hex").slice(0, 16);
}

/** A name for this process that no later process has, and none elsewhere. Undefined where there is no such process. */
export function processName(pid = process.pid): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid === process.pid ? "self" : pid}/stat`, "utf8");
    // The command name in parentheses may hold anything; the fields after it are plain. Field 22 is the start time.
    const startTime = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    return startTime === undefined ? undefined : `${pid}-${startTime}.${HERE}`;
  } catch {
    return undefined;
  }
}

/** The process name that a longer name begins with; undefined when it begins with none. */
export function ownerOf(name: string): string | undefined {
  return NAME.exec(name)?.[0];
}

/** `elsewhere`: another machine, container or boot; its process ids say nothing here. */
type ProcessState = "alive" | "dead" | "elsewhere";

/** What can be known of the process that a name of `processName` stands for. */
export function stateOfProcess(name: string): ProcessState {
  const [whole, pid, where] = NAME.exec(name) ?? [];
  if (whole === undefined || whole !== name) return "dead";
  if (where !== HERE) return "elsewhere";
  return processName(Number(pid)) === name ? "alive" : "dead";
}

/** Whether a process may be alive: what runs elsewhere may. */
export function isAlive(name: string): boolean {
  return stateOfProcess(name) !== "dead";
}
