/**
 * What a guest said of its work. Believed is only what was planned, line by line; the first line that has no place there
 * takes the value of all the others.
 */

import { largest } from "../../base/extremes.ts";
import { messageOf } from "./kernel-messages.ts";
import { type Act, type GuestPlan, isVerb, linesOf, markOf, type PlannedLine, reportMark } from "./plan.ts";

export interface Step extends Act {
  readonly exitCode: number;
  readonly message: string;
}

/** What became of one set. */
export interface SetReport {
  readonly taintBefore: number;
  /** Undefined when the kernel did not live to say it. */
  readonly taint?: number;
  readonly steps: readonly Step[];
  /** The step that took too long. */
  readonly hung?: Act;
  /** Kernel messages, as the guest read them after the last step. */
  readonly log: readonly string[];
  /** Where in the log the messages of a step begin, by the step's place; of one that hung it is the last. */
  readonly begins?: ReadonlyMap<number, number>;
}

/** A kernel that is locked down, as Secure Boot makes distributions' kernels, takes no module that it knows no signer of. */
export interface Lockdown {
  /** `none`, `integrity` or `confidentiality`. */
  readonly mode: string;
  readonly enforcesSignatures: boolean;
}

export interface GuestReport {
  /** `uname -r` of the guest; undefined when it never got as far as saying it. */
  readonly release?: string;
  /** What happened to live patches; the message of one that is in has its attributes. */
  readonly livePatches: readonly Omit<Step, "verb">[];
  /** What its kernel demands of modules, if it was asked that. */
  readonly lockdown?: Lockdown;
  /** What happened to in-tree modules that the sets need. */
  readonly tree: readonly Omit<Step, "verb">[];
  /** The kernel's taint at its beginning, and when its own modules were in. */
  readonly taints?: { readonly begin: number; readonly ready: number };
  /** By their place among the sets of this boot, in that order; those that it never came to are missing. */
  readonly sets: ReadonlyMap<number, SetReport>;
  /** Kernel messages of the whole boot. */
  readonly log: readonly string[];
  readonly ended: boolean;
  /** The first line that is marked and was not planned there: nothing of this report means anything. */
  readonly strange?: string;
  /** Console lines that are not part of the protocol: all there is when the kernel died. */
  readonly lastWords: readonly string[];
}

const LAST_WORDS = 40;
const LINE_LIMIT = 500;

/** Reads a console. Whatever is on it that is not a whole line of this boot's protocol is last words. */
export function readGuestReport(console: string, secret: string, plan: GuestPlan): GuestReport {
  const reading = new Reading(plan);
  const lastWords: string[] = [];
  const mark = reportMark(secret);
  const lines = console.replaceAll("\r", "").split("\n");
  const cutOff = lines.length - 1;
  for (const [index, line] of lines.entries()) {
    const at = index === cutOff ? -1 : line.indexOf(mark);
    const said = at < 0 ? undefined : parseLine(line.slice(at + mark.length));
    if (said !== undefined) {
      reading.take(said);
      continue;
    }
    const plain = printable(line);
    if (at >= 0) reading.garble(plain);
    if (plain !== "") lastWords.push(plain);
  }
  return { ...reading.report(), lastWords: lastWords.slice(-LAST_WORDS) };
}

/** `number` is an exit code or a taint. */
type Said =
  | { readonly verb: "log"; readonly message: string }
  /** `subject` is the act that does not come back, and its module. */
  | { readonly verb: "hung"; readonly subject: string }
  | {
      readonly verb: PlannedLine["verb"];
      readonly subject: string;
      readonly number: number;
      readonly message: string;
    };

const STATE = /^(begin|lockdown|ready|set|done) (\S+) (\d{1,9})$/;
// Words of a program may hold any character.
const STEP = /^(livepatch|tree|inserted|smoke|removed|reinserted|reremoved) (\S+) (\d{1,3})(?: (.*))?$/s;
const HUNG = /^hung (\S+ \S+)$/;

function parseLine(text: string): Said | undefined {
  if (text.startsWith("log ")) return { verb: "log", message: printable(text.slice("log ".length)) };
  if (text === "end") return { verb: "end", subject: "", number: 0, message: "" };
  const [, hung] = HUNG.exec(text) ?? [];
  if (hung !== undefined) return { verb: "hung", subject: hung };
  const [, verb, subject = "", number, message = ""] = STATE.exec(text) ?? STEP.exec(text) ?? [];
  if (verb === undefined) return undefined;
  return {
    verb: verb as PlannedLine["verb"],
    subject,
    number: Number(number),
    message: printable(message),
  };
}

interface OpenSet {
  readonly taintBefore: number;
  taint?: number;
  readonly steps: Step[];
  hung?: Act;
  readonly log: string[];
  readonly begins: Map<number, number>;
}

/** Goes along the plan with what is said. */
class Reading {
  readonly #lines: Generator<PlannedLine, void, number>;
  #expected: PlannedLine | undefined;
  #strange: string | undefined;
  #garbled: string | undefined;
  #release: string | undefined;
  #lockdown: Lockdown | undefined;
  #taint = 0;
  #taints: GuestReport["taints"];
  /** Something does not come back, which ends the boot. */
  #hangs = false;
  #current: OpenSet | undefined;
  readonly #sets = new Map<number, OpenSet>();
  readonly #livePatches: Omit<Step, "verb">[] = [];
  readonly #tree: Omit<Step, "verb">[] = [];
  readonly #log: string[] = [];

