/**
 * Large JSON objects, read as they come: those of arrays (`{"debian": [{…}, …], …}`) of which only one element is held at a
 * time, or any of which only some members are wanted. So neither the size of the file nor a hostile value in it costs
 * memory. Values are cut out by the structure of RFC 8259 and parsed one by one; one that is bad is reported in its place
 * and the rest goes on.
 */
import { FarmError } from "../base/error.ts";

export type JsonListItem =
  | { readonly kind: "element"; readonly list: string; readonly index: number; readonly value: unknown }
  | { readonly kind: "bad"; readonly list: string; readonly index: number; readonly reason: string };

/** A member that was wanted, as it stands in the file. */
export type JsonMember =
  | { readonly kind: "member"; readonly name: string; readonly text: Buffer }
  | { readonly kind: "bad"; readonly name: string; readonly reason: string };

export interface JsonListLimits {
  readonly totalBytes: number;
  /** Of one element, or of one member that is wanted. */
  readonly elementBytes: number;
  readonly depth: number;
  /** Of one of them: two bytes can be a value, and each costs memory. */
  readonly values: number;
}

const DEFAULT_LIMITS: JsonListLimits = {
  ...{ totalBytes: 2 ** 26, elementBytes: 2 ** 22 },
  ...{ depth: 32, values: 10_000 },
};
const NAME_LIMIT_BYTES = 256;

type State =
  | "start"
  | "nameOrEnd"
  | "name"
  | "colon"
  | "list"
  | "elementOrEnd"
  | "element"
  | "afterElement"
  | "afterList"
  | "end";

/** @throws FarmError DOCUMENT_INVALID for what is no such object, is cut off, or is longer than allowed */
export async function* readJsonLists(
  chunks: AsyncIterable<Uint8Array>,
  source: string,
  limits: JsonListLimits = DEFAULT_LIMITS,
): AsyncGenerator<JsonListItem> {
  const reader = new JsonReader<JsonListItem>(source, limits, { wants: undefined, toItem });
  for await (const chunk of chunks) yield* reader.push(chunk);
  reader.end();
}

function toItem(list: string, index: number | undefined, text: Text): JsonListItem {
  if (index === undefined) return { kind: "bad", list, index: 0, reason: "is not a list" };
  const parsed = text.kind === "text" ? parse(text.text) : text;
  return parsed.kind === "value"
    ? { kind: "element", list, index, value: parsed.value }
    : { kind: "bad", list, index, reason: parsed.reason };
}

/**
 * The members of an object whose names are wanted; what others hold is passed over unread.
 * @throws FarmError DOCUMENT_INVALID as above
 */
export async function* readJsonMembers(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  source: string,
  limits: JsonListLimits,
  wants: (name: string) => boolean,
): AsyncGenerator<JsonMember> {
  const reader = new JsonReader<JsonMember>(source, limits, { wants, toItem: toMember });
  for await (const chunk of chunks) yield* reader.push(chunk);
  reader.end();
}

function toMember(name: string, _: number | undefined, text: Text): JsonMember {
  return text.kind === "text" ? { kind: "member", name, text: text.text } : { ...text, name };
}

/** What a reader is after: without `wants` the elements of lists, else whole members. */
interface Wanted<Item> {
  readonly wants: ((name: string) => boolean) | undefined;
  /** `index` is undefined for a whole member. */
  readonly toItem: (name: string, index: number | undefined, text: Text) => Item;
}

class JsonReader<Item> {
  readonly #source: string;
  readonly #limits: JsonListLimits;
  readonly #wanted: Wanted<Item>;
  readonly #value: ValueScanner;
  #state: State = "start";
  #list = "";
  #index = 0;
  #total = 0;

  constructor(source: string, limits: JsonListLimits, wanted: Wanted<Item>) {
    this.#source = source;
    this.#limits = limits;
    this.#wanted = wanted;
    this.#value = new ValueScanner(limits);
  }

