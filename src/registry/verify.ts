/**
 * Whether all that a registry says of itself holds together, link by link: from the root, which is given, to the bytes that
 * nodes insert. Needs nothing but the registry, by whatever way it is read; the first link that breaks is what to look at.
 */
import { createHash } from "node:crypto";
import { type FarmError, toFarmError } from "../base/error.ts";
import type { ErrorCode } from "../base/error-codes.ts";
import { type Digest, sha256, toDocument } from "../base/json.ts";
import { judgeBundle, type TrustedBuilder } from "../check/provenance.ts";
import { readSigner, verifySignature } from "../check/signature.ts";
import { splitSignature } from "../formats/module-signature.ts";
import { acceptHead, HEAD_PATH, type Head } from "../provenance/head.ts";
import { writeIndex } from "../provenance/node-index.ts";
import { signersOf } from "../provenance/signed-note.ts";
import { ROOT_LIMIT_BYTES, rootPath, type Trust } from "../provenance/trust.ts";
import { readManifest } from "./artifact.ts";
import { blobPath, readBlob } from "./blobs.ts";
import { type Contents, contentsOf, type NamedFile } from "./contents.ts";
import type { IndexEntry, Manifest } from "./documents.ts";
import { type GenerationPlace, POINTER, readPointer } from "./generations.ts";
import { serialPath } from "./head.ts";
import { readHeadAt, readNoteAt, readTrusts } from "./metadata.ts";
import { nodeIndices } from "./node-index.ts";
import { type Listed, listAll } from "./standing.ts";
import { type Store, sizeLimitOf } from "./stores/store.ts";
import { viewPath } from "./view-path.ts";

/** In the order in which one rests on the other. */
export const LINKS = [
  "root",
  "head",
  "generation",
  "files",
  "node index",
  "artifacts",
  "statements",
  "signatures",
  "other files",
] as const;
type Link = (typeof LINKS)[number];

/** Where the chain does not hold. */
export interface Break {
  readonly link: Link;
  /** The thing and the fact. */
  readonly fact: string;
  readonly code: ErrorCode;
}

export interface Verified {
  readonly origin?: string;
  readonly serial?: number;
  readonly generation: number;
  readonly files: number;
  readonly bytes: number;
  /** In the order of links. */
  readonly breaks: readonly Break[];
  /** What was believed, and what could not be looked at. */
  readonly remarks: readonly string[];
}

/** A registry to verify. One that can list its files is also searched for what does not belong there. */
export type VerifiedPlace = GenerationPlace & Partial<Pick<Store, "walk" | "stream">>;

export interface VerifyOptions {
  /** The root that is trusted; without one the registry's first is. */
  readonly trusted?: Trust | undefined;
  /** Whose statements count; without any their content is not judged. */
  readonly builders?: readonly TrustedBuilder[];
  readonly now: Date;
}

/** Never throws for what is wrong with a registry, only for what keeps it from being read. */
export async function verifyRegistry(place: VerifiedPlace, options: VerifyOptions): Promise<Verified> {
  const verifier = new Verifier(place, options);
  return verifier.run();
}

class Verifier {
  readonly #place: VerifiedPlace;
  readonly #options: VerifyOptions;
  readonly #breaks: Break[] = [];
  readonly #remarks: string[] = [];
  /** By path; undefined where there is none. */
  readonly #hashed = new Map<string, Hashed | undefined>();

  constructor(place: VerifiedPlace, options: VerifyOptions) {
    this.#place = place;
    this.#options = options;
  }

  async run(): Promise<Verified> {
    const trusts = (await this.#holds("root", () => this.#roots())) ?? [];
    const head = await this.#holds("head", () => this.#head(trusts));
    const contents = await this.#holds("generation", () => this.#contents(head));
    if (contents !== undefined) {
      await this.#files(contents);
      await this.#holds("node index", () => this.#index(contents, head));
      for (const listed of listAll(contents.state.indices)) await this.#artifact(listed);
      await this.#others(contents, trusts);
    }
    const sizes = [...this.#hashed.values()].map((one) => one?.size ?? 0);
    const rank = ({ link }: Break) => LINKS.indexOf(link);
    return {
      ...(head === undefined ? {} : { origin: head.origin, serial: head.serial }),
      generation: contents?.state.head?.number ?? 0,
      files: sizes.length,
      bytes: sizes.reduce((sum, size) => sum + size, 0),
      breaks: this.#breaks.toSorted((a, b) => rank(a) - rank(b)),
      remarks: this.#remarks,
    };
  }

  #broken(link: Link, code: ErrorCode, fact: string): void {
    this.#breaks.push({ link, code, fact });
  }

  /** What does not hold is a break; what keeps from looking ends it all. */
  async #holds<T>(link: Link, look: () => Promise<T>): Promise<T | undefined> {
    try {
      return await look();
    } catch (thrown) {
      this.#noteFault(link, toFarmError(thrown));
      return undefined;
    }
  }

