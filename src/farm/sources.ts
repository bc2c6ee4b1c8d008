/**
 * From configured sources to what a catalog looks at: suites and repositories, where each lies, and who may ask.
 */
import { assertNever, FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { readAtMost } from "../base/read-at-most.ts";
import { type Credentials, Secret } from "../base/secret.ts";
import type {
  AptLine,
  DebMirror,
  ReleaseMirror,
  RpmMirror,
} from "../builder/toolchains/roots/root-method.ts";
import type { AptSource } from "../catalog/apt.ts";
import type { HostMirrors } from "../catalog/apt-host.ts";
import type { Source } from "../catalog/ask.ts";
import { architectureOfPlace, isOfList } from "../catalog/kernel-list.ts";
import type { ListSource } from "../catalog/list-source.ts";
import type { RpmSource } from "../catalog/rpm-md.ts";
import type { KeySource, PackageTrust } from "../catalog/signing-keys.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import type {
  Archive,
  DebDistribution,
  DebRelease,
  RpmRelease,
  RpmRepository,
  Suite,
} from "../kernel/distributions/distribution.ts";
import { findRelease, requireRelease } from "../kernel/distributions/index.ts";
import { type CredentialsConfig, credentialsAt } from "./config/credentials.ts";
import type { FarmConfig } from "./config/index.ts";
import { type AptSourceConfig, isHttp, type RpmSourceConfig, type SourceConfig } from "./config/sources.ts";

/** The repositories of a configured source. @throws FarmError CONFIG_INVALID */
export function catalogSources(config: SourceConfig, host: HostMirrors): Source[] {
  switch (config.kind) {
    case "apt":
      return aptSources(config, host);
    case "rpm-md":
      return rpmSources(config);
    case "kernel-crawler":
      return [];
    default:
      return assertNever(config);
  }
}

/** The list of a configured source, if it is one. */
export function listSources(config: SourceConfig): ListSource[] {
  if (config.kind !== "kernel-crawler") return [];
  const place = config.list;
  const architecture = config.architecture ?? architectureOfPlace(place);
  const id = config.name ?? ["kernel-crawler", architecture].filter((word) => word !== undefined).join("-");
  const isTrusted = config.trusted ?? false;
  return [{ kind: "kernel-crawler", id, place, architecture, isTrusted }];
}

/** Whether a source of the catalog is one of these: a repository, or a list for one of its distribution releases. */
export function namedBy(
  repositories: readonly Pick<Source, "id">[],
  lists: readonly Pick<ListSource, "id">[],
): (id: string) => boolean {
  const ids = new Set(repositories.map(({ id }) => id));
  return (id) => ids.has(id) || lists.some((list) => isOfList(list.id, id));
}

/** The suites of every release that a configured source names. */
function aptSources(config: AptSourceConfig, host: HostMirrors): AptSource[] {
  return config.releases.flatMap((key) => {
    const { distribution, release } = debRelease(key);
    const suites = suitesOf(config, release);
    return suites.flatMap((suite): AptSource[] => {
      const wanted = config.architectures ?? ArchitectureName.options;
      const architectures = wanted.filter((name) => suite.architectures?.includes(name) ?? true);
      if (architectures.length === 0) return [];
      const configured = configuredMirror(config, suite.archive);
      return [
        {
          kind: "apt",
          id: `${distribution.id}/${suite.name}${suite.archive === "ports" ? "/ports" : ""}`,
          distribution,
          release: key,
          suite: suite.name,
          component: "main",
          architectures,
          url: mirrorOf(config, host, distribution, suite.archive),
          keyring: config.keyring ?? distribution.keyring.path,
          acceptExpired: config.acceptExpired ?? false,
          // Without its first suite a release has no toolchain; the others come and go with its age.
          isRequired: config.suites !== undefined || suite.name === release.suites[0]?.name,
          ...(configured === undefined ? {} : { place: configured }),
          ...(config.upcoming === true ? { isUpcoming: true as const } : {}),
        },
      ];
    });
  });
}

