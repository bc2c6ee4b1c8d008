import fc from "fast-check";
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

  test.each(["1:2:6.12", "6.12/../..", "6.12 ", "x".repeat(120)])(
    "refuses the package version %j",
    (packageVersion) => {
      expect(() => outputOf("0.1.0", { ...kernel, packageVersion })).toThrow(
        expect.objectContaining({ code: "UNSAFE_NAME" }),
      );
    },
  );
});

describe("outputOf by the packaging of a release", () => {
  const machine = { architecture: "x86_64" as const };

  test.each([
    ["amazonlinux2023", "6.1.12-17.42.amzn2023.x86_64", "6.1.12-17.42.amzn2023"],
    ["almalinux9.4", "5.14.0-427.13.1.el9_4.x86_64", "5.14.0-427.13.1.el9_4"],
    ["rhel9.3", "5.14.0-362.13.1.el9_3.x86_64+rt", "5.14.0-362.13.1.el9_3"],
    ["centos7", "3.10.0-1160.el7.x86_64.debug", "3.10.0-1160.el7"],
    ["photon4.0", "5.10.83-7.ph4-esx", "5.10.83-7.ph4"],
    ["photon4.0", "5.10.83-7.ph4", "5.10.83-7.ph4"],
  ])("%s: %s names the build", (distribution, kversion, packageVersion) => {
    const kernel = { ...machine, distribution, kversion, packageVersion };

    expect(outputOf("0.1.0", kernel)).toBe(`0.1.0/${distribution}/x86_64/${kversion}`);
  });

  test.each([
    ["debian12", "6.1.0-47-amd64", "6.1.170-3"],
    ["ubuntu22.04", "5.15.0-1021-aws", "5.15.0-1021.25"],
    ["opensuse-leap15.4", "5.14.21-150400.24.11-default", "5.14.21-150400.24.11.1"],
    ["arch", "6.4.1-arch1-1", "6.4.1.arch1-1"],
    ["minikube1.26.0", "5.10.57", "1_1.26.0"],
  ])("%s: %s does not", (distribution, kversion, packageVersion) => {
    const kernel = { ...machine, distribution, kversion, packageVersion };

    expect(outputOf("0.1.0", kernel)).toBe(`0.1.0/${distribution}/x86_64/${kversion}_${packageVersion}`);
  });

  test("two kernels of one release never share a place, however they are named", () => {
    const part = fc.constantFrom("5.1", "-2", ".el9", ".x86_64", "+rt", "-esx", "_1", ".9", "-");
    const kversion = fc.array(part, { minLength: 2, maxLength: 7 }).map((parts) => `6${parts.join("")}`);
    fc.assert(
      fc.property(kversion, fc.nat(40), fc.nat(40), (release, one, other) => {
        const [a, b] = [one, other].map((length) => release.slice(0, length + 1)) as [string, string];
        fc.pre(a !== b);
        const place = (packageVersion: string) =>
          outputOf("0.1.0", { ...machine, distribution: "almalinux9.4", kversion: release, packageVersion });

        expect(place(a)).not.toBe(place(b));
      }),
      { numRuns: 5000 },
    );
  });
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
