/**
 * Generations: one complete state of the registry after another, as documents. A generation is published as soon as its
 * document is there, so the newest is the last of an unbroken row; `channels/stable` only says where to begin to look.
 */
import PQueue from "p-queue";
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import { sha256, toDocument } from "../base/json.ts";
import { AnnotatedCatalog, describedBy } from "../catalog/annotated.ts";
import { Matrix } from "../matrix/element.ts";
import { blobPath } from "./blobs.ts";
import {
  Attempts,
  Channel,
  Decisions,
  Generation,
  type Head,
  Index,
  indexName,
  NOTHING_TOLD,
  type Part,
  type Published,
  Roots,
  WholeGeneration,
} from "./documents.ts";
import { unpacked } from "./packed.ts";
import { assemble, NOTHING_PUBLISHED, partsOf, typeOfPart } from "./parts.ts";
import type { RegistryReader } from "./reader.ts";
import { corruptStore, parseStored } from "./stored.ts";
import { type Store, sizeLimitOf } from "./stores/store.ts";

export const POINTER = "channels/stable";

/** Where generations are read: what cannot list its files needs its pointer. */
export type GenerationPlace = RegistryReader & Partial<Pick<Store, "list" | "kept">>;

function read(place: GenerationPlace, path: string): Promise<Buffer | undefined> {
  return place.read(path, sizeLimitOf(path));
}

const AnyGeneration = z.discriminatedUnion("schema", [Generation, WholeGeneration]);
type AnyGeneration = z.infer<typeof AnyGeneration>;

export interface Found {
  readonly head: Head;
  readonly generation: AnyGeneration;
}

export function generationPath(number: number): string {
  return `generations/${number}/generation.json`;
}

/**
 * What is published now; an empty state before anything was. What `known` has already is not read again, and stays the
 * same objects; without it, the newest generation is looked for from `from` on, which has been published.
 * @throws FarmError STORE_CORRUPT when a file is not the one its digest promises
 */
export async function readPublished(
  store: GenerationPlace,
  known: Published = NOTHING_PUBLISHED,
  from?: Head,
): Promise<Published> {
  const found =
    known.head === null ? await newestGeneration(store, from) : await newestAfter(store, known.head);
  if (found !== undefined) return readGeneration(store, found, known);
  return known.head === null ? NOTHING_PUBLISHED : known;
}

/** A published state without what is known of kernels, and so nothing that could be published upon. */
export type Listing = Omit<
  Published,
  "head" | "parts" | "catalog" | "facts" | "history" | "feeds" | "told" | "editions"
>;

/** What is published now, for commands that only report it: kernels are a third of all that there is to read. */
export async function readListing(store: GenerationPlace): Promise<Listing> {
  const state = await readParts(store, (kind) => !ABOUT_KERNELS.has(kind) && kind !== "told");
  const { matrix, attempts, indices, roots, decisions } = state;
  return { matrix, attempts, indices, roots, decisions };
}

/** What is known of kernels, without what was made for them. */
export type Kernels = Pick<Published, "catalog" | "facts" | "history" | "feeds">;

const ABOUT_KERNELS: ReadonlySet<string> = new Set(["kernels", "facts", "history", "feeds"]);

export async function readKernels(store: GenerationPlace): Promise<Kernels> {
  const state = await readParts(store, (kind) => ABOUT_KERNELS.has(kind) || kind === "sources");
  const { catalog, facts, history: past, feeds } = state;
  return { catalog, facts, history: past, feeds };
}

async function readParts(store: GenerationPlace, isWanted: (kind: string) => boolean): Promise<Published> {
  const found = await newestGeneration(store);
  if (found === undefined) return NOTHING_PUBLISHED;
  return readGeneration(store, found, NOTHING_PUBLISHED, (name) => isWanted(name.split("/")[0] ?? ""));
}

/**
 * One generation of the past, found from parent to parent.
 * @throws FarmError USAGE when there is none of that number, STORE_CORRUPT
 */
export async function readPast(store: GenerationPlace, now: Published, number: number): Promise<Published> {
  for await (const found of history(store, now.head))
    if (found.head.number === number) return readGeneration(store, found, now);
  throw new FarmError("USAGE", {
    detail: `there is no generation ${number}; the newest is ${now.head?.number ?? "none"}`,
  });
}

/** The documents of generations, newest first, as far back as they are kept. */
export async function* history(store: GenerationPlace, from: Head | null): AsyncGenerator<Found> {
  for (let at = from; at !== null; ) {
    const generation = await generationOf(store, at);
    if (generation === undefined) return;
    yield { head: at, generation };
    at = generation.parent;
  }
}

/** The newest generation, looked for from the pointer on, or from another one that has been published. */
export async function newestGeneration(store: GenerationPlace, from?: Head): Promise<Found | undefined> {
  const known = from === undefined ? undefined : await seenGeneration(store, from);
  const first = known ?? (await fromPointer(store));
  return (await newestAfter(store, first?.head ?? null)) ?? first;
}

