/**
 * The configuration: one strict schema for the YAML file, read once at the edge. The only place besides the
 * command line that knows where things are on this machine.
 */
import { lstat, stat } from "node:fs/promises";
import { availableParallelism, homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { OTHERS_WRITE, ownUsers, strangerAt } from "../../base/own-place.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import { Size } from "../../base/size.ts";
import { SANDBOX_NAMES, type SandboxName } from "../../builder/sandboxes/sandbox.ts";
import { readYaml } from "../../formats/yaml.ts";
import { ArchivePolicy } from "../../inputs/inputs.ts";
import { ArchitectureName } from "../../kernel/architecture.ts";
import { debian } from "../../kernel/distributions/debian.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { Exclusion } from "../../matrix/exclude.ts";
import { refuseSharedPlaces } from "../../matrix/generate.ts";
import { Uri } from "../../provenance/slsa.ts";
import { refuseWrongNeeds } from "../needs.ts";
import { DriverConfig } from "./driver.ts";
import { FeedConfig, feedAt } from "./feeds.ts";
import { GithubConfig } from "./github.ts";
import {
  KeysConfig,
  keyFiles,
  keySettings,
  refuseMisleadingNames,
  refuseOtherKeys,
  SignaturesConfig,
  signaturesAt,
} from "./keys.ts";
import { Limits } from "./limits.ts";
import { NoticesConfig, noticesAt, SloConfig } from "./notices.ts";
import { requireOwnPlaces } from "./own-places.ts";
import { describeProblems } from "./problems.ts";
import { Select } from "./select.ts";
import { SourceConfig, sourceAt } from "./sources.ts";
import { StoreConfig, storeOf } from "./store.ts";

/** `name`, or `name:port` */
const Host = z
  .string()
  .refine((host) => URL.parse(`http://${host}/`)?.host === host.toLowerCase().replace(/:80$/, ""), {
    error: "not a host, or a host and its port",
  });

export const Config = z.strictObject({
  drivers: z.array(DriverConfig).default([]).describe("What to build."),
  sources: z
    .array(SourceConfig)
    .default([{ kind: "apt", releases: debian.releases.map(({ key }) => key) }])
    .describe("Sources of kernels. Default: every release of Debian."),
  privateHosts: z
    .array(Host)
    .default([])
    .describe(
      "Hosts without public addresses (mirror.lan, 10.0.0.5:8080) that lists, mirrors and redirects may lead to. Hosts that this file names in a source or a driver need not be repeated.",
    ),
  select: Select.prefault({}).describe(
    "Which kernels: a selection, or a list of selections, any of which may match.",
  ),
  allowEmpty: z
    .boolean()
    .default(false)
    .describe(
      "Whether a selection that matches no kernel is in order. Otherwise a run that selects nothing exits with 3, because a nightly job must not be green after a typo.",
    ),
  exclude: z.array(Exclusion).default([]).describe("What not to build, each with a reason."),
  feeds: z
    .array(FeedConfig)
    .default([])
    .describe(
      "What `kmodfarm gap ingest` reads (docs/gap.md). Nothing is fetched that is not listed. Default: none.",
    ),
  order: z
    .enum(["age", "gap"])
    .default("age")
    .describe(
      "What a run builds first: what was there first (age), or the kernels that close exploited or severe bugs (gap; needs `feeds`, docs/gap.md).",
    ),
  slo: SloConfig.default({}).describe(
    "Hours within which modules are promised, by what their kernel closes: something exploited (P0), with an exploit or severe and remote (P1), severe (P2), anything else (P3). Default: no promises.",
  ),
  notices: NoticesConfig.prefault({}).describe(
    "What `kmodfarm gap notices` reports, and where it sends that (docs/gap.md).",
  ),
  store: StoreConfig.default(".kmodfarm/store").describe(
    "The registry: a directory relative to this file, `s3://BUCKET/PREFIX`, or a bucket with its server (docs/stores.md).",
  ),
  views: z
    .array(z.enum(["falco"]))
    .default([])
    .describe(
      "Views of the registry for clients that others wrote: `falco` has modules by driverkit's names, for falcoctl (docs/serving.md). A registry that has one keeps it until its directory is removed.",
    ),
  toolchains: z
    .record(PathSegment, PathSegment)
    .default({})
    .describe("Releases to build with another release's toolchain: `almalinux9.4: almalinux9.5`."),
  compilers: z
    .enum(["exact", "nearest"])
    .default("exact")
    .describe(
      "What to do if a toolchain does not have the compiler that built a kernel: fail (exact), or use the nearest of its family and record that (nearest).",
    ),
  crossCompile: z
    .boolean()
    .default(true)
    .describe("Use cross compilers if there are any; otherwise other architectures are emulated."),
  builders: z
    .partialRecord(ArchitectureName, ArchitectureName)
    .default({})
    .describe(
      "Architecture of the machines that build for an architecture, for example `{aarch64: aarch64}`. It is part of every recipe, so set it if machines of several architectures use one store. Default: this machine's.",
    ),
  builderId: Uri.optional().describe(
    "What statements of provenance call this farm: a URI. Default: urn:kmodfarm:builder: and the fingerprint of its key.",
  ),
  policy: z
    .string()
    .min(1)
    .optional()
    .describe(
      "File with the gate's policy, relative to this file (docs/policy.md). Default: the usual checks.",
    ),
  keys: KeysConfig.default({}).describe(
    "Private keys by their names (docs/trust.md). Default: keys without passwords, which the first run makes in `keyDirectory`.",
  ),
  keyDirectory: z
    .string()
    .min(1)
    .default(".kmodfarm/keys")
    .describe("Where `kmodfarm keys create` and a first run put keys, relative to this file."),
  root: z
    .string()
    .min(1)
    .optional()
    .describe(
      "File with a root of the registry, as nodes have it in /etc/kmodfarm/root; the path is relative to this file. The farm signs nothing for a store whose roots do not include it. By default the farm trusts the first root that it sees, and keeps the newest one in `keyDirectory`.",
    ),
  signatures: SignaturesConfig.default([]).describe(
    "Whose signatures modules get, each in a file beside the module. Default: none.",
  ),
  archive: ArchivePolicy.default("headers").describe(
    "Packages to keep in the store, so that kernels outlive their mirrors: what builds need (headers), what load tests need and toolchains are made of as well (all), or none. With headers or all, an artifact's source, scripts and a list of its inputs are kept beside them (docs/rebuild.md).",
  ),
  github: GithubConfig.prefault({}).describe("The workflows that `kmodfarm github init` writes."),
  cache: z.string().default(".kmodfarm/cache").describe("The disposable local cache, relative to this file."),
  cacheLimit: Size.optional().describe(
    "Size limit of the cache, for example 20G: after a run, the least recently used entries are removed, but no orders that workers may still carry out. Default: no limit.",
  ),
  sandbox: z
    .enum(SANDBOX_NAMES)
    .default("bwrap")
    .describe("Where builds run; `kmodfarm doctor` tests the choices."),
  limits: Limits.prefault({}).describe("Limits of one build; a build that exceeds one is stopped."),
  jobs: z
    .int()
    .positive()
    .optional()
    .describe("Elements to build or boot at once. Default: the number of processors.")
    .transform((jobs) => jobs ?? availableParallelism()),
});
export type Config = z.output<typeof Config>;

export interface ConfigPlaces {
  readonly config?: string | undefined;
  readonly store?: string | undefined;
  readonly cache?: string | undefined;
  readonly jobs?: number | undefined;
  readonly sandbox?: SandboxName | undefined;
}

export const DEFAULT_FILE = "kmodfarm.yaml";
const FILES = [DEFAULT_FILE, "kmodfarm.yml"];
const FILE_LIMIT_BYTES = 4 * 1024 * 1024;

/**
 * The configuration of a directory: there, or in the nearest directory above it that has one.
 * @throws FarmError PLACE_UNUSABLE for what somebody else left in a directory such as /tmp
 */
export async function findConfig(directory: string): Promise<string | undefined> {
  for (let at = resolve(directory); ; at = dirname(at)) {
    for (const name of FILES) {
      const file = join(at, name);
      const isHere = at === resolve(directory);
      if (isHere ? await isConfigHere(file) : await isOwnFile(file)) return file;
    }
    if (at === dirname(at)) return undefined;
  }
}

/** @throws FarmError PLACE_UNUSABLE, and FILE_UNREADABLE for what has its name and is no file */
async function isConfigHere(file: string): Promise<boolean> {
  const found = await lstat(file).catch(() => undefined);
  if (found === undefined) return false;
  await refusePlanted(file);
  const target = await stat(file).catch(() => undefined);
  if (target === undefined || target.isFile()) return target !== undefined;
  // A pipe would be read for as long as somebody writes to it.
  throw new FarmError("FILE_UNREADABLE", {
    detail: `the configuration ${file} cannot be read (it is no file)`,
  });
}

/** In a directory where everybody may create files, a configuration of another user's is one that nobody asked for. */
async function refusePlanted(file: string): Promise<void> {
  if (((await stat(dirname(file))).mode & OTHERS_WRITE) === 0) return;
  const fact = await strangerAt(file, ownUsers());
  if (fact !== undefined)
    throw new FarmError("PLACE_UNUSABLE", {
      detail: `${fact}, and everybody may put a file there`,
      hint: "Go to another directory, or name the configuration with --config if you know whose it is.",
    });
}

/**
 * Whether only this user or root can have put a file where it is. A link may lead to a file of theirs, and would have its
 * relative paths begin in a directory such as /tmp, where anybody writes.
 */
async function isOwnFile(file: string): Promise<boolean> {
  const found = await lstat(file).catch(() => undefined);
  if (!found?.isFile()) return false;
  const directory = await stat(dirname(file));
  const isOurs = ({ uid }: { readonly uid: number }) => uid === process.getuid?.() || uid === 0;
  return isOurs(found) && isOurs(directory) && (directory.mode & OTHERS_WRITE) === 0;
}

/** The cache of commands that belong to no farm. */
export function userCache(): string {
  const { XDG_CACHE_HOME } = process.env;
  const home = XDG_CACHE_HOME?.startsWith("/") ? XDG_CACHE_HOME : join(homedir(), ".cache");
  return join(home, "kmodfarm");
}

/**
 * Reads the named configuration, else that of this directory or of one above it, else the defaults; options win.
 * @throws FarmError CONFIG_INVALID, FILE_UNREADABLE, PLACE_UNUSABLE
 */
export async function loadConfig(places: ConfigPlaces, directory = process.cwd()): Promise<FarmConfig> {
  const found = places.config ?? (await findConfig(directory));
  const file = resolve(directory, found ?? DEFAULT_FILE);
  // What is no file, or came since, is none that was found.
  const read = found === undefined ? undefined : readAtMost(file, FILE_LIMIT_BYTES);
  const text = await read?.catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", {
      detail:
        cause.code === "EFBIG"
          ? `the configuration ${file} has more than ${FILE_LIMIT_BYTES} bytes`
          : `the configuration ${file} cannot be read (${cause.code})`,
      cause,
    });
  });
  // Where there is no farm, nothing of one is left in the directory.
  const asked = text === undefined ? { ...places, cache: places.cache ?? userCache() } : places;
  const config = configAt(parseConfig(String(text ?? "{}"), file), file, asked, directory);
  const { store, cache, keyDirectory, keys } = config;
  const keyPlaces = keys.flatMap(({ place }) => (place.kind === "file" ? [place.path] : []));
  const own = [cache, keyDirectory, ...keyPlaces];
  await requireOwnPlaces(typeof store === "string" ? [...own, store] : own, config);
  return config;
}

