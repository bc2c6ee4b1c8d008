/**
 * What Sigstore's servers are asked, and what they may answer: certificates (Fulcio's API v2), entries of a log (Rekor's v1 and
 * v2), timestamps. Answers are short, come in time or not at all, and lead nowhere else: what is asked has a token in it.
 */
import { createHash, X509Certificate } from "node:crypto";
import { envelopeToJSON, type TransparencyLogEntry as KnownEntry } from "@sigstore/bundle";
import { TransparencyLogEntry } from "@sigstore/protobuf-specs";
import type { SignatureBundle, VerificationMaterial, Witness } from "@sigstore/sign";
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import { Http } from "../base/http.ts";
import { oneLine } from "../base/visible.ts";
import type { KeylessPlace } from "./keys/keyless.ts";

const LIMIT_BYTES = 256 * 1024;
const PATIENCE = { retries: 3, firstDelayMs: 1000, silenceMs: 10_000, slowMs: 20_000, longestMs: 90_000 };
const MOST_SAID = 300;

const Base64 = z.base64().max(64 * 1024);
const Hex = z
  .string()
  .regex(/^([0-9a-f]{2})+$/)
  .max(128);
const Chain = z.object({
  chain: z.object({
    certificates: z
      .array(z.string().max(16 * 1024))
      .min(1)
      .max(8),
  }),
});
const Certified = z.union([
  z.object({ signedCertificateEmbeddedSct: Chain }).transform((one) => one.signedCertificateEmbeddedSct),
  z.object({ signedCertificateDetachedSct: Chain }).transform((one) => one.signedCertificateDetachedSct),
]);
const Entries = z
  .record(
    z.string(),
    z.object({
      body: Base64,
      integratedTime: z.int(),
      logID: Hex,
      logIndex: z.int(),
      verification: z.object({
        signedEntryTimestamp: Base64.optional(),
        inclusionProof: z
          .object({
            logIndex: z.int(),
            treeSize: z.int(),
            rootHash: Hex,
            hashes: z.array(Hex).max(64),
            checkpoint: z.string().max(8192),
          })
          .optional(),
      }),
    }),
  )
  .transform((all) => Object.values(all));
const Body = z.object({ kind: z.string().max(100), apiVersion: z.string().max(100) });
const Token = z.object({ value: z.string().max(16 * 1024) });

export class SigstoreServers implements AsyncDisposable {
  readonly #place: KeylessPlace;
  readonly #http: Http;

  constructor(place: KeylessPlace) {
    const { fulcio, rekor, timestamps, token } = place;
    this.#place = place;
    // The person named them: they may be anywhere.
    const named = [fulcio, rekor?.url, timestamps, token.kind === "github" ? token.url : undefined];
    this.#http = new Http({ ...PATIENCE, own: named.filter((one) => one !== undefined) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http.close();
  }

  /** GitHub's token of the job that runs. @throws FarmError REMOTE_UNAVAILABLE */
  async tokenOfJob(url: string, bearer: string, audience: string): Promise<string> {
    const asked = new URL(url);
    asked.searchParams.set("audience", audience);
    const headers = { accept: "application/json", authorization: `Bearer ${bearer}` };
    const answer = await this.#http.exchange(asked.href, { headers }, LIMIT_BYTES);
    return this.#read(Token, answer, url, [bearer]).value;
  }

