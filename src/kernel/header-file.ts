/**
 * The file names of kernel header packages: what they say of package and kernel, for every packaging that
 * kernel lists name (deb-pkg names, rpm's name-version-release.arch, Arch's, Flatcar's images).
 */
import { ARCHITECTURES, type ArchitectureName } from "./architecture.ts";
import { suffixOf } from "./distributions/rpm-family.ts";
import { archRelease, isNamedByMachine } from "./listed-name.ts";

export interface HeaderFile {
  /** The whole URL without `..` segments, `+` escaped. */
  readonly url: string;
  readonly format: "deb" | "rpm" | "arch" | "image";
  readonly name: string;
  readonly version: string;
  readonly architecture: ArchitectureName | "all";
  /** The pool directory of a .deb: its source package. */
  readonly sourcePackage?: string | undefined;
}

/** A kernel that a header package is for. */
export interface NamedKernel {
  /** What its nodes call it; undefined where the package's name does not prove that. */
  readonly kversion: string | undefined;
  readonly flavour: string;
}

const URL_LIMIT = 2048;

/** Undefined for what is no http(s) URL of a file that we know the form of. */
export function parseHeaderUrl(text: string): HeaderFile | undefined {
  if (text.length > URL_LIMIT || !/^https?:\/\/[!-~]+$/.test(text) || text.includes("\\")) return undefined;
  const parsed = URL.parse(text);
  if (parsed === null || parsed.username !== "" || parsed.password !== "") return undefined;
  parsed.hash = "";
  const url = parsed.href.replaceAll("+", "%2B");
  const segments = parsed.pathname.split("/");
  const file = decoded(segments.at(-1) ?? "");
  if (file === undefined) return undefined;
  const found = parseDeb(file) ?? parseRpm(file) ?? parseArch(file) ?? parseImage(file, parsed.pathname);
  return found === undefined ? undefined : { url, ...found, ...sourcePackageOf(found.format, segments) };
}

type FileParts = Pick<HeaderFile, "format" | "name" | "version" | "architecture">;

function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

function sourcePackageOf(format: HeaderFile["format"], segments: readonly string[]) {
  const directory = decoded(segments.at(-2) ?? "");
  return format === "deb" && directory?.startsWith("linux") ? { sourcePackage: directory } : {};
}

function parseDeb(file: string): FileParts | undefined {
  const match = /^([a-z0-9][a-z0-9.+-]{1,120})_([0-9][A-Za-z0-9.+~-]{0,80})_(amd64|arm64|all)\.deb$/.exec(
    file,
  );
  if (match === null) return undefined;
  const [, name = "", version = "", word] = match;
  const architecture = ARCHITECTURES.find((known) => known.debian === word)?.name ?? "all";
  return { format: "deb", name, version, architecture };
}

function parseRpm(file: string): FileParts | undefined {
  const match =
    /^((?:kernel|linux)[a-z0-9._-]*?)-([0-9][^-]{0,60})-([^-]{1,80})\.(x86_64|aarch64|noarch)\.rpm$/.exec(
      file,
    );
  if (match === null || !/^[\w.+~]+$/.test(`${match[2]}${match[3]}`)) return undefined;
  const [, name = "", version, release, word] = match;
  if (!/-devel$|^kernel[\d.]*$/.test(name)) return undefined;
  const architecture = word === "noarch" ? "all" : (word as ArchitectureName);
  return { format: "rpm", name, version: `${version}-${release}`, architecture };
}

function parseArch(file: string): FileParts | undefined {
  const match =
    /^(linux(?:-[a-z0-9]{1,20})?-headers)-([0-9][\w.+]{0,40}-[0-9.]{1,10})-(x86_64|aarch64)\.pkg\.tar\.(?:xz|zst|gz)$/.exec(
      file,
    );
  if (match === null) return undefined;
  const [, name = "", version = "", machine] = match;
  return { format: "arch", name, version, architecture: machine as ArchitectureName };
}

/** `…/amd64-usr/2605.2.0/flatcar_developer_container.bin.bz2` */
function parseImage(file: string, path: string): FileParts | undefined {
  const match = /\/(amd64|arm64)-usr\/([0-9][0-9.]{0,40})\/[^/]+$/.exec(path);
  if (match === null || !/^flatcar_developer_container\.bin(\.(bz2|xz|zst))?$/.test(file)) return undefined;
  const architecture = ARCHITECTURES.find((known) => known.debian === match[1])?.name;
  if (architecture === undefined) return undefined;
  return { format: "image", name: "flatcar_developer_container", version: match[2] as string, architecture };
}

