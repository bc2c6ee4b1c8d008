/**
 * Farms for end-to-end tests: a directory of their own each, the real command line, and one bootstrapped
 * toolchain root that they all share.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { afterAll } from "vitest";
import type { ListedPackage } from "../../src/kernel/distributions/distribution.ts";
import { CHECKOUT, startMirror, TEST_CACHE, type TestMirror } from "./e2e-mirror.ts";
import { inProcess } from "./in-process.ts";
import { withLock } from "./lock.ts";

export interface CliResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Another program of `bin` than kmodfarm. */
  readonly bin?: "kmodfarm" | "matrix-gen";
  /** Umask of the process, octal. */
  readonly umask?: string;
}

export interface RunningCli {
  readonly pid: number;
  /** Resolves when the process has ended; 128 + number when a signal ended it. */
  readonly ended: Promise<CliResult>;
  kill(signal: "SIGKILL" | "SIGINT" | "SIGTERM"): void;
  /** Resolves when what was said on stderr fits, rejects when the process ends before that. */
  said(expression: RegExp): Promise<void>;
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };

export function startCli(argv: readonly string[], options: CliOptions = {}): RunningCli {
  const program = join(CHECKOUT, "bin", options.bin ?? "kmodfarm");
  const command =
    options.umask === undefined
      ? [program, ...argv]
      : ["sh", "-c", `umask ${options.umask}; exec "$@"`, "sh", program, ...argv];
  const child: ChildProcess = spawn(command[0] as string, command.slice(1), {
    cwd: options.cwd ?? TEST_CACHE,
    env: {
      PATH: process.env.PATH ?? "/usr/bin:/bin",
      NO_PROXY: "127.0.0.1",
      NO_COLOR: "1",
      XDG_STATE_HOME: TEST_CACHE,
      XDG_CACHE_HOME: join(TEST_CACHE, "user"),
      ...options.env,
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const said = { stdout: "", stderr: "" };
  const waiting = new Set<() => void>();
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream]?.setEncoding("utf8").on("data", (text: string) => {
      said[stream] += text;
      for (const wake of waiting) wake();
    });
  }
  child.stdin?.on("error", () => {});
  child.stdin?.end(options.input ?? "");
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) =>
      resolve({ ...said, exitCode: code ?? 128 + (SIGNAL_NUMBERS[signal ?? ""] ?? 0) }),
    );
  });
  return {
    pid: child.pid as number,
    ended,
    kill: (signal) => void child.kill(signal),
    said: (expression) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!expression.test(said.stderr)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        ended.then(() => reject(new Error(`ended without saying ${expression}: ${said.stderr}`)), reject);
        look();
      }),
  };
}

export function cli(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(argv, options).ended;
}

export interface DriverSettings {
  readonly name: string;
  readonly source: unknown;
  readonly versions: readonly string[];
  readonly modules?: readonly string[];
  /** Any other setting of a driver. */
  readonly [setting: string]: unknown;
}

type Warm = "roots" | "indices" | "inputs" | "trees" | "boot" | "attempts" | "loads";

export interface FarmSettings {
  readonly mirror: Pick<TestMirror, "main" | "security">;
  readonly drivers?: readonly DriverSettings[];
  readonly releases?: readonly string[];
  readonly select?: Readonly<Record<string, unknown>>;
  readonly jobs?: number;
  readonly keys?: Readonly<Record<string, object>>;
  readonly signatures?: readonly object[];
  readonly cacheLimit?: string;
  readonly limits?: Readonly<Record<string, number | string>>;
  readonly exclude?: readonly Readonly<Record<string, unknown>>[];
  /** What the cache begins with; default: all that is the same for everybody, and no work already done. */
  readonly warm?: readonly Warm[];
  /** Another run of the same test goes on with the farm of this name; default: a new one, which goes away. */
  readonly keptAs?: string;
}

export const DOORBELL: DriverSettings = {
  name: "doorbell",
  source: "driver",
  versions: ["0.1.0"],
  modules: ["tally", "doorbell"],
};

/** What the shared cache was filled with, and the default of every test farm. */
const RELEASE = "debian12";
/** Of the series that the release boots by default, which is in no backports: one kernel for each architecture. */
export const CLOUD = { flavours: ["cloud"], kernelRelease: "6\\.1\\..*", newest: 1 };
/** All of the shared cache that is no work done: what a test farm has unless it says otherwise. */
export const SAME_FOR_EVERYBODY: readonly Warm[] = ["roots", "indices", "inputs", "trees", "boot"];
export const ALL_DONE: readonly Warm[] = [...SAME_FOR_EVERYBODY, "attempts", "loads"];