  #noteFault(link: Link, error: FarmError): void {
    if (error.blame !== "integrity" && error.code !== "METADATA_EXPIRED") throw error;
    this.#broken(link, error.code, error.message);
  }

  async #roots(): Promise<readonly Trust[]> {
    const { trusted } = this.#options;
    const trusts = await readTrusts(this.#place);
    const [first] = trusts;
    if (first === undefined)
      this.#broken("root", "METADATA_UNSIGNED", `${this.#place.place} has no root: nothing in it is signed`);
    else if (trusted === undefined)
      this.#remarks.push(
        `the registry's own root 1 of ${first.origin} is believed: --root names one that you trust`,
      );
    const believed =
      trusted === undefined || first === undefined ? trusts : await readTrusts(this.#place, trusted);
    for (const { version } of trusts) await this.#unexplained("root", rootPath(version), believed);
    return believed;
  }

  /** Nodes pass over signatures of keys that they do not know; here each must be somebody's. */
  async #unexplained(link: Link, path: string, trusts: readonly Trust[]): Promise<void> {
    const note = await readNoteAt(this.#place, path, ROOT_LIMIT_BYTES);
    const keys = trusts.flatMap((trust) => [...trust.keys.values()]);
    const origin = trusts[0]?.origin ?? "";
    for (const one of note?.signatures ?? [])
      if (signersOf({ text: note?.text ?? "", signatures: [one] }, origin, keys, this.#at(path)).size === 0)
        this.#broken(
          link,
          "METADATA_UNSIGNED",
          `${this.#at(path)} has a signature of a key that no root names`,
        );
  }

  async #head(trusts: readonly Trust[]): Promise<Head | undefined> {
    const trust = trusts.at(-1);
    if (trust === undefined) return undefined;
    const found = await readHeadAt(this.#place, trusts);
    if (found === undefined) {
      this.#broken("head", "STORE_CORRUPT", `${this.#place.place}/${HEAD_PATH} is missing`);
      return undefined;
    }
    await this.#unexplained("head", HEAD_PATH, trusts);
    await this.#holds("head", async () =>
      acceptHead(trust, found.note, undefined, this.#options.now, this.#at(HEAD_PATH)),
    );
    return found.head;
  }

  async #contents(head: Head | undefined): Promise<Contents> {
    const contents = await contentsOf(this.#place, Number.POSITIVE_INFINITY);
    for (const fault of contents.faults) this.#noteFault("generation", fault);
    const { head: newest } = contents.state;
    if (
      head !== undefined &&
      (newest?.number !== head.generation.number || newest.digest !== head.generation.digest)
    )
      this.#broken(
        "generation",
        "STORE_CORRUPT",
        `${this.#place.place} has generation ${newest?.number ?? "none"}, and its head is of generation ${head.generation.number}`,
      );
    const pointer = await readPointer(this.#place);
    const bytes = await this.#place.read(POINTER, sizeLimitOf(POINTER));
    if (pointer === undefined || bytes?.toString("latin1") !== toDocument(pointer))
      this.#broken(
        "generation",
        "STORE_CORRUPT",
        `${this.#at(POINTER)} is missing or is not as it was written`,
      );
    return contents;
  }

  async #files({ named }: Contents): Promise<void> {
    for (const file of named.values()) {
      const found = await this.#hash(file.path);
      const fact = found === undefined ? "is missing" : faultOf(file, found);
      if (fact !== undefined)
        this.#broken("files", "STORE_CORRUPT", `${this.#at(file.path)} ${fact} (${file.by})`);
    }
  }

  /** What nodes are told follows from what is published. */
  async #index({ state }: Contents, head: Head | undefined): Promise<void> {
    if (head === undefined) return;
    const sizeOf = (digest: string) => this.#hashed.get(blobPath(digest))?.size;
    const expected = nodeIndices(state, sizeOf).map(({ driver, machine, floor, blocks }) => {
      const { widths, top } = writeIndex({ driver, machine }, blocks);
      return { driver, machine, widths, top, ...(floor === undefined ? {} : { floor }) };
    });
    if (toDocument(expected) !== toDocument(head.indices))
      this.#broken(
        "node index",
        "STORE_CORRUPT",
        `head ${head.serial} tells nodes something else than its generation says`,
      );
  }

  async #artifact(listed: Listed): Promise<void> {
    const { entry } = listed;
    const manifest = await this.#holds("artifacts", () => readManifest(this.#place, entry));
    if (manifest === undefined) return;
    const { identity } = manifest;
    const isPlaced =
      identity.distribution.release === listed.index.distribution &&
      identity.architecture === listed.index.architecture;
    if (!isPlaced)
      this.#broken("artifacts", "STORE_CORRUPT", `${viewPath(entry)} is in the index of another release`);
    for (const { digest } of entry.provenance ?? [])
      await this.#holds("statements", () => this.#statement(entry, manifest, digest));
    for (const module of entry.modules)
      for (const signature of module.signatures ?? [])
        await this.#holds("signatures", () => this.#signature(entry, module, signature));
  }

  async #statement(entry: IndexEntry, { identity }: Manifest, digest: Digest): Promise<void> {
    const { builders = [] } = this.#options;
    if (builders.length === 0) return;
    const bundle = await readBlob(this.#place, digest);
    const verdict = judgeBundle(bundle, { identity, modules: entry.modules }, builders);
    if (verdict.kind !== "good")
      this.#broken("statements", "STORE_CORRUPT", `${viewPath(entry)}: ${verdict.because.text}`);
  }

  async #signature(
    entry: IndexEntry,
    module: IndexEntry["modules"][number],
    signature: Sidecar,
  ): Promise<void> {
    const what = `${viewPath(entry)}/${module.name}.ko.${signature.keyId}.p7s`;
    const read = (digest: Digest) => readBlob(this.#place, digest);
    const [bytes, sidecar] = [await read(module.stripped ?? module.digest), await read(signature.digest)];
    const certificate = readSigner(await read(signature.certificate), what);
    const verdict = verifySignature(splitSignature(Buffer.concat([bytes, sidecar]), what), [certificate]);
    if (verdict.kind !== "good")
      this.#broken(
        "signatures",
        "STORE_CORRUPT",
        `${what}: ${verdict.kind === "bad" ? verdict.fact : "it is unsigned"}`,
      );
  }

  /** What nothing names, and is not what its own name says. */
  async #others({ named }: Contents, trusts: readonly Trust[]): Promise<void> {
    if (this.#place.walk === undefined) {
      this.#remarks.push("the place cannot list its files, so what does not belong there was not looked for");
      return;
    }
    for await (const { path } of this.#place.walk("")) {
      if (named.has(path) && !HEADS.test(path) && !ROOTS.test(path)) continue;
      const fact = await this.#strangeness(path, trusts);
      if (fact !== undefined) this.#broken("other files", "STORE_CORRUPT", `${this.#at(path)} ${fact}`);
    }
  }

  async #strangeness(path: string, trusts: readonly Trust[]): Promise<string | undefined> {
    const [, hex] = BLOBS.exec(path) ?? [];
    if (hex !== undefined)
      return (await this.#hash(path))?.digest === `sha256:${hex}` ? undefined : "is damaged";
    const [, serial] = HEADS.exec(path) ?? [];
    // If the roots are broken, that is said already.
    if (serial !== undefined && trusts.length === 0) return undefined;
    if (serial !== undefined) {
      const found = await this.#holds("other files", () => readHeadAt(this.#place, trusts, path));
      return found === undefined || serialPath(found.head.serial) === path ? undefined : "has another serial";
    }
    const [, version] = ROOTS.exec(path) ?? [];
    const isRoot = version !== undefined && Number(version) <= (trusts.at(-1)?.version ?? Number(version));
    if (isRoot || MARKS.test(path) || path === HEAD_PATH) return undefined;
    return "belongs to nothing";
  }

  #at(path: string): string {
    return `${this.#place.place}/${path}`;
  }

  async #hash(path: string): Promise<Hashed | undefined> {
    if (!this.#hashed.has(path))
      this.#hashed.set(path, await this.#holds("files", () => hashAt(this.#place, path)));
    return this.#hashed.get(path);
  }
}

type Sidecar = NonNullable<IndexEntry["modules"][number]["signatures"]>[number];

interface Hashed {
  readonly digest: Digest;
  readonly size: number;
}

const BLOBS = /^(?:blobs|private)\/sha256\/[0-9a-f]{2}\/([0-9a-f]{64})$/;
const HEADS = /^metadata\/heads\/(\d+)$/;
const ROOTS = /^metadata\/root\/(\d+)$/;
/** Of writers that are at work. */
const MARKS = /^marks\/[0-9a-f]{16}\.json$/;

function faultOf({ digest, size }: NamedFile, found: Hashed): string | undefined {
  if (digest !== undefined && found.digest !== digest) return "is not what its digest promises";
  return size !== undefined && found.size !== size ? `has ${found.size} bytes, not ${size}` : undefined;
}

async function hashAt(place: VerifiedPlace, path: string): Promise<Hashed | undefined> {
  if (place.stream === undefined) {
    const bytes = await place.read(path, sizeLimitOf(path));
    return bytes === undefined ? undefined : { digest: sha256(bytes), size: bytes.length };
  }
  const stream = await place.stream(path);
  if (stream === undefined) return undefined;
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: `sha256:${hash.digest("hex")}`, size };
}
