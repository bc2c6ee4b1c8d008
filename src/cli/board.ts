/**
 * Progress for people: a live board on a terminal, plain lines elsewhere, NDJSON when asked for.
 */
import { type Named, NOTHING_CHANGED, type Progress, type Stage } from "../base/progress.ts";
import { oneLine, visible, visibleJson } from "../base/visible.ts";
import { stopSignal } from "./options.ts";

export interface Board extends Progress {
  /** Leaves the terminal as a command should. */
  close(): void;
}

interface BoardOptions {
  readonly format: "text" | "json";
  readonly stream: NodeJS.WriteStream;
}

const FINAL: ReadonlySet<Stage> = new Set([
  ...["ordered", "published", "candidate"],
  ...["excluded", "failed", "unfetchable"],
] as Stage[]);
/** Counted, but not worth a line each: a mirror may lack a whole suite. */
const QUIET: ReadonlySet<Stage> = new Set(["unfetchable"]);
const REDRAW_MS = 200;

export async function openBoard({ format, stream }: BoardOptions): Promise<Board> {
  if (format === "json") return jsonBoard(stream);
  return harmless(stream.isTTY ? new LiveBoard(stream) : new PlainBoard(stream));
}

/** What work that takes long is given: where it reports, when it is to stop, and the time. */
interface Watched {
  readonly progress: Board;
  readonly signal: AbortSignal;
  readonly now: () => Date;
}

/** Lets work report its progress on standard error; the terminal is left as it was before anything else is printed. */
export async function withBoard<T>(
  { logFormat = "text" }: { readonly logFormat?: "text" | "json" },
  work: (watched: Watched) => Promise<T>,
): Promise<T> {
  const board = await openBoard({ format: logFormat, stream: process.stderr });
  try {
    return await work({ progress: board, signal: stopSignal(), now: () => new Date() });
  } finally {
    board.close();
  }
}

/** Names and details hold the words of others: drivers, mirrors, builds. */
function harmless(board: Board): Board {
  return {
    say: (text) => board.say(visible(text)),
    element: ({ key, name }, stage, detail) =>
      board.element({ key, name: oneLine(name) }, stage, detail === undefined ? undefined : oneLine(detail)),
    close: () => board.close(),
  };
}

async function jsonBoard(stream: NodeJS.WritableStream): Promise<Board> {
  const { pino } = await import("pino");
  const log = pino({ name: "kmodfarm" }, { write: (line) => void stream.write(visibleJson(line)) });
  return {
    say: (text) => log.info({ text }, "progress"),
    element: ({ key, name }, stage, detail) =>
      log[stage === "failed" ? "warn" : "info"]({ element: name, key, stage, detail }, "element"),
    close() {},
  };
}

/** Only what is worth a line in a log: how the whole goes, and how each element ends. */
class PlainBoard implements Board {
  readonly #stream: NodeJS.WritableStream;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  say(text: string): void {
    this.#stream.write(`${text}\n`);
  }

  element({ name }: Named, stage: Stage, detail?: string): void {
    if (!FINAL.has(stage) || QUIET.has(stage) || detail === NOTHING_CHANGED) return;
    this.#stream.write(`${stage.padEnd(11)} ${name}${detail === undefined ? "" : `: ${detail}`}\n`);
  }

  close(): void {}
}

interface Active {
  readonly name: string;
  readonly stage: Stage;
  readonly detail: string | undefined;
  readonly since: number;
}

/** A few lines at the bottom of the terminal, redrawn in place; what is final scrolls away above them. */
class LiveBoard implements Board {
  readonly #stream: NodeJS.WriteStream;
  readonly #active = new Map<string, Active>();
  readonly #counts = { found: 0, done: 0, failed: 0 };
  readonly #started = Date.now();
  readonly #timer: NodeJS.Timeout;
  #drawn = 0;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
    this.#timer.unref();
  }

  say(text: string): void {
    this.#above(text);
  }

  element({ key, name }: Named, stage: Stage, detail?: string): void {
    if (!FINAL.has(stage)) {
      const known = this.#active.get(key);
      const since = known?.stage === stage ? known.since : Date.now();
      this.#active.set(key, { name, stage, detail, since });
      return;
    }
    this.#active.delete(key);
    // What an earlier run did says nothing of how fast this one is, nor of whether it failed then.
    if (detail === NOTHING_CHANGED) this.#counts.found++;
    else if (stage === "failed") this.#counts.failed++;
    else if (QUIET.has(stage)) return;
    else this.#counts.done++;
    if (detail !== NOTHING_CHANGED)
      this.#above(`${stage.padEnd(11)} ${name}${detail === undefined ? "" : `: ${detail}`}`);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#erase();
  }

  #above(line: string): void {
    this.#erase();
    this.#stream.write(`${line}\n`);
    this.#draw();
  }

  #draw(): void {
    const working = [...this.#active].filter(([, { stage }]) => stage !== "waiting");
    const lines = [this.#summary(), ...working.slice(0, 8).map(([, work]) => this.#workLine(work))];
    this.#erase();
    const width = Math.max(20, (this.#stream.columns ?? 80) - 1);
    this.#stream.write(lines.map((line) => `${line.slice(0, width)}\n`).join(""));
    this.#drawn = lines.length;
  }

  #summary(): string {
    const { found, done, failed } = this.#counts;
    const minutes = (Date.now() - this.#started) / 60_000;
    const rate = minutes > 0 ? (done + failed) / minutes : 0;
    const eta =
      rate > 0 && this.#active.size > 0 ? `, about ${Math.ceil(this.#active.size / rate)} min to go` : "";
    const before = found === 0 ? "" : `${found} as before, `;
    return `── ${before}${done} done, ${failed} failed, ${this.#active.size} to do, ${rate.toFixed(0)} a minute${eta}`;
  }

  #workLine({ name, stage, detail, since }: Active): string {
    const age = Math.round((Date.now() - since) / 1000);
    return `   ${stage.padEnd(10)} ${String(age).padStart(3)} s  ${name}${detail === undefined ? "" : ` (${detail})`}`;
  }

  /** From the first column: a terminal echoes ^C where the cursor is. */
  #erase(): void {
    if (this.#drawn > 0) this.#stream.write(`\r\u001b[${this.#drawn}A\u001b[J`);
    this.#drawn = 0;
  }
}
