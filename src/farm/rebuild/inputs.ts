/**
 * Building an artifact again from what its registry keeps, and nothing else: no configuration and no catalog. Packages that
 * it only names come from their mirrors. Everything is a stranger's until its digest was right; the recipe that follows from all of it must be the artifact's.
 */
import { chmod, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { markUsed } from "../../base/cache.ts";
import { defined } from "../../base/defined.ts";
import { FarmError } from "../../base/error.ts";
import type { Http } from "../../base/http.ts";
import { canonicalJson, hexOf } from "../../base/json.ts";
import type { Progress } from "../../base/progress.ts";
import { exists, type Scratch } from "../../base/scratch.ts";
import { formatSize } from "../../base/size.ts";
import { removeTree } from "../../base/strange-tree.ts";
import { FIXED_ENVIRONMENT } from "../../builder/build.ts";
import type { LoadedDriver, NeededDriver } from "../../builder/driver.ts";
import type { BuildLimits } from "../../builder/limits.ts";
import { recipeOf } from "../../builder/recipe.ts";
import type { Sandbox } from "../../builder/sandboxes/sandbox.ts";
import { sourceOfArchive } from "../../builder/source-archive.ts";
import type { SourceTree } from "../../builder/source-tree.ts";
import { ELSEWHERE } from "../../builder/surroundings.ts";
import { ROOT_RECORD, RootRecord } from "../../builder/toolchains/root-record.ts";
import { remakeRoot } from "../../builder/toolchains/roots/index.ts";
import { observeCompilers } from "../../builder/toolchains/roots/observe.ts";
import type { ToolchainRoot } from "../../builder/toolchains/toolchain.ts";
import type { InputArchive } from "../../inputs/input-places.ts";
import { Inputs } from "../../inputs/inputs.ts";
import { ArchitectureName } from "../../kernel/architecture.ts";
import type { Package } from "../../kernel/kernel.ts";
import { partsOfRelease } from "../../kernel/release-rules.ts";
import type { Element } from "../../matrix/element.ts";
import { blobPath, readBlob } from "../../registry/blobs.ts";
import type { Manifest } from "../../registry/documents.ts";
import {
  BuildInputs,
  type InputPackage,
  readInput,
  Scripts,
  type SourceInput,
  ToolchainInputs,
} from "../../registry/inputs.ts";
import type { RegistryReader } from "../../registry/reader.ts";
import { BLOB_LIMIT_BYTES } from "../../registry/stores/store.ts";
import type { RebuildTask } from "./rebuild.ts";

/** Who builds again, and what he has for it. */
export interface Rebuilder {
  readonly cache: string;
  readonly scratch: Scratch;
  /** For packages that the registry may not pass on, from where it says they were. */
  readonly http: Http;
  readonly sandbox: Sandbox;
  readonly limits: BuildLimits;
  readonly architecture: ArchitectureName;
  readonly emulated: ReadonlySet<ArchitectureName>;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** @throws FarmError INPUTS_MISSING, STORE_CORRUPT, ARCHITECTURE_UNAVAILABLE, and what fetching and installing throw */
export async function registryTask(
  registry: RegistryReader,
  manifest: Manifest,
  rebuilder: Rebuilder,
): Promise<RebuildTask> {
  if (manifest.inputs === undefined)
    throw new FarmError("INPUTS_MISSING", {
      detail: `${registry.place} has no document of what ${manifest.identity.driver.name} was built from`,
    });
  const found = await readInput(registry, manifest.inputs, BuildInputs);
  return new Gathering(registry, found, rebuilder).task();
}

class Gathering {
  readonly #registry: RegistryReader;
  readonly #found: BuildInputs;
  readonly #rebuilder: Rebuilder;
  readonly #inputs: Inputs;

  constructor(registry: RegistryReader, found: BuildInputs, rebuilder: Rebuilder) {
    const { http, scratch, cache } = rebuilder;
    this.#registry = registry;
    this.#found = found;
    this.#rebuilder = rebuilder;
    this.#inputs = new Inputs({
      ...{ http, scratch, cache, archive: archiveOf(registry) },
      mirrors: new Map(),
    });
  }

  async task(): Promise<RebuildTask> {
    const { environment, builder, emulation, scripts } = this.#found;
    const { cache, scratch, sandbox, limits } = this.#rebuilder;
    if (canonicalJson(environment) !== canonicalJson(FIXED_ENVIRONMENT))
      throw new FarmError("RECIPE_DIFFERS", {
        detail: `it was built with other variables than this kmodfarm sets: ${canonicalJson(environment)}`,
      });
    const toolchain = await readInput(this.#registry, this.#found.toolchain, ToolchainInputs);
    const element = this.#element();
    const driver = await this.#driver();
    const images = await this.#scripts();
    const root = await this.#root(toolchain);
    const { packages } = root;
    const recipe = recipeOf({ element, driver, builder, emulation, root: packages, scripts: scripts.digest });
    return {
      ...{ element, driver, recipe, toolchain: toolchain.release },
      context: {
        ...{ sandbox, scratch, limits, images, builder, inputs: this.#inputs, surroundings: ELSEWHERE },
        cache: join(cache, "rebuilds"),
        toolchains: { root: async () => root },
      },
      original: (digest) => this.#registry.read(blobPath(digest), BLOB_LIMIT_BYTES),
    };
  }

  #element(): Element {
    const { element, headers } = this.#found;
    const { format } = partsOfRelease(element.distribution);
    const packages = headers.map((one) => packageOf(one, format === "rpm" ? "rpm" : "deb"));
    return {
      ...element,
      kernelurls: [],
      packages: { headers: packages, crossTools: [], image: [], modules: [] },
    };
  }

  async #driver(): Promise<LoadedDriver> {
    const { name, version, modules, packageName, build, source, needed } = this.#found.driver;
    requireRoom(
      "the modules that it needs",
      needed.flatMap((one) => one.modules),
      MOST_NEEDED_BYTES,
    );
    const others: NeededDriver[] = [];
    for (const one of needed) {
      const modules: NeededDriver["modules"][number][] = [];
      for (const { name: module, digest, size } of one.modules)
        modules.push({ name: module, sha256: digest, bytes: await readBlob(this.#registry, digest, size) });
      others.push(
        defined({
          ...{ name: one.name, version: one.version, packageName: one.packageName, isStable: false },
          ...{ source: await this.#source(one.source), modules },
        }),
      );
    }
    return defined({
      ...{ name, version, modules, packageName, build: defined(build) },
      origin: { kind: "directory" as const, place: "" },
      source: await this.#source(source),
      needed: others.length === 0 ? undefined : others,
    });
  }

  async #source({ tree, archive, place }: SourceInput): Promise<SourceTree> {
    if (place !== undefined)
      throw new FarmError("INPUTS_MISSING", {
        detail: `the registry may not pass on the source ${tree}: ${place} has it`,
      });
    const { scratch, signal } = this.#rebuilder;
    const file = scratch.path();
    await writeFile(file, await readBlob(this.#registry, archive.digest), { flag: "wx" });
    const giver = { what: "registry", code: "STORE_CORRUPT" } as const;
    return sourceOfArchive(file, tree, scratch.path(), giver, signal);
  }

  /** The scripts of the first build, as they run in the sandbox. */
  async #scripts(): Promise<string> {
    const directory = this.#rebuilder.scratch.path();
    await mkdir(directory);
    for (const [name, text] of await readInput(this.#registry, this.#found.scripts, Scripts)) {
      await writeFile(join(directory, name), text, { flag: "wx" });
      await chmod(join(directory, name), 0o755);
    }
    return directory;
  }

  /** Made once for each toolchain, in a room of its own: a farm on this machine has roots of its own. */
  async #root(toolchain: ToolchainInputs): Promise<ToolchainRoot> {
    const { cache } = this.#rebuilder;
    const { mismatch, emulation, toolchain: part } = this.#found;
    const place = join(cache, "remade", hexOf(part.digest));
    if (!(await exists(join(place, ROOT_RECORD)))) await this.#makeRoot(toolchain, place);
    await markUsed(place);
    const record = RootRecord.parse(JSON.parse(await readFile(join(place, ROOT_RECORD), "utf8")));
    const { compiler, builder } = toolchain;
    return defined({
      ...{ path: join(place, "root"), packages: record.packages, builder, compiler, mismatch, emulation },
      compilers: record.compilers ?? {},
    });
  }

  async #makeRoot(toolchain: ToolchainInputs, place: string): Promise<void> {
    const { architecture, emulated, scratch, signal, progress } = this.#rebuilder;
    const { release, format, builder, compiler, packages, says } = toolchain;
    const isEmulated = builder !== architecture;
    if (isEmulated && !emulated.has(builder))
      throw new FarmError("ARCHITECTURE_UNAVAILABLE", {
        detail: `it was built by ${builder} programs, which this ${architecture} machine cannot run`,
        hint: "Rebuild it on a machine of that architecture, or install qemu-user-static and binfmt-support.",
      });
    progress.say(`${release}: making the toolchain of ${packages.length} archived packages`);
    requireRoom(`the toolchain of ${release}`, packages, MOST_TOOLCHAIN_BYTES);
    const files: string[] = [];
    for (const one of packages) files.push(await this.#inputs.fetch(packageOf(one, format), [], signal));
    const made = scratch.path();
    try {
      await mkdir(made, { mode: 0o700 });
      const [root, work] = [join(made, "root"), join(made, "work")];
      await mkdir(work);
      const installed = await remakeRoot(
        { what: release, builder, isEmulated, root, work },
        format,
        files,
        signal,
      );
      await removeTree(work);
      const wanted = packages.map(({ name, version }) => ({ name, version }));
      if (listOf(installed) !== listOf(wanted))
        throw invalid(release, "its packages install as others than the registry lists");
      const compilers = await observeCompilers(root, compiler, builder, signal);
      if (canonicalJson(compilers) !== canonicalJson(says))
        throw invalid(release, "its compilers say something else of themselves than they did");
      await scratch.write(
        join(made, ROOT_RECORD),
        canonicalJson({ builder, packages: installed, compilers }),
      );
      await mkdir(join(place, ".."), { recursive: true, mode: 0o700 });
      // Another process may have been faster, and its builds may be in there by now.
      if (!(await exists(join(place, ROOT_RECORD)))) await rename(made, place);
    } finally {
      await removeTree(made);
    }
  }
}

/** Modules are in memory together. */
const MOST_NEEDED_BYTES = 512 * 1024 ** 2;
/** Packages stay in the cache, whatever becomes of them; those of real toolchains are a tenth of that. */
const MOST_TOOLCHAIN_BYTES = 4 * 1024 ** 3;

/** @throws FarmError INPUTS_MISSING for what a registry names only to fill the machine that rebuilds */
function requireRoom(what: string, parts: readonly { readonly size: number }[], mostBytes: number): void {
  const bytes = parts.reduce((sum, { size }) => sum + size, 0);
  if (bytes > mostBytes)
    throw new FarmError("INPUTS_MISSING", {
      detail: `${what} would take ${formatSize(bytes)}; no more than ${formatSize(mostBytes)} are fetched`,
      hint: "None of it was fetched. Real ones are smaller: do not trust the registry.",
    });
}

function invalid(release: string, fact: string): FarmError {
  return new FarmError("TOOLCHAIN_INVALID", {
    detail: `the toolchain of ${release} is not what it was: ${fact}`,
  });
}

function listOf(packages: readonly { readonly name: string; readonly version: string }[]): string {
  return canonicalJson(packages.map(({ name, version }) => `${name} ${version}`).toSorted());
}

/** As inputs are fetched: from the registry's archive, and from where it was if the registry may not pass it on. */
function packageOf(
  { name, version, architecture, sha256, size, place = "" }: InputPackage,
  format: "deb" | "rpm",
): Package {
  const isUrl = /^https?:\/\//.test(place) && place.endsWith(`.${format}`);
  const path = isUrl ? place : `package.${format}`;
  // Of a kernel's packages it is our word, and says which of them has the build's tools.
  const ours = ArchitectureName.safeParse(architecture).data ?? "all";
  return { name, version, sha256, size, architecture: ours, source: "registry", path };
}

function archiveOf(registry: RegistryReader): InputArchive {
  return {
    async open(digest) {
      const bytes = await registry.read(blobPath(`sha256:${digest}`), BLOB_LIMIT_BYTES);
      return bytes === undefined ? undefined : Readable.from([bytes]);
    },
    write: () => Promise.resolve(),
  };
}
