/**
 * The local cache as a whole: rooms (`inputs`, `trees`, `roots`, …) of entries that are made once, used often, and
 * may be removed whenever they are not in use. Least recently used goes first. Only what a worker was asked for stays.
 */
import {
  chmod,
  lstat,
  lutimes,
  mkdir,
  opendir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { FarmError, isErrno } from "./error.ts";
import { ownUsersAnd, strangerAbove, strangerAt } from "./own-place.ts";
import { ownerOf, processName } from "./process-name.ts";
import { entriesOf, exists, makePlace, type Scratch, scratchOwners } from "./scratch.ts";
import { removeTree } from "./strange-tree.ts";

export interface CacheEntry {
  readonly room: string;
  readonly name: string;
  /** What it takes of the disk. */
  readonly sizeBytes: number;
  readonly lastUse: Date;
}

/**
 * Marks a directory as a cache, for us and for backup programs (bford.info/cachedir). Every directory
 * beside it is a room then, whichever part of kmodfarm made it.
 */
const TAG = "CACHEDIR.TAG";
const TAG_TEXT = `Signature: 8a477f597d28d172789f06886806bc55
# This is a cache of kmodfarm, and may be removed when none is running.
`;
/** Rooms of caches that were made before there was a tag, or are brought to where none is yet. */
const UNTAGGED_ROOMS: ReadonlySet<string> = new Set([
  ...["attempts", "boot", "git", "indices", "inputs", "loads", "rebuilds", "remembered"],
  ...["roots", "sources", "toolchains", "trees", "unfinished", "verified", "worked"],
]);
/** Rooms of what others work on and bring back: it cannot be made again, and whoever put it there removes it. */
const UNFINISHED: ReadonlySet<string> = new Set(["orders"]);
/** What a file system of its own has at its top. */
const LOST_FOUND = "lost+found";
/** Rooms of large trees that never change once they are made: their sizes are remembered. */
const MEASURED_ONCE = ["roots", "trees"];

/** What `evict` did, or why it did nothing. */
export type Eviction =
  | {
      readonly kind: "done";
      readonly evicted: readonly CacheEntry[];
      readonly freedBytes: number;
      readonly keptBytes: number;
    }
  /** Another process works in this cache; the last one to end evicts. */
  | { readonly kind: "busy"; readonly process: string }
  /** The directory holds other things too, so nothing in it is taken for ours. */
  | { readonly kind: "shared"; readonly stranger: string };

/** Temporary files of living processes, each named after its owner; no room. */
const TEMPORARY = "tmp";
const EVICTING = "evicting";
const GATE_POLL_MS = 50;

/**
 * Makes a cache, or takes one over. Only this user may enter it: a package or a root in it may hold programs that are
 * dangerous in other hands. What is in it is believed, and removed when it is old, so it must be a cache, and must belong to
 * this user, to root, or to an owner of the paths in `trusts`.
 * @throws FarmError PLACE_UNUSABLE
 */
export async function openCache(cache: string, trusts: readonly string[] = []): Promise<void> {
  await makePlace(cache);
  await requireCache(cache, trusts);
  // Another process may be faster.
  await writeFile(join(cache, TAG), TAG_TEXT, { flag: "wx" }).catch((thrown) => {
    if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
  });
  if (((await stat(cache)).mode & 0o077) === 0) return;
  await chmod(cache, 0o700).catch((cause: unknown) => {
    if (!isErrno(cause)) throw cause;
    const detail = `${cache} belongs to another user, and its permissions let others in (${cause.code})`;
    throw new FarmError("PLACE_UNUSABLE", { detail, cause });
  });
}

/**
 * Refuses a directory that holds anything but rooms of a cache, a room that is a link, and a place that another user owns or may
 * write to: a driver's author may have put a cache into the tree, and an application's own `logs` would be taken for ours.
 * @throws FarmError PLACE_UNUSABLE
 */
export async function requireCache(cache: string, trusts: readonly string[]): Promise<void> {
  const trusted = await ownUsersAnd(trusts);
  const refuse = (detail: string) => {
    throw new FarmError("PLACE_UNUSABLE", {
      detail,
      hint: "Name another directory for the cache: one of its own, which nobody else can write to. Remove it if it came with a driver.",
    });
  };
  const [stranger] = await strangersIn(cache);
  if (stranger !== undefined) refuse(`${cache} is no cache: it holds ${stranger}`);
  const above = (await strangerAbove(cache, trusted)) ?? (await strangerAt(cache, trusted));
  if (above !== undefined) refuse(above);
  for (const name of await entriesOf(cache)) {
    const found = await lstat(join(cache, name)).catch(() => undefined);
    const isPlain = found === undefined || found.isDirectory() || found.isFile();
    if (!isPlain) refuse(`${join(cache, name)} is a link, or no file and no directory`);
    const fact = await strangerAt(join(cache, name), trusted);
    if (fact !== undefined) refuse(fact);
  }
}

/** Removes a cache that nothing was put into, and the directory made for it. One in use stays. */
export async function removeUnused(cache: string): Promise<void> {
  const names = await entriesOf(cache);
  if (names.some((name) => name !== TAG && name !== TEMPORARY)) return;
  try {
    // Temporary files of others keep it.
    if (names.includes(TEMPORARY)) await rmdir(join(cache, TEMPORARY));
    await rm(join(cache, TAG), { force: true });
    await rmdir(cache);
    await rmdir(dirname(cache));
  } catch (thrown) {
    if (!isErrno(thrown)) throw thrown;
  }
}

/** What lies in the directory of a cache and was never put there by one; none where the tag says that all is ours. */
async function strangersIn(cache: string): Promise<string[]> {
  const names = await entriesOf(cache);
  if (names.includes(TAG)) return [];
  return names.filter(
    (name) =>
      name !== TEMPORARY && name !== LOST_FOUND && !name.startsWith(SIZES) && !UNTAGGED_ROOMS.has(name),
  );
}

/** Remembers that an entry was used just now. Where that fails it goes a little earlier than it should. */
export async function markUsed(path: string): Promise<void> {
  const now = new Date();
  await lutimes(path, now, now).catch(() => {}); // Nothing but its age is lost.
}

/** Whether an entry is there; asking is using it. */
export async function isCached(path: string): Promise<boolean> {
  if (!(await exists(path))) return false;
  await markUsed(path);
  return true;
}

/** Everything in a cache: whatever is in any directory of it but the temporary one. */
export async function readCache(cache: string): Promise<CacheEntry[]> {
  const sizes = await readSizes(cache);
  const entries: CacheEntry[] = [];
  for (const room of await roomsOf(cache)) {
    for (const name of await entriesOf(join(cache, room))) {
      const path = join(cache, room, name);
      const status = await lstat(path).catch(() => undefined);
      if (status === undefined) continue;
      const known = sizes.get(`${room}/${name}`);
      const sizeBytes = !status.isDirectory()
        ? onDisk(status)
        : known?.inode === status.ino && known.birthMs === status.birthtimeMs
          ? known.bytes
          : await diskUsage(path);
      if (status.isDirectory() && MEASURED_ONCE.includes(room))
        sizes.set(`${room}/${name}`, { inode: status.ino, birthMs: status.birthtimeMs, bytes: sizeBytes });
      entries.push({ room, name, sizeBytes, lastUse: status.mtime });
    }
  }
  const present = new Set(entries.map(({ room, name }) => `${room}/${name}`));
  await writeSizes(
    cache,
    [...sizes].filter(([path]) => present.has(path)),
  );
  return entries;
}

async function roomsOf(cache: string): Promise<string[]> {
  const rooms: string[] = [];
  const strangers = new Set(await strangersIn(cache));
  for (const name of await entriesOf(cache)) {
    const isRoom = name !== TEMPORARY && name !== LOST_FOUND && !strangers.has(name);
    if (isRoom && (await lstat(join(cache, name))).isDirectory()) rooms.push(name);
  }
  return rooms;
}

/** The least recently used entries that must go so that the others are within the limit; unfinished work stays. */
export function chooseEvictions(entries: readonly CacheEntry[], limitBytes: number): CacheEntry[] {
  let excess = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) - limitBytes;
  const chosen: CacheEntry[] = [];
  const finished = entries.filter(({ room }) => !UNFINISHED.has(room));
  const byAge = finished.toSorted((a, b) => a.lastUse.getTime() - b.lastUse.getTime());
  for (const entry of byAge) {
    if (excess <= 0) break;
    chosen.push(entry);
    excess -= entry.sizeBytes;
  }
  return chosen;
}

