import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KERNELS, makeCatalog, makeKernel, makeSource } from "../../test/support/kernels.ts";
import { type CatalogKernel, compareKernels } from "../catalog/catalog.ts";
import { factsByKernel, headersFacts, type KernelFacts } from "../kernel/facts.ts";
import { Element } from "./element.ts";
import { generateMatrix, wantedMatrix } from "./generate.ts";

const READ = { family: "gcc", version: "12.2.0", source: "config" } as const;
const DRIVER = { name: "doorbell", version: "0.1.1" };
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

  test("an excluded kernel leaves its place among the newest to the next one, for that driver alone", () => {
    const drivers = [DRIVER, { name: "chime", version: "1" }];
    const reasonAgainst = ({ driver, kversion }: Element) =>
      driver === "chime" && kversion === "6.1.0-56-amd64" ? "it breaks" : undefined;

    const { elements, excluded } = wantedMatrix(
      makeCatalog(KERNELS),
      drivers,
      [{ distributions: ["debian12"], architectures: ["x86_64"], flavours: ["generic"], newest: 1 }],
      { reasonAgainst },
    );

    expect(elements.map(({ driver, kversion }) => `${driver} ${kversion}`)).toEqual([
      "chime 6.1.0-55-amd64",
      "doorbell 6.1.0-56-amd64",
    ]);
    expect(excluded.map(({ element, reason }) => [element.driver, element.kversion, reason])).toEqual([
      ["chime", "6.1.0-56-amd64", "it breaks"],
    ]);
  });

  test("a narrowed matrix is a part of the whole one", () => {
    const select = [{ distributions: ["debian12"], newest: 1 }];
    const all = generateMatrix(makeCatalog(KERNELS), [DRIVER], select);
    for (const narrowed of [{ flavours: ["cloud"] }, { kernels: ["6.1.0-55-amd64"] }, { newest: 1 }, {}]) {
      const { elements } = wantedMatrix(makeCatalog(KERNELS), [DRIVER], select, { narrowed });

      expect(all).toEqual(expect.arrayContaining([...elements]));
    }
    expect(
      wantedMatrix(makeCatalog(KERNELS), [DRIVER], select, { narrowed: { flavours: ["cloud"] } }),
    ).toMatchObject({
      elements: [{ kversion: "6.1.0-56-cloud-amd64" }],
    });
  });
});
