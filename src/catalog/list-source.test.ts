import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { lookAtLists } from "../../test/support/look.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { openScratch } from "../base/scratch.ts";
import { EMPTY_CATALOG } from "./catalog.ts";
import type { ListSource } from "./list-source.ts";
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
