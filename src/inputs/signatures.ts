/**
 * Reads the signatures of rpm packages as they fly by, and remembers what each is worth. The header is judged by gpgv, with
 * the keys of the releases whose kernels the package belongs to; the payload by its digest in the signed header.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { z } from "zod";
import { markUsed } from "../base/cache.ts";
import { FarmError } from "../base/error.ts";
import { digestOf, hexOf, sha256 } from "../base/json.ts";
import { askGpgv, believedKeys, type KeyContext, type KeySource } from "../catalog/signing-keys.ts";
import { readJson } from "../catalog/source.ts";
import { readGpgStatus, type SignatureSaid } from "../formats/gpg-status.ts";
import {
  checkRpmLead,
  RPM_HEADER_INTRO_BYTES,
  RPM_LEAD_BYTES,
  type RpmIdentity,
  type RpmSignatures,
  readRpmIdentity,
  readRpmSignatures,
  rpmHeaderBytes,
} from "../formats/rpm.ts";
import type { VerifiedPackage } from "../kernel/kernel.ts";
import { ByteReader } from "./byte-reader.ts";
import { packageFormat } from "./package-format.ts";
import { PackageSignature, refused, SignedPackage } from "./package-signature.ts";

export interface SignatureContext extends KeyContext {
  /** Whose signatures may count for a package; none for a package whose signature is not asked. */
  readonly signersOf: (wanted: VerifiedPackage) => readonly KeySource[];
}

/** Raised when what is remembered means something else. */
const MEMORY_VERSION = 1;
const Memory = z.object({ version: z.literal(MEMORY_VERSION), answer: PackageSignature });

/** Digests that rpm's header may name its payload by, as OpenPGP numbers them, and that prove something. */
const STRONG: ReadonlyMap<number, string> = new Map([
  [8, "sha256"],
  [9, "sha384"],
  [10, "sha512"],
]);

export class PackageSignatures {
  readonly #context: SignatureContext;
  /** By their fingerprints: fetched once for as long as this process lives. */
  readonly #keys = new Map<string, Promise<Buffer>>();

  constructor(context: SignatureContext) {
    this.#context = context;
  }

