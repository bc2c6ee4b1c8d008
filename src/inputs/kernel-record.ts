/**
 * What a kernel's own header packages say of it: the record that modules for it are judged by. What they do not say is
 * undefined, and a check that needs it must answer `unknown`.
 */
import { defined } from "../base/defined.ts";
import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { kindIn } from "../base/strange-tree.ts";
import { readSymvers, type Symvers } from "../formats/module-symvers.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import { upstreamOfHeader, upstreamOfMakefile, VERSION_FILE } from "../kernel/base.ts";
import { headersFacts, type KernelFacts, MOST_CHARACTERS, type PackagedKernel } from "../kernel/facts.ts";
import { type Compiler, isBuildTool, type Package } from "../kernel/kernel.ts";
import { type KernelConfig, readKernelConfig, vermagicOf } from "../kernel/kernel-config.ts";
import { readCompiler } from "./compiler.ts";
import type { Inputs } from "./inputs.ts";
import { packageFormat } from "./package-format.ts";
import { type NamedTree, nativePaths, readInTrees } from "./tree.ts";

export interface KernelRecord {
  /** `uname -r`, as include/generated/utsrelease.h says it. */
  readonly release?: string;
  readonly architecture: ArchitectureName;
  readonly config?: KernelConfig;
  readonly configDigest?: Digest;
  /** What its modules must carry, byte by byte. */
  readonly vermagic?: string;
  /** CONFIG_BUILD_SALT; Debian puts the kernel's release there. Undefined for kernels without one (before 4.20). */
  readonly buildSalt?: string;
  /** The compiler that its configuration or compile.h names, with its whole version. */
  readonly compiler?: Compiler;
  readonly symvers?: Symvers;
  readonly symversDigest?: Digest;
  /** The release of kernel.org that it was made from: 6.1.170. */
  readonly upstream?: string;
  /** The same as the Makefile at the top of its source says it. */
  readonly makefile?: string;
  /** Whether its headers have the image that type information (BTF) of modules is made from. */
  readonly hasVmlinux?: boolean;
}

/** The kernel whose record is wanted, as catalog and matrix have it. */
export interface RecordedKernel {
  readonly kversion: string;
  readonly architecture: ArchitectureName;
  readonly packages: { readonly headers: readonly Package[] };
  readonly kernelurls?: readonly string[];
}

/** A few times what the largest kernels have: Module.symvers 3 MB, a configuration 0.3 MB, a header some kilobytes. */
const LIMITS = { symvers: 32 << 20, configuration: 1 << 20, header: 256 << 10 } as const;

/**
 * Fetches a kernel's headers and reads its record.
 * @throws FarmError MODULE_MALFORMED for a Module.symvers that is none, NOT_FETCHABLE, and what unpacking throws
 */
export async function fetchKernelRecord(
  kernel: RecordedKernel,
  inputs: Inputs,
  signal?: AbortSignal,
): Promise<KernelRecord> {
  const { kversion, architecture, packages, kernelurls = [] } = kernel;
  const [headers] = packages.headers;
  if (headers === undefined)
    throw new FarmError("NOT_FETCHABLE", { detail: `no index lists the headers of ${kversion}` });
  // Its build tools say nothing of it, and are another architecture's where it was built across.
  const saying = packages.headers.filter((one) => !isBuildTool(one));
  const staged = await inputs.unpackAll(saying, kernelurls, signal);
  return readKernelRecord(staged, kversion, packageFormat(headers).headersDirectory(kversion), architecture);
}

/** The small part of a record, to be kept; undefined where nothing tells these headers from others. */
export function factsOfRecord(kernel: PackagedKernel, record: KernelRecord): KernelFacts | undefined {
  const { compiler, release, vermagic, buildSalt, upstream, makefile, hasVmlinux } = record;
  const { configDigest: configuration, symversDigest: symvers } = record;
  return headersFacts(
    kernel,
    defined({
      compiler,
      release,
      vermagic,
      buildSalt,
      configuration,
      symvers,
      upstream,
      makefile,
      hasVmlinux,
    }),
  );
}

