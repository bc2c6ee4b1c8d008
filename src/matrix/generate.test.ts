import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeCatalog, makeKernel, makeSource } from "../../test/support/kernels.ts";
import { type CatalogKernel, compareKernels } from "../catalog/catalog.ts";
import { factsByKernel, fetchingFacts, headersFacts, type KernelFacts } from "../kernel/facts.ts";
import { Element } from "./element.ts";
import { generateMatrix, type Selection, selectKernels } from "./generate.ts";

const READ = { family: "gcc", version: "12.2.0", source: "config" } as const;
const DRIVER = { name: "doorbell", version: "0.1.1" };
const KERNELS = [
  makeKernel({ kversion: "5.10.0-35-amd64", distribution: "debian11" }),
  makeKernel({ kversion: "6.1.0-55-amd64", packageVersion: "6.1.160-1" }),
  makeKernel({ kversion: "6.1.0-56-amd64" }),
  makeKernel({ kversion: "6.1.0-56-cloud-amd64", flavour: "cloud" }),
  makeKernel({ kversion: "6.1.0-56-arm64", architecture: "aarch64" }),
  makeKernel({ kversion: "6.12.30-amd64", distribution: "debian13" }),
  makeKernel({ kversion: "7.1.3-amd64", distribution: "debiansid" }),
  makeKernel({ kversion: "5.10.230-1.amzn2.x86_64", distribution: "amazonlinux2" }),
];
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

    expect(selectKernels(makeCatalog([kernel]), { kernelRelease: "(a+)+$" })).toEqual([]);
    expect(selectKernels(makeCatalog([kernel]), { kernelRelease: "(a|aa)+(b|!)" })).toEqual([kernel]);
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

  test("a compiler that no source names is the one that the kernel's headers name", () => {
    const { compiler: _, ...kernel } = makeKernel();
    const facts = factsByKernel([headersFacts(kernel, { compiler: READ }) as KernelFacts]);
    const compilers = (...kernels: CatalogKernel[]) =>
      generateMatrix(makeCatalog(kernels), [DRIVER], [{}], facts).map(({ compiler }) => compiler);
    const packages = makeKernel({ kversion: "6.1.0-57-amd64" }).packages;

    expect(compilers(kernel)).toEqual([READ]);
    expect(compilers(makeKernel())).toEqual([makeKernel().compiler]);
    expect(compilers({ ...kernel, packages })).toEqual([undefined]);
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
});

describe("generateMatrix", () => {
  test("makes an element as the original pipeline reads it", () => {
    const catalog = makeCatalog([makeKernel()]);

    const [element] = generateMatrix(catalog, [DRIVER], [{}]);

    expect(element).toMatchObject({
      kversion: "6.1.0-56-amd64",
      distribution: "debian12",
      architecture: "x86_64",
      kernelurls: [
        "http://mirror.example/debian/pool/main/l/linux/linux-headers-6.1.0-56-amd64_6.1.170-3_amd64.deb",
        "http://mirror.example/debian/pool/main/l/linux/linux-kbuild-6.1_6.1.170-3_amd64.deb",
      ],
      output: "0.1.0/debian12/x86_64/6.1.0-56-amd64_6.1.170-3",
      driverversion: "0.1.1",
      driver: "doorbell",
      packageVersion: "6.1.170-3",
      distributionId: "debian",
      distributionVersion: "12",
      compiler: { family: "gcc", version: "12", source: "package" },
    });
    expect(Element.parse(element)).toEqual(element);
  });

  test("no two elements share an output", () => {
    const catalog = makeCatalog([...KERNELS, makeKernel({ packageVersion: "6.1.172-1" })]);
    const drivers = [DRIVER, { name: "doorbell", version: "0.2.0" }, { name: "chime", version: "0.1.1" }];

    const elements = generateMatrix(catalog, drivers, [{}]);

    expect(elements).toHaveLength(catalog.kernels.length * drivers.length);
    expect(new Set(elements.map(({ driver, output }) => `${driver}/${output}`)).size).toBe(elements.length);
  });

  test("takes what any of several selections takes, once", () => {
    const catalog = makeCatalog(KERNELS);

    const elements = generateMatrix(
      catalog,
      [DRIVER],
      [{ distributions: ["debian12"] }, { architectures: ["aarch64"] }, { distributions: ["debian11"] }],
    );

    expect(elements).toHaveLength(5);
  });

  test("gives the same, byte for byte, in whatever order the catalog is", () => {
    const sources = [makeSource(), makeSource({ id: "debian/trixie", url: "http://other.example/debian" })];
    const matrix = JSON.stringify(generateMatrix(makeCatalog(KERNELS, sources), [DRIVER], [{}]));
    fc.assert(
      fc.property(fc.shuffledSubarray(KERNELS, { minLength: KERNELS.length }), (kernels) => {
        const shuffled = generateMatrix(makeCatalog(kernels, sources.toReversed()), [DRIVER], [{}]);

        expect(JSON.stringify(shuffled)).toBe(matrix);
      }),
    );
    expect(JSON.parse(matrix).map(({ kversion }: Element) => kversion)).toEqual(
      KERNELS.toSorted(compareKernels).map(({ kversion }) => kversion),
    );
  });

  test("leaves out places that nobody knows the mirror of", () => {
    const catalog = makeCatalog([makeKernel({ sources: ["debian/gone"] })]);

    expect(generateMatrix(catalog, [DRIVER], [{}])).toMatchObject([{ kernelurls: [] }]);
  });
});
