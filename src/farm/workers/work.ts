/**
 * A worker: carries out the orders of a directory, and leaves a hand-over for each. It needs neither store, configuration
 * nor credentials; what it is given and what it makes are checked by those who take it over.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import PQueue from "p-queue";
import { awaitEviction, openCache } from "../../base/cache.ts";
import { FarmError, ownError, toFarmError, traceOf } from "../../base/error.ts";
import { fileDigest } from "../../base/file-digest.ts";
import { Http } from "../../base/http.ts";
import { canonicalJson, type Digest, hexOf, sha256 } from "../../base/json.ts";
import type { Progress } from "../../base/progress.ts";
import { exists, openScratch, type Scratch } from "../../base/scratch.ts";
import { removeTree } from "../../base/strange-tree.ts";
import { type Attempt, findAttempt, keptFiles } from "../../builder/attempt.ts";
import type { BuildLimits } from "../../builder/limits.ts";
import { sandboxOf } from "../../builder/sandboxes/index.ts";
import type { Sandbox, SandboxName } from "../../builder/sandboxes/sandbox.ts";
import { emulatedArchitectures } from "../../builder/toolchains/emulation.ts";
import { scriptsDigest } from "../../builder/toolchains/toolchain.ts";
import { readHostMirrors } from "../../catalog/apt-host.ts";
import { TAR_END, tarFile, tarFilling } from "../../formats/tar-write.ts";
import { hostArchitecture } from "../../kernel/architecture.ts";
import { elementName, named } from "../../matrix/element.ts";
import type { Watch } from "../executors/executor.ts";
import { type Machine, unfitFor } from "../executors/machine.ts";
import { IMAGES } from "../open.ts";
import { type FollowingTest, followingTest } from "./following-test.ts";
import {
  type BuildOrder,
  HAND_OVER_FILE,
  HandOver,
  type LoadOrder,
  type Order,
  orderDigest,
  type Runner,
} from "./order.ts";
import { makeOut, OrderDirectory } from "./order-directory.ts";
import { takeHandOver } from "./take.ts";
import { Workshop } from "./workshop.ts";

export interface WorkOptions {
  /** The directory of orders. */
  readonly orders: string;
  /** Where hand-overs go: `<order>.tar`, and `<order>.fault.tar` for one that only says what kept us from it. */
  readonly out: string;
  readonly cache: string;
  readonly jobs: number;
  readonly sandbox: SandboxName;
  /** What one build may take of this machine, whatever its order allows. */
  readonly limits: BuildLimits;
  /** Hosts without public addresses that orders may name as mirrors, beside those of this machine's own apt. */
  readonly privateHosts?: readonly string[];
  /** Only the orders of one share, `number` of `count`, from 1. */
  readonly share?: { readonly number: number; readonly count: number };
  /** Only the orders of this shard of the plan. */
  readonly shard?: string;
  /** Where the builds of those orders were handed over: the load tests that follow from them are carried out instead. */
  readonly after?: string;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly now: () => Date;
}

export interface WorkReport {
  /** Orders that were carried out, whatever came of them. */
  readonly done: number;
  /** Those that had a hand-over already. */
  readonly before: number;
  /** What this worker leaves to others, or to nobody, and why. */
  readonly left: readonly { readonly name: string; readonly reason: string }[];
  /** Orders whose hand-over says only what kept this worker from carrying them out. */
  readonly faults: readonly { readonly name: string; readonly error: FarmError }[];
}

/**
 * Carries out every order that this machine can; what goes wrong with one is handed over, and the others go on.
 * @throws FarmError ORDER_INVALID, INTERRUPTED after what was finished is handed over
 */
export async function carryOut(options: WorkOptions): Promise<WorkReport> {
  const { cache, jobs, out, signal } = options;
  await openCache(cache, [process.cwd()]);
  await makeOut(out);
  const scratch = await openScratch(join(cache, "tmp"));
  const outScratch = await openScratch(join(out, "tmp"));
  await awaitEviction(cache);
  const directory = new OrderDirectory(options.orders, scratch);
  const processors = new PQueue({ concurrency: jobs });
  const sandbox = sandboxOf(options.sandbox);
  const { main, security } = await readHostMirrors();
  // An order names mirrors; only a person here says which hosts of this network are among them.
  const own = [...(options.privateHosts ?? []), main, security].filter((one) => one !== undefined);
  const http = new Http({ own });
  try {
    const machine = await machineHere();
    const workshop = new Workshop({
      ...{ directory, cache, scratch, http, sandbox, processors, signal, machine },
      limits: options.limits,
    });
    const worker = new Worker(options, {
      ...{ workshop, sandbox },
      scratch: outScratch,
      cacheScratch: scratch,
    });
    return await worker.run(directory, machine);
  } finally {
    await http.close();
    await outScratch.close();
    await scratch.close();
  }
}

