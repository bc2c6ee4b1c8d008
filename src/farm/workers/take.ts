/**
 * Taking over what workers made. A hand-over is hostile until every byte of it is what its order asked for: it is read
 * from a copy of our own, checked, and only then an attempt or a verdict of this farm's cache. What is refused is kept
 * in quarantine with the reason.
 */
import { lstat, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { unpackWhole } from "../../base/decompress.ts";
import { FarmError, isErrno, toFarmError } from "../../base/error.ts";
import { ERRORS } from "../../base/error-codes.ts";
import { canonicalJson, type Digest, digestOf, parseDocument } from "../../base/json.ts";
import { exists, type Scratch } from "../../base/scratch.ts";
import { copyFileIn, removeTree } from "../../base/strange-tree.ts";
import {
  type Attempt,
  findAttempt,
  findAttemptOf,
  keepAttempt,
  keepFirstAttempt,
} from "../../builder/attempt.ts";
import { compressedPath, modulePath, PACKINGS, strippedPath } from "../../builder/outputs.ts";
import type { AttemptRecord } from "../../builder/records.ts";
import { shortened } from "../../check/verdict.ts";
import { openModule, packingOf } from "../../formats/compressed-module.ts";
import { moduleName, readKernelModule } from "../../formats/kernel-module.ts";
import { checkStripped } from "../../formats/stripped-module.ts";
import { elementKey, elementName } from "../../matrix/element.ts";
import { countedOrder, issuedOrder } from "../executors/orders.ts";
import { LoadMemory, loadSet } from "../night/load-test.ts";
import { followingTest } from "./following-test.ts";
import { checkHandOver, refused, sizeLimit } from "./hand-over-check.ts";
import { describedIn, headOf, unpackHandOver } from "./hand-over-file.ts";
import { type BuildOrder, type HandOver, type LoadOrder, Order, orderDigest } from "./order.ts";
import type { OrderDirectory } from "./order-directory.ts";
import { keepRefused } from "./quarantine.ts";

/** What one hand-over was worth. */
export type Taken =
  /** Used now, or the same as what was used before. */
  | {
      readonly kind: "taken" | "again";
      readonly name: string;
      /** The key of its element. */
      readonly element: string;
      readonly recipe: string;
    }
  /** It did not build, and nothing proves whose fault that is: the order counts as one try. */
  | {
      readonly kind: "unproven";
      readonly name: string;
      readonly element: string;
      readonly recipe: string;
      readonly attempt: Attempt;
    }
  /** The worker could not carry the order out, and says why. */
  | { readonly kind: "fault"; readonly name: string; readonly code: string; readonly message: string };

export interface TakeContext {
  readonly cache: string;
  readonly scratch: Scratch;
  /** The orders that another machine gave; default: those that this farm's cache remembers. */
  readonly orders?: Pick<OrderDirectory, "order">;
  readonly now: Date;
  /** What it claimed when it was compared with others: what it says by now must be that. Default: anything. */
  readonly claimed?: Claim | "nothing";
  /** Whether what is refused is kept. Default: yes. */
  readonly keepsRefused?: boolean;
}

/**
 * Quarantine → checked → an attempt or a verdict of the cache.
 * @throws FarmError HAND_OVER_REFUSED naming what is wrong; the hand-over is in quarantine then
 */
export function takeHandOver(file: string, context: TakeContext): Promise<Taken> {
  return withCopy(context, async (copy, evidence) => {
    try {
      return await use(await checked(file, copy, evidence, context), evidence, context);
    } catch (thrown) {
      const error = asRefusal(thrown);
      throw error.code === "HAND_OVER_REFUSED" ? await putAside(file, copy, error, context) : error;
    }
  });
}

/** Refuses one whatever it says, and keeps it. */
export function refuseHandOver(file: string, error: FarmError, context: TakeContext): Promise<FarmError> {
  return withCopy(context, (copy) => putAside(file, copy, error, context));
}

async function withCopy<T>(
  { scratch }: TakeContext,
  work: (copy: string, evidence: string) => Promise<T>,
): Promise<T> {
  const copy = scratch.path();
  const evidence = scratch.path();
  await mkdir(evidence, { recursive: true, mode: 0o700 });
  try {
    return await work(copy, evidence);
  } finally {
    await rm(copy, { force: true });
    await removeTree(evidence);
  }
}

async function putAside(
  file: string,
  copy: string,
  error: FarmError,
  context: TakeContext,
): Promise<FarmError> {
  const { keepsRefused = true } = context;
  const kept = keepsRefused ? { kept: await quarantine(file, copy, error, context) } : {};
  return new FarmError("HAND_OVER_REFUSED", {
    detail: `${basename(file)} is refused: ${error.message}`,
    at: { file, ...kept },
    hint: error.hint,
    cause: error,
  });
}

/** What a hand-over decides for good if it is used. */
export interface Claim {
  /** The recipe, or the modules in their kernel, that it is about: orders of several plans may be of one. */
  readonly about: Digest;
  /** Two that differ contradict each other. */
  readonly outcome: Digest;
}

/** What a hand-over claims, by its description alone; undefined where it decides nothing, or is no good. */
export async function claimOf(file: string, context: TakeContext): Promise<Claim | undefined> {
  try {
    const { order, digest, handOver } = await describe(file, context);
    checkHandOver(handOver, order, digest, context.now);
    return claimIn(order, handOver);
  } catch {
    // Whoever takes it hears of it.
    return undefined;
  }
}

function claimIn(order: Order, handOver: HandOver): Claim | undefined {
  const outcome = decisionOf(handOver);
  return outcome === undefined ? undefined : { about: subjectOf(order), outcome: digestOf(outcome) };
}

function isSameClaim(before: Claim | "nothing", now: Claim | undefined): boolean {
  if (before === "nothing" || now === undefined) return before === "nothing" && now === undefined;
  return before.about === now.about && before.outcome === now.outcome;
}

/** As attempts and verdicts are kept. */
function subjectOf(order: Order): Digest {
  const of = order.kind === "build" ? order.recipe : [order.element.recipe, order.set];
  return digestOf([order.kind, of]);
}

/** Whether it is of a test that follows from a build, which must be taken before. */
export async function followsBuild(file: string): Promise<boolean> {
  try {
    return (await describedIn(file)).after !== undefined;
  } catch {
    // Whoever takes it hears of it.
    return false;
  }
}

function decisionOf({ attempt, load }: HandOver): string | undefined {
  if (load !== undefined) return load.verdict.verdict === "unknown" ? undefined : load.verdict.verdict;
  if (attempt === undefined) return undefined;
  const isProven = attempt.failure === undefined || ERRORS[attempt.failure.code].blame === "source";
  return isProven ? outcomeOf(attempt) : undefined;
}

/** Whether every byte of it is what it says, and what its order asked for. */
export function isSound(file: string, context: TakeContext): Promise<boolean> {
  return withCopy(context, async (copy, evidence) => {
    try {
      await checked(file, copy, evidence, context);
      return true;
    } catch {
      // Whoever takes it hears of it.
      return false;
    }
  });
}

interface Checked {
  readonly order: Order;
  readonly digest: Digest;
  readonly handOver: HandOver;
}

/** Reads a hand-over from a copy of ours, and writes its files to where they can be used. */
async function checked(file: string, copy: string, evidence: string, context: TakeContext): Promise<Checked> {
  const described = await describe(file, context);
  const { order, digest, handOver } = described;
  checkHandOver(handOver, order, digest, context.now);
  const { claimed } = context;
  if (claimed !== undefined && !isSameClaim(claimed, claimIn(order, handOver)))
    throw refused("it was changed while it was taken");
  if (handOver.error !== undefined) return described;
  const limit = sizeLimit(order);
  const tooLarge = () => refused(`it has more than the ${limit} bytes that its order allows`);
  // Holes cost whoever made them nothing, and us a copy; what it is by then is asked of the copy.
  if ((await lstat(file)).size > limit) throw tooLarge();
  if (copyFileIn(dirname(file), basename(file), copy, limit + 1) === undefined)
    throw refused("it is not a plain file any more");
  if ((await stat(copy)).size > limit) throw tooLarge();
  await unpackHandOver(copy, handOver, evidence);
  if (order.kind === "build")
    for (const module of handOver.attempt?.modules ?? []) await checkModule(order, module, evidence);
  return described;
}

async function use(
  { order, digest, handOver }: Checked,
  evidence: string,
  context: TakeContext,
): Promise<Taken> {
  const name = elementName(order.element);
  if (handOver.error !== undefined) {
    const { code, message } = handOver.error;
    return { kind: "fault", name, code, message };
  }
  const about = { name, element: elementKey(order.element), recipe: order.element.recipe ?? "" };
  const failure = handOver.attempt?.failure;
  const blame = failure === undefined ? undefined : ERRORS[failure.code].blame;
  if (handOver.attempt !== undefined && failure !== undefined && blame !== "source") {
    // It is no attempt that counts for good, but its log is kept.
    const attempt = await keepAttempt(handOver.attempt, evidence, context.cache);
    if (blame !== "unknown") return { kind: "fault", name, code: failure.code, message: failure.cause };
    return (await countTry(digest, context))
      ? { kind: "unproven", ...about, attempt }
      : { kind: "again", ...about };
  }
  const kind =
    order.kind === "build"
      ? await takeAttempt(order, handOver.attempt as AttemptRecord, evidence, context)
      : await takeVerdict(order, handOver, evidence, context);
  return { kind, ...about };
}

/** Whether an order's try was not counted before: one directory may be taken many times. */
async function countTry(digest: Digest, { cache, scratch }: TakeContext): Promise<boolean> {
  const mark = countedOrder(cache, digest);
  if (await exists(mark)) return false;
  await scratch.write(mark, "");
  return true;
}

/** What a hand-over says of itself, and the order that it names. */
async function describe(file: string, context: TakeContext) {
  const handOver = await describedIn(file);
  const digest = handOver.order as Digest;
  const { after } = handOver;
  const order = await (after === undefined
    ? orderOf(digest, context)
    : orderAfter(after as Digest, digest, context));
  if (order === undefined)
    throw refused(
      `this farm gave no order ${digest}`,
      undefined,
      "If another machine planned, name its directory of orders with --orders. Otherwise order again with `kmodfarm plan`.",
    );
  return { order, digest, handOver };
}

/** The load order that follows from a build order of this farm, and from what was handed over for that. */
async function orderAfter(
  build: Digest,
  digest: Digest,
  context: TakeContext,
): Promise<LoadOrder | undefined> {
  const order = await orderOf(build, context);
  if (order?.kind !== "build") return undefined;
  const attempt = await findAttempt(order.recipe, context.cache);
  if (attempt === undefined)
    throw new FarmError("NOT_FETCHABLE", {
      detail: `the modules of ${elementName(order.element)}, which were tested, were not handed over`,
      hint: "Take the hand-over of the build too. If it is lost, plan again.",
    });
  const following = await followingTest(order, attempt);
  if (following === undefined || orderDigest(following.order) !== digest)
    throw refused("it tested other modules than those that were handed over for the build");
  return following.order;
}

async function orderOf(digest: Digest, { cache, orders }: TakeContext): Promise<Order | undefined> {
  if (orders !== undefined) return orders.order(digest);
  const file = issuedOrder(cache, digest);
  const text = await readFile(file, "utf8").catch((thrown) => {
    if (isErrno(thrown) && thrown.code === "ENOENT") return undefined;
    throw thrown;
  });
  if (text === undefined) return undefined;
  const order = parseDocument(Order, text, file);
  return orderDigest(order) === digest ? order : undefined;
}

async function takeAttempt(
  order: BuildOrder,
  attempt: AttemptRecord,
  evidence: string,
  { cache }: TakeContext,
): Promise<"taken" | "again"> {
  const known = await findAttempt(order.recipe, cache);
  // What failed was ordered again to see whether that was the machine's doing.
  if (order.isRetry && known?.record.failure !== undefined && attempt.failure === undefined) {
    await keepAttempt(attempt, evidence, cache);
    return "taken";
  }
  if (known === undefined && (await keepFirstAttempt(attempt, evidence, cache))) return "taken";
  const first = known ?? (await findAttempt(order.recipe, cache));
  if (first === undefined || outcomeOf(first.record) !== outcomeOf(attempt))
    throw refused(
      "another hand-over of the same order, or this farm itself, came to other modules: one recipe has one result",
      undefined,
      "The first result stays. Compare its modules with those that are kept: the worker is wrong, or the build is not reproducible.",
    );
  return "again";
}

/** What a build came to, without how long it took. */
function outcomeOf({ modules, files = [], failure }: AttemptRecord): string {
  return canonicalJson([modules, files, failure?.code ?? null]);
}

/** The shapes of a module are of the very module that was built. */
async function checkModule(
  { driver }: BuildOrder,
  { name, stripped, compressed }: AttemptRecord["modules"][number],
  evidence: string,
): Promise<void> {
  const file = `${name}.ko`;
  const built = await readFile(join(evidence, modulePath(name)));
  if (readKernelModule(built, file).name !== moduleName(file))
    throw refused(`its ${file} says that it has another name`);
  const plain = stripped === undefined ? built : await readFile(join(evidence, strippedPath(name)));
  if (stripped !== undefined) {
    checkStripped(built, plain, file);
    readKernelModule(plain, file);
  }
  const { compress } = driver.build;
  if (compressed === undefined || compress === undefined) return;
  const packed = await readFile(join(evidence, compressedPath(name, compress)));
  const isPacked = packingOf(packed) === PACKINGS[compress];
  if (!isPacked || !(await openModule(packed, file, unpackWhole)).equals(plain))
    throw refused(`its compressed ${file} does not hold the module that was built`);
}

async function takeVerdict(
  order: LoadOrder,
  { load, files }: HandOver,
  evidence: string,
  { cache, scratch }: TakeContext,
): Promise<"taken" | "again"> {
  const { element, set } = order;
  const attempt = await findAttemptOf(element.recipe ?? "", cache);
  if (attempt === undefined)
    throw new FarmError("NOT_FETCHABLE", {
      detail: `the modules of ${elementName(element)}, which were tested, are not in this cache any more`,
      hint: "Plan again: they are ordered anew.",
    });
  const needs = set.needs.map(({ name, digest }) => ({
    name,
    sha256: digest as Digest,
    bytes: Buffer.alloc(0),
  }));
  const subject = { attempt, smoke: set.smoke, settings: set.settings as never, needs };
  const memory = new LoadMemory(element, subject, { cache, scratch });
  const result = load as NonNullable<typeof load>;
  const known = await memory.recall(await loadSet(element, subject));
  const isOverruled = order.isRetry && known?.verdict.verdict === "fail" && result.verdict.verdict === "pass";
  if (known !== undefined && !isOverruled) {
    if (known.verdict.verdict === result.verdict.verdict) return "again";
    throw refused(
      `it says ${result.verdict.verdict} of modules of which a test before it said ${known.verdict.verdict}`,
    );
  }
  const { verdict, bootMs, isOutOfReach } = result;
  const log = files.length === 0 ? undefined : await readFile(join(evidence, "load.log"), "utf8");
  await memory.remember({
    verdict,
    ...(log === undefined ? {} : { log: log.replace(/\n$/, "") }),
    ...(bootMs === undefined ? {} : { bootMs }),
    ...(isOutOfReach === undefined ? {} : { isOutOfReach }),
  });
  return "taken";
}

const REASON_CHARACTERS = 2000;

/** What bytes from outside do wrong, in whatever words, is a refusal; anything else is this machine's. */
function asRefusal(thrown: unknown): FarmError {
  const error = toFarmError(thrown);
  const isTheirs = ["PACKAGE_MALFORMED", "MODULE_MALFORMED", "DOCUMENT_INVALID", "UNSAFE_NAME"].includes(
    error.code,
  );
  if (error.code !== "HAND_OVER_REFUSED" && !isTheirs) return error;
  // Their words are in it.
  return refused(shortened(error.message.toWellFormed(), REASON_CHARACTERS), thrown);
}

/** Keeps what was refused, as far as it was read. */
async function quarantine(
  file: string,
  copy: string,
  error: FarmError,
  { cache, scratch, now }: TakeContext,
): Promise<string> {
  if (!(await exists(copy))) {
    await writeFile(copy, headOf(file) ?? "");
  }
  const refusal = { file: file.toWellFormed(), reason: error.message, at: now.toISOString() };
  return keepRefused(copy, refusal, { cache, scratch });
}
