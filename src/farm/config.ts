/**
 * The configuration: one strict schema for the YAML file, read once at the edge. The only place besides the
 * command line that knows where things are on this machine.
 */
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import { parseSize, Size } from "../base/size.ts";
import { holdsCredentials } from "../base/url.ts";
import type { BuildLimits } from "../builder/limits.ts";
import { GitPlace, PackagePlace, UrlPlace } from "../builder/origins/origin.ts";
import { SANDBOX_NAMES, type SandboxName } from "../builder/sandboxes/sandbox.ts";
import type { CompilerPolicy } from "../builder/toolchains/image.ts";
import { readYaml } from "../formats/yaml.ts";
import { ArchivePolicy } from "../inputs/inputs.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import { debian } from "../kernel/distributions/debian.ts";
import { PathSegment } from "../kernel/path-segment.ts";
import { Expression } from "../matrix/element-filter.ts";
import { Exclusion } from "../matrix/exclude.ts";
import { refuseSharedPlaces } from "../matrix/generate.ts";
import { describeProblems } from "./config-problems.ts";
import { DriverConfig } from "./driver-config.ts";
import { refuseWrongNeeds } from "./needs.ts";

const Names = z.array(PathSegment).min(1);

export const CredentialsConfig = z
  .strictObject({
    user: z.string().min(1).optional().describe("Name for a password."),
    passwordFile: z.string().min(1).optional().describe("File with the password, relative to this file."),
    tokenFile: z
      .string()
      .min(1)
      .optional()
      .describe("File with a bearer token, instead of name and password."),
    overHttp: z
      .boolean()
      .optional()
      .describe("Say them over plain http too, where everybody on the way reads them. Default: false."),
  })
  .refine(
    ({ user, passwordFile, tokenFile }) =>
      tokenFile === undefined
        ? user !== undefined && passwordFile !== undefined
        : user === undefined && passwordFile === undefined,
    { error: "either `user` and `passwordFile`, or `tokenFile`" },
  );

/** Whoever is on the way to a server that is asked over http reads what it is told; on this machine nobody is. */
function areInTheOpen(credentials: CredentialsConfig | undefined, urls: readonly unknown[]): boolean {
  if (credentials === undefined || credentials.overHttp === true) return false;
  return urls.some((url) => {
    const { protocol, hostname } = URL.parse(String(url)) ?? {};
    return protocol === "http:" && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname ?? "");
  });
}

const IN_THE_OPEN = {
  path: ["credentials"],
  error: "would go over plain http: use https, or write `overHttp: true` beside them",
};

const Url = z
  .url({ protocol: /^https?$/, error: "must be an http or https URL", abort: true })
  .refine((url) => !holdsCredentials(url), {
    error: "holds a user or a password; use `credentials`",
  });

const Credentials = CredentialsConfig.optional().describe("Who asks; said to its configured servers only.");
const Keyring = z.string().min(1).optional();
const Fingerprint = z
  .string()
  .transform((text) => text.replaceAll(/[\s:]/g, "").toUpperCase())
  .refine((text) => /^(?:[0-9A-F]{40}|[0-9A-F]{64})$/.test(text), {
    error: "must be the 40 or 64 hexadecimal digits of a key's fingerprint",
  });
const Architectures = z.array(ArchitectureName).min(1).optional();
const AcceptExpired = z.boolean().optional();
const Redistributable = z
  .boolean()
  .optional()
  .describe(
    "Whether its packages may be passed on; those that may not are archived below `private/` of the store, which must not be served. Default: true.",
  );

export const AptSourceConfig = z
  .strictObject({
    kind: z.literal("apt").describe("An apt repository."),
    releases: Names.describe("Distribution release keys, such as debian12."),
    mirror: Url.optional().describe(
      "Main archive; default: for Debian the host's own apt mirror, else a public one.",
    ),
    securityMirror: Url.optional().describe("Security archive, likewise."),
    portsMirror: Url.optional().describe("Where Ubuntu's kernels of other architectures than x86_64 are."),
    suites: Names.optional().describe("Suites of the main archive to read instead of the release's own."),
    architectures: Architectures.describe(
      "Indices to read; default: all. Cross builds for Debian need the builder's own too.",
    ),
    keyring: Keyring.describe("Keyring that its signatures must verify against, relative to this file."),
    acceptExpired: AcceptExpired.describe("Use metadata past its Valid-Until, shown as stale."),
    redistributable: Redistributable,
    credentials: Credentials,
  })
  .refine(
    ({ credentials, mirror, securityMirror, portsMirror }) =>
      credentials === undefined || [mirror, securityMirror, portsMirror].some((url) => url !== undefined),
    { error: "`credentials` need a `mirror` that they are for" },
  )
  .refine(
    ({ credentials, mirror, securityMirror, portsMirror }) =>
      !areInTheOpen(credentials, [mirror, securityMirror, portsMirror]),
    IN_THE_OPEN,
  );

