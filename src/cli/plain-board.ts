/**
 * Progress in lines, for logs: how the whole goes, when each element is built and booted, and how it ends.
 */
import { type Named, NOTHING_CHANGED, type Stage } from "../base/progress.ts";
import { type Board, FINAL, QUIET, stageLine } from "./stages.ts";
import { isOnGithub } from "./terminal.ts";

/** Stages that take minutes: without a line for them a log stands still. */
const LONG: ReadonlySet<Stage> = new Set(["building", "booting"]);

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

  constructor(stream: Pick<NodeJS.WritableStream, "write">, options: PlainOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#isGrouped = isOnGithub() && options.loudness !== "quiet";
    if (this.#isGrouped) stream.write("::group::Progress\n");
  }

  say(text: string): void {
    if (this.#options.loudness !== "quiet") this.#write(text);
  }

  task(name: string, detail: string | undefined): void {
    if (detail === "" && this.#options.loudness === "verbose") this.#write(name);
  }

  element({ key, name }: Named, stage: Stage, detail?: string): void {
    const isNews = this.#stages.get(key) !== stage;
    if (FINAL.has(stage)) this.#stages.delete(key);
    else this.#stages.set(key, stage);
    if (isNews && this.#isShown(stage, detail)) this.#write(stageLine(name, stage, detail));
  }

  close(): void {
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

  /** With the time of day: between two lines may be an hour. */
  #write(text: string): void {
    const time = this.#options.now().toISOString().slice(11, 19);
    this.#stream.write(`${time} ${text.replaceAll("\n", `\n${" ".repeat(time.length)} `)}\n`);
  }
}
