/**
 * One element through the farm: inputs, build, load test, and what of it goes into the registry.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError, toFarmError, traceOf } from "../../base/error.ts";
import { ERRORS } from "../../base/error-codes.ts";
import { digestOf, hexOf, sha256 } from "../../base/json.ts";
import type { Progress } from "../../base/progress.ts";
import { readFileIn } from "../../base/strange-tree.ts";
import { type Attempt, findAttempt } from "../../builder/attempt.ts";
import type { BuildContext } from "../../builder/build.ts";
import { neededModules } from "../../builder/driver.ts";
import { modulePath, strippedPath } from "../../builder/outputs.ts";
import { recipeKey } from "../../builder/recipe.ts";
import type { OriginRecord, Recipe } from "../../builder/records.ts";
import type { CatalogSource } from "../../catalog/catalog.ts";
import type { Stated } from "../../check/checks/check.ts";
import { untested } from "../../check/checks/load.ts";
import { type Verdict, withTexts } from "../../check/verdict.ts";
import { factsOfRecord, type KernelRecord } from "../../inputs/kernel-record.ts";
import type { KernelPackages } from "../../kernel/distributions/distribution.ts";
import {
  type ImageSays,
  imageFacts,
  type KernelFacts,
  type SignedFact,
  signatureFacts,
} from "../../kernel/facts.ts";
import type { KernelId } from "../../kernel/kernel.ts";
import { unameWords } from "../../kernel/node.ts";
import { type Element, elementKey, elementName, named } from "../../matrix/element.ts";
import type { Evidence as ArtifactEvidence } from "../../registry/artifact.ts";
import {
  type ArtifactContent,
  builtContent,
  identityOf,
  listedModules,
} from "../../registry/artifact-content.ts";
import type { AttemptNote } from "../../registry/documents.ts";
import type { Outcome } from "../../registry/publish.ts";
import { seenModule, statedModule } from "../../registry/stated.ts";
import type { Store } from "../../registry/stores/store.ts";
import type { Watch, Work } from "../executors/executor.ts";
import type { Gate } from "../gate/gate.ts";
import { waitingFor, withWaiting } from "../needs.ts";
import type { Farm } from "../open.ts";
import type { InputsKeeper, KeptInputs } from "../rebuild/kept-inputs.ts";
import type { ModuleSigning } from "../signing/modules.ts";
import type { Attestor } from "../signing/statements.ts";
import type { Steps } from "../steps.ts";
import type { LoadOutcome, LoadTestContext } from "./load-test.ts";

export interface ElementContext extends LoadTestContext {
  readonly build: BuildContext;
  readonly store: Store;
  /** Keeps what an artifact was built from; undefined where that is not all known, or not wanted. */
  readonly keepInputs: (work: Work) => Promise<KeptInputs | undefined>;
  /** Keeps the bill of materials that follows from them. */
  readonly keepBill: InputsKeeper["bill"];
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly gate: Gate;
  readonly modules: ModuleSigning;
  /** Who states how artifacts were built; undefined if nobody does. */
  readonly attestor: Attestor | undefined;
  /** Releases whose toolchain is another release's. */
  readonly toolchains: Readonly<Record<string, string>>;
  /** The configured ones: who may vouch for the packages that an element is built with. */
  readonly sources: readonly CatalogSource[];
  /** Whose signatures of packages count for kernels of a release. */
  readonly signersOf: Farm["signersOf"];
  /** What the catalog lists for a kernel: an element itself may come from anywhere. */
  readonly listed: (kernel: KernelId) => KernelPackages | undefined;
  readonly steps: Steps;
  /** A text as it is published. */
  readonly shown: (text: string) => string;
  /** Whether what is built is load-tested now. */
  readonly isLoaded: boolean;
  /** Keeps what is learned of a kernel; undefined is what cannot be kept. */
  readonly learn: (facts: KernelFacts | undefined) => void;
  readonly now: () => Date;
}

