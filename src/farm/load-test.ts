/**
 * The load test of a built element, with a memory: the same modules in the same kernel are tested once.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type PQueue from "p-queue";
import { z } from "zod";
import { markUsed } from "../base/cache.ts";
import { type FarmError, toFarmError } from "../base/error.ts";
import { digestOf, hexOf } from "../base/json.ts";
import type { Stage } from "../base/progress.ts";
import type { Attempt } from "../build/attempt.ts";
import { modulePath, strippedPath } from "../build/outputs.ts";
import type { GuestTools } from "../catalog/catalog.ts";
import type { BootContext } from "../check/boot-image.ts";
import { guestPackages } from "../check/guest-tools.ts";
import { type LoadReport, loadModules } from "../check/load.ts";
import { Verdict } from "../check/verdict.ts";
import type { Package } from "../kernel/kernel.ts";
import type { Element } from "../matrix/element.ts";

export interface LoadTestContext {
  readonly boot: BootContext;
  readonly guests: readonly GuestTools[];
  readonly processors: PQueue;
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

/** Raised when the guest's script changes what a verdict means, so that old verdicts are not taken for new ones. */
const LOAD_TEST_VERSION = 1;

const KeptLoad = z.object({ verdict: Verdict, bootMs: z.int() });

/**
 * Tests an element's modules in its kernel. That the boot image is nowhere is a verdict too: unknown.
 * @throws FarmError INTERRUPTED, and what this machine or a mirror does wrong
 */
export async function testLoad(
  element: Element,
  attempt: Attempt,
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
  const { images, modules } = { images: element.packages.image, modules: attempt.record.modules };
  const subject = digestOf([LOAD_TEST_VERSION, images, element.packages.modules, modules]);
  const place = join(context.boot.cache, "loads", hexOf(subject));
  const logFile = join(place, "load.log");
  const kept = await recall(join(place, "load.json"));
  if (kept !== undefined) await markUsed(place);
  if (kept !== undefined && !(context.retry && kept.verdict.verdict === "fail")) return { ...kept, logFile };
  try {
    const report = await context.processors.add(
      () => {
        onStage("booting");
        return bootModules(element, attempt, guest, context);
      },
      { signal: context.signal, priority: 1 },
    );
    await remember(report, place, logFile, context.boot);
    return { verdict: report.verdict, bootMs: report.bootMs, logFile };
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "NOT_FETCHABLE") throw error;
    return { verdict: unknown(error.message) };
  }
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

async function bootModules(
  element: Element,
  attempt: Attempt,
  guest: readonly Package[],
  context: LoadTestContext,
): Promise<LoadReport> {
  const modules = await Promise.all(
    attempt.record.modules.map(async ({ name, stripped }) => ({
      name,
      // What a node would insert.
      bytes: await readFile(
        join(attempt.directory, stripped === undefined ? modulePath(name) : strippedPath(name)),
      ),
    })),
  );
  return loadModules({ kernel: element, guest, modules }, context.boot, context.signal);
}

async function recall(file: string): Promise<z.infer<typeof KeptLoad> | undefined> {
  try {
    return KeptLoad.parse(JSON.parse(await readFile(file, "utf8")));
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
    JSON.stringify({ verdict: report.verdict, bootMs: report.bootMs }),
  );
}