export const RpmSourceConfig = z
  .strictObject({
    kind: z.literal("rpm-md").describe("An rpm repository."),
    release: PathSegment.describe("Distribution release key of everything in it, such as almalinux9.4."),
    name: PathSegment.optional().describe(
      "What to call it beside others of its release; default: from its URL.",
    ),
    baseurl: Url.optional().describe(
      "The repository; `$basearch` stands for the architecture. Default: the distribution's public ones.",
    ),
    mirrorlist: Url.optional().describe("Instead: a text that lists mirrors, such as Amazon's mirror.list."),
    metalink: Url.optional().describe("Instead: a metalink, such as Fedora's."),
    architectures: Architectures.describe("Default: x86_64 and aarch64."),
    keyring: Keyring.describe(
      "File with the keys of whoever signs its packages and repomd.xml, relative to this file; default: the distribution's own, fetched.",
    ),
    keyUrl: Url.optional().describe("Where to fetch those keys instead, such as a mirror of your own."),
    fingerprints: z
      .array(Fingerprint)
      .min(1)
      .optional()
      .describe("Primary keys that count, by fingerprint; default: the distribution's own."),
    allowUnsigned: z
      .boolean()
      .optional()
      .describe(
        "Take packages and repomd.xml that nobody signed: whoever has the server then has this release's toolchain and its modules. Never over http.",
      ),
    acceptExpired: AcceptExpired.describe("Use metadata older than its usual rhythm, shown as stale."),
    redistributable: Redistributable,
    credentials: Credentials,
  })
  .refine((source) => urlsOf(source).length <= 1, {
    error: "`baseurl`, `mirrorlist` and `metalink` exclude each other",
  })
  .refine(
    ({ allowUnsigned, keyring, keyUrl, fingerprints }) =>
      !allowUnsigned || [keyring, keyUrl, fingerprints].every((one) => one === undefined),
    {
      error: "`allowUnsigned` and `keyring`, `keyUrl`, `fingerprints` exclude each other",
    },
  )
  .refine(
    ({ allowUnsigned, baseurl, ...lists }) =>
      !allowUnsigned || (urlsOf(lists).length === 0 && !baseurl?.startsWith("http:")),
    {
      error: "`allowUnsigned` needs a `baseurl` with https: anybody on the way could put other packages in",
    },
  )
  .refine((source) => source.credentials === undefined || urlsOf(source).length === 1, {
    error: "`credentials` need a `baseurl`, `mirrorlist` or `metalink` that they are for",
  })
  .refine((source) => !areInTheOpen(source.credentials, urlsOf(source)), IN_THE_OPEN);

function urlsOf(source: { baseurl?: unknown; mirrorlist?: unknown; metalink?: unknown }): unknown[] {
  return [source.baseurl, source.mirrorlist, source.metalink].filter((url) => url !== undefined);
}

const ListSourceConfig = z
  .strictObject({
    kind: z.literal("kernel-crawler").describe("A list as kernel-crawler writes it."),
    list: z
      .string()
      .min(1)
      .describe("Its URL, or its path relative to this file; may end in .gz, .xz or .zst."),
    name: PathSegment.optional().describe("What to call it; default: kernel-crawler and its architecture."),
    architecture: ArchitectureName.optional().describe(
      "Of entries that do not show theirs; default: as its name says.",
    ),
    trusted: z
      .boolean()
      .optional()
      .describe(
        "Whether you vouch for the digests that it gives. Nobody signs a list: without your word, what is built with its packages stays a candidate. Not over plain http. Default: false.",
      ),
    redistributable: Redistributable,
    credentials: Credentials,
  })
  .refine(({ credentials, list }) => !areInTheOpen(credentials, [list]), IN_THE_OPEN)
  .refine(({ trusted, list }) => trusted !== true || !areInTheOpen({}, [list]), {
    path: ["trusted"],
    error: "cannot be said of a list that comes over plain http, which anybody on the way may change",
  });

export const SourceConfig = z.discriminatedUnion("kind", [
  AptSourceConfig,
  RpmSourceConfig,
  ListSourceConfig,
]);

const SelectConfig = z.strictObject({
  distributions: Names.optional().describe("Release keys (debian12) or distribution ids (debian)."),
  architectures: Architectures.describe("x86_64, aarch64."),
  flavours: Names.optional().describe("generic, cloud, rt, 16k, and the distribution's own words."),
  kernelRelease: Expression.optional().describe("Expression that must match the whole kernel release."),
  newest: z
    .int()
    .positive()
    .optional()
    .describe("Only so many of the newest fetchable kernels of each release, architecture and flavour."),
});

