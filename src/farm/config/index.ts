/**
 * The configuration: one strict schema for the YAML file, read once at the edge. The only place besides the
 * command line that knows where things are on this machine.
 */
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { Size } from "../../base/size.ts";
import { SANDBOX_NAMES, type SandboxName } from "../../builder/sandboxes/sandbox.ts";
import { readYaml } from "../../formats/yaml.ts";
import { ArchivePolicy } from "../../inputs/inputs.ts";
import { ArchitectureName } from "../../kernel/architecture.ts";
import { debian } from "../../kernel/distributions/debian.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { Exclusion } from "../../matrix/exclude.ts";
import { refuseSharedPlaces } from "../../matrix/generate.ts";
import { refuseWrongNeeds } from "../needs.ts";
import { DriverConfig } from "./driver.ts";
import { Limits } from "./limits.ts";
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
    .describe("Where kernels are listed; default: every release of Debian."),
  privateHosts: z
    .array(Host)
    .default([])
    .describe(
      "Hosts on addresses that are not public (mirror.lan, 10.0.0.5:8080) that lists, mirrors and redirects may lead to. What this file names as a source or driver needs no mention.",
    ),
  select: Select.prefault({}).describe("Which kernels: a selection, or several of which any may match."),
  exclude: z.array(Exclusion).default([]).describe("What is not to be built, each with the reason."),
  store: StoreConfig.default(".kmodfarm/store").describe(
    "The registry: a directory relative to this file, `s3://BUCKET/PREFIX`, or a bucket with its server (docs/stores.md).",
  ),
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
  builders: z
    .partialRecord(ArchitectureName, ArchitectureName)
    .default({})
    .describe(
      "Architecture of the machines that build for an architecture, such as `{aarch64: aarch64}`: part of every recipe, so say it where machines of several kinds use one store. Default: this machine's.",
    ),
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
  limits: Limits.prefault({}).describe("What one build may take; over any of it, it is ended."),
  jobs: z
    .int()
    .positive()
    .optional()
    .describe("Elements built or booted at once; default: the number of processors.")
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

const DEFAULT_FILE = "kmodfarm.yaml";

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
  return configAt(parseConfig(text, file), dirname(file), places, directory);
}

/**
 * With absolute paths: those of the file from where it is (`base`), those of options from where we are. All but the places
 * of drivers, which the origins of sources read.
 */
function configAt(config: Config, base: string, options: ConfigPlaces, directory: string) {
  return {
    ...config,
    sources: config.sources.map((source) => sourceAt(base, source)),
    store: storeOf(options.store, config.store, base, directory),
    cache: options.cache === undefined ? resolve(base, config.cache) : resolve(directory, options.cache),
    policy: config.policy === undefined ? undefined : resolve(base, config.policy),
    jobs: options.jobs ?? config.jobs,
    sandbox: options.sandbox ?? config.sandbox,
    /** What relative paths of the file are relative to. */
    base,
  };
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
