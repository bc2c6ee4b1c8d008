/** Words from outside that every object knows: no table takes them for its own. */
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { decompressed } from "../../src/base/decompress.ts";
import { FarmError } from "../../src/base/error.ts";
import { parseSize } from "../../src/base/size.ts";
import { archive } from "../../src/builder/origins/archive.ts";
import type { OriginContext } from "../../src/builder/origins/origin.ts";
import { changeOf } from "../../src/builder/symptoms/kernel-changes.ts";
import { wordOf } from "../../src/catalog/catalog.ts";
import { readDriverkit } from "../../src/catalog/driverkit.ts";
import { readKernelCrawler } from "../../src/catalog/kernel-crawler.ts";
import { claimOf } from "../../src/check/claims.ts";
import { DEFAULT_POLICY, judge } from "../../src/check/policy.ts";
import { packingOf } from "../../src/formats/compressed-module.ts";
import { parseRepomd } from "../../src/formats/rpm-md.ts";
import { packageFormat } from "../../src/inputs/package-format.ts";
import { dkmsVersion } from "../../src/kernel/distributions/dkms.ts";
import { findRelease, versionOrder } from "../../src/kernel/distributions/index.ts";
import { parseHeaderUrl } from "../../src/kernel/header-file.ts";
import { distributionOfTarget, inferRelease, partsOfRelease } from "../../src/kernel/release-rules.ts";

const WORDS = Object.getOwnPropertyNames(Object.prototype);

/** What an index of a list says, whose every word is the same one. */
const listOf = (word: string) =>
  `{"${word}":[{"kernelversion":"${word}","kernelrelease":"${word}","target":"${word}","headers":["http://m.example/${word}_1_${word}.deb"],"${word}":1}]}`;

const TABLES: readonly (readonly [string, (word: string) => unknown])[] = [
  ["what a compression is undone by", (word) => decompressed(Readable.from([]), `x.${word}`, 100).next()],
  ["formats of packages", (word) => packageFormat({ name: word, version: word, path: `x.${word}` })],
  ["distribution releases", (word) => findRelease(word)],
  ["versions of DKMS", (word) => dkmsVersion(word)],
  [
    "digests of an archive's versions",
    (word) => archive.fetch({ url: "http://m.example/x.tar", sha256: {} }, word, {} as OriginContext),
  ],
  ["orders of versions", (word) => versionOrder(word)("1", "2")],
  ["parts of a release", (word) => partsOfRelease(word)],
  ["targets of lists", (word) => distributionOfTarget(word)],
  ["rules of releases", (word) => inferRelease({ target: word, kversion: word, packageVersion: word })],
  ["URLs of headers", (word) => parseHeaderUrl(`http://m.example/${word}_1_${word}.deb`)],
  ["entries of lists", (word) => readKernelCrawler(Readable.from([Buffer.from(listOf(word))]), { url: "x" })],
  [
    "configurations of driverkit",
    (word) => readDriverkit([{ name: "x", text: `target: ${word}` }], { url: "x" }),
  ],
  [
    "metadata of rpm",
    (word) => parseRepomd(`<repomd><data type="${word}"><${word}>x</${word}></data></repomd>`, "x"),
  ],
  ["units", (word) => parseSize(`1${word}`)],
  ["changes of kernels", (word) => changeOf({ name: word })],
  ["paths of modules", (word) => claimOf(`lib/modules/${word}/${word}.ko.${word}`)],
  ["ways of packing", (word) => packingOf(Buffer.from(word))],
  ["kinds of sources", (word) => wordOf({ kind: word as never })],
  [
    "policies of distributions",
    (word) =>
      judge(
        DEFAULT_POLICY,
        {
          driver: word,
          driverversion: word,
          flavour: word,
          kversion: word,
          distribution: word,
          architecture: "x86_64",
          distributionId: word,
        },
        { verdicts: [] },
        new Date(0),
      ).refusals.length,
  ],
];

describe.each(TABLES)("%s", (_, ask) => {
  test("know no word of an object's own", async () => {
    expect(WORDS).toEqual(expect.arrayContaining(["constructor", "__proto__", "toString", "hasOwnProperty"]));
    // What a word that nobody knows comes to, every other one that is spelt like it must.
    const strange = { plain: await outcome(ask, "zzzzzzzz"), lined: await outcome(ask, "__zzzzzzzz__") };
    for (const word of WORDS)
      expect(await outcome(ask, word), word).toEqual(word.startsWith("_") ? strange.lined : strange.plain);
  });
});

/** A value without the word in it, or the code of the one error; anything else thrown is a fault. */
async function outcome(ask: (word: string) => unknown, word: string): Promise<string> {
  try {
    const value = await ask(word);
    const shown = JSON.stringify(value, (_, one) => (one instanceof Map ? [...one] : one));
    return (shown ?? typeof value).replaceAll(word, "WORD").replaceAll(/"\w+":\{\}/g, "");
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code === "BUG") throw thrown;
    return thrown.code;
  }
}
