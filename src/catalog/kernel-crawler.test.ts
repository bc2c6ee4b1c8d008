import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { type Catalog, EMPTY_CATALOG } from "./catalog.ts";
import { exportKernelCrawler, readKernelCrawler } from "./kernel-crawler.ts";
import { type KernelList, type ListOptions, reportsOfList } from "./kernel-list.ts";
import { mergeCatalog } from "./merge.ts";

const fixture = (name: string) =>
  readFileSync(new URL(`../../test/fixtures/kernel-crawler/${name}`, import.meta.url));

async function* once(bytes: Uint8Array) {
  yield bytes;
}

function read(document: unknown, options: Partial<ListOptions> = {}): Promise<KernelList> {
  const bytes = document instanceof Uint8Array ? document : Buffer.from(JSON.stringify(document));
  return readKernelCrawler(once(bytes), { url: "list.json", ...options });
}

function catalogOf(list: KernelList, previous: Catalog = EMPTY_CATALOG): Catalog {
  const now = "2026-01-01T00:00:00.000Z";
  return mergeCatalog(previous, reportsOfList(list, previous, now), { now });
}

const shown = ({ kernels }: KernelList) =>
  kernels.map(({ distribution, kversion, packageVersion, flavour, packages, missing }) => ({
    kernel: `${distribution} ${kversion} ${packageVersion} ${flavour}`,
    headers: packages.headers.map(({ name }) => name),
    missing,
  }));

