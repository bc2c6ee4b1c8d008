/**
 * The load test of a built element, with a memory: the same modules of the same driver in the same kernel are tested once.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type PQueue from "p-queue";
import { z } from "zod";
import { markUsed } from "../base/cache.ts";
import { type FarmError, toFarmError } from "../base/error.ts";
import { digestOf, hexOf, sha256 } from "../base/json.ts";
import type { Stage } from "../base/progress.ts";
import type { Attempt } from "../builder/attempt.ts";
import type { NeededDriver } from "../builder/driver.ts";
import { compressedPath, modulePath, PACKINGS, strippedPath } from "../builder/outputs.ts";
import type { GuestTools } from "../catalog/catalog.ts";
import type { BootContext } from "../check/boot-image.ts";
import { guestPackages } from "../check/guest-tools.ts";
import { type LoadReport, type LoadSet, loadModules } from "../check/load.ts";
import { Verdict } from "../check/verdict.ts";
import { moduleName } from "../formats/kernel-module.ts";
import { kernelName, type Package } from "../kernel/kernel.ts";
import type { Element } from "../matrix/element.ts";

export interface LoadTestContext {
  readonly boot: BootContext;
  readonly guests: readonly GuestTools[];
  readonly loads: LoadQueue;
  readonly signal: AbortSignal;
  /** Do what failed by its own fault again. */
  readonly retry: boolean;
}

export interface LoadOutcome {
  readonly verdict: Verdict;
  readonly bootMs?: number;
  readonly logFile?: string;
  /** The boot image is listed and cannot be had. */
  readonly isOutOfReach?: boolean;
}

/** What is tested. */
export interface LoadSubject {
  readonly attempt: Attempt;
  readonly smoke: string | undefined;
  readonly settings: LoadSet["settings"];
  /** Modules of other drivers that go in before. */
  readonly needs: NeededDriver["modules"];
}

/** Raised when what a verdict means changes, so that old verdicts are not taken for new ones. */
const LOAD_TEST_VERSION = 6;

const KeptLoad = z.object({ version: z.literal(LOAD_TEST_VERSION), verdict: Verdict, bootMs: z.int() });

/**
 * Tests an element's modules in its kernel. That the boot image is nowhere is a verdict too: unknown.
 * @throws FarmError INTERRUPTED, and what this machine or a mirror does wrong
 */
export async function testLoad(
  element: Element,
  { attempt, smoke, settings, needs }: LoadSubject,
  image: Promise<string> | undefined,
  context: LoadTestContext,
  onStage: (stage: Stage, detail?: string) => void,
): Promise<LoadOutcome> {
  const guest = guestPackages(context.guests, element);
  if (image === undefined)
    return { verdict: unknown("no index lists a boot image of this kernel"), isOutOfReach: true };
  onStage("fetching", "boot image");
  const missing = await failureOf(image);
  onStage("waiting");
  if (missing !== undefined) {
    // That it cannot be had is a fact of the kernel; anything else is one of this night, and not to be passed over.
    if (missing.code !== "NOT_FETCHABLE") throw missing;
    return { verdict: unknown(missing.message), isOutOfReach: true };
  }
  const { driver } = element;
  const { image: images, modules: tree } = element.packages;
  // Modules of the same bytes may be another driver's too, and versions of one share a boot: a verdict is of one driver.
  const trial = [smoke ?? "", settings ?? {}, needs.map(({ name, sha256: digest }) => [name, digest])];
  const subject = [LOAD_TEST_VERSION, driver, images, tree, attempt.record.modules, ...trial];
  const place = join(context.boot.cache, "loads", hexOf(digestOf(subject)));
  const logFile = join(place, "load.log");
  const set = { driver, modules: await nodeModules(attempt), smoke, settings, needs };
  const stray = strayParameters(set);
  if (stray !== undefined) return { verdict: unknown(stray) };
  const kept = await recall(join(place, "load.json"), set);
  if (kept !== undefined) await markUsed(place);
  if (kept !== undefined && !(context.retry && kept.verdict.verdict === "fail")) return { ...kept, logFile };
  try {
    const report = await context.loads.load(element, guest, set, () => onStage("booting"));
    await remember(report, place, logFile, context.boot);
    return { verdict: report.verdict, bootMs: report.bootMs, logFile };
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "NOT_FETCHABLE") throw error;
    return { verdict: unknown(error.message) };
  }
}

