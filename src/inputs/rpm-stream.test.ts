import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { makeRpm } from "../../test/support/rpms.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { readRpmHeader } from "../formats/rpm.ts";
import type { PackageFile } from "./byte-reader.ts";
import { readRpmFiles } from "./rpm-stream.ts";

const DIRECTORY = sharedDirectory();
const FILES = {
  "lib/modules/5.14.0-427.el9.x86_64/vmlinuz": randomBytes(300_000),
  "lib/modules/5.14.0-427.el9.x86_64/kernel/a.ko": Buffer.from("module a"),
  "lib/modules/5.14.0-427.el9.x86_64/kernel/b.ko": Buffer.alloc(0),
  "usr/share/doc/readme": "words".repeat(10_000),
};

const all = () => true;
const never = () => false;
const malformed = expect.objectContaining({ code: "PACKAGE_MALFORMED" });
const contentsOf = (found: readonly PackageFile[]) =>
  Object.fromEntries(found.map(({ path, content }) => [path, content]));

describe.each(["gzip", "xz", "zstd", "none"] as const)("a package compressed with %s", (compression) => {
  let rpm = "";
  beforeAll(() => {
    rpm = makeRpm(DIRECTORY, `kernel-${compression}`, { files: FILES, compression });
  });

  test("gives its files with their bytes", async () => {
    const found = await readRpmFiles(createReadStream(rpm), all, never);

    expect(contentsOf(found)).toEqual(
      Object.fromEntries(Object.entries(FILES).map(([path, content]) => [path, Buffer.from(content)])),
    );
  });

  test("gives only what is wanted, however small its pieces come", async () => {
    const bytes = readFileSync(rpm);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 997) }, (_, index) =>
      bytes.subarray(index * 997, (index + 1) * 997),
    );

    const found = await readRpmFiles(
      Readable.from(pieces),
      (path) => path.endsWith(".ko"),
      (files) => files.length === 2,
    );

    expect(found.map(({ content }) => content.toString())).toEqual(["module a", ""]);
  });

  test("is refused wherever it is cut off", async () => {
    const bytes = readFileSync(rpm);
    for (const size of [0, 50, 96, 110, 1000, Math.floor(bytes.length / 2), bytes.length - 200]) {
      const cut = Readable.from([bytes.subarray(0, size)]);
      await expect(readRpmFiles(cut, all, never), `${size} bytes`).rejects.toThrow(malformed);
    }
  });
});

describe("a package with links", () => {
  test("gives the content of a file with two names once, and no links", async () => {
    const install = "mkdir -p $R/d; echo one >$R/d/a; ln $R/d/a $R/d/b; ln -s a $R/d/c";
    const rpm = makeRpm(DIRECTORY, "links", { install, list: ["/d"] });

    const found = await readRpmFiles(createReadStream(rpm), all, never);

    expect(found.map(({ path }) => path)).toEqual(["d/a", "d/b"]);
    expect(found.map(({ content }) => content.toString()).toSorted()).toEqual(["", "one\n"]);
  });

  test("gives the same from the short headers of packages that hold very large files", async () => {
    const install = "mkdir -p $R/d; echo one >$R/d/a; ln $R/d/a $R/d/b; ln -s a $R/d/c; echo last >$R/d/e";
    const rpm = readFileSync(makeRpm(DIRECTORY, "short", { install, list: ["/d"], compression: "none" }));
    // Only files beyond 4 GiB make rpmbuild write such headers: the payload is written anew as it would be.
    const start = rpm.indexOf("070701");
    const short = (number: number, content: string) =>
      `07070X${number.toString(16).padStart(8, "0")}\0\0${content}${"\0".repeat((4 - (content.length % 4)) % 4)}`;
    const trailer = rpm.subarray(rpm.lastIndexOf("070701"));
    const entries = [short(0, ""), short(1, ""), short(2, "one\n"), short(3, "a"), short(4, "last\n")];
    const bytes = Buffer.concat([rpm.subarray(0, start), Buffer.from(entries.join("")), trailer]);

    const found = await readRpmFiles(Readable.from([bytes]), all, never);

    expect(contentsOf(found)).toEqual({
      "d/a": Buffer.alloc(0),
      "d/b": Buffer.from("one\n"),
      "d/e": Buffer.from("last\n"),
    });
  });
});

