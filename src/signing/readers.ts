/**
 * Reads what is to be signed as what it claims to be. What cannot be read is not signed, whoever asks.
 */
import { FarmError } from "../base/error.ts";
import { preAuthEncoding, STATEMENT_PAYLOAD } from "../provenance/dsse.ts";
import { readStatement, type Statement, writeStatement } from "../provenance/statement.ts";
import type { SigningRequest } from "./signer.ts";

type Reader<Kind extends SigningRequest["kind"]> = (
  request: Extract<SigningRequest, { readonly kind: Kind }>,
) => Uint8Array;

/** Each returns the bytes that are signed; of a module these are its SHA-256. @throws FarmError SIGNING_REFUSED */
const READERS: { readonly [Kind in SigningRequest["kind"]]: Reader<Kind> } = {
  root: ({ text }) => noteText(text, "kmodfarm root v1"),
  head: ({ text }) => noteText(text, "kmodfarm head v1"),
  statement: ({ payload }) => statementText(payload),
  module: ({ sha256 }) => moduleDigest(sha256),
};

export function readRequest(request: SigningRequest): Uint8Array {
  const reader = READERS[request.kind] as Reader<SigningRequest["kind"]> | undefined;
  if (reader === undefined) throw refused("request", "is of no kind that is ever signed");
  return reader(request as never);
}

export function refused(about: string, detail: string): FarmError {
  return new FarmError("SIGNING_REFUSED", { about, joint: " ", detail });
}

/** The text of a signed note (C2SP): what is signed ends with its last newline. */
function noteText(text: unknown, firstLine: string): Uint8Array {
  if (typeof text !== "string" || !/^[\n\x20-\x7e]*$/.test(text) || !text.startsWith(`${firstLine}\n`))
    throw refused("the note", `does not begin with the line "${firstLine}"`);
  if (!text.endsWith("\n") || text.includes("\n\n")) throw refused("the note", "is not whole lines of text");
  return Buffer.from(text, "ascii");
}

/** What DSSE signs: the statement, read whole, in the one form that it has. */
function statementText(payload: unknown): Uint8Array {
  if (typeof payload !== "string" || !payload.isWellFormed()) throw refused("the statement", "is not a text");
  if (writeStatement(readStated(payload)) !== payload)
    throw refused("the statement", "is not canonical JSON");
  return preAuthEncoding(STATEMENT_PAYLOAD, payload);
}

function readStated(payload: string): Statement {
  try {
    return readStatement(Buffer.from(payload), "the statement");
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "PROVENANCE_MALFORMED") throw thrown;
    throw refused("the statement", `is not a statement of provenance: ${thrown.factAbout("the statement")}`);
  }
}

function moduleDigest(sha256: unknown): Uint8Array {
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256))
    throw refused("the module", "is not named by its SHA-256");
  return Buffer.from(sha256, "hex");
}
