import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { makePackage } from "../../test/support/kernels.ts";
import { changeReasons, diffMatrix, elementsToBuild, formatChangesOf, type MatrixDiff } from "./diff.ts";
import { type Element, elementKey } from "./element.ts";

const EMPTY: MatrixDiff = { added: [], changed: [], removed: [], unchanged: 0 };

/** Elements that often share a key, and often differ only where that is no change. */
const anyElement: fc.Arbitrary<Element> = fc
  .record({
    kversion: fc.constantFrom("6.1.0-55-amd64", "6.1.0-56-amd64", "6.1.0-57-amd64"),
    packageVersion: fc.constantFrom("6.1.170-3", "6.1.172-1"),
    driverversion: fc.constantFrom("0.1.1", "0.1.2", "0.2.0"),
    kernelurls: fc.array(fc.constantFrom("http://mirror.example/a.deb", "http://other.example/a.deb")),
    recipe: fc.constantFrom("sha256:aa", "sha256:bb"),
    compiler: fc.constantFrom("12", "14"),
    withRecipe: fc.boolean(),
  })
  .map(({ compiler, recipe, withRecipe, ...rest }) =>
    makeElement({
      ...rest,
      compiler: { family: "gcc", version: compiler, source: "package" },
      ...(withRecipe ? { recipe } : {}),
    }),
  );
const anyMatrix = fc.array(anyElement, { maxLength: 12 });

describe("diffMatrix", () => {
  test("tells what is added, changed, removed and the same", () => {
    const [same, old, gone, fresh] = ["55", "56", "57", "58"].map((abi) =>
      makeElement({ kversion: `6.1.0-${abi}-amd64` }),
    ) as [Element, Element, Element, Element];
    const changed = { ...old, driverversion: "0.1.2" };

    const diff = diffMatrix([same, old, gone], [same, changed, fresh]);

    expect(diff).toEqual({
      added: [fresh],
      changed: [{ element: changed, reasons: ["driver version: 0.1.1 → 0.1.2"] }],
      removed: [gone],
      unchanged: 1,
    });
    expect(elementsToBuild(diff)).toEqual([fresh, changed]);
  });

  test("finds no difference between a matrix and itself, in any order", () => {
    fc.assert(
      fc.property(anyMatrix, (matrix) => {
        const keys = new Set(matrix.map(elementKey));
        const unique = [...new Map(matrix.map((element) => [elementKey(element), element])).values()];

        expect(diffMatrix(matrix, matrix)).toEqual({ ...EMPTY, unchanged: keys.size });
        expect(diffMatrix(unique, unique.toReversed())).toEqual({ ...EMPTY, unchanged: keys.size });
      }),
    );
  });

  test("applied to the first matrix gives the second", () => {
    fc.assert(
      fc.property(anyMatrix, anyMatrix, (a, b) => {
        const { added, changed, removed, unchanged } = diffMatrix(a, b);

        const result = new Map(a.map((element) => [elementKey(element), element]));
        for (const element of removed) result.delete(elementKey(element));
        for (const element of [...added, ...changed.map(({ element }) => element)])
          result.set(elementKey(element), element);
        const wanted = new Map(b.map((element) => [elementKey(element), element]));
        expect([...result.keys()].toSorted()).toEqual([...wanted.keys()].toSorted());
        expect(unchanged + added.length + changed.length).toBe(wanted.size);
        for (const [key, element] of wanted)
          expect(changeReasons(result.get(key) as Element, element)).toEqual([]);
      }),
    );
  });

  test("is turned round when the matrices are", () => {
    fc.assert(
      fc.property(anyMatrix, anyMatrix, (a, b) => {
        const [forth, back] = [diffMatrix(a, b), diffMatrix(b, a)];
        const keys = (elements: readonly Element[]) => elements.map(elementKey).toSorted();

        expect(keys(back.removed)).toEqual(keys(forth.added));
        expect(keys(back.added)).toEqual(keys(forth.removed));
        expect(back.changed.length).toBe(forth.changed.length);
      }),
    );
  });

  test("is the same whatever the order of either matrix", () => {
    fc.assert(
      fc.property(anyMatrix, anyMatrix, (a, b) => {
        const unique = (matrix: readonly Element[]) => [
          ...new Map(matrix.map((element) => [elementKey(element), element])).values(),
        ];
        const [x, y] = [unique(a), unique(b)];
        const [forth, back] = [diffMatrix(x, y), diffMatrix(x.toReversed(), y.toReversed())];

        expect(back.added.toReversed()).toEqual(forth.added);
        expect(back.changed.toReversed()).toEqual(forth.changed);
        expect(back.unchanged).toBe(forth.unchanged);
      }),
    );
  });
});

describe("a mirror", () => {
  const place = fc.record({
    host: fc.constantFrom("mirror.example", "other.example", "third.example:8080"),
    guid: fc.uuid(),
    order: fc.infiniteStream(fc.nat()),
    repeats: fc.nat(3),
  });

  test("that moves, changes paths, or lists in another order or twice, changes nothing", () => {
    fc.assert(
      fc.property(place, ({ host, guid, order, repeats }) => {
        const element = makeElement();
        const headers = element.packages.headers.map((one) => ({
          ...one,
          source: host,
          path: `${guid}/${one.name}.deb`,
        }));
        const urls = headers.map(({ path }) => `http://${host}/${path}`);
        const many = <T>(values: readonly T[]) =>
          Array.from({ length: repeats + 1 }, () => values)
            .flat()
            .map((value) => ({ value, at: order.next().value }))
            .toSorted((a, b) => a.at - b.at)
            .map(({ value }) => value);
        const moved = {
          ...element,
          kernelurls: many(urls),
          packages: { ...element.packages, headers: many(headers), image: [], modules: [] },
        };

        expect(diffMatrix([element], [moved])).toEqual({ ...EMPTY, unchanged: 1 });
      }),
    );
  });
});