interface WorkerMachine extends Machine {
  /** Digest of the scripts that run inside its sandboxes. */
  readonly scripts: Digest;
}

async function machineHere(): Promise<WorkerMachine> {
  return {
    architecture: hostArchitecture(process.arch),
    emulated: await emulatedArchitectures(),
    scripts: await scriptsDigest(IMAGES),
  };
}

class Worker {
  readonly #options: WorkOptions;
  readonly #workshop: Workshop;
  readonly #scratch: Scratch;
  readonly #sandbox: Sandbox;
  /** On the file system of the cache. */
  readonly #cacheScratch: Scratch;
  readonly #left: { name: string; reason: string }[] = [];
  readonly #faults: { name: string; error: FarmError }[] = [];
  #done = 0;
  #before = 0;

  constructor(
    options: WorkOptions,
    parts: {
      readonly workshop: Workshop;
      readonly scratch: Scratch;
      readonly cacheScratch: Scratch;
      readonly sandbox: Sandbox;
    },
  ) {
    this.#options = options;
    this.#workshop = parts.workshop;
    this.#scratch = parts.scratch;
    this.#sandbox = parts.sandbox;
    this.#cacheScratch = parts.cacheScratch;
  }

  async run(directory: OrderDirectory, machine: WorkerMachine): Promise<WorkReport> {
    const { share, shard, jobs, signal } = this.#options;
    const all = shard === undefined ? await directory.digests() : await directory.shard(shard);
    const own =
      share === undefined ? all : all.filter((_, index) => index % share.count === share.number - 1);
    const queue = new PQueue({ concurrency: jobs * 4 });
    await queue.addAll(
      own.map((digest) => async () => {
        if (signal.aborted) return;
        try {
          const order = await directory.order(digest);
          if (order !== undefined) await this.#begin(order, digest, directory, machine);
        } catch (thrown) {
          // Nothing can be handed over: the order cannot be read, or what came of it cannot be written.
          const name = `order ${hexOf(digest).slice(0, 12)}`;
          if (!signal.aborted) this.#faults.push({ name, error: toFarmError(thrown) });
        }
      }),
    );
    if (signal.aborted)
      throw new FarmError("INTERRUPTED", { detail: `stopped; ${this.#done} orders are handed over` });
    return { done: this.#done, before: this.#before, left: this.#left, faults: this.#faults };
  }

  async #begin(
    order: Order,
    digest: Digest,
    directory: OrderDirectory,
    machine: WorkerMachine,
  ): Promise<void> {
    if (this.#options.after === undefined) return this.#one({ order, digest }, machine);
    if (order.kind === "load") return;
    const following = await this.#following(order, digest, directory, this.#options.after);
    if (typeof following === "string")
      this.#left.push({ name: elementName(order.element), reason: following });
    else await this.#one({ ...following, digest: orderDigest(following.order), after: digest }, machine);
  }

  /** The load test that follows from a build that was handed over, or why there is none. */
  async #following(
    order: BuildOrder,
    digest: Digest,
    orders: OrderDirectory,
    after: string,
  ): Promise<FollowingTest | string> {
    const { now } = this.#options;
    const file = join(after, `${hexOf(digest)}.tar`);
    if (!(await exists(file))) return "its build was not handed over";
    // Checked like by those who publish it: whoever built it is a stranger here too.
    const cache = this.#cacheScratch.path();
    try {
      await takeHandOver(file, { cache, scratch: this.#cacheScratch, orders, now: now() });
      const attempt = await findAttempt(order.recipe, cache);
      const test = attempt === undefined ? undefined : await followingTest(order, attempt);
      return test ?? "its build failed";
    } finally {
      await removeTree(cache);
    }
  }

  async #one({ order, digest, after, bytes }: Task, machine: WorkerMachine): Promise<void> {
    const { out, progress, now, signal } = this.#options;
    const name = elementName(order.element);
    const file = join(out, `${hexOf(digest)}.tar`);
    if (await exists(file)) {
      this.#before++;
      return;
    }
    const reason =
      Date.parse(order.expires) < now().getTime() ? "the order has expired" : unfit(order, machine);
    if (reason !== undefined) {
      this.#left.push({ name, reason });
      return;
    }
    progress.element(named(order.element), "waiting");
    const startedAt = now().toISOString();
    const watch: Watch = {
      signal,
      stage: (stage, detail) => progress.element(named(order.element), stage, detail),
    };
    const made = await this.#make(order, watch, bytes).catch((thrown) =>
      this.#fault(name, ownError(thrown, signal)),
    );
    const { files, ...content } = made;
    const runner: Runner = {
      kind: "machine",
      name: hostname(),
      architecture: machine.architecture,
      sandbox: this.#sandbox.name,
      network: "none",
    };
    const { nonce } = order;
    const limits = order.kind === "build" ? this.#workshop.lessThan(order) : undefined;
    const common = { schema: "kmodfarm.handOver/1" as const, order: digest, after, nonce, runner, limits };
    const kept = await Promise.all(files.map(describeFile));
    const endedAt = now().toISOString();
    const handOver = HandOver.parse({
      ...common,
      startedAt,
      endedAt,
      ...content,
      files: kept.map(({ facts }) => facts),
    });
    const sources = kept.map(({ source }) => source);
    // What kept this worker from it may be over the next time: then it is carried out after all.
    const fault = join(out, `${hexOf(digest)}.fault.tar`);
    await this.#write(made.error === undefined ? file : fault, handOver, sources);
    if (made.error === undefined) await rm(fault, { force: true });
    this.#done++;
    const failure = made.attempt?.failure?.cause ?? made.error?.message;
    progress.element(
      named(order.element),
      failure === undefined ? "candidate" : "failed",
      failure ?? "handed over",
    );
  }