/** The release's own suites keep their archives, whoever names them. */
function suitesOf({ suites }: Pick<AptSourceConfig, "suites">, release: DebRelease): readonly Suite[] {
  const own = (name: string) => release.suites.find((suite) => suite.name === name);
  return suites?.map((name): Suite => own(name) ?? { name, archive: "main" }) ?? release.suites;
}

/** What a person should know who names suites: security is where fixed kernels appear first. */
export function leftOutSuites(sources: readonly SourceConfig[]): string[] {
  return sources.flatMap((config) => {
    if (config.kind !== "apt" || config.suites === undefined || config.upcoming === true) return [];
    return config.releases.flatMap((key) => {
      const { release } = debRelease(key);
      const isRead = (name: string) => config.suites?.includes(name);
      return release.suites
        .filter(({ name, archive }) => archive === "security" && !isRead(name))
        .map(
          ({ name }) => `sources: the suites of ${key} leave out ${name}, where fixed kernels appear first`,
        );
    });
  });
}

/** The repository of a configured source, or those of its distribution: one source for each architecture they keep apart. */
function rpmSources(config: RpmSourceConfig): RpmSource[] {
  const known = requireRelease(config.release);
  if (known.format !== "rpm") throw wrongKind(config.release, "apt");
  const configured = configuredRepository(config);
  const repositories = configured === undefined ? known.release.repositories : [configured];
  if (repositories.length === 0) {
    throw new FarmError("CONFIG_INVALID", {
      detail: `${config.release} has no public repository; set \`baseurl\` to yours`,
    });
  }
  const trust = packageTrust([config], known.release);
  const all = config.architectures ?? ArchitectureName.options;
  return repositories.flatMap(({ name, location }) => {
    const isApart = location.urls.some((url) => url.includes(BASEARCH));
    const groups = isApart ? all.map((one) => ({ label: `/${one}`, own: [one] })) : [{ label: "", own: all }];
    return groups.map(({ label, own }) => ({
      kind: "rpm-md" as const,
      id: `${config.release}/${name}${label}`,
      distribution: known.distribution,
      release: config.release,
      architectures: own,
      location: { ...location, urls: location.urls.map((url) => url.replaceAll(BASEARCH, own[0] ?? "")) },
      acceptExpired: config.acceptExpired ?? false,
      // One repository for each architecture: a place may well have only one of them, unless they are named.
      isRequired: configured !== undefined && config.architectures !== undefined,
      ...(configured === undefined ? {} : { place: configured.location.urls.join() }),
      ...(config.upcoming === true ? { isUpcoming: true as const } : {}),
      ...(trust.kind === "signed" && trust.signsMetadata ? { keys: trust.keys } : {}),
    }));
  });
}

const BASEARCH = "$basearch";

function configuredRepository(config: RpmSourceConfig): RpmRepository | undefined {
  for (const kind of ["baseurl", "mirrorlist", "metalink"] as const) {
    const url = config[kind];
    if (url === undefined) continue;
    const name = config.name ?? `repository-${sha256(url).slice("sha256:".length).slice(0, 8)}`;
    return { name, location: { kind, urls: [url] } };
  }
  return undefined;
}

/**
 * Where the packages of a release's toolchain come from: its configured sources, else the host's own mirror or
 * the public ones.
 * @throws FarmError CONFIG_INVALID
 */
export function toolchainMirror(
  sources: readonly SourceConfig[],
  host: HostMirrors,
  key: string,
  builder: ArchitectureName,
): ReleaseMirror {
  const known = requireRelease(key);
  return known.format === "deb"
    ? debMirror(sources, host, known.distribution, known.release, builder)
    : rpmMirror(sources, known.release, builder);
}

