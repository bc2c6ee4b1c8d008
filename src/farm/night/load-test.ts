/**
 * The load test of a built element, with a memory: the same modules of the same driver in the same kernel are tested once.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { markUsed } from "../../base/cache.ts";
import { digestOf, hexOf, sha256 } from "../../base/json.ts";
import type { Scratch } from "../../base/scratch.ts";
import type { Attempt } from "../../builder/attempt.ts";
import type { NeededDriver } from "../../builder/driver.ts";
import { compressedPath, modulePath, PACKINGS, strippedPath } from "../../builder/outputs.ts";
import type { GuestTools } from "../../catalog/catalog.ts";
import { loadReason } from "../../check/checks/load.ts";
import { guestPackages } from "../../check/guest/tools.ts";
import type { LoadSet } from "../../check/load.ts";
import { Verdict, verdict } from "../../check/verdict.ts";
import { moduleName } from "../../formats/kernel-module.ts";
import type { Element } from "../../matrix/element.ts";
import type { Executor, LoadResult, Watch } from "../executors/executor.ts";

export interface LoadTestContext {
  readonly executor: Executor;
  readonly guests: readonly GuestTools[];
  readonly cache: string;
  readonly scratch: Scratch;
  /** Do what failed by its own fault again. */
  readonly retry: boolean;
}

export type LoadOutcome = Omit<LoadResult, "log"> & { readonly logFile?: string };

/** What is tested. */
export interface LoadSubject {
  readonly attempt: Attempt;
  readonly smoke: string | undefined;
  readonly settings: LoadSet["settings"];
  /** Modules of other drivers that go in before. */
  readonly needs: NeededDriver["modules"];
  readonly rank?: number;
}

/** Raised when what a verdict means changes, so that old verdicts are not taken for new ones. */
const LOAD_TEST_VERSION = 6;

const KeptLoad = z.object({ version: z.literal(LOAD_TEST_VERSION), verdict: Verdict, bootMs: z.int() });

/**
 * Tests an element's modules in its kernel; undefined if another process does. That the boot image is nowhere is a
 * verdict too: unknown.
 * @throws FarmError INTERRUPTED, and what this machine or a mirror does wrong
 */
export async function testLoad(
  element: Element,
  subject: LoadSubject,
  context: LoadTestContext,
  watch: Watch,
): Promise<LoadOutcome | undefined> {
  const set = await loadSet(element, subject);
  const stray = strayParameters(set);
  if (stray !== undefined)
    return { verdict: verdict("load", "unknown", loadReason("strayParameter", stray)) };
  const memory = new LoadMemory(element, subject, context);
  const kept = await memory.recall(set);
  if (kept !== undefined && !(context.retry && kept.verdict.verdict === "fail")) return kept;
  const guest = guestPackages(context.guests, element);
  const result = await context.executor.load({ element, guest, set, rank: subject.rank ?? 0 }, watch);
  return result === undefined ? undefined : memory.remember(result);
}

/** What is inserted: modules as nodes have them, after those that they need. */
export async function loadSet({ driver }: Element, subject: LoadSubject): Promise<LoadSet> {
  const { attempt, smoke, settings, needs } = subject;
  return { driver, modules: await nodeModules(attempt), smoke, settings, needs };
}

/** A module that has parameters but is not built: a test without it would be a different one. */
function strayParameters({ modules, settings }: LoadSet): string | undefined {
  const names = new Set(modules.map(({ name }) => moduleName(name)));
  const stray = Object.keys(settings?.parameters ?? {}).find((name) => !names.has(moduleName(name)));
  return stray === undefined
    ? undefined
    : `the driver's \`load.parameters\` names ${stray}, but its build produces ${[...names].join(", ")}`;
}

/** The modules that a node would load. */
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

/** What is remembered of a test: in the cache, under all that it depends on. */
export class LoadMemory {
  readonly #place: string;
  readonly #scratch: Scratch;

  constructor(
    { driver, packages: { image: images, modules: tree } }: Element,
    { attempt, smoke, settings, needs }: LoadSubject,
    { cache, scratch }: Pick<LoadTestContext, "cache" | "scratch">,
  ) {
    // Modules of the same bytes may be another driver's too, and versions of one share a boot: a verdict is of one driver.
    const trial = [smoke ?? "", settings ?? {}, needs.map(({ name, sha256: digest }) => [name, digest])];
    const subject = [LOAD_TEST_VERSION, driver, images, tree, attempt.record.modules, ...trial];
    this.#place = join(cache, "loads", hexOf(digestOf(subject)));
    this.#scratch = scratch;
  }

  get #logFile(): string {
    return join(this.#place, "load.log");
  }

  /** Undefined if nothing is remembered of these very bytes. */
  async recall({ modules }: LoadSet): Promise<LoadOutcome | undefined> {
    try {
      const text = await readFile(join(this.#place, "load.json"), "utf8");
      const { verdict: found, bootMs } = KeptLoad.parse(JSON.parse(text));
      const inserted = new Map((found.of ?? []).map((one) => [one.module, one.sha256]));
      const isOf = modules.every(({ name, bytes, packed }) =>
        [bytes, packed?.bytes].some(
          (one) => one !== undefined && sha256(one) === inserted.get(moduleName(name)),
        ),
      );
      if (!isOf) return undefined;
      await markUsed(this.#place);
      return { verdict: found, bootMs, logFile: this.#logFile };
    } catch {
      return undefined; // Absent or damaged is the same: it is tested anew.
    }
  }

  /** Unknown is not remembered: the next run asks again. */
  async remember({ log, ...result }: LoadResult): Promise<LoadOutcome> {
    if (log === undefined) return result;
    await this.#scratch.write(this.#logFile, `${log}\n`);
    const { verdict: found, bootMs = 0 } = result;
    if (found.verdict !== "unknown") {
      const kept = { version: LOAD_TEST_VERSION, verdict: found, bootMs } satisfies z.infer<typeof KeptLoad>;
      await this.#scratch.write(join(this.#place, "load.json"), JSON.stringify(kept));
    }
    return { ...result, logFile: this.#logFile };
  }
}