  constructor(plan: GuestPlan) {
    this.#lines = linesOf(plan);
    this.#expected = this.#lines.next().value ?? undefined;
  }

  /** A marked line that is none of the protocol's: a kernel that dies writes into the lines of others, and no more comes. */
  garble(line: string): void {
    this.#garbled ??= line;
  }

  take(said: Said): void {
    if (this.#hangs || this.#strange !== undefined) return;
    if (this.#garbled !== undefined && said.verb !== "log") this.#strange = this.#garbled;
    else if (!this.#isPlanned(said)) this.#strange = this.#surprise(said);
    else if (said.verb === "log") this.#hear(said.message);
    else if (said.verb === "hung") this.#hang();
    else this.#follow(said);
  }

  report(): Omit<GuestReport, "lastWords"> {
    const ended = this.#expected === undefined && !this.#hangs;
    const strange = this.#strange ?? (ended ? this.#garbled : undefined);
    return {
      ...(this.#release === undefined ? {} : { release: this.#release }),
      ...(this.#lockdown === undefined ? {} : { lockdown: this.#lockdown }),
      ...(this.#taints === undefined ? {} : { taints: this.#taints }),
      ...{ livePatches: this.#livePatches, tree: this.#tree, sets: this.#sets, log: this.#log, ended },
      ...(strange === undefined ? {} : { strange }),
    };
  }

  #isPlanned(said: Said): boolean {
    const expected = this.#expected;
    if (expected === undefined) return false;
    if (said.verb === "log") return this.#release !== undefined;
    const { verb } = expected;
    if (said.verb === "hung" && verb !== "livepatch" && verb !== "tree" && !isVerb(verb)) return false;
    if (said.verb === "hung") return said.subject === `${expected.verb} ${expected.subject}`;
    const isThere = said.verb === expected.verb && said.subject === (expected.subject ?? said.subject);
    return isThere && (said.verb !== "set" || said.number === this.#taint);
  }

  #surprise(said: Said): string {
    const expected = this.#expected;
    // A set begins with the taint that the line before it ended with.
    const taint = said.verb === "set" && expected?.verb === "set" ? [said.number, this.#taint] : [];
    const words = (...parts: (string | number | undefined)[]) =>
      `'${printable(parts.filter((part) => part !== undefined).join(" "))}'`;
    const came = said.verb === "log" ? "a message" : words(said.verb, said.subject, taint[0]);
    return expected === undefined
      ? `${came} came after the end`
      : `${came} came where ${words(expected.verb, expected.subject, taint[1])} was planned`;
  }

  #hear(message: string): void {
    this.#log.push(message);
    if (this.#current === undefined) return;
    const { log, steps, begins } = this.#current;
    const { verb = "", subject = "" } = this.#expected ?? {};
    // Each once and in their order: what a driver writes in their place moves blame among its own steps.
    const from = largest(begins.keys(), -1) + 1;
    const acts = [...steps, { verb, module: subject }].slice(from);
    const at = acts.findIndex((act) => messageOf(message) === markOf(act));
    if (at < 0) log.push(message);
    else begins.set(from + at, log.length);
  }

  #hang(): void {
    this.#hangs = true;
    const { verb, subject = "" } = this.#expected as PlannedLine;
    if (this.#current !== undefined && isVerb(verb)) this.#current.hung = { verb, module: subject };
  }

  #follow({ verb, subject, number, message }: Exclude<Said, { verb: "log" | "hung" }>): void {
    const step = { module: subject, exitCode: number, message };
    if (isVerb(verb)) this.#current?.steps.push({ verb, ...step });
    if (verb === "livepatch") this.#livePatches.push(step);
    if (verb === "tree") this.#tree.push(step);
    if (verb === "begin") this.#release = subject;
    if (verb === "lockdown") this.#lockdown = { mode: subject, enforcesSignatures: number === 1 };
    if (verb === "ready") this.#taints = { begin: this.#taint, ready: number };
    if (verb === "begin" || verb === "ready" || verb === "done") this.#taint = number;
    if (verb === "set") this.#open(Number(subject), number);
    if (verb === "done" && this.#current !== undefined) this.#current.taint = number;
    if (verb === "done") this.#current = undefined;
    this.#expected = this.#lines.next(number).value ?? undefined;
  }

  #open(index: number, taintBefore: number): void {
    this.#current = { taintBefore, steps: [], log: [], begins: new Map() };
    this.#sets.set(index, this.#current);
  }
}

/** A console may carry anything, terminal control sequences included. */
export function printable(text: string): string {
  return text
    .slice(0, 4 * LINE_LIMIT)
    .replace(/\p{Cc}\[[0-9;?]*[A-Za-z]/gu, "")
    .replace(/\p{Cc}/gu, "")
    .trim()
    .slice(0, LINE_LIMIT);
}
