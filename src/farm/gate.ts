/**
 * The gate at work: the configured policy, asked by whoever publishes, and the moves that people make by hand. Each move
 * is one new generation: readers see all of it or nothing.
 */
import { userInfo } from "node:os";
import { z } from "zod";
import { DEFAULT_POLICY, type Judged, judge, type Policy, policyDigest } from "../check/policy.ts";
import type { Signer } from "../check/signature.ts";
import type { Verdict } from "../check/verdict.ts";
import type { Filtered } from "../matrix/element-filter.ts";
import { readManifest } from "../registry/artifact.ts";
import { artifactName, laterEvidence, withDecision } from "../registry/decisions.ts";
import type { Decision, Index, IndexEntry, Manifest, Published } from "../registry/documents.ts";
import { readGenerationIndices, readPublished, settle, writePublished } from "../registry/generations.ts";
import { moved } from "../registry/publish.ts";
import type { Store } from "../registry/stores/store.ts";
import { refreshView, viewPath } from "../registry/view.ts";
import type { Farm } from "./open.ts";
import { type ConfiguredPolicy, readPolicy } from "./policy-file.ts";

/** An artifact with the index that lists it, and the channel it is in. */
export interface Listed {
  readonly index: Index;
  readonly entry: IndexEntry;
  readonly channel: "stable" | "candidate";
}

interface Move {
  readonly entry: IndexEntry;
  readonly place: string;
  readonly result: "promoted" | "refused" | "withdrawn" | "rolled back" | "imported" | "nothing to do";
  readonly reasons: readonly string[];
}

export interface Moves {
  readonly moves: readonly Move[];
  readonly generation: number;
}

export interface Person {
  readonly by: string;
  readonly why: string;
}

export class Gate {
  /** Whose signatures count. */
  readonly signers: readonly Signer[];
  readonly #policy: Policy;
  readonly #store: Store;
  readonly #now: () => Date;
  readonly #state: () => Published;

  constructor({ policy, signers }: ConfiguredPolicy, store: Store, state: () => Published, now: () => Date) {
    this.#policy = policy;
    this.signers = signers;
    this.#store = store;
    this.#state = state;
    this.#now = now;
  }

