/**
 * What people decide about artifacts: promote, withdraw, roll back. Each move is one new generation: readers see all of
 * it or nothing.
 */
import { userInfo } from "node:os";
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { isBelow } from "../../provenance/version.ts";
import { type Author, publish } from "../../registry/commit.ts";
import { artifactName, DecisionLog, latestMove, takenBackWords } from "../../registry/decisions.ts";
import type { Decision, IndexEntry, Published } from "../../registry/documents.ts";
import { readPast, readPublished } from "../../registry/generations.ts";
import { OpenIndices } from "../../registry/publish.ts";
import { heldReuse, servedOf, withReuseOf } from "../../registry/reuse.ts";
import { type Listed, listAll, waivers } from "../../registry/standing.ts";
import { viewPath } from "../../registry/view-path.ts";
import type { Farm } from "../open.ts";
import { authorOf } from "../signing/heads.ts";
import { openGate } from "./gate.ts";

export interface Move {
  readonly entry: IndexEntry;
  readonly place: string;
  readonly result:
    | "promoted"
    | "refused"
    | "withdrawn"
    | "rolled back"
    | "imported"
    | "reused"
    | "reuse ended"
    | "floor set"
    | "nothing to do";
  readonly reasons: readonly string[];
  /** The kernel that it is about, where that is another than its own. */
  readonly kernel?: string;
  /** Required checks that it fails, whatever became of it. */
  readonly failed?: readonly string[];
}

export interface Moves {
  readonly moves: readonly Move[];
  readonly generation: number;
  /** What is odd about the policy, for who wrote it. */
  readonly warnings?: readonly string[];
}

export interface Person {
  readonly by: string;
  readonly why: string;
}

interface Promoter extends Person {
  /** Whether withdrawn artifacts are meant too. Default: true. */
  readonly bringsBack?: boolean;
}

/**
 * Makes candidates stable that the policy allows; those that are stable already stay, and what the policy says of them
 * today is told.
 * @throws FarmError STORE_CONFLICT, STORE_CORRUPT
 */
export async function promote(
  farm: Farm,
  choose: (listed: readonly Listed[]) => readonly Listed[],
  { by, why, bringsBack = true }: Promoter,
  now: () => Date,
): Promise<Moves> {
  return change(farm, { who: by, what: "promote", now }, async (state) => {
    const gate = await openGate(farm, () => state, now);
    const found = await chosenMoves(state, choose, async (listed) => {
      const { entry, channel } = listed;
      const takenBack = channel === "stable" ? undefined : takenBackWords(latestMove(state.decisions, entry));
      if (takenBack !== undefined && !bringsBack)
        return { result: "nothing to do", reasons: [`${takenBack}; name it to promote it again`] };
      const judged = await gate.judgePublished(listed);
      if (channel === "stable")
        return {
          result: "nothing to do",
          reasons: judged.refusals.map((fact) => `stable, but now ${fact}`),
        };
      const decision = gate.decision(entry, judged, by, why);
      const before = takenBack === undefined ? [] : [`it was ${takenBack}`];
      return judged.isStable
        ? {
            result: "promoted",
            reasons: [...before, ...waivers(judged.verdicts)],
            ...{ to: "stable", decision, noted: judged.noted },
          }
        : { result: "refused", reasons: [...judged.refusals, ...before], decision };
    });
    return { ...found, warnings: gate.strangeNames() };
  });
}

interface Withdrawer extends Person {
  /** Nodes that have the modules must not load them again either. Default: false. */
  readonly denies?: boolean;
  /** Whether it is only said what would be done. Default: false. */
  readonly isDryRun?: boolean;
}