/**
 * Brings a cache within its limit, unless another living process works in it. Entries are moved away first and
 * removed then, so that a kill leaves whole entries and what the next process sweeps up. The caller uses nothing
 * of the cache any more.
 */
export async function evict(cache: string, limitBytes: number, scratch: Scratch): Promise<Eviction> {
  const [stranger] = await strangersIn(cache);
  if (stranger !== undefined) return { kind: "shared", stranger };
  const own = processName() ?? String(process.pid);
  const gate = join(cache, TEMPORARY, `${own}-${EVICTING}`);
  const grave = scratch.path();
  const evicted: CacheEntry[] = [];
  let entries: readonly CacheEntry[] = [];
  await mkdir(grave, { recursive: true });
  try {
    entries = await readCache(cache);
    const chosen = chooseEvictions(entries, limitBytes);
    // A process that begins from here on sees the gate and waits; one that began before is seen here. None slips through.
    await writeFile(gate, "");
    const [other] = livingOthers(cache);
    if (other !== undefined && chosen.length > 0) return { kind: "busy", process: other };
    for (const [index, entry] of chosen.entries()) {
      await rename(join(cache, entry.room, entry.name), join(grave, String(index)));
      evicted.push(entry);
    }
  } finally {
    await rm(gate, { force: true });
    await removeTree(grave);
  }
  const sum = (some: readonly CacheEntry[]) => some.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  const freedBytes = sum(evicted);
  return { kind: "done", evicted, freedBytes, keptBytes: sum(entries) - freedBytes };
}