/**
 * With absolute paths: those of the file from where it is (`base`), those of options from where we are. All but the places
 * of drivers, which the origins of sources read.
 */
function configAt(config: Config, file: string, options: ConfigPlaces, directory: string) {
  const base = dirname(file);
  const store = storeOf(options.store, config.store, base, directory);
  const cache = options.cache === undefined ? resolve(base, config.cache) : resolve(directory, options.cache);
  const policy = config.policy === undefined ? undefined : resolve(base, config.policy);
  const notices = noticesAt(base, config.notices);
  const [keys, keyDirectory] = [keySettings(base, config.keys), resolve(base, config.keyDirectory)];
  return {
    ...config,
    sources: config.sources.map((source) => sourceAt(base, source)),
    feeds: config.feeds.map((feed) => feedAt(base, feed)),
    notices,
    ...{ store, cache, policy },
    keys,
    keyDirectory,
    root: config.root === undefined ? undefined : resolve(base, config.root),
    signatures: signaturesAt(base, config.signatures),
    jobs: options.jobs ?? config.jobs,
    sandbox: options.sandbox ?? config.sandbox,
    /** Where it stands, or would, and what its relative paths are relative to. */
    ...{ file, base },
    /** The farm's own places on this machine. They may be in a driver's directory, and are not its source. */
    own: [
      file,
      cache,
      keyDirectory,
      ...keyFiles(keys),
      ...notices.webhooks.map(({ secretFile }) => secretFile),
      ...(typeof store === "string" ? [store] : []),
      ...(policy === undefined ? [] : [policy]),
    ],
  };
}

