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

const MOST_SAID = 1000;
/** So short a detail is said each time. */
const SHORT = 60;

/** `published   hello 1.0.0 debian12/x86_64/6.1.0-57-amd64`; what is said of one at length is not said again of others. */
export class StageLines {
  /** What was said of a stage, and of which element. */
  readonly #said = new Map<string, string>();

  of(name: string, stage: Stage, detail = ""): string {
    const begin = `${stage.padEnd(11)} ${name}`;
    if (detail.length <= SHORT) return detail === "" ? begin : `${begin}: ${detail}`;
    const what = `${stage} ${detail}`;
    const first = this.#said.get(what);
    if (first !== undefined && first !== name) return `${begin}: for the same reason as ${first}`;
    // Whoever watches for weeks has read what was said at first.
    if (this.#said.size >= MOST_SAID) this.#said.clear();
    this.#said.set(what, name);
    return `${begin}: ${detail}`;
  }
}
