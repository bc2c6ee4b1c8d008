/**
 * Debian: releases, suites, and how its kernel packages are named and tied together.
 */
import { type Paragraph, parseRelations, type Relation } from "../../formats/deb822.ts";
import { ARCHITECTURES, type ArchitectureName } from "../architecture.ts";
import { compareDebVersions } from "../deb-version.ts";
import { type Compiler, Package } from "../kernel.ts";
import { PathSegment } from "../path-segment.ts";
import type { Distribution, ListedKernel, ListedPackage, Release } from "./distribution.ts";

export const debian: Distribution = {
  id: "debian",
  format: "deb",
  releases: [
    release("11", "bullseye"),
    release("12", "bookworm"),
    release("13", "trixie"),
    release("14", "forky"),
    { key: "debiansid", version: "sid", codename: "sid", suites: [{ name: "sid", archive: "main" }] },
  ],
  mirrors: { main: "http://ftp.debian.org/debian", security: "http://security.debian.org/debian-security" },
  keyring: { path: "/usr/share/keyrings/debian-archive-keyring.gpg", package: "debian-archive-keyring" },
  packagePrefixes: [
    "linux-headers-",
    "linux-kbuild-",
    "linux-image-",
    "linux-binary-",
    "linux-modules-",
    "busybox-static\n",
  ],
  guestPackages: ["busybox-static"],
  readPackage,
  kernelsOf,
};

function release(version: string, codename: string): Release {
  return {
    key: `debian${version}`,
    version,
    codename,
    suites: [
      { name: codename, archive: "main" },
      { name: `${codename}-updates`, archive: "main" },
      { name: `${codename}-security`, archive: "security" },
      { name: `${codename}-backports`, archive: "main" },
    ],
  };
}

function readPackage(paragraph: Paragraph, source: string): ListedPackage | undefined {
  const debianArchitecture = paragraph.get("Architecture");
  const parsed = Package.safeParse({
    name: paragraph.get("Package"),
    version: paragraph.get("Version"),
    architecture:
      debianArchitecture === "all"
        ? "all"
        : ARCHITECTURES.find((known) => known.debian === debianArchitecture)?.name,
    sha256: paragraph.get("SHA256"),
    size: Number(paragraph.get("Size")),
    path: paragraph.get("Filename"),
    source,
  });
  if (!parsed.success || !isPlainPath(parsed.data.path)) return undefined;
  return { ...parsed.data, depends: paragraph.get("Depends") ?? "" };
}

function isPlainPath(path: string): boolean {
  return path.split("/").every((segment) => PathSegment.safeParse(segment).success);
}

/**
 * A kernel is a `linux-headers-<release>` package that depends on the headers common to its flavours;
 * metapackages (`linux-headers-amd64`) depend on other header packages only.
 */
function kernelsOf(packages: readonly ListedPackage[]): ListedKernel[] {
  const byName = Map.groupBy(packages, (listed) => listed.name);
  const kernels = new Map<string, ListedKernel>();
  for (const headers of packages) {
    if (headers.architecture === "all" || !headers.name.startsWith(HEADERS)) continue;
    const relations = parseRelations(headers.depends).flat();
    const common = relations.find((relation) => COMMON.test(relation.name));
    const kversion = headers.name.slice(HEADERS.length);
    if (common === undefined || !PathSegment.safeParse(kversion).success) continue;
    const key = `${kversion} ${headers.version} ${headers.architecture}`;
    const known = kernels.get(key);
    kernels.set(
      key,
      known === undefined
        ? kernelOf(kversion, headers, common, relations, byName)
        : { ...known, sources: [...known.sources, headers.source] },
    );
  }
  return [...kernels.values()];
}

const HEADERS = "linux-headers-";
const COMMON = /^linux-headers-.+-common(-.+)?$/;

function kernelOf(
  kversion: string,
  headers: ListedPackage,
  common: Relation,
  relations: readonly Relation[],
  byName: ReadonlyMap<string, readonly ListedPackage[]>,
): ListedKernel {
  const architecture = headers.architecture as ArchitectureName;
  const choose = (relation: Relation, wanted: ArchitectureName) =>
    best(
      relation,
      (byName.get(relation.name) ?? []).filter(({ architecture: its }) => its === "all" || its === wanted),
      headers,
    );
  const tools = relations.find((relation) => relation.name.startsWith("linux-kbuild-"));
  const needed = [common, ...(tools === undefined ? [] : [tools])];
  const found = needed.map((relation) => choose(relation, architecture));
  const others = ARCHITECTURES.filter((other) => other.name !== architecture);
  const same = (name: string) => choose({ name, operator: "=", version: headers.version }, architecture);
  const split = same(`linux-binary-${kversion}`) ?? same(`linux-binary-unsigned-${kversion}`);
  const whole = same(`linux-image-${kversion}`) ?? same(`linux-image-${kversion}-unsigned`);
  return {
    kversion,
    packageVersion: headers.version,
    architecture,
    flavour: flavourOf(kversion),
    compiler: compilerOf(relations),
    packages: {
      headers: [headers, ...found].filter((one) => one !== undefined).map(plain),
      crossTools: (tools === undefined ? [] : others.map((other) => choose(tools, other.name)))
        .filter((one) => one !== undefined)
        .map(plain),
      image: listOf(split ?? whole),
      // From 7.x on the boot image and the modules are packages of their own; before, one holds both.
      modules: listOf(split === undefined ? whole : same(`linux-modules-${kversion}`)),
    },
    missing: needed.filter((_, index) => found[index] === undefined).map((relation) => relation.name),
    sources: [headers.source],
  };
}

/** Of the packages that satisfy a relation: the one of the same build, else the newest. */
function best(
  relation: Relation,
  candidates: readonly ListedPackage[],
  headers: ListedPackage,
): ListedPackage | undefined {
  const fitting = candidates.filter((candidate) => satisfies(candidate.version, relation));
  const newest = fitting.toSorted((a, b) => compareDebVersions(b.version, a.version));
  return newest.find((candidate) => candidate.version === headers.version) ?? newest[0];
}

function satisfies(version: string, { operator, version: bound }: Relation): boolean {
  if (operator === undefined || bound === undefined) return true;
  const order = compareDebVersions(version, bound);
  switch (operator) {
    case "=":
      return order === 0;
    case ">=":
      return order >= 0;
    case "<=":
      return order <= 0;
    case ">>":
      return order > 0;
    default:
      return order < 0;
  }
}

/** `gcc-14`, `linux-compiler-gcc-10-x86`, `gcc-16-for-host`: the kernel's own word on its compiler. */
function compilerOf(relations: readonly Relation[]): Compiler | undefined {
  for (const { name } of relations) {
    const match = /^(?:linux-compiler-)?(gcc|clang)-(\d+)(?:-[a-z0-9-]+)?$/.exec(name);
    if (match !== null)
      return { family: match[1] as Compiler["family"], version: match[2] as string, source: "package" };
  }
  return undefined;
}

/** `6.1.0-56-cloud-amd64` is cloud, `…-arm64-16k` is 16k, `…-amd64` is generic; other words are Debian's own. */
function flavourOf(kversion: string): string {
  const match = /-(?:([a-z]+(?:-[a-z]+)*)-)?(?:amd64|arm64)(?:-(.+))?$/.exec(kversion);
  return [match?.[1], match?.[2]].filter((word) => word !== undefined).join("-") || "generic";
}

function listOf(listed: ListedPackage | undefined): Package[] {
  return listed === undefined ? [] : [plain(listed)];
}

function plain({ depends: _, ...rest }: ListedPackage): Package {
  return rest;
}