/** The kernel that a package has the own headers of; undefined for headers that several kernels share. */
export function kernelOfHeaders(file: HeaderFile, distribution: string): NamedKernel | undefined {
  if (file.architecture === "all") return undefined;
  if (file.format === "deb") return kernelOfDeb(file.name, distribution);
  if (file.format === "rpm") return kernelOfRpm(file, file.architecture, distribution);
  return file.format === "arch" ? kernelOfArch(file) : undefined;
}

const DEB_HEADERS = "linux-headers-";

function kernelOfDeb(name: string, distribution: string): NamedKernel | undefined {
  if (!name.startsWith(DEB_HEADERS)) return undefined;
  const kversion = name.slice(DEB_HEADERS.length);
  if (distribution === "ubuntu") {
    const flavour = /^\d+\.\d+\.\d+-\d+-([a-z][a-z0-9.-]*)$/.exec(kversion)?.[1];
    return flavour === undefined ? undefined : { kversion, flavour };
  }
  const match = /^\d[^-]*(?:-\d[^-]*)?-(?:([a-z][a-z0-9-]*)-)?(?:amd64|arm64)(?:-(.+))?$/.exec(kversion);
  if (match === null || /-(all|common)(-|$)/.test(kversion)) return undefined;
  const flavour = [match[1], match[2]].filter((word) => word !== undefined).join("-") || "generic";
  return { kversion, flavour };
}

/** How rpm distributions spell `uname -r` of a flavour: `+rt` behind the architecture, or inside the release. */
function kernelOfRpm(
  { name, version }: HeaderFile,
  architecture: ArchitectureName,
  distribution: string,
): NamedKernel {
  const flavour = /^(?:kernel|linux)[\d.]*-(?!devel$)(.+?)(?:-devel)?$/.exec(name)?.[1] ?? "generic";
  if (distribution === "photon") {
    return { kversion: flavour === "generic" ? version : `${version}-${flavour}`, flavour };
  }
  if (distribution.startsWith("opensuse") || distribution === "sles") {
    return { kversion: `${version.replace(/\.\d+$/, "")}-${flavour}`, flavour };
  }
  if (!isNamedByMachine(distribution)) return { kversion: undefined, flavour };
  // ELRepo's long-term and mainline kernels replace the release's own: nothing marks them.
  const isPlain = flavour === "generic" || flavour === "lt" || flavour === "ml";
  const suffix = isPlain ? "" : suffixOf(`kernel-${flavour}`, version);
  return { kversion: `${version}.${architecture}${suffix}`, flavour };
}

/** How Arch's package versions of a flavour look, as long as they prove a release, and what stands behind it. */
const ARCH_FLAVOURS: readonly (readonly [flavour: string, version: RegExp, suffix: string])[] = [
  // Up to Linux 5.3 a mark may have had -ARCH behind it, or not.
  ["generic", /^(?:5\.(?:[4-9]|\d\d)|[6-9]|\d\d)[\d.]*\.arch\d+-/, ""],
  ["generic", /^(?:[23]|4\.(?:\d|1[0-7]))(?:\.\d+){0,2}-/, "-ARCH"],
  ["zen", /^\d+\.\d+(?:\.\d+)?\.zen\d+-/, "-zen"],
  ["hardened", /^\d+\.\d+(?:\.\d+)?\.hardened\d+-/, "-hardened"],
  ["lts", /^\d+\.\d+(?:\.\d+)?-/, "-lts"],
  // Arch Linux ARM's only kernel.
  ["aarch64", /^\d+\.\d+(?:\.\d+)?-/, "-aarch64-ARCH"],
];

function kernelOfArch({ name, version }: HeaderFile): NamedKernel {
  const word = /^linux-(.+)-headers$/.exec(name)?.[1] ?? "generic";
  const [, , suffix] = ARCH_FLAVOURS.find(([one, known]) => one === word && known.test(version)) ?? [];
  return {
    kversion: suffix === undefined ? undefined : `${archRelease(version)}${suffix}`,
    flavour: word === "aarch64" ? "generic" : word,
  };
}
