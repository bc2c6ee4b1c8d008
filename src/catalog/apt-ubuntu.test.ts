/** Ubuntu-shaped archives, made by the real dpkg-deb and apt-ftparchive, as catalog sources. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { makeSigningKey } from "../../test/support/apt-repository.ts";
import { lookAtSources } from "../../test/support/look.ts";
import { serveFiles } from "../../test/support/rpm-repository.ts";
import { openContext } from "../../test/support/rpm-source.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { sha256 } from "../base/json.ts";
import { Secret } from "../base/secret.ts";
import { parseConfig } from "../farm/config/index.ts";
import { catalogSources } from "../farm/sources.ts";
import { EMPTY_CATALOG } from "./catalog.ts";

const KEY = makeSigningKey();
const ROOT = sharedDirectory();
const NOW = new Date("2026-02-10T00:00:00Z");

interface Deb {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly depends?: string;
}

/** Packages of one kernel as Ubuntu's archive has them. */
function kernel(
  abi: string,
  flavour: string,
  version: string,
  architecture: string,
  source = "linux",
): Deb[] {
  const [kversion, common] = [`${abi}-${flavour}`, `${source}-headers-${abi}`];
  const of = (name: string, depends?: string): Deb => ({
    name,
    version,
    architecture,
    ...(depends === undefined ? {} : { depends }),
  });
  return [
    of(`linux-headers-${kversion}`, `${common}, libc6 (>= 2.34), libelf1 (>= 0.142)`),
    { name: common, version, architecture: "all", depends: "coreutils" },
    of(`linux-image-${kversion}`),
    of(`linux-modules-${kversion}`),
    of(`linux-modules-extra-${kversion}`),
    of(`linux-buildinfo-${kversion}`),
    of(`linux-tools-${kversion}`),
    {
      name: `linux-headers-${flavour}`,
      version: "5.15.0.1.1",
      architecture,
      depends: `linux-headers-${kversion}`,
    },
  ];
}

const BUSYBOX = (architecture: string): Deb => ({
  name: "busybox-static",
  version: "1:1.30.1-7ubuntu3",
  architecture,
});
const GENERIC = kernel("5.15.0-100", "generic", "5.15.0-100.110", "amd64");
const AWS = kernel("5.15.0-1021", "aws", "5.15.0-1021.25", "amd64", "linux-aws");
const HWE = kernel("6.5.0-26", "generic", "6.5.0-26.26~22.04.1", "amd64", "linux-hwe-6.5");
const ARM = kernel("5.15.0-100", "generic-64k", "5.15.0-100.110", "arm64");

beforeAll(() => {
  publish("archive", { jammy: [...GENERIC, BUSYBOX("amd64")], "jammy-updates": [...AWS, ...HWE] }, ["amd64"]);
  publish("security", { "jammy-security": AWS }, ["amd64"]);
  publish("ports", { jammy: [...ARM, BUSYBOX("arm64")] }, ["arm64"]);
});

function publish(
  archive: string,
  suites: Record<string, readonly Deb[]>,
  architectures: readonly string[],
): void {
  const root = join(ROOT, archive);
  for (const [suite, debs] of Object.entries(suites)) {
    const pool = join("pool", suite);
    mkdirSync(join(root, pool), { recursive: true });
    for (const deb of debs) pack(join(root, pool), deb);
    for (const architecture of architectures) {
      const index = join(root, "dists", suite, "main", `binary-${architecture}`);
      mkdirSync(index, { recursive: true });
      const packages = execFileSync("apt-ftparchive", ["--arch", architecture, "packages", pool], {
        cwd: root,
      });
      writeFileSync(join(index, "Packages"), packages);
      execFileSync("xz", ["--keep", join(index, "Packages")]);
      execFileSync("gzip", ["--keep", join(index, "Packages")]);
    }
    writeRelease(root, suite);
  }
}