/** What a try at an element taught about its packages, beside its outcome. */
export type Lesson = "notFetchable" | "notLoadable";

export interface Result {
  readonly outcome: Outcome;
  readonly lesson?: Lesson;
}

/**
 * Tries an element to its end; undefined if another process goes on with it. A driver that does not build is an outcome;
 * what anything else does wrong is thrown.
 */
export async function tryElement(work: Work, context: ElementContext): Promise<Result | undefined> {
  const attempt = await attemptBuild(work, context);
  if (attempt === undefined) return undefined;
  if (attempt.record.failure !== undefined) return { outcome: failedBuild(work, attempt, context) };
  const load = await loadOutcome(work, attempt, context);
  return load === undefined ? undefined : publishable(work, attempt, load, context);
}

/** An earlier attempt at the very recipe, or a new one. */
async function attemptBuild(work: Work, context: ElementContext): Promise<Attempt | undefined> {
  const known = await findAttempt(work.recipe, context.build.cache);
  if (known !== undefined && !(context.retry && known.record.failure !== undefined)) return known;
  return context.executor.build(work, watchOf(work, context));
}

function watchOf({ element }: Work, { progress, signal }: ElementContext): Watch {
  return { signal, stage: (stage, detail) => progress.element(named(element), stage, detail) };
}

const SMOKE_LIMIT_BYTES = 1024 * 1024;

/**
 * The driver's own script, whole: the beginning of one could pass where all of it fails.
 * @throws FarmError DRIVER_INVALID for one that is too long
 */
export function readSmoke(directory: string, file: string): string | undefined {
  const bytes = readFileIn(directory, file, SMOKE_LIMIT_BYTES + 1);
  if (bytes === undefined || bytes.length <= SMOKE_LIMIT_BYTES) return bytes?.toString("utf8");
  throw new FarmError("DRIVER_INVALID", {
    detail: `the smoke script ${file} is longer than the allowed ${SMOKE_LIMIT_BYTES} bytes`,
    at: { file },
    hint: "Shorten the script, and put what it needs into the driver.",
  });
}

async function loadOutcome(
  work: Work,
  attempt: Attempt,
  context: ElementContext,
): Promise<LoadOutcome | undefined> {
  const { element, driver } = work;
  if (!context.isLoaded) return { verdict: untested() };
  const { smoke, load } = driver;
  const script = smoke === undefined ? undefined : readSmoke(driver.source.directory, smoke);
  const subject = { attempt, smoke: script, settings: load, needs: neededModules(driver), rank: work.rank };
  return context.steps.testLoad(element, subject, context, watchOf(work, context));
}

async function publishable(
  work: Work,
  attempt: Attempt,
  load: LoadOutcome,
  context: ElementContext,
): Promise<Result> {
  const { element } = work;
  const { verdict: loaded, bootMs, logFile, isOutOfReach } = load;
  const kernel = await context.steps.fetchKernelRecord(element, context.build.inputs, context.signal);
  context.learn(factsOfRecord(element, kernel));
  const content = await builtContent(element, attempt);
  const kept = await keptOf(work, content, context);
  const stated = await stateBuild(work, content, kept, context);
  const found = await readVerdicts(work, attempt, { kernel, loaded, stated }, context);
  const verdicts = found.map((one) => withTexts(one, context.shown));
  const { source, needed = [] } = work.driver;
  const judged = withWaiting(
    await context.gate.judge(element, listedModules(content), verdicts, source.digest),
    waitingFor(needed),
  );
  const { isStable, refusals } = judged;
  const stored = await context.steps.storeArtifact(context.store, element, content, {
    verdicts,
    refusals,
    kernel,
    ...{ bundles: stated.bundles, ...kept },
    noted: context.gate.noted(judged, needed.length === 0),
  });
  // A signature is a promise to nodes: only what they get has one.
  const entry = isStable ? await context.modules.signed(stored) : stored;
  const note: AttemptNote = {
    ...noteOf({ ...work, origin: work.driver.origin }, context),
    ...oddities(attempt),
    buildMs: attempt.record.buildMs,
    load: { verdict: loaded, ...(bootMs === undefined ? {} : { bootMs }) },
    ...(isStable ? {} : { refusals: [...refusals] }),
    ...(isStable || needed.length === 0 ? {} : { waitsFor: [...(judged.waitsFor ?? [])] }),
    ...(context.gate.isUpcoming(element) ? { upcoming: true as const } : {}),
  };
  const logs = { log: attempt.logFile, ...(logFile === undefined ? {} : { console: logFile }) };
  const decision = context.gate.decision(entry, judged, "kmodfarm run");
  const explained = isStable ? {} : { logs };
  const outcome = { element, note, artifact: { entry, isStable }, decision, ...explained, isSettled: true };
  return isOutOfReach ? { outcome, lesson: "notLoadable" } : { outcome };
}

