/**
 * A repository whose farm runs on GitHub Actions: kernels of Debian 12 from the host's mirror, and the same packages as
 * those of other releases from a repository of our own, which gains kernels when a test wants it.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { ListedPackage } from "../../src/kernel/distributions/distribution.ts";
import { makeSigningKey, type SigningKey, startRepository } from "./apt-repository.ts";
import {
  type CliResult,
  cli,
  copyDriver,
  DOORBELL,
  type Farms,
  type SharedPackage,
  sharedElement,
  type TestFarm,
} from "./e2e-farm.ts";
import type { TestMirror } from "./e2e-mirror.ts";
import { type RunnerSettings, runWorkflow, type WorkflowRun } from "./workflow-runner.ts";

type Architecture = "x86_64" | "aarch64";
const RELEASES = { bullseye: "debian11", trixie: "debian13" } as const;
type Suite = keyof typeof RELEASES;

export const NIGHT = ".github/workflows/kmodfarm-night.yml";
export const ON_DEMAND = ".github/workflows/kmodfarm-on-demand.yml";
export const DRIVER_RELEASE = ".github/workflows/kmodfarm-driver-release.yml";

export class GithubFarm {
  readonly repository: string;
  /** Where a registry in a folder is. */
  readonly store: string;
  readonly #warm: TestFarm;
  readonly #mirror: TestMirror;
  readonly #kernels: KernelRepository;
  readonly #store: string;
  #settings: Readonly<Record<string, unknown>> = {};
  #suites: Suite[] = [];

  constructor(warm: TestFarm, mirror: TestMirror, kernels: KernelRepository, store?: string) {
    this.#warm = warm;
    this.#mirror = mirror;
    this.#kernels = kernels;
    this.repository = join(warm.directory, "repository");
    this.store = join(warm.directory, "registry");
    this.#store = store ?? this.store;
  }

  get directory(): string {
    return this.#warm.directory;
  }

  /** A mirror that lists these kernels, a configuration, and the workflows for it. */
  async configure(
    kernels: Readonly<Partial<Record<Suite, readonly Architecture[]>>>,
    settings: Readonly<Record<string, unknown>> = this.#settings,
  ): Promise<CliResult> {
    this.#settings = settings;
    this.#suites = Object.keys(kernels) as Suite[];
    for (const [suite, architectures] of Object.entries(kernels))
      await this.#kernels.publish(suite as Suite, architectures);
    await mkdir(this.repository, { recursive: true });
    if (!existsSync(join(this.repository, "driver"))) await copyDriver(join(this.repository, "driver"));
    const kernelReleases = await Promise.all(
      (["x86_64", "aarch64"] as const).map(async (one) => (await sharedElement(one)).kversion),
    );
    const config = this.#config(kernelReleases);
    await writeFile(join(this.repository, "kmodfarm.yaml"), JSON.stringify(config, null, 2));
    return cli(["github", "init"], { cwd: this.repository });
  }

  /** One kernel of each release and architecture: a night is slow enough. */
  #config(kernelReleases: readonly string[]): object {
    const { main: mirror, security: securityMirror } = this.#mirror;
    const { url, key } = this.#kernels;
    const own = this.#suites.map((suite) => ({
      ...{ kind: "apt", releases: [RELEASES[suite]], suites: [suite] },
      ...{ mirror: url, keyring: key.keyring },
    }));
    return {
      drivers: [DOORBELL],
      sources: [{ kind: "apt", releases: ["debian12"], mirror, securityMirror }, ...own],
      select: { kernelRelease: kernelReleases.map((one) => one.replaceAll(/[.+]/g, "\\$&")).join("|") },
      toolchains: Object.fromEntries(Object.values(RELEASES).map((release) => [release, "debian12"])),
      privateHosts: ["127.0.0.1"],
      store: this.#store,
      cache: ".kmodfarm/cache",
      ...this.#settings,
    };
  }

  /**
   * A whole run, each job on a new machine, but for what takes longest and is the same every time: the one that plans
   * has the toolchains that it made before, and those that build share what they unpack.
   */
  run(
    workflow: string,
    more: Partial<RunnerSettings> = {},
    inputs: Readonly<Record<string, string>> = {},
  ): Promise<WorkflowRun> {
    return runWorkflow(
      {
        repository: this.repository,
        place: join(this.directory, "actions"),
        prepare: (job, workspace) => {
          const cache = join(workspace, ".kmodfarm", "cache");
          if (job === "plan") linkAll(join(this.#warm.cache, "roots"), join(cache, "roots"));
          if (job !== "build") return linkAll(join(this.#warm.cache, "indices"), join(cache, "indices"));
          const toolchains = join(this.directory, "toolchains");
          mkdirSync(toolchains, { recursive: true });
          linkAll(toolchains, join(cache, "toolchains"));
        },
        ...more,
      },
      workflow,
      inputs,
    );
  }

  /** The same on one machine, with a store of its own. */
  async runAlone(store: string): Promise<CliResult> {
    const places = ["--store", join(this.directory, store), "--cache", this.#warm.cache];
    return cli(["run", "--config", join(this.repository, "kmodfarm.yaml"), ...places], {
      cwd: this.directory,
    });
  }
}

function linkAll(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) symlinkSync(join(from, name), join(to, name));
}

/** To be called at the top of a test file. */
export function useGithubFarm(farms: Farms): (store?: string) => Promise<GithubFarm> {
  const key = makeSigningKey();
  return async (store) => {
    const mirror = await farms.mirror();
    const warm = await farms.farm({ mirror });
    const kernels = await KernelRepository.start(key, mirror, warm.directory);
    return new GithubFarm(warm, mirror, kernels, store);
  };
}

interface Kernel {
  readonly listed: readonly ListedPackage[];
  readonly files: ReadonlyMap<string, Buffer>;
}

/** A repository of our own with kernels of Debian 12. */
class KernelRepository {
  readonly key: SigningKey;
  readonly url: string;
  readonly #repository: Awaited<ReturnType<typeof startRepository>>;
  readonly #mirror: TestMirror;
  readonly #directory: string;
  readonly #kernels = new Map<Architecture, Promise<Kernel>>();

  static async start(key: SigningKey, mirror: TestMirror, directory: string): Promise<KernelRepository> {
    return new KernelRepository(key, await startRepository(key, afterAll), mirror, directory);
  }

  private constructor(
    key: SigningKey,
    repository: Awaited<ReturnType<typeof startRepository>>,
    mirror: TestMirror,
    directory: string,
  ) {
    this.key = key;
    this.#directory = directory;
    this.url = repository.url;
    this.#repository = repository;
    this.#mirror = mirror;
  }

  async publish(suite: Suite, architectures: readonly Architecture[]): Promise<void> {
    const kernels = await Promise.all(architectures.map((one) => this.#kernel(one)));
    for (const { files } of kernels)
      for (const [path, bytes] of files) this.#repository.files.set(path, bytes);
    // Both architectures share some.
    const packages = new Map(kernels.flatMap(({ listed }) => listed.map((one) => [one.sha256, one])));
    this.#repository.publish(suite, { packages: [...packages.values()] });
  }

  #kernel(architecture: Architecture): Promise<Kernel> {
    const known = this.#kernels.get(architecture) ?? this.#fetch(architecture);
    this.#kernels.set(architecture, known);
    return known;
  }

  async #fetch(architecture: Architecture): Promise<Kernel> {
    const { packages } = await sharedElement(architecture);
    const wanted = [packages.headers, packages.image, packages.crossTools].flat();
    const fetched = await Promise.all(wanted.map((one) => this.#package(one)));
    const listed = fetched.map(([one]) => one);
    return { listed, files: new Map(fetched.map(([{ path }, bytes]) => [path, bytes])) };
  }

  async #package(one: SharedPackage): Promise<readonly [ListedPackage, Buffer]> {
    for (const place of [this.#mirror.main, this.#mirror.security]) {
      const answer = await fetch(`${place}/${one.path}`);
      if (!answer.ok) continue;
      const bytes = Buffer.from(await answer.arrayBuffer());
      const file = join(this.#directory, one.sha256);
      await writeFile(file, bytes);
      const depends = execFileSync("dpkg-deb", ["--field", file, "Depends"]);
      return [{ ...one, depends: depends.toString().trim() } as ListedPackage, bytes];
    }
    throw new Error(`no mirror has ${one.path}`);
  }
}