/** The newest of those that follow a generation; undefined where none does. */
async function newestAfter(store: GenerationPlace, head: Head | null): Promise<Found | undefined> {
  let newest: Found | undefined;
  for (;;) {
    const next = await followerOf(store, newest?.head ?? head);
    if (next === undefined) return newest;
    newest = next;
  }
}

/** @throws FarmError STORE_CORRUPT where a generation is not there any more, or another one is */
export async function requireGeneration(store: GenerationPlace, head: Head): Promise<AnyGeneration> {
  const generation = await generationOf(store, head);
  if (generation !== undefined) return generation;
  throw corruptStore(store, `${generationPath(head.number)} is missing`, generationPath(head.number));
}

/** Moves the pointer to a generation, and on to whatever came after it meanwhile: the last who writes it is right. */
export async function pointTo(store: Store, head: Head): Promise<void> {
  for (let at: Head | undefined = head; at !== undefined; at = (await newestAfter(store, at))?.head)
    await movePointer(store, at);
}

/** Moves the pointer to a generation, for whoever looks afterwards whether another one came. */
export async function movePointer(store: Store, { number, digest }: Head): Promise<void> {
  const pointer: Channel = {
    schema: "kmodfarm.channel/1",
    channel: "stable",
    ...{ generation: number, digest },
  };
  const there = await readPointer(store);
  if (there === undefined || there.generation < number) await store.write(POINTER, toDocument(pointer));
}

async function fromPointer(store: GenerationPlace): Promise<Found | undefined> {
  const pointer = await readPointer(store);
  if (pointer === undefined) return fromNumbers(store);
  const head = { number: pointer.generation, digest: pointer.digest };
  return (await seenGeneration(store, head)) ?? { head, generation: await requireGeneration(store, head) };
}

/** A generation that has been published, from this machine if it was seen before: it never changes. */
async function seenGeneration(store: GenerationPlace, head: Head): Promise<Found | undefined> {
  const { number, digest } = head;
  const bytes = (await store.kept?.read(digest)) ?? (await read(store, generationPath(number)));
  if (bytes === undefined || sha256(bytes) !== digest) return undefined;
  await store.kept?.keep(digest, bytes);
  return { head, generation: numbered(store, number, bytes) };
}

/** A pointer that is lost must not look like a registry that never was: the first generations may be pruned. */
async function fromNumbers(store: GenerationPlace): Promise<Found | undefined> {
  const numbers = ((await store.list?.("generations")) ?? [])
    .filter((name) => /^[1-9]\d{0,8}$/.test(name))
    .map(Number);
  for (const number of numbers.toSorted((a, b) => b - a)) {
    const path = generationPath(number);
    const bytes = await read(store, path);
    if (bytes !== undefined)
      return { head: { number, digest: sha256(bytes) }, generation: parseGeneration(store, path, bytes) };
  }
  return undefined;
}

/** @throws FarmError STORE_CORRUPT for one that is no pointer */
export async function readPointer(store: GenerationPlace): Promise<Channel | undefined> {
  const bytes = await read(store, POINTER);
  return bytes === undefined ? undefined : parseStored(store, POINTER, bytes, Channel);
}

/** What was published on top of a generation. @throws FarmError STORE_CORRUPT for one of another history */
async function followerOf(store: GenerationPlace, head: Head | null): Promise<Found | undefined> {
  const number = (head?.number ?? 0) + 1;
  const path = generationPath(number);
  const bytes = await read(store, path);
  if (bytes === undefined) return undefined;
  const generation = numbered(store, number, bytes);
  if (generation.parent?.digest !== head?.digest)
    throw corruptStore(
      store,
      `${path} does not follow generation ${head?.number ?? "none"} as it is here`,
      path,
    );
  const digest = sha256(bytes);
  await store.kept?.keep(digest, bytes);
  return { head: { number, digest }, generation };
}

async function generationOf(
  store: GenerationPlace,
  { number, digest }: Head,
): Promise<AnyGeneration | undefined> {
  const path = generationPath(number);
  const bytes = await read(store, path);
  if (bytes === undefined) return undefined;
  if (sha256(bytes) !== digest) throw corruptStore(store, `${path} does not match its digest`, path);
  return numbered(store, number, bytes);
}

function numbered(store: GenerationPlace, number: number, bytes: Buffer): AnyGeneration {
  const path = generationPath(number);
  const generation = parseGeneration(store, path, bytes);
  if (generation.number === number) return generation;
  throw corruptStore(store, `${path} is generation ${generation.number}`, path);
}

function parseGeneration(store: GenerationPlace, path: string, bytes: Buffer): AnyGeneration {
  return parseStored(store, path, bytes, AnyGeneration);
}

