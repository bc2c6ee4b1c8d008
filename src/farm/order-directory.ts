/**
 * A directory of orders: `orders/<digest>.json`, and below `blobs` the bytes that they name. It may be copied anywhere.
 */
import { createReadStream } from "node:fs";
import { copyFile, mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { FarmError, isErrno, toFarmError } from "../base/error.ts";
import { fileDigest } from "../base/file-digest.ts";
import { canonicalJson, type Digest, hexOf, parseDocument, sha256 } from "../base/json.ts";
import { entriesOf, exists, openScratch, type Scratch } from "../base/scratch.ts";
import type { InputArchive } from "../inputs/input-places.ts";
import { type Bytes, Order, orderDigest } from "./order.ts";

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
    const scratch = await openScratch(join(place, "tmp"));
    await mkdir(join(place, "orders"), { recursive: true });
    return new OrderDirectory(place, scratch);
  }

  async close(): Promise<void> {
    await this.#scratch.close();
  }

  /** Keeps bytes under their digest. */
  async put(content: Buffer): Promise<Bytes> {
    const digest = sha256(content);
    const target = this.pathOf(digest);
    if (!(await exists(target))) await this.#scratch.write(target, content);
    return { digest, size: content.length };
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
  async putFile(file: string, digest: Digest): Promise<void> {
    const target = this.pathOf(digest);
    if (await exists(target)) return;
    const copy = this.#scratch.path();
    try {
      await mkdir(dirname(target), { recursive: true });
      await copyFile(file, copy);
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

  /** Digests of all orders, sorted. @throws FarmError ORDER_INVALID if there are none at all */
  async digests(): Promise<Digest[]> {
    const names = (await entriesOf(join(this.place, "orders"))).filter((name) =>
      /^[0-9a-f]{64}\.json$/.test(name),
    );
    if (names.length === 0 && !(await exists(join(this.place, "orders"))))
      throw new FarmError("ORDER_INVALID", {
        detail: `${this.place} is no directory of orders`,
        hint: "Name the directory that `kmodfarm plan --out` wrote.",
      });
    return names.map((name): Digest => `sha256:${name.slice(0, 64)}`);
  }

  /** Undefined if it has no such order. @throws FarmError ORDER_INVALID, DOCUMENT_INVALID */
  async order(digest: Digest): Promise<Order | undefined> {
    const file = this.#orderFile(digest);
    const text = await readFile(file, "utf8").catch((thrown) => {
      if (isErrno(thrown) && thrown.code === "ENOENT") return undefined;
      throw thrown;
    });
    if (text === undefined) return undefined;
    const order = parseDocument(Order, text, file);
    if (orderDigest(order) === digest) return order;
    throw new FarmError("ORDER_INVALID", {
      detail: `${file} is not the order that its name says`,
      at: { file },
    });
  }

  /** Bytes that an order names. @throws FarmError ORDER_INVALID if they are missing or others */
  async bytes({ digest, size }: Bytes): Promise<Buffer> {
    const content = await readFile(this.pathOf(digest)).catch((thrown) => {
      throw this.#lost(digest, toFarmError(thrown));
    });
    if (content.length !== size || sha256(content) !== digest) throw this.#lost(digest);
    return content;
  }

  /** A file that an order names, checked. @throws FarmError ORDER_INVALID */
  async file({ digest }: Bytes): Promise<string> {
    const file = this.pathOf(digest);
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
        return (await exists(file)) ? createReadStream(file) : undefined;
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
