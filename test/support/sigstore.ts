/**
 * A Sigstore of our own on 127.0.0.1: the project's mock of its certificate authority, its logs and its clock, behind a real
 * server; and the file of roots that shows them.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, verify } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import {
  fulcioHandler,
  initializeCA,
  initializeCTLog,
  initializeTLog,
  initializeTSA,
  tsaHandler,
} from "@sigstore/mock";
import type { HandlerFnResult } from "@sigstore/mock/dist/shared.types.js";
import { TransparencyLogEntry } from "@sigstore/protobuf-specs";
import { hexOf, sha256 } from "../../src/base/json.ts";
import { Secret } from "../../src/base/secret.ts";
import { type Statement, writeStatement } from "../../src/provenance/statement.ts";
import { signCertified } from "../../src/signing/certificates.ts";
import type { KeylessPlace } from "../../src/signing/keys/keyless.ts";
import { openSigner } from "../../src/signing/open.ts";

export const ISSUER = "https://token.actions.githubusercontent.com";
export const SUBJECT = "https://github.com/example/drivers/.github/workflows/night.yml@refs/heads/main";

export interface TestSigstore extends AsyncDisposable {
  readonly url: string;
  /** Sigstore's trusted_root.json. */
  readonly roots: string;
  /** What was asked of it, by path. */
  readonly asked: string[];
  /** Answers of its authority: a status and a body instead of a certificate. */
  fault: { readonly status: number; readonly body: string; readonly location?: string } | undefined;
}

