/**
 * Reads what is to be signed as what it claims to be. What cannot be read is not signed, whoever asks.
 */
import { FarmError } from "../base/error.ts";
import { preAuthEncoding, STATEMENT_PAYLOAD } from "../provenance/dsse.ts";
import { readHead, writeHead } from "../provenance/head.ts";
import { readStatement, type Statement, writeStatement } from "../provenance/statement.ts";
import { readTrust, writeTrust } from "../provenance/trust.ts";
import type { SigningRequest } from "./signer.ts";

type Reader<Kind extends SigningRequest["kind"]> = (
  request: Extract<SigningRequest, { readonly kind: Kind }>,
) => Uint8Array;

/** Each returns the bytes that are signed; of a module these are its SHA-256. @throws FarmError SIGNING_REFUSED */
const READERS: { readonly [Kind in SigningRequest["kind"]]: Reader<Kind> } = {
  root: ({ text }) => noteText(text, (given) => writeTrust(readTrust(given, "the root"))),
  head: ({ text }) => noteText(text, (given) => writeHead(readHead(given, "the head"))),
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

/** The text of a signed note (C2SP), read whole and written again. */
function noteText(text: unknown, written: (given: string) => string): Uint8Array {
  if (typeof text !== "string") throw refused("the note", "is not a text");
  try {
    if (written(text) === text) return Buffer.from(text, "ascii");
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "NOTE_MALFORMED") throw thrown;
    throw refused("the note", `is not one that nodes would read: ${thrown.message}`);
  }
  throw refused("the note", "is not written as kmodfarm writes it");
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