describe("changeReasons", () => {
  const element = makeElement();
  const [headers, tools] = element.packages.headers as [
    (typeof element.packages.headers)[0],
    (typeof element.packages.headers)[0],
  ];

  test.each<[string, Partial<Element>, RegExp]>([
    ["driver version", { driverversion: "0.1.2" }, /^driver version: 0\.1\.1 → 0\.1\.2$/],
    ["flavour", { flavour: "rt" }, /^flavour: generic → rt$/],
    [
      "compiler",
      { compiler: { family: "clang", version: "19", source: "config" } },
      /^compiler: gcc 12 → clang 19$/,
    ],
    [
      "header packages, by version",
      {
        packages: {
          ...element.packages,
          headers: [headers, makePackage({ ...tools, version: "6.1.999-1" })],
        },
      },
      /^header packages: .*linux-kbuild-6.1=6.1.170-3.* → .*linux-kbuild-6.1=6.1.999-1/,
    ],
    [
      "header packages, by their bytes alone",
      { packages: { ...element.packages, headers: [{ ...headers, sha256: "0".repeat(64) }, tools] } },
      /^header packages: .* → .*@000000000000/,
    ],
    [
      "header packages, by one less",
      { packages: { ...element.packages, headers: [headers] } },
      /^header packages/,
    ],
  ])("names the %s", (_, changes, words) => {
    const changed = { ...element, ...changes };

    expect(changeReasons(element, changed)).toEqual([expect.stringMatching(words)]);
    expect(changeReasons(changed, element)).toHaveLength(1);
  });

  test("does not care how a compiler became known", () => {
    const known = { family: "gcc", version: "12", source: "header" } as const;

    expect(changeReasons(element, { ...element, compiler: known })).toEqual([]);
  });

  test("takes equal recipes for equal, whatever else an older element says", () => {
    const recipe = "sha256:aa";

    expect(changeReasons({ ...element, recipe, flavour: "x" }, { ...element, recipe })).toEqual([]);
  });

  test("sees in recipes what elements do not show", () => {
    const reasons = changeReasons({ ...element, recipe: "sha256:aa" }, { ...element, recipe: "sha256:bb" });

    expect(reasons).toEqual([expect.stringContaining("sha256:aa → sha256:bb")]);
  });

  test("compares what both show where only one recipe is known", () => {
    expect(changeReasons(element, { ...element, recipe: "sha256:bb" })).toEqual([]);
    expect(changeReasons(element, { ...element, recipe: "sha256:bb", flavour: "rt" })).toHaveLength(1);
  });
});

describe("packages of lists", () => {
  const withoutDigests = (element: Element): Element => ({
    ...element,
    packages: {
      ...element.packages,
      headers: element.packages.headers.map(({ sha256: _, size: __, ...rest }) => rest),
    },
  });
  const element = makeElement();

  test("are the same as a repository's of the same names, and otherwise not", () => {
    const listed = withoutDigests(element);
    const newer = {
      ...listed.packages,
      headers: listed.packages.headers.map((one) => ({ ...one, version: "9" })),
    };

    expect(changeReasons(element, listed)).toEqual([]);
    expect(changeReasons(listed, element)).toEqual([]);
    expect(changeReasons(element, { ...listed, packages: newer })).toEqual([
      expect.stringMatching(/^header packages: .*=6\.1\.170-3:.* → .*=9:/),
    ]);
  });
});

describe("formatChangesOf", () => {
  const named = ["55", "56"].map((abi) => makeElement({ kversion: `6.1.0-${abi}-amd64` }));
  const bare = named.map((element) => ({ ...element, packages: { ...element.packages, headers: [] } }));

  test("finds none where kernels came and went", () => {
    const diff = diffMatrix(named, [makeElement({ kversion: "6.1.0-57-amd64" })]);

    expect(formatChangesOf(diff)).toEqual([]);
  });

  test("tells header packages that appear or disappear from packages that change", () => {
    const detail = (a: readonly Element[], b: readonly Element[]) => formatChangesOf(diffMatrix(a, b));

    expect(detail(bare, named)).toEqual([
      { distribution: "debian12", elements: 2, detail: "format change: header packages are named only now" },
    ]);
    expect(detail(named, bare)).toMatchObject([{ detail: expect.stringContaining("no longer named") }]);
    expect(elementsToBuild(diffMatrix(bare, named))).toEqual(named);
  });

  test("tells the same packages under another name from other kernels", () => {
    const renamed = named.map((element) => ({ ...element, kversion: `${element.kversion}-hwe` }));

    expect(formatChangesOf(diffMatrix(named, renamed))).toEqual([
      { distribution: "debian12", elements: 2, detail: expect.stringContaining("under a different name") },
    ]);
  });
});
