/**
 * A directory of orders: `orders/<digest>.json`, and below `blobs` the bytes that they name. It may be copied anywhere.
 */
import { constants, createReadStream } from "node:fs";
import { copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Readable } from "node:stream";
import type { z } from "zod";
import { FarmError, toFarmError } from "../../base/error.ts";
import { fileDigest } from "../../base/file-digest.ts";
import { canonicalJson, type Digest, digestOf, hexOf, parseDocument, sha256 } from "../../base/json.ts";
import { ownUsers, strangerAt } from "../../base/own-place.ts";
import { entriesOf, exists, keepOutOfGit, makePlace, openScratch, type Scratch } from "../../base/scratch.ts";
import { kindIn, readFileIn } from "../../base/strange-tree.ts";
import type { InputArchive } from "../../inputs/input-places.ts";
import { type Bytes, Order, orderDigest } from "./order.ts";
import { Roots, Shards } from "./plan-documents.ts";

/** Orders name bytes and hold none, but for a script that a driver is tried with. */
const ORDER_LIMIT_BYTES = 16 * 1024 ** 2;
/** Of a document beside the orders. */
const DOCUMENT_LIMIT_BYTES = 64 * 1024 ** 2;

const SHARDS_FILE = "shards.json";
const ROOTS_FILE = "roots.json";

export class OrderDirectory {
  readonly place: string;
  /** On the directory's own file system. */
  readonly #scratch: Scratch;

  constructor(place: string, scratch: Scratch) {
    this.place = place;
    this.#scratch = scratch;
  }

  /** A directory to write to. */
  static async make(place: string): Promise<OrderDirectory> {
    await makeOut(place);
    // The place may be in a driver's repository, whose source it is not.
    await keepOutOfGit(place);
    const scratch = await openScratch(join(place, "tmp"));
    await mkdir(join(place, "orders"), { recursive: true });
    return new OrderDirectory(place, scratch);
  }

  async close(): Promise<void> {
    await this.#scratch.close();
  }

  /** Whether bytes are there, as far as one look tells: a machine that lost its power may have left a part of them. */
  async has({ digest, size }: Bytes): Promise<boolean> {
    const file = this.pathOf(digest);
    return isPlain(file) && (await stat(file)).size === size;
  }

  /** Keeps bytes under their digest. */
  async put(content: Buffer): Promise<Bytes> {
    const bytes = { digest: sha256(content), size: content.length };
    if (!(await this.has(bytes))) await this.#scratch.write(this.pathOf(bytes.digest), content);
    return bytes;
  }

  /** Keeps the file that `make` writes to a path. */
  async putMade(make: (file: string, scratch: Scratch) => Promise<void>): Promise<Bytes> {
    const file = this.#scratch.path();
    try {
      await make(file, this.#scratch);
      const digest = await fileDigest(file);
      const { size } = await stat(file);
      await mkdir(dirname(this.pathOf(digest)), { recursive: true });
      await rename(file, this.pathOf(digest));
      return { digest, size };
    } finally {
      await rm(file, { force: true });
    }
  }

  /** Keeps a copy of a file. @throws FarmError DIGEST_MISMATCH if the file is not what it should be */
  async putFile(file: string, digest: Bytes["digest"]): Promise<void> {
    const target = this.pathOf(digest);
    if (await this.has({ digest, size: (await stat(file)).size })) return;
    const copy = this.#scratch.path();
    try {
      await mkdir(dirname(target), { recursive: true });
      await copyFile(file, copy, constants.COPYFILE_EXCL);
      if ((await fileDigest(copy)) !== digest)
        throw new FarmError("DIGEST_MISMATCH", { detail: `${file} changed while it was copied` });
      await rename(copy, target);
    } finally {
      await rm(copy, { force: true });
    }
  }

  async putOrder(order: Order): Promise<Digest> {
    const digest = orderDigest(order);
    await this.#scratch.write(this.#orderFile(digest), `${canonicalJson(order)}\n`);
    return digest;
  }

  async putShards(shards: Shards): Promise<void> {
    await this.#scratch.write(join(this.place, SHARDS_FILE), `${canonicalJson(shards)}\n`);
  }

  /** Writes down which plan it is, for who takes it, and answers that. */
  async putPlan(): Promise<Digest> {
    const digest = await this.plan();
    await this.#scratch.write(join(this.place, "plan.digest"), `${digest}\n`);
    return digest;
  }

  /** The shards as a matrix of a CI system. */
  async putMatrix(text: string): Promise<void> {
    await this.#scratch.write(join(this.place, "matrix.json"), text);
  }

  /** Beside what is there of earlier plans. */
  async putRoots(roots: Roots["roots"]): Promise<void> {
    const all: Roots = { schema: "kmodfarm.roots/1", roots: { ...(await this.roots()), ...roots } };
    await this.#scratch.write(join(this.place, ROOTS_FILE), `${canonicalJson(all)}\n`);
  }

  /** What the roots of the orders contain, by their names. @throws FarmError DOCUMENT_INVALID */
  async roots(): Promise<Roots["roots"]> {
    return this.#document(Roots, ROOTS_FILE)?.roots ?? {};
  }

  /**
   * What names all of it that is believed: its orders, and what their roots contain. Whoever has it from the machine that
   * planned knows whether somebody else wrote to the directory since.
   */
  async plan(): Promise<Digest> {
    return digestOf(await this.planned());
  }

  /** What `plan` is the digest of, at this moment. @throws FarmError DOCUMENT_INVALID */
  async planned(): Promise<{ readonly orders: readonly Digest[]; readonly roots: Roots["roots"] }> {
    return { orders: await this.#orders(), roots: await this.roots() };
  }

  /** The orders of a shard. @throws FarmError USAGE if there is no such shard, DOCUMENT_INVALID */
  async shard(id: string): Promise<readonly Digest[]> {
    const { shards = [] } = this.#document(Shards, SHARDS_FILE) ?? {};
    const found = shards.find((one) => one.id === id);
    if (found !== undefined) return found.orders;
    throw new FarmError("USAGE", {
      detail: `${this.place} has no shard '${id}'`,
      hint: `Name one of those in its ${SHARDS_FILE}, which \`kmodfarm plan\` wrote.`,
    });
  }

  #document<T>(schema: z.ZodType<T>, name: string): T | undefined {
    if (kindIn(this.place, name) !== "file") return undefined;
    const bytes = readFileIn(this.place, name, DOCUMENT_LIMIT_BYTES);
    const file = join(this.place, name);
    return bytes === undefined ? undefined : parseDocument(schema, bytes.toString("utf8"), file);
  }

  /** Digests of all orders, sorted. @throws FarmError ORDER_INVALID if there are none at all */
  async digests(): Promise<Digest[]> {
    const found = await this.#orders();
    if (found.length === 0 && !(await exists(join(this.place, "orders"))))
      throw new FarmError("ORDER_INVALID", {
        detail: `${this.place} is no directory of orders`,
        hint: "Name the directory that `kmodfarm plan --out` wrote.",
      });
    return found;
  }

  async #orders(): Promise<Digest[]> {
    const names = await entriesOf(join(this.place, "orders"));
    return names
      .filter((name) => /^[0-9a-f]{64}\.json$/.test(name))
      .map((name): Digest => `sha256:${name.slice(0, 64)}`)
      .toSorted((a, b) => (a < b ? -1 : 1));
  }

