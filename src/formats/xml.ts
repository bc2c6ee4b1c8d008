/**
 * XML from mirrors, read as it comes: no document types, no entities but XML's own five, and nothing that a
 * document can make large or deep.
 */
import { StringDecoder } from "node:string_decoder";
import { SaxesParser } from "saxes";
import { FarmError } from "../base/error.ts";

export interface XmlHandlers {
  /** An element begins. Names come without their prefix. */
  open?(name: string, attributes: Readonly<Record<string, string>>): void;
  /** An element ends; `text` is what stood in it before, if it has no elements. */
  close?(name: string, text: string): void;
}

const DEEPEST = 32;
/** The longest text, tag or comment. */
const LONGEST = 1024 * 1024;
const SLICE = 64 * 1024;

/** Reads one document that comes in pieces. */
export class XmlReader {
  readonly #parser = new SaxesParser<{ position: false; xmlns: false }>({ position: false, xmlns: false });
  readonly #decoder = new StringDecoder("utf8");
  readonly #what: string;
  /** Characters since anything began or ended. */
  #silence = 0;

  /** `what` names the document in errors. */
  constructor(what: string, handlers: XmlHandlers) {
    this.#what = what;
    let depth = 0;
    let text = "";
    const add = (more: string) => {
      text += more;
      if (text.length > LONGEST) throw this.#fault("has a text without end");
    };
    this.#parser.on("doctype", () => {
      throw this.#fault("declares a document type, which no index needs");
    });
    this.#parser.on("opentag", ({ name, attributes }) => {
      if (++depth > DEEPEST) throw this.#fault(`is nested more than ${DEEPEST} deep`);
      this.#silence = 0;
      text = "";
      handlers.open?.(local(name), attributes);
    });
    this.#parser.on("closetag", ({ name }) => {
      depth--;
      this.#silence = 0;
      handlers.close?.(local(name), text);
      text = "";
    });
    this.#parser.on("text", add);
    this.#parser.on("cdata", add);
  }

  /** @throws FarmError REMOTE_UNAVAILABLE as soon as the document cannot be one that we read */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += SLICE) {
      this.#feed(this.#decoder.write(Buffer.from(bytes.subarray(at, at + SLICE))));
    }
  }

  /** @throws FarmError REMOTE_UNAVAILABLE when the document is cut off */
  end(): void {
    this.#feed(this.#decoder.end());
    this.#guarded(() => this.#parser.close());
  }

  #feed(text: string): void {
    this.#silence += text.length;
    this.#guarded(() => this.#parser.write(text));
    if (this.#silence > LONGEST + SLICE) throw this.#fault("has a tag or a text without end");
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      if (thrown instanceof FarmError) throw thrown;
      throw this.#fault(`is not well-formed XML: ${(thrown as Error).message.slice(0, 200)}`);
    }
  }

  #fault(fact: string): FarmError {
    return new FarmError("REMOTE_UNAVAILABLE", { detail: `${this.#what} ${fact}` });
  }
}

/** Reads a whole small document. */
export function readXml(text: string, what: string, handlers: XmlHandlers): void {
  const reader = new XmlReader(what, handlers);
  reader.write(Buffer.from(text));
  reader.end();
}

function local(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}
