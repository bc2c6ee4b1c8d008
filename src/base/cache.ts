/**
 * The local cache as a whole: rooms (`inputs`, `trees`, `roots`, …) of entries that are made once, used often, and
 * may go at any time nobody uses them. Least recently used goes first.
 */
import { lstat, lutimes, mkdir, opendir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { ownerOf, processName } from "./process-name.ts";
import { entriesOf, exists, type Scratch, scratchOwners } from "./scratch.ts";

export interface CacheEntry {
  readonly room: string;
  readonly name: string;
  /** What it takes of the disk. */
  readonly sizeBytes: number;
  readonly lastUse: Date;
}

/** All that a cache of ours consists of. Whatever else lies there is somebody else's, and stays. */
const ROOMS: readonly string[] = [
  ...["attempts", "boot", "git", "indices", "inputs", "rebuilds", "remembered"],
  ...["roots", "sources", "trees", "unfinished", "verified"],
];
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
  | { readonly kind: "busy"; readonly process: string };

/** Temporary files of living processes, each named after its owner; no room. */
const TEMPORARY = "tmp";
const EVICTING = "evicting";
const GATE_POLL_MS = 50;

/** Remembers that an entry was used just now; one that is not there is none's business. */
export async function markUsed(path: string): Promise<void> {
  const now = new Date();
  await lutimes(path, now, now).catch(() => {});
}

/** Whether an entry is there; asking is using it. */
export async function isCached(path: string): Promise<boolean> {
  if (!(await exists(path))) return false;
  await markUsed(path);
  return true;
}

/** Everything in a cache. */
export async function readCache(cache: string): Promise<CacheEntry[]> {
  const sizes = await readSizes(cache);
  const entries: CacheEntry[] = [];
  for (const room of await entriesOf(cache)) {
    if (!ROOMS.includes(room) || !(await lstat(join(cache, room)).catch(() => undefined))?.isDirectory())
      continue;
    for (const name of await entriesOf(join(cache, room))) {
      const path = join(cache, room, name);
      const status = await lstat(path).catch(() => undefined);
      if (status === undefined) continue;
      const known = sizes.get(`${room}/${name}`);
      const sizeBytes = !status.isDirectory()
        ? status.blocks * 512
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

/** The least recently used entries that must go so that the others are within the limit. */
export function chooseEvictions(entries: readonly CacheEntry[], limitBytes: number): CacheEntry[] {
  let excess = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) - limitBytes;
  const chosen: CacheEntry[] = [];
  const byAge = entries.toSorted((a, b) => a.lastUse.getTime() - b.lastUse.getTime());
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
  const own = processName() ?? String(process.pid);
  const gate = join(cache, TEMPORARY, `${own}-${EVICTING}`);
  const grave = scratch.path();
  const evicted: CacheEntry[] = [];
  let entries: readonly CacheEntry[] = [];
  await mkdir(grave, { recursive: true });
  try {
    entries = await readCache(cache);
    const chosen = chooseEvictions(entries, limitBytes);
    // Who begins from here on sees the gate and waits; who began before is seen here. Nobody slips through.
    await writeFile(gate, "");
    const [other] = livingOthers(cache);
    if (other !== undefined && chosen.length > 0) return { kind: "busy", process: other };
    for (const [index, entry] of chosen.entries()) {
      await rename(join(cache, entry.room, entry.name), join(grave, String(index)));
      evicted.push(entry);
    }
  } finally {
    await rm(gate, { force: true });
    await rm(grave, { recursive: true, force: true });
  }
  const sum = (some: readonly CacheEntry[]) => some.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  const freedBytes = sum(evicted);
  return { kind: "done", evicted, freedBytes, keptBytes: sum(entries) - freedBytes };
}

/** Waits until nobody evicts; to be called once by every process that is going to use the cache, after its mark is set. */
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

/** Blocks of a whole tree; what vanishes meanwhile counts for nothing. */
async function diskUsage(path: string): Promise<number> {
  const status = await lstat(path).catch(() => undefined);
  if (status === undefined) return 0;
  let bytes = status.blocks * 512;
  if (!status.isDirectory()) return bytes;
  for await (const entry of await opendir(path)) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) bytes += await diskUsage(below);
    else bytes += ((await lstat(below).catch(() => undefined))?.blocks ?? 0) * 512;
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
