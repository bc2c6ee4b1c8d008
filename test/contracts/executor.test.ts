/** Every executor keeps the same promises; and a coordinator makes do with any that keeps them. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import PQueue from "p-queue";
import { describe, expect, onTestFinished, test } from "vitest";
import { FarmError } from "../../src/base/error.ts";
import { openScratch } from "../../src/base/scratch.ts";
import type { Executor } from "../../src/farm/executors/executor.ts";
import { HandOverExecutor } from "../../src/farm/executors/hand-overs.ts";
import { LocalExecutor } from "../../src/farm/executors/local.ts";
import { OrdersExecutor } from "../../src/farm/executors/orders.ts";
import { type Order, orderDigest } from "../../src/farm/workers/order.ts";
import { OrderDirectory } from "../../src/farm/workers/order-directory.ts";
import { takeHandOver } from "../../src/farm/workers/take.ts";
import {
  archiveOf,
  describe as describeHandOver,
  honestAttempt,
  honestFiles,
} from "../support/hand-overs.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import {
  builtIn,
  type ExecutorMember,
  type ExecutorPlace,
  makeWork,
  PASSED,
  testExecutor,
} from "./executor.ts";

const NOBODY = {} as never;

const MEMBERS: readonly ExecutorMember[] = [
  { name: "local", isHere: true, make: makeLocal },
  {
    name: "handOvers",
    isHere: false,
    make: () => Promise.resolve(new HandOverExecutor({ load: () => Promise.resolve({ verdict: PASSED }) })),
  },
  { name: "orders", isHere: false, make: makeOrders },
];

for (const member of MEMBERS) testExecutor(member, makePlace);

async function makePlace(): Promise<ExecutorPlace> {
  const directory = await temporaryDirectory();
  const cache = join(directory, "cache");
  const scratch = await openScratch(join(cache, "tmp"));
  onTestFinished(() => scratch.close());
  return { directory, cache, scratch, signal: new AbortController().signal };
}

function makeLocal(place: ExecutorPlace): Promise<Executor> {
  const steps = {
    stageInputs: () => Promise.resolve([]),
    buildElement: (element, driver, recipe) => builtIn(place, { element, driver, recipe, rank: 0 }),
    fetchBootImage: () => Promise.reject(new FarmError("NOT_FETCHABLE", { detail: "no mirror has it" })),
  } satisfies ConstructorParameters<typeof LocalExecutor>[0]["steps"];
  return Promise.resolve(
    new LocalExecutor({
      ...{ steps, build: NOBODY, boot: NOBODY, processors: new PQueue({ concurrency: 2 }), isLoaded: false },
      signal: place.signal,
      machine: { architecture: "x86_64", emulated: new Set() },
    }),
  );
}

/** With a toolchain root that has nothing in it. */
async function makeOrders({ directory, cache, scratch }: ExecutorPlace): Promise<OrdersExecutor> {
  const root = join(cache, "roots", "debian12-gcc-12-abc");
  await mkdir(join(root, "root"), { recursive: true });
  const record = { builder: "x86_64", packages: [], compilers: { x86_64: "gcc 12" } };
  await writeFile(join(root, "root.json"), JSON.stringify(record));
  const compiler = { family: "gcc", version: "12", command: "gcc-12", packages: ["gcc-12"] };
  const toolchains = {
    root: () => Promise.resolve({ path: join(root, "root"), compiler, ...record }),
    place: () => Promise.resolve(root),
  };
  const orders = await OrderDirectory.make(join(directory, "orders"));
  onTestFinished(() => orders.close());
  return new OrdersExecutor({
    ...{
      cache,
      scratch,
      directory: orders,
      mirrors: {},
      guests: [],
      processors: new PQueue({ concurrency: 2 }),
    },
    build: { toolchains, inputs: NOBODY, limits: LIMITS } as never,
    isCarried: () => false,
    isRetry: false,
    known: new Map(),
    expires: new Date("2026-03-02T00:00:00Z"),
  });
}

const LIMITS = { minutes: 1, memory: 1e9, processes: 100, disk: 1e9, output: 1e6, artifact: 1e7 };

describe("orders", () => {
  test("are remembered by who gave them, and lead to the very attempt", async () => {
    const place = await makePlace();
    const executor = await makeOrders(place);
    const work = await makeWork(place.directory);
    await executor.build(work, { signal: place.signal, stage: () => {} });
    const orders = new OrderDirectory(join(place.directory, "orders"), place.scratch);
    const [digest] = await orders.digests();
    const order = (await orders.order(digest as never)) as Extract<Order, { kind: "build" }>;
    const attempt = {
      ...honestAttempt(order),
      environment: { compiler: "gcc 12", packages: [...order.recipe.toolchain] },
    };
    const file = join(place.directory, "done.tar");
    await writeFile(file, archiveOf(describeHandOver(order, honestFiles(), { attempt }), honestFiles()));

    const { cache, scratch } = place;
    const taken = await takeHandOver(file, { cache, scratch, now: new Date("2026-03-01T00:00:00Z") });

    expect(executor.written).toEqual({ build: 1, load: 0, before: 0 });
    expect(await readdir(join(cache, "orders"))).toEqual([`${orderDigest(order).slice(7)}.json`]);
    expect(taken).toMatchObject({ kind: "taken", recipe: work.element.recipe });
  });

  test("of one driver share its source, and those of one release its toolchain", async () => {
    const place = await makePlace();
    const executor = await makeOrders(place);
    const work = await makeWork(place.directory);
    for (const kversion of ["6.1.0-56-amd64", "6.1.0-57-amd64", "6.1.0-58-amd64"])
      await executor.build(
        { ...work, element: { ...work.element, kversion } },
        { signal: place.signal, stage: () => {} },
      );

    expect(await readdir(join(place.directory, "orders", "orders"))).toHaveLength(3);
    expect(await readdir(join(place.directory, "orders", "blobs"))).toHaveLength(2);
  });
});
