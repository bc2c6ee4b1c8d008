/**
 * Progress on a terminal: a few lines at its bottom, redrawn in place; what is final scrolls away above them.
 */
import { type Named, NOTHING_CHANGED, type Outlook, type Stage } from "../base/progress.ts";
import { formatSize } from "../base/size.ts";
import { roughly, secondsLeft } from "./eta.ts";
import { type Board, FINAL, QUIET, StageLines } from "./stages.ts";
import { cut, isColourful, painted, type Size, sizeOf } from "./terminal.ts";

const REDRAW_MS = 200;
/** The work under way leaves room for what it came to. */
const MOST_OF_SCREEN = 2 / 3;
const SPINNER = Array.from("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏");

interface Active {
  readonly name: string;
  readonly stage: Stage;
  readonly detail: string | undefined;
  readonly sinceMs: number;
}

interface Task {
  readonly detail: string;
  readonly sinceMs: number;
}

/** All that the lines show. What an earlier run did says nothing of how fast this one is, nor of whether it failed then. */
export interface BoardState {
  readonly active: ReadonlyMap<string, Active>;
  readonly tasks: ReadonlyMap<string, Task>;
  readonly done: number;
  readonly failed: number;
  readonly asBefore: number;
  readonly secondsLeft: number | undefined;
  readonly fetchedBytes: number;
}

/** The lines for a screen of this size; none while there is nothing to show. */
export function boardLines(state: BoardState, { columns, rows }: Size, nowMs: number): string[] {
  const { active, tasks } = state;
  const working = [...active.values()]
    .filter(({ stage }) => stage !== "waiting")
    .toSorted((a, b) => rank(a.stage) - rank(b.stage) || a.sinceMs - b.sinceMs);
  if (active.size + tasks.size + state.done + state.failed === 0) return [];
  // The last column stays free: some terminals wrap there. So does the last row, where the cursor is.
  const width = Math.max(1, columns - 1);
  const room = Math.max(1, Math.min(rows - 1, Math.floor(rows * MOST_OF_SCREEN)));
  const lines = [
    ...[...tasks].map(([name, task]) => taskLine(name, task, nowMs, width)),
    ...working.map((work) => workLine(work, nowMs, width)),
  ];
  const head = active.size + state.done + state.failed === 0 ? [] : [summaryLine(state, width)];
  const free = room - head.length;
  if (lines.length <= free) return [...head, ...lines];
  const more = lines.length - Math.max(0, free - 1);
  const rest = free > 0 ? [cut(`   and ${more} more`, width)] : [];
  return [...head, ...lines.slice(0, Math.max(0, free - 1)), ...rest];
}

function rank(stage: Stage): number {
  return ["building", "booting", "toolchain", "fetching"].indexOf(stage);
}

/** As many of its parts as there is room for, the most telling first. */
function summaryLine({ active, done, failed, ...state }: BoardState, width: number): string {
  const { asBefore, fetchedBytes } = state;
  const parts = [
    `── ${done} done, ${failed} failed, ${active.size} to do`,
    ...(state.secondsLeft === undefined || active.size === 0
      ? []
      : [`about ${roughly(state.secondsLeft)} left`]),
    ...(asBefore === 0 ? [] : [`${asBefore} as before`]),
    ...(fetchedBytes === 0 ? [] : [`${formatSize(fetchedBytes)} fetched`]),
  ];
  while (parts.length > 1 && parts.join(", ").length > width) parts.pop();
  return cut(parts.join(", "), width);
}

function workLine({ name, stage, detail, sinceMs }: Active, nowMs: number, width: number): string {
  const before = `   ${stage.padEnd(9)} ${age(sinceMs, nowMs)}  `;
  const whole = `${before}${name}${detail === undefined ? "" : ` (${detail})`}`;
  if (whole.length <= width) return whole;
  // A kernel's release, at the end of the name, says more than the driver's name.
  const left = width - before.length;
  return left < name.length
    ? cut(`${before}…${name.slice(name.length - Math.max(0, left - 1))}`, width)
    : `${before}${name}`;
}

function taskLine(name: string, { detail, sinceMs }: Task, nowMs: number, width: number): string {
  const turn = SPINNER[Math.floor(nowMs / REDRAW_MS) % SPINNER.length] ?? "";
  return cut(
    `   ${turn.padEnd(9)} ${age(sinceMs, nowMs)}  ${name}${detail === "" ? "" : `: ${detail}`}`,
    width,
  );
}

function age(sinceMs: number, nowMs: number): string {
  return `${String(Math.max(0, Math.round((nowMs - sinceMs) / 1000))).padStart(4)} s`;
}

