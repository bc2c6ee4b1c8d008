/**
 * Progress in lines, for logs: how the whole goes, when each element is built and booted, and how it ends.
 */
import { counted } from "../base/counted.ts";
import { type Named, NOTHING_CHANGED, type Stage } from "../base/progress.ts";
import { type Board, FINAL, QUIET, StageLines } from "./stages.ts";
import { isOnGithub } from "./terminal.ts";

/** Stages that take minutes: each is worth a line. */
const LONG: ReadonlySet<Stage> = new Set(["building", "booting"]);

/** Stages in which something is done, as words before how many elements are in them. */
const WORK: Partial<Record<Stage, string>> = {
  toolchain: "preparing toolchains for",
  fetching: "fetching packages for",
  building: "building",
  booting: "booting guests for",
};

/** After so long without a line, one says what is going on: somebody may be watching the log. */
const SILENCE_MS = 30_000;
const LOOK_MS = 5_000;

export interface PlainOptions {
  /** `quiet`: only what failed; `verbose`: every stage. */
  readonly loudness: "quiet" | "usual" | "verbose";
  readonly now: () => Date;
}

export class PlainBoard implements Board {
  readonly #stream: Pick<NodeJS.WritableStream, "write">;
  readonly #options: PlainOptions;
  readonly #isGrouped: boolean;
  readonly #stages = new Map<string, Stage>();
  readonly #tasks = new Map<string, string>();
  readonly #lines = new StageLines();
  readonly #watch: NodeJS.Timeout;
  #writtenAt: number;

  constructor(stream: Pick<NodeJS.WritableStream, "write">, options: PlainOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#isGrouped = isOnGithub() && options.loudness !== "quiet";
    if (this.#isGrouped) stream.write("::group::Progress\n");
    this.#writtenAt = options.now().getTime();
    this.#watch = setInterval(() => this.#breakSilence(), LOOK_MS).unref();
  }

  say(text: string): void {
    if (this.#options.loudness !== "quiet") this.#write(text);
  }

  task(name: string, detail: string | undefined): void {
    if (detail === undefined) this.#tasks.delete(name);
    else this.#tasks.set(name, detail);
    if (detail === "" && this.#options.loudness === "verbose") this.#write(name);
  }

  element({ key, name }: Named, stage: Stage, detail?: string): void {
    const isNews = this.#stages.get(key) !== stage;
    if (FINAL.has(stage)) this.#stages.delete(key);
    else this.#stages.set(key, stage);
    if (isNews && this.#isShown(stage, detail)) this.#write(this.#lines.of(name, stage, detail));
  }

  close(): void {
    clearInterval(this.#watch);
    if (this.#isGrouped) this.#stream.write("::endgroup::\n");
  }

  #isShown(stage: Stage, detail: string | undefined): boolean {
    switch (this.#options.loudness) {
      case "quiet":
        return stage === "failed";
      case "verbose":
        return true;
      case "usual":
        return LONG.has(stage) || (FINAL.has(stage) && !QUIET.has(stage) && detail !== NOTHING_CHANGED);
    }
  }

  /** What only waits is not named. */
  #breakSilence(): void {
    if (this.#options.loudness === "quiet") return;
    if (this.#options.now().getTime() - this.#writtenAt < SILENCE_MS) return;
    const stages = Map.groupBy(this.#stages.values(), (stage) => stage);
    const elements = [...stages].flatMap(([stage, { length }]) =>
      WORK[stage] === undefined ? [] : [`${WORK[stage]} ${counted(length, "element")}`],
    );
    const tasks = [...this.#tasks].map(([name, detail]) => (detail === "" ? name : `${name} (${detail})`));
    const work = [...tasks, ...elements];
    if (work.length > 0) this.#write(`still at work: ${work.join(", ")}`);
  }

  /** With the time of day: between two lines may be an hour. */
  #write(text: string): void {
    const now = this.#options.now();
    this.#writtenAt = now.getTime();
    const time = now.toISOString().slice(11, 19);
    this.#stream.write(`${time} ${text.replaceAll("\n", `\n${" ".repeat(time.length)} `)}\n`);
  }
}