/** `name`, or `name:port` */
const Host = z
  .string()
  .refine((host) => URL.parse(`http://${host}/`)?.host === host.toLowerCase().replace(/:80$/, ""), {
    error: "not a host, or a host and its port",
  });

/** A size below which no build comes to its first line. */
const atLeast = (least: string) =>
  Size.refine((bytes) => bytes >= (parseSize(least) ?? 0), { error: `must be at least ${least}` });

const LimitsConfig = z.strictObject({
  minutes: z.number().min(0.1).max(10_000).default(15).describe("Time, in minutes. Default: 15."),
  memory: atLeast("64M").prefault("8G").describe("Memory of all its processes, at least 64M. Default: 8G."),
  processes: z
    .int()
    .min(16)
    .default(4096)
    .describe("Processes and threads at one time, at least 16. Default: 4096."),
  disk: atLeast("1M")
    .prefault("8G")
    .describe("What it leaves on the disk at one time, /tmp included, at least 1M. Default: 8G."),
  output: atLeast("4K").prefault("64M").describe("Length of its log, at least 4K. Default: 64M."),
  artifact: atLeast("1M")
    .prefault("1G")
    .describe(
      "What its modules and `files` may be together, holes in files included, at least 1M; a build that gives more fails. Default: 1G.",
    ),
});

export const Config = z.strictObject({
  drivers: z.array(DriverConfig).default([]).describe("What to build."),
  sources: z
    .array(SourceConfig)
    .default([{ kind: "apt", releases: debian.releases.map(({ key }) => key) }])
    .describe("Where kernels are listed; default: every release of Debian."),
  privateHosts: z
    .array(Host)
    .default([])
    .describe(
      "Hosts on addresses that are not public (mirror.lan, 10.0.0.5:8080) that lists, mirrors and redirects may lead to. What this file names as a source or driver needs no mention.",
    ),
  select: z
    .union([SelectConfig, z.array(SelectConfig).min(1)])
    .default({})
    .describe("Which kernels: a selection, or several of which any may match."),
  exclude: z.array(Exclusion).default([]).describe("What is not to be built, each with the reason."),
  store: z.string().default(".kmodfarm/store").describe("The registry, relative to this file."),
  toolchains: z
    .record(PathSegment, PathSegment)
    .default({})
    .describe("Releases that are built with another release's toolchain: `almalinux9.4: almalinux9.5`."),
  compilers: z
    .enum(["exact", "nearest"])
    .default("exact")
    .describe(
      "What to do where a toolchain lacks the compiler that built a kernel: fail (exact), or take the nearest of its family, on the record.",
    ),
  crossCompile: z
    .boolean()
    .default(true)
    .describe("Use cross compilers where there are some; without, other architectures are emulated."),
  policy: z
    .string()
    .min(1)
    .optional()
    .describe("The gate's policy, a file relative to this one (docs/policy.md); default: the usual checks."),
  archive: ArchivePolicy.default("headers").describe(
    "Packages kept in the store, so that kernels outlive their mirrors: what builds need (headers), what the load test needs too (all), or none.",
  ),
  cache: z.string().default(".kmodfarm/cache").describe("The disposable local cache, relative to this file."),
  cacheLimit: Size.optional().describe(
    "What the cache may take of the disk, such as 20G: after a run the least recently used goes. Default: no limit.",
  ),
  sandbox: z
    .enum(SANDBOX_NAMES)
    .default("bwrap")
    .describe("Where builds run; `kmodfarm doctor` tries them out."),
  limits: LimitsConfig.prefault({}).describe("What one build may take; over any of it, it is ended."),
  jobs: z
    .int()
    .positive()
    .optional()
    .describe("Elements built or booted at once; default: the number of processors."),
});

export type SourceConfig = z.infer<typeof SourceConfig>;
export type AptSourceConfig = z.infer<typeof AptSourceConfig>;

export type RpmSourceConfig = z.infer<typeof RpmSourceConfig>;
export type CredentialsConfig = z.infer<typeof CredentialsConfig>;
type SelectConfig = z.infer<typeof SelectConfig>;

export interface FarmConfig {
  readonly drivers: readonly DriverConfig[];
  readonly sources: readonly SourceConfig[];
  readonly privateHosts: readonly string[];
  readonly select: readonly SelectConfig[];
  readonly exclude: readonly Exclusion[];
  /** Absolute paths from here on. */
  readonly store: string;
  readonly cache: string;
  readonly cacheLimitBytes?: number;
  /** An absolute path. */
  readonly policyFile?: string;
  readonly archive: ArchivePolicy;
  readonly toolchains: Readonly<Record<string, string>>;
  readonly compilers: CompilerPolicy;
  readonly crossCompile: boolean;
  readonly jobs: number;
  readonly sandbox: SandboxName;
  readonly limits: BuildLimits;
  /** What relative paths of the file are relative to. */
  readonly base: string;
}

