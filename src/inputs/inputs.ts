/**
 * The packages a build needs, each fetched once and unpacked once, while it comes. What is seen for the first time is
 * archived.
 */

import { createWriteStream } from "node:fs";
import { mkdir, readFile, realpath, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { markUsed } from "../base/cache.ts";
import { FarmError, toFarmError } from "../base/error.ts";
import { fileDigest } from "../base/file-digest.ts";
import type { Http } from "../base/http.ts";
import { digestOf, hexOf } from "../base/json.ts";
import { both, streamFile } from "../base/read-stream.ts";
import { exists, type Scratch } from "../base/scratch.ts";
import { removeTree } from "../base/strange-tree.ts";
import { urlOf } from "../base/url.ts";
import type { KeySource } from "../catalog/signing-keys.ts";
import { type Package, type VerifiedPackage, verified } from "../kernel/kernel.ts";
import {
  archivePlace,
  fallbackLine,
  type InputArchive,
  type Place,
  takeFirst,
  urlPlace,
} from "./input-places.ts";
import { InputRecord } from "./input-record.ts";
import { packageFormat } from "./package-format.ts";
import { type PackageSignature, refused } from "./package-signature.ts";
import { readSeal, sealOf, writeSeal } from "./seal.ts";
import { PackageSignatures } from "./signatures.ts";
import { inspectTree } from "./tree.ts";
import { unpackPackage } from "./unpack.ts";

/** What is archived: packages that builds need, those that only booting needs too, or nothing. */
export const ArchivePolicy = z.enum(["headers", "all", "none"]);
export type ArchivePolicy = z.infer<typeof ArchivePolicy>;

export interface InputContext {
  readonly http: Http;
  readonly scratch: Scratch;
  readonly cache: string;
  /** Catalog source id → where its mirror is now. */
  readonly mirrors: ReadonlyMap<string, string>;
  /** Read whenever no other place has a package; written as `archived` says, by default nothing. */
  readonly archive?: InputArchive;
  readonly archived?: ArchivePolicy;
  /** Whether a package may not be passed on. */
  readonly isPrivate?: (wanted: Package) => boolean;
  /** Whose signature of a package may count; default: nobody asks for one. */
  readonly signersOf?: (wanted: Package) => readonly KeySource[];
  /** Told of every package that did not come from its mirror. */
  readonly say?: (text: string) => void;
}

/** What only the load test needs is `boot`. */
export type InputPurpose = "headers" | "boot";

export interface Unpacked {
  readonly tree: string;
  readonly record: InputRecord;
}

/** A package that arrives is unpacked as slowly as it comes, and that has limits of its own: `longestMs` of `Http`. */
const ARRIVAL_MS = 2 * 3600_000;

interface Request {
  readonly wanted: VerifiedPackage;
  /** URLs that it had earlier. */
  readonly elsewhere: readonly string[];
  readonly signal: AbortSignal | undefined;
  readonly purpose: InputPurpose;
}

export class Inputs {
  readonly #context: InputContext;
  /**
   * Work under way, so that elements which share a package share its fetching. Only those whose packages are the same
   * in all that is said of them: who merely names the same digest may name it wrongly, and fails alone.
   */
  readonly #running = new Map<string, Promise<void>>();
  /** Trees that were looked at in this run. */
  readonly #intact = new Set<string>();
  /** Digests that are known to be in the archive. */
  readonly #archived = new Set<string>();
  readonly #signatures: PackageSignatures;

  constructor(context: InputContext) {
    this.#context = context;
    this.#signatures = new PackageSignatures({ signersOf: () => [], ...context });
  }

  /**
   * The package's file in the cache, fetched if need be: from its mirror, then `elsewhere`, then the archive.
   * @throws FarmError NOT_FETCHABLE when no place has it, DIGEST_MISMATCH, REMOTE_UNAVAILABLE
   */
  async fetch(
    listed: Package,
    elsewhere: readonly string[] = [],
    signal?: AbortSignal,
    purpose: InputPurpose = "headers",
  ): Promise<string> {
    const wanted = verified(listed);
    await this.#fetched({ wanted, elsewhere: urlsOf(wanted, elsewhere), signal, purpose });
    return this.#fileOf(wanted);
  }

  /** The package unpacked into a tree of its own, and where it came from. @throws also PACKAGE_MALFORMED */
  async unpack(listed: Package, urls: readonly string[] = [], signal?: AbortSignal): Promise<Unpacked> {
    const wanted = verified(listed);
    const elsewhere = urlsOf(wanted, urls);
    const tree = join(this.#context.cache, "trees", `${wanted.sha256}${packageFormat(wanted).ending}`);
    await this.#once(JSON.stringify([tree, wanted, elsewhere]), async () => {
      if (await this.#isIntact(tree, wanted)) return this.#archive(this.#fileOf(wanted), wanted, "headers");
      await this.#fetched({ wanted, elsewhere, signal, purpose: "headers" }, tree);
      // Another element may have fetched the file alone. Here the bytes and their format are the same for everybody.
      await this.#once(tree, async () => {
        if (!(await this.#isIntact(tree, wanted))) await this.#unpackFile(tree, wanted, signal);
      });
    });
    await this.#markUsed(wanted, tree, sealOf(tree));
    const kept = await this.#recordOf(wanted);
    if (kept === undefined) throw new FarmError("BUG", { detail: `${tree} has no record of its origin` });
    const { by = askedBy(wanted), ...record } = kept;
    // The owner of a cache may have put a tree elsewhere, behind a link. Somebody else may have fetched these bytes, under
    // another name and from places of his own: what he said stands in no record but his.
    const own = by === askedBy(wanted) ? record : { ...record, from: "cache" as const, tried: [] };
    return { tree: await realpath(tree), record: { ...own, name: wanted.name, version: wanted.version } };
  }

  /**
   * Whether everybody can have a package from the archive. A build that was found finished fetched nothing now, and what it was
   * made of may be in no archive, because a try made it: then it is archived from the cache, or fetched once more.
   * @throws FarmError INTERRUPTED
   */
  async isArchived(listed: Package, signal?: AbortSignal): Promise<boolean> {
    const wanted = verified(listed);
    const { archive } = this.#context;
    if (archive === undefined) return false;
    if (!this.#archived.has(wanted.sha256)) {
      const known = await archive.open(wanted.sha256);
      known?.destroy();
      if (known !== undefined) this.#archived.add(wanted.sha256);
      else if (!(await this.#isFetched(wanted, signal))) return false;
    }
    return this.#archived.has(wanted.sha256) && !this.isPrivate(wanted);
  }

  async #isFetched(wanted: VerifiedPackage, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await this.#fetched({ wanted, elsewhere: [], signal, purpose: "headers" });
      return true;
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code === "INTERRUPTED" || error.blame === "bug") throw error;
      return false;
    }
  }

  /** Several packages, as `unpack`. When one fails, the others end before that is told: nothing goes on behind it. */
  async unpackAll(
    listed: readonly Package[],
    elsewhere: readonly string[] = [],
    signal?: AbortSignal,
  ): Promise<Unpacked[]> {
    const unpacked = listed.map((one) => this.unpack(one, elsewhere, signal));
    await Promise.allSettled(unpacked);
    return Promise.all(unpacked);
  }

  /**
   * Lets `consume` read a package that only booting needs, without keeping it. It may stop early, and runs anew
   * when a place turns out to have the wrong bytes.
   * @throws as `fetch`
   */
  async stream<T>(
    listed: Package,
    consume: (body: Readable) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const wanted = verified(listed);
    if (this.#context.archived === "all") {
      const file = this.#context.scratch.path();
      try {
        await this.#save(file, { wanted, elsewhere: [], signal, purpose: "boot" });
        await this.#archive(file, wanted, "boot");
        return await streamFile(file, consume);
      } finally {
        await rm(file, { force: true });
      }
    }
    const { taken, record } = await this.#takeFirst({ wanted, elsewhere: [], signal }, consume);
    this.#tell(record);
    return taken;
  }

  /**
   * What the package's own signature is worth; read when the package was, or now.
   * @throws as `fetch`
   */
  async signatureOf(listed: Package, signal?: AbortSignal): Promise<PackageSignature> {
    const wanted = verified(listed);
    const keys = await this.#keysFor(wanted, signal);
    if (!Buffer.isBuffer(keys)) return keys;
    const known = await this.#signatures.recall(wanted, keys);
    if (known !== undefined) return known;
    const read = (body: Readable) => this.#signatures.read(body, keys, signal);
    const file = this.#fileOf(wanted);
    const answer = (await isWhole(file, wanted))
      ? await streamFile(file, read)
      : (await takeFirst(wanted, this.#placesOf(wanted, [], signal), (place) => place.take(read))).taken;
    await this.#signatures.remember(wanted, keys, answer);
    return answer;
  }

  /** Whether a package may not be passed on, whoever names it. */
  isPrivate(wanted: Package): boolean {
    return this.#context.isPrivate?.(wanted) ?? false;
  }

  /** Every place that may have the package, its mirror first. */
  #placesOf(wanted: VerifiedPackage, elsewhere: readonly string[], signal: AbortSignal | undefined): Place[] {
    const { mirrors, http, archive } = this.#context;
    const mirror = /^https?:\/\//.test(wanted.path) ? "" : mirrors.get(wanted.source);
    const own = mirror === "" ? [wanted.path] : mirror === undefined ? [] : [urlOf(mirror, wanted.path)];
    const others = elsewhere.filter((url) => !own.includes(url));
    // Of a source's passwords its own packages alone may make use: a list names any address.
    const server = URL.parse(mirrors.get(wanted.source) ?? "")?.origin;
    const asked = (url: string) => ({ ...wanted, isAnonymous: URL.parse(url)?.origin !== server });
    return [
      ...own.map((url) => urlPlace(url, "mirror", asked(url), http, signal)),
      ...[...new Set(others)].map((url) => urlPlace(url, "kernelurls", asked(url), http, signal)),
      ...(archive === undefined ? [] : [archivePlace(archive, wanted)]),
    ];
  }

  /** Keys by which a signature is judged, or why it cannot be. */
  async #keysFor(
    wanted: VerifiedPackage,
    signal: AbortSignal | undefined,
  ): Promise<Buffer | PackageSignature> {
    if (!this.#signatures.areAsked(wanted)) return refused("noKeys", "nobody's signature of it counts");
    try {
      return await this.#signatures.keysFor(wanted, signal);
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code === "INTERRUPTED" || error.blame === "bug") throw error;
      return refused("noKeys", error.message);
    }
  }

  /** What `consume` makes of the package. Its signature is read as it comes, if one is asked that is not known yet. */
  async #takeFirst<T>(
    { wanted, elsewhere, signal }: Omit<Request, "purpose">,
    consume: (body: Readable) => Promise<T>,
  ): Promise<{ readonly taken: T; readonly record: InputRecord }> {
    const places = this.#placesOf(wanted, elsewhere, signal);
    const keys = this.#signatures.areAsked(wanted) ? await this.#keysFor(wanted, signal) : undefined;
    if (!Buffer.isBuffer(keys) || (await this.#signatures.recall(wanted, keys)) !== undefined)
      return takeFirst(wanted, places, (place) => place.take(consume));
    // Where it cannot be read now, whoever asks for it hears why.
    const read = (body: Readable) => this.#signatures.read(body, keys, signal).catch(() => undefined);
    const { taken, record } = await takeFirst(wanted, places, (place) =>
      place.take((body) => both(body, read, consume)),
    );
    const [answer, made] = taken;
    if (answer !== undefined) await this.#signatures.remember(wanted, keys, answer);
    return { taken: made, record };
  }

  /** Has the file in the cache. If it had to come from a place, it was unpacked to `tree` on its way. */
  async #fetched(request: Request, tree?: string): Promise<void> {
    const { wanted, elsewhere, purpose } = request;
    const target = this.#fileOf(wanted);
    await this.#once(JSON.stringify([target, wanted, elsewhere, purpose]), async () => {
      const isThere = (await isWhole(target, wanted)) && (await this.#recordOf(wanted)) !== undefined;
      if (!isThere) await this.#fetchTo(target, request, tree);
      await this.#archive(target, wanted, purpose);
    });
    await this.#markUsed(wanted);
  }

  /** Nothing gets its name before every byte was right. */
  async #fetchTo(target: string, request: Request, tree: string | undefined): Promise<void> {
    const { scratch } = this.#context;
    const { wanted } = request;
    const [file, unpacked] = [scratch.path(), scratch.path()];
    try {
      const { record, taken: seal } = await this.#save(
        file,
        request,
        tree === undefined ? undefined : (body) => this.#unpackInto(unpacked, body, request, ARRIVAL_MS),
      );
      const kept = { ...record, by: askedBy(wanted) } satisfies KeptRecord;
      await scratch.write(this.#recordFile(wanted), JSON.stringify(kept));
      await rename(file, target);
      if (tree !== undefined && seal !== undefined)
        await this.#once(tree, () => this.#keepTree(tree, unpacked, seal, wanted));
      this.#tell(record);
    } finally {
      await Promise.all([rm(file, { force: true }), removeTree(unpacked)]);
    }
  }

  /** `besides` reads the same bytes as they come; what it throws counts only if they were right. */
  async #save<T>(file: string, request: Request, besides?: (body: Readable) => Promise<T>) {
    await mkdir(dirname(file), { recursive: true });
    const save = (bytes: Readable) => pipeline(bytes, createWriteStream(file));
    return this.#takeFirst(request, async (body) => {
      if (besides === undefined) return save(body).then(() => undefined);
      const [, made] = await both(body, save, besides);
      return made;
    });
  }

  async #unpackFile(tree: string, wanted: VerifiedPackage, signal: AbortSignal | undefined): Promise<void> {
    const temporary = this.#context.scratch.path();
    try {
      const seal = await streamFile(this.#fileOf(wanted), (body) =>
        this.#unpackInto(temporary, body, { wanted, signal }),
      );
      await this.#keepTree(tree, temporary, seal, wanted);
    } finally {
      await removeTree(temporary);
    }
  }

  /** Unpacks into a fresh directory: a place before this one may have left half a package there. */
  async #unpackInto(
    directory: string,
    body: Readable,
    { wanted, signal }: Pick<Request, "wanted" | "signal">,
    timeoutMs?: number,
  ): Promise<string> {
    await removeTree(directory);
    await mkdir(directory, { recursive: true });
    const { name, version } = wanted;
    const options = { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    return unpackPackage(body, `${name} ${version}`, packageFormat(wanted), directory, options);
  }

  async #keepTree(tree: string, unpacked: string, seal: string, wanted: VerifiedPackage): Promise<void> {
    await mkdir(dirname(tree), { recursive: true });
    // Another process may have been faster, and its builds may be in there by now.
    if (await this.#isIntact(tree, wanted)) return;
    await removeTree(tree);
    await rename(unpacked, tree);
    await writeSeal(tree, seal, this.#context.scratch);
    this.#intact.add(tree);
  }

  /**
   * Whether a tree is there as it was unpacked. Looked at once a run; one of an earlier boot is not believed,
   * because after a loss of power any of its files may be cut short.
   */
  async #isIntact(tree: string, wanted: VerifiedPackage): Promise<boolean> {
    if ((await this.#recordOf(wanted)) === undefined) return false;
    if (this.#intact.has(tree)) return true;
    const seal = await readSeal(tree);
    if (seal?.isOfThisBoot !== true) return false;
    // Whatever is wrong with it, it is made again.
    const found = await realpath(tree)
      .then((real) => inspectTree(real, wanted.name))
      .catch(() => undefined);
    if (seal.digest !== found) return false;
    this.#intact.add(tree);
    return true;
  }

  async #archive(file: string, wanted: VerifiedPackage, purpose: InputPurpose): Promise<void> {
    const { sha256 } = wanted;
    const { archive, archived = "none" } = this.#context;
    const isWanted = archived === "all" || archived === purpose;
    if (archive === undefined || !isWanted || this.#archived.has(sha256) || !(await exists(file))) return;
    // The cache is anybody's disk: what was damaged there must not become what other machines get.
    if (!(await isWhole(file, wanted))) return rm(file);
    await archive.write(sha256, file, this.isPrivate(wanted));
    this.#archived.add(sha256);
  }

  /** A package, its record and its tree stay or go together. */
  async #markUsed(wanted: VerifiedPackage, ...more: readonly string[]): Promise<void> {
    await Promise.all([this.#fileOf(wanted), this.#recordFile(wanted), ...more].map(markUsed));
  }

  #tell(record: InputRecord): void {
    const line = fallbackLine(record);
    if (line !== undefined) this.#context.say?.(line);
  }

  #fileOf(wanted: VerifiedPackage): string {
    return join(this.#context.cache, "inputs", `${wanted.sha256}${packageFormat(wanted).ending}`);
  }

  #recordFile({ sha256 }: VerifiedPackage): string {
    return join(this.#context.cache, "inputs", `${sha256}.json`);
  }

  async #recordOf(wanted: VerifiedPackage): Promise<KeptRecord | undefined> {
    try {
      return KeptRecord.parse(JSON.parse(await readFile(this.#recordFile(wanted), "utf8")));
    } catch {
      return undefined; // Absent or damaged: the package is fetched anew.
    }
  }

  async #once(target: string, make: () => Promise<void>): Promise<void> {
    const running = this.#running.get(target);
    if (running !== undefined) return running;
    const started = make();
    this.#running.set(target, started);
    try {
      await started;
    } finally {
      this.#running.delete(target);
    }
  }
}

/** In the cache, with what was asked for when it was written; earlier versions left that out. */
const KeptRecord = InputRecord.extend({ by: z.string().optional() });
type KeptRecord = z.infer<typeof KeptRecord>;

function askedBy(wanted: VerifiedPackage): string {
  return digestOf(wanted);
}

/** Whether a file is there and is what was fetched. */
async function isWhole(file: string, { sha256 }: VerifiedPackage): Promise<boolean> {
  return (await exists(file)) && hexOf(await fileDigest(file)) === sha256;
}

/** Of the URLs of a kernel's packages, those of this one: kernels that share it then ask for the same. */
function urlsOf({ path }: VerifiedPackage, urls: readonly string[]): string[] {
  const fileName = fileNameOf(path);
  return urls.filter((url) => fileNameOf(url) === fileName);
}

function fileNameOf(place: string): string {
  const name =
    place
      .replace(/[?#].*$/, "")
      .split("/")
      .at(-1) ?? "";
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