export async function readGeneration(
  store: GenerationPlace,
  { head, generation }: Found,
  known: Published,
  isWanted: (part: string) => boolean = () => true,
): Promise<Published> {
  if (generation.schema === "kmodfarm.generation/1")
    return { head, parts: {}, ...(await readWhole(store, generation)) };
  const { parts } = generation;
  const unchanged = partsOf(known);
  const wanted = Object.entries(parts).filter(([name]) => isWanted(name));
  const budget = new PartBudget(store);
  const documents = await Promise.all(
    wanted.map(async ([name, part]): Promise<[string, unknown]> => {
      const mine = known.parts[name]?.digest === part.digest ? unchanged.get(name) : undefined;
      return [name, mine === undefined ? await readPart(store, name, part, budget) : mine.document()];
    }),
  );
  for (const [name, document] of documents)
    if (name.startsWith("index/") && name !== `index/${indexName(document as Index)}`)
      throw corruptStore(store, `the part ${name} is the index of ${indexName(document as Index)}`);
  const { content, current } = assemble(new Map(documents));
  const kept = Object.entries(parts).filter(([name]) => current.has(name));
  return { head, parts: Object.fromEntries(kept), ...content };
}

/** A generation of a million artifacts has half of that, unpacked. */
const GENERATION_BYTES = 4 * 1024 ** 3;
const FETCHED_AT_ONCE = 8;

/** What reading all parts of one generation may cost: its author decides how many there are, and what each unpacks to. */
class PartBudget {
  readonly #store: GenerationPlace;
  /** Few are in memory as they come, and one at a time is unpacked. */
  readonly fetching = new PQueue({ concurrency: FETCHED_AT_ONCE });
  readonly unpacking = new PQueue({ concurrency: 1 });
  #left = GENERATION_BYTES;

  constructor(store: GenerationPlace) {
    this.#store = store;
  }

  /** @throws FarmError STORE_CORRUPT */
  take(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0)
      throw corruptStore(this.#store, `the parts of its generation have more than ${GENERATION_BYTES} bytes`);
  }
}

async function readPart(
  store: GenerationPlace,
  name: string,
  { digest }: Part,
  budget: PartBudget,
): Promise<unknown> {
  const path = blobPath(digest);
  const what = `${path} (${name})`;
  return budget.fetching.add(async () => {
    const kept = await store.kept?.read(digest);
    const bytes = kept ?? (await readDigested(store, path, digest, what));
    if (kept === undefined) await store.kept?.keep(digest, bytes);
    return budget.unpacking.add(async () => {
      const document = await unpacked(store, path, bytes, what);
      budget.take(document.length);
      return parseStored(store, path, document, typeOfPart(name), what);
    });
  });
}

/** A generation of an earlier version, whose documents lie below it. */
async function readWhole(store: GenerationPlace, { number, files }: z.infer<typeof WholeGeneration>) {
  const folder = `generations/${number}`;
  const load = <T>(file: string, type: z.ZodType<T>): Promise<T> => {
    const promised = files[file];
    if (promised === undefined) throw corruptStore(store, `${folder} has no ${file}`);
    return readChecked(store, `${folder}/${file}`, promised, type);
  };
  const indices = Object.keys(files)
    .filter((file) => file.startsWith("index/"))
    .toSorted()
    .map(async (file) => {
      const index = await load(file, Index);
      if (`index/${indexName(index)}.json` !== file)
        throw corruptStore(store, `${folder}/${file} is the index of ${indexName(index)}`);
      return index;
    });
  const [catalog, matrix, { attempts }, { roots }, { decisions }] = await Promise.all([
    load("catalog.json", AnnotatedCatalog),
    load("matrix.json", Matrix),
    load("attempts.json", Attempts),
    // The first generations had none.
    "roots.json" in files ? load("roots.json", Roots) : { roots: {} },
    "decisions.json" in files ? load("decisions.json", Decisions) : { decisions: [] },
  ]);
  return {
    ...describedBy(catalog),
    matrix: matrix.elements,
    attempts,
    indices: await Promise.all(indices),
    roots,
    decisions,
    history: [],
    feeds: [],
    told: NOTHING_TOLD,
    editions: [],
  };
}

/** `what` names it for people. */
async function readChecked<T>(
  store: GenerationPlace,
  path: string,
  promised: string,
  type: z.ZodType<T>,
  what = path,
): Promise<T> {
  return parseStored(store, path, await readDigested(store, path, promised, what), type, what);
}

async function readDigested(
  store: GenerationPlace,
  path: string,
  promised: string,
  what: string,
): Promise<Buffer> {
  const bytes = await read(store, path);
  if (bytes === undefined) throw corruptStore(store, `${what} is missing`, path);
  if (sha256(bytes) !== promised) throw corruptStore(store, `${what} does not match its digest`, path);
  return bytes;
}
