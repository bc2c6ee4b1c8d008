/**
 * Accepting a generation that no key of the farm vouches for: a machine without one published it, and a person looked at what
 * it changed.
 */
import { FarmError } from "../../base/error.ts";
import type { Digest } from "../../base/json.ts";
import type { Trust } from "../../provenance/trust.ts";
import { droppedDecisions } from "../../registry/decisions.ts";
import type { Decision, Difference, Published } from "../../registry/documents.ts";
import { type Found, history, newestGeneration, readGeneration } from "../../registry/generations.ts";
import { publishHead } from "../../registry/head.ts";
import type { FoundHead } from "../../registry/metadata.ts";
import { differenceOf, NOTHING_PUBLISHED } from "../../registry/parts.ts";
import { newestHead } from "../../registry/serials.ts";
import { listAll } from "../../registry/standing.ts";
import { viewPath } from "../../registry/view-path.ts";
import { adopt, faultOf, openVoucher, requireVouched, type Voucher } from "../../registry/vouched.ts";
import type { Farm } from "../open.ts";
import { makeFirstRoot } from "./ceremony.ts";
import { headMaker } from "./heads.ts";
import { hasOwnKeys } from "./keys.ts";

export interface Acceptance {
  readonly generation: number;
  readonly digest: Digest;
  /** The newest one before it that somebody vouches for; absent where nobody vouches for any. */
  readonly since?: number;
  /** Who published since, newest first, as the store says it: nobody proves it. */
  readonly published: readonly { readonly number: number; readonly who: string; readonly what: string }[];
  readonly difference: Difference;
  /** Artifacts that nodes are given by it, and were not before; and those that they are given no more. */
  readonly given: readonly string[];
  readonly taken: readonly string[];
  readonly decisions: readonly Decision[];
}

export interface AcceptRequest {
  readonly number: number;
  /** Only this one, of all that could be called by that number. */
  readonly digest?: string | undefined;
  readonly isDryRun: boolean;
  /** Told what it changed before anything is signed. */
  readonly say: (found: Acceptance) => Promise<void>;
}

/**
 * Says what a generation changed since the last one that somebody vouches for, and vouches for it unless `isDryRun`.
 * @throws FarmError USAGE where it is not the newest, or needs nobody; GENERATION_UNVOUCHED for one that must not be accepted
 */
export async function acceptGeneration(farm: Farm, request: AcceptRequest, now: () => Date): Promise<void> {
  const { store, signing, config } = farm;
  const maker = headMaker(farm, now);
  const voucher = await openVoucher(store, maker);
  const isRootless = voucher.trusts.length === 0 && !hasOwnKeys(config.keys);
  if (voucher.counting === undefined && !isRootless)
    throw new FarmError("METADATA_UNSIGNED", {
      about: store.place,
      joint: " ",
      detail: "has no root that trusts a key of this machine for heads, so nobody can vouch here",
    });
  // The head first: what is older than it was rolled back.
  const last = await newestHead(store, voucher.trusts);
  const found = await requested(farm, request);
  if (voucher.counting !== undefined) await refuseNeedless(farm, found, voucher.counting, last);
  const since = await lastVouched(farm, found, voucher, last);
  await request.say(await compare(farm, found, since));
  if (request.isDryRun) return;
  if (isRootless) await makeFirstRoot(store, signing, maker, true);
  const signer = isRootless ? await openVoucher(store, maker) : voucher;
  await adopt(store, found, signer);
  await publishHead(store, NOTHING_PUBLISHED, signer);
}

async function requested({ store }: Farm, { number, digest }: AcceptRequest): Promise<Found> {
  const found = await newestGeneration(store);
  if (found?.head.number !== number)
    throw new FarmError("USAGE", {
      detail: `the newest generation of ${store.place} is ${found?.head.number ?? "none"}: only that one can be accepted`,
    });
  if (digest === undefined || found.head.digest === digest) return found;
  throw new FarmError("GENERATION_UNVOUCHED", {
    about: store.place,
    detail: `generation ${number} is ${found.head.digest} by now, not ${digest}`,
    hint: "Nothing was signed. Somebody replaced it after you looked: find out who can write to the store.",
  });
}

