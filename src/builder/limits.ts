/**
 * What one build may take of this machine: as configured, and as a failure tells of it.
 */
import { formatSize } from "../base/size.ts";
import type { Limit, SandboxSpec } from "./sandboxes/sandbox.ts";

/** Sizes in bytes. */
export interface BuildLimits {
  readonly minutes: number;
  readonly memory: number;
  readonly processes: number;
  readonly disk: number;
  readonly output: number;
  /** What is taken over from a build, all together. */
  readonly artifact: number;
}

/** Of each the lesser: what one build wants, and what somebody gives at most. */
export function lesserLimits(wanted: BuildLimits, most: BuildLimits): BuildLimits {
  const { minutes, memory, processes, disk, output, artifact } = wanted;
  return {
    minutes: Math.min(minutes, most.minutes),
    memory: Math.min(memory, most.memory),
    processes: Math.min(processes, most.processes),
    disk: Math.min(disk, most.disk),
    output: Math.min(output, most.output),
    artifact: Math.min(artifact, most.artifact),
  };
}

/** Whether one gives less than another of anything. */
export function areLess(limits: BuildLimits, than: BuildLimits): boolean {
  return (Object.keys(than) as (keyof BuildLimits)[]).some((name) => limits[name] < than[name]);
}

type SandboxLimits = Pick<
  SandboxSpec,
  "timeoutMs" | "memoryBytes" | "processLimit" | "writableBytes" | "outputLimitBytes"
>;

export function sandboxLimits(limits: BuildLimits): SandboxLimits {
  return {
    timeoutMs: limits.minutes * 60_000,
    memoryBytes: limits.memory,
    processLimit: limits.processes,
    writableBytes: limits.disk,
    outputLimitBytes: limits.output,
  };
}

/** The setting that a stopped build met, and what it is set to. */
export function settingOf(stopped: Limit, limits: BuildLimits): string {
  switch (stopped) {
    case "timeLimit":
      return `limits.minutes is ${limits.minutes}`;
    case "memoryLimit":
      return `limits.memory is ${formatSize(limits.memory)}`;
    case "processLimit":
      return `limits.processes is ${limits.processes}`;
    case "writeLimit":
      return `limits.disk is ${formatSize(limits.disk)}`;
    case "outputLimit":
      return `limits.output is ${formatSize(limits.output)}`;
  }
}
