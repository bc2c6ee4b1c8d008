/**
 * Where a worker carries out orders: each with the very source, packages and toolchain root that it names.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import PQueue from "p-queue";
import { markUsed } from "../../base/cache.ts";
import { defined } from "../../base/defined.ts";
import { FarmError } from "../../base/error.ts";
import type { Http } from "../../base/http.ts";
import { canonicalJson, digestOf, hexOf } from "../../base/json.ts";
import { exists, type Scratch } from "../../base/scratch.ts";
import { type Attempt, findAttempt } from "../../builder/attempt.ts";
import type { LoadedDriver, NeededDriver } from "../../builder/driver.ts";
import { areLess, type BuildLimits, lesserLimits } from "../../builder/limits.ts";
import { recipeKey, recipeOf } from "../../builder/recipe.ts";
import type { Sandbox } from "../../builder/sandboxes/sandbox.ts";
import { sourceOfArchive } from "../../builder/source-archive.ts";
import type { SourceTree } from "../../builder/source-tree.ts";
import { type ArchivedRoot, importRoot } from "../../builder/toolchains/archive.ts";
import { ROOT_RECORD, RootRecord } from "../../builder/toolchains/root-record.ts";
import type { ToolchainRoot } from "../../builder/toolchains/toolchain.ts";
import { Inputs } from "../../inputs/inputs.ts";
import type { LoadResult, Watch } from "../executors/executor.ts";
import { LocalExecutor } from "../executors/local.ts";
import type { Machine } from "../executors/machine.ts";
import { IMAGES } from "../open.ts";
import { STEPS } from "../steps.ts";
import { type BuildOrder, type Bytes, type LoadOrder, type Order, orderDigest } from "./order.ts";
import type { OrderDirectory } from "./order-directory.ts";

interface WorkshopContext {
  readonly directory: OrderDirectory;
  readonly cache: string;
  readonly scratch: Scratch;
  readonly http: Http;
  readonly sandbox: Sandbox;
  readonly processors: PQueue;
  readonly signal: AbortSignal;
  readonly machine: Machine;
  /** What one build may take here, whatever its order allows. */
  readonly limits: BuildLimits;
}

export class Workshop {
  readonly #context: WorkshopContext;
  readonly #executors = new Map<string, LocalExecutor>();
  readonly #inputs = new Map<string, Inputs>();
  readonly #sources = new Map<string, Promise<SourceTree>>();
  readonly #roots = new Map<string, Promise<string>>();
  readonly #loads: PQueue;

  constructor(context: WorkshopContext) {
    this.#context = context;
    this.#loads = new PQueue({ concurrency: context.processors.concurrency });
  }

  /**
   * Builds what an order asks for, unless this machine did so before.
   * @throws FarmError ORDER_INVALID for an order that contradicts itself, LIMIT_EXCEEDED where a build needs more than it
   *   may take here, though its order allows more; what a build throws
   */
  async build(order: BuildOrder, watch: Watch): Promise<Attempt> {
    const limits = this.lessThan(order);
    const attempt = await this.#build({ ...order, limits: limits ?? order.limits }, watch);
    const { failure } = attempt.record;
    if (limits === undefined || failure === undefined || !STOPPED_CODES.has(failure.code)) return attempt;
    // Of the driver this says nothing: with what its order allows it may well build.
    throw new FarmError("LIMIT_EXCEEDED", {
      detail: `${failure.cause}; its order allows more than this worker gives`,
      hint: "Let `kmodfarm work` give more (--minutes, --memory, --disk), or let another worker carry out the order.",
    });
  }