  #fault(name: string, error: FarmError): Made {
    const trace = traceOf(error);
    if (trace !== "") this.#options.progress.say(trace);
    this.#faults.push({ name, error });
    const message = this.#withoutPlaces(error.message).toWellFormed().slice(0, 4000);
    return { error: { code: error.code, message }, files: [] };
  }

  /** Where things lie on this machine is nobody else's concern. */
  #withoutPlaces(text: string): string {
    const { orders, out, cache } = this.#options;
    return text.replaceAll(orders, "$ORDERS").replaceAll(out, "$OUT").replaceAll(cache, "$CACHE");
  }

  async #make(order: Order, watch: Watch, bytes: Task["bytes"]): Promise<Made> {
    return order.kind === "build" ? this.#build(order, watch) : this.#load(order, watch, bytes);
  }

  async #build(order: BuildOrder, watch: Watch): Promise<Made> {
    const attempt = await this.#workshop.build(order, watch);
    return { attempt: attempt.record, files: filesOf(attempt) };
  }

  async #load(order: LoadOrder, watch: Watch, bytes: Task["bytes"]): Promise<Made> {
    const { log, verdict, bootMs, isOutOfReach } = await this.#workshop.load(order, watch, bytes);
    const load = { verdict, bootMs, isOutOfReach };
    return {
      load,
      files: log === undefined ? [] : [{ path: "load.log", content: Buffer.from(log.toWellFormed()) }],
    };
  }

  async #write(target: string, handOver: HandOver, sources: readonly FileSource[]): Promise<void> {
    const temporary = this.#scratch.path();
    const description = Buffer.from(`${canonicalJson(handOver)}\n`);
    try {
      await mkdir(dirname(temporary), { recursive: true });
      await pipeline(
        async function* () {
          yield tarFile(HAND_OVER_FILE, description.length);
          yield description;
          yield tarFilling(description.length);
          for (const [index, { path, size }] of handOver.files.entries()) {
            const source = sources[index] as FileSource;
            yield tarFile(path, size);
            if ("content" in source) yield source.content;
            else yield* createReadStream(source.file);
            yield tarFilling(size);
          }
          yield TAR_END;
        },
        createWriteStream(temporary, { flags: "wx", flush: true }),
      );
      await rename(temporary, target);
    } finally {
      await rm(temporary, { force: true });
    }
  }
}

/** An order, and what it follows from if it is in no directory. */
interface Task extends Partial<Pick<FollowingTest, "bytes">> {
  readonly order: Order;
  readonly digest: Digest;
  readonly after?: Digest;
}

interface Made extends Pick<HandOver, "attempt" | "load" | "error"> {
  readonly files: readonly FileSource[];
}

type FileSource = { readonly path: string } & ({ readonly file: string } | { readonly content: Buffer });

function filesOf({ record, directory, logFile }: Attempt): FileSource[] {
  const kept = keptFiles(record).map(({ path }) => ({ path, file: join(directory, path) }));
  return [{ path: "build.log", file: logFile }, ...kept];
}

async function describeFile(source: FileSource) {
  const { path } = source;
  if ("content" in source) {
    return { source, facts: { path, digest: sha256(source.content), size: source.content.length } };
  }
  const { size } = await stat(source.file);
  return { source, facts: { path, digest: await fileDigest(source.file), size } };
}

/** Why an order is another worker's; undefined if it is one for this machine. */
function unfit(order: Order, { scripts, ...machine }: WorkerMachine): string | undefined {
  if (order.kind === "load") return undefined;
  if (order.recipe.scripts !== scripts)
    return "it was planned by another version of kmodfarm, whose build scripts are not the ones here";
  return unfitFor(order.recipe, machine);
}
