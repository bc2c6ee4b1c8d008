/**
 * The content-addressed cache of packages, and their unpacked trees: each fetched once, unpacked once.
 */
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../base/error.ts";
import type { Http } from "../base/http.ts";
import { entriesOf, exists, type Scratch } from "../base/scratch.ts";
import { urlOf } from "../base/url.ts";
import { type Package, verified } from "../kernel/kernel.ts";
import { unpackDeb } from "./unpack.ts";

export interface InputContext {
  readonly http: Http;
  readonly scratch: Scratch;
  readonly cache: string;
  /** Catalog source id → where its mirror is now. */
  readonly mirrors: ReadonlyMap<string, string>;
}

export class Inputs {
  readonly #context: InputContext;
  /** Work under way, so that elements which share a package share its fetching. */
  readonly #running = new Map<string, Promise<string>>();

  constructor(context: InputContext) {
    this.#context = context;
  }

  /**
   * The package's file in the cache, fetched if need be: from its mirror, then from the given other places.
   * @throws FarmError NOT_FETCHABLE when no place has it
   */
  fetch(listed: Package, elsewhere: readonly string[] = [], signal?: AbortSignal): Promise<string> {
    const wanted = verified(listed);
    const target = join(this.#context.cache, "inputs", `${wanted.sha256}.deb`);
    return this.#once(target, async () => {
      const { http, scratch } = this.#context;
      const places = this.placesOf(wanted, elsewhere);
      if (places.length === 0)
        throw new FarmError("NOT_FETCHABLE", {
          detail: `nobody says where ${wanted.name} ${wanted.version} is`,
        });
      for (const [index, url] of places.entries()) {
        try {
          await http.download(url, wanted, target, scratch, signal);
          return;
        } catch (thrown) {
          const isLast = index === places.length - 1;
          if (isLast || !(thrown instanceof FarmError) || thrown.code === "INTERRUPTED") throw thrown;
        }
      }
    });
  }

  /** The package unpacked into a tree of its own. */
  async unpack(wanted: Package, elsewhere: readonly string[] = [], signal?: AbortSignal): Promise<string> {
    const file = await this.fetch(wanted, elsewhere, signal);
    const tree = join(this.#context.cache, "trees", verified(wanted).sha256);
    return this.#once(tree, async () => {
      const temporary = this.#context.scratch.path();
      try {
        await mkdir(temporary, { recursive: true });
        await unpackDeb(file, temporary, signal);
        await mkdir(join(tree, ".."), { recursive: true });
        await rename(temporary, tree);
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
    });
  }

  /** Every URL that may have the package, its mirror's first. */
  placesOf(wanted: Package, elsewhere: readonly string[] = []): string[] {
    if (/^https?:\/\//.test(wanted.path)) return [...new Set([wanted.path, ...elsewhere])];
    const mirror = this.#context.mirrors.get(wanted.source);
    const own = mirror === undefined ? [] : [urlOf(mirror, wanted.path)];
    const fileName = wanted.path.split("/").at(-1) ?? "";
    const others = elsewhere.filter((url) => decodeURIComponent(url.split("/").at(-1) ?? "") === fileName);
    return [...new Set([...own, ...others])];
  }

  async #once(target: string, make: () => Promise<void>): Promise<string> {
    const running = this.#running.get(target);
    if (running !== undefined) return running;
    const started = (async () => {
      if (!(await exists(target))) await make();
      return target;
    })();
    this.#running.set(target, started);
    try {
      return await started;
    } finally {
      this.#running.delete(target);
    }
  }
}

/** Directories of an unpacked package that a build must see, as [in the tree, native path]. */
export async function nativePaths(tree: string): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for (const parent of ["usr/src", "usr/lib"]) {
    for (const name of await entriesOf(join(tree, parent))) {
      if (parent === "usr/lib" && !name.startsWith("linux-kbuild-")) continue;
      found.push([join(tree, parent, name), `/${parent}/${name}`]);
    }
  }
  return found;
}
