/**
 * The view: stable artifacts at the original pipeline's paths, for people and plain HTTP clients. Whoever publishes writes
 * what is otherwise than before, and looks afterwards whether somebody published meanwhile: who writes last writes what is
 * newest. A mark says which places are being written, so that the next writer does what a killed one left.
 */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { FarmError, toFarmError } from "../base/error.ts";
import { toDocument } from "../base/json.ts";
import { heldTo } from "../check/subject.ts";
import { PathSegment } from "../kernel/path-segment.ts";
import { OutputPath } from "../matrix/element.ts";
import { readManifest } from "./artifact.ts";
import { readBlob } from "./blobs.ts";
import type { IndexEntry, Published } from "./documents.ts";
import { readPublished } from "./generations.ts";
import { parseStored } from "./stored.ts";
import type { Store } from "./stores/store.ts";
import { sidecarName, viewPath } from "./view-path.ts";

const Place = z.object({ driver: PathSegment, output: OutputPath });
type Place = z.infer<typeof Place>;

/** Places of the view that a writer is working on. */
const Mark = z.object({ schema: z.literal("kmodfarm.viewMark/1"), places: z.array(Place) });
const MARKS = "marks";
/** Whose mark is older than that does not live any more. */
const MARK_LIMIT_MS = 15 * 60_000;

/** A note in the store of the places that a writer is about to write, before it publishes what is there. */
export interface Announcement {
  readonly path: string;
  readonly places: readonly Place[];
}

/** Says which places will be otherwise than in any of some states; the same `path` again says it anew. */
export async function announce(
  store: Store,
  before: readonly Published[],
  after: Published,
  path = `${MARKS}/${randomBytes(8).toString("hex")}.json`,
): Promise<Announcement> {
  const others = before.flatMap((state) => otherPlaces(state, after));
  const places = [...new Map(others.map((place) => [viewPath(place), place])).values()];
  if (places.length > 0) await store.write(path, toDocument({ schema: "kmodfarm.viewMark/1", places }));
  return { path, places };
}

/**
 * Shows the announced places as they are in a state, or in one that was published meanwhile, and does what killed writers
 * left undone. Safe to repeat. Returns how many artifacts it wrote.
 */
export async function showAnnounced(
  store: Store,
  { path: mark, places: own }: Announcement,
  state: Published,
): Promise<number> {
  const left = (await leftMarks(store)).filter(({ path }) => path !== mark);
  const places = new Map([...own, ...left.flatMap((one) => one.places)].map((one) => [viewPath(one), one]));
  let [shown, written, todo] = [state, 0, [...places.values()]];
  const faults: FarmError[] = [];
  while (todo.length > 0) {
    const stable = stablePlaces(shown);
    for (const place of todo)
      try {
        if (await showPlace(store, place, stable.get(viewPath(place)))) written++;
      } catch (thrown) {
        // A file in the way at one place does not affect the others.
        const error = toFarmError(thrown);
        if (error.blame !== "integrity") throw error;
        faults.push(error);
      }
    const newest = await readPublished(store, shown);
    todo = otherPlaces(shown, newest).filter((place) => places.has(viewPath(place)));
    shown = newest;
  }
  const [first] = faults;
  if (first !== undefined) {
    const more = faults.length > 1 ? `; and ${faults.length - 1} more such places` : "";
    throw new FarmError(first.code, { detail: `${first.message}${more}`, at: first.at, cause: first });
  }
  if (own.length > 0) await store.remove(mark);
  for (const { path, isDead } of left) if (isDead) await store.remove(path);
  return written;
}

/** Shows a stable artifact whose files are all in the store. @throws FarmError STORE_CORRUPT */
export async function showStable(store: Store, entry: IndexEntry): Promise<void> {
  await showPlace(store, entry, entry);
}

/** Writes an artifact where it is shown, or takes away what is shown there. Returns whether it wrote one. */
async function showPlace(store: Store, place: Place, entry: IndexEntry | undefined): Promise<boolean> {
  const folder = viewPath(place);
  if (entry === undefined) {
    await store.remove(folder);
    return false;
  }
  await refuseOthers(store, entry);
  const shown = await store.list(folder);
  const files = filesOf(entry);
  for (const [file, digest] of files) await store.write(`${folder}/${file}`, await readBlob(store, digest));
  const names = new Set(files.map(([file]) => file.split("/")[0]));
  for (const stray of shown) if (!names.has(stray)) await store.remove(`${folder}/${stray}`);
  return true;
}

/** Places at which another artifact is stable, or none any more. */
function otherPlaces(before: Published, after: Published): Place[] {
  const [then, now] = [stablePlaces(before), stablePlaces(after)];
  return [
    ...[...now].filter(([path, entry]) => !isShownAlike(entry, then.get(path))),
    ...[...then].filter(([path]) => !now.has(path)),
  ].map(([, { driver, output }]) => ({ driver, output }));
}

/** The manifest names everything but statements and signatures: these may come later. */
function isShownAlike(a: IndexEntry, b: IndexEntry | undefined): boolean {
  const besideManifest = ({ modules, provenance = [] }: IndexEntry) =>
    [provenance, ...modules.map(({ signatures = [] }) => signatures)]
      .map((files) => files.map(({ digest }) => digest).join())
      .join(";");
  return b !== undefined && a.manifest === b.manifest && besideManifest(a) === besideManifest(b);
}

function stablePlaces({ indices }: Published): Map<string, IndexEntry> {
  return new Map(indices.flatMap(({ stable }) => stable.map((entry) => [viewPath(entry), entry])));
}

/** Marks of others. One that was not touched for long is of a writer that does not live any more. */
async function leftMarks(store: Store) {
  const names = await store.list(MARKS);
  if (names.length === 0) return [];
  const marks = names.map(async (name) => {
    const path = `${MARKS}/${name}`;
    const [bytes, facts] = [await store.read(path), await store.facts(path)];
    // Its writer is done.
    if (bytes === undefined || facts === undefined) return [];
    const { places } = parseStored(store, path, bytes, Mark);
    return [{ path, places, isDead: Date.now() - facts.modified.getTime() > MARK_LIMIT_MS }];
  });
  return (await Promise.all(marks)).flat();
}

/** Nodes get nothing that its own manifest contradicts. @throws FarmError STORE_CORRUPT */
async function refuseOthers(store: Store, entry: IndexEntry): Promise<void> {
  const { verdicts } = await readManifest(store, entry);
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
function filesOf({ modules, files = [], log, provenance = [], manifest }: IndexEntry): [string, string][] {
  return [
    ...modules.flatMap(({ name, digest, stripped, compressed, signatures = [] }): [string, string][] => [
      [`${name}.ko`, stripped ?? digest],
      ...(compressed === undefined ? [] : [[compressed.file, compressed.digest] as [string, string]]),
      ...signatures.map((one): [string, string] => [sidecarName(`${name}.ko`, one.keyId), one.digest]),
    ]),
    ...certificatesOf(modules),
    ...files.map(({ path, digest }): [string, string] => [`files/${path}`, digest]),
    ["build.log", log],
    ...provenance.map(({ digest }, at): [string, string] => [
      `provenance${at === 0 ? "" : `.${at + 1}`}.sigstore.json`,
      digest,
    ]),
    // Last: who sees the manifest finds everything that it names.
    ["manifest.json", manifest],
  ];
}
