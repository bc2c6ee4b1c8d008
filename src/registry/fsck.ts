/**
 * Whether a store holds what it should, and nothing else: documents, blobs, the view. Looks at sizes, or at every byte.
 */
import { FarmError, toFarmError } from "../base/error.ts";
import { HEAD_PATH } from "../provenance/head.ts";
import { writeLogProof } from "../provenance/log-proof.ts";
import { LOG_PLACE, logProofPath, readCheckpointAt } from "../provenance/shown-log.ts";
import { writeNote } from "../provenance/signed-note.ts";
import { isSameHash, type LogState } from "../provenance/trees/rfc6962.ts";
import { blobPath, digestAt } from "./blobs.ts";
import { CLIENT_VIEW, clientFiles } from "./client-view.ts";
import { type Contents, contentsOf, type NamedFile } from "./contents.ts";
import type { IndexEntry, Published } from "./documents.ts";
import { POINTER, pointTo, readPointer } from "./generations.ts";
import { indexTexts } from "./head.ts";
import { logFiles, logOf, promotionsIn, proofIn, stateOf } from "./log.ts";
import { readTrusts } from "./metadata.ts";
import { artifactFiles } from "./repair.ts";
import { headBySerial } from "./serials.ts";
import { proofsOf } from "./sets.ts";
import type { FileFacts, Store } from "./stores/store.ts";
import { bytesOfClientFile, catchUp, showAgain } from "./view.ts";

interface Finding {
  readonly path: string;
  readonly fact: "missing" | "damaged" | "stray";
  /** What names it; nothing names a stray file. */
  readonly by?: string;
  /** What became of it, or what can: from where it can be had again. */
  readonly remedy: "repaired" | "repairable" | "lost" | "leave";
}

export interface FsckReport {
  readonly generation: number;
  readonly files: number;
  readonly findings: readonly Finding[];
  /** Blobs that nothing names: what `prune` removes. */
  readonly unnamed: { readonly files: number; readonly bytes: number };
}

export interface FsckOptions {
  readonly isFull: boolean;
  readonly isRepair: boolean;
  /** Bytes that this machine still has of a file, as far as it can tell: nothing is believed without its digest. */
  readonly copyOf: (file: NamedFile) => Promise<Buffer | undefined>;
}

/** @throws FarmError STORE_CORRUPT where no generation can be found at all, so that it is unknown what should be there */
export async function fsck(store: Store, asked: FsckOptions): Promise<FsckReport> {
  // Generations alone say where the store stands: an unreadable pointer is only in the way.
  if (asked.isRepair)
    await readPointer(store).catch(async (thrown) => {
      if (!(thrown instanceof FarmError) || thrown.code !== "STORE_CORRUPT") throw thrown;
      await store.remove(POINTER);
    });
  const contents = await contentsOf(store, Number.POSITIVE_INFINITY);
  // What was published before is not what nodes should be shown.
  const options = { ...asked, isRepair: asked.isRepair && contents.lost === undefined };
  const there = new Map<string, FileFacts>();
  for await (const file of store.walk("")) there.set(file.path, file);
  const wrong: { readonly file: NamedFile; readonly fact: "missing" | "damaged" }[] = [];
  for (const file of contents.named.values()) {
    const fact = await factOf(store, file, there.get(file.path), options.isFull);
    if (fact !== undefined) wrong.push({ file, fact });
  }
  const findings: Finding[] = [];
  // The view is written from blobs: these first.
  for (const { file, fact } of wrong.filter(({ file: { path } }) => !isShown(path)))
    findings.push({
      path: file.path,
      fact,
      by: file.by,
      remedy: await restored(store, file, contents, options),
    });
  findings.push(...(await shownAgain(store, wrong, contents.state, options)));
  if (contents.lost !== undefined)
    findings.push({ path: contents.lost.factAbout(store.place), fact: "missing", remedy: "lost" });
  for (const fault of contents.faults)
    if (!findings.some(({ path }) => path === fault.at.path))
      findings.push({
        path: fault.factAbout(store.place),
        fact: "damaged",
        remedy: fault.at.path === HEAD_PATH ? await headAgain(store, options) : "lost",
      });
  const others = [...there.values()].filter(({ path }) => !contents.named.has(path));
  // If not everything could be read, it is unknown what is named.
  if (contents.faults.length === 0 && contents.lost === undefined)
    for (const { path } of others.filter((file) => isStray(file.path, contents)))
      findings.push({ path, fact: "stray", remedy: await removed(store, path, options) });
  // All of this took a while, and went by the state that was read first.
  if (options.isRepair && contents.state.head !== null) await catchUp(store, contents.state);
  const unnamed = others.filter(({ path }) => isUnnamed(path, contents));
  return {
    generation: contents.state.head?.number ?? 0,
    files: contents.named.size,
    findings,
    unnamed: { files: unnamed.length, bytes: unnamed.reduce((sum, { size }) => sum + size, 0) },
  };
}

