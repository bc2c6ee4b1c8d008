/** What nodes call the kernels of lists whose own names are package versions or words of the crawler. */
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { catalogOfList } from "../../test/support/lists.ts";
import { exportKernelCrawler, readKernelCrawler } from "./kernel-crawler.ts";

interface Entry {
  readonly kernelrelease: string;
  readonly target: string;
  readonly kernelversion?: string;
  readonly headers: readonly string[];
}

function read(...entries: readonly Entry[]) {
  const list = entries.map((entry) => ({ kernelversion: 1, ...entry }));
  return readKernelCrawler(Readable.from([Buffer.from(JSON.stringify({ list }))]), { url: "list.json" });
}

const PLACE = "https://m.example/l";
const arch = (version: string, name = "linux"): Entry => ({
  ...{ kernelrelease: version, target: "arch" },
  headers: [`${PLACE}/${name}-headers-${version}-x86_64.pkg.tar.zst`],
});
const NO_NAME = "its package version does not show its release on nodes (uname -r)";

describe("Arch's packages", () => {
  test.each([
    ["5.18.arch1-1", "linux", "5.18.0-arch1-1"],
    ["6.4.1.arch1-1", "linux", "6.4.1-arch1-1"],
    ["6.10.arch1-2", "linux", "6.10.0-arch1-2"],
    ["4.8.13-1", "linux", "4.8.13-1-ARCH"],
    ["4.8-1", "linux", "4.8.0-1-ARCH"],
    ["6.4.zen1-1", "linux-zen", "6.4.0-zen1-1-zen"],
    ["6.4.1.zen2-1", "linux-zen", "6.4.1-zen2-1-zen"],
    ["6.6.38.hardened1-1", "linux-hardened", "6.6.38-hardened1-1-hardened"],
    ["6.18-1", "linux-lts", "6.18.0-1-lts"],
    ["6.1.38-1", "linux-lts", "6.1.38-1-lts"],
  ])("%s of %s runs as %s", async (version, name, release) => {
    const { kernels, dropped } = await read(arch(version, name));

    expect(dropped).toEqual([]);
    expect(kernels).toMatchObject([{ kversion: release, packageVersion: version, distribution: "arch" }]);
    expect(kernels[0]?.unbuildable).toBeUndefined();
  });

  test.each([
    // With -ARCH behind it, or without: that changed while such versions were current.
    ["5.3.arch1-1", "linux"],
    ["5.3.11.1-1", "linux"],
    ["6.6.36.35.realtime1-1", "linux-rt"],
    ["4.14.12.a-1", "linux-hardened"],
    ["6.1.2-1", "linux-somebody"],
  ])("%s of %s proves no release: unknown, never built, and still listed", async (version, name) => {
    const { kernels } = await read(arch(version, name));

    expect(kernels).toMatchObject([{ kversion: "unknown", packageVersion: version, unbuildable: NO_NAME }]);
  });
});

describe("SUSE's packages", () => {
  const suse = (own: string, shared: readonly string[], target = "opensuse"): Entry => ({
    ...{ kernelrelease: `${own}.x86_64`, target },
    headers: [
      `${PLACE}/kernel-default-devel-${own}.x86_64.rpm`,
      ...shared.map((version) => `${PLACE}/kernel-devel-${version}.noarch.rpm`),
    ],
  });
  const namesOf = async (entry: Entry) =>
    (await read(entry)).kernels.map(({ kversion, packages, missing }) => ({
      kversion,
      headers: packages.headers.map(({ name, version }) => `${name} ${version}`),
      missing,
    }));

  test("for all architectures may be another rebuild of the same sources", async () => {
    expect(await namesOf(suse("5.14.21-150500.30.2", ["5.14.21-150500.30.1"]))).toEqual([
      {
        kversion: "5.14.21-150500.30-default",
        headers: ["kernel-default-devel 5.14.21-150500.30.2", "kernel-devel 5.14.21-150500.30.1"],
        missing: [],
      },
    ]);
  });

  test("for all architectures are those of the same rebuild where they are there", async () => {
    const [kernel] = await namesOf(
      suse("6.4.0-150600.16.3", ["6.4.0-150600.16.3", "6.4.0-150600.16.2", "6.4.0-150600.17.1"]),
    );

    expect(kernel?.headers).toEqual([
      "kernel-default-devel 6.4.0-150600.16.3",
      "kernel-devel 6.4.0-150600.16.3",
    ]);
  });

  test.each([[[]], [["5.14.21-150500.33.1"]]])("are missed where there are only %j", async (shared) => {
    expect(await namesOf(suse("5.14.21-150500.30.2", shared))).toMatchObject([{ missing: ["kernel-devel"] }]);
  });

  test("that are not listed leave the release unknown", async () => {
    const { kernels, dropped } = await read({ ...suse("5.14.21-150500.30.2", []), headers: [] });

    expect([kernels.length, dropped.map(({ reason }) => reason)]).toEqual([
      0,
      [expect.stringMatching(/its kernel release is unknown/)],
    ]);
  });
});