/** Takes stable artifacts back: nodes no longer get them, and no night publishes them again. */
export async function withdraw(
  farm: Farm,
  choose: (listed: readonly Listed[]) => readonly Listed[],
  { by, why, denies = false, isDryRun = false }: Withdrawer,
  now: () => Date,
): Promise<Moves> {
  return change(farm, { who: by, what: "withdraw", now, isDryRun }, (state) =>
    chosenMoves(state, choose, async (listed) => {
      const { entry, channel } = listed;
      // What was taken back before may still be on nodes.
      if (channel === "candidate" && !denies)
        return { result: "nothing to do", reasons: ["it is not stable"] };
      const decision = byHand("withdraw", entry, { by, why }, now());
      return {
        result: "withdrawn",
        reasons: [`${denies ? "withdrawn and denied" : "withdrawn"} by ${by}: ${why}`],
        // Something newer may be stable in the place of what was taken back before.
        ...(channel === "stable" ? { to: "candidate" as const } : {}),
        decision: denies ? { ...decision, denied: givenBy(state, listed) } : decision,
      };
    }),
  );
}

/** What nodes got of an artifact, and the kernels that it ever served. */
function givenBy(state: Published, listed: Listed): NonNullable<Decision["denied"]> {
  const { index, entry } = listed;
  const served = servedOf(state.indices, listed).map((one) => kernelName({ ...one.index, ...one.served }));
  const before = new DecisionLog(state.decisions).of(entry).flatMap(({ kernel }) => kernel ?? []);
  return {
    modules: entry.modules.map(({ digest, stripped }) => stripped ?? digest),
    kernels: [...new Set([kernelName({ ...index, ...entry }), ...served, ...before])],
  };
}

/** Makes the version of a stable artifact the least that nodes may use of its driver, on whatever kernel. */
export async function setFloor(
  farm: Farm,
  choose: (listed: readonly Listed[]) => readonly Listed[],
  { by, why }: Person,
  now: () => Date,
): Promise<Moves> {
  return change(farm, { who: by, what: "floor", now }, (state) =>
    chosenMoves(state, choose, async ({ entry, channel }) => {
      const { driver, driverVersion: floor } = entry;
      if (channel === "candidate")
        return { result: "nothing to do", reasons: ["it is not stable: nodes would be left with nothing"] };
      const below = listAll(state.indices).filter(
        (one) =>
          one.channel === "stable" && one.entry.driver === driver && isBelow(one.entry.driverVersion, floor),
      );
      return {
        result: "floor set",
        reasons: [
          `nodes use ${driver} ${floor} or newer`,
          ...(below.length === 0
            ? []
            : [`${below.length} stable artifacts of older versions are not given any more`]),
        ],
        decision: { ...byHand("floor", entry, { by, why }, now()), floor },
      };
    }),
  );
}

/**
 * Makes stable exactly what was stable in an earlier generation, for one driver or for all.
 * @throws FarmError USAGE when there is no such generation, ARTIFACT_UNKNOWN when nothing is or was that driver's
 */
