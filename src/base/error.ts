/** The one error class of kmodfarm. */
import { type Blame, ERRORS, type ErrorCode } from "./error-codes.ts";

export interface ErrorDetail {
  /** One sentence: the thing and the fact; the fact alone where `about` names the thing. */
  readonly detail: string;
  /** What the sentence is about: the message begins with it. */
  readonly about?: string;
  /** What stands between the two: a blank where the fact is what the thing does. Default: `: `. */
  readonly joint?: ": " | " " | "/";
  /** Where it happened: kernel, file, url, log. Shown, and machine-readable with `--json`. */
  readonly at?: Readonly<Record<string, string>>;
  /** Replaces the catalogue's next step where a better one is known. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** What goes wrong in kmodfarm, with one code of the catalogue and the facts of this case. */
export class FarmError extends Error {
  readonly code: ErrorCode;
  readonly at: Readonly<Record<string, string>>;
  readonly hint: string;

  readonly #named: { readonly name: string; readonly fact: string } | undefined;

  constructor(code: ErrorCode, { detail, about, joint = ": ", at, hint, cause }: ErrorDetail) {
    super(
      about === undefined ? detail : `${about}${joint}${detail}`,
      cause === undefined ? undefined : { cause },
    );
    if (about !== undefined) this.#named = { name: about, fact: joint === " " ? `it ${detail}` : detail };
    this.name = "FarmError";
    this.code = code;
    this.at = at ?? {};
    this.hint = hint ?? ERRORS[code].hint;
  }

  /** The message for a place that names the thing itself: without that name, where the message begins with it. */
  factAbout(name: string): string {
    return this.#named?.name === name ? this.#named.fact : this.message;
  }

  get blame(): Blame {
    return ERRORS[this.code].blame;
  }

  get exit(): number {
    return ERRORS[this.code].exit;
  }
}

/** Whether a program says that it had no room to write, in the words of the C library, or tar in its own. */
export function saysDiskFull(words: string): boolean {
  return /No space left on device|Disk quota exceeded|Wrote only \d+ of \d+ bytes/.test(words);
}

const FULL: ReadonlySet<string | undefined> = new Set(["ENOSPC", "EDQUOT"]);

/** Turns anything thrown into a FarmError; an unforeseen error is a BUG, a full disk is not. */
export function toFarmError(thrown: unknown): FarmError {
  if (thrown instanceof FarmError) return thrown;
  if (isErrno(thrown) && FULL.has(thrown.code)) {
    return new FarmError("DISK_FULL", { detail: thrown.message, cause: thrown });
  }
  if (thrown instanceof Error && thrown.name === "AbortError") {
    return new FarmError("INTERRUPTED", { detail: "the work was stopped", cause: thrown });
  }
  return new FarmError("BUG", {
    detail: thrown instanceof Error ? thrown.message : wordsOf(thrown),
    cause: thrown,
  });
}

/** Not every value can be made text. */
function wordsOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return `a value that is not an error was thrown (${typeof thrown})`;
  }
}

/**
 * An error as the fault of the one element that was worked on: all others go on. Only a stop ends them too.
 * @throws FarmError once `signal` has fired
 */
export function ownError(thrown: unknown, signal: AbortSignal | undefined): FarmError {
  const error = toFarmError(thrown);
  if (signal?.aborted) throw error;
  return error;
}

/** Where in kmodfarm a BUG happened: lines for the bug report. Empty for every other code. */
export function traceOf(error: FarmError): string {
  if (error.blame !== "bug") return "";
  const { cause } = error;
  return (cause instanceof Error ? cause.stack : undefined) ?? error.stack ?? "";
}

/** Whether a thrown value is one of the operating system's errors (has an errno name in `code`). */
export function isErrno(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string";
}

/** Ends an exhaustive `switch`: reaching it is a bug the type checker should have found. */
export function assertNever(value: never): never {
  throw new FarmError("BUG", { detail: `unforeseen case: ${JSON.stringify(value)}` });
}