/** A token of somebody: nobody verifies who signed it here. */
export function token(claims: Readonly<Record<string, unknown>> = { iss: ISSUER, sub: SUBJECT }): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ aud: "sigstore", ...claims })}.${Buffer.from("signed").toString("base64url")}`;
}

/** Its clock stands still, at a whole second: that of the mock has fractions, which no timestamp may have. */
export async function startSigstore(
  clock = new Date(Math.floor(Date.now() / 1000) * 1000),
): Promise<TestSigstore> {
  const pair = () => generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const [caKeys, ctKeys, logKeys, timeKeys] = [pair(), pair(), pair(), pair()];
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const ctLog = await initializeCTLog(ctKeys, clock);
  const ca = await initializeCA(caKeys, ctLog, clock);
  const tlog = await initializeTLog(url, logKeys, clock);
  const tsa = await initializeTSA(timeKeys, clock);
  const certify = fulcioHandler(ca);
  const answers: Readonly<Record<string, (body: string) => Promise<HandlerFnResult>>> = {
    [certify.path]: async (body) => {
      requireProof(body);
      return here.fault === undefined
        ? certify.fn(body)
        : { statusCode: here.fault.status, response: here.fault.body, contentType: "application/json" };
    },
    [tsaHandler(tsa).path]: tsaHandler(tsa).fn,
    "/api/v1/log/entries": async (body) => created(await tlog.log(storedEntry(JSON.parse(body)))),
    "/api/v2/log/entries": async (body) => {
      const entry = await tlog.logV2(storedEntryV2(JSON.parse(body)) as never);
      // The mock's tree has one leaf, which it calls by other numbers too.
      const { inclusionProof } = entry;
      const first = inclusionProof && { ...inclusionProof, logIndex: "0" };
      return created(TransparencyLogEntry.toJSON({ ...entry, integratedTime: "0", inclusionProof: first }));
    },
  };
  const asked: string[] = [];
  const here: TestSigstore = {
    ...{ url, asked, fault: undefined },
    roots: JSON.stringify({
      mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
      tlogs: [logRoot(url, logKeys.publicKey)],
      ctlogs: [logRoot(url, ctKeys.publicKey)],
      certificateAuthorities: [authority(url, ca.rootCertificate)],
      timestampAuthorities: [authority(url, tsa.intCertificate, tsa.rootCertificate)],
    }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const body = (await buffer(request)).toString();
    const path = request.url ?? "";
    asked.push(path);
    const {
      statusCode,
      response: said,
      contentType,
    } = (await answers[path]?.(body)) ?? {
      ...{ statusCode: 404, response: "", contentType: "text/plain" },
    };
    const { location } = here.fault ?? {};
    response.writeHead(statusCode, {
      "content-type": contentType ?? "text/plain",
      ...(location === undefined ? {} : { location }),
    });
    response.end(typeof said === "string" ? said : Buffer.from(said.buffer as ArrayBuffer));
  };
  server.on("request", (request, response) => void answer(request, response));
  return here;
}

/** The mock believes whoever asks; the real one wants to see that he holds the key. */
function requireProof(body: string): void {
  const { credentials, publicKeyRequest } = JSON.parse(body);
  const { sub, email } = JSON.parse(
    Buffer.from(credentials.oidcIdentityToken.split(".")[1], "base64url").toString(),
  );
  const key = createPublicKey(publicKeyRequest.publicKey.content);
  const proof = Buffer.from(publicKeyRequest.proofOfPossession, "base64");
  if (!verify("sha256", Buffer.from(email ?? sub), key, proof)) throw new Error("the key is not his");
}

function created(value: unknown): HandlerFnResult {
  return { statusCode: 201, response: JSON.stringify(value), contentType: "application/json" };
}

/** The mock stores what it is given; Rekor keeps no envelope, but what it is known by. */
function storedEntry({ spec: { proposedContent } }: { spec: { proposedContent: ProposedContent } }): object {
  const { envelope, verifiers } = proposedContent;
  const { payload, signatures } = JSON.parse(envelope) as { payload: string; signatures: { sig: string }[] };
  return {
    ...{ apiVersion: "0.0.1", kind: "dsse" },
    spec: {
      envelopeHash: { algorithm: "sha256", value: hexOf(sha256(envelope)) },
      payloadHash: { algorithm: "sha256", value: hexOf(sha256(Buffer.from(payload, "base64"))) },
      signatures: signatures.map(({ sig }, index) => ({ signature: sig, verifier: verifiers[index] })),
    },
  };
}

interface ProposedContent {
  readonly envelope: string;
  readonly verifiers: readonly string[];
}

function storedEntryV2({ dsseRequestV002: { envelope, verifiers } }: ProposedV2): object {
  const digest = Buffer.from(hexOf(sha256(Buffer.from(envelope.payload, "base64"))), "hex");
  return {
    ...{ apiVersion: "0.0.2", kind: "dsse" },
    spec: {
      dsseV002: {
        payloadHash: { algorithm: "SHA2_256", digest: digest.toString("base64") },
        signatures: envelope.signatures.map(({ sig }, index) => ({
          content: sig,
          verifier: verifiers[index],
        })),
      },
    },
  };
}

interface ProposedV2 {
  readonly dsseRequestV002: {
    readonly envelope: { readonly payload: string; readonly signatures: readonly { readonly sig: string }[] };
    readonly verifiers: readonly unknown[];
  };
}

const LONG_AGO = { start: "2020-01-01T00:00:00Z" };

function logRoot(baseUrl: string, key: KeyObject): object {
  const spki = key.export({ format: "der", type: "spki" });
  return {
    ...{ baseUrl, hashAlgorithm: "SHA2_256" },
    publicKey: {
      rawBytes: spki.toString("base64"),
      ...{ keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor: LONG_AGO },
    },
    logId: { keyId: Buffer.from(hexOf(sha256(spki)), "hex").toString("base64") },
  };
}

function authority(uri: string, ...chain: readonly ArrayBufferView[]): object {
  const certificates = chain.map(({ buffer: bytes, byteOffset, byteLength }) => ({
    rawBytes: Buffer.from(bytes as ArrayBuffer, byteOffset, byteLength).toString("base64"),
  }));
  return {
    ...{ subject: { organization: "sigstore.mock", commonName: "sigstore" }, uri },
    ...{ certChain: { certificates }, validFor: LONG_AGO },
  };
}

/** A statement, signed by somebody whom this Sigstore certifies, with the signer that farms have. */
export async function certifiedBundle(
  { url }: TestSigstore,
  statement: Statement,
  directory: string,
  { claims, timestamps }: { claims?: Readonly<Record<string, string>>; timestamps?: boolean } = {},
): Promise<string> {
  const path = join(directory, "token");
  await writeFile(path, token(claims));
  const place: KeylessPlace = {
    ...{ kind: "keyless", issuer: ISSUER, subject: SUBJECT, roots: "", fulcio: url },
    ...{ rekor: { url, version: 1 }, token: { kind: "file", path } },
    ...(timestamps === true ? { timestamps: url } : {}),
  };
  await using signer = await openSigner([
    { name: "ci", role: "builder", place, password: { kind: "given", secret: new Secret(""), variable: "" } },
  ]);
  const publicKey = signer.keys.get("ci");
  if (publicKey === undefined) throw new Error("the signer has no key");
  return await signCertified(writeStatement(statement), place, {
    publicKey,
    sign: (request) => signer.sign("ci", request),
  });
}
