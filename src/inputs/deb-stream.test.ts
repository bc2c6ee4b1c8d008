import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { makeDeb } from "../../test/support/debs.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import type { PackageFile } from "./byte-reader.ts";
import { readDebFiles } from "./deb-stream.ts";

const DIRECTORY = sharedDirectory();
const COMPRESSIONS = ["xz", "zstd", "gzip", "none"] as const;
const FILES = {
  "boot/vmlinuz-6.1.0-56-amd64": randomBytes(300_000),
  "lib/modules/6.1.0-56-amd64/kernel/a.ko": Buffer.from("module a"),
  "lib/modules/6.1.0-56-amd64/kernel/b.ko": Buffer.alloc(0),
  "usr/share/doc/readme": "words".repeat(10_000),
};

const all = () => true;
const never = () => false;
const one = (found: readonly PackageFile[]) => found.length > 0;
const malformed = expect.objectContaining({ code: "PACKAGE_MALFORMED" });

describe.each(COMPRESSIONS)("a package compressed with %s", (compression) => {
  let deb = "";
  beforeAll(async () => {
    deb = await makeDeb(DIRECTORY, "linux-image", FILES, compression);
  });

  test("gives its files with their bytes", async () => {
    const found = await readDebFiles(createReadStream(deb), all, never);

    const contents = Object.fromEntries(found.map(({ path, content }) => [path, content]));
    expect(contents).toEqual(
      Object.fromEntries(Object.entries(FILES).map(([path, content]) => [path, Buffer.from(content)])),
    );
  });

  test("gives only what is wanted, however small its pieces come", async () => {
    const bytes = await readFile(deb);
    const pieces = Readable.from(
      Array.from({ length: Math.ceil(bytes.length / 1009) }, (_, index) =>
        bytes.subarray(index * 1009, (index + 1) * 1009),
      ),
    );

    const found = await readDebFiles(pieces, (path) => path.endsWith(".ko"), never);

    expect(found.map(({ path, content }) => [path.slice(-4), content.toString()])).toEqual([
      ["a.ko", "module a"],
      ["b.ko", ""],
    ]);
  });

  test("keeps what is made of each", async () => {
    const shorter = ({ path, content }: PackageFile) => ({
      path: `${path}.1`,
      content: content.subarray(0, 1),
    });

    const found = await readDebFiles(createReadStream(deb), (path) => path.endsWith("a.ko"), never, shorter);

    expect(found).toEqual([{ path: expect.stringMatching(/a\.ko\.1$/), content: Buffer.from("m") }]);
  });

  test("leaves the rest readable when it has enough", async () => {
    const body = createReadStream(deb, { highWaterMark: 16_384 });

    const found = await readDebFiles(body, all, one);
    const rest = { size: 0 };
    for await (const chunk of body) rest.size += (chunk as Buffer).length;

    expect(found.map(({ path }) => path)).toEqual(["boot/vmlinuz-6.1.0-56-amd64"]);
    expect(body.destroyed).toBe(true);
    expect(body.bytesRead).toBe((await stat(deb)).size);
  });

  test("is refused when it is cut off anywhere", async () => {
    const bytes = await readFile(deb);
    await fc.assert(
      // A single byte may be padding that nobody reads.
      fc.asyncProperty(fc.integer({ min: 0, max: bytes.length - 2 }), async (end) => {
        const cut = Readable.from([bytes.subarray(0, end)]);

        await expect(readDebFiles(cut, all, never)).rejects.toThrow(malformed);
      }),
      { numRuns: 8 },
    );
  });
});

describe("a package that is damaged", () => {
  test.each([
    ["nothing", ""],
    ["something else", "<html><title>404</title></html>"],
    ["an archive without data", `!<arch>\n${"debian-binary".padEnd(48)}4         \`\n2.0\n`],
    ["a damaged member", `!<arch>\n${"data.tar.xz".padEnd(48)}-4        \`\n2.0\n`],
    ["data that is not compressed as it says", `!<arch>\n${"data.tar.xz".padEnd(48)}4         \`\n2.0\n`],
    ["data that is no archive", `!<arch>\n${"data.tar".padEnd(48)}1024      \`\n${"x".repeat(1024)}`],
  ])("is refused: %s", async (_, text) => {
    await expect(readDebFiles(Readable.from([Buffer.from(text)]), all, never)).rejects.toThrow(malformed);
  });

  test("is refused for a wrong checksum at its very end", async () => {
    const bytes = await readFile(await makeDeb(DIRECTORY, "checksum", { a: "content" }, "gzip"));
    // The last eight bytes of gzip are the checksum and the length; a padding byte may follow them.
    const last = bytes.at(-1) === 0x0a ? bytes.length - 2 : bytes.length - 1;
    bytes.writeUInt8((bytes[last - 5] as number) ^ 0xff, last - 5);

    await expect(readDebFiles(Readable.from([bytes]), all, never)).rejects.toThrow(malformed);
  });

  test("gives the fault of the one who brings the bytes as it is", async () => {
    const bytes = await readFile(await makeDeb(DIRECTORY, "fault", FILES));
    const fault = new RangeError("connection lost");
    const failing = Readable.from(
      (async function* () {
        yield bytes.subarray(0, bytes.length / 2);
        throw fault;
      })(),
    );

    await expect(readDebFiles(failing, all, never)).rejects.toThrow(fault);
  });
});
