/** Taking many hand-overs at once: each on its own, unless two of them contradict each other. */
import { FarmError, toFarmError } from "../../base/error.ts";
import {
  type Claim,
  claimOf,
  followsBuild,
  isSound,
  refuseHandOver,
  type TakeContext,
  type Taken,
  takeHandOver,
} from "./take.ts";

export interface Refused {
  readonly file: string;
  readonly error: FarmError;
}

/** More are counted, and neither kept nor named: one machine could hand over hundreds of thousands. */
const MOST_REFUSED = 64;

interface TakenFiles {
  readonly results: readonly Taken[];
  readonly refused: readonly Refused[];
}

/** Builds before the tests that follow from them. */
export async function takeFiles(
  all: readonly string[],
  context: TakeContext,
  signal: AbortSignal,
): Promise<TakenFiles> {
  const [results, refused]: [Taken[], Refused[]] = [[], []];
  let more = 0;
  const [builds, tests]: [string[], string[]] = [[], []];
  for (const file of all) {
    if (signal.aborted) break;
    ((await followsBuild(file)) ? tests : builds).push(file);
  }
  for (const files of [builds, tests]) {
    const claims = await claimsOf(files, context, signal);
    const disputed = await disputedOf(claims, context, signal);
    for (const file of files) {
      if (signal.aborted) break;
      const isKept = refused.length < MOST_REFUSED || disputed.has(file);
      const keeping = { ...context, keepsRefused: isKept, claimed: claims.get(file) ?? "nothing" } as const;
      try {
        if (disputed.has(file)) throw await refuseHandOver(file, contradiction(), keeping);
        results.push(await takeHandOver(file, keeping));
      } catch (thrown) {
        if (isKept) refused.push({ file, error: toFarmError(thrown) });
        else more++;
      }
    }
  }
  if (more > 0) {
    const detail = `${more} more were refused`;
    refused.push({ file: `${more} more`, error: new FarmError("HAND_OVER_REFUSED", { detail }) });
  }
  return { results, refused };
}

async function claimsOf(
  files: readonly string[],
  context: TakeContext,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Claim>> {
  const claims = new Map<string, Claim>();
  for (const file of files) {
    if (signal.aborted) break;
    const claim = await claimOf(file, context);
    if (claim !== undefined) claims.set(file, claim);
  }
  return claims;
}

/** Whoever got out of one build could hand over results of every order: where two contradict each other, neither decides. */
async function disputedOf(
  claims: ReadonlyMap<string, Claim>,
  context: TakeContext,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const all = [...claims].map(([file, claim]) => ({ file, ...claim }));
  const disputed = new Set<string>();
  for (const some of Map.groupBy(all, ({ about }) => about).values()) {
    if (isOneOutcome(some)) continue;
    // What would be refused anyway contradicts nobody.
    const sound = [];
    for (const one of some) if (!signal.aborted && (await isSound(one.file, context))) sound.push(one);
    if (!isOneOutcome(sound)) for (const { file } of sound) disputed.add(file);
  }
  return disputed;
}

function isOneOutcome(claims: readonly Claim[]): boolean {
  return new Set(claims.map(({ outcome }) => outcome)).size <= 1;
}

function contradiction(): FarmError {
  return new FarmError("HAND_OVER_REFUSED", {
    detail:
      "another hand-over for the same recipe or test came to something else, and both are sound otherwise",
    hint: "Neither was used, and the order is given again. Compare the two: one worker is wrong, or the build is not reproducible.",
  });
}
