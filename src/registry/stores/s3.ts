/** A store in a bucket: each file is an object, and its path below the prefix is the object's key. */
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { PassThrough, type Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError } from "../../base/error.ts";
import { sha256 } from "../../base/json.ts";
import { isStorePath, partsOf } from "./path.ts";
import { Bucket, bodyOf, PATIENCE, type Patience, type S3Place } from "./s3-bucket.ts";
import { isUncertain, refusalOf } from "./s3-errors.ts";
import { checkSize, type FileFacts, type KeptBlobs, PROBE, type Store, sizeLimitOf } from "./store.ts";
import { triedFirst } from "./tried-first.ts";

const PROBE_WRITERS = 8;
/** Larger files are sent in parts of this size; no more than one part is in memory. S3 wants 5 MiB at least. */
const PART_BYTES = 16 << 20;
const READ_TRIES = 4;
const CREATE_TRIES = 6;
const PAUSE_MS = 100;
/** Who created an object: of a lost answer this says whether it was us. */
const WRITER = "kmodfarm-writer";

/** Whether a server lets several writers win is asked of it anew after so long. */
const TRIAL_MS = 7 * 24 * 3600_000;

/** Nobody is asked before the first file is wanted. @param kept where this machine keeps what it saw of the store */
export async function openS3Store(
  place: S3Place,
  { patience = PATIENCE, kept }: { readonly patience?: Patience; readonly kept?: KeptBlobs } = {},
): Promise<Store> {
  return triedFirst(new S3Store(await Bucket.open(place, patience), place.prefix, patience, kept));
}

class S3Store implements Store {
  readonly place: string;
  readonly isNear = false;
  readonly kept?: KeptBlobs;
  readonly #bucket: Bucket;
  readonly #mostNames: number;
  /** With its slash. */
  readonly #prefix: string;

  constructor(bucket: Bucket, prefix: string, { mostNames }: Patience, kept: KeptBlobs | undefined) {
    this.#bucket = bucket;
    if (kept !== undefined) this.kept = kept;
    this.#mostNames = mostNames;
    this.#prefix = prefix === "" ? "" : `${prefix}/`;
    this.place = prefix === "" ? `s3://${bucket.name}` : `s3://${bucket.name}/${prefix}`;
  }

  async read(path: string, limitBytes = Number.POSITIVE_INFINITY): Promise<Buffer | undefined> {
    const key = this.#keyOf(path);
    for (let tries = 1; ; tries++) {
      const body = await this.#open(path, limitBytes);
      if (body === undefined) return undefined;
      try {
        return await bytesOf(body, body.size);
      } catch (thrown) {
        // The SDK asks again until an answer begins; an answer that breaks off is our business.
        if (tries === READ_TRIES) throw this.#bucket.error(thrown, key);
        await sleep(PAUSE_MS * tries);
      }
    }
  }