/** Shows nodes again the newest head, which lies under its serial too. */
async function headAgain(store: Store, { isRepair }: FsckOptions): Promise<Finding["remedy"]> {
  const last = await headBySerial(store).catch(() => undefined); // What is wrong with that one cannot be repaired here.
  if (last === undefined) return "lost";
  if (!isRepair) return "repairable";
  await store.write(HEAD_PATH, writeNote(last.note));
  return "repaired";
}

function isShown(path: string): boolean {
  return path.startsWith("view/");
}

function isForClients(path: string): boolean {
  return path.startsWith(`${CLIENT_VIEW}/`);
}

/** What is in a view is ours to take away; the owner of anything else is unknown. */
async function removed(store: Store, path: string, { isRepair }: FsckOptions): Promise<Finding["remedy"]> {
  if (!isShown(path) && !isForClients(path)) return "leave";
  if (!isRepair) return "repairable";
  await store.remove(path);
  return "repaired";
}

async function factOf(
  store: Store,
  { path, digest, size }: NamedFile,
  facts: FileFacts | undefined,
  isFull: boolean,
): Promise<"missing" | "damaged" | undefined> {
  if (facts === undefined) return "missing";
  if (size !== undefined && facts.size !== size) return "damaged";
  if (!isFull || digest === undefined) return undefined;
  return (await digestAt(store, path)) === digest ? undefined : "damaged";
}

/** Writes a file again: the pointer from what it points to, a blob from the view or from what this machine still has. */
async function restored(
  store: Store,
  file: NamedFile,
  { named, state }: Contents,
  { isRepair, copyOf }: FsckOptions,
): Promise<Finding["remedy"]> {
  if (file.path === POINTER && state.head !== null) {
    if (isRepair) await pointTo(store, state.head);
    return isRepair ? "repaired" : "repairable";
  }
  const bytes =
    (await fromLog(store, file, state)) ??
    fromSets(file, state) ??
    (await fromClientView(store, file, state)) ??
    (await fromView(store, file, named)) ??
    (await fromIndex(store, file, state)) ??
    (await fromHere(store, file)) ??
    (await copyOf(file));
  if (bytes === undefined) return "lost";
  if (!isRepair) return "repairable";
  await store.remove(file.path);
  await store.write(file.path, bytes);
  return "repaired";
}

/** The log follows from what was decided; proofs are by its checkpoint, if that is of just this log. */
async function fromLog(store: Store, { path }: NamedFile, state: Published): Promise<Buffer | undefined> {
  if (!path.startsWith(LOG_PLACE)) return undefined;
  const log = logOf(state);
  for (const file of logFiles(log)) if (file.path === path) return file.bytes;
  const [, index] = [...promotionsIn(state)].find(([manifest]) => logProofPath(manifest) === path) ?? [];
  const trust = (await readTrusts(store)).at(-1);
  const found = trust?.roles.log === undefined ? undefined : await readCheckpointAt(store, trust);
  if (index === undefined || found === undefined || !isSame(found.checkpoint, await stateOf(log)))
    return undefined;
  return Buffer.from(writeLogProof(await proofIn(log, index, found.note)));
}

function isSame(a: LogState, b: LogState): boolean {
  return a.size === b.size && isSameHash(a.root, b.root);
}

