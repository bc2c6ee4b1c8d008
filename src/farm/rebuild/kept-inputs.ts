/**
 * Keeps in the store what an artifact was built from, so that anybody can build it again: source, packages, toolchain,
 * scripts. What many artifacts share is looked after once a run.
 */
import { rm, stat } from "node:fs/promises";
import { defined } from "../../base/defined.ts";
import { writeHashed } from "../../base/file-digest.ts";
import { canonicalJson, type Digest, hexOf, toDocument } from "../../base/json.ts";
import { exists, type Scratch } from "../../base/scratch.ts";
import { FIXED_ENVIRONMENT, rootRequest } from "../../builder/build.ts";
import type { LoadedDriver } from "../../builder/driver.ts";
import { buildPackages } from "../../builder/recipe.ts";
import { archiveOfSource } from "../../builder/source-archive.ts";
import type { SourceTree } from "../../builder/source-tree.ts";
import { USUAL } from "../../builder/surroundings.ts";
import {
  type RootMaterials,
  readScripts,
  type ToolchainRoot,
  type Toolchains,
} from "../../builder/toolchains/toolchain.ts";
import type { InputArchive } from "../../inputs/input-places.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import { type Package, verified } from "../../kernel/kernel.ts";
import { type Element, urlsOf } from "../../matrix/element.ts";
import type { StatedModule } from "../../provenance/statement.ts";
import { putBlob } from "../../registry/blobs.ts";
import type { Part } from "../../registry/documents.ts";
import { inputArchive } from "../../registry/input-archive.ts";
import type { BuildInputs, InputPackage, SourceInput, ToolchainInputs } from "../../registry/inputs.ts";
import type { Store } from "../../registry/stores/store.ts";
import type { Work } from "../executors/executor.ts";

export interface KeeperContext {
  readonly store: Store;
  readonly scratch: Scratch;
  readonly inputs: Pick<Inputs, "isArchived">;
  readonly toolchains: Pick<Toolchains, "root" | "materials">;
  readonly images: string;
  /** Whether the packages of toolchains are kept too. */
  readonly isAll: boolean;
  /** Catalog source id → where its mirror is. */
  readonly mirrors: ReadonlyMap<string, string>;
}

/** What was kept of an artifact's inputs. */
export interface KeptInputs {
  /** The document of them. */
  readonly part: Part;
  readonly inputs: BuildInputs;
  readonly toolchain: ToolchainInputs;
}

interface KeptToolchain {
  readonly part: Part;
  readonly document: ToolchainInputs;
}

export class InputsKeeper {
  readonly #context: KeeperContext;
  readonly #archive: InputArchive;
  readonly #sources = new Map<SourceTree, Promise<SourceInput>>();
  readonly #toolchains = new Map<string, Promise<KeptToolchain>>();
  #scripts: Promise<Part> | undefined;

  constructor(context: KeeperContext) {
    this.#context = context;
    this.#archive = inputArchive(context.store);
  }

  /**
   * The document of an artifact's inputs, when all that it names is in the store. Undefined where the toolchain was made
   * elsewhere, or by an earlier version: then nobody here knows what it was made of.
   */
  async keep({ element, driver, recipe }: Work, signal?: AbortSignal): Promise<KeptInputs | undefined> {
    const { toolchains, store } = this.#context;
    const wanted = rootRequest(element, driver);
    const materials = await toolchains.materials(wanted, signal);
    if (materials === undefined) return undefined;
    const root = await toolchains.root(wanted, signal);
    const { part: toolchain, document } = await this.#toolchain(materials, root);
    const { packages: _, kernelurls: __, recipe: ___, ...identity } = element;
    const inputs: BuildInputs = {
      schema: "kmodfarm.inputs/1",
      element: identity,
      driver: await this.#driver(driver),
      builder: recipe.builder,
      ...(recipe.emulation === undefined ? {} : { emulation: recipe.emulation }),
      headers: await this.#headers(element, recipe.builder, signal),
      toolchain,
      ...(root.mismatch === undefined ? {} : { mismatch: root.mismatch }),
      scripts: await this.#keptScripts(),
      environment: { ...FIXED_ENVIRONMENT },
      surroundings: { ...USUAL },
    };
    return { part: await putDocument(store, inputs), inputs, toolchain: document };
  }

