/**
 * Statements of rebuilds: what whoever built an artifact again signs, and how a registry takes them in. No verdict rests on
 * a bare word: the farm's own second build is stated and taken in like anybody's.
 */
import { readFile } from "node:fs/promises";
import { FarmError } from "../../base/error.ts";
import { ERRORS } from "../../base/error-codes.ts";
import { type Digest, sha256 } from "../../base/json.ts";
import type { Recipe } from "../../builder/records.ts";
import { findingsText, judgeRebuild, type RebuildVerdict, shortKey } from "../../check/rebuilds.ts";
import { provenanceOf, testedBuild } from "../../provenance/build.ts";
import { readBundle } from "../../provenance/bundle.ts";
import { PREDICATE_TYPE } from "../../provenance/slsa.ts";
import {
  failureOf,
  readStatement,
  type StatedModule,
  type Statement,
  statementOf,
} from "../../provenance/statement.ts";
import { boundedFindings } from "../../provenance/test-result.ts";
import { readManifest } from "../../registry/artifact.ts";
import { putBlob, readBlob } from "../../registry/blobs.ts";
import { DecisionLog } from "../../registry/decisions.ts";
import { type IndexEntry, type Manifest, MOST_REBUILDS, type Published } from "../../registry/documents.ts";
import { OpenIndices } from "../../registry/publish.ts";
import { heldReuse } from "../../registry/reuse.ts";
import { type Listed, listAll } from "../../registry/standing.ts";
import { rebuiltArtifact } from "../../registry/stated.ts";
import { viewPath } from "../../registry/view-path.ts";
import { type Gate, openGate } from "../gate/gate.ts";
import { byHand, change, type Person } from "../gate/moves.ts";
import type { Farm } from "../open.ts";
import type { RebuildReport } from "./rebuild.ts";

/**
 * What a rebuild came to, to be signed in the name of who made it: provenance of his own build if it was equal, else a
 * failed test. Undefined where only his machine failed, which says nothing of the artifact.
 */
export async function rebuildStatement(
  report: RebuildReport,
  manifest: Manifest,
  builder: string,
): Promise<Statement | undefined> {
  const { result, attempt, toolchain, surroundings, modules, files } = report;
  const { identity, recipeKey } = manifest;
  const stated = manifest.modules.map(({ name, digests }): StatedModule => {
    const { unsigned: digest, stripped } = digests;
    return { name, digest, ...(stripped === undefined ? {} : { stripped }) };
  });
  const inputs = manifest.inputs?.digest;
  if (result === "equal") {
    const recipe = manifest.recipe as Recipe;
    const log = sha256(await readFile(attempt.logFile));
    const build = { identity, recipe, recipeKey, inputs, log, toolchain };
    return statementOf(stated, provenanceOf(builder, build, { ...surroundings }));
  }
  const { failure } = attempt.record;
  if (failure !== undefined && !["source", "unknown"].includes(ERRORS[failure.code].blame)) return undefined;
  const findings = boundedFindings({
    ...{ result, modules, files },
    ...(failure === undefined ? {} : { cause: failure.cause }),
  });
  const failedTests = [...findings.modules.map(({ name }) => `${name}.ko`)];
  return failureOf(stated, {
    result: "FAILED",
    configuration: testedBuild({ recipeKey, inputs }),
    ...(failedTests.length === 0 ? {} : { failedTests }),
    kmodfarm_rebuild: findings,
  });
}

/** What became of a statement that somebody brought. */
export interface Brought {
  readonly name: string;
  readonly result: "kept" | "known" | "refused";
  /** Artifacts that it is about. */
  readonly places: readonly string[];
  /** What it says, or why it is refused. */
  readonly fact: string;
}