export class TestFarm {
  readonly directory: string;
  #settings: FarmSettings;

  constructor(directory: string, settings: FarmSettings) {
    this.directory = directory;
    this.#settings = settings;
  }

  /** The same farm in another place. */
  movedTo(directory: string): TestFarm {
    return new TestFarm(directory, this.#settings);
  }

  get config(): string {
    return join(this.directory, "kmodfarm.yaml");
  }

  get store(): string {
    return join(this.directory, "store");
  }

  get cache(): string {
    return join(this.directory, "cache");
  }

  /** Where `examples/driver` was copied to. */
  get driver(): string {
    return join(this.directory, "driver");
  }

  async configure(changes: Partial<FarmSettings>): Promise<void> {
    this.#settings = { ...this.#settings, ...changes };
    const { mirror, drivers, releases, select, exclude, jobs, cacheLimit, limits, keys, signatures } =
      this.#settings;
    const config = {
      drivers: drivers ?? [DOORBELL],
      sources: [
        {
          kind: "apt",
          releases: releases ?? [RELEASE],
          mirror: mirror.main,
          securityMirror: mirror.security,
        },
      ],
      select: select ?? CLOUD,
      ...(exclude === undefined ? {} : { exclude }),
      store: "store",
      cache: "cache",
      ...(jobs === undefined ? {} : { jobs }),
      ...(cacheLimit === undefined ? {} : { cacheLimit }),
      ...(limits === undefined ? {} : { limits }),
      ...(keys === undefined ? {} : { keys }),
      ...(signatures === undefined ? {} : { signatures }),
    };
    await writeFile(this.config, JSON.stringify(config, null, 2));
  }

  cli(...argv: string[]): Promise<CliResult> {
    return cli([...argv, "--config", this.config], { cwd: this.directory });
  }

  /** The same with more in its environment. */
  cliWith(env: Readonly<Record<string, string>>, ...argv: string[]): Promise<CliResult> {
    return cli([...argv, "--config", this.config], { cwd: this.directory, env });
  }

  /** The same in the process of the tests: for commands that others here run in one of their own. */
  inProcess(...argv: string[]): Promise<CliResult> {
    return inProcess([...argv, "--config", this.config], { cwd: this.directory });
  }

  start(...argv: string[]): RunningCli {
    return startCli([...argv, "--config", this.config], { cwd: this.directory });
  }

  /** Removes a package and everything taken from it, so that it must be fetched. */
  async lose({ sha256 }: SharedPackage): Promise<void> {
    const gone = [`inputs/${sha256}.deb`, `trees/${sha256}.deb`, `boot/${sha256}-vmlinuz`];
    for (const path of gone) await rm(join(this.cache, path), { recursive: true, force: true });
  }

  /** Forgets that anything was built for an architecture. */
  async unbuild(architecture: "x86_64" | "aarch64"): Promise<void> {
    const attempts = join(this.cache, "attempts");
    let removed = 0;
    for (const name of await readdir(attempts)) {
      const text = await readFile(join(attempts, name, "attempt.json"), "utf8");
      if (JSON.parse(text).recipe.kernel.architecture !== architecture) continue;
      await rm(join(attempts, name), { recursive: true });
      removed++;
    }
    if (removed === 0) throw new Error(`nothing was built for ${architecture}`);
  }

  /** Forgets work that was done, as if this cache were new; inputs stay. */
  async forget(...kinds: ("attempts" | "loads" | "unfinished" | "roots" | "inputs" | "trees" | "boot")[]) {
    for (const kind of kinds) await rm(join(this.cache, kind), { recursive: true, force: true });
  }
}

export interface Farms {
  farm(settings: FarmSettings): Promise<TestFarm>;
  /** Another farm with all that one has: its settings, its sources, its store and its cache. */
  copyOf(farm: TestFarm): Promise<TestFarm>;
  mirror(): Promise<TestMirror>;
}

/** To be called at the top of a test file: what is made of it goes away with the file. */
export function useFarms(): Farms {
  const farms: TestFarm[] = [];
  const mirrors: TestMirror[] = [];
  afterAll(async () => {
    await Promise.all(mirrors.map((mirror) => mirror.stop()));
    if (process.env.KMODFARM_KEEP_FARMS !== undefined) return;
    for (const { directory } of farms) await rm(directory, { recursive: true, force: true });
  });
  return {
    async farm(settings) {
      const warm = settings.warm ?? SAME_FOR_EVERYBODY;
      const shared = warm.length === 0 ? "" : await sharedCache();
      const farm = await makeFarm(settings, settings.keptAs);
      if (settings.keptAs === undefined) farms.push(farm);
      for (const kind of warm) await linkEntries(join(shared, kind), join(farm.cache, kind));
      return farm;
    },
    async copyOf(farm) {
      const copy = farm.movedTo(join(TEST_CACHE, "farms", randomBytes(5).toString("hex")));
      farms.push(copy);
      // Links into the shared cache stay links; times are what the cache is evicted by.
      await cp(farm.directory, copy.directory, {
        recursive: true,
        verbatimSymlinks: true,
        preserveTimestamps: true,
      });
      return copy;
    },
    async mirror() {
      const mirror = await startMirror();
      mirrors.push(mirror);
      return mirror;
    },
  };
}

/** On the file system of the shared cache, and in nobody's way. */
async function makeFarm(settings: FarmSettings, name = randomBytes(5).toString("hex")): Promise<TestFarm> {
  const directory = join(TEST_CACHE, "farms", name);
  await mkdir(directory, { recursive: true });
  await copyDriver(join(directory, "driver"));
  const farm = new TestFarm(directory, settings);
  await farm.configure({});
  return farm;
}

/** A checkout of the example driver. */
export async function copyDriver(target: string): Promise<void> {
  await cp(join(CHECKOUT, "examples", "driver"), target, { recursive: true });
}

/** Each entry is a link: what a farm adds is its own, what it removes is only its link. */
async function linkEntries(from: string, to: string): Promise<void> {
  const names = await readdir(from);
  if (names.length === 0) throw new Error(`the shared cache ${from} is empty`);
  await mkdir(to, { recursive: true });
  for (const name of names) await symlink(join(from, name), join(to, name));
}

/** The cache of one complete run, made once for all tests of all processes. */
async function sharedCache(): Promise<string> {
  const cache = join(TEST_CACHE, "farms", "shared", "cache");
  const stamp = join(TEST_CACHE, "shared.stamp");
  const wanted = await codeDigest(SHARED_CODE);
  const isReady = async () => (await readFile(stamp, "utf8").catch(() => "")) === wanted;
  if (await isReady()) return cache;
  await withLock(join(TEST_CACHE, "shared.lock"), async () => {
    if (await isReady()) return;
    const mirror = await startMirror();
    try {
      const farm = await makeFarm({ mirror }, "shared");
      await rm(farm.store, { recursive: true, force: true });
      const { exitCode, stdout, stderr } = await farm.cli("run");
      if (exitCode !== 0) throw new Error(`the shared cache cannot be filled: ${stdout}${stderr}`);
      await writeFile(stamp, wanted);
    } finally {
      await mirror.stop();
    }
  });
  return cache;
}

export interface SharedPackage {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
  readonly path: string;
}

export interface SharedElement {
  readonly kversion: string;
  readonly packageVersion: string;
  readonly architecture: "x86_64" | "aarch64";
  readonly packages: {
    readonly headers: readonly [SharedPackage, ...SharedPackage[]];
    readonly image: readonly [SharedPackage];
    readonly crossTools: readonly SharedPackage[];
  };
}

/** The element of an architecture that the shared cache was filled with. */
export async function sharedElement(architecture: "x86_64" | "aarch64"): Promise<SharedElement> {
  await sharedCache();
  const parts = await readGeneration(join(TEST_CACHE, "farms", "shared", "store"));
  const elements = [...parts]
    .filter(([name]) => name.startsWith("matrix/"))
    .flatMap(([, text]) => (JSON.parse(text) as { elements: SharedElement[] }).elements);
  const found = elements.find((element) => element.architecture === architecture);
  if (found === undefined) throw new Error(`the shared store has no element for ${architecture}`);
  return found;
}

/** Packages with a userland for guests, as an index lists them. */
export async function sharedGuests(): Promise<ListedPackage[]> {
  await sharedCache();
  const parts = await readGeneration(join(TEST_CACHE, "farms", "shared", "store"));
  const { guests } = JSON.parse(parts.get("sources") ?? "{}") as {
    guests: { packages: SharedPackage[] }[];
  };
  return guests.flatMap(({ packages }) => packages).map((one) => ({ depends: "", ...one }) as ListedPackage);
}

/** Everything that a root or an attempt is made from, so that the shared cache follows. */
const SHARED_CODE = ["images", "src/inputs", "src/builder", "src/catalog", "src/check", "examples/driver"];

/** Changes with the code in folders of the checkout; tests are none. */
export async function codeDigest(folders: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const folder of folders) {
    const tree = await treeDigests(join(CHECKOUT, folder));
    hash.update(JSON.stringify([...tree].filter(([path]) => !path.endsWith(".test.ts"))));
  }
  return hash.digest("hex");
}

