import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { startServer } from "../../../test/support/server.ts";
import { farmWith } from "../../../test/support/stored-farm.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { Http } from "../../base/http.ts";
import { blobPath } from "../../registry/blobs.ts";
import { contentsOf } from "../../registry/contents.ts";
import { readPublished } from "../../registry/generations.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import type { Store } from "../../registry/stores/store.ts";
import type { Farm } from "../open.ts";
import { BY_CVE } from "./cve-index.ts";
import { ingest } from "./feeds.ts";
import { readBook } from "./stored-book.ts";

const SHA = "a".repeat(40);
const cve = (number: number, published = "2026-08-20") =>
  JSON.stringify({
    id: `CVE-2026-${1000 + number}`,
    published,
    title: "t",
    fix: [SHA],
    pairs: [["6.1", SHA, "6.1.9", SHA]],
    files: ["a.c"],
  });
const cves = (count: number, published?: string) =>
  Array.from({ length: count }, (_, at) => cve(at, published)).join("\n");

const AT = new Date("2026-11-27T00:00:00Z");
const options = { by: "ann", now: () => AT, say: () => {}, signal: new AbortController().signal };

async function feedWith(text: string) {
  const from = join(await temporaryDirectory(), "cves.ndjson");
  await writeFile(from, text);
  const write = (other: string) => writeFile(from, other);
  return { feed: { kind: "compact", from }, write };
}

const resultsOf = async (farm: Farm, ...given: Parameters<typeof ingest>[1]) => {
  const { answers } = await ingest(farm, given, options);
  return answers.map(({ result, error }) =>
    [result, error?.code ?? error?.message].filter((one) => one !== undefined),
  );
};

const namesIn = async ({ store }: Farm) =>
  (await readPublished(store)).feeds.filter(({ kind }) => kind !== BY_CVE).map(({ name }) => name);

const aboutFirst = async ({ store }: Farm) =>
  readBook(store, (await readPublished(store)).feeds, "CVE-2026-1000");