/** What a parameter is given to that a build does not give: a test without it would be another one. */
function strayParameters({ modules, settings }: LoadSet): string | undefined {
  const names = new Set(modules.map(({ name }) => moduleName(name)));
  const stray = Object.keys(settings?.parameters ?? {}).find((name) => !names.has(moduleName(name)));
  return stray === undefined
    ? undefined
    : `\`load.parameters\` of the driver names ${stray}, but it gives ${[...names].join(", ")}`;
}

function unknown(reason: string): Verdict {
  return { check: "load", verdict: "unknown", reasons: [reason] };
}

async function failureOf(work: Promise<unknown>): Promise<FarmError | undefined> {
  try {
    await work;
    return undefined;
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code === "INTERRUPTED") throw error;
    return error;
  }
}

/** What a node would insert. */
async function nodeModules({ record, directory }: Attempt): Promise<LoadSet["modules"]> {
  const compression = record.recipe.driver.build?.compress;
  const read = (path: string) => readFile(join(directory, path));
  return Promise.all(
    record.modules.map(async ({ name, stripped, compressed }) => ({
      name,
      bytes: await read(stripped === undefined ? modulePath(name) : strippedPath(name)),
      packed:
        compression === undefined || compressed === undefined
          ? undefined
          : { packing: PACKINGS[compression], bytes: await read(compressedPath(name, compression)) },
    })),
  );
}

/**
 * Load tests of one driver that wait for one kernel share its boot: whichever gets a processor first takes the others
 * along. Another driver's have a boot of their own, because what runs in a kernel can report anything of it.
 */
export class LoadQueue {
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #processors: PQueue;
  readonly #boot: BootContext;
  readonly #signal: AbortSignal;

  constructor(processors: PQueue, boot: BootContext, signal: AbortSignal) {
    this.#processors = processors;
    this.#boot = boot;
    this.#signal = signal;
  }

  async load(
    element: Element,
    guest: readonly Package[],
    set: LoadSet,
    onBoot: () => void,
  ): Promise<LoadReport> {
    const key = `${set.driver} ${kernelName(element)}`;
    const { promise, resolve, reject } = Promise.withResolvers<LoadReport>();
    this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), { set, onBoot, resolve, reject }]);
    const job = this.#processors.add(() => this.#bootFor(key, element, guest), {
      signal: this.#signal,
      priority: 1,
    });
    job.catch(reject);
    return promise;
  }

  async #bootFor(key: string, kernel: Element, guest: readonly Package[]): Promise<void> {
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    if (waiting.length === 0) return;
    for (const { onBoot } of waiting) onBoot();
    try {
      const sets = waiting.map(({ set }) => set);
      const reports = await loadModules({ kernel, guest, sets }, this.#boot, this.#signal);
      for (const [index, { resolve }] of waiting.entries()) resolve(reports[index] as LoadReport);
    } catch (thrown) {
      for (const { reject } of waiting) reject(thrown);
    }
  }
}

interface Waiting {
  readonly set: LoadSet;
  readonly onBoot: () => void;
  readonly resolve: (report: LoadReport) => void;
  readonly reject: (reason: unknown) => void;
}

/** Undefined where nothing is remembered of these very bytes. */
async function recall(file: string, { modules }: LoadSet): Promise<z.infer<typeof KeptLoad> | undefined> {
  try {
    const kept = KeptLoad.parse(JSON.parse(await readFile(file, "utf8")));
    const { of = [] } = kept.verdict;
    const inserted = new Map(of.map((one) => [one.module, one.sha256]));
    const isOf = modules.every(({ name, bytes, packed }) =>
      [bytes, packed?.bytes].some(
        (one) => one !== undefined && sha256(one) === inserted.get(moduleName(name)),
      ),
    );
    return isOf ? kept : undefined;
  } catch {
    return undefined;
  }
}

/** Unknown is not remembered: the next run asks again. */
async function remember(
  report: LoadReport,
  place: string,
  logFile: string,
  { scratch }: BootContext,
): Promise<void> {
  await scratch.write(logFile, `${report.log}\n`);
  if (report.verdict.verdict === "unknown") return;
  await scratch.write(
    join(place, "load.json"),
    JSON.stringify({
      version: LOAD_TEST_VERSION,
      verdict: report.verdict,
      bootMs: report.bootMs,
    } satisfies z.infer<typeof KeptLoad>),
  );
}
