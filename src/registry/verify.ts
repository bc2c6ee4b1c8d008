/**
 * Whether all that a registry says of itself holds together, link by link: from the root, which is given, to the bytes that
 * nodes insert. Needs nothing but the registry, by whatever way it is read; the first link that breaks is what to look at.
 */
import { createHash } from "node:crypto";
import { type FarmError, toFarmError } from "../base/error.ts";
import type { ErrorCode } from "../base/error-codes.ts";
import { type Digest, sha256, toDocument } from "../base/json.ts";
import { plainBytes } from "../check/opened-modules.ts";
import { readSigner, verifySignature } from "../check/signature.ts";
import { cutSignature, splitSignature } from "../formats/module-signature.ts";
import type { TrustedBuilder } from "../provenance/builder.ts";
import { type Checkpoint, readCheckpoint, signedCheckpoint, wordsOf } from "../provenance/checkpoint.ts";
import { acceptHead, HEAD_LIMIT_BYTES, HEAD_PATH, type Head } from "../provenance/head.ts";
import { judgeBundle } from "../provenance/judge.ts";
import { LOG_PROOF_LIMIT_BYTES, readLogProof } from "../provenance/log-proof.ts";
import {
  CHECKPOINT_PATH,
  type FoundCheckpoint,
  inconsistent,
  logProofPath,
  requireCheckpoint,
  requireGrown,
} from "../provenance/shown-log.ts";
import { type SignedNote, signersOf, writeNote } from "../provenance/signed-note.ts";
import { leafOf } from "../provenance/trees/linux-merkle.ts";
import { entryHash, isIncluded, isSameHash, type LogState, rootAt } from "../provenance/trees/rfc6962.ts";
import { checkSigned, ROOT_LIMIT_BYTES, rootPath, type Trust } from "../provenance/trust.ts";
import { VOUCH_LIMIT_BYTES, verifiedVouch } from "../provenance/vouch.ts";
import { writeIndex } from "../provenance/write-node-index.ts";
import { readManifest } from "./artifact.ts";
import { blobPath, readBlob } from "./blobs.ts";
import { type Contents, contentsOf, type NamedFile } from "./contents.ts";
import type { IndexEntry, Manifest } from "./documents.ts";
import { type GenerationPlace, POINTER, readPointer } from "./generations.ts";
import { logFiles, logOf, placesInLog, promotionsIn, type RegistryLog, stateOf } from "./log.ts";
import { readHeadAt, readNoteAt, readTrusts } from "./metadata.ts";
import { nodeIndices } from "./node-index.ts";
import { serialPath } from "./serials.ts";
import { faultsOfSets, leavesOf } from "./sets.ts";
import { type Listed, listAll } from "./standing.ts";
import { readStated } from "./stated.ts";
import { type Store, sizeLimitOf } from "./stores/store.ts";
import { viewPath } from "./view-path.ts";

/** In the order in which one rests on the other. */
export const LINKS = [
  "root",
  "head",
  "generation",
  "log",
  "files",
  "node index",
  "artifacts",
  "sets",
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
  /** The log's checkpoint, if the registry has a log and it only grew: to be kept for the next time. */
  readonly checkpoint?: FoundCheckpoint;
}

/** A registry to verify. One that can list its files is also searched for what does not belong there. */
export type VerifiedPlace = GenerationPlace & Partial<Pick<Store, "walk" | "stream">>;

export interface VerifyOptions {
  /** The root that is trusted; without one the registry's first is. */
  readonly trusted?: Trust | undefined;
  /** Whose statements count; without any their content is not judged. */
  readonly builders?: readonly TrustedBuilder[];
  /** The text of the log's last checkpoint that was seen here. */
  readonly seen?: ((origin: string) => Promise<string | undefined>) | undefined;
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
  /** Artifacts without any statement of how they were built. */
  readonly #unstated: string[] = [];
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
    const checkpoint = await this.#holds("log", () => this.#log(trusts, head, contents));
    if (contents !== undefined) {
      await this.#files(contents);
      await this.#holds("node index", () => this.#index(contents, head));
      for (const listed of listAll(contents.state.indices)) await this.#artifact(listed);
      this.#remarkUnstated();
      await this.#sets(contents);
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
      ...(checkpoint === undefined ? {} : { checkpoint }),
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
    // A root is signed by its own keys and those of the one before.
    for (const [index, { version }] of trusts.entries())
      await this.#unexplained("root", rootPath(version), trusts.slice(Math.max(0, index - 1), index + 1));
    return believed;
  }

  /** Nodes pass over signatures of keys that they do not know; here each must be somebody's. */
  async #unexplained(link: Link, path: string, trusts: readonly Trust[]): Promise<void> {
    const note = await readNoteAt(
      this.#place,
      path,
      path === HEAD_PATH ? HEAD_LIMIT_BYTES : ROOT_LIMIT_BYTES,
    );
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