/** A configuration that no file holds, as if it stood in a directory. */
export function configIn(directory: string, settings: unknown, options: ConfigPlaces): FarmConfig {
  const file = join(directory, DEFAULT_FILE);
  return configAt(parseConfig(JSON.stringify(settings), file), file, options, directory);
}

/** The settings as the farm uses them. */
export type FarmConfig = Readonly<ReturnType<typeof configAt>>;

/** @throws FarmError CONFIG_INVALID naming the line or the setting, and the likely word for an unknown one */
export function parseConfig(text: string, file: string): Config {
  const yaml = readYaml(text);
  if (yaml.kind === "refused") throw new FarmError("CONFIG_INVALID", { detail: `${file}: ${yaml.fault}` });
  const parsed = Config.safeParse(yaml.value ?? {});
  if (!parsed.success) {
    throw new FarmError("CONFIG_INVALID", {
      detail: `${file}: ${describeProblems(parsed.error, Config, yaml.value)}`,
    });
  }
  refuseSharedPlaces(
    parsed.data.drivers.flatMap(({ name, versions, series }) =>
      versions.map((version) => ({ name, version, series })),
    ),
    `${file}: `,
  );
  refuseWrongNeeds(parsed.data.drivers, `${file}: `);
  const { keys, signatures, drivers } = parsed.data;
  refuseMisleadingNames(keys, `${file}: `);
  for (const signed of [{ signatures }, ...drivers])
    refuseOtherKeys(keys, signed.signatures ?? [], `${file}: `);
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
  const list = "exclude" in value ? value.exclude : value;
  const parsed = z.array(Exclusion).safeParse(list);
  if (parsed.success) return parsed.data;
  throw new FarmError("CONFIG_INVALID", {
    detail: `${file}: ${describeProblems(parsed.error, z.array(Exclusion), list)}`,
  });
}
