/**
 * The catalog of the live mirror, against a count of its indices that shares no code with us.
 */
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { cli, leftovers, type TestFarm, treeDigests, useFarms } from "../support/e2e-farm.ts";
import { CHECKOUT, type TestMirror } from "../support/e2e-mirror.ts";

const execute = promisify(execFile);
const farms = useFarms();
let mirror: TestMirror;
let farm: TestFarm;
let listed: Kernel[];
let counted: Counted;

/** Written out here: what the code believes of Debian's suites is under test. */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  debian11: ["debian/bullseye", "debian/bullseye-updates", "debian-security/bullseye-security"],
  debian12: [
    "debian/bookworm",
    "debian/bookworm-updates",
    "debian/bookworm-backports",
    "debian-security/bookworm-security",
  ],
  debian13: [
    "debian/trixie",
    "debian/trixie-updates",
    "debian/trixie-backports",
    "debian-security/trixie-security",
  ],
  debian14: ["debian/forky", "debian/forky-updates", "debian-security/forky-security"],
  debiansid: ["debian/sid"],
};

/** Suites that Debian makes sooner or later; a mirror without them is whole. */
const OPTIONAL = /bullseye-backports|bookworm-backports|forky-/;

const ARCHITECTURES: Readonly<Record<string, string>> = { amd64: "x86_64", arm64: "aarch64" };

interface Kernel {
  readonly kversion: string;
  readonly packageVersion: string;
  readonly architecture: string;
  readonly distribution: string;
  readonly compiler?: { readonly family: string; readonly version: string; readonly source: string };
  readonly packages: { readonly headers: readonly { readonly name: string; readonly sha256: string }[] };
}

interface Counted {
  /** `release/architecture/package/version` → the compiler its Depends name. */
  readonly kernels: ReadonlyMap<string, string>;
  readonly digests: ReadonlyMap<string, string>;
  readonly expired: ReadonlySet<string>;
  readonly served: readonly string[];
}

beforeAll(async () => {
  mirror = await farms.mirror();
  farm = await farms.farm({ mirror, warm: ["roots"] });
});