  /** The bill of materials of an artifact with these modules. */
  async bill(
    { inputs, toolchain }: KeptInputs,
    recipeKey: Digest,
    modules: readonly StatedModule[],
  ): Promise<Part> {
    const { sbomOf } = await import("../assurance/sbom.ts");
    const text = sbomOf({ recipeKey, modules, inputs, toolchain });
    return { digest: await putBlob(this.#context.store, text), size: Buffer.byteLength(text) };
  }

  async #driver(driver: LoadedDriver): Promise<BuildInputs["driver"]> {
    const { name, version, modules, packageName, build, needed = [] } = driver;
    return defined({
      ...{ name, version, modules: [...modules], packageName },
      build: structuredClone(build) as BuildInputs["driver"]["build"],
      source: await this.#source(driver),
      needed: await Promise.all(
        needed.map(async (one) =>
          defined({
            ...{ name: one.name, version: one.version, packageName: one.packageName },
            source: await this.#source(one),
            // As the store has them: they are other artifacts' modules.
            modules: one.modules.map(({ name: module, sha256: digest, bytes }) => ({
              ...{ name: module, digest, size: bytes.length },
            })),
          }),
        ),
      ),
    });
  }

  #source({ source, isPrivate = false }: Pick<LoadedDriver, "source" | "isPrivate">): Promise<SourceInput> {
    return once(this.#sources, source, async () => {
      const archive = await this.#archived(archiveOfSource(source), isPrivate);
      return { tree: source.digest, archive, ...(isPrivate ? { place: "its builder" } : {}) };
    });
  }

  /** What the archive does not have for everybody is where it was. */
  async #headers(
    element: Element,
    builder: BuildInputs["builder"],
    signal: AbortSignal | undefined,
  ): Promise<InputPackage[]> {
    const { inputs, mirrors } = this.#context;
    const placeOf = async (one: Package) =>
      (await inputs.isArchived(one, signal)) ? undefined : (urlsOf([one], mirrors)[0] ?? one.path);
    return Promise.all(
      buildPackages(element, builder).map(async (one) => {
        const { name, version, architecture, sha256, size } = verified(one);
        return defined({ name, version, architecture, sha256, size, place: await placeOf(one) });
      }),
    );
  }

  #toolchain(
    materials: RootMaterials,
    { builder, compiler, compilers }: ToolchainRoot,
  ): Promise<KeptToolchain> {
    return once(this.#toolchains, materials.name, async () => {
      const packages: InputPackage[] = [];
      for (const one of materials.files) {
        const { place, ...known } = one;
        packages.push((await this.#isKept(materials, one)) ? known : { ...known, place });
      }
      const document: ToolchainInputs = {
        schema: "kmodfarm.toolchain/1",
        ...{
          release: materials.release,
          format: materials.format,
          builder,
          packages,
          says: { ...compilers },
        },
        compiler: { ...compiler, packages: [...compiler.packages] },
      };
      return { part: await putDocument(this.#context.store, document), document };
    });
  }

  /** Whether everybody can have it from the store. */
  async #isKept({ fileOf, isPrivate }: RootMaterials, one: RootMaterials["files"][number]): Promise<boolean> {
    const file = fileOf(one);
    // The archive's setting may have been another one when the root was made.
    if (!this.#context.isAll || !(await exists(file))) return false;
    await this.#archive.write(one.sha256, file, isPrivate, true);
    return !isPrivate;
  }

  #keptScripts(): Promise<Part> {
    const { images, store } = this.#context;
    this.#scripts ??= readScripts(images).then(async (scripts) => {
      const text = canonicalJson(scripts);
      return { digest: await putBlob(store, text), size: Buffer.byteLength(text) };
    });
    return this.#scripts;
  }

  async #archived(pieces: AsyncIterable<Buffer>, isPrivate: boolean): Promise<Part> {
    const file = this.#context.scratch.path();
    try {
      const digest = await writeHashed(pieces, file);
      const { size } = await stat(file);
      await this.#archive.write(hexOf(digest), file, isPrivate, true);
      return { digest, size };
    } finally {
      await rm(file, { force: true });
    }
  }
}

/** What failed is tried again by the next artifact that needs it. */
function once<Key, Value>(
  known: Map<Key, Promise<Value>>,
  key: Key,
  make: () => Promise<Value>,
): Promise<Value> {
  const before = known.get(key);
  if (before !== undefined) return before;
  const made = make();
  known.set(key, made);
  made.catch(() => known.delete(key));
  return made;
}

async function putDocument(store: Store, document: BuildInputs | ToolchainInputs): Promise<Part> {
  const text = toDocument(document);
  const digest: Digest = await putBlob(store, text);
  return { digest, size: Buffer.byteLength(text) };
}