export function sharedCache(cache: string, stranger: string): FarmError {
  return new FarmError("PLACE_UNUSABLE", {
    detail: `${cache} contains files that are not part of a cache, such as ${stranger}, so nothing in it is removed`,
    hint: "Name a directory of its own with --cache.",
  });
}

/** Waits until no process evicts; to be called once by every process that is going to use the cache, after its mark is set. */
export async function awaitEviction(cache: string): Promise<void> {
  const isEvicting = async () => {
    const others = livingOthers(cache);
    const gates = (await entriesOf(join(cache, TEMPORARY))).filter((name) => name.endsWith(`-${EVICTING}`));
    return gates.some((name) => others.includes(ownerOf(name) ?? ""));
  };
  while (await isEvicting()) await sleep(GATE_POLL_MS);
}

function livingOthers(cache: string): string[] {
  return scratchOwners(join(cache, TEMPORARY))
    .filter(({ name, isAlive }) => isAlive && name !== processName())
    .map(({ name }) => name);
}

/** Some file systems count a directory, a link or an empty file as nothing: such an entry would never be too much. */
function onDisk({ blocks }: { readonly blocks: number }): number {
  return Math.max(blocks, 1) * 512;
}

/** Blocks of a whole tree; what vanishes meanwhile, or cannot be looked at, counts for nothing. */
async function diskUsage(path: string): Promise<number> {
  const status = await lstat(path).catch(() => undefined);
  if (status === undefined) return 0;
  let bytes = onDisk(status);
  if (!status.isDirectory()) return bytes;
  const directory = await opendir(path).catch(() => undefined);
  for await (const entry of directory ?? []) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) bytes += await diskUsage(below);
    else bytes += onDisk((await lstat(below).catch(() => undefined)) ?? { blocks: 0 });
  }
  return bytes;
}

const SIZES = "sizes.json";
const Sizes = z.record(z.string(), z.object({ inode: z.number(), birthMs: z.number(), bytes: z.number() }));
type KnownSizes = Map<string, z.infer<typeof Sizes>[string]>;

async function readSizes(cache: string): Promise<KnownSizes> {
  try {
    return new Map(Object.entries(Sizes.parse(JSON.parse(await readFile(join(cache, SIZES), "utf8")))));
  } catch {
    return new Map(); // A memory only: what is not known is measured again.
  }
}

async function writeSizes(cache: string, sizes: readonly (readonly [string, unknown])[]): Promise<void> {
  if (sizes.length === 0) return;
  const temporary = join(cache, `${SIZES}.${processName() ?? process.pid}`);
  try {
    await writeFile(temporary, JSON.stringify(Object.fromEntries(sizes)));
    await rename(temporary, join(cache, SIZES));
  } catch {
    await rm(temporary, { force: true }); // Measured again the next time.
  }
}
