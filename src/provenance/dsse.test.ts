import { createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Envelope, envelopeOf, preAuthEncoding, signersOf } from "./dsse.ts";
import { publicKeyOf } from "./public-key.ts";

interface Vector {
  readonly id: string;
  readonly envelope: Parameters<typeof envelopeOf>[0];
  readonly trustedKeys: readonly string[];
  readonly threshold: number;
  readonly supportedPayloadTypes: readonly string[];
  readonly pae: string;
  readonly expect: "accept" | "reject";
}
const { keys, vectors } = JSON.parse(
  readFileSync(new URL("../../test/fixtures/dsse/vectors.json", import.meta.url), "utf8"),
) as {
  readonly keys: Readonly<Record<string, { readonly public: string }>>;
  readonly vectors: readonly Vector[];
};

/** RFC 8410: the SPKI of an Ed25519 key is this and its 32 bytes. */
const ED25519 = "302a300506032b6570032100";
const keyNamed = (name: string) =>
  publicKeyOf(
    createPublicKey({
      key: Buffer.from(`${ED25519}${keys[name]?.public}`, "hex"),
      format: "der",
      type: "spki",
    }),
    name,
  );

describe("DSSE's test vectors", () => {
  test("are there", () => expect(vectors.length).toBe(12));

  test.each(vectors.map((vector) => ({ name: vector.id, vector })))("$name", ({ vector }) => {
    const envelope = envelopeOf(vector.envelope, vector.id);
    const signers = signersOf(envelope, vector.trustedKeys.map(keyNamed));
    const isAccepted =
      signers.length >= vector.threshold && vector.supportedPayloadTypes.includes(envelope.payloadType);

    if (vector.expect === "accept")
      expect(preAuthEncoding(envelope.payloadType, envelope.payload).toString("hex")).toBe(vector.pae);
    expect(isAccepted ? "accept" : "reject").toBe(vector.expect);
  });
});

const pairs = {
  p256: generateKeyPairSync("ec", { namedCurve: "prime256v1" }),
  p384: generateKeyPairSync("ec", { namedCurve: "secp384r1" }),
  ed25519: generateKeyPairSync("ed25519"),
  rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
};
const DIGESTS = { p256: "sha256", p384: "sha384", ed25519: null, rsa: "sha256" } as const;

describe("a signature", () => {
  test.each(Object.keys(pairs) as (keyof typeof pairs)[])("of %s counts for its key alone", (kind) => {
    const payload = Buffer.from("{}");
    const signed = preAuthEncoding("type", payload);
    const signature = sign(DIGESTS[kind], signed, pairs[kind].privateKey);
    const envelope: Envelope = { payloadType: "type", payload, signatures: [signature] };
    const all = Object.values(pairs).map(({ publicKey }) => publicKeyOf(publicKey, "test"));

    expect(signersOf(envelope, [...all, ...all]).map((one) => one.kind)).toEqual([kind]);
    for (let at = 0; at < signature.length; at++) {
      const other = Buffer.from(signature);
      other[at] = (other[at] ?? 0) ^ 1;
      expect(signersOf({ ...envelope, signatures: [other] }, all)).toEqual([]);
    }
    expect(signersOf({ ...envelope, signatures: [Buffer.concat([signature, Buffer.of(0)])] }, all)).toEqual(
      [],
    );
    expect(signersOf({ ...envelope, payloadType: "typf" }, all)).toEqual([]);
    expect(signersOf({ ...envelope, payload: Buffer.from("{ }") }, all)).toEqual([]);
  });

  test("is over a form that no other type and payload have", () => {
    const part = fc.string({ unit: fc.constantFrom("D", " ", "1", "é", "0") });

    fc.assert(
      fc.property(part, part, part, part, (type, body, otherType, otherBody) => {
        const isSame = type === otherType && body === otherBody;
        expect(preAuthEncoding(type, body).equals(preAuthEncoding(otherType, otherBody))).toBe(isSame);
      }),
      { numRuns: 2000 },
    );
  });

  test.each(["a", "YQ", "YR==", "YQ=", "Y Q=", "YQ==\n", "-_+/", "é"])("is not read from %j", (payload) => {
    expect(() => envelopeOf({ payload, payloadType: "", signatures: [] }, "x")).toThrow(
      expect.objectContaining({ code: "PROVENANCE_MALFORMED" }),
    );
  });
});
