/**
 * Time limits as signals, for work that is stopped by signals anyway.
 */

/** Fires with another signal, or when its time is over: then with `fault`, which whatever waits is rejected with. */
export class Deadline {
  readonly signal: AbortSignal;
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number, fault: Error, signal?: AbortSignal) {
    this.signal = signal === undefined ? this.#over.signal : AbortSignal.any([signal, this.#over.signal]);
    this.#timer = setTimeout(() => this.#over.abort(fault), ms);
    // It does not keep a process alive that has nothing else to wait for.
    this.#timer.unref();
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** The work is done in time. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