function debMirror(
  sources: readonly SourceConfig[],
  host: HostMirrors,
  distribution: DebDistribution,
  release: DebRelease,
  builder: ArchitectureName,
): DebMirror {
  // One whose suites are others, such as ESM's or backports, has more kernels and no whole distribution.
  const [base] = release.suites;
  const isWhole = ({ suites }: AptSourceConfig) => suites === undefined || suites.includes(base?.name ?? "");
  const configured = sources.find(
    (source): source is AptSourceConfig =>
      source.kind === "apt" && isWhole(source) && source.releases.includes(release.key),
  );
  const config: AptSourceConfig = configured ?? { kind: "apt", releases: [release.key] };
  const { components, isUpdated } = distribution.toolchain;
  const usable = release.suites.filter(({ architectures }) => architectures?.includes(builder) ?? true);
  const lines = (isUpdated ? usable : usable.slice(0, 1)).map(({ name, archive }) => ({
    url: mirrorOf(config, host, distribution, archive),
    suite: name,
    components,
  }));
  return {
    format: "deb",
    lines: lines as [AptLine, ...AptLine[]],
    keyring: config.keyring ?? distribution.keyring.path,
    acceptExpired: config.acceptExpired ?? false,
    ...(config.redistributable === false ? { isPrivate: true } : {}),
  };
}

function rpmMirror(
  sources: readonly SourceConfig[],
  release: RpmRelease,
  builder: ArchitectureName,
): RpmMirror {
  const own = repositoriesOf(sources, release.key);
  const configured = own.flatMap((source) => configuredRepository(source) ?? []);
  const repositories = configured.length > 0 ? configured : release.repositories;
  if (repositories.length === 0) {
    throw new FarmError("CONFIG_INVALID", {
      detail: `${release.key} has no public repository for its toolchain`,
      hint: "Configure a source for that release, or name another release for it under `toolchains`.",
    });
  }
  return {
    format: "rpm",
    version: release.version,
    repositories: repositories.map(({ name, location }) => ({
      name,
      location: { ...location, urls: location.urls.map((url) => url.replaceAll(BASEARCH, builder)) },
    })),
    trust: packageTrust(own, release),
    ...(own.some(({ redistributable }) => redistributable === false) ? { isPrivate: true } : {}),
  };
}

/**
 * Whose signatures of their own packages' count for the kernels of a release, wherever those were listed; undefined where
 * packages have none, or no key is known.
 */
export function packageSigners(sources: readonly SourceConfig[], key: string): KeySource | undefined {
  const known = findRelease(key);
  if (known?.format !== "rpm") return undefined;
  const trust = packageTrust(repositoriesOf(sources, key), known.release);
  return trust.kind === "signed" && trust.keys.fingerprints.length > 0 ? trust.keys : undefined;
}

function repositoriesOf(sources: readonly SourceConfig[], key: string): RpmSourceConfig[] {
  return sources.filter(
    (source): source is RpmSourceConfig => source.kind === "rpm-md" && source.release === key,
  );
}

/** What a person said of whose signature counts goes before what is known of the distribution. */
function packageTrust(sources: readonly RpmSourceConfig[], { key, keys }: RpmRelease): PackageTrust {
  if (sources.some(({ allowUnsigned }) => allowUnsigned)) return { kind: "unsigned" };
  const file = sources.find(({ keyring }) => keyring !== undefined)?.keyring;
  const url = sources.find(({ keyUrl }) => keyUrl !== undefined)?.keyUrl;
  const fingerprints = sources.find((source) => source.fingerprints !== undefined)?.fingerprints;
  if (file === undefined && url === undefined && fingerprints === undefined && keys === undefined)
    return { kind: "unknown" };
  return {
    kind: "signed",
    keys: {
      what: key,
      ...(file === undefined ? {} : { file }),
      urls: url === undefined ? (keys?.urls ?? []) : [url],
      fingerprints: fingerprints ?? keys?.fingerprints ?? [],
    },
    signsMetadata: file !== undefined || (keys?.signsMetadata ?? false),
  };
}

function debRelease(key: string): { distribution: DebDistribution; release: DebRelease } {
  const known = requireRelease(key);
  if (known.format !== "deb") throw wrongKind(key, "rpm-md");
  return known;
}

