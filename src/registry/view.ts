/**
 * The view: stable artifacts at the original pipeline's paths, for people and plain HTTP clients. Whoever publishes writes
 * what is otherwise than before, and looks afterwards whether somebody published meanwhile: who writes last writes what is
 * newest. A mark says which places are being written, so that the next writer does what a killed one left.
 */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { FarmError, toFarmError } from "../base/error.ts";
import { hexOf, sha256, toDocument } from "../base/json.ts";
import { heldTo } from "../check/subject.ts";
import { isPathSegment, PathSegment } from "../kernel/path-segment.ts";
import { OutputPath } from "../matrix/element.ts";
import { manifestFrom } from "./artifact.ts";
import { readWritten } from "./blobs.ts";
import { AMBIGUOUS_NAMES, CLIENT_VIEW, type ClientFile, clientFiles } from "./client-view.ts";
import type { Head, IndexEntry, Manifest, Published } from "./documents.ts";
import { readPublished } from "./generations.ts";
import { parseStored } from "./stored.ts";
import { ageOf } from "./stores/clock.ts";
import type { Store } from "./stores/store.ts";
import { sidecarName, viewPath } from "./view-path.ts";

const Place = z.object({ driver: PathSegment, output: OutputPath });
type ArtifactPlace = z.infer<typeof Place>;
/** Of an artifact, or of a single file of the view for others' clients. */
type Place = ArtifactPlace | { readonly file: string };

/** Below the view for others' clients: nothing else is written or removed because a mark names it. */
const ClientPath = z.string().refine(isClientPath, { error: "is no file of the view for clients" });

/** Places of the view that a writer is working on. */
const Mark = z.object({
  schema: z.literal("kmodfarm.viewMark/1"),
  places: z.array(Place),
  files: z.array(ClientPath).default([]),
});
const MARKS = "marks";
/** Whose mark is older than that does not live any more. */
const MARK_LIMIT_MS = 15 * 60_000;
/** Of 100,000 places. */
const MARK_LIMIT_BYTES = 16 << 20;

function isClientPath(path: string): boolean {
  const [top, ...names] = path.split("/");
  return (
    path === AMBIGUOUS_NAMES || (top === CLIENT_VIEW && names.length === 4 && names.every(isPathSegment))
  );
}

/** A note in the store of the places that a writer is about to write, before it publishes what is there. */
export interface Announcement {
  readonly path: string;
  readonly places: readonly Place[];
}

/** The mark of a generation's writer: whoever finds the generation finds it. */
function markPath({ digest }: Head): string {
  return `${MARKS}/${hexOf(digest).slice(0, 16)}.json`;
}

/** Says which places a generation will have otherwise, before it is published. */
export function announce(store: Store, head: Head, places: readonly Place[]): Promise<Announcement> {
  return announceAt(store, markPath(head), places);
}

async function announceAt(store: Store, path: string, places: readonly Place[]): Promise<Announcement> {
  const [artifacts, files] = [places.filter((one) => "output" in one), places.flatMap(fileOf)];
  const mark: z.infer<typeof Mark> = { schema: "kmodfarm.viewMark/1", places: artifacts, files };
  if (places.length > 0) await store.write(path, toDocument(mark));
  return { path, places };
}

/** What the writer of a generation announced; undefined where all of it is shown, which stays so once it was seen. */
export async function readAnnounced(store: Store, head: Head): Promise<Announcement | undefined> {
  const path = markPath(head);
  const note = `everything of generation ${head.digest} is shown\n`;
  if ((await store.kept?.read(sha256(note))) !== undefined) return undefined;
  const bytes = await store.read(path, MARK_LIMIT_BYTES);
  if (bytes !== undefined) return { path, places: placesIn(parseStored(store, path, bytes, Mark)) };
  await store.kept?.keep(sha256(note), Buffer.from(note));
  return undefined;
}

function placesIn({ places, files }: z.infer<typeof Mark>): Place[] {
  return [...places, ...files.map((file) => ({ file }))];
}

function pathOf(place: Place): string {
  return "file" in place ? place.file : viewPath(place);
}

function fileOf(place: Place): string[] {
  return "file" in place ? [place.file] : [];
}

/** Whether a registry has the view for others' clients. */
export async function hasClientView(store: Pick<Store, "read">): Promise<boolean> {
  return (await store.read(AMBIGUOUS_NAMES)) !== undefined;
}

/** Places that are otherwise than in any of some states. */
export function placesOf(before: readonly Published[], after: Published): Place[] {
  const others = before.flatMap((state) => otherPlaces(state, after));
  return [...new Map(others.map((place) => [viewPath(place), place])).values()];
}

