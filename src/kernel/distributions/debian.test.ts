import { describe, expect, test } from "vitest";
import { makeListedPackage } from "../../../test/support/kernels.ts";
import { parseParagraph } from "../../formats/deb822.ts";
import { kernelName } from "../kernel.ts";
import { debian } from "./debian.ts";
import type { ListedPackage } from "./distribution.ts";
import { DISTRIBUTIONS, findRelease, requireRelease } from "./index.ts";

/** The packages of one kernel of the 6.1 kind: one image package, headers, headers common to flavours, kbuild. */
function packagesOf(
  kversion: string,
  { version = "6.1.170-3", architecture = "x86_64" as "x86_64" | "aarch64", compiler = "gcc-12" } = {},
): ListedPackage[] {
  const series = kversion.split("-").slice(0, 2).join("-");
  return [
    makeListedPackage({
      name: `linux-headers-${kversion}`,
      version,
      architecture,
      depends: `linux-headers-${series}-common (= ${version}), linux-image-${kversion} (= ${version}) | linux-image-${kversion}-unsigned (= ${version}), linux-kbuild-6.1 (>= ${version}), ${compiler}`,
    }),
    makeListedPackage({ name: `linux-headers-${series}-common`, version, architecture: "all" }),
    makeListedPackage({ name: "linux-kbuild-6.1", version, architecture }),
    makeListedPackage({ name: `linux-image-${kversion}`, version, architecture }),
  ];
}

const only = (packages: readonly ListedPackage[]) => {
  const kernels = debian.kernelsOf(packages);
  expect(kernels).toHaveLength(1);
  return kernels[0]!;
};