  /** What a build may take here, where its order allows more. */
  lessThan({ limits }: BuildOrder): BuildLimits | undefined {
    const own = lesserLimits(limits, this.#context.limits);
    return areLess(own, limits) ? own : undefined;
  }

  async #build(order: BuildOrder, watch: Watch): Promise<Attempt> {
    const { element, recipe } = order;
    const attempts = attemptsOf(order, this.#context.cache);
    const known = await findAttempt(recipe, attempts);
    if (known !== undefined && !(order.isRetry && known.record.failure !== undefined)) {
      await markUsed(attempts);
      return known;
    }
    watch.stage("toolchain");
    const driver = await this.#driver(order);
    const root = await this.#root(order);
    const { scripts } = recipe;
    const { builder, emulation, packages } = root;
    const own = recipeOf({ element, driver, builder, emulation, root: packages, scripts });
    // A recipe is a claim: what was made of something else must never be found under it.
    if (element.recipe !== recipeKey(own) || recipeKey(recipe) !== recipeKey(own))
      throw contradiction("its recipe is not that of what is to be built");
    return this.#executor(order).build({ element, driver, recipe, rank: 0 }, watch);
  }

  /**
   * `own` has bytes that lie in no directory, by their digests.
   * @throws FarmError ORDER_INVALID; what a boot throws
   */
  async load(
    order: LoadOrder,
    watch: Watch,
    own: ReadonlyMap<string, Buffer> = new Map(),
  ): Promise<LoadResult> {
    const { driver, modules, needs } = order.set;
    if (driver !== order.element.driver) throw contradiction("its modules are not its element's driver's");
    refuseLarge([...modules, ...modules.flatMap(({ packed }) => packed ?? []), ...needs]);
    // What waits for a processor holds its modules: no more than can be booted at once.
    return this.#loads.add(() => this.#loadSet(order, watch, own));
  }

  async #loadSet(order: LoadOrder, watch: Watch, own: ReadonlyMap<string, Buffer>): Promise<LoadResult> {
    const bytesOf = async (bytes: Bytes) =>
      own.get(bytes.digest) ?? (await this.#context.directory.bytes(bytes));
    const { modules, needs, smoke, settings } = order.set;
    const set = {
      // Whose modules these are, only who planned knows: a stranger's order may name any driver, and what it has run in
      // a kernel could report anything of the others there. So an order shares its boot with no other one.
      ...{ driver: orderDigest(order), smoke, settings },
      modules: await Promise.all(
        modules.map(async ({ name, packed, ...plain }) => ({
          name,
          bytes: await bytesOf(plain),
          packed:
            packed === undefined ? undefined : { packing: packed.packing, bytes: await bytesOf(packed) },
        })),
      ),
      needs: await Promise.all(
        needs.map(async ({ name, ...plain }) => ({ name, bytes: await bytesOf(plain) })),
      ),
    };
    return this.#executor(order).load({ element: order.element, guest: order.guest, set, rank: 0 }, watch);
  }

  /** Orders of one work share an executor, and so what is under way in it. */
  #executor(order: Order): LocalExecutor {
    const { mirrors } = order;
    const place = order.kind === "build" ? attemptsOf(order, this.#context.cache) : "";
    const key = canonicalJson([order.kind, mirrors, place]);
    const known = this.#executors.get(key);
    if (known !== undefined) return known;
    const { cache, scratch, sandbox, processors, signal, machine } = this.#context;
    const inputs = this.#inputsFrom(mirrors);
    const made = new LocalExecutor({
      steps: STEPS,
      ...{ processors, signal, machine, isLoaded: false },
      build: {
        ...{ inputs, sandbox, scratch, cache: place, images: IMAGES },
        toolchains: { root: () => this.#root(order) },
        limits: order.kind === "build" ? order.limits : NO_LIMITS,
        builder: order.kind === "build" ? order.recipe.builder : order.element.architecture,
      },
      boot: { inputs, scratch, cache },
    });
    this.#executors.set(key, made);
    return made;
  }

  /** One for all orders with the same mirrors: they share what is being fetched and unpacked. */
  #inputsFrom(mirrors: Order["mirrors"]): Inputs {
    const key = canonicalJson(mirrors);
    const { directory, cache, scratch, http } = this.#context;
    const archive = directory.archive;
    const made =
      this.#inputs.get(key) ??
      new Inputs({ http, scratch, cache, archive, mirrors: new Map(Object.entries(mirrors)) });
    this.#inputs.set(key, made);
    return made;
  }

  /** @throws FarmError ORDER_INVALID unless it is the element's */
  async #driver({ driver, element }: BuildOrder): Promise<LoadedDriver> {
    const { directory } = this.#context;
    const { name, version, modules, build, packageName } = driver;
    if (name !== element.driver || version !== element.driverversion)
      throw contradiction("its driver is not its element's");
    refuseLarge(driver.needed.flatMap((one) => one.modules));
    const needed = await Promise.all(
      driver.needed.map(
        async (one): Promise<NeededDriver> =>
          defined({
            ...{ name: one.name, version: one.version, packageName: one.packageName, isStable: false },
            source: await this.#source(one.source),
            modules: await Promise.all(
              one.modules.map(async ({ name: module, ...plain }) => ({
                name: module,
                sha256: plain.digest,
                bytes: await directory.bytes(plain),
              })),
            ),
          }),
      ),
    );
    return defined({
      ...{ name, version, modules, packageName, build: defined(build) },
      origin: { kind: "directory" as const, place: "" },
      source: await this.#source(driver.source),
      needed: needed.length === 0 ? undefined : needed,
    });
  }

