import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { FarmError } from "../base/error.ts";
import { AR_HEADER_BYTES, AR_MAGIC, parseArHeader } from "./ar.ts";

const HEADER = Buffer.from("data.tar.xz     1783077600  0     0     100644  1234      `\n");

describe("parseArHeader", () => {
  test("reads what ar(1) writes", async () => {
    const directory = await temporaryDirectory();
    writeFileSync(join(directory, "debian-binary"), "2.0\n");
    writeFileSync(join(directory, "data.tar"), "x".repeat(99));
    execFileSync("ar", ["qc", "archive", "debian-binary", "data.tar"], { cwd: directory });
    const archive = readFileSync(join(directory, "archive"));

    const first = parseArHeader(archive.subarray(AR_MAGIC.length, AR_MAGIC.length + AR_HEADER_BYTES));
    const second = AR_MAGIC.length + AR_HEADER_BYTES + first.size;

    expect(archive.subarray(0, AR_MAGIC.length).toString()).toBe(AR_MAGIC);
    expect(first).toEqual({ name: "debian-binary", size: 4 });
    expect(parseArHeader(archive.subarray(second, second + AR_HEADER_BYTES))).toEqual({
      name: "data.tar",
      size: 99,
    });
  });

  test("reads names as dpkg-deb writes them, without a slash", () => {
    expect(parseArHeader(HEADER)).toEqual({ name: "data.tar.xz", size: 1234 });
  });

  test.each([
    ["too few bytes", HEADER.subarray(1)],
    ["too many bytes", Buffer.concat([Buffer.from("x"), HEADER])],
    ["another end", replaced(58, "x")],
    ["no size", replaced(48, "          ")],
    ["a negative size", replaced(48, "-1        ")],
    ["a size that is no decimal number", replaced(48, "0x10      ")],
    ["a size with something behind it", replaced(48, "12 34     ")],
  ])("refuses %s", (_, header) => {
    expect(() => parseArHeader(header)).toThrow(expect.objectContaining({ code: "PACKAGE_MALFORMED" }));
  });

  test("gives a name and a possible size, or refuses, whatever the bytes", () => {
    const header = fc.tuple(
      fc.uint8Array({ minLength: 58, maxLength: 58 }),
      fc.constantFrom("`\n", "`\n", "ab"),
    );
    fc.assert(
      fc.property(header, ([bytes, end]) => {
        const outcome = attempt(() => parseArHeader(Buffer.concat([bytes, Buffer.from(end)])));

        if (outcome instanceof FarmError) expect(outcome.code).toBe("PACKAGE_MALFORMED");
        else expect(outcome).toMatchObject({ name: expect.any(String), size: expect.any(Number) });
      }),
    );
  });
});

function replaced(at: number, text: string): Buffer {
  const bytes = Buffer.from(HEADER);
  bytes.write(text, at);
  return bytes;
}

function attempt<T>(action: () => T): unknown {
  try {
    return action();
  } catch (thrown) {
    return thrown;
  }
}
