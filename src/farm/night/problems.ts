/**
 * What went wrong in a run beside its elements' own outcomes. Each problem is reported, and ends nothing.
 */
import { type FarmError, toFarmError, traceOf } from "../../base/error.ts";
import type { Progress } from "../../base/progress.ts";
import { failureOf, type SourceProblem } from "../../catalog/update.ts";

export class Problems {
  readonly #progress: Progress;
  #all: SourceProblem[] = [];

  constructor(progress: Progress) {
    this.#progress = progress;
  }

  get all(): readonly SourceProblem[] {
    return this.#all;
  }

  add(problem: SourceProblem): void {
    this.#all.push(problem);
  }

  tell(subject: string, error: FarmError): void {
    this.sayTrace(error);
    this.add(failureOf(subject, error));
  }

  /** Where a bug of this program was thrown is worth a line. */
  sayTrace(error: FarmError | undefined): void {
    const trace = error === undefined ? "" : traceOf(error);
    if (trace !== "") this.#progress.say(trace);
  }

  /** If sources are asked again, their new answers report what is wrong with them. */
  forget(sources: readonly string[]): void {
    this.#all = this.#all.filter(({ source }) => !sources.includes(source));
  }

  /** Does what no element depends on: a fault of it is a problem like others. */
  async alone(subject: string, work: () => Promise<void>): Promise<void> {
    await work().catch((thrown) => this.tell(subject, toFarmError(thrown)));
  }
}