  /** Decides by the policy, with what is published as further evidence. */
  async judge(subject: Filtered, verdicts: readonly Verdict[]): Promise<Judged> {
    const first = judge(this.#policy, subject, { verdicts }, this.#now());
    if (first.isStable || !this.#policy.standIns.load.includes("siblingLoad")) return first;
    const sibling = await this.#loadedSibling(subject);
    return judge(this.#policy, subject, { verdicts, sibling }, this.#now());
  }

  decision(entry: IndexEntry, judged: Judged, by: string, why = "the policy"): Decision {
    return {
      at: this.#now().toISOString(),
      action: judged.isStable ? "promote" : "refuse",
      artifact: artifactName(entry),
      ...{ by, why },
      policy: policyDigest(this.#policy, this.signers),
      manifest: entry.manifest,
      verdicts: judged.verdicts.filter(({ verdict }) => verdict !== "pass"),
    };
  }

  /** The same driver version in a kernel of the same kind, which was loaded itself. */
  async #loadedSibling(subject: Filtered): Promise<string | undefined> {
    const { distribution, architecture, driver, driverversion, flavour } = subject;
    const index = this.#state().indices.find(
      (one) => one.distribution === distribution && one.architecture === architecture,
    );
    for (const entry of index?.stable ?? []) {
      if (entry.driver !== driver || entry.driverVersion !== driverversion || entry.flavour !== flavour)
        continue;
      const { verdicts } = await readManifest(this.#store, entry);
      if (verdicts.some(({ check, verdict }) => check === "load" && verdict === "pass"))
        return entry.kversion;
    }
    return undefined;
  }
}

/** @throws FarmError CONFIG_INVALID, FILE_UNREADABLE */
export async function openGate(farm: Farm, state: () => Published, now: () => Date): Promise<Gate> {
  const { policyFile } = farm.config;
  const policy =
    policyFile === undefined ? { policy: DEFAULT_POLICY, signers: [] } : await readPolicy(policyFile);
  return new Gate(policy, farm.store, state, now);
}

/**
 * Makes candidates stable that the policy allows; those that are stable already stay.
 * @throws FarmError STORE_BUSY, STORE_CORRUPT
 */
export async function promote(
  farm: Farm,
  choose: (listed: readonly Listed[]) => readonly Listed[],
  { by, why }: Person,
  now: () => Date,
): Promise<Moves> {
  return change(farm, now, async (state) => {
    const gate = await openGate(farm, () => state, now);
    return chosenMoves(state, choose, async ({ entry, index, channel }) => {
      const manifest = await readManifest(farm.store, entry);
      const verdicts = [...manifest.verdicts, ...laterEvidence(state.decisions, entry)];
      const judged = await gate.judge(subjectOf(entry, index, manifest), verdicts);
      if (channel === "stable")
        return {
          result: "nothing to do",
          reasons: judged.refusals.map((fact) => `stable, and today ${fact}`),
        };
      const decision = gate.decision(entry, judged, by, why);
      return judged.isStable
        ? { result: "promoted", reasons: waivers(judged), to: "stable", decision }
        : { result: "refused", reasons: judged.refusals, decision };
    });
  });
}

/** Takes stable artifacts back: nodes no longer get them, and no night publishes them again. */
export async function withdraw(
  farm: Farm,
  choose: (listed: readonly Listed[]) => readonly Listed[],
  { by, why }: Person,
  now: () => Date,
): Promise<Moves> {
  return change(farm, now, (state) =>
    chosenMoves(state, choose, async ({ entry, channel }) => {
      const reasons = [`withdrawn by ${by}: ${why}`];
      if (channel === "candidate") return { result: "nothing to do", reasons: ["it is not stable"] };
      return {
        result: "withdrawn",
        reasons,
        to: "candidate",
        decision: byHand("withdraw", entry, { by, why }, now()),
      };
    }),
  );
}

/**
 * Makes stable exactly what was stable in an earlier generation, for one driver or for all.
 * @throws FarmError USAGE when there is no such generation
 */
export async function rollback(
  farm: Farm,
  generation: number,
  driver: string | undefined,
  { by, why }: Person,
  now: () => Date,
): Promise<Moves> {
  return change(farm, now, async (state) => {
    const then = await readGenerationIndices(farm.store, state, generation);
    const isIts = ({ entry }: Listed) => driver === undefined || entry.driver === driver;
    const wanted = listAll(then).filter((one) => one.channel === "stable" && isIts(one));
    const key = ({ index, entry }: Listed) =>
      `${index.distribution}/${index.architecture}/${viewPath(entry)}`;
    const kept = new Map(wanted.map((one) => [key(one), one.entry.manifest]));
    const stable = listAll(state.indices).filter((one) => one.channel === "stable" && isIts(one));
    const current = new Map(stable.map((one) => [key(one), one.entry.manifest]));
    const gone = stable.filter((one) => !kept.has(key(one)));
    const back = wanted.filter((one) => current.get(key(one)) !== one.entry.manifest);
    const reasons = [`rolled back to generation ${generation} by ${by}: ${why}`];
    return applyMoves(state, [
      ...gone.map(
        (listed): Moving => ({
          listed,
          result: "rolled back",
          reasons,
          to: "candidate",
          decision: byHand("rollback", listed.entry, { by, why }, now()),
        }),
      ),
      ...back.map(
        (listed): Moving => ({
          listed,
          result: "promoted",
          reasons,
          to: "stable",
          decision: byHand("promote", listed.entry, { by, why: `${why} (generation ${generation})` }, now()),
        }),
      ),
    ]);
  });
}

/**
 * Keeps what was found out about a published artifact after it was built, for the next time the gate asks.
 * Returns false when the store has no such artifact.
 */
export async function keepEvidence(
  farm: Farm,
  { identity, recipeKey }: Manifest,
  evidence: Verdict,
  { by, why }: Person,
  now: () => Date,
): Promise<boolean> {
  const { moves } = await change(farm, now, async (state) => {
    const known = listAll(state.indices).find(
      ({ entry }) => entry.recipe === recipeKey && entry.driver === identity.driver.name,
    );
    if (known === undefined) return { state, moves: [] };
    const decision = { ...byHand("evidence", known.entry, { by, why }, now()), verdicts: [evidence] };
    return applyMoves(state, [{ listed: known, result: "nothing to do", reasons: [], decision }]);
  });
  return moves.length > 0;
}

interface Moving {
  readonly listed: Listed;
  readonly result: Move["result"];
  readonly reasons: readonly string[];
  /** The channel that it goes to, if it goes. */
  readonly to?: "stable" | "candidate";
  readonly decision?: Decision;
}

/** Reads, changes and writes the state as its only writer. */
async function change(
  { store }: Farm,
  now: () => Date,
  work: (state: Published) => Promise<{ readonly state: Published; readonly moves: readonly Move[] }>,
): Promise<Moves> {
  const unlock = await store.lock();
  try {
    await settle(store);
    const before = await readPublished(store, "candidate");
    const { state, moves } = await work(before);
    const isNew =
      state.decisions !== before.decisions || moves.some(({ result }) => result !== "nothing to do");
    const after = isNew ? await writePublished(store, state, now()) : before;
    await refreshView(store, after);
    return { moves, generation: after.head?.number ?? 0 };
  } finally {
    await unlock();
  }
}

async function chosenMoves(
  state: Published,
  choose: (listed: readonly Listed[]) => readonly Listed[],
  decide: (listed: Listed) => Promise<Omit<Moving, "listed">>,
) {
  const moving: Moving[] = [];
  for (const listed of choose(listAll(state.indices))) moving.push({ listed, ...(await decide(listed)) });
  return applyMoves(state, moving);
}

function applyMoves(state: Published, moving: readonly Moving[]) {
  const indices = new Map(state.indices.map((index) => [indexKey(index), index]));
  let { decisions } = state;
  for (const { listed, to, reasons, decision } of moving) {
    const index = indices.get(indexKey(listed.index)) ?? { ...listed.index, stable: [], candidate: [] };
    if (to !== undefined) indices.set(indexKey(index), moved(index, listed.entry, to, reasons));
    if (decision !== undefined) decisions = withDecision(decisions, decision);
  }
  const moves = moving.map(
    ({ listed: { entry }, result, reasons }): Move => ({ entry, place: viewPath(entry), result, reasons }),
  );
  return { state: { ...state, indices: [...indices.values()], decisions }, moves };
}

function indexKey({ distribution, architecture }: Index): string {
  return `${distribution}.${architecture}`;
}

/** Every artifact of some indices. */
export function listAll(indices: readonly Index[]): Listed[] {
  return indices.flatMap((index) =>
    (["stable", "candidate"] as const).flatMap((channel) =>
      index[channel].map((entry) => ({ index, entry, channel })),
    ),
  );
}

function byHand(action: Decision["action"], entry: IndexEntry, { by, why }: Person, now: Date): Decision {
  const { manifest } = entry;
  return { at: now.toISOString(), action, artifact: artifactName(entry), by, why, manifest, verdicts: [] };
}

/** What a promotion rests on that is no pass. */
function waivers({ verdicts }: Judged): string[] {
  return verdicts
    .filter(({ verdict }) => verdict === "waived")
    .map(({ check, reasons }) => `${check} waived: ${reasons.join("; ")}`);
}

function subjectOf(entry: IndexEntry, index: Index, { identity }: Manifest): Filtered {
  const { driver, driverVersion: driverversion, flavour, kversion } = entry;
  const { distribution, architecture } = index;
  return {
    ...{ driver, driverversion, flavour, kversion, distribution, architecture },
    distributionId: identity.distribution.id,
  };
}

/** Who works here, where nobody says so. */
export function thisPerson(): string {
  return z.string().min(1).catch("somebody").parse(userInfo().username);
}
