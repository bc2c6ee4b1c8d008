import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseParagraph, parseParagraphs, parseRelations, selectParagraphs } from "./deb822.ts";

describe("parseParagraph", () => {
  test("reads fields, their continuation lines, and no comments", () => {
    const text = [
      "Package: linux-headers-6.1.0-56-amd64",
      "# a comment",
      "Version:6.1.170-3",
      "SHA256:",
      " aa 1 main/binary-amd64/Packages",
      "\tbb 2 main/binary-arm64/Packages",
      "Homepage: https://www.kernel.org/",
    ].join("\n");

    const paragraph = parseParagraph(text);

    expect([...paragraph]).toEqual([
      ["Package", "linux-headers-6.1.0-56-amd64"],
      ["Version", "6.1.170-3"],
      ["SHA256", "\naa 1 main/binary-amd64/Packages\nbb 2 main/binary-arm64/Packages"],
      ["Homepage", "https://www.kernel.org/"],
    ]);
  });

  test("skips what is no field, and what continues it", () => {
    const paragraph = parseParagraph(" before anything\nno colon here\n lost\n: no name\n lost\nA: 1");

    expect([...paragraph]).toEqual([["A", "1"]]);
  });

  test("keeps a name like __proto__ as a name", () => {
    expect(parseParagraph("__proto__: x").get("__proto__")).toBe("x");
  });
});

describe("parseParagraphs", () => {
  test("separates at lines that are empty or blank", () => {
    const paragraphs = parseParagraphs("\n\nA: 1\n\nA: 2\n \t\n\n\nA: 3\n");

    expect(paragraphs.map((paragraph) => paragraph.get("A"))).toEqual(["1", "2", "3"]);
  });

  test("gives back what was written, whatever the values", () => {
    const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,8}$/);
    const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/);
    const paragraph = fc.uniqueArray(fc.tuple(name, value), { minLength: 1, selector: ([key]) => key });
    fc.assert(
      fc.property(fc.array(paragraph), (paragraphs) => {
        const text = paragraphs.map((fields) => fields.map(([key, word]) => `${key}: ${word}\n`).join(""));

        expect(parseParagraphs(text.join("\n")).map((fields) => [...fields])).toEqual(paragraphs);
      }),
    );
  });
});

describe("parseRelations", () => {
  test("reads names, bounds, alternatives and architectures", () => {
    const field = "linux-headers-6.1.0-56-common (= 6.1.170-3), gcc-12:any | gcc-11 (>= 11~), libc6 (<<2)";

    const relations = parseRelations(field);

    expect(relations).toEqual([
      [{ name: "linux-headers-6.1.0-56-common", operator: "=", version: "6.1.170-3" }],
      [{ name: "gcc-12" }, { name: "gcc-11", operator: ">=", version: "11~" }],
      [{ name: "libc6", operator: "<<", version: "2" }],
    ]);
  });

  test.each([
    ["nothing", ""],
    ["commas", ", ,"],
    ["no name", "(>= 1), <!nocheck>, <!nodoc>"],
  ])("finds no relation in %s", (_, field) => {
    expect(parseRelations(field)).toEqual([]);
  });
});

describe("selectParagraphs", () => {
  const FIELDS = new Set(["Package", "Version", "Depends"]);
  const INDEX = [
    "Package: linux-headers-6.1.0-56-amd64\nVersion: 1\n",
    "Package: linux-doc\nDescription: about\n Package: linux-headers-not-this\n",
    "Package: busybox-static\nVersion: 2\n",
    "Package: busybox-static-extra\nVersion: 3\n",
    "Package: linux-headers-6.1.0-56-cloud-amd64\nVersion: 4",
  ].join("\n");

  test("takes the paragraphs whose package name has one of the prefixes", async () => {
    const found = await selectParagraphs(
      [Buffer.from(INDEX)],
      ["linux-headers-", "busybox-static\n"],
      FIELDS,
    );

    expect(found.map((paragraph) => paragraph.get("Version"))).toEqual(["1", "2", "4"]);
    expect(found.every((paragraph) => paragraph.size === 2)).toBe(true);
  });

  test("takes the same as one who reads everything, wherever the chunks are cut", async () => {
    const name = fc.constantFrom("linux-a", "linux", "linux-headers-1", "other", "xlinux-headers-1");
    const paragraph = fc.tuple(name, fc.constantFrom("Package: linux-a", "x", ""));
    const prefix = fc.subarray(["linux-", "other\n", "l"]);
    const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(fc.array(paragraph), prefix, cuts, async (paragraphs, prefixes, lengths) => {
        const text = paragraphs.map(([word, more]) => `Package: ${word}\nDepends: ${more}\n`).join("\n");

        const found = await selectParagraphs(chunksOf(text, lengths), prefixes, FIELDS);

        const wanted = parseParagraphs(text).filter((fields) =>
          prefixes.some((word) => `${fields.get("Package")}\n`.startsWith(word)),
        );
        expect(found.map((fields) => [...fields])).toEqual(wanted.map((fields) => [...fields]));
      }),
    );
  });

  test("finds nothing in nothing", async () => {
    expect(await selectParagraphs([], ["linux-"], FIELDS)).toEqual([]);
    expect(await selectParagraphs([Buffer.alloc(0)], ["linux-"], FIELDS)).toEqual([]);
    expect(await selectParagraphs([Buffer.from("Package: ")], ["linux-"], FIELDS)).toEqual([]);
  });

  test("keeps the wanted fields alone, and no more of an index than any archive needs", async () => {
    const [whole] = await selectParagraphs([Buffer.from(INDEX)], ["linux-headers-"], new Set(["Version"]));
    expect([...(whole ?? [])]).toEqual([["Version", "1"]]);

    const one = Buffer.from(`Package: linux-headers-1\nDepends: ${"x".repeat(500_000)}\n\n`);
    const many = Array.from({ length: 100 }, () => one);
    await expect(selectParagraphs(many, ["linux-"], FIELDS)).rejects.toThrow(
      expect.objectContaining({
        code: "REMOTE_UNAVAILABLE",
        message: expect.stringContaining("characters about them"),
      }),
    );
  });

  test("takes what names a package again for a field of the same paragraph", async () => {
    const one = Buffer.from("Package: linux-headers-1\n".repeat(20_000));

    const found = await selectParagraphs([one], ["linux-"], FIELDS);

    expect(found.map((paragraph) => [...paragraph])).toEqual([[["Package", "linux-headers-1"]]]);
  });

  test("gives up on a paragraph without an end", async () => {
    const endless = Array.from({ length: 100 }, () => Buffer.alloc(64 * 1024, "x"));

    await expect(selectParagraphs(endless, ["linux-"], FIELDS)).rejects.toThrow(
      expect.objectContaining({ code: "REMOTE_UNAVAILABLE" }),
    );
  });
});

/** The text in pieces of these lengths, over and over. */
function* chunksOf(text: string, lengths: readonly number[]): Generator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0, piece = 0; at < bytes.length; piece++) {
    const length = lengths[piece % lengths.length] as number;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}