test("an rpm distribution that nobody knows has no release that anybody knows", async () => {
  const { kernels } = await read({
    ...{ kernelrelease: "5.15.131.1-2.cm2.x86_64", target: "mariner" },
    headers: [`${PLACE}/kernel-devel-5.15.131.1-2.cm2.x86_64.rpm`],
  });

  expect(kernels).toMatchObject([{ kversion: "unknown", distribution: "unknown", unbuildable: NO_NAME }]);
});

test("Ubuntu's builds of plain kernels belong to no release", async () => {
  const { kernels } = await read({
    ...{ kernelrelease: "5.8.0-050800-generic", kernelversion: "202008022230", target: "ubuntu-generic" },
    headers: [
      `${PLACE}/linux-headers-5.8.0-050800-generic_5.8.0-050800.202008022230_amd64.deb`,
      `${PLACE}/linux-headers-5.8.0-050800_5.8.0-050800.202008022230_all.deb`,
    ],
  });

  expect(kernels).toMatchObject([{ kversion: "5.8.0-050800-generic", distribution: "unknown" }]);
});

describe("an export has every URL of the import", () => {
  const debs = (...files: readonly string[]) =>
    files.map((file) => `https://m.example/pool/main/l/linux/${file}.deb`);
  const DEBIAN: Entry = {
    ...{ kernelrelease: "5.19.6-1-amd64", target: "debian" },
    headers: [
      ...debs(
        "linux-headers-5.19.0-1-amd64_5.19.6-1_amd64",
        "linux-headers-5.19.0-1-common_5.19.6-1_all",
        "linux-headers-5.19.0-1-common-rt_5.19.6-1_all",
        // The newer one is used.
        "linux-kbuild-5.19_5.19.6-1_amd64",
        "linux-kbuild-5.19_5.19.11-1_amd64",
      ),
      // The same package from another mirror.
      "https://other.example/linux-headers-5.19.0-1-amd64_5.19.6-1_amd64.deb",
    ],
  };

  test.each<[string, readonly Entry[]]>([
    ["Debian's with two builds of its tools and two mirrors", [DEBIAN]],
    [
      "two that name one kernel",
      [
        DEBIAN,
        {
          ...DEBIAN,
          kernelrelease: "5.19.0-1-amd64",
          headers: debs(
            "linux-headers-5.19.0-1-amd64_5.19.6-1_amd64",
            "linux-headers-5.19.0-1-common_5.19.6-1_all",
          ),
        },
      ],
    ],
    [
      "SUSE's with companions of another rebuild",
      [
        {
          ...{ kernelrelease: "5.14.21-150500.30.2.x86_64", target: "opensuse" },
          headers: [
            "default-devel-5.14.21-150500.30.2.x86_64",
            "devel-5.14.21-150500.30.1.noarch",
            "devel-5.14.21-150500.29.1.noarch",
          ].map((file) => `${PLACE}/kernel-${file}.rpm`),
        },
      ],
    ],
    [
      "Arch's without a release",
      [arch("6.6.36.35.realtime1-1", "linux-rt"), arch("5.3.11.1-1"), arch("5.3.11.1-1", "linux-zen")],
    ],
    [
      "Ubuntu's for one kernel of two flavours",
      [
        {
          ...{ kernelrelease: "5.4.0-100-hwe-5.4", kernelversion: "113~18.04.1", target: "ubuntu-hwe-5.4" },
          headers: debs(
            "linux-headers-5.4.0-100-generic_5.4.0-100.113~18.04.1_amd64",
            "linux-headers-5.4.0-100-lowlatency_5.4.0-100.113~18.04.1_amd64",
            "linux-hwe-5.4-headers-5.4.0-100_5.4.0-100.113~18.04.1_all",
          ),
        },
      ],
    ],
  ])("of %s", async (_, entries) => {
    const catalog = catalogOfList(await read(...entries));

    const exported = JSON.parse(exportKernelCrawler(catalog, "x86_64")) as Record<string, readonly Entry[]>;

    const urls = (some: readonly Entry[]) => [...new Set(some.flatMap(({ headers }) => headers))].sort();
    expect(urls(Object.values(exported).flat())).toEqual(urls(entries));
    const again = catalogOfList(await read(...Object.values(exported).flat()));
    expect(exportKernelCrawler(again, "x86_64")).toBe(exportKernelCrawler(catalog, "x86_64"));
  });
});
