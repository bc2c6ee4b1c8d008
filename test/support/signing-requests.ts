/** What a signer may be asked with the key of each role, and the bytes that are signed then. */
import { createHash } from "node:crypto";
import { sha256 } from "../../src/base/json.ts";
import { writeCheckpoint } from "../../src/provenance/checkpoint.ts";
import { writeHead } from "../../src/provenance/head.ts";
import { writeStatement } from "../../src/provenance/statement.ts";
import { EMPTY_ROOT } from "../../src/provenance/trees/rfc6962.ts";
import { writeTrust } from "../../src/provenance/trust.ts";
import type { Role } from "../../src/signing/roles.ts";
import type { SigningRequest } from "../../src/signing/signer.ts";
import { makeTestKey, ORIGIN, trustOf } from "./notes.ts";
import { makeStatement } from "./statements.ts";

export const ROOT = writeTrust(trustOf([makeTestKey()], [makeTestKey()]));
export const HEAD = writeHead({
  ...{ origin: ORIGIN, serial: 1, issued: "2026-11-28T02:10:00Z", expires: "2026-12-05T02:10:00Z" },
  generation: { number: 1, digest: sha256("a generation") },
  indices: [],
});
const CHECKPOINT = writeCheckpoint({ origin: ORIGIN, size: 0, root: EMPTY_ROOT });
export const STATEMENT = writeStatement(makeStatement());
const PAYLOAD_TYPE = "application/vnd.in-toto+json";
const MODULE = Buffer.from("what a module would be");

export const REQUESTS: Readonly<Record<Role, { readonly request: SigningRequest; readonly signed: Buffer }>> =
  {
    root: { request: { kind: "root", text: ROOT }, signed: Buffer.from(ROOT) },
    head: { request: { kind: "head", text: HEAD }, signed: Buffer.from(HEAD) },
    builder: {
      request: { kind: "statement", payload: STATEMENT },
      signed: Buffer.from(
        `DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${Buffer.byteLength(STATEMENT)} ${STATEMENT}`,
      ),
    },
    log: { request: { kind: "checkpoint", text: CHECKPOINT }, signed: Buffer.from(CHECKPOINT) },
    witness: {
      request: { kind: "cosignature", text: CHECKPOINT, seconds: 1_764_000_000 },
      signed: Buffer.from(`cosignature/v1\ntime 1764000000\n${CHECKPOINT}`),
    },
    module: {
      request: { kind: "module", sha256: createHash("sha256").update(MODULE).digest("hex") },
      signed: MODULE,
    },
  };