describe("readKernelCrawler", () => {
  test("makes the right kernels of every kind of entry", async () => {
    const list = await read(fixture("x86_64.json"));

    expect(list.id).toBe("kernel-crawler-x86_64");
    expect(list.dropped).toEqual([]);
    expect(shown(list).map(({ kernel }) => kernel)).toEqual([
      "amazonlinux1 4.9.17-8.31.amzn1.x86_64 4.9.17-8.31.amzn1 generic",
      "amazonlinux2 4.14.143-118.123.amzn2.x86_64 4.14.143-118.123.amzn2 generic",
      "amazonlinux2 4.14.173-137.229.amzn2.x86_64 4.14.173-137.229.amzn2 generic",
      "amazonlinux2022 5.10.96-90.460.amzn2022.x86_64 5.10.96-90.460.amzn2022 generic",
      "centos7 3.10.0-1160.el7.x86_64 3.10.0-1160.el7 generic",
      "centos8 4.18.0-80.1.2.el8_0.x86_64 4.18.0-80.1.2.el8_0 generic",
      "debian10 5.10.0-0.deb10.17-amd64 5.10.136-1~deb10u3 generic",
      "debian10 5.10.0-0.deb10.17-cloud-amd64 5.10.136-1~deb10u3 cloud",
      "debian10 5.10.0-0.deb10.17-rt-amd64 5.10.136-1~deb10u3 rt",
      "debian11 5.10.0-17-amd64 5.10.136-1 generic",
      "debian11 5.10.0-17-cloud-amd64 5.10.136-1 cloud",
      "debian11 5.10.0-17-rt-amd64 5.10.136-1 rt",
      "debian8 3.16.0-10-amd64 3.16.81-1 generic",
      "debian9 4.9.0-4-grsec-amd64 4.9.65-2+grsecunoff1~bpo9+1 grsec",
      "debiansid 5.19.0-1-amd64 5.19.6-1 generic",
      "debiansid 5.19.0-1-cloud-amd64 5.19.6-1 cloud",
      "debiansid 5.19.0-1-rt-amd64 5.19.6-1 rt",
      "fedora34 5.11.12-300.fc34.x86_64 5.11.12-300.fc34 generic",
      "fedora35 5.14.10-300.fc35.x86_64 5.14.10-300.fc35 generic",
      "flatcar1688.5.3 unknown 1688.5.3 generic",
      "minikube1.25.0 4.19.202 1_1.25.0 generic",
      "ol7 5.4.17-2011.0.7.el7uek.x86_64 5.4.17-2011.0.7.el7uek uek",
      "ol8 4.18.0-147.0.2.el8_1.x86_64 4.18.0-147.0.2.el8_1 generic",
      "photon3.0 4.19.15-2.ph3 4.19.15-2.ph3 generic",
      "ubuntu18.04 4.15.0-193-generic 4.15.0-193.204 generic",
      "ubuntu18.04 4.15.0-193-lowlatency 4.15.0-193.204 lowlatency",
      "ubuntu18.04 5.4.0-128-generic 5.4.0-128.144~18.04.1 generic",
      "ubuntu18.04 5.4.0-128-lowlatency 5.4.0-128.144~18.04.1 lowlatency",
      "ubuntu20.04 5.4.0-1086-aws 5.4.0-1086.93 aws",
      "ubuntu22.04 5.15.0-1006-nvidia-lowlatency 5.15.0-1006.6 nvidia-lowlatency",
      "ubuntu22.04 5.15.0-1006-nvidia 5.15.0-1006.6 nvidia",
      "unknown 4.4.0-1125-aws 4.4.0-1125.139 aws",
    ]);
    for (const { packages, sources, distribution, crawler } of list.kernels) {
      expect(sources).toEqual([`kernel-crawler-x86_64/${distribution}`]);
      expect(
        packages.headers.every(({ path, source }) => path.startsWith("http") && source === sources[0]),
      ).toBe(true);
      expect(typeof crawler.kernelversion).toBe("string");
    }
  });

  test("gives each flavour of a Debian entry its own headers, the common ones and the tools", async () => {
    const list = await read(fixture("x86_64.json"));

    expect(
      shown(list).filter(({ kernel }) => kernel.includes("5.10.136-1 ") || kernel.includes("grsec")),
    ).toEqual([
      {
        kernel: "debian11 5.10.0-17-amd64 5.10.136-1 generic",
        headers: ["linux-headers-5.10.0-17-amd64", "linux-headers-5.10.0-17-common", "linux-kbuild-5.10"],
        missing: [],
      },
      {
        kernel: "debian11 5.10.0-17-cloud-amd64 5.10.136-1 cloud",
        headers: [
          "linux-headers-5.10.0-17-cloud-amd64",
          "linux-headers-5.10.0-17-common",
          "linux-kbuild-5.10",
        ],
        missing: [],
      },
      {
        kernel: "debian11 5.10.0-17-rt-amd64 5.10.136-1 rt",
        headers: [
          "linux-headers-5.10.0-17-rt-amd64",
          "linux-headers-5.10.0-17-common-rt",
          "linux-kbuild-5.10",
        ],
        missing: [],
      },
      {
        kernel: "debian9 4.9.0-4-grsec-amd64 4.9.65-2+grsecunoff1~bpo9+1 grsec",
        headers: [
          "linux-headers-4.9.0-4-grsec-amd64",
          "linux-headers-4.9.0-4-common-grsec",
          "linux-kbuild-4.9",
        ],
        missing: [],
      },
    ]);
  });

  test("keeps pages of 4k and 16k or 64k apart, and the other architecture", async () => {
    const [list, rich] = [await read(fixture("aarch64.json")), await read(fixture("rich_aarch64.json"))];

    expect(new Set(list.kernels.map(({ architecture }) => architecture))).toEqual(new Set(["aarch64"]));
    expect(shown(list).map(({ kernel }) => kernel)).toEqual([
      "debiansid 5.19.0-1-arm64 5.19.6-1 generic",
      "debiansid 5.19.0-1-cloud-arm64 5.19.6-1 cloud",
      "debiansid 5.19.0-1-rt-arm64 5.19.6-1 rt",
      "flatcar3033.2.0 unknown 3033.2.0 generic",
      "minikube1.26.0 5.10.57 1_1.26.0 generic",
      "ubuntu18.04 5.4.0-1078-gcp 5.4.0-1078.84~18.04.1 gcp",
      "ubuntu22.10 5.19.0-18-generic-64k 5.19.0-18.18 generic-64k",
      "ubuntu22.10 5.19.0-18-generic 5.19.0-18.18 generic",
    ]);
    expect(rich.kernels.map(({ flavour }) => flavour).toSorted()).toEqual(["16k", "generic", "rt"]);
  });

  test("uses what richer lists know: release, compiler, digests", async () => {
    const [kernel] = (await read(fixture("rich_aarch64.json"))).kernels.filter(
      ({ flavour }) => flavour === "generic",
    );

    expect(kernel).toMatchObject({
      distribution: "debian12",
      compiler: { family: "gcc", version: "12", source: "package" },
    });
    expect(kernel).not.toHaveProperty("inferred");
    expect(
      kernel?.packages.headers.every(({ sha256, size }) => sha256?.length === 64 && (size ?? 0) > 0),
    ).toBe(true);
  });

  test("reads lists without headers as far as a kernel's release is certain", async () => {
    const list = await read(fixture("x86_64-2022-04-24.json"));

    expect(shown(list)).toEqual([
      { kernel: expect.stringContaining("flatcar"), headers: [], missing: [] },
      { kernel: expect.stringContaining("ol8 "), headers: [], missing: ["kernel-devel"] },
      { kernel: expect.stringContaining("ol8 "), headers: [], missing: ["kernel-devel"] },
    ]);
    expect(list.dropped).toEqual([
      { reason: expect.stringContaining("is unknown"), count: 3, examples: expect.any(Array) },
    ]);
  });

  test("takes what is no kernel's header package for none", async () => {
    const list = await read(fixture("x86_64-2022-05-03.json"));

    expect(list.dropped).toEqual([
      {
        reason: "has a URL that is not of a kernel header package",
        count: 1,
        examples: [expect.stringContaining("1.3.0-1.ph3.x86_64")],
      },
    ]);
    expect(
      list.kernels.filter(({ distribution }) => distribution === "photon3.0").map(({ kversion }) => kversion),
    ).toEqual([expect.stringMatching(/\.ph3-(aws|rt)$/), expect.stringMatching(/\.ph3-(aws|rt)$/)]);
  });

  test("says why nothing can be built for a configuration or an image", async () => {
    const list = await read(fixture("x86_64.json"));
    const why = (id: string) =>
      list.kernels.find(({ distribution }) => distribution.startsWith(id))?.unbuildable;

    expect(why("minikube")).toContain("configuration");
    expect(why("flatcar")).toContain("image");
    expect(
      list.kernels.find(({ distribution }) => distribution.startsWith("minikube"))?.crawler.kernelconfigdata,
    ).toMatch(/^[A-Za-z0-9+/]{400}$/);
  });

  test("asks for the architecture where nothing shows it, and takes the list's where all agree", async () => {
    const entry = {
      kernelversion: "1_1.26.0",
      kernelrelease: "5.10.57",
      target: "minikube",
      kernelconfigdata: "QUJD",
    };
    const other = {
      kernelversion: 1,
      kernelrelease: "5.14.10-300.fc35.aarch64",
      target: "fedora",
      headers: null,
    };

    const [alone, named, beside] = [
      await read({ minikube: [entry] }),
      await read({ minikube: [entry] }, { architecture: "x86_64" }),
      await read({ minikube: [entry], fedora: [other] }),
    ];

    expect(alone).toMatchObject({
      kernels: [],
      dropped: [{ reason: expect.stringContaining("--arch"), count: 1 }],
    });
    expect(named.kernels[0]?.architecture).toBe("x86_64");
    expect(beside.kernels.map(({ architecture }) => architecture)).toEqual(["aarch64", "aarch64"]);
    expect(beside.id).toBe("kernel-crawler-aarch64");
  });

  const GOOD = {
    kernelversion: 1,
    kernelrelease: "6.1.12-17.42.amzn2023.x86_64",
    target: "amazonlinux2023",
    headers: ["https://m.example/kernel-devel-6.1.12-17.42.amzn2023.x86_64.rpm"],
  };

  test.each<[string, unknown, RegExp]>([
    ["a number", 7, /object/],
    ["null", null, /object/],
    [
      "a name that leads out",
      { ...GOOD, kernelrelease: "../../etc/passwd" },
      /kernelrelease: not a safe name/,
    ],
    ["a NUL", { ...GOOD, target: "amazon\0linux" }, /target: not a safe name/],
    ["a version that leads out", { ...GOOD, kernelversion: "../1" }, /kernelversion/],
    ["a name of a megabyte", { ...GOOD, kernelrelease: "6".repeat(1 << 20) }, /kernelrelease/],
    [
      "headers of another kernel",
      { ...GOOD, kernelrelease: "6.1.13-17.42.amzn2023.x86_64" },
      /a different kernel/,
    ],
    ["a URL of a file here", { ...GOOD, headers: ["file:///etc/passwd"] }, /not of a kernel header package/],
    ["a thousand URLs", { ...GOOD, headers: Array(1000).fill(GOOD.headers[0]) }, /headers/],
    ["a configuration that is none", { ...GOOD, headers: [], kernelconfigdata: "§" }, /kernelconfigdata/],
    ["a distribution version that leads out", { ...GOOD, distro_version: "../9" }, /distro_version/],
    [
      "a package larger than any",
      { ...GOOD, files: [{ url: GOOD.headers[0], size: 1024 ** 3 + 1, sha256: "0".repeat(64) }] },
      /files\[0\]\.size/,
    ],
    ["deep nesting", JSON.parse(`${'{"a":'.repeat(100)}1${"}".repeat(100)}`), /nested/],
    ["a name of objects", { ...GOOD, target: "__proto__" }, /target/],
  ])("drops %s, counts it, and goes on", async (_, entry, reason) => {
    const list = await read({ amazonlinux2023: [entry, GOOD] });

    expect(list).toMatchObject({ entries: 2, kernels: [{ kversion: GOOD.kernelrelease }] });
    expect(list.dropped).toEqual([
      { reason: expect.stringMatching(reason), count: 1, examples: [expect.any(String)] },
    ]);
    expect(JSON.stringify(list.dropped).length).toBeLessThan(400);
  });

  test.each(["[]", "{", '{"name":"kmodfarm","files":["a","b"]}', '{"schema":"x"}', "\0\0", ""])(
    "takes %j for no list, with one clear error",
    async (text) => {
      await expect(read(Buffer.from(text))).rejects.toMatchObject({ code: "DOCUMENT_INVALID" });
    },
  );

  test("makes one error or nothing unsafe of whatever stands in a list", async () => {
    const word = fc.oneof(
      fc.constantFrom(
        "__proto__",
        "constructor",
        "../..",
        "a\0b",
        "",
        "1",
        "debian",
        "ubuntu-aws",
        GOOD.kernelrelease,
      ),
      fc.string(),
    );
    const entry = fc.oneof(
      fc.jsonValue(),
      fc.record(
        {
          kernelversion: fc.oneof(word, fc.integer()),
          kernelrelease: word,
          target: word,
          headers: fc.array(fc.oneof(fc.constantFrom(...GOOD.headers), fc.webUrl(), word), { maxLength: 3 }),
          kernelconfigdata: word,
          distro_version: word,
        },
        { requiredKeys: [] },
      ),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(word, fc.array(entry, { maxLength: 4 }), { maxKeys: 3 }),
        async (document) => {
          const list = await read(document, { architecture: "x86_64" }).catch(
            (error: { code?: string }) => error.code,
          );
          if (typeof list !== "object") {
            expect(list).toBe("DOCUMENT_INVALID");
            return;
          }

          for (const kernel of list.kernels)
            expect(`${kernel.kversion}/${kernel.distribution}`).toMatch(
              /^[A-Za-z0-9][\w.+~-]*\/[a-z0-9][\w.+~-]*$/i,
            );
          const dropped = list.dropped.reduce((sum, { count }) => sum + count, 0);
          expect(dropped).toBeLessThanOrEqual(list.entries);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("exportKernelCrawler", () => {
  test.each(["x86_64.json", "x86_64-2022-05-03.json", "x86_64-2022-04-24.json", "aarch64.json"])(
    "writes %s so that it reads the same, byte for byte",
    async (name) => {
      const architecture = name.startsWith("a") ? "aarch64" : "x86_64";
      const catalog = catalogOf(await read(fixture(name)));

      const text = exportKernelCrawler(catalog, architecture);
      const again = catalogOf(await read(Buffer.from(text)));

      expect(again).toEqual(catalog);
      expect(exportKernelCrawler(again, architecture)).toBe(text);
      expect(text).not.toMatch(/\.\.\/|https?:[^"]*\+/);
    },
  );

  test("names kernels that no list named as kernel-crawler would", () => {
    const kernels = [
      makeKernel(),
      makeKernel({ kversion: "6.1.0-56-cloud-amd64", flavour: "cloud" }),
      makeKernel({
        ...{ kversion: "5.4.0-1021-aws", packageVersion: "5.4.0-1021.21~18.04.1", flavour: "aws" },
        distribution: "ubuntu18.04",
      }),
      makeKernel({
        ...{ kversion: "6.1.12-17.42.amzn2023.x86_64", packageVersion: "6.1.12-17.42.amzn2023" },
        distribution: "amazonlinux2023",
      }),
      makeKernel({ kversion: "6.1.0-56-arm64", architecture: "aarch64" }),
    ];

    const lists = JSON.parse(exportKernelCrawler(makeCatalog(kernels), "x86_64")) as Record<string, object[]>;

    expect(Object.keys(lists)).toEqual(["amazonlinux2023", "debian", "ubuntu"]);
    expect(Object.values(lists).flat()).toMatchObject([
      { target: "amazonlinux2023", kernelrelease: "6.1.12-17.42.amzn2023.x86_64", kernelversion: "1" },
      { target: "debian", kernelrelease: "6.1.170-3-amd64", kernelversion: "1" },
      { target: "debian", kernelrelease: "6.1.170-3-cloud-amd64", kernelversion: "1" },
      { target: "ubuntu-aws", kernelrelease: "5.4.0-1021-aws", kernelversion: "21~18.04.1" },
    ]);
    expect(lists.debian?.[0]).toMatchObject({
      headers: [
        "http://mirror.example/debian/pool/main/l/linux/linux-headers-6.1.0-56-amd64_6.1.170-3_amd64.deb",
        "http://mirror.example/debian/pool/main/l/linux/linux-kbuild-6.1_6.1.170-3_amd64.deb",
      ],
    });
  });
});
