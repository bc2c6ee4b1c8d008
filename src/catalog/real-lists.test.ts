import { describe, expect, test } from "vitest";
import { catalogOfList, importList, readRealList, whyNoRealLists } from "../../test/support/lists.ts";
import { kernelName } from "../kernel/kernel.ts";
import { diffMatrix, formatChangesOf as formatsOfMatrices } from "../matrix/diff.ts";
import { elementKey } from "../matrix/element.ts";
import { generateMatrix } from "../matrix/generate.ts";
import { type Catalog, EMPTY_CATALOG } from "./catalog.ts";
import { exportKernelCrawler, readKernelCrawler } from "./kernel-crawler.ts";
import { formatChangesOf } from "./kernel-list.ts";
import { diffLists } from "./list-diff.ts";

const MISSING = whyNoRealLists();
if (MISSING !== undefined) console.log(`skipped: ${MISSING}`);

const DRIVER = { name: "driver", version: "0.1.1" };
const matrixOf = (catalog: Catalog) => generateMatrix(catalog, [DRIVER], [{}]);
const suspectsOf = ({ sources }: Catalog) =>
  sources.filter(({ status }) => status === "suspect").map(({ id }) => id.split("/")[1]);

describe.skipIf(MISSING !== undefined)("real kernel-crawler lists of 2022", () => {
  test("09-22 → 09-28 by their own keys: 31 added, 22 removed, 105 other URLs, one with other files", async () => {
    const [before, after] = [await readRealList("2022-09-22"), await readRealList("2022-09-28")];

    const diff = diffLists(before, after);

    expect([before.entries, after.entries]).toEqual([4518, 4527]);
    expect([before.dropped, after.dropped]).toEqual([[], []]);
    expect(diff.added).toHaveLength(31);
    expect(diff.removed).toHaveLength(22);
    expect(diff.moved.length + diff.changed.length).toBe(105);
    expect(diff.changed).toEqual(["debian 5.19.6-1-amd64 1"]);
    expect(diff.formatChanges).toEqual([]);
  });

  test("09-22 → 09-28 as matrices: nothing changed because of a mirror", async () => {
    const [before, after] = [await readRealList("2022-09-22"), await readRealList("2022-09-28")];
    const [previous, current] = [before, after].map((list) => matrixOf(catalogOfList(list))) as [
      ReturnType<typeof matrixOf>,
      ReturnType<typeof matrixOf>,
    ];

    const diff = diffMatrix(previous, current);

    // The one entry of the list with other files stands for three kernels.
    expect(diff.changed.map(({ element }) => element.kversion).toSorted()).toEqual([
      "5.19.0-1-amd64",
      "5.19.0-1-cloud-amd64",
      "5.19.0-1-rt-amd64",
    ]);
    for (const { reasons } of diff.changed)
      expect(reasons).toEqual([expect.stringMatching(/^header packages: .*linux-kbuild-5\.19=5\.19\.11-1/)]);
    expect(formatsOfMatrices(diff)).toEqual([]);
    expect(current.length).toBe(diff.unchanged + diff.added.length + 3);
    expect(new Set(current.map(({ output }) => output)).size).toBe(current.length);
    console.log(
      `matrices ${previous.length} → ${current.length}: +${diff.added.length} -${diff.removed.length} ~${diff.changed.length}`,
    );
  });

  test("05-03 → 05-08 → 05-22: 565 entries dropped, no kernel lost, suspects named, nothing rebuilt", async () => {
    const days = ["2022-05-03", "2022-05-08", "2022-05-22"] as const;
    const lists = await Promise.all(days.map((day) => readRealList(day)));
    const [a, b, c] = lists as [(typeof lists)[0], (typeof lists)[0], (typeof lists)[0]];
    const first = importList(EMPTY_CATALOG, a, days[0]);

    const second = importList(first, b, days[1]);
    const third = importList(second, c, days[2]);

    const gone = diffLists(a, b).removed;
    const returned = gone.filter((key) => c.entriesByKey.has(key));
    const fresh = diffLists(b, c).added.filter((key) => !gone.includes(key));
    expect([gone.length, returned.length, fresh.length]).toEqual([565, 558, 93]);

    const namesOf = ({ kernels }: Catalog) => kernels.map(kernelName);
    const lost = (before: Catalog, after: Catalog) => {
      const still = new Set(namesOf(after));
      return namesOf(before).filter((name) => !still.has(name));
    };
    expect(lost(first, second)).toEqual([]);
    expect(lost(second, third)).toEqual([]);
    expect(suspectsOf(second)).toEqual(["ol6", "ol7", "ol8"]);
    expect(suspectsOf(third)).toEqual([]);
    const stale = second.kernels.filter(({ staleSince }) => staleSince !== undefined);
    expect(stale).toHaveLength(558);
    expect(stale.some(({ withdrawnSince }) => withdrawnSince !== undefined)).toBe(false);
    expect(third.kernels.some(({ staleSince }) => staleSince !== undefined)).toBe(false);

    const [built, wanted] = [matrixOf(first), matrixOf(third)];
    const keys = new Set(stale.map((kernel) => kernelName(kernel)));
    const same = diffMatrix(built, wanted);
    expect(same.changed).toEqual([]);
    expect(same.removed).toEqual([]);
    expect(same.added.filter((element) => keys.has(kernelName(element)))).toEqual([]);
    console.log(
      `565 entries gone, 558 back, 93 new; kernels ${first.kernels.length} → ${second.kernels.length} → ${third.kernels.length}; suspect ${suspectsOf(second).join(", ")}`,
    );
  });

  test("a swap that keeps the count is seen: Fedora has six kernels before and after, and two are gone", async () => {
    const first = importList(EMPTY_CATALOG, await readRealList("2022-06-15"), "2022-06-15");
    const second = importList(first, await readRealList("2022-09-22"), "2022-09-22");

    const fedora = second.kernels.filter(({ distribution }) => distribution.startsWith("fedora"));
    const withdrawn = fedora.filter(({ withdrawnSince }) => withdrawnSince !== undefined);
    expect(fedora).toHaveLength(8);
    expect(withdrawn.map(({ distribution, kversion }) => `${distribution} ${kversion}`)).toEqual([
      "fedora35 5.17.12-200.fc35.x86_64",
      "fedora36 5.17.12-300.fc36.x86_64",
    ]);
  });

  test("04-24 → 05-03: headers appear, which is a format change and no churn", async () => {
    const [before, after] = [await readRealList("2022-04-24"), await readRealList("2022-05-03")];
    const first = importList(EMPTY_CATALOG, before, "2022-04-24");

    const distributions = diffLists(before, after).formatChanges.map(({ distribution }) => distribution);
    const sources = formatChangesOf(after, first).filter(
      ({ detail }) => detail === "header packages are named now",
    );
    const second = importList(first, after, "2022-05-03");

    expect(before.dropped).toMatchObject([{ count: 2336, reason: expect.stringContaining("is unknown") }]);
    expect(new Set(distributions)).toEqual(
      new Set(["amazonlinux", "centos", "fedora", "ol", "photon", "debian", "ubuntu", "flatcar"]),
    );
    expect(
      sources.filter(({ source }) => !source.includes("flatcar")).map(({ source }) => source.split("/")[1]),
    ).toEqual([
      ...["amazonlinux1", "amazonlinux2", "amazonlinux2022", "centos6", "centos7", "centos8"],
      ...["fedora32", "fedora33", "fedora34", "fedora35", "ol6", "ol7", "ol8"],
    ]);
    expect(suspectsOf(second)).toEqual([]);
    expect(
      second.kernels.find(
        ({ distribution, kversion }) => distribution === "ol8" && kversion.includes("147.el8"),
      ),
    ).not.toHaveProperty("missing");
  });

  test("renamed entries are one format change, and their kernels are those that were there", async () => {
    const [before, after] = [await readRealList("2022-06-15"), await readRealList("2022-09-22")];

    const { formatChanges } = diffLists(before, after);
    const same = diffMatrix(matrixOf(catalogOfList(before)), matrixOf(catalogOfList(after)));

    expect(formatChanges).toEqual([
      { distribution: "photon", entries: 77, detail: "the same header packages have different names" },
      { distribution: "ubuntu", entries: 350, detail: "the same header packages have different names" },
    ]);
    const ubuntu = (elements: typeof same.added) =>
      new Set(elements.filter(({ kversion }) => kversion.endsWith("-generic")).map(elementKey));
    const gone = ubuntu(same.removed);
    expect([...ubuntu(same.added)].filter((key) => gone.has(key))).toEqual([]);
  });

  test.each([
    ["2022-04-24", "x86_64"],
    ["2022-05-03", "x86_64"],
    ["2022-09-28", "x86_64"],
    ["2022-09-28", "aarch64"],
  ] as const)("of %s for %s come back from an export as they were", async (day, machine) => {
    const catalog = catalogOfList(await readRealList(day, machine));

    const text = exportKernelCrawler(catalog, machine);
    const again = catalogOfList(
      await readKernelCrawler(
        (async function* () {
          yield Buffer.from(text);
        })(),
        { url: catalog.sources[0]?.url ?? "" },
      ),
    );

    expect(again).toEqual(catalog);
    expect(exportKernelCrawler(again, machine)).toBe(text);
  });
});