describe("kernelsOf", () => {
  test("ties a kernel's packages together", () => {
    const kernel = only(packagesOf("6.1.0-56-amd64"));

    expect(kernel).toMatchObject({
      kversion: "6.1.0-56-amd64",
      packageVersion: "6.1.170-3",
      architecture: "x86_64",
      flavour: "generic",
      compiler: { family: "gcc", version: "12", source: "package" },
      missing: [],
      sources: ["debian/bookworm"],
    });
    expect(namesOf(kernel.packages.headers)).toEqual([
      "linux-headers-6.1.0-56-amd64",
      "linux-headers-6.1.0-56-common",
      "linux-kbuild-6.1",
    ]);
    expect(namesOf(kernel.packages.image)).toEqual(["linux-image-6.1.0-56-amd64"]);
    expect(kernel.packages.modules).toEqual(kernel.packages.image);
    expect(JSON.stringify(kernel.packages)).not.toContain("depends");
  });

  test.each([
    ["6.1.0-56-amd64", "generic"],
    ["6.1.0-56-cloud-amd64", "cloud"],
    ["6.1.0-56-rt-amd64", "rt"],
    ["6.1.0-56-arm64", "generic"],
    ["6.12.30-arm64-16k", "16k"],
    ["6.12.30-cloud-arm64", "cloud"],
    ["6.12.30+deb13-rt-arm64", "rt"],
    ["6.12.30-rt-arm64-16k", "rt-16k"],
    ["5.10.0-35-cloud-amd64", "cloud"],
    ["7.2-rc1-amd64", "generic"],
  ])("%s has the flavour %s", (kversion, flavour) => {
    expect(only(packagesOf(kversion)).flavour).toBe(flavour);
  });

  test.each([
    ["gcc-14", "gcc", "14"],
    ["linux-compiler-gcc-10-x86", "gcc", "10"],
    ["gcc-16-for-host", "gcc", "16"],
    ["clang-19", "clang", "19"],
  ])("knows the compiler by %s", (compiler, family, version) => {
    const kernel = only(packagesOf("6.1.0-56-amd64", { compiler }));

    expect(kernel.compiler).toEqual({ family, version, source: "package" });
  });

  test("does not guess the compiler where nobody names it", () => {
    expect(only(packagesOf("6.1.0-56-amd64", { compiler: "gcc" })).compiler).toBeUndefined();
  });

  test("sees no kernel in metapackages and in what is common to kernels", () => {
    const packages = [
      makeListedPackage({
        name: "linux-headers-amd64",
        depends: "linux-headers-6.1.0-56-amd64 (= 6.1.170-3)",
      }),
      makeListedPackage({ name: "linux-headers-cloud-amd64", depends: "linux-headers-6.1.0-56-cloud-amd64" }),
      makeListedPackage({ name: "linux-headers-6.1.0-56-common", architecture: "all" }),
      makeListedPackage({ name: "linux-kbuild-6.1" }),
    ];

    expect(debian.kernelsOf(packages)).toEqual([]);
  });

  test("takes the headers that are common to kernels of its own kind", () => {
    const version = "6.1.170-3";
    const packages = [
      ...packagesOf("6.1.0-56-amd64"),
      makeListedPackage({ name: "linux-headers-6.1.0-56-common-rt", architecture: "all" }),
      makeListedPackage({
        name: "linux-headers-6.1.0-56-rt-amd64",
        depends: `linux-headers-6.1.0-56-common-rt (= ${version}), linux-kbuild-6.1`,
      }),
    ];

    const rt = debian.kernelsOf(packages).find(({ flavour }) => flavour === "rt");

    expect(namesOf(rt?.packages.headers ?? [])).toContain("linux-headers-6.1.0-56-common-rt");
    expect(rt?.missing).toEqual([]);
  });

  test("two package versions of one release are two kernels, each with its own packages", () => {
    const packages = [
      ...packagesOf("6.1.0-56-amd64", { version: "6.1.170-3" }),
      ...packagesOf("6.1.0-56-amd64", { version: "6.1.172-1" }),
    ];

    const kernels = debian.kernelsOf(packages);

    const versions = kernels.map(({ packageVersion, packages: its }) => [
      packageVersion,
      ...new Set([...its.headers, ...its.image, ...its.modules].map(({ version }) => version)),
    ]);
    expect(versions).toEqual([
      ["6.1.170-3", "6.1.170-3"],
      ["6.1.172-1", "6.1.172-1"],
    ]);
  });

  test("arm64 and arm64-16k are two kernels", () => {
    const packages = ["6.12.30-arm64", "6.12.30-arm64-16k"].flatMap((kversion) =>
      packagesOf(kversion, { architecture: "aarch64" }),
    );

    const kernels = debian.kernelsOf(packages);

    const names = kernels.map((kernel) => kernelName({ distribution: "debian13", ...kernel }));
    expect(names).toEqual([
      "debian13/aarch64/6.12.30-arm64_6.1.170-3",
      "debian13/aarch64/6.12.30-arm64-16k_6.1.170-3",
    ]);
  });

  test("one release on two architectures is two kernels, and each takes tools of its own", () => {
    const packages = [
      ...packagesOf("6.1.0-56-amd64"),
      ...packagesOf("6.1.0-56-amd64", { architecture: "aarch64" }),
    ];

    const kernels = debian.kernelsOf(packages);

    expect(kernels.map(({ packages: { headers } }) => headers.at(-1)?.architecture)).toEqual([
      "x86_64",
      "aarch64",
    ]);
  });

  test("knows the build tools for builders of the other architecture", () => {
    const packages = [
      ...packagesOf("6.1.0-56-arm64", { architecture: "aarch64" }),
      makeListedPackage({ name: "linux-kbuild-6.1", architecture: "x86_64" }),
    ];

    const { headers, crossTools } = only(packages).packages;

    expect(headers.at(-1)).toMatchObject({ name: "linux-kbuild-6.1", architecture: "aarch64" });
    expect(crossTools).toMatchObject([{ name: "linux-kbuild-6.1", architecture: "x86_64" }]);
  });

  test("takes the tools of the same build, though newer ones would do", () => {
    const packages = [
      makeListedPackage({ name: "linux-kbuild-6.1", version: "6.1.999-1" }),
      ...packagesOf("6.1.0-56-amd64"),
    ];

    expect(only(packages).packages.headers.at(-1)?.version).toBe("6.1.170-3");
  });

  test("takes the newest tools that fit, where those of the same build are gone", () => {
    const packages = [
      ...packagesOf("6.1.0-56-amd64").filter(({ name }) => name !== "linux-kbuild-6.1"),
      makeListedPackage({ name: "linux-kbuild-6.1", version: "6.1.169-9" }),
      makeListedPackage({ name: "linux-kbuild-6.1", version: "6.1.170-10" }),
      makeListedPackage({ name: "linux-kbuild-6.1", version: "6.1.170-9" }),
    ];

    expect(only(packages).packages.headers.at(-1)?.version).toBe("6.1.170-10");
  });

  test("from 7.x on, boot image, modules and the list of what is built in are packages of their own", () => {
    const kversion = "7.1.3+deb14-amd64";
    const version = "7.1.3-1";
    const packages = [
      ...packagesOf(kversion, { version, compiler: "gcc-16-for-host" }),
      makeListedPackage({ name: `linux-binary-${kversion}`, version }),
      makeListedPackage({ name: `linux-modules-${kversion}`, version }),
      makeListedPackage({ name: `linux-modules-${kversion}`, version: "7.1.2-1" }),
      makeListedPackage({ name: `linux-base-${kversion}`, version }),
    ];

    const { image, modules } = only(packages).packages;

    expect(namesOf(image)).toEqual([`linux-binary-${kversion}`]);
    expect(modules).toMatchObject(
      ["modules", "base"].map((kind) => ({ name: `linux-${kind}-${kversion}`, version })),
    );
  });

  test("takes the unsigned image where there is no signed one", () => {
    const packages = packagesOf("6.1.0-56-amd64").map((one) =>
      one.name === "linux-image-6.1.0-56-amd64" ? { ...one, name: `${one.name}-unsigned` } : one,
    );

    expect(namesOf(only(packages).packages.image)).toEqual(["linux-image-6.1.0-56-amd64-unsigned"]);
  });

  test("names what is missing, and lists the kernel all the same", () => {
    const [headers] = packagesOf("6.1.0-56-amd64");

    const kernel = only([headers!]);

    expect(kernel.missing).toEqual(["linux-headers-6.1.0-56-common", "linux-kbuild-6.1"]);
    expect(namesOf(kernel.packages.headers)).toEqual(["linux-headers-6.1.0-56-amd64"]);
    expect(kernel.packages.image).toEqual([]);
  });

  test("one kernel in two suites is one kernel with two sources", () => {
    const packages = packagesOf("6.1.0-56-amd64");

    const kernel = only([
      ...packages,
      ...packages.map((one) => ({ ...one, source: "debian/bookworm-security" })),
    ]);

    expect(kernel.sources).toEqual(["debian/bookworm", "debian/bookworm-security"]);
  });

  test.each(["../../etc", "6.1 amd64", "-rf", `6.${"1".repeat(200)}`])(
    "drops a kernel named %j",
    (kversion) => {
      const headers = makeListedPackage({
        name: `linux-headers-${kversion}`,
        depends: "linux-headers-6.1.0-56-common (= 1)",
      });

      expect(debian.kernelsOf([headers])).toEqual([]);
    },
  );
});