/** Reads the record from unpacked header packages; `directory` is where the kernel's own headers are in them. */
function readKernelRecord(
  staged: readonly NamedTree[],
  kversion: string,
  directory: string,
  architecture: ArchitectureName,
): KernelRecord {
  const trees = staged.map(({ tree }) => tree);
  const read = (file: string, kind: keyof typeof LIMITS = "header") =>
    readWhole(trees, `${directory}/${file}`, LIMITS[kind]);
  const shared = nativePaths(staged, kversion).map(([, inside]) => inside);
  const header = readVermagicHeader(trees, [directory, ...shared]);
  const uts = read("include/generated/utsrelease.h");
  const seedFile = read("include/generated/randstruct_hash.h");
  const exported = read("Module.symvers", "symvers");
  const text = read(".config", "configuration") ?? read("include/config/auto.conf", "configuration");
  const versions = read(VERSION_FILE);
  const upstream = versions === undefined ? undefined : upstreamOfHeader(versions);
  const makefile = readMakefile(trees, [directory, ...shared]);
  const release = definition(uts, "UTS_RELEASE");
  const seed = definition(seedFile, "RANDSTRUCT_HASHED_SEED");
  const config = text === undefined ? undefined : readKernelConfig(text);
  const buildSalt = sayable(config?.get("BUILD_SALT"));
  const compiler = readCompiler(trees, directory);
  const vermagic =
    release === undefined || config === undefined
      ? undefined
      : sayable(vermagicOf(release, config, { architecture, header, seed }));
  return {
    architecture,
    hasVmlinux: trees.some((tree) => kindIn(tree, `${directory}/vmlinux`.replace(/^\//, "")) === "file"),
    ...(release === undefined ? {} : { release }),
    ...(config === undefined || text === undefined ? {} : { config, configDigest: sha256(text) }),
    ...(vermagic === undefined ? {} : { vermagic }),
    ...(buildSalt === undefined ? {} : { buildSalt }),
    ...(compiler === undefined ? {} : { compiler }),
    ...defined({ upstream, makefile }),
    ...(exported === undefined
      ? {}
      : {
          symvers: readSymvers(exported, `${directory}/Module.symvers`),
          symversDigest: sha256(exported),
        }),
  };
}

/** Debian keeps what its flavours share in a directory of its own. */
function readVermagicHeader(trees: readonly string[], places: readonly string[]): string | undefined {
  for (const place of places.filter((one) => one.startsWith("/usr/src/"))) {
    const found = readWhole(trees, `${place}/include/linux/vermagic.h`, LIMITS.header);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Debian's flavours have a Makefile that only leads to the one of the common headers. */
function readMakefile(trees: readonly string[], places: readonly string[]): string | undefined {
  for (const place of places.filter((one) => one.startsWith("/usr/src/"))) {
    const text = readWhole(trees, `${place}/Makefile`, LIMITS.header);
    const said = text === undefined ? undefined : upstreamOfMakefile(text);
    if (said !== undefined) return said;
  }
  return undefined;
}

/** Undefined also for a file that is longer than any: half of one would say something else. */
function readWhole(trees: readonly string[], path: string, limitBytes: number): string | undefined {
  const bytes = readInTrees(trees, path, limitBytes + 1);
  return bytes === undefined || bytes.length > limitBytes ? undefined : bytes.toString("utf8");
}

/** Undefined also for what is longer than anybody keeps: it would stand in the manifest of every module. */
function sayable(text: string | undefined): string | undefined {
  return text === undefined || text.length > MOST_CHARACTERS ? undefined : text;
}

function definition(header: string | undefined, name: string): string | undefined {
  return sayable(new RegExp(`^#define[ \\t]+${name}[ \\t]+"?([^"\\n]*)"?`, "m").exec(header ?? "")?.[1]);
}
