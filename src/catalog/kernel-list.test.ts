import { describe, expect, test } from "vitest";
import { makeKernel, makePackage, makeSource } from "../../test/support/kernels.ts";
import { importList } from "../../test/support/lists.ts";
import { type Catalog, EMPTY_CATALOG } from "./catalog.ts";
import { architectureOfPlace, formatChangesOf, ListCollector } from "./kernel-list.ts";
import { diffLists } from "./list-diff.ts";
import type { ListEntry } from "./list-entry.ts";

const URL_BASE = "https://mirror.example";

function rpm(release: string, changes: Partial<ListEntry> & { name?: string } = {}): ListEntry {
  const { name = "kernel-devel", ...rest } = changes;
  const file = release.startsWith("4.19") ? `${release}.x86_64` : release;
  return {
    ...{ target: "fedora", kernelrelease: file, kernelversion: "1" },
    headers: [`${URL_BASE}/a/${name}-${file}.rpm`],
    ...rest,
  };
}

function listOf(...entries: readonly ListEntry[]) {
  const collector = new ListCollector({ url: "list.json", name: "night", keepEntries: true });
  for (const [index, entry] of entries.entries()) collector.add(entry, `[${index}]`);
  return collector.finish("kernel-crawler");
}

const fedora = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => rpm(`6.8.${index + from}-1.fc40.x86_64`));
const statusOf = ({ sources }: Catalog) => sources.map(({ id, status }) => `${id} ${status}`);
const night = (catalog: Catalog, entries: readonly ListEntry[], day = "2026-01-02") =>
  importList(catalog, listOf(...entries), day);

describe("a list as a source of a catalog", () => {
  test("is one source for each distribution release", () => {
    const catalog = night(EMPTY_CATALOG, [...fedora(2), rpm("6.7.1-1.fc39.x86_64")]);

    expect(catalog.sources).toMatchObject([
      { id: "night/fedora39", kind: "kernel-crawler", distribution: "fedora39", kernels: { x86_64: 1 } },
      { id: "night/fedora40", kind: "kernel-crawler", distribution: "fedora40", kernels: { x86_64: 2 } },
    ]);
    expect(catalog.kernels.every(({ inferred }) => inferred === true)).toBe(true);
  });

  test("that loses a release's kernels is suspect for that release alone", () => {
    const before = night(EMPTY_CATALOG, [...fedora(20), rpm("6.7.1-1.fc39.x86_64")]);

    const after = night(before, [...fedora(18), rpm("6.7.1-1.fc39.x86_64")], "2026-01-03");

    expect(statusOf(after)).toEqual(["night/fedora39 ok", "night/fedora40 suspect"]);
    expect(after.kernels).toHaveLength(21);
  });

  test("that no longer has a release at all is suspect, not silent", () => {
    const before = night(EMPTY_CATALOG, [...fedora(5), rpm("6.7.1-1.fc39.x86_64")]);

    expect(statusOf(night(before, [rpm("6.7.1-1.fc39.x86_64")]))).toEqual([
      "night/fedora39 ok",
      "night/fedora40 suspect",
    ]);
  });

  test("counts releases of one kernel together: a distribution of images cannot vanish unseen", () => {
    const image = (version: string): ListEntry => ({
      ...{ target: "flatcar", kernelrelease: version, kernelversion: "1" },
      headers: [`${URL_BASE}/amd64-usr/${version}/flatcar_developer_container.bin.bz2`],
    });
    const images = Array.from({ length: 5 }, (_, index) => image(`2605.${index}.0`));
    const before = night(EMPTY_CATALOG, images);

    expect(statusOf(night(before, images.slice(1)))).not.toContain("night/flatcar2605.0.0 suspect");
    expect(statusOf(night(before, images.slice(2))).filter((status) => status.endsWith("suspect"))).toEqual([
      "night/flatcar2605.0.0 suspect",
      "night/flatcar2605.1.0 suspect",
    ]);
  });

  test("loses nothing while the entry stays and only names another flavour", () => {
    const photon = (name: string) => [rpm("4.19.1-1.ph3", { name, target: "photon" })];
    const before = night(EMPTY_CATALOG, photon("linux-aws-devel"));

    const after = night(before, photon("linux-rt-devel"), "2026-01-03");

    expect(after.kernels.map(({ kversion, withdrawnSince }) => [kversion, withdrawnSince])).toEqual([
      ["4.19.1-1.ph3-aws", undefined],
      ["4.19.1-1.ph3-rt", undefined],
    ]);
  });

  test("is refused when it has no entry at all", () => {
    expect(() => listOf()).toThrow("list.json is a kernel-crawler list without a single entry");
  });

  test("says nothing about another list's kernels, nor about a repository's", () => {
    const kernel = makeKernel({ distribution: "fedora40", sources: ["fedora/40-updates"] });
    const repository: Catalog = {
      ...EMPTY_CATALOG,
      sources: [makeSource({ id: "fedora/40-updates" })],
      kernels: [kernel],
    };

    const after = night(night(repository, fedora(3)), fedora(1));

    expect(after.kernels.find(({ kversion }) => kversion === kernel.kversion)).toEqual(kernel);
    expect(after.kernels).toHaveLength(4);
  });

  test("takes nothing back from what a repository vouches for", () => {
    const [entry] = fedora(1) as [ListEntry];
    const { kernelrelease: kversion } = entry;
    const headers = [makePackage({ name: "kernel-devel", version: "6.8.0-1.fc40", source: "fedora/40" })];
    const vouched = makeKernel({
      ...{ kversion, packageVersion: "6.8.0-1.fc40", distribution: "fedora40", sources: ["fedora/40"] },
      packages: { headers, crossTools: [], image: [], modules: [] },
      compiler: { family: "gcc", version: "14", source: "config" },
    });
    const repository: Catalog = {
      ...EMPTY_CATALOG,
      sources: [makeSource({ id: "fedora/40" })],
      kernels: [vouched],
    };

    const [kernel] = night(repository, [entry]).kernels;

    expect(kernel).toMatchObject({ packages: vouched.packages, compiler: vouched.compiler });
    expect(kernel).not.toHaveProperty("inferred");
    expect(kernel?.sources).toEqual(["fedora/40", "night/fedora40"]);
    expect(kernel?.crawler).toMatchObject({ target: "fedora" });
  });
});

