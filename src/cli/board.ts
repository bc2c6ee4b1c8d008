/**
 * Progress for people: a live board on a terminal, plain lines elsewhere, NDJSON when asked for; and a log of it all.
 */
import { during } from "../base/progress.ts";
import { oneLine, visible, visibleJson } from "../base/visible.ts";
import type { LogOptions } from "./common-options.ts";
import { LiveBoard } from "./live-board.ts";
import { stopSignal } from "./options.ts";
import { say } from "./output.ts";
import { PlainBoard } from "./plain-board.ts";
import { openRunLog } from "./run-log.ts";
import type { Board } from "./stages.ts";
import { isLive } from "./terminal.ts";

type Loudness = "quiet" | "usual" | "verbose";

interface BoardOptions {
  readonly format: "text" | "json";
  readonly stream: NodeJS.WriteStream;
  readonly loudness?: Loudness;
  readonly now?: () => Date;
}

export async function openBoard({
  format,
  stream,
  loudness = "usual",
  now = () => new Date(),
}: BoardOptions): Promise<Board> {
  if (format === "json") return jsonBoard((line) => void stream.write(line), loudness);
  const isRedrawn = isLive(stream) && loudness !== "quiet";
  return harmless(
    isRedrawn
      ? new LiveBoard(stream, { isVerbose: loudness === "verbose" })
      : new PlainBoard(stream, { loudness, now }),
  );
}

/** What work that takes long is given: where it reports, when it is to stop, and the time. */
export interface Watched {
  readonly progress: Board;
  readonly signal: AbortSignal;
  readonly now: () => Date;
}

/** Work that is one thing and takes a while: a line says so for as long as it lasts. `note` says how far it is. */
export function withTask<T>(
  options: LogOptions,
  name: string,
  work: (watched: Watched & { readonly note: (detail: string) => void }) => Promise<T>,
): Promise<T> {
  return withBoard(options, (watched) =>
    during(watched.progress, name, (note) => work({ ...watched, note })),
  );
}

interface Kept<T> {
  /** The cache that keeps the log of what the last runs reported. */
  readonly cache?: string;
  /** Whether a result is one that somebody will want to read the log of. */
  readonly isBad?: (result: T) => boolean;
}

/** Lets work report its progress on standard error; the terminal is left as it was before anything else is printed. */
export async function withBoard<T>(
  options: LogOptions,
  work: (watched: Watched) => Promise<T>,
  { cache, isBad = () => false }: Kept<T> = {},
): Promise<T> {
  const { logFormat: format = "text", quiet, verbose, json } = options;
  const loudness = quiet ? "quiet" : verbose ? "verbose" : "usual";
  const shown = await openBoard({ format, stream: process.stderr, loudness });
  const log = await openRunLog(options.logFile, cache);
  const boards = log === undefined ? [shown] : [shown, await jsonBoard((line) => log.write(line), "verbose")];
  let isNamed = log !== undefined && json !== true && format === "text";
  try {
    const progress = all(boards);
    const signal = stopSignal(() =>
      progress.say("stopping: what runs is being ended (again to end at once)"),
    );
    const result = await work({ progress, signal, now: () => new Date() });
    isNamed &&= isBad(result);
    return result;
  } finally {
    for (const board of boards) board.close();
    log?.close();
    if (isNamed) say(`log of this run: ${log?.file}`);
  }
}

function all(boards: readonly Board[]): Board {
  const each = (tell: (board: Board) => void) => {
    for (const board of boards) tell(board);
  };
  return {
    say: (text) => each((board) => board.say(text)),
    element: (...event) => each((board) => board.element(...event)),
    task: (...event) => each((board) => board.task?.(...event)),
    expect: (outlook) => each((board) => board.expect?.(outlook)),
    close: () => each((board) => board.close()),
  };
}

/** Names and details hold the words of others: drivers, mirrors, builds. */
function harmless(board: Board): Board {
  return {
    say: (text) => board.say(visible(text)),
    element: ({ key, name }, stage, detail) =>
      board.element({ key, name: oneLine(name) }, stage, detail === undefined ? undefined : oneLine(detail)),
    task: (name, detail) => board.task?.(oneLine(name), detail === undefined ? undefined : oneLine(detail)),
    expect: (outlook) => board.expect?.(outlook),
    close: () => board.close(),
  };
}

async function jsonBoard(write: (line: string) => void, loudness: Loudness): Promise<Board> {
  const { pino } = await import("pino");
  const log = pino(
    { name: "kmodfarm", level: loudness === "quiet" ? "warn" : "info" },
    { write: (line) => write(visibleJson(line)) },
  );
  return {
    say: (text) => log.info({ text }, "progress"),
    element: ({ key, name }, stage, detail) =>
      log[stage === "failed" ? "warn" : "info"]({ element: name, key, stage, detail }, "element"),
    task(name, detail) {
      if (detail === "" || detail === undefined)
        log.info({ task: name, isOver: detail === undefined }, "task");
    },
    close() {},
  };
}