/** Proofs of a set follow from its leaves. */
function fromSets({ digest }: NamedFile, { editions }: Published): Buffer | undefined {
  for (const one of proofsOf(editions)) if (one.digest === digest) return one.proof;
  return undefined;
}

/** The view for others' clients follows from what is stable. */
async function fromClientView(
  store: Store,
  { path, digest }: NamedFile,
  state: Published,
): Promise<Buffer | undefined> {
  const file = isForClients(path) ? clientFiles(state).get(path) : undefined;
  if (file === undefined) return undefined;
  if (file.kind === "module" && (await digestAt(store, blobPath(file.digest))) !== digest) return undefined;
  return bytesOfClientFile(store, file);
}

async function fromView(
  store: Store,
  { path, digest }: NamedFile,
  named: ReadonlyMap<string, NamedFile>,
): Promise<Buffer | undefined> {
  if (digest === undefined || path !== blobPath(digest)) return undefined;
  for (const other of named.values())
    if (other.digest === digest && other.path !== path && (await digestAt(store, other.path)) === digest)
      return store.read(other.path);
  return undefined;
}

/** Parts of generations that this machine has read before. */
async function fromHere(store: Store, { digest }: NamedFile): Promise<Buffer | undefined> {
  return digest === undefined ? undefined : store.kept?.read(digest);
}

/** The node index follows from what is published. */
async function fromIndex(store: Store, { digest }: NamedFile, state: Published): Promise<Buffer | undefined> {
  const text = digest === undefined ? undefined : (await indexTexts(store, state)).get(digest);
  return text === undefined ? undefined : Buffer.from(text);
}

/** Shows again what the view has not as it should, from blobs that are whole by now. */
async function shownAgain(
  store: Store,
  wrong: readonly { readonly file: NamedFile; readonly fact: "missing" | "damaged" }[],
  state: Published,
  { isRepair }: FsckOptions,
): Promise<Finding[]> {
  const places = Map.groupBy(
    wrong.filter(({ file }) => isShown(file.path)),
    ({ file }) => file.by,
  );
  const findings: Finding[] = [];
  for (const [by, files] of places) {
    const entry = files[0]?.file.entry;
    let isWhole = entry !== undefined && (await hasAll(store, entry));
    if (isWhole && isRepair && entry !== undefined)
      try {
        for (const { file } of files) await store.remove(file.path);
        await showAgain(store, [entry], state);
      } catch (thrown) {
        // What is in the way of one artifact is not in that of the others.
        if (toFarmError(thrown).blame !== "integrity") throw thrown;
        isWhole = false;
      }
    const remedy = isWhole ? (isRepair ? "repaired" : "repairable") : "lost";
    findings.push(...files.map(({ file: { path }, fact }) => ({ path, fact, by, remedy }) as const));
  }
  return findings;
}

/** Whether the blobs of an artifact are there, byte by byte. */
async function hasAll(store: Store, entry: IndexEntry): Promise<boolean> {
  for (const { digest } of artifactFiles(entry))
    if ((await digestAt(store, blobPath(digest))) !== digest) return false;
  return true;
}

/** A blob that nothing names is no fault: writers that lost leave some, and prune takes them away. */
function isUnnamed(path: string, { named, inputs }: Contents): boolean {
  return /^blobs\/sha256\/[0-9a-f]{2}\/[0-9a-f]{64}$/.test(path) && !named.has(path) && !inputs.has(path);
}

/** Packages that may not be passed on, marks of writers, earlier heads, notes for generations, and what an earlier version left are known, and not looked at. */
const KNOWN =
  /^(metadata\/heads\/\d+|metadata\/generations\/[0-9a-f]{64}|metadata\/log\/tile\/\w+\/[x\d/]+(\.p\/\d+)?|metadata\/log\/proof\/[0-9a-f]{64}\.tlog-proof|private\/sha256\/[0-9a-f]{2}\/[0-9a-f]{64}|marks\/[0-9a-f]{16}\.json|channels\/candidate|generations\/\d+\/.+)$/;

function isStray(path: string, contents: Contents): boolean {
  return (
    !contents.named.has(path) && !contents.inputs.has(path) && !isUnnamed(path, contents) && !KNOWN.test(path)
  );
}