describe("a change of format", () => {
  test("is told when header packages appear or disappear, and when kernels are called otherwise", () => {
    const [bare, full] = [fedora(4).map((entry) => ({ ...entry, headers: [] })), fedora(4)];
    const renamed = full.map((entry) => ({ ...entry, kernelversion: "2" }));
    const details = (before: readonly ListEntry[], after: readonly ListEntry[]) =>
      formatChangesOf(listOf(...after), night(EMPTY_CATALOG, before));

    expect(details(bare, full)).toEqual([
      { source: "night/fedora40", kernels: 4, detail: "header packages are named now" },
    ]);
    expect(details(full, bare)).toMatchObject([{ detail: "header packages are no longer named" }]);
    expect(details(full, renamed)).toMatchObject([{ detail: "kernels have different names" }]);
    expect(details(full, [...full.slice(1), { ...(full[0] as ListEntry), kernelversion: "2" }])).toEqual([]);
  });
});

describe("diffLists", () => {
  test("is empty for a list and itself, whatever the order of entries and URLs", () => {
    const entries = fedora(5).map((entry) => ({
      ...entry,
      headers: [...entry.headers, `${URL_BASE}/b/x.rpm`],
    }));
    const turned = entries
      .toReversed()
      .map((entry) => ({ ...entry, headers: [...entry.headers, ...entry.headers].toReversed() }));

    expect(diffLists(listOf(...entries), listOf(...turned))).toEqual({
      ...{ added: [], removed: [], moved: [], changed: [], unchanged: 5, formatChanges: [] },
    });
  });

  test("tells moved from changed", () => {
    const [entry] = fedora(1) as [ListEntry];
    const moved = { ...entry, headers: entry.headers.map((url) => url.replace("/a/", "/b/")) };
    const changed = { ...entry, headers: [`${URL_BASE}/a/kernel-core-devel-${entry.kernelrelease}.rpm`] };

    expect(diffLists(listOf(entry), listOf(moved))).toMatchObject({
      moved: [expect.any(String)],
      changed: [],
    });
    expect(diffLists(listOf(entry), listOf(changed))).toMatchObject({
      moved: [],
      changed: [expect.any(String)],
    });
  });
});

test("a list's place may say its architecture", () => {
  expect(architectureOfPlace("https://site.example/kernels/aarch64/list.json")).toBe("aarch64");
  expect(architectureOfPlace("/data/2022-09-28_2df4db35_x86_64.json.gz")).toBe("x86_64");
  expect(architectureOfPlace("/x86_64/data/list.json")).toBeUndefined();
});

const deb = (kernel: string, version: string): ListEntry => ({
  ...{ target: "debian", kernelrelease: version, kernelversion: "1" },
  headers: [`${URL_BASE}/pool/main/l/linux/linux-headers-${kernel}_${version}_amd64.deb`],
});

test.each<[string, ListEntry, RegExp]>([
  ["a flavour of other characters", deb("6.1.0-9-amd64-+x", "6.1.9-1~deb12u1"), /flavour is not a safe name/],
  [
    "a release and version that are too long together",
    deb(`5.10.0-1-${"a".repeat(60)}-amd64`, `5.10.${"1".repeat(60)}-1~deb12u1`),
    /release and version are not a safe name/,
  ],
  [
    "a distribution release without end",
    { ...rpm("6.8.1-1.fc40.x86_64"), target: "a".repeat(120), distributionVersion: "1".repeat(120) },
    /distribution release is not a safe name/,
  ],
])("an entry that no kernel can be named after is dropped, and said so: %s", (_, entry, reason) => {
  const list = listOf(entry, rpm("6.8.9-1.fc40.x86_64"));

  expect(list.kernels.map(({ kversion }) => kversion)).toEqual(["6.8.9-1.fc40.x86_64"]);
  expect(list.dropped).toEqual([
    { reason: expect.stringMatching(reason), count: 1, examples: expect.anything() },
  ]);
});
