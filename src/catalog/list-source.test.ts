import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeSource } from "../../test/support/kernels.ts";
import { lookAtLists } from "../../test/support/look.ts";
import { startServer } from "../../test/support/server.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { openScratch } from "../base/scratch.ts";
import { EMPTY_CATALOG } from "./catalog.ts";
import { readKernelCrawler } from "./kernel-crawler.ts";
import type { KernelList } from "./kernel-list.ts";
import { askLists, type ListSource, updateFromLists } from "./list-source.ts";
import type { SourceContext } from "./source.ts";

const NOW = { now: new Date("2026-11-23T00:00:00Z") };
const LATER = { now: new Date("2026-11-24T00:00:00Z") };

let context: SourceContext;
let directory: string;

beforeAll(async () => {
  directory = sharedDirectory();
  const cache = join(directory, "cache");
  context = { http: new Http({ retries: 0 }), scratch: await openScratch(join(cache, "tmp")), cache };
});

afterAll(() => context.http.close());

function entry(build: number) {
  const release = `6.1.${build}-1.amzn2023.x86_64`;
  const headers = [`https://mirror.example/kernel-devel-${release}.rpm`];
  return { kernelversion: 1, kernelrelease: release, target: "amazonlinux2023", headers };
}

async function listOf(name: string, builds: readonly number[], more: object[] = []): Promise<ListSource> {
  const place = join(directory, name);
  const text = JSON.stringify({ AmazonLinux2023: [...builds.map(entry), ...more] });
  await writeFile(place, name.endsWith(".gz") ? gzipSync(text) : text);
  return {
    kind: "kernel-crawler",
    isTrusted: false,
    id: "kernel-crawler-x86_64",
    place,
    architecture: "x86_64",
  };
}

describe("a configured list", () => {
  test.each(["list.json", "list.json.gz"])(
    "brings its kernels as %s, one source for each distribution release",
    async (name) => {
      const { catalog, problems } = await lookAtLists(
        EMPTY_CATALOG,
        [await listOf(name, [1, 2])],
        context,
        NOW,
      );

      expect(problems).toEqual([]);
      expect(catalog.kernels.map(({ kversion }) => kversion)).toEqual([
        "6.1.1-1.amzn2023.x86_64",
        "6.1.2-1.amzn2023.x86_64",
      ]);
      expect(catalog.sources).toMatchObject([{ id: "kernel-crawler-x86_64/amazonlinux2023", status: "ok" }]);
    },
  );

  test("that cannot be read makes its kernels stale, loses none, and is a problem", async () => {
    const source = await listOf("gone.json", [1, 2]);
    const before = await lookAtLists(EMPTY_CATALOG, [source], context, NOW);

    const after = await lookAtLists(
      before.catalog,
      [{ ...source, place: join(directory, "nowhere.json") }],
      context,
      LATER,
    );

    expect(after.problems).toMatchObject([
      { source: "kernel-crawler-x86_64", detail: expect.stringContaining("nowhere.json") },
    ]);
    expect(after.catalog.kernels.map(({ staleSince }) => staleSince)).toEqual([
      LATER.now.toISOString(),
      LATER.now.toISOString(),
    ]);
    expect(after.catalog.sources).toMatchObject([{ status: "failed" }]);
  });

  test("that shrinks is suspect by distribution release", async () => {
    const before = await lookAtLists(
      EMPTY_CATALOG,
      [await listOf("full.json", [1, 2, 3, 4, 5])],
      context,
      NOW,
    );

    const after = await lookAtLists(before.catalog, [await listOf("short.json", [1, 2, 3])], context, LATER);

    expect(after.problems).toMatchObject([
      {
        source: "kernel-crawler-x86_64/amazonlinux2023",
        code: "CATALOG_SUSPECT",
        hint: expect.stringContaining("--accept-withdrawals"),
      },
    ]);
    expect(after.catalog.kernels).toHaveLength(5);
    expect(after.sources).toMatchObject([{ status: "suspect", kernels: { x86_64: 5 } }]);
  });

  test("loses whole releases only when a person accepts it", async () => {
    const image = (build: string) => ({
      ...{ target: "flatcar", kernelrelease: `2605.${build}.0`, kernelversion: "1" },
      headers: [`https://mirror.example/amd64-usr/2605.${build}.0/flatcar_developer_container.bin.bz2`],
    });
    const before = await lookAtLists(
      EMPTY_CATALOG,
      [await listOf("images.json", [], ["1", "2", "3"].map(image))],
      context,
      NOW,
    );
    const fewer = [await listOf("fewer.json", [], [image("1")])];

    const doubted = await lookAtLists(before.catalog, fewer, context, LATER);
    const accepted = await lookAtLists(before.catalog, fewer, context, { ...LATER, acceptWithdrawals: true });

    expect(doubted.problems.length).toBeGreaterThan(0);
    expect(accepted.problems).toEqual([]);
    expect(
      accepted.catalog.kernels.filter(({ withdrawnSince }) => withdrawnSince !== undefined),
    ).toHaveLength(2);
  });

  test("warns of entries that are of no use, and takes the others", async () => {
    const source = await listOf("bad.json", [1], [{ kernelrelease: "../../etc", target: 7 }]);

    const { catalog, problems, warnings } = await lookAtLists(EMPTY_CATALOG, [source], context, NOW);

    expect(catalog.kernels).toHaveLength(1);
    expect(problems).toEqual([]);
    expect(warnings).toMatchObject([
      { source: "kernel-crawler-x86_64", count: 1, detail: expect.stringMatching(/^1 entry dropped: /) },
    ]);
  });

  test("has a state of its own while no kernel is known of it", async () => {
    const source = { ...(await listOf("x.json", [])), place: join(directory, "nowhere.json") };

    const { catalog, sources, problems } = await lookAtLists(EMPTY_CATALOG, [source], context, NOW);

    expect(sources).toMatchObject([{ id: "kernel-crawler-x86_64", status: "failed", url: source.place }]);
    expect(problems).toMatchObject([{ detail: `failed: ${source.place} cannot be read (ENOENT)` }]);
    expect(catalog).toEqual(EMPTY_CATALOG);
  });
});

