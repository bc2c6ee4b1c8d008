/**
 * This machine as an executor: builds and boots, as many at once as it has processors.
 */
import PQueue from "p-queue";
import { FarmError, toFarmError } from "../../base/error.ts";
import type { Attempt } from "../../builder/attempt.ts";
import type { BuildContext } from "../../builder/build.ts";
import { type LoadCode, loadReason } from "../../check/checks/load.ts";
import type { BootContext } from "../../check/guest/boot-image.ts";
import { loadModules } from "../../check/load.ts";
import { verdict } from "../../check/verdict.ts";
import type { Element } from "../../matrix/element.ts";
import type { Steps } from "../steps.ts";
import type { Executor, LoadResult, LoadWork, Watch, Work } from "./executor.ts";
import { LoadQueue } from "./load-queue.ts";
import { type Machine, unfitFor } from "./machine.ts";
import { BUILDS, RANKS } from "./priority.ts";

export interface LocalContext {
  readonly steps: Pick<Steps, "stageInputs" | "buildElement" | "fetchBootImage">;
  readonly build: BuildContext;
  readonly boot: BootContext;
  /** One place for each processor. */
  readonly processors: PQueue;
  /** Whether what is built is load-tested right after. */
  readonly isLoaded: boolean;
  readonly signal: AbortSignal;
  readonly machine: Machine;
}

export class LocalExecutor implements Executor {
  readonly name = "local";
  readonly #context: LocalContext;
  readonly #loads: LoadQueue;
  /** Boot images are large and come one after the other, so headers never wait for them. */
  readonly #images: PQueue;
  readonly #fetched = new Map<string, Promise<string>>();

  constructor(context: LocalContext) {
    this.#context = context;
    const { processors, boot, signal } = context;
    this.#loads = new LoadQueue(processors, (request) => loadModules(request, boot, signal), signal);
    this.#images = new PQueue({ concurrency: context.processors.concurrency });
  }

  async build({ element, driver, recipe, rank }: Work, { stage, signal }: Watch): Promise<Attempt> {
    const { steps, build, processors, isLoaded, machine } = this.#context;
    const unfit = unfitFor(recipe, machine);
    if (unfit !== undefined)
      throw new FarmError("ARCHITECTURE_UNAVAILABLE", {
        detail: unfit,
        hint: "Use `kmodfarm plan` to order it from a worker of that architecture, or correct `builders` in the configuration.",
      });
    // The boot image comes while the compiler works.
    if (isLoaded) void this.#image(element);
    stage("fetching", "headers");
    await steps.stageInputs(element, recipe, build, signal);
    stage("waiting");
    return processors.add(
      () => {
        stage("building");
        return steps.buildElement(element, driver, recipe, build, signal);
      },
      { signal, priority: BUILDS + rank * RANKS },
    );
  }

  async load({ element, guest, set, rank }: LoadWork, { stage }: Watch): Promise<LoadResult> {
    const image = this.#image(element);
    if (image === undefined)
      return {
        verdict: unknown("noImage", "no index lists a boot image of this kernel"),
        isOutOfReach: true,
      };
    stage("fetching", "boot image");
    const missing = await failureOf(image);
    stage("waiting");
    if (missing !== undefined) {
      // That no place has it is a fact of the kernel; anything else is a fault of this run, and must be reported.
      if (missing.code !== "NOT_FETCHABLE") throw missing;
      return { verdict: unknown("noImage", missing.message), isOutOfReach: true };
    }
    try {
      return await this.#loads.load({ element, guest, set, rank }, () => stage("booting"));
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code !== "NOT_FETCHABLE") throw error;
      return { verdict: unknown("noImage", error.message) };
    }
  }

  /** The boot image of an element's kernel; asked for once. */
  #image({ packages }: Element): Promise<string> | undefined {
    const [image] = packages.image;
    if (image === undefined) return undefined;
    const { steps, boot, signal } = this.#context;
    const key = JSON.stringify(image);
    const known = this.#fetched.get(key);
    if (known !== undefined) return known;
    const fetched = this.#images.add(() => steps.fetchBootImage(image, boot, signal), { signal });
    // The load test asks again if it needs the image; a driver that does not build needs none.
    fetched.catch(() => this.#fetched.delete(key));
    this.#fetched.set(key, fetched);
    return fetched;
  }
}

function unknown(code: LoadCode, text: string): LoadResult["verdict"] {
  return verdict("load", "unknown", loadReason(code, text));
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
