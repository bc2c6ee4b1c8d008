import { describe, expect, test } from "vitest";
import { KERNELS, makeCatalog, makeKernel, makeSource } from "../../test/support/kernels.ts";
import type { CatalogKernel } from "../catalog/catalog.ts";
import { factsByKernel, fetchingFacts } from "../kernel/facts.ts";
import { type Selection, selectKernels, unknownWords } from "./select.ts";

const select = (selection: Selection, kernels = KERNELS) =>
  selectKernels(makeCatalog(kernels), selection).map(
    ({ distribution, kversion }) => `${distribution}/${kversion}`,
  );

describe("selectKernels", () => {
  test("takes all when nothing is asked for", () => {
    expect(selectKernels(makeCatalog(KERNELS), {})).toEqual(KERNELS);
  });

  test.each([
    ["an id: every release of it", ["debian"], 7],
    ["a release key: that release", ["debian12"], 4],
    ["sid's key", ["debiansid"], 1],
    ["a key that begins another key", ["debian1"], 0],
    ["a key with something behind it", ["debian12.1"], 0],
    ["a key of a distribution that nobody here knows", ["amazonlinux2"], 1],
    ["the beginning of such a key", ["amazonlinux"], 0],
    ["several", ["debian11", "amazonlinux2"], 2],
  ])("by distribution: %s", (_, distributions, count) => {
    expect(select({ distributions })).toHaveLength(count);
  });

  test("by architecture and flavour", () => {
    expect(select({ architectures: ["aarch64"] })).toEqual(["debian12/6.1.0-56-arm64"]);
    expect(select({ flavours: ["cloud"], architectures: ["x86_64"] })).toEqual([
      "debian12/6.1.0-56-cloud-amd64",
    ]);
    expect(select({ flavours: ["clo"] })).toEqual([]);
  });

  test.each([
    [String.raw`.*6\.[0-9]+\..*`, 5],
    [String.raw`6\.1\.0-56-amd64`, 1],
    ["6.1", 0],
    [".*amd64", 6],
    ["amd64", 0],
    [String.raw`6\.1\.0-5[56]-.*|7\..*`, 5],
    [String.raw`.*\.x86_64`, 1],
    ["", 0],
  ])("by kernel release, as a whole: %s", (kernelRelease, count) => {
    expect(select({ kernelRelease })).toHaveLength(count);
  });

  test("takes no time over an expression that others take years for", () => {
    const kversion = `${"a".repeat(120)}!`;
    const kernel = { ...makeKernel(), kversion };

    expect(selectKernels(makeCatalog([kernel]), { kernelRelease: "(a+)+$" }, "all")).toEqual([]);
    expect(selectKernels(makeCatalog([kernel]), { kernelRelease: "(a|aa)+(b|!)" }, "all")).toEqual([kernel]);
  });

  test.each(["(", "[z-a]", "a{2,1}", String.raw`(a)\1`, "(?=a)"])(
    "refuses the expression %s",
    (kernelRelease) => {
      expect(() => select({ kernelRelease })).toThrow(
        expect.objectContaining({ code: "USAGE", message: expect.stringContaining(`'${kernelRelease}'`) }),
      );
    },
  );

  test("lists kernels nobody knows the release of, and those that lack packages, but never wants them", () => {
    const kernels = [
      makeKernel({ distribution: "unknown" }),
      makeKernel({ missing: ["linux-kbuild-6.1"] }),
      makeKernel({ kversion: "6.1.0-57-amd64" }),
    ];

    expect(select({}, kernels)).toEqual(["debian12/6.1.0-57-amd64"]);
  });

  test("wants kernels that are withdrawn or stale: hosts still run them", () => {
    const kernels = [
      makeKernel({ withdrawnSince: "2026-01-01T00:00:00.000Z" }),
      makeKernel({ kversion: "6.1.0-57-amd64", staleSince: "2026-01-01T00:00:00.000Z" }),
    ];

    expect(selectKernels(makeCatalog(kernels), {})).toEqual(kernels);
  });

  test("the newest are those of each release, architecture and flavour, by Debian's order", () => {
    const older = makeKernel({ kversion: "6.1.0-9-amd64", packageVersion: "6.1.9-1" });

    expect(select({ newest: 1, distributions: ["debian12"] }, [...KERNELS, older])).toEqual([
      "debian12/6.1.0-56-amd64",
      "debian12/6.1.0-56-cloud-amd64",
      "debian12/6.1.0-56-arm64",
    ]);
    expect(select({ newest: 2, flavours: ["generic"] }, [older, ...KERNELS])).not.toContain(
      "debian12/6.1.0-9-amd64",
    );
    expect(select({ newest: 9 })).toHaveLength(KERNELS.length);
  });

  test("the newest is one that can be had", () => {
    const gone = "2026-01-01T00:00:00.000Z";
    const kernels = [
      makeKernel({ kversion: "6.1.0-55-amd64", packageVersion: "6.1.160-1" }),
      makeKernel({ kversion: "6.1.0-56-amd64", packageVersion: "6.1.170-3" }),
      makeKernel({ kversion: "6.1.0-57-amd64", packageVersion: "6.1.172-1", withdrawnSince: gone }),
      makeKernel({ kversion: "6.1.0-58-amd64", packageVersion: "6.1.174-1", missing: ["linux-kbuild-6.1"] }),
    ];

    const lesson = fetchingFacts(kernels[1] as CatalogKernel, "notFetchable", gone);
    const names = selectKernels(makeCatalog(kernels), { newest: 1 }, "wanted", factsByKernel([lesson]));

    expect(names.map(({ kversion }) => kversion)).toEqual(["6.1.0-55-amd64"]);
  });

  test("the newest are those that a repository signed, whatever an unsigned list has beside them", () => {
    const list = "list/debian12";
    const kernels = [
      makeKernel({ kversion: "6.1.0-55-amd64", packageVersion: "6.1.160-1" }),
      makeKernel({ kversion: "6.1.0-56-amd64" }),
      makeKernel({ kversion: "6.1.0-998-amd64", packageVersion: "6.1.998-1", sources: [list] }),
      makeKernel({ kversion: "6.1.0-999-amd64", packageVersion: "6.1.999-1", sources: [list] }),
    ];
    const unsigned = makeSource({ id: list, kind: "kernel-crawler" });
    const newest = (count: number, source = unsigned) =>
      selectKernels(makeCatalog(kernels, [makeSource(), source]), { newest: count }).map(
        ({ kversion }) => kversion.split("-")[1],
      );

    expect(newest(1)).toEqual(["56"]);
    expect(newest(3)).toEqual(["55", "56", "999"]);
    expect(newest(1, { ...unsigned, trusted: true })).toEqual(["999"]);
  });

  test("the newest are those of each kernel series, and backports count apart", () => {
    const stock = { sources: ["debian/bookworm", "debian/bookworm-security"] };
    const backport = { sources: ["debian/bookworm-backports"] };
    const kernels = [
      makeKernel({ kversion: "6.1.0-50-amd64", packageVersion: "6.1.150-1", sources: ["debian/bookworm"] }),
      makeKernel({
        kversion: "6.1.0-57-amd64",
        packageVersion: "6.1.172-1",
        sources: ["debian/bookworm-security"],
      }),
      makeKernel({ kversion: "6.12.117+deb12-amd64", packageVersion: "6.12.117-1~deb12u1", ...stock }),
      makeKernel({ kversion: "6.12.118+deb12-amd64", packageVersion: "6.12.118-1~bpo12+1", ...backport }),
    ];
    const sources = ["bookworm", "bookworm-security", "bookworm-backports"].map((suite) =>
      makeSource({ id: `debian/${suite}` }),
    );

    expect(
      selectKernels(makeCatalog(kernels, sources), { newest: 1 }).map(({ kversion }) => kversion),
    ).toEqual(["6.1.0-57-amd64", "6.12.117+deb12-amd64", "6.12.118+deb12-amd64"]);
  });

  test("a list that nobody vouches for adds no series to those that a repository has", () => {
    const list = "list/debian12";
    const invented = Array.from({ length: 20 }, (_, index) =>
      makeKernel({ kversion: `9.${index}.0-amd64`, packageVersion: `9.${index}-1`, sources: [list] }),
    );
    const unsigned = makeSource({ id: list, kind: "kernel-crawler" });
    const taken = (...kernels: CatalogKernel[]) =>
      selectKernels(makeCatalog([...kernels, ...invented], [makeSource(), unsigned]), { newest: 1 });

    expect(taken(makeKernel()).map(({ kversion }) => kversion)).toEqual(["6.1.0-56-amd64"]);
    expect(taken()).toHaveLength(1);
  });
});