describe("a list that is larger than any", () => {
  async function* lines(entry: (at: number) => string, count: number) {
    yield Buffer.from('{"debian":[');
    for (let at = 0; at < count; at += 1000)
      yield Buffer.from(
        Array.from({ length: 1000 }, (_, more) => `${at + more > 0 ? "," : ""}${entry(at + more)}`).join(""),
      );
    yield Buffer.from("]}");
  }
  const read = (entry: (at: number) => string, count: number) =>
    readKernelCrawler(lines(entry, count), { url: "the list" });
  const refused = (words: RegExp) =>
    expect.objectContaining({ code: "DOCUMENT_INVALID", message: expect.stringMatching(words) });

  test.each([
    ["entries", () => "1", 201_000, /more than 200000 entries/],
    [
      "URLs",
      (at: number) =>
        `{"kernelversion":1,"kernelrelease":"6.${at}","target":"debian","headers":[${'"x",'.repeat(99)}"x"]}`,
      3_001_000 / 1000 + 1000,
      /more than 300000 URLs/,
    ],
    [
      "distribution releases",
      (at: number) =>
        `{"kernelversion":1,"kernelrelease":"6.1.1-1","target":"debian","distro_version":"${at}","headers":["https://m.example/linux-headers-6.1.0-1-amd64_6.1.1-1_amd64.deb"]}`,
      6000,
      /more than 5000 distribution releases/,
    ],
    ["bytes", (at: number) => `"${at}${"x".repeat(4000)}"`, 20_000, /longer than the 67108864 bytes/],
  ])("in %s is refused", async (_, entry, count, words) => {
    await expect(read(entry, count)).rejects.toThrow(refused(words));
  });

  test("of one kernel alone keeps every URL that any of its entries names, once and sorted", async () => {
    const entry = (at: number) =>
      `{"kernelversion":"1","kernelrelease":"6.1.1-1","target":"debian","headers":["https://m${at % 1000}.example/linux-headers-6.1.0-1-amd64_6.1.1-1_amd64.deb"]}`;

    const { kernels } = await read(entry, 20_000);

    expect(kernels).toHaveLength(1);
    const urls = kernels[0]?.crawler?.urls ?? [];
    expect(urls).toHaveLength(999);
    expect(urls).toEqual([...urls].toSorted());
  });

  test("is no reason to keep kernels without end: a catalog has room for so many", async () => {
    const kernel = (at: number) =>
      ({
        distribution: "debian12",
        architecture: "x86_64",
        kversion: `6.${at}`,
        packageVersion: "1",
      }) as never;
    const full = { ...EMPTY_CATALOG, kernels: Array.from({ length: 249_999 }, (_, at) => kernel(at)) };
    const answers = [
      { source: await listOf("two.json", [1, 2]), read: await lookAt(await listOf("two.json", [1, 2])) },
    ];

    const { catalog, problems } = updateFromLists(full, answers, NOW);

    expect(problems.map(({ detail }) => detail)).toEqual([expect.stringContaining("at most 250000")]);
    expect(catalog.kernels).toHaveLength(249_999);
  });

  test("in the catalog too, from many nights, is laid over it in time that grows with it", {
    timeout: 30_000,
  }, async () => {
    const releases = Array.from({ length: 130_000 }, (_, at) =>
      makeSource({ id: `kernel-crawler-x86_64/old${at}`, kind: "kernel-crawler", distribution: `old${at}` }),
    );
    const source = await listOf("one.json", [1]);

    const { sources, problems } = updateFromLists(
      { ...EMPTY_CATALOG, sources: releases },
      [{ source, read: await lookAt(source) }],
      NOW,
    );

    expect(problems).toEqual([]);
    expect(sources).toHaveLength(130_001);
  });

  test("or slower than a source may be is left, and the others go on", async () => {
    const { url } = await startServer((_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(" ".repeat(20_000)), 50);
      response.on("close", () => clearInterval(timer));
    });
    const slow: ListSource = { ...(await listOf("a.json", [1])), id: "slow", place: `${url}/list.json` };

    const answers = await askLists([slow, await listOf("b.json", [1])], { ...context, longestMs: 5000 });

    expect(answers[0]?.read).toMatchObject({ code: "REMOTE_UNAVAILABLE" });
    expect(answers[1]?.read).toMatchObject({ entries: 1 });
  });
});

async function lookAt(source: ListSource) {
  const [answer] = await askLists([source], context);
  return answer?.read as KernelList;
}
