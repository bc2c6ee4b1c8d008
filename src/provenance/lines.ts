/**
 * The lines of text that nodes read with a shell: `key value…`, printable ASCII, single spaces, a newline at the end of each,
 * in a fixed order. Everything else is refused, so that no two readers understand one file differently.
 */
import { FarmError } from "../base/error.ts";
import type { Digest } from "../base/json.ts";
import { isPathSegment } from "../kernel/path-segment.ts";

/** A field without blanks; longer names exist nowhere. */
const WORD = /^[!-~]{1,200}$/;
/** Free text stands last in its line. `uname -v` of a day before the tenth has two blanks in a row. */
const FREE_TEXT = /^[!-~](?:[ -~]{0,198}[!-~])?$/;
const HEX_DIGEST = /^[0-9a-f]{64}$/;
/** A shell's arithmetic holds it wherever it has 32 bits. */
const NUMBER = /^(?:0|[1-9]\d{0,8})$/;
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/;

export function malformed(what: string, fact: string): FarmError {
  return new FarmError("NOTE_MALFORMED", { about: what, detail: fact });
}

/** @throws FarmError NOTE_MALFORMED for bytes that are no lines of printable ASCII, or too many */
export function readText(bytes: Uint8Array, limitBytes: number, what: string): string {
  if (bytes.length > limitBytes) throw malformed(what, `it has more than ${limitBytes} bytes`);
  const bad = bytes.findIndex((byte) => byte !== 0x0a && (byte < 0x20 || byte > 0x7e));
  if (bad !== -1) throw malformed(what, `byte ${bad} is not printable ASCII`);
  const text = Buffer.from(bytes).toString("latin1");
  if (!text.endsWith("\n")) throw malformed(what, "it does not end with a newline");
  return text;
}

/** Takes the lines of a text one by one. */
export class Lines {
  readonly #lines: readonly string[];
  readonly #what: string;
  #next = 0;

  /** @throws FarmError NOTE_MALFORMED as `readText` */
  constructor(bytes: Uint8Array | string, limitBytes: number, what: string) {
    const text = readText(typeof bytes === "string" ? Buffer.from(bytes) : bytes, limitBytes, what);
    this.#lines = text.split("\n").slice(0, -1);
    this.#what = what;
  }

  /** Whether the next line has that key. */
  has(key: string): boolean {
    return this.#lines[this.#next]?.startsWith(`${key} `) === true;
  }

  get isAtEnd(): boolean {
    return this.#next === this.#lines.length;
  }

  /** The next line, whole. */
  any(): string {
    const line = this.#lines[this.#next];
    if (line === undefined) throw this.fault("it ends too early");
    this.#next++;
    return line;
  }

  /** Exactly that line. */
  exactly(line: string): void {
    if (this.any() !== line) throw this.fault(`it should be ${JSON.stringify(line)}`);
  }

  /** Takes the next line if it is exactly that one. */
  takes(line: string): boolean {
    if (this.#lines[this.#next] !== line) return false;
    this.#next++;
    return true;
  }

  /** Free text after a key. */
  textOf(key: string): string {
    return this.#freeText(this.#after(key));
  }

  /** The fields after a key: `least` or more. */
  fields(key: string, least: number, most = least): string[] {
    const fields = this.#after(key).split(" ");
    if (fields.length < least || fields.length > most)
      throw this.fault(
        `it has ${fields.length} fields, not ${least === most ? least : `${least} to ${most}`}`,
      );
    return fields.map((field) => this.word(field));
  }

  /** Fields after a key, and free text after them. */
  fieldsAndText(key: string, count: number): [fields: string[], text: string] {
    const rest = this.#after(key);
    const fields = rest.split(" ", count).map((field) => this.word(field));
    return [fields, this.#freeText(rest.slice(fields.join(" ").length + 1))];
  }

  #after(key: string): string {
    const line = this.any();
    if (!line.startsWith(`${key} `)) throw this.fault(`it should begin with ${JSON.stringify(key)}`);
    return line.slice(key.length + 1);
  }

  #freeText(text: string): string {
    if (!FREE_TEXT.test(text)) throw this.fault("its text is empty, too long or has blanks at an end");
    return text;
  }

  end(): void {
    if (this.isAtEnd) return;
    this.#next++;
    throw this.fault("nothing may follow here");
  }

  word(field: string | undefined): string {
    if (field === undefined || !WORD.test(field)) throw this.fault("a field is empty or too long");
    return field;
  }

  name(field: string | undefined): string {
    if (field === undefined || !isPathSegment(field))
      throw this.fault(`${JSON.stringify(field)} is not a safe name`);
    return field;
  }

  digest(field: string | undefined): Digest {
    if (field === undefined || !HEX_DIGEST.test(field))
      throw this.fault("it has no SHA-256 in lower-case hexadecimal");
    return `sha256:${field}`;
  }

  number(field: string | undefined): number {
    if (field === undefined || !NUMBER.test(field))
      throw this.fault(`${JSON.stringify(field)} is not a number`);
    return Number(field);
  }

  time(field: string | undefined): string {
    if (field === undefined || !isTime(field))
      throw this.fault(`${JSON.stringify(field)} is not a time like 2026-11-28T02:10:00Z`);
    return field;
  }

  /** About the line that was taken last. */
  fault(fact: string): FarmError {
    return malformed(this.#what, `line ${this.#next}: ${fact}`);
  }
}

export function isWord(text: string): boolean {
  return WORD.test(text);
}

export function isFreeText(text: string): boolean {
  return FREE_TEXT.test(text);
}

/** Text that may stand last in a line: what cannot is left out, and the rest cut. */
export function asFreeText(text: string): string {
  const plain = text
    .replaceAll(/[^ -~]+/g, " ")
    .trim()
    .slice(0, 200)
    .trim();
  return plain === "" ? "unknown" : plain;
}

function isTime(text: string): boolean {
  if (!TIME.test(text)) return false;
  const time = new Date(text);
  return !Number.isNaN(time.getTime()) && toTime(time) === text;
}

/** A time as it stands in lines, to the second. */
export function toTime(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** Lines as one text. */
export function toText(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
