import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { makePackage } from "../../test/support/kernels.ts";
import { parseDocument } from "../base/json.ts";
import { AnyMatrix, elementKey, elementName, outputOf, seriesOf, urlsOf } from "./element.ts";

describe("seriesOf", () => {
  test.each([
    ["0.1.1", "0.1.0"],
    ["0.1.0", "0.1.0"],
    ["10.20.30", "10.20.0"],
    ["1.2.3-rc1", "1.2.0"],
    ["1.2.3+dfsg", "1.2.0"],
    ["2024.11", "2024.11"],
    ["525.60.11-2", "525.60.0"],
    ["main", "main"],
  ])("of %s is %s", (version, series) => {
    expect(seriesOf(version)).toBe(series);
  });

  test("is the configured one where there is one", () => {
    expect(seriesOf("0.1.1", "legacy")).toBe("legacy");
  });

  test.each([
    ["../0.1", undefined],
    ["0.1.1", "a/b"],
    ["", undefined],
    [" 0.1", undefined],
  ])("refuses %j in %j", (version, configured) => {
    expect(() => seriesOf(version, configured)).toThrow(expect.objectContaining({ code: "UNSAFE_NAME" }));
  });
});

describe("outputOf", () => {
  const kernel = {
    distribution: "debian12",
    architecture: "x86_64" as const,
    kversion: "6.12.113+deb12-amd64",
    packageVersion: "6.12.113-1~bpo12+1",
  };

  test("names series, release, architecture, kernel and build", () => {
    expect(outputOf("0.1.0", kernel)).toBe("0.1.0/debian12/x86_64/6.12.113+deb12-amd64_6.12.113-1~bpo12+1");
  });

  test.each(["1:6.12", "6.12/../..", "6.12 ", "x".repeat(120)])(
    "refuses the package version %j",
    (packageVersion) => {
      expect(() => outputOf("0.1.0", { ...kernel, packageVersion })).toThrow(
        expect.objectContaining({ code: "UNSAFE_NAME" }),
      );
    },
  );
});

describe("elementKey", () => {
  const KEY = elementKey(makeElement());

  test.each([
    ["a patch release of the driver", { driverversion: "0.1.2" }],
    ["another place of the packages", { kernelurls: [] }],
    ["a recipe", { recipe: "sha256:00" }],
    ["another compiler", { compiler: { family: "clang", version: "19", source: "config" } as const }],
  ])("stays the same with %s", (_, changes) => {
    expect(elementKey(makeElement(changes))).toBe(KEY);
  });

  test.each([
    ["another series", { driverversion: "0.2.0" }],
    ["another driver", { driver: "chime" }],
    ["another release", { distribution: "debian13" }],
    ["another kernel", { kversion: "6.1.0-57-amd64" }],
    ["another build of the kernel", { packageVersion: "6.1.172-1" }],
    ["another architecture", { architecture: "aarch64" as const }],
  ])("is another with %s", (_, changes) => {
    expect(elementKey(makeElement(changes))).not.toBe(KEY);
  });
});

describe("elementName", () => {
  test("says for people what is built", () => {
    expect(elementName(makeElement())).toBe("doorbell 0.1.1 debian12/x86_64/6.1.0-56-amd64");
  });
});

describe("urlsOf", () => {
  test("joins mirrors and paths, and escapes what stores misread", () => {
    const packages = [
      makePackage({ name: "a", version: "1+b~c", source: "one" }),
      makePackage({ name: "b", source: "two" }),
    ];

    const urls = urlsOf(packages, new Map([["one", "http://mirror.example/debian/"]]));

    expect(urls).toEqual(["http://mirror.example/debian/pool/main/l/linux/a_1%2Bb~c_amd64.deb"]);
  });
});

describe("AnyMatrix", () => {
  const elements = [makeElement(), makeElement({ kversion: "6.1.0-57-amd64" })];
  const stored = { schema: "kmodfarm.matrix/1", generatedAt: "2026-02-07T00:00:00.000Z", elements };

  test.each([
    ["a stored matrix", stored],
    ["the bare list that is printed", elements],
  ])("reads %s", (_, document) => {
    expect(parseDocument(AnyMatrix, JSON.stringify(document), "m.json")).toEqual(elements);
  });

  test.each([
    ["another schema", { ...stored, schema: "kmodfarm.matrix/9" }],
    ["a kernel that leads out", [{ ...elements[0], kversion: "../../etc" }]],
    ["a driver that leads out", [{ ...elements[0], driver: "a/b" }]],
    ["an architecture that nobody knows", [{ ...elements[0], architecture: "riscv64" }]],
    ["a place that is no place on the web", [{ ...elements[0], kernelurls: ["file:///etc/shadow"] }]],
    ["no list", {}],
  ])("refuses %s", (_, document) => {
    expect(() => parseDocument(AnyMatrix, JSON.stringify(document), "m.json")).toThrow(
      expect.objectContaining({ code: "DOCUMENT_INVALID" }),
    );
  });
});
