import { execFileSync } from "node:child_process";
import { createHash, createPrivateKey, sign, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { readSigner } from "../check/signature.ts";
import { readCms } from "./cms.ts";
import { writeCms } from "./cms-write.ts";
import { readDerValue, readObjectIdentifier, readPositiveInteger } from "./der.ts";
import { writeDer, writeObjectIdentifier, writePositiveInteger } from "./der-write.ts";
import { signatureTrailer, splitSignature } from "./module-signature.ts";

const place = sharedDirectory();
const openssl = (...argv: readonly string[]) => execFileSync("openssl", argv, { cwd: place, stdio: "pipe" });
const CONTENT = Buffer.from("what a module would be");

describe("DER that is written", () => {
  test("is what is read", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.uint8Array({ maxLength: 70_000 }), (tag, content) => {
        const written = writeDer(tag, content);

        expect(readDerValue(written, 0, "x")).toMatchObject({ tag, whole: written });
        expect(Buffer.compare(readDerValue(written, 0, "x").content, content)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test("has numbers and names as they are read", () => {
    const number = fc.bigInt({ min: 1n, max: 2n ** 200n }).map((value) => value.toString(16));
    const even = (hex: string) => (hex.length % 2 === 0 ? hex : `0${hex}`);
    fc.assert(
      fc.property(number, (hex) => {
        expect(readPositiveInteger(readDerValue(writePositiveInteger(hex), 0, "x"), "x")).toBe(even(hex));
      }),
    );
    const name = fc.tuple(fc.nat(2), fc.nat(39), fc.array(fc.nat(2 ** 31), { maxLength: 9 }));
    fc.assert(
      fc.property(name, ([first, second, rest]) => {
        const words = [first, second, ...rest].join(".");

        expect(readObjectIdentifier(readDerValue(writeObjectIdentifier(words), 0, "x"), "x")).toBe(words);
      }),
    );
  });
});

describe.each([
  ["rsa", ["rsa:3072"]],
  ["ecdsa", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]],
] as const)("a signature of %s", (scheme, key) => {
  const [keyFile, certificateFile] = [`${scheme}.key`, `${scheme}.pem`];
  const made = ["-subj", `/O=Some & Co/CN=${scheme}`, "-keyout", keyFile, "-out", certificateFile];
  openssl("req", "-x509", "-nodes", "-newkey", ...key, ...made);
  writeFileSync(join(place, "content"), CONTENT);
  const { raw } = new X509Certificate(readFileSync(join(place, certificateFile)));
  const { issuer, serial } = readSigner(raw, "x");
  const privateKey = createPrivateKey(readFileSync(join(place, keyFile)));
  const signature = sign("sha256", CONTENT, privateKey);
  const ours = writeCms({ issuer, serial, scheme, signature });

  test("is read as what it was written from", () => {
    expect(readCms(ours, "x")).toEqual({ signer: { issuer, serial }, digest: "sha256", scheme, signature });
  });

  test("is verified by OpenSSL, over its content and no other", () => {
    writeFileSync(join(place, "ours.der"), ours);
    writeFileSync(join(place, "other"), "another module");
    const verify = (content: string) =>
      openssl(
        ...["cms", "-verify", "-binary", "-inform", "DER", "-in", "ours.der", "-content", content],
        ...["-certfile", certificateFile, "-noverify", "-nointern"],
      );

    expect(verify("content")).toEqual(CONTENT);
    expect(() => verify("other")).toThrow();
  });

  test("has the bytes that OpenSSL writes around the same signature", () => {
    const theirs = openssl(
      ...["cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", "-outform", "DER"],
      ...["-in", "content", "-signer", certificateFile, "-inkey", keyFile, "-md", "sha256"],
    );
    const signed = readCms(theirs, "x");

    expect(writeCms({ issuer, serial, scheme, signature: signed.signature })).toEqual(theirs);
  });

  test("makes a signed module with what follows it", () => {
    const split = splitSignature(Buffer.concat([CONTENT, ours, signatureTrailer(ours)]), "x");

    expect(split.content).toEqual(CONTENT);
    expect(split.signature).toMatchObject({ kind: "pkcs7", bytes: ours });
    expect(createHash("sha256").update(split.content).digest()).toEqual(
      createHash("sha256").update(CONTENT).digest(),
    );
  });
});
