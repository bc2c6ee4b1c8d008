/** What is read for one CVE says of it what all that there is says. */
import { zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { makeCve } from "../../../test/support/gap.ts";
import { farmWith } from "../../../test/support/stored-farm.ts";
import type { ChangelogEntry } from "../../formats/deb-changelog.ts";
import { Gap } from "../../gap/gap.ts";
import type { Cve, FeedRecord } from "../../gap/records.ts";
import type { Target } from "../../gap/target.ts";
import { compareDebVersions } from "../../kernel/deb-version.ts";
import { putBlob, readBlob } from "../../registry/blobs.ts";
import { packed } from "../../registry/packed.ts";
import type { Store } from "../../registry/stores/store.ts";
import { putIndex, withIndex } from "./cve-index.ts";
import { CHANGELOG, readBook } from "./stored-book.ts";

const SHARED = "Net: a title that two have.";
const CVES = [
  makeCve("CVE-2026-1001", [["5.4", "a", "6.1.170", "b"]], { title: "net: one that was picked" }),
  makeCve("CVE-2026-1002", [["5.4", "a", "6.1.170", "b"]], { title: SHARED }),
  makeCve("CVE-2026-1003", [["5.4", "a", "6.1.170", "b"]], { title: `[x86] ${SHARED.toLowerCase()}` }),
  makeCve("CVE-2026-1004", [["5.4", "a", "6.1.155", "b"]], { title: 'Revert "net: \\"quoted\\""' }),
  makeCve("CVE-2026-1005", [["5.4", "a", "6.1.100", "b"]], { title: "net: what upstream has" }),
  makeCve("CVE-2026-10011", [["5.4", "a", "0", "0"]], { title: "net: an id that begins like another's" }),
];
const OTHERS: FeedRecord[] = [
  { type: "release", version: "6.1.155", day: "2026-06-01" },
  { type: "release", version: "6.1.170", day: "2026-08-01" },
  {
    ...{ type: "advisory", id: "DSA-1", release: "debian12", package: "linux", status: "fixed" },
    ...{ version: "6.1.160-1", cves: ["CVE-2026-1003", "CVE-2026-1002"] },
  },
];
const bullet = (text: string, stable?: string) => (stable === undefined ? { text } : { text, stable });
const ENTRIES: ChangelogEntry[] = [
  {
    ...{ source: "linux", version: "6.1.150-1", suite: "bookworm", day: "2026-07-01", stable: ["6.1.150"] },
    bullets: [
      ...[bullet("net: one that was picked"), bullet(SHARED), bullet('Revert "net: what upstream has"')],
      ...[
        bullet("net: what upstream has", "6.1.150"),
        bullet("a fix (CVE-2026-1004)"),
        bullet("more (CVE-2026-9999)"),
      ],
    ],
  },
];
const TARGET: Target = {
  ...{ name: "debian12", distribution: "debian12", packageVersion: "6.1.150-1", packages: ["linux"] },
  ...{
    proof: "both",
    day: "2026-07-01",
    base: { series: 6_001_000, patch: 150 },
    compareVersions: compareDebVersions,
  },
};

/** Only advisories say anything of it. */
const UNPROVEN: Target = {
  ...{ name: "almalinux9", distribution: "debian12", packageVersion: "6.1.150-1", packages: ["linux"] },
  ...{ proof: "none", day: "2026-07-01", compareVersions: compareDebVersions },
};

async function noteIn(store: Store, name: string, kind: string, text: string, date?: string) {
  const bytes = await packed(text);
  return {
    ...{
      name,
      kind,
      from: "x",
      source: "x",
      at: "2026-08-02T00:00:00.000Z",
      licence: "x",
      records: 1,
      bad: [],
    },
    ...(date === undefined ? {} : { date }),
    content: { digest: await putBlob(store, bytes), size: bytes.length },
  };
}

test.each([
  ["a feed with a day", "2026-08-01", true],
  ["a feed without one, whose day is that of a release", undefined, true],
  ["a feed with a day, and no changelog", "2026-08-01", false],
])("%s", async (_, date, hasChangelog) => {
  const { store } = await farmWith([]);
  const lines = (records: readonly FeedRecord[]) => records.map((one) => `${JSON.stringify(one)}\n`).join("");
  const changelog = { source: "linux", distribution: "debian12", isTrimmed: false, entries: ENTRIES };
  const feeds = [
    await noteIn(store, "cna", "cna", lines(CVES), date),
    await noteIn(store, "others", "compact", lines(OTHERS), date),
    ...(hasChangelog ? [await noteIn(store, "log", CHANGELOG, JSON.stringify(changelog))] : []),
  ];
  const whole = await readBook(store, feeds);
  const all = new Gap(whole);
  const indexed = withIndex(feeds, await putIndex(store, feeds, whole, new Date()));

  for (const id of [...CVES.map((one) => one.id), "CVE-2026-9999", "CVE-2026-1"]) {
    const book = await readBook(store, indexed, id);

    for (const target of [TARGET, UNPROVEN])
      expect([id, new Gap(book).of(id, target)]).toEqual([id, all.ofKernel(target).of(id)]);
    expect([book.size, book.feed, book.releases]).toEqual([whole.size, whole.feed, whole.releases]);
    expect(book.cves.length).toBeLessThanOrEqual(1);
  }
  expect([whole.size, whole.feed]).toEqual([CVES.length, { name: "cna", date: "2026-08-01" }]);
});

/** An index whose cover is nothing, and that has these sheets. */
function withSheets(sheets: readonly unknown[], ...bytes: readonly Buffer[]): Buffer {
  const head = Buffer.from(JSON.stringify({ cover: 0, sheets, missing: [] }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  return Buffer.concat([length, head, ...bytes]);
}

describe("an index by CVE", () => {
  const feedIn = async (store: Store, cves: readonly Cve[]) =>
    noteIn(store, "cna", "cna", cves.map((one) => `${JSON.stringify(one)}\n`).join(""), "2026-08-01");

  test("of other feeds is not looked at: all that these say is read", async () => {
    const { store } = await farmWith([]);
    const [before, after] = [[await feedIn(store, CVES.slice(1))], [await feedIn(store, CVES)]];
    const index = await putIndex(store, before, await readBook(store, before), new Date());

    expect(withIndex(after, index)).toBe(after);
    expect((await readBook(store, [...after, index], CVES[0]?.id)).cve.has("CVE-2026-1001")).toBe(true);
  });

  test("that is damaged, cut, or in no order is not missed: the feeds are read", async () => {
    const { store } = await farmWith([]);
    const feeds = [await feedIn(store, CVES)];
    const index = await putIndex(store, feeds, await readBook(store, feeds), new Date());
    const whole = await readBlob(store, index.content.digest);
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from("none"),
      ...[1, 4, 30, whole.length - 40, whole.length - 1].map((length) => whole.subarray(0, length)),
      Buffer.concat([Buffer.from([255, 255, 255, 255]), whole.subarray(4)]),
      withSheets([
        ["CVE-0", "CVE-9", 1],
        ["CVE-0", "CVE-9", 1],
      ]),
      withSheets([["CVE-9", "CVE-0", 1]]),
    ]) {
      const content = { digest: await putBlob(store, bytes), size: bytes.length };
      const book = await readBook(store, [...feeds, { ...index, content }], "CVE-2026-1001");
      expect(book.cves.map(({ id }) => id)).toEqual(CVES.map(({ id }) => id));
    }
  });

  test("has no more than one sheet unpacked, and that within a limit", async () => {
    const { store } = await farmWith([]);
    const feeds = [await feedIn(store, CVES)];
    const index = await putIndex(store, feeds, await readBook(store, feeds), new Date());
    const bomb = zstdCompressSync(Buffer.alloc(256 << 20));
    const bytes = withSheets([["CVE-0", "CVE-9", bomb.length]], bomb);
    const content = { digest: await putBlob(store, bytes), size: bytes.length };

    expect((await readBook(store, [...feeds, { ...index, content }], "CVE-2026-1001")).size).toBe(
      CVES.length,
    );
  });

  test("leaves out only the CVE that does not fit on a page, and the feeds are read for that one", async () => {
    const { store } = await farmWith([]);
    const advisories = Array.from({ length: 12_000 }, (_, at) => ({
      ...{ type: "advisory", id: `${"x".repeat(200)}${at}`, release: "r".repeat(100), package: "linux" },
      ...{ status: "fixed", version: "1".repeat(100), cves: ["CVE-2026-1001"] },
    }));
    const lines = advisories.map((one) => `${JSON.stringify(one)}\n`).join("");
    const feeds = [await feedIn(store, CVES), await noteIn(store, "osv", "osv", lines)];
    const indexed = withIndex(feeds, await putIndex(store, feeds, await readBook(store, feeds), new Date()));

    const told = await readBook(store, indexed, "CVE-2026-1001");
    const other = await readBook(store, indexed, "CVE-2026-1002");
    expect([told.advisories.length, told.cves.length]).toEqual([12_000, CVES.length]);
    expect([other.advisories.length, other.cves.length]).toEqual([0, 1]);
  });

  test("is not made of feeds that name CVEs without end", async () => {
    const { store } = await farmWith([]);
    const feeds = [await feedIn(store, CVES)];
    const book = await readBook(store, feeds);
    const cves = Array.from({ length: 20_000 }, (_, at) => `CVE-2026-${10_000 + at}`);
    const one = { type: "advisory", id: "a", release: "r", package: "p", status: "affected", cves } as const;
    const many = Array.from({ length: 101 }, () => ({
      ...{ advisory: { ...one, cves: [...cves] }, feed: "osv", date: undefined },
    }));

    await expect(putIndex(store, feeds, { ...book, advisories: many }, new Date())).rejects.toMatchObject({
      code: "REGISTRY_TOO_LARGE",
    });
  });

  test("of very many CVEs has each of them", async () => {
    const { store } = await farmWith([]);
    const cves = Array.from({ length: 200 }, (_, at) =>
      makeCve(`CVE-2026-${2000 + at * 37}`, [["5.4", "a", "6.1.170", "b"]], { title: `net: fix ${at}` }),
    );
    const feeds = [await feedIn(store, cves)];
    const indexed = withIndex(feeds, await putIndex(store, feeds, await readBook(store, feeds), new Date()));

    for (const { id, title } of cves)
      expect((await readBook(store, indexed, id)).cves.map((one) => one.title)).toEqual([title]);
  });
});