function wrongKind(release: string, right: SourceConfig["kind"]): FarmError {
  return new FarmError("CONFIG_INVALID", { detail: `a source of ${release} must have the kind ${right}` });
}

function mirrorOf(
  config: AptSourceConfig,
  host: HostMirrors,
  distribution: DebDistribution,
  archive: Archive,
): string {
  const own = distribution.usesHostMirrors && archive !== "ports" ? host[archive] : undefined;
  return (
    configuredMirror(config, archive) ?? own ?? distribution.mirrors[archive] ?? distribution.mirrors.main
  );
}

function configuredMirror(config: AptSourceConfig, archive: Archive): string | undefined {
  return { main: config.mirror, security: config.securityMirror, ports: config.portsMirror }[archive];
}

/**
 * Reads the secrets of all configured sources and archives, each for its own servers.
 * @throws FarmError FILE_UNREADABLE, CONFIG_INVALID; never with a secret in it
 */
export async function readCredentials({
  sources,
  drivers,
  base,
}: Pick<FarmConfig, "sources" | "drivers" | "base">): Promise<Credentials[]> {
  const ofSources = sources.map((source) => ({ ...source, urls: placesOf(source) }));
  const ofDrivers = drivers.flatMap(({ source }) =>
    typeof source === "object" && "url" in source
      ? [{ credentials: credentialsAt(base, source.credentials), urls: [source.url.split("{")[0] as string] }]
      : [],
  );
  const read = [...ofSources, ...ofDrivers].map(async ({ credentials, urls }) => {
    if (credentials === undefined) return [];
    const authorization = await authorizationOf(credentials);
    return urls.map((url) => ({ url, authorization }));
  });
  return (await Promise.all(read)).flat();
}

/** What a person named, here or in the host's apt configuration: only those servers may lie on private addresses. */
export function ownPlaces(
  {
    sources,
    drivers,
    feeds,
    privateHosts,
  }: Pick<FarmConfig, "sources" | "drivers" | "feeds" | "privateHosts">,
  host: HostMirrors,
): string[] {
  const ofDrivers = drivers.flatMap(({ source }) =>
    typeof source === "object" && "url" in source ? [source.url] : [],
  );
  const ofFeeds = feeds.flatMap(({ from }) => (typeof from === "string" && isHttp(from) ? [from] : []));
  const ofHost = [host.main, host.security].filter((url) => url !== undefined);
  return [...privateHosts, ...sources.flatMap(placesOf), ...ofDrivers, ...ofFeeds, ...ofHost];
}

function placesOf(source: SourceConfig): string[] {
  const urls = urlsOf(source);
  // What stands before the first variable is the same for every architecture.
  return urls.flatMap((url) => (url === undefined ? [] : [url.split("$")[0] as string]));
}

function urlsOf(source: SourceConfig): (string | undefined)[] {
  switch (source.kind) {
    case "apt":
      return [source.mirror, source.securityMirror, source.portsMirror];
    case "rpm-md":
      return [source.baseurl, source.mirrorlist, source.metalink];
    case "kernel-crawler":
      return isHttp(source.list) ? [source.list] : [];
    default:
      return assertNever(source);
  }
}

const SECRET_LIMIT_BYTES = 64 * 1024;

async function authorizationOf({ user, passwordFile, tokenFile }: CredentialsConfig): Promise<Secret> {
  const file = tokenFile ?? passwordFile ?? "";
  const text = await readAtMost(file, SECRET_LIMIT_BYTES).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", {
      detail: `the credentials file ${file} cannot be read (${cause.code})`,
      cause,
    });
  });
  const secret = String(text).trim();
  const isLine = tokenFile === undefined ? !/^$|\p{Cc}/u.test(secret) : /^[!-~]+$/.test(secret);
  if (!isLine)
    throw new FarmError("CONFIG_INVALID", { detail: `the credentials file ${file} must hold one line` });
  if (tokenFile !== undefined) return new Secret(`Bearer ${secret}`);
  return new Secret(`Basic ${Buffer.from(`${user}:${secret}`).toString("base64")}`);
}
