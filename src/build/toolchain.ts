/**
 * Toolchain roots: the distribution release's own compiler in a small root of its own, bootstrapped once
 * from the package list under images/ and kept.
 */
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { markUsed } from "../base/cache.ts";
import { FarmError } from "../base/error.ts";
import { type Digest, digestOf } from "../base/json.ts";
import { lastLines, run } from "../base/run.ts";
import { entriesOf, exists, type Scratch } from "../base/scratch.ts";
import { ARCHITECTURES, type ArchitectureName, architecture } from "../kernel/architecture.ts";
import { requireRelease } from "../kernel/distributions/index.ts";
import type { Compiler } from "../kernel/kernel.ts";
import type { InstalledPackage } from "./recipe.ts";

/** Where a distribution release's packages come from. */
export interface ReleaseMirror {
  readonly url: string;
  readonly keyring: string;
  readonly acceptExpired: boolean;
}

export interface ToolchainContext {
  readonly cache: string;
  readonly scratch: Scratch;
  /** Directory of the image definitions. */
  readonly images: string;
  readonly builder: ArchitectureName;
  /** Distribution release key → mirror of its main archive. */
  readonly mirrors: ReadonlyMap<string, ReleaseMirror>;
}

/** Which root is wanted. */
export interface RootRequest {
  /** Distribution release key. */
  readonly release: string;
  readonly compiler: Compiler;
  /** What the driver needs beside the release's own list; every set of them is a root of its own. */
  readonly packages?: readonly string[];
}

export interface ToolchainRoot {
  readonly path: string;
  readonly packages: readonly InstalledPackage[];
}

const BOOTSTRAP_TIMEOUT_MS = 20 * 60_000;
const PackageList = z.array(z.object({ name: z.string(), version: z.string() }));

export class Toolchains {
  readonly #context: ToolchainContext;
  readonly #roots = new Map<string, Promise<ToolchainRoot>>();

  constructor(context: ToolchainContext) {
    this.#context = context;
  }