/** Files of the view for others' clients that are otherwise than before; all of them where it was not there. */
export function clientPlacesOf(before: Published | undefined, after: Published): Place[] {
  const [then, now] = [before === undefined ? undefined : clientFiles(before), clientFiles(after)];
  const gone = [...(then?.keys() ?? [])].filter((file) => !now.has(file));
  const other = [...now].filter(([file, { digest }]) => then?.get(file)?.digest !== digest);
  return [...gone, ...other.map(([file]) => file)].map((file) => ({ file }));
}

/**
 * Shows the announced places as they are in a state, or in one that was published meanwhile, and does what killed writers
 * left undone. Safe to repeat. Returns how many artifacts it wrote, and the newest state, by which it was done.
 */
export async function showAnnounced(
  store: Store,
  { path: mark, places: own }: Announcement,
  state: Published,
): Promise<{ readonly written: number; readonly newest: Published }> {
  const left = await leftMarks(store, mark);
  const places = new Map([...own, ...left.flatMap((one) => one.places)].map((one) => [pathOf(one), one]));
  const hasFiles = [...places.values()].some((one) => "file" in one);
  let [shown, written, todo] = [state, 0, [...places.values()]];
  const faults = new Map<string, FarmError>();
  while (todo.length > 0) {
    const stable = stablePlaces(shown);
    const clients = hasFiles ? clientFiles(shown) : new Map<string, ClientFile>();
    for (const place of todo) {
      faults.delete(pathOf(place));
      try {
        if ("file" in place) await showFile(store, place.file, clients.get(place.file));
        else if (await showPlace(store, place, stable.get(viewPath(place)))) written++;
      } catch (thrown) {
        // A file in the way at one place does not affect the others.
        const error = toFarmError(thrown);
        if (error.blame !== "integrity") throw error;
        faults.set(pathOf(place), error);
      }
    }
    const newest = await readPublished(store, shown);
    const since: Place[] = otherPlaces(shown, newest);
    if (hasFiles) since.push(...clientPlacesOf(shown, newest));
    todo = since.filter((place) => places.has(pathOf(place)));
    shown = newest;
  }
  const isWrong = (place: Place) => faults.has(pathOf(place));
  for (const { path, places: its, isDead } of left)
    if (isDead && !its.some(isWrong)) await store.remove(path);
  // What another writer left, and cannot be shown, is nothing of this one's.
  const [first, ...others] = own.flatMap((place) => faults.get(pathOf(place)) ?? []);
  if (first !== undefined) {
    const more = others.length > 0 ? `; and ${others.length} more such places` : "";
    throw new FarmError(first.code, { detail: `${first.message}${more}`, at: first.at, cause: first });
  }
  if (own.length > 0) await store.remove(mark);
  return { written, newest: shown };
}

/**
 * Shows some artifacts again as the newest state has them: what was stable when a repair began may be withdrawn since. `known`
 * is what was read before. @throws FarmError STORE_CORRUPT
 */
export async function showAgain(
  store: Store,
  artifacts: readonly ArtifactPlace[],
  known: Published,
): Promise<void> {
  const places = artifacts.map(({ driver, output }) => ({ driver, output }));
  await showPlaces(store, places, await readPublished(store, known));
}

/** Shows what was published since a state by which somebody has written to the view, or removed something there. */
export async function catchUp(store: Store, known: Published): Promise<void> {
  const newest = await readPublished(store, known);
  if (newest.head?.digest === known.head?.digest) return;
  const places: Place[] = placesOf([known], newest);
  if (await hasClientView(store)) places.push(...clientPlacesOf(known, newest));
  await showPlaces(store, places, newest);
}

/** Under a mark of its own: the writer of a generation may be busy with his. */
async function showPlaces(store: Store, places: readonly Place[], state: Published): Promise<void> {
  const path = `${MARKS}/${randomBytes(8).toString("hex")}.json`;
  try {
    await showAnnounced(store, await announceAt(store, path, places), state);
  } catch (thrown) {
    // All was tried, and what cannot be shown is as little shown next time: nobody need be reminded.
    if (toFarmError(thrown).blame === "integrity") await store.remove(path);
    throw thrown;
  }
}

/** Writes a file of the view for others' clients, or takes away what is there. */
async function showFile(store: Store, path: string, file: ClientFile | undefined): Promise<void> {
  if (file === undefined) await store.remove(path);
  else await store.write(path, await bytesOfClientFile(store, file));
}

/** @throws FarmError STORE_CORRUPT */
export async function bytesOfClientFile(store: Store, file: ClientFile): Promise<Buffer> {
  return file.kind === "names" ? Buffer.from(file.text) : readWritten(store, file.digest);
}

