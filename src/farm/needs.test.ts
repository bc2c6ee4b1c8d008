import { describe, expect, test } from "vitest";
import {
  allNeeds,
  hasWaited,
  type Needing,
  refuseWrongNeeds,
  resolvedNeeds,
  waitingFor,
  withWaiting,
} from "./needs.ts";

const driver = (name: string, needs: readonly string[] = [], versions: readonly string[] = ["1.0"]) => ({
  name,
  versions: [...versions],
  ...(needs.length === 0 ? {} : { needs: [...needs] }),
});
const needing = (name: string, needs: readonly string[] = [], version = "1.0"): Needing => ({
  name,
  version,
  needs,
});

describe("needs in a configuration", () => {
  test("are other drivers of it", () => {
    expect(() => refuseWrongNeeds([driver("leaf", ["base"]), driver("base")], "farm.yaml: ")).not.toThrow();
  });

  test.each([
    [
      "one that is not there",
      [driver("leaf", ["bsae"]), driver("base")],
      /leaf needs bsae, but no driver has that name/,
    ],
    ["itself", [driver("leaf", ["leaf"])], /leaf needs leaf: a circle, so none of them/],
    [
      "a circle",
      [driver("a", ["b"]), driver("b", ["c"]), driver("c", ["a"])],
      /a needs b needs c needs a: a circle, so none of them can be built first/,
    ],
    [
      "a circle that others lead to",
      [driver("leaf", ["a"]), driver("a", ["b"]), driver("b", ["a"])],
      /a needs b needs a/,
    ],
  ])("are refused by name: %s", (_, drivers, message) => {
    expect(() => refuseWrongNeeds(drivers, "farm.yaml: ")).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringMatching(message) }),
    );
  });
});

describe("all that a driver needs", () => {
  test("stands after what it needs itself, each once", () => {
    const all = [
      needing("top", ["left", "right"]),
      needing("left", ["base"]),
      needing("right", ["base"]),
      needing("base"),
    ];

    expect(allNeeds(all[0] as Needing, all).map(({ name }) => name)).toEqual(["base", "left", "right"]);
  });

  test("is the version of the same name, else the only one", () => {
    const all = [
      needing("leaf", ["base", "other"], "2.0"),
      needing("base", [], "1.0"),
      needing("base", [], "2.0"),
      needing("other", [], "7"),
    ];

    expect(allNeeds(all[0] as Needing, all)).toEqual([
      { name: "base", version: "2.0" },
      { name: "other", version: "7" },
    ]);
  });

  test.each([
    [
      "several versions",
      [needing("leaf", ["base"], "3"), needing("base", [], "1"), needing("base", [], "2")],
      /has several versions: 1, 2/,
    ],
    ["no such driver", [needing("leaf", ["base"])], /leaf needs base, but no driver has that name/],
    ["a circle", [needing("leaf", ["base"]), needing("base", ["leaf"])], /leaf needs base needs leaf/],
  ])("is refused by name: %s", (_, all, message) => {
    expect(() => allNeeds(all[0] as Needing, all)).toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringMatching(message) }),
    );
  });
});

test("all that many drivers need of each other is found without going every way", () => {
  const all = Array.from({ length: 400 }, (_, at) =>
    needing(
      `d${at}`,
      Array.from({ length: 399 - at }, (_, next) => `d${at + 1 + next}`),
    ),
  );

  expect(allNeeds(all[0] as Needing, all).map(({ name }) => name)).toEqual(
    Array.from({ length: 399 }, (_, at) => `d${399 - at}`),
  );
});

describe("what BUILD_DEPENDS means", () => {
  const configured = (name: string, settings: { readonly needs?: string[]; readonly source?: object } = {}) =>
    ({ name, versions: ["1"], source: name, ...settings }) as Parameters<typeof resolvedNeeds>[2][number];
  const packaged = (name: string, from: string) =>
    configured(name, { source: { package: from, release: "debian12" } });
  const others = [configured("genuine"), configured("evil")];
  const claims = (...names: string[]) => names.map((name) => ({ name, packageName: "spl" }));

  test("is a driver of that name, whoever else calls itself so", () => {
    expect(
      resolvedNeeds(
        { name: "victim" },
        ["spl"],
        [configured("victim"), ...others, configured("spl")],
        claims("genuine", "evil"),
      ),
    ).toEqual(["spl"]);
  });

  test("is a driver whose source is that package of a distribution, whoever else calls itself so", () => {
    const drivers = [configured("victim"), configured("evil"), packaged("mine", "spl-dkms")];

    expect(resolvedNeeds({ name: "victim" }, ["spl"], drivers, claims("evil"))).toEqual(["mine"]);
  });

  test.each([
    [
      "one other",
      claims("evil"),
      /^victim needs spl, according to its BUILD_DEPENDS: .* but evil may be meant/,
    ],
    ["two others", claims("genuine", "evil"), /but genuine or evil may be meant/],
  ])("is asked of the configuration where %s may be meant", (_, claiming, message) => {
    expect(() =>
      resolvedNeeds({ name: "victim" }, ["spl"], [configured("victim"), ...others], claiming),
    ).toThrow(expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringMatching(message) }));
  });

  test("is asked of the configuration where that has two", () => {
    const drivers = [configured("victim"), packaged("old", "spl-dkms"), packaged("new", "spl-dkms")];

    expect(() => resolvedNeeds({ name: "victim" }, ["spl"], drivers, [])).toThrow(/old or new may be meant/);
  });

  test.each([[["genuine"]], [[]]])("is what the configuration answers: %j", (needs) => {
    const drivers = [configured("victim", { needs }), ...others];

    expect(resolvedNeeds({ name: "victim" }, ["spl"], drivers, claims("genuine", "evil"))).toEqual(needs);
  });

  test("is nothing known where nobody has that name", () => {
    expect(
      resolvedNeeds({ name: "victim" }, ["other"], [configured("victim"), ...others], claims("evil")),
    ).toEqual([]);
  });

  test("is the driver itself where that has the name", () => {
    expect(
      resolvedNeeds({ name: "a", packageName: "spl" }, ["spl"], [configured("a"), ...others], claims("evil")),
    ).toEqual(["a"]);
  });
});

test("what waits for a driver that is not stable says so, and is known by it", () => {
  const source = { directory: "/", files: [], digest: "sha256:" as const, leftovers: [] as const };
  const needed = { name: "base", version: "1.0", source, modules: [], isStable: false };

  const good = { isStable: true, verdicts: [], refusals: [], words: {}, isOpen: false };
  const waitsFor = waitingFor([needed, { ...needed, name: "good", isStable: true }]);
  const judged = withWaiting(good, waitsFor);

  expect(judged).toEqual({
    ...{ ...good, isStable: false, waitsFor: ["base"] },
    refusals: ["it needs base, which is not stable"],
  });
  expect(hasWaited(judged, [needed])).toBe(false);
  expect(hasWaited(judged, [{ ...needed, isStable: true }])).toBe(true);
});

test("what an older version refused is judged again where it may have waited, and only there", () => {
  const source = { directory: "/", files: [], digest: "sha256:" as const, leftovers: [] as const };
  const needed = { name: "base", version: "1.0", source, modules: [], isStable: true };

  expect(hasWaited({ refusals: ["base, which it needs, is not stable"] }, [needed])).toBe(true);
  expect(hasWaited({ refusals: ["load: fail: an oops"] }, [])).toBe(false);
  expect(hasWaited({ refusals: ["load: fail: an oops"], waitsFor: [] }, [needed])).toBe(false);
});