/** @throws FarmError USAGE where somebody vouches for it; METADATA_ROLLED_BACK, GENERATION_UNVOUCHED where nobody may */
async function refuseNeedless(
  { store }: Farm,
  { head }: Found,
  counting: Trust,
  last: FoundHead | undefined,
) {
  try {
    await requireVouched(store, head, counting, last);
  } catch (thrown) {
    const isNamed = (last?.head.generation.number ?? 0) >= head.number;
    const isOpen = thrown instanceof FarmError && thrown.code === "GENERATION_UNVOUCHED";
    // Another generation of that number was signed: nodes have it.
    if (isOpen && (!isNamed || last?.head.generation.digest === head.digest)) return;
    throw thrown;
  }
  throw new FarmError("USAGE", { detail: `generation ${head.number} needs nobody: it is vouched for` });
}

/** The newest generation before one that somebody vouches for. */
async function lastVouched(
  { store }: Farm,
  found: Found,
  { counting }: Voucher,
  last: FoundHead | undefined,
): Promise<{ readonly found?: Found; readonly between: readonly Found[] }> {
  const between: Found[] = [found];
  for await (const one of history(store, found.generation.parent)) {
    const fault = counting === undefined ? "no root" : await faultOf(store, one.head, counting, last);
    if (fault === undefined) return { found: one, between };
    between.push(one);
  }
  return { between };
}

async function compare(
  { store }: Farm,
  { head }: Found,
  { found: since, between }: Awaited<ReturnType<typeof lastVouched>>,
): Promise<Acceptance> {
  const [newest] = between;
  const before =
    since === undefined ? NOTHING_PUBLISHED : await readGeneration(store, since, NOTHING_PUBLISHED);
  const state = newest === undefined ? before : await readGeneration(store, newest, before);
  const [lost] = droppedDecisions(before.decisions, state.decisions);
  if (lost !== undefined)
    throw new FarmError("GENERATION_UNVOUCHED", {
      about: store.place,
      detail: `generation ${head.number} drops what only a later decision may take back: ${lost.action} of ${lost.artifact.driver} by ${lost.by}, ${lost.at}`,
      hint: `It cannot be accepted, because kmodfarm writes no such generation. Remove generations/${head.number} and channels/stable of the store; the next run goes on from the generation before.`,
    });
  const known = new Set(before.decisions.map((one) => JSON.stringify(one)));
  const [then, now] = [stableIn(before), stableIn(state)];
  return {
    generation: head.number,
    digest: head.digest,
    ...(since === undefined ? {} : { since: since.head.number }),
    published: between.map(({ head: { number }, generation }) =>
      generation.schema === "kmodfarm.generation/2"
        ? { number, ...generation.by }
        : { number, who: "unknown", what: "unknown" },
    ),
    difference: differenceOf(before, state),
    given: [...now].filter(([key]) => !then.has(key)).map(([, place]) => place),
    taken: [...then].filter(([key]) => !now.has(key)).map(([, place]) => place),
    decisions: state.decisions.filter((one) => !known.has(JSON.stringify(one))),
  };
}

/** What nodes are given, in words, by what tells it from anything else. */
function stableIn({ indices }: Published): Map<string, string> {
  const own = listAll(indices)
    .filter(({ channel }) => channel === "stable")
    .map(({ index, entry }): [unknown, string] => [
      [entry.manifest, entry.modules],
      `${viewPath(entry)} (${index.distribution}, ${index.architecture})`,
    ]);
  const served = indices.flatMap((index) =>
    (index.loadsOn ?? []).map((one): [unknown, string] => [
      one,
      `${viewPath(one.artifact)} for ${one.kversion} (${index.distribution}, ${index.architecture})`,
    ]),
  );
  return new Map([...own, ...served].map(([key, words]) => [`${words} ${JSON.stringify(key)}`, words]));
}