export class LiveBoard implements Board {
  readonly #stream: NodeJS.WriteStream;
  readonly #isVerbose: boolean;
  readonly #paint: (text: string) => string;
  readonly #lines = new StageLines();
  readonly #active = new Map<string, Active>();
  readonly #tasks = new Map<string, Task>();
  readonly #counts = { done: 0, failed: 0, asBefore: 0 };
  readonly #took = { building: [] as number[], booting: [] as number[] };
  /** Elements that were done before, and are built again. */
  readonly #redone = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  readonly #onResize = () => this.#redraw();
  #outlook: Outlook | undefined;
  /** How long each line was that stands there. */
  #drawn: readonly number[] = [];
  #isClosed = false;

  constructor(stream: NodeJS.WriteStream, { isVerbose = false } = {}) {
    this.#stream = stream;
    this.#isVerbose = isVerbose;
    this.#paint = isColourful(stream) ? painted : (text) => text;
    // Node hears of signals after timers: what is drawn at once would be drawn for the size before.
    this.#timer = setInterval(() => setImmediate(() => this.#redraw()), REDRAW_MS);
    this.#timer.unref();
    stream.on("resize", this.#onResize);
  }

  say(text: string): void {
    this.#draw(text);
  }

  expect(outlook: Outlook): void {
    this.#outlook = outlook;
  }

  task(name: string, detail: string | undefined): void {
    if (detail === undefined) this.#tasks.delete(name);
    else this.#tasks.set(name, { detail, sinceMs: this.#tasks.get(name)?.sinceMs ?? Date.now() });
  }

  element({ key, name }: Named, stage: Stage, detail?: string): void {
    const known = this.#active.get(key);
    if (known?.stage !== stage) this.#leave(known);
    if (!FINAL.has(stage)) {
      const sinceMs = known?.stage === stage ? known.sinceMs : Date.now();
      this.#active.set(key, { name, stage, detail, sinceMs });
      if (stage === "building" && this.#outlook?.of(key).isDone) this.#redone.add(key);
      if (this.#isVerbose && known?.stage !== stage) this.#draw(this.#lines.of(name, stage, detail));
      return;
    }
    this.#active.delete(key);
    if (detail === NOTHING_CHANGED) this.#counts.asBefore++;
    else if (QUIET.has(stage)) return;
    else {
      this.#counts[stage === "failed" ? "failed" : "done"]++;
      this.#draw(this.#lines.of(name, stage, detail));
    }
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#stream.off("resize", this.#onResize);
    this.#show([], []);
  }

  #leave(left: Active | undefined): void {
    if (left?.stage === "building" || left?.stage === "booting")
      this.#took[left.stage].push((Date.now() - left.sinceMs) / 1000);
  }

  #redraw(): void {
    if (!this.#isClosed) this.#draw();
  }

  #draw(above?: string): void {
    const lines = boardLines(this.#state(), sizeOf(this.#stream), Date.now());
    this.#show(above?.split("\n") ?? [], lines);
  }

  /**
   * In one write, so that nobody sees the lines gone. Each row is cleared by itself: terminals keep a screen that is cleared
   * as a whole in what scrolls back.
   */
  #show(above: readonly string[], lines: readonly string[]): void {
    const { columns } = sizeOf(this.#stream);
    const before = this.#height();
    const scrolled = above.map((line) => {
      // Clearing behind a row that is full would take its last character.
      const rest = line.length > 0 && line.length % columns === 0 ? "" : CLEAR;
      return `${CLEAR}${this.#paint(line)}${rest}\n`;
    });
    const height = above.reduce((sum, { length }) => sum + rowsOf(length, columns), 0) + lines.length;
    const left = Math.max(0, before - height);
    const text = [
      before === 0 ? "" : up(before),
      ...scrolled,
      ...lines.map((line) => `${line}${CLEAR}\n`),
      ...(left === 0 ? [] : [`${CLEAR}\n`.repeat(left), up(left)]),
    ].join("");
    if (text !== "") this.#stream.write(text);
    this.#drawn = lines.map(({ length }) => length);
  }

  #state(): BoardState {
    const nowMs = Date.now();
    const ahead = [...this.#active].map(([key, { stage, sinceMs }]) => ({
      ...{ key, stage, seconds: (nowMs - sinceMs) / 1000 },
    }));
    const seen = { took: this.#took, stayed: this.#counts.asBefore, redone: this.#redone.size };
    return {
      ...{ active: this.#active, tasks: this.#tasks, ...this.#counts },
      secondsLeft: this.#outlook === undefined ? undefined : secondsLeft(ahead, this.#outlook, seen),
      fetchedBytes: this.#outlook?.fetchedBytes() ?? 0,
    };
  }

  /** How many rows stand there. A terminal that became narrower since has wrapped the lines. */
  #height(): number {
    const { columns, rows } = sizeOf(this.#stream);
    const height = this.#drawn.reduce((sum, length) => sum + rowsOf(length, columns), 0);
    return Math.min(height, rows - 1);
  }
}

/** To the end of the row. */
const CLEAR = "\u001b[K";

/** From the first column: a terminal echoes ^C where the cursor is. */
const up = (rows: number) => `\r\u001b[${rows}A`;

function rowsOf(length: number, columns: number): number {
  return Math.max(1, Math.ceil(length / columns));
}