  push(chunk: Uint8Array): Item[] {
    const items: Item[] = [];
    for (let at = 0; at < chunk.length; ) {
      const byte = chunk[at] as number;
      if (this.#value.isOpen) {
        at = this.#value.scan(chunk, at);
        if (!this.#value.isOpen) this.#close(items, at);
      } else if (isSpace(byte)) at++;
      else at = this.#step(byte, at);
    }
    this.#total += chunk.length;
    if (this.#total > this.#limits.totalBytes)
      throw this.#fault(`is longer than the ${this.#limits.totalBytes} bytes allowed for a list`);
    return items;
  }

  end(): void {
    if (this.#state === "start") throw this.#fault("is empty");
    if (this.#state !== "end")
      throw this.#fault(
        `is cut off after ${this.#total} bytes, in the list ${JSON.stringify(this.#list.slice(0, 60))}`,
      );
  }

  /** One byte of structure; a byte that opens a value is left to the value's scanner. */
  #step(byte: number, at: number): number {
    switch (this.#state) {
      case "start":
        return this.#expect(byte, at, { "{": "nameOrEnd" });
      case "nameOrEnd":
        if (byte === QUOTE) return this.#open("name", at, NAME_LIMIT_BYTES);
        return this.#expect(byte, at, { "}": "end" });
      case "colon":
        return this.#expect(byte, at, { ":": "list" });
      case "list":
        this.#index = 0;
        if (this.#wanted.wants?.(this.#list)) return this.#open("list", at, this.#limits.elementBytes);
        if (this.#wanted.wants === undefined && byte === OPEN_LIST)
          return this.#expect(byte, at, { "[": "elementOrEnd" });
        return this.#open("list", at, 0);
      case "elementOrEnd":
        if (byte === CLOSE_LIST) return this.#expect(byte, at, { "]": "afterList" });
        return this.#open("element", at, this.#limits.elementBytes);
      case "afterElement":
        return this.#expect(byte, at, { ",": "elementOrEnd", "]": "afterList" });
      case "afterList":
        return this.#expect(byte, at, { ",": "nameOrEnd", "}": "end" });
      case "name":
      case "element":
      case "end":
        throw this.#fault(`has something behind its end (at byte ${this.#total + at})`);
    }
  }

  #expect(byte: number, at: number, next: Readonly<Record<string, State>>): number {
    const state = next[String.fromCharCode(byte)];
    if (state === undefined) {
      const wanted = Object.keys(next).join(" or ");
      throw this.#fault(`is not an object of lists: ${wanted} is missing at byte ${this.#total + at}`);
    }
    this.#state = state;
    return at + 1;
  }

  #open(state: State, at: number, keepBytes: number): number {
    this.#state = state;
    this.#value.open(keepBytes);
    return at;
  }

  #close(items: Item[], at: number): void {
    const text = this.#value.take();
    const { wants, toItem } = this.#wanted;
    if (this.#state === "name") {
      const name = text.kind === "text" ? parse(text.text) : text;
      if (name.kind !== "value" || typeof name.value !== "string")
        throw this.#fault(`is not an object of lists: the name at byte ${this.#total + at} cannot be read`);
      this.#list = name.value;
      this.#state = "colon";
    } else if (this.#state === "list") {
      if (wants?.(this.#list) ?? true) items.push(toItem(this.#list, undefined, text));
      this.#state = "afterList";
    } else {
      items.push(toItem(this.#list, this.#index++, text));
      this.#state = "afterElement";
    }
  }

  #fault(fact: string): FarmError {
    return new FarmError("DOCUMENT_INVALID", { detail: `${this.#source} ${fact}` });
  }
}

type Text = { readonly kind: "text"; readonly text: Buffer } | Bad;
type Bad = { readonly kind: "bad"; readonly reason: string };

function parse(text: Buffer): { readonly kind: "value"; readonly value: unknown } | Bad {
  try {
    return { kind: "value", value: JSON.parse(text.toString("utf8")) };
  } catch {
    return { kind: "bad", reason: "is not JSON" };
  }
}

/** Finds the end of one value by brackets and quotes, and keeps its bytes unless they are too many. */
class ValueScanner {
  readonly #limits: JsonListLimits;
  isOpen = false;
  #keepBytes = 0;
  #kept: Uint8Array[] = [];
  #size = 0;
  #depth = 0;
  #deepest = 0;
  #values = 1; // At most so many: each but the first comes after a bracket or a comma, or after a name that does.
  #inString = false;
  #escaped = false;

  constructor(limits: JsonListLimits) {
    this.#limits = limits;
  }

  open(keepBytes: number): void {
    this.isOpen = true;
    this.#keepBytes = keepBytes;
    [this.#kept, this.#size, this.#depth, this.#deepest] = [[], 0, 0, 0];
    this.#values = 1;
    [this.#inString, this.#escaped] = [false, false];
  }

  /** Reads on from `start`; returns where the value ends, or the length of the chunk. */
  scan(chunk: Uint8Array, start: number): number {
    let at = start;
    while (at < chunk.length && this.isOpen)
      at = this.#inString ? this.#string(chunk, at) : this.#plain(chunk, at, start);
    this.#size += at - start;
    const { depth, values } = this.#limits;
    if (this.#size > this.#keepBytes || this.#deepest > depth || this.#values > values) this.#kept = [];
    else this.#kept.push(chunk.subarray(start, at));
    return at;
  }

  take(): Text {
    const kept = this.#kept;
    this.#kept = [];
    if (this.#deepest > this.#limits.depth)
      return { kind: "bad", reason: `is nested more than ${this.#limits.depth} deep` };
    if (this.#size > this.#keepBytes)
      return { kind: "bad", reason: `is longer than ${this.#keepBytes} bytes` };
    if (this.#values > this.#limits.values)
      return { kind: "bad", reason: `has more than ${this.#limits.values} values` };
    return { kind: "text", text: Buffer.concat(kept) };
  }

  #string(chunk: Uint8Array, start: number): number {
    let at = start;
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) {
        this.#inString = false;
        if (this.#depth === 0) this.isOpen = false;
        return at + 1;
      }
    }
    return at;
  }

  #plain(chunk: Uint8Array, at: number, start: number): number {
    const byte = chunk[at] as number;
    if (byte === QUOTE) this.#inString = true;
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      this.#values++;
      this.#deepest = Math.max(this.#deepest, ++this.#depth);
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      if (this.#depth === 0) return this.#ended(at, start);
      if (--this.#depth === 0) this.isOpen = false;
    } else if (this.#depth > 0 && byte === COMMA) this.#values++;
    else if (this.#depth === 0 && (byte === COMMA || isSpace(byte))) return this.#ended(at, start);
    return at + 1;
  }

  /** A number or a word ends before the byte that follows it; a value without any byte swallows that byte. */
  #ended(at: number, start: number): number {
    this.isOpen = false;
    return this.#size + (at - start) === 0 ? at + 1 : at;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