describe("kmodfarm catalog update", () => {
  it("reads the sources of examples/demo.yaml from the host's own mirror into a fresh store", async () => {
    await writeFile(farm.config, await demoConfig());

    const { exitCode, stdout, stderr } = await farm.cli("catalog", "update", "--json");

    expect(exitCode, stderr).toBe(0);
    const summary = JSON.parse(stdout);
    const list = JSON.parse((await farm.cli("catalog", "list", "--json")).stdout);
    expect(list.schema).toBe("kmodfarm.catalog/1");
    listed = list.kernels;
    expect(summary.kernels).toBe(listed.length);
    expect(summary.added).toBe(listed.length);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("lists exactly the header packages of the mirror's indices that are no metapackages", async () => {
    counted = await countKernels();

    const names = listed.map(
      ({ distribution, architecture, packageVersion, packages }) =>
        `${distribution}/${architecture}/${packages.headers[0]?.name}/${packageVersion}`,
    );
    expect(counted.kernels.size).toBeGreaterThan(100);
    expect(names.toSorted()).toEqual([...counted.kernels.keys()].toSorted());
    for (const kernel of listed)
      expect(kernel.packages.headers[0]?.name).toBe(`linux-headers-${kernel.kversion}`);
    for (const release of Object.keys(SUITES))
      expect(
        listed.some(({ distribution }) => distribution === release),
        release,
      ).toBe(true);
  });

  it("knows each one's compiler by the words of its own package, and its digest", () => {
    expect(listed.length).toBeGreaterThan(100);
    for (const { distribution, architecture, packageVersion, packages, compiler } of listed) {
      const key = `${distribution}/${architecture}/${packages.headers[0]?.name}/${packageVersion}`;
      expect(`${compiler?.family}-${compiler?.version} by ${compiler?.source}`, key).toBe(
        `${counted.kernels.get(key)} by package`,
      );
      expect(packages.headers[0]?.sha256, key).toBe(counted.digests.get(key));
    }
  });

  it("selects the kernel that a stock Debian boots, by the demo, by getting-started.md and by what init writes", async () => {
    const demo = await readFile(farm.config, "utf8");
    const page = await readFile(join(CHECKOUT, "docs/getting-started.md"), "utf8");
    const { select: ofPage } = parse(/```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? "") as { select: object };
    await cp(join(CHECKOUT, "examples/driver"), join(farm.directory, "own"), { recursive: true });
    const written = await cli(["init", "--yes", join(farm.directory, "own")]);
    const { select: ofInit } = parse(written.stdout.split("\nWritten to")[0] ?? "") as { select: object };
    const stock = new Set<string>();
    for (const release of ["debian12", "debian13"])
      for (const [debian, architecture] of Object.entries(ARCHITECTURES))
        stock.add(`${release}/${architecture}/${await stockKernel(release, debian)}`);
    expect(stock.size).toBe(4);

    for (const select of [undefined, ofPage, ofInit]) {
      if (select !== undefined) await writeFile(farm.config, stringify({ ...parse(demo), select }));
      const matrix = JSON.parse((await farm.cli("matrix", "generate")).stdout) as Kernel[];
      const names = matrix.map(({ distribution, architecture, kversion }) =>
        [distribution, architecture, kversion].join("/"),
      );
      expect(names, JSON.stringify(select)).toEqual(expect.arrayContaining([...stock]));
    }
    await writeFile(farm.config, demo);
  });

  it("asks for nothing but each suite's InRelease when nothing changed", async () => {
    const before = await treeDigests(farm.store);

    const again = JSON.parse((await farm.cli("catalog", "update", "--json")).stdout);

    expect(again.added).toBe(0);
    expect(again.traffic.requests).toBe(again.sources.length);
    expect(await treeDigests(farm.store)).toEqual(before);

    // The same mirror under another address, which counts for itself.
    const config = parse(await demoConfig()) as { sources: Record<string, unknown>[] };
    for (const source of config.sources) {
      source.mirror = mirror.main;
      source.securityMirror = mirror.security;
    }
    await writeFile(farm.config, stringify(config));
    mirror.forget();
    const moved = JSON.parse((await farm.cli("catalog", "update", "--json")).stdout);
    expect(moved.added).toBe(0);
    expect(mirror.asked).toHaveLength(again.sources.length);
    for (const { path } of mirror.asked) expect(path).toMatch(/\/dists\/[a-z-]+\/InRelease$/);
    const beforeThird = await treeDigests(farm.store);
    mirror.forget();
    const { exitCode } = await farm.cli("catalog", "update");
    expect(exitCode).toBe(0);
    expect(mirror.asked.filter(({ status }) => status === 304)).toHaveLength(counted.served.length);
    expect(mirror.asked.filter(({ status }) => status === 200)).toEqual([]);
    expect(await treeDigests(farm.store)).toEqual(beforeThird);
  });

  it("does not use expired suites that nobody accepted: exit 3, and no kernel of theirs", async (context) => {
    if (!counted.expired.has("debian/forky") || !counted.expired.has("debian/sid"))
      context.skip("forky and sid of this mirror are not past their Valid-Until today");
    await rm(farm.store, { recursive: true, force: true });
    await farm.configure({ releases: ["debian12", "debian14", "debiansid"] });

    const { exitCode, stdout, stderr } = await farm.cli("catalog", "update");

    expect(exitCode).toBe(3);
    expect(stderr).toMatch(/^debian\/forky: expired: its metadata was valid until \d{4}-/m);
    expect(stderr).toMatch(/^debian\/sid: expired: its metadata was valid until \d{4}-/m);
    expect(stderr).toMatch(/acceptExpired: true[\s\S]*\[CATALOG_SUSPECT\]/);
    expect(stdout).toMatch(/^debian\/bookworm +debian12 +ok /m);
    const { kernels } = JSON.parse((await farm.cli("catalog", "list", "--json")).stdout);
    expect([...new Set(kernels.map((kernel: Kernel) => kernel.distribution))]).toEqual(["debian12"]);
    expect(kernels.length).toBe(listed.filter(({ distribution }) => distribution === "debian12").length);
  });
});

/** The demo's sources, with the store and cache of our farm. */
async function demoConfig(): Promise<string> {
  const demo = parse(await readFile(join(CHECKOUT, "examples/demo.yaml"), "utf8")) as {
    sources: Record<string, unknown>[];
  };
  expect(demo.sources.length).toBeGreaterThan(0);
  for (const source of demo.sources) expect(source).not.toHaveProperty("mirror");
  return stringify({ ...demo, store: "store", cache: "cache" });
}

async function countKernels(): Promise<Counted> {
  const kernels = new Map<string, string>();
  const digests = new Map<string, string>();
  const expired = new Set<string>();
  const served: string[] = [];
  const folder = join(farm.directory, "counted");
  await mkdir(folder, { recursive: true });
  for (const [release, suites] of Object.entries(SUITES)) {
    for (const place of suites) {
      const [archive, suite] = place.split("/") as [string, string];
      const base = `${archive === "debian" ? mirror.main : mirror.security}/dists/${suite}`;
      const inRelease = await curl(`${base}/InRelease`, join(folder, "InRelease"));
      if (inRelease === undefined) {
        expect(place).toMatch(OPTIONAL);
        continue;
      }
      served.push(place);
      const text = inRelease.toString("utf8");
      const until = /^Valid-Until: (.+)$/m.exec(text)?.[1];
      if (until !== undefined && Date.parse(until) < Date.now()) expired.add(place);
      for (const [debian, architecture] of Object.entries(ARCHITECTURES)) {
        const path = `main/binary-${debian}/Packages.xz`;
        const promised = text
          .slice(text.indexOf("SHA256:"))
          .split("\n")
          .find((line) => line.endsWith(` ${path}`))
          ?.trim()
          .split(/\s+/)[0];
        const index = join(folder, "Packages.xz");
        const bytes = await curl(`${base}/${path}`, index);
        expect(
          createHash("sha256")
            .update(bytes ?? "")
            .digest("hex"),
          `${place} ${path}`,
        ).toBe(promised);
        for (const { name, version, depends, sha256, its } of await headerPackages(index)) {
          if (its !== debian || isMetapackage(depends)) continue;
          const key = `${release}/${architecture}/${name}/${version}`;
          kernels.set(key, compilerIn(depends));
          digests.set(key, sha256);
        }
      }
    }
  }
  return { kernels, digests, expired, served };
}

/** What the newest `linux-image-amd64` of a release, with its updates, depends on: the kernel of who installs nothing else. */
async function stockKernel(release: string, debian: string): Promise<string> {
  const found: { readonly version: string; readonly kversion: string }[] = [];
  for (const place of SUITES[release] ?? []) {
    if (place.includes("backports")) continue;
    const [archive, suite] = place.split("/") as [string, string];
    const url = `${archive === "debian" ? mirror.main : mirror.security}/dists/${suite}/main/binary-${debian}/Packages.xz`;
    const index = join(farm.directory, "Packages.xz");
    if ((await curl(url, index)) === undefined) continue;
    const text = execFileSync("xz", ["-dc", index], { maxBuffer: 1 << 28 }).toString();
    for (const paragraph of text.split("\n\n")) {
      if (!paragraph.startsWith(`Package: linux-image-${debian}\n`)) continue;
      const version = /^Version: (.+)$/m.exec(paragraph)?.[1] ?? "";
      const kversion = /^Depends: linux-image-(\S+)/m.exec(paragraph)?.[1] ?? "";
      found.push({ version, kversion });
    }
  }
  const isNewer = (a: string, b: string) =>
    spawnSync("dpkg", ["--compare-versions", a, "gt", b]).status === 0;
  return found.reduce((best, one) => (isNewer(one.version, best.version) ? one : best)).kversion;
}

async function curl(url: string, file: string): Promise<Buffer | undefined> {
  const { stdout } = await execute("curl", [
    "--silent",
    "--show-error",
    "-w",
    "%{http_code}",
    "-o",
    file,
    url,
  ]);
  if (stdout === "404") return undefined;
  if (stdout !== "200") throw new Error(`${url} answers ${stdout}`);
  return readFile(file);
}

/** Fields of every paragraph about a header package, as awk sees them. */
async function headerPackages(index: string) {
  const program = [
    'BEGIN { RS = ""; FS = "\\n"; OFS = "\\t" }',
    "/^Package: linux-headers-/ {",
    '  v = d = s = a = ""',
    "  for (i = 1; i <= NF; i++) {",
    "    if ($i ~ /^Version: /) v = substr($i, 10)",
    "    if ($i ~ /^Depends: /) d = substr($i, 10)",
    "    if ($i ~ /^SHA256: /) s = substr($i, 9)",
    "    if ($i ~ /^Architecture: /) a = substr($i, 15)",
    "  }",
    "  print substr($1, 10), v, d, s, a",
    "}",
  ].join("\n");
  const { stdout } = await execute("sh", ["-c", 'xz -dc "$1" | awk "$2"', "sh", index, program], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [name = "", version = "", depends = "", sha256 = "", its = ""] = line.split("\t");
      return { name, version, depends, sha256, its };
    });
}

/** Needs nothing but other header packages, and what every kernel of its flavour shares. */
function isMetapackage(depends: string): boolean {
  const names = depends.split(",").map((relation) => relation.trim().split(/[ (:|]/)[0] ?? "");
  return names.every((name) => /^(linux-base(-.*)?|linux-headers-.*(?<!-common))$/.test(name));
}

function compilerIn(depends: string): string {
  return /(?:^|[ ,-])((?:gcc|clang)-\d+)/.exec(depends)?.[1] ?? "none";
}
