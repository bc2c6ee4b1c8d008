import { describe, expect, test } from "vitest";
import { allNeeds, isWaiting, type Needing, refuseWrongNeeds, waitingFor } from "./needs.ts";

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
      /leaf needs bsae, and there is no driver/,
    ],
    ["itself", [driver("leaf", ["leaf"])], /leaf needs leaf: none of them/],
    [
      "a circle",
      [driver("a", ["b"]), driver("b", ["c"]), driver("c", ["a"])],
      /a needs b needs c needs a: none of them can be built first/,
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
      /has the versions 1, 2/,
    ],
    ["no such driver", [needing("leaf", ["base"])], /leaf needs base, and there is no driver/],
    ["a circle", [needing("leaf", ["base"]), needing("base", ["leaf"])], /leaf needs base needs leaf/],
  ])("is refused by name: %s", (_, all, message) => {
    expect(() => allNeeds(all[0] as Needing, all)).toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringMatching(message) }),
    );
  });
});

test("what waits for a driver that is not stable says so, and is known by it", () => {
  const source = { directory: "/", files: [], digest: "sha256:" as const, leftovers: [] as const };
  const needed = { name: "base", version: "1.0", source, modules: [], isStable: false };

  const refusals = waitingFor([needed, { ...needed, name: "good", isStable: true }]);

  expect(refusals).toEqual(["base, which it needs, is not stable"]);
  expect(refusals.every(isWaiting)).toBe(true);
  expect(isWaiting("load: fail: it does not go in")).toBe(false);
});