export interface StatementFile {
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * Takes statements in, whoever brings them: kept is what a key of the policy's rebuilders signed and what fits an artifact
 * byte for byte. @throws FarmError STORE_CONFLICT, STORE_CORRUPT, CONFIG_INVALID
 */
export async function addStatements(
  farm: Farm,
  files: readonly StatementFile[],
  { by, why }: Person,
  now: () => Date,
): Promise<readonly Brought[]> {
  let brought: Brought[] = [];
  await change(farm, { who: by, what: "statement", now }, async (state) => {
    const gate = await openGate(farm, () => state, now);
    let after = state;
    brought = [];
    for (const file of files) {
      const taken = await taking(farm, gate, after, file, { by, why }, now);
      after = taken.state;
      brought.push(taken.brought);
    }
    return { state: after, moves: [] };
  });
  return brought;
}

async function taking(
  farm: Farm,
  gate: Gate,
  state: Published,
  { name, bytes }: StatementFile,
  person: Person,
  now: () => Date,
): Promise<{ readonly state: Published; readonly brought: Brought }> {
  const refused = (fact: string) => ({
    state,
    brought: { name, result: "refused" as const, places: [], fact },
  });
  const recipe = recipeStated(bytes, name);
  if (recipe instanceof FarmError) return refused(recipe.message);
  const about = listAll(state.indices).filter(({ entry }) => entry.recipe === recipe);
  if (about.length === 0)
    return refused("no artifact of this registry was built by the recipe that it names");
  const indices = new OpenIndices(state.indices);
  const log = new DecisionLog(state.decisions);
  const places: string[] = [];
  let fact = "";
  let isNew = false;
  for (const listed of about) {
    const { index, entry, channel } = listed;
    const artifact = await rebuiltArtifact(farm.store, entry, await readManifest(farm.store, entry), gate);
    const verdict = judgeRebuild(bytes, artifact, gate.rebuilders);
    if (verdict.kind === "refused") return refused(verdict.because.text);
    const before = await said(farm, listed, artifact, gate);
    places.push(viewPath(entry));
    fact = factOf(verdict);
    // One key says one thing once, however often it signs it.
    if (before.some((one) => one.kind === verdict.kind && one.by === verdict.by)) continue;
    if ((entry.rebuilds?.length ?? 0) >= MOST_REBUILDS)
      return refused(`${viewPath(entry)} has ${MOST_REBUILDS} statements of rebuilds already`);
    isNew = true;
    const digest = await putBlob(farm.store, bytes);
    const { verdicts: _, judged: __, ...rest } = entry;
    const part = { digest, size: bytes.length };
    indices.put(index, { ...rest, rebuilds: [...(entry.rebuilds ?? []), part] }, channel === "stable");
    const why = `${person.why}: ${shortKey(verdict.by)} ${fact} (${digest})`;
    log.add(byHand("evidence", entry, { ...person, why }, now()));
  }
  if (!isNew) return { state, brought: { name, result: "known", places, fact } };
  const after = { ...state, indices: heldReuse(indices.closed()), decisions: log.all };
  return { state: after, brought: { name, result: "kept", places, fact } };
}

type Counted = Exclude<RebuildVerdict, { kind: "refused" }>;

/** What is kept of an artifact already. */
async function said(
  farm: Farm,
  { entry }: Listed,
  artifact: Parameters<typeof judgeRebuild>[1],
  { rebuilders }: Gate,
): Promise<Counted[]> {
  const bundles = await Promise.all((entry.rebuilds ?? []).map(({ digest }) => readBlob(farm.store, digest)));
  return bundles.flatMap((bundle) => {
    const verdict = judgeRebuild(bundle, artifact, rebuilders);
    return verdict.kind === "refused" ? [] : [verdict];
  });
}

function factOf(verdict: Counted): string {
  return verdict.kind === "equal" ? "built the same bytes again" : `built ${findingsText(verdict.findings)}`;
}

/** Which artifact it is about, in its own word: whether that is so is asked afterwards. */
function recipeStated(bytes: Buffer, name: string): IndexEntry["recipe"] | FarmError {
  try {
    const { predicateType, predicate } = readStatement(readBundle(bytes, name).payload, name);
    const recipe =
      predicateType === PREDICATE_TYPE
        ? predicate.buildDefinition.internalParameters?.recipe
        : prefixed(predicate.configuration.find((one) => one.name === "recipe")?.digest?.sha256);
    if (typeof recipe === "string") return recipe as Digest;
    return new FarmError("PROVENANCE_MALFORMED", { about: name, detail: "it names no recipe" });
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.code === "PROVENANCE_MALFORMED") return thrown;
    throw thrown;
  }
}

function prefixed(sha: string | undefined): string | undefined {
  return sha === undefined ? undefined : `sha256:${sha}`;
}
