/**
 * Reads what is to be signed as what it claims to be. What cannot be read is not signed, whoever asks.
 */
import { FarmError } from "../base/error.ts";
import { readCheckpoint } from "../provenance/checkpoint.ts";
import { preAuthEncoding, STATEMENT_PAYLOAD } from "../provenance/dsse.ts";
import { readHead } from "../provenance/head.ts";
import { cosignedText } from "../provenance/signed-note.ts";
import { readStatement, writeStatement } from "../provenance/statement.ts";
import { readTrust } from "../provenance/trust.ts";
import { readVouch } from "../provenance/vouch.ts";
import type { SigningRequest } from "./signer.ts";

const DAY_MS = 24 * 3600_000;
/** Of a head. */
const LONGEST_DAYS = 31;

type Reader<Kind extends SigningRequest["kind"]> = (
  request: Extract<SigningRequest, { readonly kind: Kind }>,
) => Uint8Array;

/** Each returns the bytes that are signed; of a module these are its SHA-256. */
const READERS: { readonly [Kind in SigningRequest["kind"]]: Reader<Kind> } = {
  root({ text }) {
    readTrust(string(text), "the root");
    return Buffer.from(text);
  },
  head({ text }) {
    const { issued, expires } = readHead(string(text), "the head");
    // Nodes that take it can hear of nothing else before that time, nor of what is withdrawn until it is over.
    if (Date.parse(issued) > Date.now() + DAY_MS)
      throw refused("the head", `is issued at ${issued}, which is still to come`);
    if (Date.parse(expires) - Date.parse(issued) > LONGEST_DAYS * DAY_MS)
      throw refused("the head", `is to be believed for more than ${LONGEST_DAYS} days`);
    return Buffer.from(text);
  },
  generation({ text }) {
    readVouch(string(text), "the generation's note");
    return Buffer.from(text);
  },
  checkpoint({ text }) {
    readCheckpoint(string(text), "the checkpoint");
    return Buffer.from(text);
  },
  cosignature({ text, seconds }) {
    readCheckpoint(string(text), "the checkpoint");
    if (!Number.isSafeInteger(seconds) || seconds <= 0) throw refused("the cosignature", "has no time");
    return Buffer.from(cosignedText(text, seconds));
  },
  statement({ payload }) {
    // One statement has one text: another one of it could say something else to another reader.
    if (writeStatement(readStatement(Buffer.from(string(payload)), "the statement")) !== payload)
      throw refused("the statement", "is not canonical JSON");
    return preAuthEncoding(STATEMENT_PAYLOAD, payload);
  },
  subject({ subject }) {
    // Nothing else that is signed here has no space in it.
    if (!/^[\x21-\x7e]{1,2000}$/.test(string(subject))) throw refused("the subject", "is no word");
    return Buffer.from(subject);
  },
  module({ sha256 }) {
    if (!/^[0-9a-f]{64}$/.test(string(sha256))) throw refused("the module", "is not named by its SHA-256");
    return Buffer.from(sha256, "hex");
  },
};

/** The bytes that a request is about. @throws FarmError SIGNING_REFUSED */
export function readRequest(request: SigningRequest): Uint8Array {
  const reader = READERS[request.kind] as Reader<SigningRequest["kind"]>;
  try {
    return reader(request as never);
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code === "SIGNING_REFUSED") throw thrown;
    throw new FarmError("SIGNING_REFUSED", { detail: `it cannot be read: ${thrown.message}`, cause: thrown });
  }
}

export function refused(about: string, detail: string): FarmError {
  return new FarmError("SIGNING_REFUSED", { about, joint: " ", detail });
}

/** Requests come as JSON, of whatever types. */
function string(value: unknown): string {
  if (typeof value === "string") return value;
  throw refused("the request", `has ${typeof value} where a text must be`);
}
