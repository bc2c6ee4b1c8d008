/**
 * What boards share: how they begin and end, and how they show the stages of elements.
 */
import type { Progress, Stage } from "../base/progress.ts";

export interface Board extends Progress {
  /** Leaves the terminal as a command should. */
  close(): void;
}

export const FINAL: ReadonlySet<Stage> = new Set([
  ...["ordered", "published", "candidate", "built"],
  ...["excluded", "failed", "unfetchable"],
] as Stage[]);

/** Counted, but not worth a line each: a mirror may lack a whole suite. */
export const QUIET: ReadonlySet<Stage> = new Set(["unfetchable"]);

/** `published   hello 1.0.0 debian12/x86_64/6.1.0-57-amd64` */
export function stageLine(name: string, stage: Stage, detail: string | undefined): string {
  return `${stage.padEnd(11)} ${name}${detail === undefined ? "" : `: ${detail}`}`;
}
