/**
 * Toolchain roots: the distribution release's own compiler in a small root of its own, bootstrapped once
 * from its image definition and kept.
 */

import { chmod, lstat, mkdir, readFile, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { markUsed } from "../../base/cache.ts";
import { FarmError } from "../../base/error.ts";
import { type Digest, digestOf } from "../../base/json.ts";
import { entriesOf, exists, type Scratch } from "../../base/scratch.ts";
import { removeTree } from "../../base/strange-tree.ts";
import type { ArchitectureName } from "../../kernel/architecture.ts";
import type { Compiler } from "../../kernel/kernel.ts";
import type { CompilerMismatch, InstalledPackage } from "../records.ts";
import {
  type CompilerPolicy,
  chooseCompiler,
  compilerPackages,
  type ImageDefinition,
  imageFolder,
  isCross,
  type OfferedCompiler,
  readImage,
  type WantedPackage,
} from "./image.ts";
import { type CompilerWords, type PackageFile, ROOT_RECORD, RootRecord } from "./root-record.ts";
import { takeOut } from "./roots/box.ts";
import { makeRoot, rootOptions } from "./roots/index.ts";
import { observeCompilers } from "./roots/observe.ts";
import type { ReleaseMirror, RootContext } from "./roots/root-method.ts";

/** Beside a root: what it was made of. */
export const PACKAGES = "packages";

export interface ToolchainContext {
  readonly cache: string;
  readonly scratch: Scratch;
  /** Directory of the image definitions. */
  readonly images: string;
  /** The architecture of this machine. */
  readonly builder: ArchitectureName;
  /** Of the machines that build for an architecture, where those are others: it is part of every recipe. */
  readonly builders?: ReadonlyMap<ArchitectureName, ArchitectureName>;
  /** Architectures whose programs it runs beside its own. */
  readonly emulated: ReadonlySet<ArchitectureName>;
  /** Where a release's packages for builders of an architecture come from. @throws FarmError CONFIG_INVALID */
  readonly mirrorOf: (release: string, builder: ArchitectureName) => ReleaseMirror;
  /** The keys that a repository's packages must be signed with. */
  readonly keysOf: RootContext["keysOf"];
  /** Releases whose toolchain is another release's: almalinux9.4 → almalinux9.5. */
  readonly substitutes: ReadonlyMap<string, string>;
  readonly compilers: CompilerPolicy;
  /** Whether a cross compiler is used where there is one; else another architecture is emulated. */
  readonly isCrossWanted: boolean;
  readonly say?: (text: string) => void;
  readonly known?: KnownRoots;
  /** Whether a root's packages stay beside it, to be archived. Default: no. */
  readonly keepsPackages?: boolean;
}

/** What is installed in roots that were made here or elsewhere, by their names. */
export interface KnownRoots {
  rootOf(name: string): readonly InstalledPackage[] | undefined;
  learnRoot(name: string, packages: readonly InstalledPackage[]): void;
}

/** Which root is wanted. */
export interface RootRequest {
  /** Distribution release key. */
  readonly release: string;
  readonly compiler: Compiler;
  /** What is built for. */
  readonly architecture: ArchitectureName;
  /** What the driver needs beside the release's own list; every set of them is a root of its own. */
  readonly packages?: readonly string[];
  /** Likewise, where the release has them. */
  readonly optional?: readonly string[];
}

export interface ToolchainRoot {
  readonly path: string;
  readonly packages: readonly InstalledPackage[];
  /** The architecture of the programs in it; another one than what is built for means a cross build. */
  readonly builder: ArchitectureName;
  /** How this machine runs them, where they are not its own. */
  readonly emulation?: "qemu-user";
  readonly compiler: OfferedCompiler;
  /**
   * What the compiler for each architecture said of its version, asked before any driver was there: the first line of
   * `--version`. Beside `packages` it is all that a record of a build's environment needs.
   */
  readonly compilers: CompilerWords;
  /** The compiler in it, where it is not the one that the kernel was built with. */
  readonly mismatch?: CompilerMismatch;
  /** What it was made of; unknown of roots that an earlier version made. */
  readonly files?: readonly PackageFile[];
}

/** What a root was made of, to make it again elsewhere. */
export interface RootMaterials {
  /** The root's name in the cache. */
  readonly name: string;
  /** The release whose packages they are. */
  readonly release: string;
  readonly format: ReleaseMirror["format"];
  readonly files: readonly PackageFile[];
  /** Whether they may not be passed on. */
  readonly isPrivate: boolean;
  /** Where a package's file is, if it was kept. */
  readonly fileOf: (one: PackageFile) => string;
}

/** What a recipe says of a root. */
export type RootFacts = Pick<ToolchainRoot, "packages" | "builder" | "emulation">;

/** What a request comes to. */
interface RootPlan {
  /** The release whose packages it is made of. */
  readonly release: string;
  readonly image: ImageDefinition;
  readonly compiler: OfferedCompiler;
  readonly builder: ArchitectureName;
  /** Of the machine that builds with it. */
  readonly machine: ArchitectureName;
  readonly packages: readonly WantedPackage[];
  readonly lock: ReadonlyMap<string, string>;
  readonly mirror: ReleaseMirror;
  readonly place: string;
}

export class Toolchains {
  readonly #context: ToolchainContext;
  readonly #roots = new Map<string, Promise<ToolchainRoot>>();

  constructor(context: ToolchainContext) {
    this.#context = context;
  }

  /**
   * The root for a compiler of a distribution release; made when there is none yet, once for all callers. What keeps it
   * from being made does so for each of them: a mirror that is gone is not asked again for every kernel.
   * @throws FarmError COMPILER_UNAVAILABLE, ARCHITECTURE_UNAVAILABLE, CONFIG_INVALID, and what making one throws
   */
  async root(wanted: RootRequest, signal?: AbortSignal): Promise<ToolchainRoot> {
    const plan = await this.#plan(wanted);
    const making = this.#roots.get(plan.place) ?? this.#open(plan, signal);
    this.#roots.set(plan.place, making);
    return { ...(await making), ...mismatchOf(wanted.compiler, plan.compiler) };
  }

  /** Waits for the making of a root that is under way, if any. */
  async making(wanted: RootRequest): Promise<ToolchainRoot | undefined> {
    return this.#roots.get((await this.#plan(wanted)).place);
  }

  /** Whether that root is there already, so that asking for it costs nothing. */
  async isReady(wanted: RootRequest): Promise<boolean> {
    return exists(join((await this.#plan(wanted)).place, ROOT_RECORD));
  }

  /** What a root that is not here would contain, according to the machine that built it last. */
  async remembered(wanted: RootRequest): Promise<RootFacts | undefined> {
    const plan = await this.#plan(wanted);
    const packages = this.#context.known?.rootOf(basename(plan.place));
    return packages === undefined ? undefined : { packages, ...this.#machineOf(plan) };
  }

  /** What a root that is here was made of; undefined where that is not known. */
  async materials(wanted: RootRequest, signal?: AbortSignal): Promise<RootMaterials | undefined> {
    const { place, release, mirror } = await this.#plan(wanted);
    if (!(await exists(join(place, ROOT_RECORD)))) return undefined;
    const { files } = await this.root(wanted, signal);
    if (files === undefined) return undefined;
    const { format, isPrivate = false } = mirror;
    const fileOf = ({ sha256 }: PackageFile) => join(place, PACKAGES, sha256);
    return { name: basename(place), release, format, files, isPrivate, fileOf };
  }

  /** Where a root lies in the cache, or would; its name is the last part. */
  async place(wanted: RootRequest): Promise<string> {
    return (await this.#plan(wanted)).place;
  }

  async #plan(request: RootRequest): Promise<RootPlan> {
    const { release, compiler: wanted, architecture, packages = [], optional = [] } = request;
    const { images, substitutes, compilers, cache } = this.#context;
    const substitute = substitutes.get(release) ?? release;
    const image = await readImage(images, await imageFolder(images, substitute));
    const compiler = chooseCompiler(image, wanted, compilers);
    const machine = this.#context.builders?.get(architecture) ?? this.#context.builder;
    const builder = this.#builderFor(architecture, machine, compiler, image.folder);
    const own = image.packages.filter(({ name }) => !packages.includes(name));
    const names = [...compilerPackages(compiler, builder), ...packages.toSorted()];
    const needed = [...names.map((name) => ({ name, isOptional: false })), ...own];
    const others = optional.filter((name) => !needed.some((one) => one.name === name)).toSorted();
    const all = [...needed, ...others.map((name) => ({ name, isOptional: true }))];
    const lock = new Map(
      image.lock.filter((one) => one.architecture === builder).map(({ name, version }) => [name, version]),
    );
    const mirror = this.#context.mirrorOf(substitute, builder);
    const locks = all.flatMap(({ name }) => lock.get(name) ?? []);
    const variant = digestOf([all, locks, builder, rootOptions(mirror.format)]).slice(7, 19);
    const place = join(cache, "roots", `${substitute}-${compiler.family}-${compiler.version}-${variant}`);
    return { release: substitute, image, compiler, builder, machine, packages: all, lock, mirror, place };
  }

  /** @throws FarmError ARCHITECTURE_UNAVAILABLE */
  #builderFor(
    target: ArchitectureName,
    machine: ArchitectureName,
    compiler: OfferedCompiler,
    folder: string,
  ): ArchitectureName {
    const { builder, emulated, isCrossWanted } = this.#context;
    if (target === machine) return machine;
    if (isCross(compiler) && isCrossWanted) return machine;
    // It is not known here what a machine elsewhere can run besides its own programs.
    if (machine === builder && emulated.has(target)) return target;
    const fact = isCross(compiler)
      ? "cross compilers are disabled"
      : `the image ${folder} has no cross compiler`;
    const which = machine === builder ? "this" : "a";
    throw new FarmError("ARCHITECTURE_UNAVAILABLE", {
      detail: `${fact}, and ${which} ${machine} machine cannot run ${target} programs`,
    });
  }

  async #open(plan: RootPlan, signal?: AbortSignal): Promise<ToolchainRoot> {
    const file = join(plan.place, ROOT_RECORD);
    if (!(await exists(file))) await this.#make(plan, signal);
    await requireRoot(join(plan.place, "root"));
    await markUsed(plan.place);
    const record = RootRecord.parse(JSON.parse(await readFile(file, "utf8")));
    const { compiler, place } = plan;
    const compilers = record.compilers ?? (await this.#renew(plan, record, signal));
    this.#context.known?.learnRoot(basename(place), record.packages);
    return {
      path: join(place, "root"),
      packages: record.packages,
      compiler,
      compilers,
      ...(record.files === undefined ? {} : { files: record.files }),
      ...this.#machineOf(plan),
    };
  }

  /** Makes of an earlier version's root what one of today is. */
  async #renew(plan: RootPlan, record: RootRecord, signal?: AbortSignal): Promise<CompilerWords> {
    const root = join(plan.place, "root");
    await chmod(plan.place, 0o700);
    await takeOut(root);
    const compilers = await observeCompilers(root, plan.compiler, plan.builder, signal);
    await this.#context.scratch.write(
      join(plan.place, ROOT_RECORD),
      JSON.stringify({ ...record, compilers }),
    );
    return compilers;
  }

  #machineOf({ builder, machine }: RootPlan): Pick<RootFacts, "builder" | "emulation"> {
    return { builder, ...(builder === machine ? {} : { emulation: "qemu-user" as const }) };
  }

  async #make(plan: RootPlan, signal?: AbortSignal): Promise<void> {
    const { scratch, say } = this.#context;
    const { release, builder, packages, lock, mirror, place } = plan;
    const temporary = scratch.path();
    const [work, kept] = [join(temporary, "work"), join(temporary, PACKAGES)];
    try {
      // Roots contain old programs of all kinds: other users must not get in there.
      await mkdir(temporary, { recursive: true, mode: 0o700 });
      for (const name of [work, kept]) await mkdir(name);
      const isEmulated = builder !== this.#context.builder;
      if (isEmulated && !this.#context.emulated.has(builder))
        throw new FarmError("ARCHITECTURE_UNAVAILABLE", {
          detail: `this ${this.#context.builder} machine cannot build a toolchain root of ${builder} programs`,
          hint: `Emulate them (apt-get install qemu-user-static binfmt-support), or export the root on a machine of that architecture with \`kmodfarm toolchain export\`, and import it here.`,
        });
      const root = join(temporary, "root");
      const spec = { what: release, builder, isEmulated, packages, lock, root, work, kept };
      const made = await makeRoot(spec, mirror, this.#context, signal);
      for (const note of made.notes) say?.(note);
      await removeTree(work);
      if (this.#context.keepsPackages !== true) await removeTree(kept);
      const compilers = await observeCompilers(root, plan.compiler, builder, signal);
      await scratch.write(
        join(temporary, ROOT_RECORD),
        JSON.stringify({ builder, packages: made.packages, compilers, files: made.files }),
      );
      await mkdir(join(place, ".."), { recursive: true, mode: 0o700 });
      await chmod(join(place, ".."), 0o700);
      // Another process may have been faster, and its builds may be in there by now.
      if (await exists(join(place, ROOT_RECORD))) return;
      await removeTree(place);
      await rename(temporary, place);
    } finally {
      await removeTree(temporary);
    }
  }
}

function mismatchOf(declared: Compiler, used: OfferedCompiler): { readonly mismatch?: CompilerMismatch } {
  if (`${declared.version}.`.startsWith(`${used.version}.`)) return {};
  return {
    mismatch: { declared: `${declared.family}-${declared.version}`, used: `${used.family}-${used.version}` },
  };
}

/** The scripts that run inside a sandbox, by their names. */
export async function readScripts(
  images: string,
): Promise<readonly (readonly [name: string, text: string])[]> {
  const scripts = (await entriesOf(images)).filter((name) => name.endsWith(".sh"));
  return Promise.all(
    scripts.map(async (name) => [name, await readFile(join(images, name), "utf8")] as const),
  );
}

/** Digest of the scripts that run inside a sandbox. */
export async function scriptsDigest(images: string): Promise<Digest> {
  return digestOf(await readScripts(images));
}

/** A link would show a build, which is root there, what it leads to. @throws FarmError PLACE_UNUSABLE */
async function requireRoot(root: string): Promise<void> {
  if ((await lstat(root).catch(() => undefined))?.isDirectory()) return;
  throw new FarmError("PLACE_UNUSABLE", {
    detail: `${root} is no directory`,
    hint: `Remove ${dirname(root)}: it is made again.`,
  });
}