function pack(pool: string, { name, version, architecture, depends }: Deb): void {
  const tree = join(pool, "tree");
  mkdirSync(join(tree, "DEBIAN"), { recursive: true });
  const control = [
    `Package: ${name}\nVersion: ${version}\nArchitecture: ${architecture}\nMaintainer: nobody <a@mirror.example>`,
    ...(depends === undefined ? [] : [`Depends: ${depends}`]),
    "Description: test\n",
  ].join("\n");
  writeFileSync(join(tree, "DEBIAN", "control"), control);
  const file = join(pool, `${name}_${version.replace(/^\d+:/, "")}_${architecture}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "-Znone", "--build", tree, file], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  rmSync(tree, { recursive: true });
}

/** As Ubuntu does it: every suite of a release has its codename, only Suite tells them apart. */
function writeRelease(root: string, suite: string): void {
  const directory = join(root, "dists", suite);
  const fields = { Origin: "Ubuntu", Suite: suite, Codename: "jammy", Components: "main" };
  const options = Object.entries(fields).flatMap(([name, value]) => [
    "-o",
    `APT::FTPArchive::Release::${name}=${value}`,
  ]);
  const release = execFileSync("apt-ftparchive", [...options, "release", directory]).toString();
  writeFileSync(
    join(directory, "InRelease"),
    KEY.sign(release.replace(/^Date: .*$/m, "Date: Sat, 07 Feb 2026 10:00:00 UTC")),
  );
}

function filesBelow(directory: string): Map<string, Buffer> {
  const paths = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return new Map(
    paths
      .filter((path) => statSync(join(directory, path)).isFile())
      .map((path) => [path, readFileSync(join(directory, path))]),
  );
}

async function openUbuntu(isAllowed?: Parameters<typeof serveFiles>[1]) {
  const [main, security, ports] = await Promise.all(
    ["archive", "security", "ports"].map((name) => serveFiles(filesBelow(join(ROOT, name)), isAllowed)),
  );
  if (main === undefined || security === undefined || ports === undefined) throw new Error("no servers");
  const text = `sources:
  - kind: apt
    releases: [ubuntu22.04]
    mirror: ${main.url}
    securityMirror: ${security.url}
    portsMirror: ${ports.url}
    keyring: ${KEY.keyring}`;
  const sources = parseConfig(text, "kmodfarm.yaml").sources.flatMap((source) => catalogSources(source, {}));
  return { main, security, ports, sources };
}

describe("Ubuntu's archives", () => {
  test("give every flavour's kernels with their headers, images and modules", async () => {
    const { main, sources } = await openUbuntu();

    const { catalog, problems } = await lookAtSources(EMPTY_CATALOG, sources, await openContext(), {
      now: NOW,
    });

    expect(problems).toEqual([]);
    expect(
      catalog.kernels.map(({ architecture, flavour, kversion, packageVersion }) => [
        architecture,
        flavour,
        kversion,
        packageVersion,
      ]),
    ).toEqual([
      ["aarch64", "generic-64k", "5.15.0-100-generic-64k", "5.15.0-100.110"],
      ["x86_64", "aws", "5.15.0-1021-aws", "5.15.0-1021.25"],
      ["x86_64", "generic", "5.15.0-100-generic", "5.15.0-100.110"],
      ["x86_64", "generic", "6.5.0-26-generic", "6.5.0-26.26~22.04.1"],
    ]);
    const names = (packages: readonly { name: string }[] = []) => packages.map(({ name }) => name);
    const { headers, image, modules } = catalog.kernels[3]?.packages ?? {};
    expect(names(headers)).toEqual(["linux-headers-6.5.0-26-generic", "linux-hwe-6.5-headers-6.5.0-26"]);
    expect(names(image)).toEqual(["linux-image-6.5.0-26-generic"]);
    expect(names(modules)).toEqual([
      "linux-modules-6.5.0-26-generic",
      "linux-modules-extra-6.5.0-26-generic",
    ]);
    expect(headers?.[0]).toMatchObject({
      source: "ubuntu/jammy-updates",
      sha256: sha256(main.files.get(headers?.[0]?.path ?? "") as Buffer).slice(7),
    });
    for (const kernel of catalog.kernels) expect(kernel).not.toHaveProperty("compiler");
  });

  test("are named by source: the ports beside the archive, a kernel of two suites with both", async () => {
    const { sources, ports } = await openUbuntu();

    const { catalog } = await lookAtSources(EMPTY_CATALOG, sources, await openContext(), { now: NOW });

    expect(catalog.sources.map(({ id, status, kernels }) => [id, status, kernels])).toEqual([
      ["ubuntu/jammy", "ok", { x86_64: 1 }],
      ["ubuntu/jammy-security", "ok", { x86_64: 1 }],
      ["ubuntu/jammy-security/ports", "notServed", {}],
      ["ubuntu/jammy-updates", "ok", { x86_64: 2 }],
      ["ubuntu/jammy-updates/ports", "notServed", {}],
      ["ubuntu/jammy/ports", "ok", { aarch64: 1 }],
    ]);
    expect(catalog.kernels[0]).toMatchObject({ sources: ["ubuntu/jammy/ports"] });
    expect(catalog.kernels[1]?.sources).toEqual(["ubuntu/jammy-security", "ubuntu/jammy-updates"]);
    expect(catalog.sources.at(-1)?.url).toBe(ports.url);
    expect(catalog.guests.map(({ architecture }) => architecture)).toEqual(["aarch64", "x86_64"]);
  });

  test("are asked for nothing but their InRelease when nothing changed", async () => {
    const { main, sources } = await openUbuntu();
    const context = await openContext();
    const first = await lookAtSources(EMPTY_CATALOG, sources, context, { now: NOW });
    const asked = main.requests().length;

    const second = await lookAtSources(first.catalog, sources, context, { now: NOW });

    expect(second).toEqual(first);
    expect(main.requests().slice(asked).toSorted()).toEqual([
      "dists/jammy-updates/InRelease",
      "dists/jammy/InRelease",
    ]);
  });

  test("cannot pass one suite off as another of the same codename", async () => {
    const { main, sources } = await openUbuntu();
    main.files.set("dists/jammy/InRelease", main.files.get("dists/jammy-updates/InRelease") as Buffer);

    const { problems } = await lookAtSources(EMPTY_CATALOG, sources, await openContext(), { now: NOW });

    expect(problems).toMatchObject([
      {
        source: "ubuntu/jammy",
        code: "SIGNATURE_INVALID",
        detail: expect.stringContaining("'jammy-updates'"),
      },
    ]);
  });

  test("may want credentials, which no other archive hears", async () => {
    const seen: (string | undefined)[] = [];
    const { main, sources } = await openUbuntu(({ headers }) => seen.push(headers.authorization) > 0);
    const http = new Http({
      retries: 0,
      credentials: [{ url: main.url, authorization: new Secret("Bearer hunter2") }],
    });

    const { catalog, problems } = await lookAtSources(EMPTY_CATALOG, sources, await openContext(http), {
      now: NOW,
    });

    expect(problems).toEqual([]);
    expect(seen.filter((one) => one !== undefined)).toHaveLength(main.requests().length);
    expect(JSON.stringify(catalog)).not.toContain("hunter2");
  });
});
