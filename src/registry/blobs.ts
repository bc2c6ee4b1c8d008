/** Bytes under their digests: with a digest, a reader can verify that the store returned what was put there. */
import { createHash } from "node:crypto";
import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { blobPath } from "../provenance/blob-path.ts";
import type { RegistryReader } from "./reader.ts";
import { corruptStore } from "./stored.ts";
import { ageOf } from "./stores/clock.ts";
import { BLOB_LIMIT_BYTES, type Store } from "./stores/store.ts";

export { blobPath };

/** Where people find it. */
export function placeOf(store: Store, digest: string): string {
  return `${store.place}/${blobPath(digest)}`;
}

/** What lies there for longer might be what `prune` is about to remove: it is written again, and is young then. */
export const OLD_MS = 24 * 3600_000;

/**
 * What this process has just stored far away: who publishes an artifact shows it in the view, and puts it into its set, and
 * need not ask for the bytes again.
 */
class Written {
  readonly #blobs = new Map<string, Buffer>();
  #bytes = 0;

  static of(store: Store): Written | undefined {
    if (store.isNear) return undefined;
    const known = WRITTEN.get(store) ?? new Written();
    WRITTEN.set(store, known);
    return known;
  }

  get(digest: string): Buffer | undefined {
    return this.#blobs.get(digest);
  }

  add(digest: string, bytes: Buffer): void {
    if (bytes.length > WRITTEN_LIMIT_BYTES / 4 || this.#blobs.has(digest)) return;
    this.#blobs.set(digest, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, { length }] of this.#blobs) {
      if (this.#bytes <= WRITTEN_LIMIT_BYTES) return;
      this.#blobs.delete(oldest);
      this.#bytes -= length;
    }
  }
}

const WRITTEN = new WeakMap<Store, Written>();
const WRITTEN_LIMIT_BYTES = 64 << 20;

/** As `readBlob`, of what this process may have stored a moment ago. @throws FarmError STORE_CORRUPT */
export async function readWritten(store: Store, digest: string): Promise<Buffer> {
  return Written.of(store)?.get(digest) ?? readBlob(store, digest);
}

/** Stores bytes under their digest; what is there already stays, unless it is damaged or old. */
export async function putBlob(store: Store, content: Buffer | string): Promise<Digest> {
  const digest = sha256(content);
  const path = blobPath(digest);
  // Most are new: one request then.
  if (await store.create(path, content)) {
    Written.of(store)?.add(digest, Buffer.from(content));
    return digest;
  }
  const facts = await store.facts(path);
  const isYoung = facts !== undefined && (await ageOf(store, facts)) < OLD_MS;
  const there = isYoung && facts.size === Buffer.byteLength(content) ? await store.read(path) : undefined;
  if (there === undefined || sha256(there) !== digest) await store.write(path, content);
  return digest;
}

/** SHA-256 of the file at a path, which need not fit in memory. */
export async function digestAt(store: Store, path: string): Promise<Digest | "missing" | "damaged"> {
  try {
    const body = await store.stream(path);
    if (body === undefined) return "missing";
    const hash = createHash("sha256");
    for await (const chunk of body) hash.update(chunk as Buffer);
    return `sha256:${hash.digest("hex")}`;
  } catch (thrown) {
    // What is no file at all is damaged too.
    if (thrown instanceof FarmError && thrown.code === "STORE_CORRUPT") return "damaged";
    throw thrown;
  }
}

/** @throws FarmError STORE_CORRUPT */
export async function readBlob(
  store: RegistryReader,
  digest: string,
  limitBytes = BLOB_LIMIT_BYTES,
): Promise<Buffer> {
  const place = blobPath(digest);
  const bytes = await store.read(place, limitBytes);
  if (bytes === undefined || sha256(bytes) !== digest)
    throw corruptStore(store, `${place} is missing or damaged`, place);
  return bytes;
}
