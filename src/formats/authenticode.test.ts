import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { FarmError } from "../base/error.ts";
import { signersOf } from "./authenticode.ts";

const directory = sharedDirectory();
const signed: { program: Buffer; certificate: Buffer; plain: Buffer } = {
  ...{ program: Buffer.alloc(0), certificate: Buffer.alloc(0), plain: Buffer.alloc(0) },
};

/** An EFI program as far as its headers go, with a table of signatures behind it. */
function program(signatures: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(1024);
  head.write("MZ", 0, "latin1");
  head.writeUInt32LE(0x80, 0x3c);
  head.write("PE\0\0", 0x80, "latin1");
  head.writeUInt16LE(0x20b, 0x80 + 24);
  const table = Buffer.concat(
    signatures.map((signature) => {
      const entry = Buffer.alloc(8 + Math.ceil(signature.length / 8) * 8);
      entry.writeUInt32LE(8 + signature.length, 0);
      entry.writeUInt16LE(0x200, 4);
      entry.writeUInt16LE(2, 6);
      signature.copy(entry, 8);
      return entry;
    }),
  );
  if (signatures.length > 0) {
    head.writeUInt32LE(head.length, 0x80 + 24 + 144);
    head.writeUInt32LE(table.length, 0x80 + 24 + 148);
  }
  return Buffer.concat([head, table]);
}

beforeAll(() => {
  const at = (name: string) => join(directory, name);
  const openssl = (...argv: string[]) => execFileSync("openssl", argv, { cwd: directory, stdio: "pipe" });
  writeFileSync(at("content"), "what is signed");
  openssl(
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-subj",
    "/CN=signer",
    "-keyout",
    "key",
    "-out",
    "pem",
  );
  openssl("x509", "-in", "pem", "-outform", "DER", "-out", "der");
  openssl(
    "cms",
    "-sign",
    "-binary",
    "-nodetach",
    "-in",
    "content",
    "-signer",
    "pem",
    "-inkey",
    "key",
    "-outform",
    "DER",
    "-out",
    "cms",
  );
  signed.certificate = readFileSync(at("der"));
  const cms = readFileSync(at("cms"));
  signed.program = program([cms, cms]);
  signed.plain = program([]);
});

describe("signersOf", () => {
  test("has the certificate of each signer once, as OpenSSL put it there", () => {
    expect(signersOf(signed.program, "vmlinuz").map((one) => Buffer.from(one))).toEqual([signed.certificate]);
    expect(signersOf(signed.plain, "vmlinuz")).toEqual([]);
  });

  test.each([
    ["no program", () => Buffer.alloc(2000), /no EFI program/],
    ["a cut program", () => signed.program.subarray(0, 1500), /not inside the file/],
    ["32 bits", () => changed(0x80 + 24, 0x0b, 0x01), /no EFI program/],
    [
      "an entry that is longer than the table",
      () => changed(1024, 0xff, 0xff),
      /list of signatures is damaged/,
    ],
    ["a header outside of the file", () => changed(0x3c, 0xff, 0xff), /no EFI program/],
  ])("refuses %s", (_, make, fault) => {
    expect(() => signersOf(make(), "vmlinuz")).toThrow(fault);
  });

  test("answers any bytes with certificates or one error", () => {
    fc.assert(
      fc.property(
        fc.nat(signed.program.length - 9),
        fc.uint8Array({ minLength: 1, maxLength: 8 }),
        (at, bytes) => {
          try {
            expect(signersOf(changed(at, ...bytes), "vmlinuz").length).toBeLessThan(9);
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(FarmError);
          }
        },
      ),
    );
  });
});

function changed(at: number, ...bytes: number[]): Buffer {
  const copy = Buffer.from(signed.program);
  copy.set(bytes, at);
  return copy;
}