  /** The log only grew, is the one that the head names, and is what was decided. */
  async #log(
    trusts: readonly Trust[],
    head: Head | undefined,
    contents: Contents | undefined,
  ): Promise<FoundCheckpoint | undefined> {
    const trust = trusts.at(-1);
    const of = head?.log;
    if (trust?.roles.log === undefined || of === undefined) return undefined;
    const found = await requireCheckpoint(this.#place, trust);
    const { checkpoint, note } = found;
    // First of all: what is shown now may have been made up for this.
    const seen = await this.#options.seen?.(trust.origin);
    if (seen !== undefined)
      await requireGrown(
        this.#place,
        readCheckpoint(seen, "the checkpoint that was seen before"),
        checkpoint,
      );
    if (trust.roles.witness !== undefined)
      await this.#holds("log", async () => checkSigned(trust, "witness", note, this.#at(CHECKPOINT_PATH)));
    await requireGrown(this.#place, { origin: trust.origin, ...of }, checkpoint);
    if (contents !== undefined) await this.#decided(contents, of, found, trusts);
    return found;
  }

  async #decided(
    { state }: Contents,
    of: LogState,
    { checkpoint }: FoundCheckpoint,
    trusts: readonly Trust[],
  ): Promise<void> {
    const log = logOf(state);
    const { size, root } = await stateOf(log);
    if (size !== of.size || !isSameHash(root, of.root))
      throw inconsistent(
        this.#place.place,
        `its log is not what was decided (head: ${wordsOf(of)}; decisions: ${wordsOf({ size, root })})`,
      );
    // A log that is longer by now is of a later generation.
    if (checkpoint.size === size)
      for (const { path, bytes } of logFiles(log))
        if ((await this.#hash(path))?.digest !== sha256(bytes))
          this.#broken("log", "LOG_INCONSISTENT", `${this.#at(path)} is missing, or not what was decided`);
    await this.#proofs(log, promotionsIn(state), trusts);
    const placeOf = placesInLog(state);
    for (const { entry, channel } of listAll(state.indices))
      if (channel === "stable" && placeOf(entry) === undefined)
        this.#remarks.push(`${viewPath(entry)} became stable before decisions were logged`);
  }

  /** The proof beside each promotion is one: of that entry, by a checkpoint of this log. Files that are missing are told as such. */
  async #proofs(
    log: RegistryLog,
    promotions: ReadonlyMap<Digest, number>,
    trusts: readonly Trust[],
  ): Promise<void> {
    const known = new Map<string, Promise<LogState>>();
    const logAt = async (note: SignedNote): Promise<LogState> => {
      const { size, root } = trustedCheckpoint(trusts, note, "the checkpoint of a proof");
      const isOurs = size <= log.entries.length && isSameHash(await rootAt(size, log.nodeAt), root);
      if (isOurs) return { size, root };
      throw inconsistent(this.#place.place, `a proof is by another log (${wordsOf({ size, root })})`);
    };
    for (const [manifest, index] of promotions)
      await this.#holds("log", async () => {
        const path = logProofPath(manifest);
        const bytes = await this.#place.read(path, LOG_PROOF_LIMIT_BYTES);
        if (bytes === undefined) return;
        const { entry, hashes, checkpoint, ...said } = readLogProof(bytes, this.#at(path));
        const text = writeNote(checkpoint);
        const by = known.get(text) ?? logAt(checkpoint);
        known.set(text, by);
        const { size, root } = await by;
        const isOf = said.index === index && log.entries[index]?.bytes.equals(entry) === true;
        if (!isOf || !isIncluded(entryHash(entry), { index, size, proof: hashes }, root))
          this.#broken("log", "LOG_INCONSISTENT", `${this.#at(path)} does not prove what it should`);
      });
  }

  async #files({ named }: Contents): Promise<void> {
    for (const file of named.values()) {
      const found = await this.#hash(file.path);
      const fact = found === undefined ? "is missing" : faultOf(file, found);
      if (fact !== undefined)
        this.#broken("files", "STORE_CORRUPT", `${this.#at(file.path)} ${fact} (${file.by})`);
    }
  }

  /** Editions are over what they name, in itself and by the bytes that are still there. */
  async #sets({ state: { editions, indices } }: Contents): Promise<void> {
    for (const fault of faultsOfSets(editions)) this.#broken("sets", "STORE_CORRUPT", fault);
    const there = new Set(
      listAll(indices).flatMap(({ entry }) =>
        entry.modules.map(({ digest, stripped }) => stripped ?? digest),
      ),
    );
    for (const { position, place, edition } of leavesOf(editions)) {
      if (!there.has(place.digest)) continue;
      const what = `${edition.driver} ${edition.version}, place ${position}`;
      await this.#holds("sets", async () => {
        const { content } = cutSignature(await readBlob(this.#place, place.digest), what);
        if (Buffer.from(leafOf(position, content)).toString("hex") !== place.leaf)
          this.#broken("sets", "STORE_CORRUPT", `${what}: its leaf is of another module`);
      });
    }
  }

  /** What nodes are told follows from what is published. */
  async #index({ state }: Contents, head: Head | undefined): Promise<void> {
    if (head === undefined) return;
    const sizeOf = (digest: string) => this.#hashed.get(blobPath(digest))?.size;
    const expected = nodeIndices(state, sizeOf).map(({ driver, machine, floor, blocks, claims }) => {
      const { widths, top } = writeIndex({ driver, machine }, blocks, claims);
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
    await this.#holds("statements", () => this.#statements(entry, manifest));
    for (const module of entry.modules) {
      await this.#holds("artifacts", () => this.#packed(entry, module));
      for (const signature of module.signatures ?? [])
        await this.#holds("signatures", () => this.#signature(entry, module, signature));
    }
  }

  #remarkUnstated(): void {
    const [first, ...others] = this.#unstated;
    if (first === undefined) return;
    const more = others.length === 0 ? "" : `, and ${others.length} more`;
    this.#remarks.push(`nobody states how these artifacts were built: ${first}${more}`);
  }

  /** Anybody can put a bad statement beside a good one: that takes nothing from it. */
  async #statements(entry: IndexEntry, manifest: Manifest): Promise<void> {
    const { builders = [] } = this.#options;
    if (entry.provenance === undefined) this.#unstated.push(viewPath(entry));
    if (builders.length === 0 || entry.provenance === undefined) return;
    const { bundles, build } = await readStated(this.#place, entry, manifest, builders);
    const [first, ...others] = bundles.map((bundle) => judgeBundle(bundle, build, builders));
    if (first === undefined || [first, ...others].some(({ kind }) => kind === "good")) return;
    const fact = first.kind === "good" ? "" : first.because.text;
    this.#broken("statements", "STORE_CORRUPT", `${viewPath(entry)}: ${fact}`);
  }

  /** A module in its compressed shape is the same module. */
  async #packed(entry: IndexEntry, { digest, stripped, compressed }: ListedModule): Promise<void> {
    if (compressed === undefined) return;
    const what = `${viewPath(entry)}/${compressed.file}`;
    const bytes = await readBlob(this.#place, compressed.digest);
    const plain = await plainBytes({ name: what, bytes });
    if (plain === undefined || sha256(plain) !== (stripped ?? digest))
      this.#broken(
        "artifacts",
        "STORE_CORRUPT",
        `${what} is not the module that the index lists, compressed`,
      );
  }

  async #signature(entry: IndexEntry, module: ListedModule, signature: Sidecar): Promise<void> {
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
    const [, generation] = VOUCHES.exec(path) ?? [];
    if (generation !== undefined && trusts.length === 0) return undefined;
    if (generation !== undefined) return this.#strangeVouch(path, `sha256:${generation}`, trusts);
    const isRoot = version !== undefined && Number(version) <= (trusts.at(-1)?.version ?? Number(version));
    if (isRoot || MARKS.test(path) || path === HEAD_PATH || TILES.test(path) || PROOFS.test(path))
      return undefined;
    return "belongs to nothing";
  }

  /** The note for a generation that was published once, or lost a race. */
  async #strangeVouch(path: string, digest: Digest, trusts: readonly Trust[]): Promise<string | undefined> {
    const note = await this.#holds("other files", () => readNoteAt(this.#place, path, VOUCH_LIMIT_BYTES));
    if (note === undefined) return undefined;
    const found = trusts.map((trust) => {
      try {
        return verifiedVouch(trust, note, path).generation.digest === digest;
      } catch (thrown) {
        if (toFarmError(thrown).blame !== "integrity") throw thrown;
        return undefined;
      }
    });
    if (found.includes(true)) return undefined;
    return found.includes(false) ? "is of another generation" : "is of no key that a root names";
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

