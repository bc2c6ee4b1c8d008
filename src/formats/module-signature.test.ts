import { execFileSync } from "node:child_process";
import { randomBytes, verify, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { FarmError } from "../base/error.ts";
import { readCms } from "./cms.ts";
import { splitSignature } from "./module-signature.ts";

const place = mkdtempSync(join(tmpdir(), "signature-"));
afterAll(() => rmSync(place, { recursive: true }));
const CONTENT = Buffer.from("what a module would be");
const openssl = (...argv: readonly string[]) => execFileSync("openssl", argv, { cwd: place, stdio: "pipe" });

/** The record and the marker that `sign-file` puts behind a signature. */
function trailer(type: number, length: number): Buffer {
  const record = Buffer.alloc(12);
  record[2] = type;
  record.writeUInt32BE(length, 8);
  return Buffer.concat([record, Buffer.from("~Module signature appended~\n")]);
}

const appended = (type: number, signature: Uint8Array) =>
  Buffer.concat([CONTENT, signature, trailer(type, signature.length)]);

describe.each([
  ["RSA", ["rsa:2048"], "sha512", "rsa"],
  ["ECDSA", ["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"], "sha256", "ecdsa"],
] as const)("a signature of %s as OpenSSL makes it", (name, key, digest, scheme) => {
  const [keyFile, certificateFile] = [`${name}.key`, `${name}.pem`];
  const subject = ["-subj", `/O=Some & Co/CN=${name}`, "-keyout", keyFile, "-out", certificateFile];
  openssl("req", "-x509", "-nodes", "-newkey", ...key, ...subject);
  writeFileSync(join(place, "content"), CONTENT);
  const certificate = new X509Certificate(readFileSync(join(place, certificateFile)));
  const sign = (...flags: readonly string[]) =>
    openssl(
      ...["cms", "-sign", "-binary", "-nocerts", "-outform", "DER", "-in", "content"],
      ...["-signer", certificateFile, "-inkey", keyFile, "-md", digest, ...flags],
    );

  test("is read, and verifies", () => {
    const split = splitSignature(appended(2, sign("-noattr")), "a.ko");

    expect(Buffer.from(split.content)).toEqual(CONTENT);
    if (split.signature?.kind !== "pkcs7") throw new Error("no PKCS#7");
    const { cms } = split.signature;
    expect(cms).toMatchObject({ digest, scheme });
    expect(cms).not.toHaveProperty("attributes");
    expect("serial" in cms.signer && cms.signer.serial.padStart(40, "0").toUpperCase()).toBe(
      certificate.serialNumber.padStart(40, "0"),
    );
    expect("issuer" in cms.signer && certificate.raw.includes(Buffer.from(cms.signer.issuer))).toBe(true);
    expect(verify(cms.digest, CONTENT, certificate.publicKey, cms.signature)).toBe(true);
    expect(verify(cms.digest, Buffer.from("other"), certificate.publicKey, cms.signature)).toBe(false);
  });

  test("may name its key in place of a certificate", () => {
    const { signer } = readCms(sign("-noattr", "-keyid"), "a.ko");

    expect("keyId" in signer && certificate.raw.includes(Buffer.from(signer.keyId))).toBe(true);
  });

  test("may sign attributes in place of the content", () => {
    const { attributes, signature } = readCms(sign("-nosmimecap"), "a.ko");

    expect(verify(digest, attributes as Uint8Array, certificate.publicKey, signature)).toBe(true);
  });

  test.each([
    [
      "with the certificate in it",
      () =>
        openssl(
          ...`cms -sign -binary -noattr -outform DER -in content -signer ${certificateFile} -inkey ${keyFile}`.split(
            " ",
          ),
        ),
    ],
    ["with the content in it", () => sign("-noattr", "-nodetach")],
    ["of a digest that is no longer taken", () => sign("-noattr", "-md", "sha1")],
    ["with an indefinite length", () => sign("-noattr", "-stream", "-nodetach")],
    ["with something behind it", () => Buffer.concat([sign("-noattr"), Buffer.from([0])])],
  ])("is refused %s", (_, make) => {
    expect(() => readCms(make(), "a.ko")).toThrow(expect.objectContaining({ code: "MODULE_MALFORMED" }));
  });

  test("gives a value or MODULE_MALFORMED for every truncation and every flipped bit", () => {
    const sample = appended(2, sign("-noattr"));
    const isSound = (bytes: Uint8Array) => {
      try {
        splitSignature(bytes, "a.ko");
        return true;
      } catch (thrown) {
        return thrown instanceof FarmError && thrown.code === "MODULE_MALFORMED";
      }
    };
    for (let length = 0; length < sample.length; length++)
      expect(isSound(sample.subarray(0, length))).toBe(true);
    for (let bit = 0; bit < sample.length * 8; bit++) {
      sample[bit >> 3]! ^= 1 << (bit & 7);
      if (!isSound(sample)) throw new Error(`bit ${bit}`);
      sample[bit >> 3]! ^= 1 << (bit & 7);
    }
  });
});

describe("a Merkle proof", () => {
  test("is a position and a hash for each level", () => {
    const [first, second] = [randomBytes(32), randomBytes(32)];
    const split = splitSignature(
      appended(3, Buffer.concat([Buffer.from([0, 0, 1, 2]), first, second])),
      "a.ko",
    );

    expect(split.signature).toMatchObject({ kind: "merkle", position: 258 });
    expect(
      split.signature?.kind === "merkle" && split.signature.siblings.map((one) => Buffer.from(one)),
    ).toEqual([first, second]);
  });

  test.each([4, 35, 37, 4 + 33 * 32])("of %i bytes is refused", (length) => {
    expect(() => splitSignature(appended(3, Buffer.alloc(length)), "a.ko")).toThrow(
      `proof has ${length} bytes`,
    );
  });
});

test("a module without a marker at its very end is not signed", () => {
  expect(splitSignature(CONTENT, "a.ko")).toEqual({ content: CONTENT });
  const more = Buffer.concat([appended(2, Buffer.from([5, 0])), Buffer.from("\n")]);
  expect(splitSignature(more, "a.ko")).toEqual({ content: more });
});
