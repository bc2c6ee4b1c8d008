import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FarmError } from "../base/error.ts";
import { type PrimaryPackage, parseMetalink, parseMirrorList, parseRepomd, primaryReader } from "./rpm-md.ts";

const A = "a".repeat(64);

describe("parseRepomd", () => {
  test("reads what a repository says of its files", () => {
    const text = `<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1770000000</revision>
  <data type="primary">
    <checksum type="sha256">${A}</checksum>
    <open-checksum type="sha256">b</open-checksum>
    <location href="repodata/x-primary.xml.gz"/>
    <timestamp>1770000001.5</timestamp><size>12</size><open-size>34</open-size>
  </data>
  <data type="updateinfo"><location href="repodata/u.xml"/></data>
</repomd>`;

    const { revision, entries } = parseRepomd(text, "repomd.xml");

    expect(revision).toBe("1770000000");
    expect(entries.get("primary")).toEqual({
      href: "repodata/x-primary.xml.gz",
      checksum: { type: "sha256", value: A },
      openChecksum: { type: "sha256", value: "b" },
      timestamp: 1_770_000_001,
      size: 12,
      openSize: 34,
    });
    expect(entries.get("updateinfo")).toMatchObject({
      href: "repodata/u.xml",
      checksum: undefined,
      size: undefined,
    });
  });

  test("does not take more than a repository has", () => {
    expect(() => parseRepomd(`<repomd>${'<data type="x"/>'.repeat(1001)}</repomd>`, "it")).not.toThrow();
    const many = Array.from({ length: 1001 }, (_, index) => `<data type="${index}"/>`);
    expect(() => parseRepomd(`<repomd>${many.join("")}</repomd>`, "it")).toThrow(/more entries/);
  });
});

describe("lists of mirrors", () => {
  test("are lines that are URLs of web servers", () => {
    const text =
      "# repo = x\r\nhttps://a.example/x/\n\n ftp://b.example\nhttp://c.example/$basearch\nhttp://\nx <http://d>\n";

    expect(parseMirrorList(text)).toEqual(["https://a.example/x/", "http://c.example/$basearch"]);
  });

  test("are metalinks that lead to repomd.xml, with what it may be", () => {
    const text = `<metalink><files><file name="repomd.xml"><verification><hash type="sha1">x</hash><hash type="sha256">${A.toUpperCase()}</hash></verification>
      <mm0:alternates><mm0:alternate><verification><hash type="sha256">${"b".repeat(64)}</hash></verification></mm0:alternate></mm0:alternates>
      <resources><url preference="1">http://a.example/repodata/repomd.xml</url><url preference="9">http://b.example/r/repodata/repomd.xml</url>
      <url preference="99">rsync://c.example/repodata/repomd.xml</url><url>http://d.example/other</url></resources></file></files></metalink>`;

    const { bases, sha256 } = parseMetalink(text, "it");

    expect(bases).toEqual(["http://b.example/r/", "http://a.example/"]);
    expect([...sha256]).toEqual([A, "b".repeat(64)]);
  });
});

describe("primaryReader", () => {
  function read(text: string, wanted = /^kernel/): PrimaryPackage[] {
    const found: PrimaryPackage[] = [];
    const reader = primaryReader("it", wanted, (one) => found.push(one));
    reader.write(Buffer.from(text));
    reader.end();
    return found;
  }
  const entry = (inside: string, name = "kernel-devel") => `<metadata><package type="rpm"><name>${name}</name>
    <arch>x86_64</arch><version epoch="0" ver="6.1" rel="2.el9"/><checksum type="sha256" pkgid="YES">${A}</checksum>
    <description>a kernel</description><size package="7" installed="8" archive="9"/>${inside}</package></metadata>`;

  test("reads a package with what it gives, not with what it wants", () => {
    const inside = `<location xml:base="http://b.example" href="k.rpm"/><format><rpm:license>GPL</rpm:license>
      <rpm:provides><rpm:entry name="kernel-devel-uname-r" flags="EQ" epoch="0" ver="6.1" rel="2.el9.x86_64+rt"/>
      <rpm:entry name="kernel(x)"/><rpm:entry name="e" epoch="3" ver="1"/></rpm:provides>
      <rpm:requires><rpm:entry name="bash" ver="5"/></rpm:requires><file>/usr/src</file></format>`;

    expect(read(entry(inside))).toEqual([
      {
        name: "kernel-devel",
        architecture: "x86_64",
        epoch: "0",
        version: "6.1",
        release: "2.el9",
        sha256: A,
        size: 7,
        href: "k.rpm",
        base: "http://b.example",
        provides: [
          { name: "kernel-devel-uname-r", version: "6.1-2.el9.x86_64+rt" },
          { name: "e", version: "3:1" },
        ],
      },
    ]);
  });

  test("leaves out what nobody wants, and what is not whole", () => {
    expect(read(entry('<location href="k.rpm"/>', "bash"))).toEqual([]);
    expect(read(entry(""))).toEqual([]);
  });

  test("knows no digest but a SHA-256", () => {
    const text = entry('<location href="k.rpm"/>').replace('type="sha256"', 'type="sha"');

    expect(read(text)).toMatchObject([{ name: "kernel-devel" }]);
    expect(read(text)[0]?.sha256).toBeUndefined();
  });

  test("does not take more than a package can give", () => {
    const inside = `<rpm:provides>${'<rpm:entry name="a" ver="1"/>'.repeat(70_000)}</rpm:provides>`;

    expect(() => read(entry(inside))).toThrow(/more entries/);
    const long = `<rpm:provides>${`<rpm:entry name="a" ver="${"1".repeat(900_000)}"/>`.repeat(20)}</rpm:provides>`;
    expect(() => read(entry(long))).toThrow(/more entries/);
    // No place of a package is as long as that.
    expect(read(entry(`<location href="${"k".repeat(2000)}.rpm"/>`))).toEqual([]);
  });

  test("answers anything with packages or one kind of error", () => {
    const words = fc.constantFrom(
      ...[
        "<metadata>",
        "</metadata>",
        "<package>",
        "</package>",
        "<name>kernel</name>",
        "<arch>x86_64</arch>",
      ],
      ...[
        '<version ver="1"/>',
        '<size package="x"/>',
        '<location href="a"/>',
        "<provides>",
        "</provides>",
        '<entry name="a"/>',
      ],
    );

    fc.assert(
      fc.property(fc.array(words), (all) => {
        try {
          read(all.join(""));
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(FarmError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