/** More of them: KMODFARM_RUNS=1000. Most start a program or two. */
const RUNS = Number(process.env.KMODFARM_RUNS ?? 60);

describe("hostile bytes", () => {
  test("are refused, whichever of a package are others", async () => {
    const rpm = readFileSync(makeRpm(DIRECTORY, "hostile", { files: { a: "content" } }));
    await fc.assert(
      fc.asyncProperty(fc.nat(rpm.length - 1), fc.integer({ min: 1, max: 255 }), async (at, difference) => {
        const bytes = Buffer.from(rpm);
        bytes[at] = (bytes[at] as number) ^ difference;
        const outcome = await readRpmFiles(Readable.from([bytes]), all, never).catch((thrown) => thrown);
        expect(Array.isArray(outcome) || outcome.code === "PACKAGE_MALFORMED").toBe(true);
      }),
      { numRuns: RUNS },
    );
  });

  test("that claim endless headers are refused before anything is read for them", async () => {
    const rpm = readFileSync(makeRpm(DIRECTORY, "endless", { files: { a: "content" } }));
    rpm.writeUInt32BE(0xffffffff, 96 + 12);

    await expect(readRpmFiles(Readable.from([rpm]), all, never)).rejects.toThrow(malformed);
  });

  test("that name one file of the header again and again are refused at the second time", async () => {
    const rpm = readFileSync(makeRpm(DIRECTORY, "again", { files: { a: "" }, compression: "none" }));
    const front = rpm.subarray(0, rpm.indexOf("070701"));
    const entry = "07070X00000000\0\0";

    await expect(
      readRpmFiles(Readable.from([Buffer.concat([front, Buffer.from(entry.repeat(1000))])]), all, never),
    ).rejects.toThrow(/its payload has a file twice/);
  });

  test("whose payload has more files than the header are refused", async () => {
    const rpm = readFileSync(makeRpm(DIRECTORY, "more", { files: { a: "" }, compression: "none" }));
    const start = rpm.indexOf("070701");
    const entry = rpm.subarray(start, rpm.indexOf("070701", start + 6));

    await expect(
      readRpmFiles(
        Readable.from([Buffer.concat([rpm.subarray(0, start), ...Array(5).fill(entry)])]),
        all,
        never,
      ),
    ).rejects.toThrow(/its payload has more files than its header/);
  });

  test("whose header makes long paths of few bytes are refused before they are made", () => {
    const files = 60_000;
    const table = (values: readonly number[]) => Buffer.from(Uint32Array.from(values).buffer).swap32();
    const parts: [tag: number, type: number, count: number, bytes: Buffer][] = [
      [1028, 4, files, Buffer.alloc(4 * files)],
      [1030, 4, files, table(Array(files).fill(0o100644))],
      [1116, 4, files, Buffer.alloc(4 * files)],
      [1117, 8, files, Buffer.from("f\0".repeat(files))],
      [1118, 8, 1, Buffer.from(`/${"d".repeat(4000)}/\0`)],
    ];
    const index = parts.map(([tag, type, count], at) => {
      const offset = parts.slice(0, at).reduce((sum, [, , , { length }]) => sum + length, 0);
      return table([tag, type, offset, count]);
    });
    const body = Buffer.concat([...index, ...parts.map(([, , , bytes]) => bytes)]);

    expect(() => readRpmHeader(parts.length, body)).toThrow(/its paths are longer than any/);
  });

  test.each(["", "!<arch>\n", "<html>404</html>".repeat(20)])(
    "that are no package are refused: %j",
    async (text) => {
      await expect(readRpmFiles(Readable.from([Buffer.from(text)]), all, never)).rejects.toThrow(malformed);
    },
  );

  test("are what rpm says they are", () => {
    const rpm = makeRpm(DIRECTORY, "oracle", { files: { "usr/x": "content" } });

    expect(execFileSync("rpm", ["-qlp", rpm], { encoding: "utf8" })).toBe("/usr/x\n");
  });
});