/** Writes an artifact where it is shown, or takes away what is shown there. Returns whether it wrote one. */
async function showPlace(
  store: Store,
  place: ArtifactPlace,
  entry: IndexEntry | undefined,
): Promise<boolean> {
  const folder = viewPath(place);
  if (entry === undefined) {
    await store.removeAll(folder);
    return false;
  }
  const manifest = await readWritten(store, entry.manifest);
  refuseOthers(entry, manifestFrom(store, entry, manifest));
  const shown = await store.list(folder);
  const files = filesOf(entry);
  for (const [file, digest] of files) {
    const bytes = digest === entry.manifest ? manifest : await readWritten(store, digest);
    await store.write(`${folder}/${file}`, bytes);
  }
  const names = new Set(files.map(([file]) => file.split("/")[0]));
  for (const stray of shown) if (!names.has(stray)) await store.removeAll(`${folder}/${stray}`);
  return true;
}

/** Places at which another artifact is stable, or none any more. */
function otherPlaces(before: Published, after: Published): ArtifactPlace[] {
  const [then, now] = [stablePlaces(before), stablePlaces(after)];
  return [
    ...[...now].filter(([path, entry]) => !isShownAlike(entry, then.get(path))),
    ...[...then].filter(([path]) => !now.has(path)),
  ].map(([, { driver, output }]) => ({ driver, output }));
}

/** The manifest names everything but statements and signatures: these may come later. */
function isShownAlike(a: IndexEntry, b: IndexEntry | undefined): boolean {
  const besideManifest = ({ modules, provenance = [], rebuilds = [] }: IndexEntry) =>
    [provenance, rebuilds, ...modules.map(({ signatures = [] }) => signatures)]
      .map((files) => files.map(({ digest }) => digest).join())
      .join(";");
  return b !== undefined && a.manifest === b.manifest && besideManifest(a) === besideManifest(b);
}

function stablePlaces({ indices }: Published): Map<string, IndexEntry> {
  return new Map(indices.flatMap(({ stable }) => stable.map((entry) => [viewPath(entry), entry])));
}

/** Marks of others. One that was not touched for long is of a writer that does not live any more. */
async function leftMarks(store: Store, own: string) {
  const paths = (await store.list(MARKS)).map((name) => `${MARKS}/${name}`);
  const marks = paths.map(async (path) => {
    if (path === own) return [];
    const [bytes, facts] = [await store.read(path, MARK_LIMIT_BYTES), await store.facts(path)];
    // Its writer is done.
    if (bytes === undefined || facts === undefined) return [];
    const places = placesIn(parseStored(store, path, bytes, Mark));
    return [{ path, places, isDead: (await ageOf(store, facts)) > MARK_LIMIT_MS }];
  });
  return (await Promise.all(marks)).flat();
}

/** Nodes get nothing that its own manifest contradicts. @throws FarmError STORE_CORRUPT */
function refuseOthers(entry: IndexEntry, { verdicts }: Manifest): void {
  const held = heldTo(entry.modules, verdicts);
  const other = held.find((one, index) => one.verdict === "fail" && verdicts[index]?.verdict !== "fail");
  if (other === undefined) return;
  throw new FarmError("STORE_CORRUPT", {
    detail: `${viewPath(entry)} is stable, but its verdict ${other.check} is about different bytes`,
  });
}

/** Every file that the view has of a stable artifact, with its digest. */
export function viewFiles(entry: IndexEntry): [path: string, digest: string][] {
  return filesOf(entry).map(([file, digest]) => [`${viewPath(entry)}/${file}`, digest]);
}

/** What admins enrol, once for all modules. */
function certificatesOf(modules: IndexEntry["modules"]): [string, string][] {
  const all = modules.flatMap(({ signatures = [] }) => signatures);
  return [...new Map(all.map(({ keyId, certificate }) => [`${keyId}.der`, certificate]))];
}

/** What a node may want of an artifact: `.ko` is what it inserts, without debugging information if there is such a one. */
function filesOf({
  modules,
  files = [],
  log,
  provenance = [],
  rebuilds = [],
  sbom,
  manifest,
}: IndexEntry): [string, string][] {
  return [
    ...modules.flatMap(({ name, digest, stripped, compressed, signatures = [] }): [string, string][] => [
      [`${name}.ko`, stripped ?? digest],
      ...(compressed === undefined ? [] : [[compressed.file, compressed.digest] as [string, string]]),
      ...signatures.map((one): [string, string] => [sidecarName(`${name}.ko`, one.keyId), one.digest]),
    ]),
    ...certificatesOf(modules),
    ...files.map(({ path, digest }): [string, string] => [`files/${path}`, digest]),
    ["build.log", log],
    ...(sbom === undefined ? [] : [["sbom.cdx.json", sbom.digest] as [string, string]]),
    ...provenance.map(({ digest }, at): [string, string] => [
      `provenance${at === 0 ? "" : `.${at + 1}`}.sigstore.json`,
      digest,
    ]),
    ...rebuilds.map(({ digest }, at): [string, string] => [`rebuild.${at + 1}.sigstore.json`, digest]),
    // Last: who sees the manifest finds everything that it names.
    ["manifest.json", manifest],
  ];
}