export interface ConfigPlaces {
  readonly config?: string | undefined;
  readonly store?: string | undefined;
  readonly cache?: string | undefined;
  readonly jobs?: number | undefined;
  readonly sandbox?: SandboxName | undefined;
}

const DEFAULT_FILE = "kmodfarm.yaml";

/** Stores in folders are all there is; what names another kind must not become a folder of that name. @throws FarmError CONFIG_INVALID */
function storeDirectory(store: string, base: string): string {
  const [kind] = /^[a-z][a-z0-9+.-]*(?=:\/\/)/i.exec(store) ?? [];
  if (kind === undefined) return resolve(base, store);
  throw new FarmError("CONFIG_INVALID", {
    detail: `the store ${store} is of the kind ${kind}, which this version does not have`,
    hint: "Name a directory; a bucket can be mounted, or filled from one.",
  });
}

/**
 * Reads the named configuration, else kmodfarm.yaml of this directory, else the defaults; options win.
 * @throws FarmError CONFIG_INVALID, FILE_UNREADABLE
 */
export async function loadConfig(places: ConfigPlaces, directory = process.cwd()): Promise<FarmConfig> {
  const file = resolve(directory, places.config ?? DEFAULT_FILE);
  const text = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (places.config === undefined && cause.code === "ENOENT") return "{}";
    throw new FarmError("FILE_UNREADABLE", {
      detail: `the configuration ${file} cannot be read (${cause.code})`,
      cause,
    });
  });
  const config = parseConfig(text, file);
  const base = dirname(file);
  const { cacheLimit } = config;
  return {
    drivers: config.drivers,
    sources: config.sources,
    privateHosts: config.privateHosts,
    exclude: config.exclude,
    archive: config.archive,
    toolchains: config.toolchains,
    compilers: config.compilers,
    crossCompile: config.crossCompile,
    select: Array.isArray(config.select) ? config.select : [config.select],
    store: storeDirectory(places.store ?? config.store, places.store === undefined ? base : directory),
    cache: places.cache === undefined ? resolve(base, config.cache) : resolve(directory, places.cache),
    ...(cacheLimit === undefined ? {} : { cacheLimitBytes: cacheLimit }),
    ...(config.policy === undefined ? {} : { policyFile: resolve(base, config.policy) }),
    jobs: places.jobs ?? config.jobs ?? availableParallelism(),
    sandbox: places.sandbox ?? config.sandbox,
    limits: config.limits,
    base,
  };
}

/** @throws FarmError CONFIG_INVALID naming the line or the setting, and the likely word for an unknown one */
export function parseConfig(text: string, file: string): z.infer<typeof Config> {
  const yaml = readYaml(text);
  if (yaml.kind === "refused") throw new FarmError("CONFIG_INVALID", { detail: `${file}: ${yaml.fault}` });
  const parsed = Config.safeParse(yaml.value ?? {});
  if (!parsed.success) {
    throw new FarmError("CONFIG_INVALID", {
      detail: `${file}: ${describeProblems(parsed.error, KNOWN_KEYS)}`,
    });
  }
  refuseSharedPlaces(
    parsed.data.drivers.flatMap(({ name, versions, series }) =>
      versions.map((version) => ({ name, version, series })),
    ),
    `${file}: `,
  );
  refuseWrongNeeds(parsed.data.drivers, `${file}: `);
  return parsed.data;
}

/**
 * A YAML list of exclusions, alone or as the `exclude` of a configuration; undefined when the text is no YAML
 * structure.
 */
export function parseExclusions(text: string, file: string): Exclusion[] | undefined {
  const yaml = readYaml(text);
  if (yaml.kind === "refused" || typeof yaml.value !== "object" || yaml.value === null) return undefined;
  const { value } = yaml;
  const parsed = z.array(Exclusion).safeParse("exclude" in value ? value.exclude : value);
  if (parsed.success) return parsed.data;
  throw new FarmError("CONFIG_INVALID", {
    detail: `${file}: ${describeProblems(parsed.error, Object.keys(Exclusion.shape))}`,
  });
}

const KNOWN_KEYS = [
  Config,
  DriverConfig,
  GitPlace,
  UrlPlace,
  PackagePlace,
  AptSourceConfig,
  RpmSourceConfig,
  CredentialsConfig,
  SelectConfig,
  LimitsConfig,
].flatMap((type) => Object.keys(type.shape));