/** What it was built from, as the registry keeps it, and as a bill of materials. */
async function keptOf(
  work: Work,
  content: ArtifactContent,
  { keepInputs, keepBill }: ElementContext,
): Promise<Pick<ArtifactEvidence, "inputs" | "sbom">> {
  const kept = await keepInputs(work);
  if (kept === undefined) return {};
  const modules = listedModules(content).map(statedModule);
  return { inputs: kept.part, sbom: await keepBill(kept, content.recipeKey, modules) };
}

/** Only what this farm planned and watched is stated: what came of it is compared like anybody's statement. */
async function stateBuild(
  { element, driver, recipe }: Work,
  content: ArtifactContent,
  { inputs, sbom }: Pick<ArtifactEvidence, "inputs" | "sbom">,
  { attestor, gate, steps, toolchains }: ElementContext,
): Promise<Stated & { readonly bundles: readonly Buffer[] }> {
  const [identity, log] = [identityOf(element, content.driver), sha256(content.log)];
  const listed = listedModules(content);
  const modules = listed.map(statedModule);
  const { origin } = driver;
  const toolchain = toolchains[element.distribution] ?? element.distribution;
  const kept = { inputs: inputs?.digest, sbom: sbom?.digest };
  const materials = { recipe, recipeKey: content.recipeKey, ...kept, log };
  const build = { identity, ...materials, origin, toolchain };
  const bundles = attestor === undefined ? [] : [await steps.attest(attestor, build, modules)];
  return {
    ...{ bundles, builders: gate.builders, of: listed.map(seenModule) },
    build: { identity, modules, materials },
  };
}

/** What is known beside an attempt. */
interface KnownBeside {
  readonly kernel: KernelRecord;
  readonly loaded: Verdict;
  readonly stated: Stated;
}

/** What the checks say of modules as nodes get them. */
async function readVerdicts(
  { element, driver }: Work,
  { record, directory }: Attempt,
  { kernel, loaded, stated }: KnownBeside,
  { gate, sources, signersOf, listed, steps, build, scratch, cache, learn, signal }: ElementContext,
): Promise<Verdict[]> {
  const files = await Promise.all(
    record.modules.map(async ({ name, stripped }) => ({
      name: `${name}.ko`,
      bytes: await readFile(join(directory, stripped === undefined ? modulePath(name) : strippedPath(name))),
    })),
  );
  const { packages } = element;
  const request = {
    ...{ kernel, packages, files, loaded, stated, signers: gate.signers, needed: neededModules(driver) },
    moduleVersion: driver.moduleVersion,
    learn: (said: ImageSays) => learn(imageFacts(element, said)),
    saysAlone: unameWords(element) === undefined,
    learnSigned: (signed: readonly SignedFact[]) => learn(signatureFacts(element, signed)),
    origin: {
      kind: "built" as const,
      used: Object.values(packages).flat(),
      listed: listed(element),
      sources,
      signers: signersOf(element.distribution)?.fingerprints ?? [],
    },
  };
  return steps.judgeModules(request, { inputs: build.inputs, scratch, cache }, signal);
}

