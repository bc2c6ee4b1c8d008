import { readFileSync } from "node:fs";

/** The most memory this process has held, in MiB. The system's own count begins with what the parent had at its fork. */
export function peakMiB(): number {
  const found = /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
  if (found === null) throw new Error("/proc/self/status names no VmHWM");
  return Number(found[1]) / 1024;
}
