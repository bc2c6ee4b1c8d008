/**
 * Orders as an executor: what is to be built or booted is written down, with the bytes that it needs, for workers that
 * have neither store nor configuration nor credentials. What they make of it comes back as hand-overs.
 */
import { randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type PQueue from "p-queue";
import { z } from "zod";
import { canonicalJson, type Digest, digestOf, hexOf, parseDocument } from "../../base/json.ts";
import { entriesOf, type Scratch } from "../../base/scratch.ts";
import { rootRequest } from "../../builder/build.ts";
import { buildPackages } from "../../builder/recipe.ts";
import type { InstalledPackage } from "../../builder/records.ts";
import { archiveOfSource } from "../../builder/source-archive.ts";
import type { SourceTree } from "../../builder/source-tree.ts";
import { type ArchivedRoot, exportRoot } from "../../builder/toolchains/archive.ts";
import type { ToolchainRoot } from "../../builder/toolchains/toolchain.ts";
import type { GuestTools } from "../../catalog/catalog.ts";
import { guestPackages } from "../../check/guest/tools.ts";
import type { InputPurpose } from "../../inputs/inputs.ts";
import { type Package, verified } from "../../kernel/kernel.ts";
import type { Element } from "../../matrix/element.ts";
import { readSmoke } from "../night/element.ts";
import type { FarmBuild } from "../open.ts";
import { orderedSet } from "../workers/following-test.ts";
import { type BuildOrder, type Bytes, type LoadOrder, type Order, orderDigest } from "../workers/order.ts";
import type { OrderDirectory } from "../workers/order-directory.ts";
import type { Executor, LoadWork, Watch, Work } from "./executor.ts";

export interface OrdersContext {
  readonly processors: PQueue;
  readonly build: FarmBuild;
  readonly directory: OrderDirectory;
  /** Where this farm remembers what it ordered. */
  readonly cache: string;
  readonly scratch: Scratch;
  readonly mirrors: Readonly<Record<string, string>>;
  /** Of the catalog: what guests are made of. */
  readonly guests: readonly GuestTools[];
  /** Whether a package travels with its orders; otherwise workers fetch it from where the catalog found it. */
  readonly isCarried: (listed: Package) => boolean;
  readonly expires: Date;
  /** Whether what failed before is ordered again. */
  readonly isRetry: boolean;
  /** What the directory's orders ask for already: `wishOf` → the order. */
  readonly known: ReadonlyMap<Digest, Digest>;
}

/** An order that stands: written now, or before. */
export interface Ordered {
  readonly digest: Digest;
  readonly element: Element;
}

/** What an order asks for, whenever it was given: two orders with one wish are the same work. */
export function wishOf({ nonce: _, expires: __, ...wish }: Order): Digest {
  return digestOf(wish);
}

/** Where a farm remembers an order that it gave. */
export function issuedOrder(cache: string, digest: Digest): string {
  return join(cache, "orders", `${hexOf(digest)}.json`);
}

/** A mark beside it: what a worker made of the order counts as a try. */
export function countedOrder(cache: string, digest: Digest): string {
  return join(cache, "orders", `${hexOf(digest)}.tried`);
}

/** Until then a hand-over that comes too late is told so, and not that nobody ordered it. */
const REMEMBERED_DAYS = 30;

/** Forgets orders whose hand-overs have not been taken for long. */
export async function forgetOldOrders(cache: string, now: Date): Promise<void> {
  const room = join(cache, "orders");
  const last = now.getTime() - REMEMBERED_DAYS * 86_400_000;
  for (const name of (await entriesOf(room)).filter((one) => one.endsWith(".json"))) {
    const file = join(room, name);
    if (expiryOf(await readFile(file, "utf8"), file) >= last) continue;
    for (const old of [file, file.replace(/json$/, "tried")]) await rm(old, { force: true });
  }
}

/** What cannot be read is no order any more, and was long ago. */
function expiryOf(text: string, file: string): number {
  try {
    return Date.parse(parseDocument(Expiring, text, file).expires);
  } catch {
    return 0;
  }
}

const Expiring = z.object({ expires: z.iso.datetime() });

export class OrdersExecutor implements Executor {
  readonly name = "orders";
  readonly #context: OrdersContext;
  readonly #sources = new Map<SourceTree, Promise<BuildOrder["driver"]["source"]>>();
  readonly #toolchains = new Map<string, Promise<ToolchainBytes>>();
  readonly #ordered: Ordered[] = [];
  readonly #rootContents = new Map<string, readonly InstalledPackage[]>();
  #count = { build: 0, load: 0, before: 0 };

  constructor(context: OrdersContext) {
    this.#context = context;
  }

  /** How many orders were written, and how many were there before. */
  get written(): Readonly<{ build: number; load: number; before: number }> {
    return this.#count;
  }

  /** All orders that stand for what is wanted. */
  get ordered(): readonly Ordered[] {
    return this.#ordered;
  }

  /** What is installed in the roots of those orders, by their names. */
  get rootContents(): ReadonlyMap<string, readonly InstalledPackage[]> {
    return this.#rootContents;
  }

  async build({ element, driver, recipe }: Work, watch: Watch): Promise<undefined> {
    const { build } = this.#context;
    watch.stage("toolchain");
    const wanted = rootRequest(element, driver);
    const root = await build.toolchains.root(wanted, watch.signal);
    const toolchain = await this.#toolchain(await build.toolchains.place(wanted));
    this.#rootContents.set(toolchain.name, root.packages);
    watch.stage("fetching", "what travels");
    await this.#carry(buildPackages(element, recipe.builder), element, "headers", watch.signal);
    const load = this.#loadOf(element, driver);
    const booted = [...element.packages.image, ...element.packages.modules, ...load.guest];
    await this.#carry(booted, element, "boot", watch.signal);
    const needed = await Promise.all(
      (driver.needed ?? []).map(async ({ name, version, packageName, source, modules }) => ({
        ...{ name, version, packageName },
        source: await this.#source(source),
        modules: await Promise.all(
          modules.map(async (one) => ({ name: one.name, ...(await this.#put(one.bytes)) })),
        ),
      })),
    );
    const { name, version, modules, packageName } = driver;
    const { headers, crossTools } = element.packages;
    await this.#write({
      ...this.#common(element, [...headers, ...crossTools, ...booted]),
      kind: "build",
      recipe,
      driver: {
        ...{ name, version, modules: [...modules], packageName, needed },
        source: await this.#source(driver.source),
        build: structuredClone(driver.build) as BuildOrder["driver"]["build"],
      },
      toolchain: { ...toolchain, ...rootFacts(root, element) },
      limits: { ...build.limits },
      load,
    });
    watch.stage("ordered");
  }

  async load({ element, guest, set }: LoadWork, watch: Watch): Promise<undefined> {
    watch.stage("fetching", "what travels");
    const { image, modules: tree } = element.packages;
    const packages = [...image, ...tree, ...guest];
    await this.#carry(packages, element, "boot", watch.signal);
    await this.#write({
      ...this.#common(element, packages),
      kind: "load",
      guest: [...guest],
      set: await orderedSet(set, (bytes) => this.#put(bytes)),
    });
    watch.stage("ordered");
  }

  #loadOf(element: Element, { smoke, load, source }: Work["driver"]): NonNullable<BuildOrder["load"]> {
    return {
      guest: guestPackages(this.#context.guests, element),
      smoke: smoke === undefined ? undefined : readSmoke(source.directory, smoke),
      settings: structuredClone(load) as NonNullable<BuildOrder["load"]>["settings"],
    };
  }

  #common(
    element: Element,
    packages: readonly Package[],
  ): Pick<Order, "schema" | "element" | "mirrors" | "nonce" | "expires" | "isRetry"> {
    const { mirrors, expires, isRetry } = this.#context;
    const sources = new Set(packages.map(({ source }) => source));
    return {
      schema: "kmodfarm.order/1",
      element,
      mirrors: Object.fromEntries(Object.entries(mirrors).filter(([id]) => sources.has(id))),
      nonce: randomBytes(16).toString("hex"),
      expires: expires.toISOString(),
      ...(isRetry ? { isRetry } : {}),
    };
  }

  async #write(order: BuildOrder | LoadOrder): Promise<void> {
    const { directory, cache, scratch, known } = this.#context;
    const { element } = order;
    const before = known.get(wishOf(order));
    if (before !== undefined) {
      this.#count.before++;
      this.#ordered.push({ digest: before, element });
      return;
    }
    // Remembered first: a hand-over for an order that is not remembered is refused.
    await scratch.write(issuedOrder(cache, orderDigest(order)), `${canonicalJson(order)}\n`);
    this.#ordered.push({ digest: await directory.putOrder(order), element });
    this.#count[order.kind]++;
  }

  #put(content: Buffer): Promise<Bytes> {
    return this.#context.directory.put(content);
  }

  #source(source: SourceTree): Promise<BuildOrder["driver"]["source"]> {
    const known = this.#sources.get(source);
    if (known !== undefined) return known;
    const made = (async () => ({ tree: source.digest, archive: await this.#archived(source) }))();
    this.#sources.set(source, made);
    return made;
  }

  #archived(source: SourceTree): Promise<Bytes> {
    return this.#context.directory.putMade((file) =>
      pipeline(archiveOfSource(source), createWriteStream(file, { flags: "wx" })),
    );
  }

  #toolchain(place: string): Promise<ToolchainBytes> {
    const known = this.#toolchains.get(place);
    if (known !== undefined) return known;
    const { processors } = this.#context;
    const made = processors.add(() => this.#exported(place));
    this.#toolchains.set(place, made);
    return made;
  }

  async #exported(place: string): Promise<ToolchainBytes> {
    const found: ArchivedRoot[] = [];
    const archive = await this.#context.directory.putMade(async (file, scratch) => {
      found.push(await exportRoot(place, file, scratch));
    });
    const [{ name, digest }] = found as [ArchivedRoot];
    return { name, digest, archive };
  }

  async #carry(
    packages: readonly Package[],
    element: Element,
    purpose: InputPurpose,
    signal: AbortSignal,
  ): Promise<void> {
    const { build, directory, isCarried } = this.#context;
    for (const one of packages.filter(isCarried)) {
      const { sha256: hex, size } = verified(one);
      if (await directory.has({ digest: `sha256:${hex}`, size })) continue;
      const file = await build.inputs.fetch(one, element.kernelurls, signal, purpose);
      await directory.putFile(file, `sha256:${hex}`);
    }
  }
}

type ToolchainBytes = Pick<BuildOrder["toolchain"], "name" | "digest" | "archive">;

function rootFacts(
  { compiler, compilers, mismatch, builder }: ToolchainRoot,
  { architecture }: Element,
): Pick<BuildOrder["toolchain"], "compiler" | "says" | "mismatch"> {
  const { family, version, command, packages } = compiler;
  return {
    compiler: { family, version, command, packages: [...packages] },
    says: compilers[architecture] ?? compilers[builder] ?? "",
    mismatch,
  };
}