/** What of an attempt was not as it should be, though it came to something. */
function oddities({ record: { inputs, mismatch } }: Attempt): Pick<AttemptNote, "inputs" | "mismatch"> {
  const found = inputs.filter(
    ({ from, tried }) => (from !== "mirror" && from !== "cache") || tried.length > 0,
  );
  return {
    ...(found.length === 0 ? {} : { inputs: found }),
    ...(mismatch === undefined ? {} : { mismatch }),
  };
}

function failedBuild(work: Work, attempt: Attempt, context: ElementContext): Outcome {
  const { record, logFile } = attempt;
  const failure = record.failure as NonNullable<typeof record.failure>;
  const { cause, file, lineNumber, line } = failure;
  const { blame } = ERRORS[failure.code];
  const where = file === undefined ? line : `${file}${lineNumber === undefined ? "" : `:${lineNumber}`}`;
  if (failure.code === "KERNEL_EXCLUDED") context.progress.element(named(work.element), "excluded", cause);
  else context.progress.element(named(work.element), "failed", `${cause}${where === "" ? "" : `: ${where}`}`);
  const note = {
    ...noteOf({ ...work, origin: work.driver.origin }, context),
    ...oddities(attempt),
    buildMs: record.buildMs,
    failure: { ...failure, blame },
  };
  return {
    element: work.element,
    note,
    logs: { log: logFile },
    isSettled: blame === "source" || blame === "input",
  };
}

/** What never came to a build log leaves its error as one. Never throws: `recipe` is unknown when planning already failed. */
export async function failedOutcome(
  { element, recipe }: Pick<Work, "element"> & { readonly recipe: Recipe | undefined },
  error: FarmError,
  context: ElementContext,
): Promise<Outcome> {
  const { code, blame, hint } = error;
  const message = error.message.toWellFormed();
  const logFile = await keepError(element, recipe, error, context);
  const note = {
    ...noteOf({ element, recipe, origin: undefined }, context),
    failure: { code, blame, cause: message, line: "", advice: hint },
  };
  const logs = logFile === undefined ? {} : { logs: { log: logFile } };
  return {
    element,
    note,
    ...logs,
    isSettled: recipe !== undefined && (blame === "source" || blame === "input"),
  };
}

/** Where an error was written, in full; undefined where that failed too, which is reported. */
async function keepError(
  element: Element,
  recipe: Recipe | undefined,
  error: FarmError,
  { build, progress, shown }: ElementContext,
): Promise<string | undefined> {
  const { code, message, at, stack } = error;
  try {
    const place = recipe === undefined ? digestOf(elementKey(element)) : recipeKey(recipe);
    const logFile = join(build.cache, "unfinished", hexOf(place), "error.log");
    const trace = traceOf(error) || stack;
    const text = `${code}: ${message}\n${JSON.stringify(at)}\n${trace ?? ""}\n`;
    await build.scratch.write(logFile, shown(text));
    return logFile;
  } catch (thrown) {
    progress.say(`${elementName(element)}: its error cannot be stored: ${toFarmError(thrown).message}`);
    return undefined;
  }
}

interface NoteSubject {
  readonly element: Element;
  readonly recipe: Recipe | undefined;
  readonly origin: OriginRecord | undefined;
}

function noteOf({ element, recipe, origin }: NoteSubject, context: ElementContext) {
  const { compiler } = element;
  return {
    element: elementKey(element),
    ...(recipe === undefined ? {} : { recipe: recipeKey(recipe) }),
    // A directory is where the configuration says; the others are resolved to something that stays.
    ...(origin === undefined || origin.kind === "directory" ? {} : { origin }),
    at: context.now().toISOString(),
    compiler: compiler === undefined ? "unknown" : `${compiler.family}-${compiler.version}`,
  };
}