type ListedModule = IndexEntry["modules"][number];
type Sidecar = NonNullable<ListedModule["signatures"]>[number];

interface Hashed {
  readonly digest: Digest;
  readonly size: number;
}

const BLOBS = /^(?:blobs|private)\/sha256\/[0-9a-f]{2}\/([0-9a-f]{64})$/;
const HEADS = /^metadata\/heads\/(\d+)$/;
const VOUCHES = /^metadata\/generations\/([0-9a-f]{64})$/;
const ROOTS = /^metadata\/root\/(\d+)$/;
/** Of a shorter log; what the log needs of them is compared with what was decided. */
const TILES = /^metadata\/log\/tile\/(?:\d|entries)\/(?:x\d{3}\/)*\d{3}(?:\.p\/\d{1,3})?$/;
/** Of writers that are at work. */
/** Of promotions that no head names yet. */
const PROOFS = /^metadata\/log\/proof\/[0-9a-f]{64}\.tlog-proof$/;
const MARKS = /^marks\/[0-9a-f]{16}\.json$/;

/** By whichever root: keys of logs change, and what was signed before does not. @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED */
function trustedCheckpoint(trusts: readonly Trust[], note: SignedNote, what: string): Checkpoint {
  let fault: unknown;
  for (const trust of trusts.toReversed())
    try {
      return signedCheckpoint(trust, note, what);
    } catch (thrown) {
      fault ??= thrown;
    }
  throw fault;
}

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