  /** The certificate of a key, in PEM. @throws FarmError KEY_LOCKED for a token that is no longer good, REMOTE_UNAVAILABLE */
  async certify(token: string, publicKey: string, proof: Uint8Array): Promise<string> {
    const { fulcio } = this.#place;
    const answer = await this.#post(`${fulcio}/api/v2/signingCert`, {
      credentials: { oidcIdentityToken: token },
      publicKeyRequest: {
        publicKey: { algorithm: "ECDSA", content: publicKey },
        proofOfPossession: Buffer.from(proof).toString("base64"),
      },
    });
    if ([400, 401, 403].includes(answer.status))
      throw new FarmError("KEY_LOCKED", {
        detail: `${fulcio} gives no certificate for the token: ${saidIn(answer, [token])}`,
        hint: "A token must be fresh, and made for the audience that the authority expects (`audience`).",
      });
    const { certificates } = this.#read(Certified, answer, fulcio, [token]).chain;
    return certificates[0] ?? "";
  }

  /** Who says when something was signed: the log, the clock, or both. */
  witnesses(): Witness[] {
    const { rekor, timestamps } = this.#place;
    return [
      ...(rekor === undefined
        ? []
        : [
            {
              testify: (content: SignatureBundle, certificate: string) =>
                this.#log(rekor, content, certificate),
            },
          ]),
      ...(timestamps === undefined
        ? []
        : [{ testify: (content: SignatureBundle) => this.#stamp(timestamps, content) }]),
    ];
  }

  async #log(
    { url, version }: { readonly url: string; readonly version: 1 | 2 },
    content: SignatureBundle,
    certificate: string,
  ): Promise<VerificationMaterial> {
    if (content.$case !== "dsseEnvelope")
      throw new FarmError("BUG", { detail: "only statements are logged" });
    const envelope = envelopeToJSON(content.dsseEnvelope);
    if (version === 2) {
      const verifier = {
        keyDetails: "PKIX_ECDSA_P256_SHA_256",
        x509Certificate: { rawBytes: new X509Certificate(certificate).raw.toString("base64") },
      };
      const answer = await this.#post(`${url}/api/v2/log/entries`, {
        dsseRequestV002: { envelope, verifiers: [verifier] },
      });
      const { logId, kindVersion, ...entry } = TransparencyLogEntry.fromJSON(
        this.#read(z.json(), answer, url),
      );
      if (logId === undefined || kindVersion === undefined) throw unusable(url, "its entry names no log");
      return { tlogEntries: [{ ...entry, logId, kindVersion }] };
    }
    const verifiers = [Buffer.from(certificate).toString("base64")];
    const answer = await this.#post(`${url}/api/v1/log/entries`, {
      ...{ apiVersion: "0.0.1", kind: "dsse" },
      spec: { proposedContent: { envelope: JSON.stringify(envelope), verifiers } },
    });
    const [entry, ...others] = this.#read(Entries, answer, url);
    if (entry === undefined || others.length > 0) throw unusable(url, "it answers with other than one entry");
    return { tlogEntries: [logEntry(entry, url)] };
  }

  async #stamp(url: string, content: SignatureBundle): Promise<VerificationMaterial> {
    if (content.$case !== "dsseEnvelope")
      throw new FarmError("BUG", { detail: "only statements are stamped" });
    const signature = content.dsseEnvelope.signatures[0]?.sig ?? Buffer.alloc(0);
    const place = new URL(url).pathname === "/" ? `${url}/api/v1/timestamp` : url;
    const answer = await this.#post(place, {
      artifactHash: createHash("sha256").update(signature).digest("base64"),
      hashAlgorithm: "sha256",
    });
    if (answer.status < 200 || answer.status > 299) throw unusable(url, saidIn(answer));
    return { rfc3161Timestamps: [{ signedTimestamp: answer.bytes }] };
  }

  #post(url: string, document: unknown): Promise<Answer> {
    const headers = { "content-type": "application/json", accept: "application/json" };
    return this.#http.exchange(url, { posted: Buffer.from(JSON.stringify(document)), headers }, LIMIT_BYTES);
  }

  #read<T>(type: z.ZodType<T>, answer: Answer, url: string, secrets: readonly string[] = []): T {
    if (answer.status < 200 || answer.status > 299) throw unusable(url, saidIn(answer, secrets));
    const parsed = type.safeParse(jsonIn(answer.bytes));
    if (parsed.success) return parsed.data;
    throw unusable(url, "its answer is not of the form that it should have");
  }
}

interface Answer {
  readonly status: number;
  readonly bytes: Buffer;
}

function logEntry(
  { body, integratedTime, logID, logIndex, verification }: z.output<typeof Entries>[number],
  url: string,
): KnownEntry {
  const { signedEntryTimestamp, inclusionProof: proof } = verification;
  const kind = Body.safeParse(jsonIn(Buffer.from(body, "base64")));
  if (!kind.success) throw unusable(url, "its entry is not of the form that it should have");
  return {
    ...{ logIndex: `${logIndex}`, logId: { keyId: Buffer.from(logID, "hex") } },
    ...{ integratedTime: `${integratedTime}`, canonicalizedBody: Buffer.from(body, "base64") },
    kindVersion: { kind: kind.data.kind, version: kind.data.apiVersion },
    inclusionPromise:
      signedEntryTimestamp === undefined
        ? undefined
        : { signedEntryTimestamp: Buffer.from(signedEntryTimestamp, "base64") },
    inclusionProof: proof && {
      ...{ logIndex: `${proof.logIndex}`, treeSize: `${proof.treeSize}` },
      rootHash: Buffer.from(proof.rootHash, "hex"),
      hashes: proof.hashes.map((hash) => Buffer.from(hash, "hex")),
      checkpoint: { envelope: proof.checkpoint },
    },
  };
}

function jsonIn(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

/** A server's words, without what it was told in confidence. */
function saidIn({ status, bytes }: Answer, secrets: readonly string[] = []): string {
  const { message } = (jsonIn(bytes) ?? {}) as { message?: unknown };
  const said = typeof message === "string" ? message : "";
  const parts = secrets.flatMap((secret) => [secret, ...secret.split(".")]).filter((part) => part.length > 8);
  const safe = parts.reduce((text, part) => text.replaceAll(part, "***"), said);
  return `HTTP ${status}${safe === "" ? "" : `, ${oneLine(safe).slice(0, MOST_SAID)}`}`;
}

function unusable(url: string, fact: string): FarmError {
  return new FarmError("REMOTE_UNAVAILABLE", { about: url, detail: fact, at: { url } });
}