  #source(source: BuildOrder["driver"]["source"]): Promise<SourceTree> {
    const { tree, archive } = source;
    // Another order may name an archive for this tree that does not hold it, and fails alone.
    const key = canonicalJson(source);
    const known = this.#sources.get(key);
    if (known !== undefined) return known;
    const { directory, scratch, signal } = this.#context;
    const read = directory
      .file(archive)
      .then((file) => sourceOfArchive(file, tree, scratch.path(), GIVER, signal));
    read.catch(() => this.#sources.delete(key));
    this.#sources.set(key, read);
    return read;
  }

  async #root(order: Order): Promise<ToolchainRoot> {
    if (order.kind !== "build") throw contradiction("a load test needs no toolchain");
    const { compiler, mismatch, says } = order.toolchain;
    const place = await this.#rootPlace(order);
    const { packages, builder, compilers } = await readRecord(place);
    const found = compilers?.[order.element.architecture] ?? compilers?.[builder];
    if (found !== says || builder !== order.recipe.builder)
      throw contradiction("its toolchain is not the one that it describes");
    return {
      ...{ path: join(place, "root"), packages, builder, compiler, compilers: compilers ?? {} },
      ...(order.recipe.emulation === undefined ? {} : { emulation: order.recipe.emulation }),
      ...(mismatch === undefined ? {} : { mismatch }),
    };
  }

  /** The root of an order in the cache, under the digest of its content. */
  #rootPlace({ toolchain }: BuildOrder): Promise<string> {
    const { digest, archive } = toolchain;
    const key = canonicalJson([digest, archive]);
    const known = this.#roots.get(key);
    if (known !== undefined) return known;
    const made = this.#openRoot(toolchain);
    made.catch(() => this.#roots.delete(key));
    this.#roots.set(key, made);
    return made;
  }

  async #openRoot({ digest, archive }: BuildOrder["toolchain"]): Promise<string> {
    const { directory, cache, scratch, signal } = this.#context;
    const place = join(cache, "toolchains", hexOf(digest));
    if (!(await exists(join(place, ROOT_RECORD)))) {
      const file = await directory.file(archive);
      const to = (root: ArchivedRoot) => {
        if (root.digest !== digest) throw contradiction("its toolchain is another one");
        return place;
      };
      await importRoot(file, to, scratch, signal);
    }
    await markUsed(place);
    return place;
  }
}

/**
 * Where the attempts at one work are, which several orders may ask for. Not where a farm on this machine has its own: an
 * order names a recipe, but the root and the settings that it brings are not all in there.
 */
function attemptsOf({ recipe, element, driver, toolchain, limits }: BuildOrder, cache: string): string {
  return join(cache, "worked", hexOf(digestOf([recipe, element, driver, toolchain, limits])));
}

async function readRecord(place: string): Promise<RootRecord> {
  return RootRecord.parse(JSON.parse(await readFile(join(place, ROOT_RECORD), "utf8")));
}

/** Of builds that met a limit. */
const STOPPED_CODES: ReadonlySet<string> = new Set(["TIMED_OUT", "LIMIT_EXCEEDED"]);

/** A build's limits say nothing of a load test, which has its own. */
const NO_LIMITS = { minutes: 15, memory: 0, processes: 0, disk: 0, output: 0, artifact: 0 };

const GIVER = { what: "order", code: "ORDER_INVALID" } as const;

/** What one order may have held in memory: ten times what the largest drivers have, each module twice. */
const HELD_LIMIT_BYTES = 512 * 1024 ** 2;

/** Before any of it is read: an order says how much that will be. */
function refuseLarge(held: readonly Bytes[]): void {
  const total = held.reduce((sum, { size }) => sum + size, 0);
  if (total <= HELD_LIMIT_BYTES) return;
  throw new FarmError("ORDER_INVALID", {
    detail: `the order's modules have ${total} bytes; a worker takes at most ${HELD_LIMIT_BYTES}`,
  });
}

function contradiction(fact: string): FarmError {
  return new FarmError("ORDER_INVALID", { detail: `the order contradicts itself: ${fact}` });
}