  async stream(path: string): Promise<Readable | undefined> {
    const key = this.#keyOf(path);
    const body = await this.#open(path);
    if (body === undefined) return undefined;
    const given = new PassThrough();
    body.stream.on("error", (thrown) => given.destroy(this.#bucket.error(thrown, key) as Error));
    given.on("close", () => body.stream.destroy());
    return body.stream.pipe(given);
  }

  async facts(path: string): Promise<FileFacts | undefined> {
    const found = await this.#bucket.head(this.#keyOf(path));
    return found === undefined ? undefined : { path, size: found.size, modified: found.modified };
  }

  async write(path: string, content: string | Uint8Array): Promise<void> {
    const key = this.#keyOf(path);
    const bytes = Buffer.from(content);
    checkSize(this, path, bytes.length);
    await this.#bucket.put(key, bytes);
  }

  async create(path: string, content: string | Uint8Array): Promise<boolean> {
    const key = this.#keyOf(path);
    const bytes = Buffer.from(content);
    checkSize(this, path, bytes.length);
    const writer = randomBytes(16).toString("hex");
    for (let tries = 1; ; tries++) {
      try {
        await this.#bucket.putNew(key, bytes, { [WRITER]: writer });
        return true;
      } catch (thrown) {
        const { status, attempts } = refusalOf(thrown);
        if (status === 501) throw this.#unsafe("refuses to create a file only where there is none (501)");
        const isFirst = tries === 1 && attempts === 1;
        if (status === 412 && isFirst) return false;
        if (status !== 412 && status !== 409 && !isUncertain(thrown)) throw this.#bucket.error(thrown, key);
        // Somebody was faster, or an earlier try of ours arrived and its answer did not.
        const there = await this.#bucket.head(key);
        if (there !== undefined) return there.metadata[WRITER] === writer;
        // Whoever was there is gone; or two writers met, and neither was let in.
        if (tries === CREATE_TRIES || isUncertain(thrown)) throw this.#bucket.error(thrown, key);
        await sleep(Math.random() * PAUSE_MS * tries);
      }
    }
  }

  async writeFile(path: string, file: string): Promise<void> {
    const key = this.#keyOf(path);
    const { size } = await stat(file);
    checkSize(this, path, size);
    if (size <= PART_BYTES) await this.#bucket.put(key, await readFile(file));
    else await this.#bucket.putParts(key, size, createReadStream(file, { highWaterMark: PART_BYTES }));
  }

  async list(path: string): Promise<string[]> {
    const above = `${this.#keyOf(path)}/`;
    const names = new Set<string>();
    for await (const { objects, prefixes } of this.#bucket.pages(above, false)) {
      for (const { key } of objects) names.add(key.slice(above.length));
      for (const prefix of prefixes) names.add(prefix.slice(above.length, -1));
      if (names.size > this.#mostNames)
        throw new FarmError("STORE_CORRUPT", {
          about: this.place,
          joint: "/",
          detail: `${path} has more than ${this.#mostNames} entries`,
          at: { path },
        });
    }
    // Others make objects whose keys are no paths: markers of empty folders, say.
    return [...names].filter((name) => isStorePath(name)).sort();
  }

  async *walk(path: string): AsyncIterable<FileFacts> {
    const prefix = path === "" ? this.#prefix : `${this.#keyOf(path)}/`;
    for await (const { objects } of this.#bucket.pages(prefix, true))
      for (const { key, size, modified } of objects) {
        const below = key.slice(this.#prefix.length);
        if (isStorePath(below) && !below.startsWith(`${PROBE}/`)) yield { path: below, size, modified };
      }
  }

  async remove(path: string): Promise<void> {
    await this.#bucket.remove(this.#keyOf(path));
  }

  async removeAll(path: string): Promise<void> {
    const key = this.#keyOf(path);
    await this.#bucket.remove(key);
    for await (const { objects } of this.#bucket.pages(`${key}/`, true))
      await this.#bucket.removeAll(objects.map((one) => one.key));
  }

  async prepare(): Promise<void> {
    const known = this.#trialNote();
    const isKnown = known !== undefined && (await this.kept?.read(sha256(known))) !== undefined;
    // That a server takes no notice of conditions any more is seen by one writer.
    await this.#tryOut(isKnown ? 1 : PROBE_WRITERS);
    const note = this.#trialNote();
    if (!isKnown && note !== undefined) await this.kept?.keep(sha256(note), Buffer.from(note));
  }

  /** What this machine keeps of a trial by many writers, as long as that counts; undefined before the server is known. */
  #trialNote(): string | undefined {
    const { server } = this.#bucket;
    if (server === undefined) return undefined;
    const period = Math.floor(Date.now() / TRIAL_MS);
    return `${this.place} at ${server} let one of ${PROBE_WRITERS} writers win in period ${period}\n`;
  }

  async #tryOut(writers: number): Promise<void> {
    const path = `${PROBE}/${randomBytes(8).toString("hex")}`;
    const key = this.#keyOf(path);
    try {
      const tries = Array.from({ length: writers }, (_, index) => this.create(path, `${index}\n`));
      const ended = await Promise.allSettled(tries);
      const failed = ended.find((one) => one.status === "rejected");
      if (failed !== undefined) throw failed.reason;
      const winners = ended.flatMap((one, index) => (one.status === "fulfilled" && one.value ? [index] : []));
      if (winners.length !== 1)
        throw this.#unsafe(
          winners.length === 0
            ? `let none of ${writers} writers create a new file`
            : `told ${winners.length} of ${writers} writers that each had created the same new file`,
        );
      if (await this.create(path, "late\n"))
        throw this.#unsafe("told a writer that it had created a file that was there already");
      if (writers > 1 && String(await this.read(path)) !== `${winners[0]}\n`)
        throw this.#unsafe("keeps another file than that of the writer that created it");
    } finally {
      // The error above says more; what is left below `probe/` is no part of the store.
      await this.#bucket.remove(key).catch(() => {});
    }
  }

  async close(): Promise<void> {
    this.#bucket.close();
  }

  #keyOf(path: string): string {
    return this.#prefix + partsOf(path).join("/");
  }

  #unsafe(what: string): FarmError {
    return new FarmError("STORE_UNSAFE", {
      about: this.place,
      joint: ": ",
      detail: `the server ${what}, so two writers could not be told apart there`,
      hint: "Use a server that keeps `If-None-Match: *` of PutObject (docs/stores.md names some), or a folder. What is there can be read, and copied with `kmodfarm store copy`.",
    });
  }

  async #open(
    path: string,
    limitBytes = Number.POSITIVE_INFINITY,
  ): Promise<{ stream: Readable; size: number | undefined } | undefined> {
    const found = await this.#bucket.get(this.#keyOf(path));
    if (found === undefined) return undefined;
    const [stream, size] = [bodyOf(found), found.ContentLength];
    const limit = Math.min(limitBytes, sizeLimitOf(path));
    // A server that does not say how large it is has not been seen, and would be trusted with any size.
    if (size !== undefined && size <= limit) return { stream, size };
    stream.destroy();
    throw new FarmError("STORE_CORRUPT", {
      about: this.place,
      joint: "/",
      detail: `${path} has ${size ?? "an unknown number of"} bytes; no more than ${limit} are read`,
      at: { path },
    });
  }
}

async function bytesOf(body: { stream: Readable; size: number | undefined }, size = 0): Promise<Buffer> {
  const bytes = Buffer.concat(await body.stream.toArray());
  if (bytes.length === size) return bytes;
  throw Object.assign(new Error("the answer has another length than it said"), { code: "ECONNRESET" });
}