  /** Undefined if it has no such order. @throws FarmError ORDER_INVALID, DOCUMENT_INVALID */
  async order(digest: Digest): Promise<Order | undefined> {
    const file = this.#orderFile(digest);
    const kind = kindIn(dirname(file), basename(file));
    if (kind === undefined) return undefined;
    const bytes = kind === "file" ? readFileIn(dirname(file), basename(file), ORDER_LIMIT_BYTES) : undefined;
    const order = bytes === undefined ? undefined : parseDocument(Order, bytes.toString("utf8"), file);
    if (order !== undefined && isNamed(order, digest)) return order;
    throw new FarmError("ORDER_INVALID", {
      detail: `${file} is not the order that its name says`,
      at: { file },
    });
  }

  /** Bytes that an order names. @throws FarmError ORDER_INVALID if they are missing or others */
  async bytes({ digest, size }: Bytes): Promise<Buffer> {
    const file = this.pathOf(digest);
    // One byte more than there should be shows that there are more.
    const content = readFileIn(dirname(file), basename(file), size + 1);
    if (content?.length !== size || sha256(content) !== digest) throw this.#lost(digest);
    return content;
  }

  /** A file that an order names, checked. @throws FarmError ORDER_INVALID */
  async file({ digest, size }: Bytes): Promise<string> {
    const file = this.pathOf(digest);
    if (!(await this.has({ digest, size }))) throw this.#lost(digest);
    const found = await fileDigest(file).catch((thrown) => {
      throw this.#lost(digest, toFarmError(thrown));
    });
    if (found !== digest) throw this.#lost(digest);
    return file;
  }

  /** As a place that packages come from, which are checked by whoever fetches them. */
  get archive(): InputArchive {
    return {
      open: async (digest): Promise<Readable | undefined> => {
        const file = this.pathOf(`sha256:${digest}`);
        return isPlain(file) ? createReadStream(file) : undefined;
      },
      write: () => Promise.resolve(),
    };
  }

  pathOf(digest: string): string {
    return join(this.place, "blobs", hexOf(digest));
  }

  #orderFile(digest: Digest): string {
    return join(this.place, "orders", `${hexOf(digest)}.json`);
  }

  #lost(digest: Digest, cause?: FarmError): FarmError {
    return new FarmError("ORDER_INVALID", {
      detail: `${this.pathOf(digest)}, which an order names, is missing or damaged`,
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

function isNamed(order: Order, digest: Digest): boolean {
  try {
    return orderDigest(order) === digest;
  } catch {
    return false; // What has no canonical form was never written by `putOrder`.
  }
}

/** A directory of orders may come from anywhere: a link leads out of it, and a pipe has no end. */
function isPlain(file: string): boolean {
  return kindIn(dirname(file), basename(file)) === "file";
}

/**
 * Makes the directory that --out names. Nobody else may write there: what is written by a path could be written to any file.
 * @throws FarmError PLACE_UNUSABLE
 */
export async function makeOut(place: string): Promise<void> {
  const hint = "Name another directory with --out.";
  try {
    await makePlace(place);
  } catch (thrown) {
    const { code, message: detail } = toFarmError(thrown);
    throw code === "PLACE_UNUSABLE" ? new FarmError(code, { detail, hint, cause: thrown }) : thrown;
  }
  for (const path of [place, join(place, "tmp"), join(place, "orders"), join(place, "blobs")]) {
    const fact = await strangerAt(path, ownUsers());
    if (fact !== undefined) throw new FarmError("PLACE_UNUSABLE", { detail: fact, hint });
  }
}