describe("a feed", () => {
  test("is kept with where it is from, its own date, and what of it was bad", async () => {
    const farm = await farmWith([]);
    const { feed } = await feedWith(`${cves(3)}\nnonsense\n${cve(0)}\n`);

    await ingest(farm, [feed], options);

    const { feeds } = await readPublished(farm.store);
    expect(feeds).toMatchObject([
      {
        name: "compact",
        kind: "compact",
        from: feed.from,
        at: AT.toISOString(),
        date: "2026-08-20",
        records: 3,
      },
      { kind: BY_CVE, records: 3 },
    ]);
    expect(feeds[0]?.bad.map(({ count }) => count)).toEqual([1, 1]);
    expect((await readBook(farm.store, feeds)).cves).toHaveLength(3);
    const { named } = await contentsOf(farm.store, 1);
    expect([...named.values()].map(({ by }) => by).join("\n")).toContain("feed compact");
  });

  test("that says the same publishes nothing", async () => {
    const farm = await farmWith([]);
    const { feed, write } = await feedWith(cves(3));
    const first = await ingest(farm, [feed], options);

    const same = await ingest(farm, [feed], options);
    await write(cves(4));
    const more = await ingest(farm, [feed], options);

    expect([first, same, more].map(({ answers, generation }) => [answers[0]?.result, generation])).toEqual([
      ["read", first.generation],
      ["unchanged", first.generation],
      ["read", first.generation + 1],
    ]);
  });

  test.each([
    ["lost records", cves(90), /lost 10 of its 100 records/],
    ["went back in time", cves(100, "2026-08-01"), /went back in time, from 2026-08-20 to 2026-08-01/],
    ["comes from the future", cves(101, "2027-01-01"), /still to come/],
    ["says nothing", "nonsense\n", /no records/],
  ])("that %s is suspect, and what it said before stays", async (_, text, words) => {
    const farm = await farmWith([]);
    const { feed, write } = await feedWith(cves(100));
    await ingest(farm, [feed], options);
    const before = await readPublished(farm.store);
    await write(text);

    const { answers } = await ingest(farm, [feed], options);

    expect(answers).toMatchObject([
      { result: "suspect", error: { code: "FEED_SUSPECT", message: expect.stringMatching(words) } },
    ]);
    expect((await readPublished(farm.store)).feeds).toEqual(before.feeds);
    const accepted = await ingest(farm, [feed], { ...options, acceptsSuspects: true });
    expect(accepted.answers[0]?.result).toBe("read");
  });

  test("that fails costs no other one anything", async () => {
    const farm = await farmWith([]);
    const { feed } = await feedWith(cves(3));
    const gone = { kind: "kev", from: "/nonexistent/kev.json" };

    expect(await resultsOf(farm, gone, feed)).toEqual([["failed", "FILE_UNREADABLE"], ["read"]]);
    expect(await namesIn(farm)).toEqual(["compact"]);
  });

  test("that keeps its reader busy is given up, and the next one is read", async () => {
    const farm = await farmWith([]);
    const { feed } = await feedWith(cves(3));
    const busy = join(await temporaryDirectory(), "busy");
    await mkdir(busy);
    const branches = "{},".repeat(100_000);
    const text = `{"document":{"tracking":{"id":"x"}},"product_tree":{"branches":[${branches}{}]}}`;
    for (let number = 0; number < 100; number++) await writeFile(join(busy, `${number}.json`), text);
    const first = { name: "busy", kind: "csaf-vex", from: busy };

    const { answers } = await ingest(farm, [first, feed], { ...options, longestMs: 300 });

    const message = expect.stringMatching(/the feed busy was not read within 0 minutes/);
    expect(answers).toMatchObject([{ result: "failed", error: { message } }, { result: "read" }]);
  });

  test("is published although somebody ends what reads the next one", async () => {
    const farm = await farmWith([]);
    const { feed } = await feedWith(cves(3));
    const ending = new AbortController();
    const server = await startServer(() => ending.abort());
    const next = { name: "next", kind: "compact", from: `${server.url}/cves.ndjson` };
    const http = new Http({ retries: 0, own: ["127.0.0.1"] });

    const ended = ingest({ ...farm, http }, [feed, next], { ...options, signal: ending.signal });

    await expect(ended).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(await namesIn(farm)).toEqual(["compact"]);
  });

  test("is found by each of its CVEs, without all others, as soon as it is read", async () => {
    const farm = await farmWith([]);
    const { feed, write } = await feedWith(cves(3));
    await ingest(farm, [feed], options);
    await write(cves(5));
    await ingest(farm, [feed], options);

    const { feeds } = await readPublished(farm.store);
    const { cves: found, size } = await readBook(farm.store, feeds, "CVE-2026-1004");
    expect([found.map(({ id }) => id), size]).toEqual([["CVE-2026-1004"], 5]);
    expect(feeds.filter(({ kind }) => kind === BY_CVE)).toHaveLength(1);
  });

  test("is published although the store lost what another one said; all is found once that is read again", async () => {
    const farm = await farmWith([]);
    const [one, other] = [await feedWith(cves(3)), await feedWith(cves(5))];
    const feeds = [one, other].map(({ feed }, at) => ({ ...feed, name: `feed${at}` }));
    await ingest(farm, feeds, options);
    const lost = (await readPublished(farm.store)).feeds[0]?.content.digest ?? "";
    await farm.store.remove(blobPath(lost));
    await other.write(cves(6));
    await ingest(farm, feeds, options);
    expect((await readPublished(farm.store)).feeds.map(({ records }) => records)).toContain(6);
    await expect(aboutFirst(farm)).rejects.toMatchObject({ code: "STORE_CORRUPT" });

    await one.write(cves(4));
    await ingest(farm, feeds, options);
    expect((await aboutFirst(farm)).size).toBe(6);
  });

  test("is there whole, or as it was, wherever the writing of it ends", async () => {
    const { feed, write } = await feedWith(cves(3));
    for (let writes = 0; ; writes++) {
      await write(cves(3));
      const farm = await farmWith([]);
      await ingest(farm, [feed], options);
      await write(cves(4));
      let left = writes;
      const dying = new Proxy(farm.store, {
        get(target, name: keyof Store) {
          const member = target[name];
          if (typeof member !== "function") return member;
          return (...given: unknown[]) => {
            if (["create", "write"].includes(name) && left-- <= 0) throw new Error("killed");
            return (member as (...all: unknown[]) => unknown).apply(target, given);
          };
        },
      });
      const isDone = await ingest({ ...farm, store: dying }, [feed], options).then(
        ({ answers }) => answers[0]?.result === "read",
        () => false,
      );

      const { feeds } = await readPublished(await openFolderStore(farm.store.place));
      expect((await readBook(farm.store, feeds)).cves.length).toBe(feeds[0]?.records);
      const again = await ingest(farm, [feed], options);
      expect(again.answers[0]?.note?.records).toBe(4);
      if (isDone) break;
      expect(writes).toBeLessThan(20);
    }
  }, 60_000);
});