export async function rollback(
  farm: Farm,
  generation: number,
  driver: string | undefined,
  { by, why }: Person,
  now: () => Date,
): Promise<Moves> {
  return change(farm, { who: by, what: "rollback", now }, async (state) => {
    const { indices: then } = await readPast(farm.store, state, generation);
    const isOfDriver = ({ entry }: Listed) => driver === undefined || entry.driver === driver;
    if (driver !== undefined && ![...listAll(then), ...listAll(state.indices)].some(isOfDriver))
      throw new FarmError("ARTIFACT_UNKNOWN", {
        detail: `generations ${generation} and ${state.head?.number ?? 0} have no artifact of a driver named ${driver}`,
        hint: "`kmodfarm matrix show` lists the drivers.",
      });
    const wanted = listAll(then).filter((one) => one.channel === "stable" && isOfDriver(one));
    const key = ({ index, entry }: Listed) =>
      `${index.distribution}/${index.architecture}/${viewPath(entry)}`;
    const kept = new Map(wanted.map((one) => [key(one), one.entry.manifest]));
    const stable = listAll(state.indices).filter((one) => one.channel === "stable" && isOfDriver(one));
    const current = new Map(stable.map((one) => [key(one), one.entry.manifest]));
    const gone = stable.filter((one) => !kept.has(key(one)));
    const back = wanted.filter((one) => current.get(key(one)) !== one.entry.manifest);
    const reasons = [`rolled back to generation ${generation} by ${by}: ${why}`];
    const others = { ...state, indices: withReuseOf(state.indices, then, driver) };
    return applyMoves(others, [
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

interface Moving {
  readonly listed: Listed;
  readonly result: Move["result"];
  readonly reasons: readonly string[];
  /** The channel that it goes to, if it goes. */
  readonly to?: "stable" | "candidate";
  readonly decision?: Decision;
  /** What its index notes of it from now on. */
  readonly noted?: Pick<IndexEntry, "verdicts" | "judged">;
}

/** Publishes what a change comes to on whatever state is the newest then. */
export async function change(
  farm: Pick<Farm, "config" | "store" | "signing">,
  { who, what, now, isDryRun = false }: Author & { readonly isDryRun?: boolean },
  work: (state: Published) => Promise<Omit<Moves, "generation"> & { readonly state: Published }>,
): Promise<Moves> {
  if (isDryRun) {
    const before = await readPublished(farm.store);
    const { state: _, ...found } = await work(before);
    return { ...found, generation: before.head?.number ?? 0 };
  }
  const { state, result } = await publish(
    farm.store,
    async (before) => {
      const { state: after, ...found } = await work(before);
      return { state: after, result: found };
    },
    authorOf(farm, who, what, now),
  );
  return { ...result, generation: state.head?.number ?? 0 };
}

async function chosenMoves(
  state: Published,
  choose: (listed: readonly Listed[]) => readonly Listed[],
  decide: (listed: Listed) => Promise<Omit<Moving, "listed">>,
) {
  const moving: Moving[] = [];
  for (const listed of choose(listAll(state.indices)))
    moving.push({ listed, ...(await decided(listed, decide)) });
  return applyMoves(state, moving);
}

/** An artifact that the store cannot show is refused alone: nobody else's move waits for its repair. */
async function decided(
  listed: Listed,
  decide: (listed: Listed) => Promise<Omit<Moving, "listed">>,
): Promise<Omit<Moving, "listed">> {
  try {
    return await decide(listed);
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "STORE_CORRUPT") throw thrown;
    return { result: "refused", reasons: [thrown.message] };
  }
}

function applyMoves(state: Published, moving: readonly Moving[]) {
  const [indices, log] = [new OpenIndices(state.indices), new DecisionLog(state.decisions)];
  for (const { listed, to, reasons, decision, noted } of moving) {
    if (to === "stable") indices.put(listed.index, renoted(listed.entry, noted), true);
    if (to === "candidate") indices.takeBack(listed.index, listed.entry, reasons);
    if (decision !== undefined) log.add(decision);
  }
  const moves = moving.map(
    ({ listed: { entry }, result, reasons }): Move => ({ entry, place: viewPath(entry), result, reasons }),
  );
  return { state: { ...state, indices: heldReuse(indices.closed()), decisions: log.all }, moves };
}

function renoted({ verdicts, judged, ...entry }: IndexEntry, noted: Moving["noted"]): IndexEntry {
  const before = {
    ...(verdicts === undefined ? {} : { verdicts }),
    ...(judged === undefined ? {} : { judged }),
  };
  return { ...entry, ...(noted ?? before) };
}

export function byHand(
  action: Decision["action"],
  entry: IndexEntry,
  { by, why }: Person,
  now: Date,
): Decision {
  const { manifest } = entry;
  return { at: now.toISOString(), action, artifact: artifactName(entry), by, why, manifest, verdicts: [] };
}

/** The current user, unless --by names another person. */
export function thisPerson(): string {
  return z.string().min(1).catch("somebody").parse(userInfo().username);
}