/** Path below the tree → SHA-256 of the file, for every file; links are not followed. */
export async function treeDigests(tree: string): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  const entries = await readdir(tree, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((one) => one.isFile())) {
    const path = join(entry.parentPath, entry.name);
    digests.set(relative(tree, path), sha256Of(await readFile(path)));
  }
  return new Map([...digests].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export function sha256Of(bytes: string | Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Temporary files and locks that a farm left behind. */
export async function leftovers({ store, cache }: TestFarm): Promise<string[]> {
  const inStore = (await readdir(store, { recursive: true }).catch(() => [])).filter((path) =>
    path.split("/").some((part) => part.startsWith(".") || part === "tmp"),
  );
  const inCache = (await readdir(cache)).filter((name) => name.startsWith(".") || name === "tmp");
  return [...inStore, ...inCache];
}

export interface StableArtifact {
  readonly driver: string;
  readonly driverVersion: string;
  readonly distribution: string;
  readonly architecture: "x86_64" | "aarch64";
  readonly kversion: string;
  readonly packageVersion: string;
  readonly flavour: string;
  readonly output: string;
  readonly recipe: string;
  readonly manifest: string;
  readonly modules: readonly { readonly name: string; readonly digest: string; readonly size: number }[];
}

interface IndexFile {
  readonly distribution: string;
  readonly architecture: "x86_64" | "aarch64";
  readonly stable: readonly Omit<StableArtifact, "distribution" | "architecture">[];
  readonly candidate: readonly (Omit<StableArtifact, "distribution" | "architecture"> & {
    readonly reasons?: readonly string[];
  })[];
}

/** What a node would read, every digest on the way checked: channel → generation → index → blobs. */
export async function readStable(store: string): Promise<StableArtifact[]> {
  const indices = await readIndices(store);
  const artifacts = indices.flatMap(({ distribution, architecture, stable }) =>
    stable.map((entry) => ({ ...entry, distribution, architecture })),
  );
  for (const { manifest, modules } of artifacts) {
    await readBlob(store, manifest);
    if (modules.length === 0) throw new Error("an artifact without modules is stable");
    for (const { digest, size } of modules) {
      const bytes = await readBlob(store, digest);
      if (bytes.length !== size) throw new Error(`${digest} has ${bytes.length} bytes, not ${size}`);
    }
  }
  return artifacts;
}

/** Reads the indices of the generation that the pointer names. */
export async function readIndices(store: string): Promise<IndexFile[]> {
  const files = await readGeneration(store);
  return [...files]
    .filter(([file]) => file.startsWith("indices/"))
    .flatMap(([, text]) => (JSON.parse(text) as { indices: IndexFile[] }).indices);
}

/** Text of every part of the generation that the pointer names, by the part's name. */
export async function readGeneration(store: string): Promise<Map<string, string>> {
  const pointer = JSON.parse(await readFile(join(store, "channels/stable"), "utf8")) as {
    generation: number;
    digest: string;
  };
  const file = join(store, "generations", String(pointer.generation), "generation.json");
  const { parts } = JSON.parse(await readPromised(file, pointer.digest)) as {
    parts: Record<string, { digest: string }>;
  };
  const texts = new Map<string, string>();
  for (const [name, { digest }] of Object.entries(parts)) {
    const bytes = await readBlob(store, digest);
    const isPacked = bytes.readUInt32LE() === 0xfd2fb528;
    texts.set(name, (isPacked ? zstdDecompressSync(bytes) : bytes).toString("utf8"));
  }
  return texts;
}

async function readPromised(path: string, digest: string): Promise<string> {
  const bytes = await readFile(path);
  if (`sha256:${sha256Of(bytes)}` !== digest) throw new Error(`${path} is not ${digest}`);
  return bytes.toString("utf8");
}

export async function readBlob(store: string, digest: string): Promise<Buffer> {
  const hex = digest.replace("sha256:", "");
  const bytes = await readFile(join(store, "blobs", "sha256", hex.slice(0, 2), hex));
  if (sha256Of(bytes) !== hex) throw new Error(`blob ${digest} holds other bytes`);
  return bytes;
}

/** Identities and module digests of what is stable: what must be equal however a farm got there. */
export async function stableContent(store: string): Promise<string[]> {
  const artifacts = await readStable(store);
  return artifacts
    .map(({ driver, driverVersion, distribution, architecture, kversion, packageVersion, modules }) => {
      const identity = [driver, driverVersion, distribution, architecture, kversion, packageVersion];
      return [...identity, ...modules.map(({ name, digest }) => `${name}=${digest}`).sort()].join(" ");
    })
    .sort();
}
