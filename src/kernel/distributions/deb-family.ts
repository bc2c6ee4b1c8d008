/**
 * What distributions with apt have in common: index paragraphs, and kernels as header packages that depend on
 * headers common to their flavours.
 */
import { type Paragraph, parseRelations, type Relation } from "../../formats/deb822.ts";
import { ARCHITECTURES, type ArchitectureName } from "../architecture.ts";
import { compareDebVersions } from "../deb-version.ts";
import { type Compiler, Package } from "../kernel.ts";
import { PathSegment } from "../path-segment.ts";
import { type ListedKernel, type ListedPackage, plainPackage } from "./distribution.ts";

/** How a distribution names the packages of a kernel. */
/** A userland for guests, and the release's own kmod with what one or another release's needs; the first is what none does without. */
export const DEB_GUEST = [
  "busybox-static",
  "kmod",
  "libkmod2",
  "libc6",
  "liblzma5",
  "libzstd1",
  "libssl1.1",
  "libssl3",
  "libssl3t64",
  "libssl4",
  "zlib1g",
];

export interface DebNaming {
  /** What a kernel release looks like: tells kernels from metapackages. */
  readonly kversion: RegExp;
  /** The package of common headers among the dependencies of a kernel's own header package. */
  readonly common: RegExp;
  /** The package of build tools among them. */
  readonly tools?: RegExp;
  /** Packages with the boot image and with the modules, the likeliest pair first. */
  readonly boot: (kversion: string) => readonly BootPackages[];
  /** Whether an image of this version belongs to headers of that one; default: only if they are equal. */
  readonly imageFits?: (version: string, headers: string) => boolean;
  readonly flavourOf: (kversion: string) => string;
}

interface BootPackages {
  readonly image: string;
  readonly modules: readonly string[];
}

/** The fields of an index that are wanted. */
export const DEB_FIELDS: ReadonlySet<string> = new Set([
  ...["Package", "Version", "Architecture", "SHA256", "Size", "Filename", "Depends"],
]);

export function readDebPackage(paragraph: Paragraph, source: string): ListedPackage | undefined {
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
  if (!parsed.success || parsed.data.sha256 === undefined || !isPlainPath(parsed.data.path)) return undefined;
  return { ...parsed.data, depends: paragraph.get("Depends") ?? "" };
}

function isPlainPath(path: string): boolean {
  return path.split("/").every((segment) => PathSegment.safeParse(segment).success);
}

const HEADERS = "linux-headers-";

/** The kernels of a release: its `linux-headers-<release>` packages that depend on common headers. */
export function debKernels(naming: DebNaming, packages: readonly ListedPackage[]): ListedKernel[] {
  const byName = Map.groupBy(packages, (listed) => listed.name);
  const kernels = new Map<string, ListedKernel>();
  for (const headers of packages) {
    if (headers.architecture === "all" || !headers.name.startsWith(HEADERS)) continue;
    const kversion = headers.name.slice(HEADERS.length);
    if (!naming.kversion.test(kversion) || !PathSegment.safeParse(kversion).success) continue;
    const relations = parseRelations(headers.depends).flat();
    const common = relations.find((relation) => naming.common.test(relation.name));
    if (common === undefined) continue;
    const key = `${kversion} ${headers.version} ${headers.architecture}`;
    const known = kernels.get(key);
    const kernel = known ?? kernelOf(naming, { kversion, headers, common, relations }, byName);
    kernels.set(
      key,
      known === undefined ? kernel : { ...known, sources: [...known.sources, headers.source] },
    );
  }
  return [...kernels.values()];
}

interface Found {
  readonly kversion: string;
  readonly headers: ListedPackage;
  readonly common: Relation;
  readonly relations: readonly Relation[];
}

type Listing = ReadonlyMap<string, readonly ListedPackage[]>;

function kernelOf(
  naming: DebNaming,
  { kversion, headers, common, relations }: Found,
  byName: Listing,
): ListedKernel {
  const architecture = headers.architecture as ArchitectureName;
  const choose = (relation: Relation, wanted: ArchitectureName) =>
    best(relation, of(byName, relation.name, wanted), headers);
  const tools = relations.find((relation) => naming.tools?.test(relation.name));
  const needed = [common, ...(tools === undefined ? [] : [tools])];
  const found = needed.map((relation) => choose(relation, architecture));
  const others = tools === undefined ? [] : ARCHITECTURES.filter((other) => other.name !== architecture);
  return {
    kversion,
    packageVersion: headers.version,
    architecture,
    flavour: naming.flavourOf(kversion),
    compiler: compilerOf(relations),
    packages: {
      headers: plainly([headers, ...found]),
      crossTools: plainly(others.map((other) => choose(tools as Relation, other.name))),
      ...bootOf(naming, kversion, headers, byName),
    },
    missing: needed.filter((_, index) => found[index] === undefined).map((relation) => relation.name),
    sources: [headers.source],
  };
}

/** The first pair of which there is an image, with what there is of its modules. */
function bootOf(
  naming: DebNaming,
  kversion: string,
  headers: ListedPackage,
  byName: Listing,
): { image: Package[]; modules: Package[] } {
  const fits = naming.imageFits ?? ((version: string, wanted: string) => version === wanted);
  const find = (name: string) =>
    of(byName, name, headers.architecture)
      .filter(({ version }) => fits(version, headers.version))
      .toSorted((a, b) => compareDebVersions(b.version, a.version))[0];
  for (const { image, modules } of naming.boot(kversion)) {
    const found = find(image);
    if (found !== undefined) return { image: plainly([found]), modules: plainly(modules.map(find)) };
  }
  return { image: [], modules: [] };
}

function of(byName: Listing, name: string, wanted: Package["architecture"]): readonly ListedPackage[] {
  const named = byName.get(name) ?? [];
  return named.filter(({ architecture }) => architecture === "all" || architecture === wanted);
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

function plainly(listed: readonly (ListedPackage | undefined)[]): Package[] {
  return listed.filter((one) => one !== undefined).map(plainPackage);
}