describe("readPackage", () => {
  const FIELDS = {
    Package: "linux-headers-6.1.0-56-amd64",
    Version: "6.1.170-3",
    Architecture: "amd64",
    Depends: "linux-headers-6.1.0-56-common (= 6.1.170-3)",
    Filename: "pool/main/l/linux/linux-headers-6.1.0-56-amd64_6.1.170-3_amd64.deb",
    Size: "1234",
    SHA256: "a".repeat(64),
  };
  const read = (changes: Record<string, string>) => {
    const fields = Object.entries({ ...FIELDS, ...changes }).filter(([, value]) => value !== "");
    const text = fields.map(([name, value]) => `${name}: ${value}`).join("\n");
    return debian.readPackage(parseParagraph(text), "debian/bookworm");
  };

  test("reads what an index says of a package", () => {
    expect(read({})).toEqual({
      name: "linux-headers-6.1.0-56-amd64",
      version: "6.1.170-3",
      architecture: "x86_64",
      depends: "linux-headers-6.1.0-56-common (= 6.1.170-3)",
      path: "pool/main/l/linux/linux-headers-6.1.0-56-amd64_6.1.170-3_amd64.deb",
      size: 1234,
      sha256: "a".repeat(64),
      source: "debian/bookworm",
    });
    expect(read({ Architecture: "all" })?.architecture).toBe("all");
    expect(read({ Depends: "" })?.depends).toBe("");
  });

  test.each([
    ["another architecture", { Architecture: "riscv64" }],
    ["no digest", { SHA256: "" }],
    ["half a digest", { SHA256: "a".repeat(63) }],
    ["no size", { Size: "many" }],
    ["a negative size", { Size: "-1" }],
    ["no path", { Filename: "" }],
    ["a path that leads out", { Filename: "pool/../../etc/shadow" }],
    ["an absolute path", { Filename: "/etc/shadow" }],
    ["a path of another server", { Filename: "http://mirror.example/a.deb" }],
    ["a path with a space", { Filename: "pool/a b.deb" }],
  ])("drops a package with %s", (_, changes) => {
    expect(read(changes)).toBeUndefined();
  });
});

describe("the registry of distributions", () => {
  test("has each release under one key, which leads to it", () => {
    const keys = DISTRIBUTIONS.flatMap(({ id, releases }) => releases.map(({ key }) => [id, key] as const));

    expect(new Set(keys.map(([, key]) => key)).size).toBe(keys.length);
    for (const [id, key] of keys) expect(findRelease(key)?.distribution.id).toBe(id);
  });

  test("knows no release by its distribution alone or by half its name", () => {
    expect(["debian", "debian1", "debian12.1", ""].map(findRelease)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(() => requireRelease("debian9")).toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.stringContaining("debian12, debian13"),
      }),
    );
  });
});

function namesOf(packages: readonly { name: string }[]): string[] {
  return packages.map(({ name }) => name);
}