  /** The keys that count for a package. @throws as `believedKeys` */
  async keysFor(wanted: VerifiedPackage, signal?: AbortSignal): Promise<Buffer> {
    const sources = this.#context.signersOf(wanted).map((source) => [nameOf(source), source] as const);
    const distinct = [...new Map(sources)].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const keys = await Promise.all(
      distinct.map(([name, source]) => {
        const known = this.#keys.get(name) ?? believedKeys(source, this.#context, signal);
        this.#keys.set(name, known);
        known.catch(() => this.#keys.delete(name)); // Whoever waits for it hears of it.
        return known;
      }),
    );
    return Buffer.concat(keys);
  }

  /** Whether it has a signature of its own, and anybody's counts. */
  areAsked(wanted: VerifiedPackage): boolean {
    return this.#context.signersOf(wanted).length > 0 && packageFormat(wanted).name === "rpm";
  }

  /** What was found out of these very bytes with these very keys. */
  async recall(wanted: VerifiedPackage, keys: Buffer): Promise<PackageSignature | undefined> {
    const memory = this.#memoryOf(wanted, keys);
    await markUsed(memory);
    return (await readJson(memory, Memory))?.answer;
  }

  /** Reads a package to its end. Remembered is what was found out; its digest must have been right, or be found right. */
  async read(body: Readable, keys: Buffer, signal?: AbortSignal): Promise<PackageSignature> {
    try {
      return await readSignature(body, async (signature, document) => {
        const result = await askGpgv({ keys, signature, document }, this.#context, signal);
        return readGpgStatus(result.stdout);
      });
    } catch (thrown) {
      if (!(thrown instanceof FarmError) || thrown.code !== "PACKAGE_MALFORMED") throw thrown;
      return refused("unreadableSignature", thrown.message);
    }
  }

  async remember(wanted: VerifiedPackage, keys: Buffer, answer: PackageSignature): Promise<void> {
    const memory = { version: MEMORY_VERSION, answer } satisfies z.infer<typeof Memory>;
    await this.#context.scratch.write(this.#memoryOf(wanted, keys), JSON.stringify(memory));
  }

  #memoryOf({ sha256: digest }: VerifiedPackage, keys: Buffer): string {
    return join(this.#context.cache, "signatures", `${digest}-${hexOf(sha256(keys)).slice(0, 16)}.json`);
  }
}

/** Releases of one distribution share their keys. */
function nameOf({ file, urls, fingerprints }: KeySource): string {
  return digestOf([file ?? "", urls, fingerprints]);
}

/** @throws FarmError PACKAGE_MALFORMED for what is no rpm package */
async function readSignature(
  body: Readable,
  ask: (signature: Buffer, document: Buffer) => Promise<SignatureSaid>,
): Promise<PackageSignature> {
  const reader = ByteReader.of(body);
  checkRpmLead(await reader.take(RPM_LEAD_BYTES));
  const { body: signatures, entries: signatureEntries } = await takeHeader(reader);
  await reader.skip((8 - (signatures.length % 8)) % 8);
  const { intro, body: header, entries } = await takeHeader(reader);
  const said = await judgeHeader(readRpmSignatures(signatureEntries, signatures), (signature) =>
    ask(signature, Buffer.concat([intro, header])),
  );
  if (typeof said !== "string") return said;
  const identity = readRpmIdentity(entries, header);
  const payload = await judgePayload(reader, identity);
  if (typeof payload !== "string") return payload;
  const { name, version, architecture, releases } = identity;
  return SignedPackage.parse({
    kind: "signed",
    key: said,
    header: createHash("sha256").update(intro).update(header).digest("hex"),
    payload,
    ...{ name, version, releases, architecture: architecture === "noarch" ? "all" : architecture },
  });
}

async function takeHeader(reader: ByteReader) {
  const intro = await reader.take(RPM_HEADER_INTRO_BYTES);
  const { entries, bytes } = rpmHeaderBytes(intro);
  return { intro, entries, body: await reader.take(bytes) };
}

/** The fingerprint of the key that signed a header, or why none counts. */
async function judgeHeader(
  { overHeader, areLegacy }: RpmSignatures,
  ask: (signature: Buffer) => Promise<SignatureSaid>,
): Promise<string | PackageSignature> {
  const [signature, other] = overHeader;
  if (signature === undefined && areLegacy)
    return refused(
      "legacySignature",
      "only header and payload together are signed, as rpm did it before 4.14",
    );
  if (signature === undefined) return refused("unsigned", "it is not signed");
  if (other !== undefined) return refused("severalSignatures", "its header has several signatures");
  const said = await ask(signature);
  switch (said.kind) {
    case "good":
      if (STRONG.has(said.digestAlgorithm)) return said.key;
      return refused(
        "weakSignature",
        `it is signed with a digest that proves nothing (${said.digestAlgorithm})`,
      );
    case "bad":
      return refused("changedHeader", "its header is not what was signed");
    case "strangeKey":
      return refused("strangeKey", `it is signed with the key ${said.key}, which is not one of its release`);
    case "expired":
      return refused("expiredSignature", `its signature by ${said.key} was made, or is read, after its time`);
    case "revoked":
      return refused("revokedKey", `its key ${said.key} was revoked by its owner`);
    case "several":
      return refused("severalSignatures", "its header has several signatures");
    case "unreadable":
      return refused("unreadableSignature", "its signature cannot be read");
  }
}

/** Reads the rest. The payload's digest, or why it proves nothing. */
async function judgePayload(
  reader: ByteReader,
  { payload }: RpmIdentity,
): Promise<string | PackageSignature> {
  const algorithm = STRONG.get(payload?.algorithm ?? 0);
  if (payload === undefined)
    return refused(
      "legacySignature",
      "its signed header does not name its payload, as rpm did it before 4.14",
    );
  if (algorithm === undefined)
    return refused(
      "weakSignature",
      `its header names its payload by a digest that proves nothing (${payload.algorithm})`,
    );
  const hash = createHash(algorithm);
  for await (const chunk of reader.passAll()) hash.update(chunk);
  if (hash.digest("hex") === payload.digest) return payload.digest;
  return refused("changedPayload", "its payload is not what its signed header says");
}