  /** The root for a compiler of a distribution release; made when there is none yet, by one caller at a time. */
  root(wanted: RootRequest, signal?: AbortSignal): Promise<ToolchainRoot> {
    const key = keyOf(wanted);
    const known = this.#roots.get(key);
    if (known !== undefined) return known;
    const made = this.#open(wanted, signal);
    this.#roots.set(key, made);
    made.catch(() => this.#roots.delete(key));
    return made;
  }

  /** The making of a root that is under way, if any. */
  making(wanted: RootRequest): Promise<ToolchainRoot> | undefined {
    return this.#roots.get(keyOf(wanted));
  }

  /** Whether that root is there already, so that asking for it costs nothing. */
  async isReady(wanted: RootRequest): Promise<boolean> {
    return exists(join(this.#placeOf(wanted, await this.#define(wanted)), "packages.json"));
  }

  async #open(wanted: RootRequest, signal?: AbortSignal): Promise<ToolchainRoot> {
    const definition = await this.#define(wanted);
    const place = this.#placeOf(wanted, definition);
    const list = join(place, "packages.json");
    if (!(await exists(list))) await this.#bootstrap(wanted.release, definition, place, signal);
    await markUsed(place);
    return {
      path: join(place, "root"),
      packages: PackageList.parse(JSON.parse(await readFile(list, "utf8"))),
    };
  }

  #placeOf({ release, compiler }: RootRequest, definition: readonly string[]): string {
    const name = `${release}-${compiler.family}-${compiler.version}`;
    const variant = digestOf([definition, this.#context.builder, BOOTSTRAP_OPTIONS]).slice(7, 19);
    return join(this.#context.cache, "roots", `${name}-${variant}`);
  }

  /** Package names of a release's image definition for one compiler, and those of the driver. */
  async #define({ release, compiler, packages = [] }: RootRequest): Promise<string[]> {
    const file = join(this.#context.images, release, "packages.txt");
    const text = await readFile(file, "utf8").catch((cause) => {
      throw new FarmError("CONFIG_INVALID", {
        detail: `there is no toolchain image definition ${file}`,
        cause,
      });
    });
    const foreign = ARCHITECTURES.filter(({ name }) => name !== this.#context.builder);
    const own = text
      .split("\n")
      .map((line) => line.replace(/#.*/, "").trim())
      .filter((line) => line !== "")
      .flatMap((line) =>
        line.includes("{cross}") ? foreign.map(({ triplet }) => line.replace("{cross}", triplet)) : line,
      )
      .map((line) => line.replace("{compiler}", `${compiler.family}-${compiler.version}`))
      .map((line) => line.replace("x86_64-linux-gnu", "x86-64-linux-gnu"));
    return [...own, ...packages.filter((name) => !own.includes(name)).toSorted()];
  }

  async #bootstrap(
    release: string,
    packages: readonly string[],
    place: string,
    signal?: AbortSignal,
  ): Promise<void> {
    const { scratch, builder } = this.#context;
    const { release: known } = requireRelease(release);
    const mirror = this.#context.mirrors.get(release);
    if (mirror === undefined)
      throw new FarmError("CONFIG_INVALID", { detail: `no source of the configuration serves ${release}` });
    const temporary = scratch.path();
    const root = join(temporary, "root");
    try {
      await mkdir(temporary, { recursive: true });
      const argv = [
        ["mmdebstrap", "--quiet", "--mode=root", "--format=directory", ...BOOTSTRAP_OPTIONS],
        mirror.acceptExpired ? ['--aptopt=Acquire::Check-Valid-Until "false"'] : [],
        [`--architectures=${architecture(builder).debian}`, `--keyring=${mirror.keyring}`],
        [`--include=${packages.join(",")}`, known.codename, root, mirror.url],
      ].flat();
      const result = await run(argv, { timeoutMs: BOOTSTRAP_TIMEOUT_MS, contained: true }, signal);
      if (result.exitCode !== 0) throw bootstrapError(release, result.stderr, result.timedOut);
      const installed = await installedPackages(join(root, "var/lib/dpkg/status"));
      await scratch.write(join(temporary, "packages.json"), JSON.stringify(installed));
      await mkdir(join(place, ".."), { recursive: true });
      await rm(place, { recursive: true, force: true });
      await rename(temporary, place);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }
}

function keyOf({ release, compiler, packages = [] }: RootRequest): string {
  return [release, compiler.family, compiler.version, ...packages.toSorted()].join(" ");
}

/** Documentation and translations take a third of a root and no part in a build. */
const BOOTSTRAP_OPTIONS = [
  "--variant=essential",
  '--aptopt=Acquire::Languages "none"',
  ...["man", "locale", "doc", "info"].map((kind) => `--dpkgopt=path-exclude=/usr/share/${kind}/*`),
];

function bootstrapError(release: string, said: string, timedOut: boolean): FarmError {
  // mmdebstrap's last words only repeat that apt failed; why it did stands before them.
  const causes = said
    .split("\n")
    .filter((line) => /^(Err|W|E):/.test(line) && !/mmdebstrap failed|--error-on=any/.test(line));
  const words = lastLines(causes.length > 0 ? causes.join("\n") : said, 4);
  if (timedOut)
    return new FarmError("TIMED_OUT", {
      detail: `bootstrapping the toolchain root of ${release} took too long`,
    });
  const remote = /Failed to fetch|Could not connect|Temporary failure|Unable to fetch/i.test(said);
  return new FarmError(remote ? "REMOTE_UNAVAILABLE" : "TOOL_FAILED", {
    detail: `the toolchain root of ${release} cannot be bootstrapped: ${words}`,
  });
}

async function installedPackages(statusFile: string): Promise<InstalledPackage[]> {
  const text = await readFile(statusFile, "utf8");
  const packages = text.split("\n\n").flatMap((block) => {
    const name = /^Package: (.+)$/m.exec(block)?.[1];
    const version = /^Version: (.+)$/m.exec(block)?.[1];
    return name === undefined || version === undefined ? [] : [{ name, version }];
  });
  return packages.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Digest of the scripts that run inside a sandbox. */
export async function scriptsDigest(images: string): Promise<Digest> {
  const scripts = (await entriesOf(images)).filter((name) => name.endsWith(".sh"));
  return digestOf(
    await Promise.all(scripts.map(async (name) => [name, await readFile(join(images, name), "utf8")])),
  );
}