describe("words that name nothing", () => {
  const factsOf = (selection: Selection, kernels = KERNELS) =>
    unknownWords(selection, makeCatalog(kernels)).map(({ setting, fact }) => `${setting}: ${fact}`);

  test.each<[Selection, RegExp]>([
    [
      { flavours: ["genric"] },
      /^flavours: none of the 8 kernels has the flavour 'genric' \(did you mean 'generic'\?\); there are cloud, generic$/,
    ],
    [
      { distributions: ["debain12"] },
      /^distributions: there is no distribution or release 'debain12' \(did you mean 'debian12'\?\)$/,
    ],
    [
      { distributions: ["bookworm"] },
      /^distributions: there is no distribution or release 'bookworm' \(did you mean 'debian12'\?\)$/,
    ],
    [
      { distributions: ["debian12"], kernels: ["6.1.0-56-amd46"] },
      /^kernels: none of the 4 kernels is 6\.1\.0-56-amd46 \(did you mean '6\.1\.0-56-amd64'\?\)$/,
    ],
  ])("%j", (selection, fact) => {
    expect(factsOf(selection)).toEqual([expect.stringMatching(fact)]);
  });

  test.each<[string, Selection, CatalogKernel[]]>([
    ["are no matter before any kernel is known", { flavours: ["genric"], distributions: ["x"] }, []],
    [
      "are not those of a release that no source lists now",
      { distributions: ["ubuntu22.04"], flavours: ["lowlatency"] },
      KERNELS,
    ],
    ["are not those that only the catalog knows", { distributions: ["amazonlinux2", "debian"] }, KERNELS],
    ["are none where nothing is asked for", {}, KERNELS],
  ])("%s", (_, selection, kernels) => {
    expect(factsOf(selection, kernels)).toEqual([]);
  });
});
