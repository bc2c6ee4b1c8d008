import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import PQueue from "p-queue";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { craftModule } from "../../../test/support/crafted-module.ts";
import { makeDeb } from "../../../test/support/debs.ts";
import { makeElement } from "../../../test/support/elements.ts";
import { makeBuildOrder, makeLoadOrder } from "../../../test/support/hand-overs.ts";
import { makePackage } from "../../../test/support/kernels.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { Http } from "../../base/http.ts";
import { sha256 } from "../../base/json.ts";
import { openScratch, type Scratch } from "../../base/scratch.ts";
import { findAttempt } from "../../builder/attempt.ts";
import type { BuildLimits } from "../../builder/limits.ts";
import { recipeKey, recipeOf } from "../../builder/recipe.ts";
import type { Recipe } from "../../builder/records.ts";
import type { Limit, Sandbox, SandboxSpec } from "../../builder/sandboxes/sandbox.ts";
import { archiveOfSource } from "../../builder/source-archive.ts";
import { readSourceTree } from "../../builder/source-tree.ts";
import { exportRoot } from "../../builder/toolchains/archive.ts";
import type { Package } from "../../kernel/kernel.ts";
import type { BuildOrder, Bytes, LoadOrder } from "./order.ts";
import { OrderDirectory } from "./order-directory.ts";
import { Workshop } from "./workshop.ts";

let place: string;
let cache: string;
let scratch: Scratch;
let directory: OrderDirectory;
let workshop: Workshop;
let processors: PQueue;
let builds: number;
let leaves: "doorbell" | "nothing";
let given: SandboxSpec[];
let stopped: Limit | undefined;

/** Leaves the module that the compiler of its root makes of everything. */
const compiling: Sandbox = {
  name: "bwrap",
  needs: [],
  async run(spec) {
    const { root, outputs, logFile } = spec;
    builds++;
    given.push(spec);
    const output = join(outputs.find(([, inside]) => inside === "/output")?.[0] ?? "", "modules");
    const comment = await readFile(join(root, "bin", "gcc-12"), "utf8");
    await mkdir(output);
    if (leaves !== "nothing")
      await writeFile(join(output, "doorbell.ko"), craftModule("doorbell", { comment }));
    await writeFile(logFile, "a log\n");
    return stopped === undefined ? { exitCode: 0, output: "" } : { exitCode: 137, output: "", stopped };
  },
};

/** What a build may take here. */
const OWN_LIMITS: BuildLimits = {
  ...{ minutes: 10, memory: 4 * 1024 ** 3, processes: 1000 },
  ...{ disk: 4 * 1024 ** 3, output: 1024 ** 2, artifact: 1024 ** 3 },
};

beforeEach(async () => {
  place = await temporaryDirectory();
  cache = join(place, "cache");
  scratch = await openScratch(join(cache, "tmp"));
  directory = await OrderDirectory.make(join(place, "orders"));
  builds = 0;
  given = [];
  stopped = undefined;
  leaves = "doorbell";
  processors = new PQueue({ concurrency: 2 });
  workshop = new Workshop({
    ...{ directory, cache, scratch, http: new Http({ own: [] }), sandbox: compiling },
    ...{ processors, signal: new AbortController().signal },
    machine: { architecture: "x86_64", emulated: new Set() },
    limits: OWN_LIMITS,
  });
});

afterEach(async () => {
  await directory.close();
  await scratch.close();
});

const SAYS = "gcc-12 (Debian 12.2.0-14) 12.2.0";

async function toolchain(compiler: string, version: string) {
  const made = join(place, `root-of-${compiler}-${version}`, "debian12-gcc-12-0123456789ab");
  await mkdir(join(made, "root", "bin"), { recursive: true });
  await writeFile(join(made, "root", "bin", "gcc-12"), compiler);
  const packages = [{ name: "gcc-12", version }];
  await writeFile(
    join(made, "root.json"),
    JSON.stringify({ builder: "x86_64", packages, compilers: { x86_64: SAYS } }),
  );
  const found: Awaited<ReturnType<typeof exportRoot>>[] = [];
  const archive = await directory.putMade(async (file) => {
    found.push(await exportRoot(made, file, scratch));
  });
  return { digest: found[0]?.digest as Bytes["digest"], archive };
}

async function source(text: string) {
  const tree = join(place, `source-${text}`);
  await mkdir(tree);
  await writeFile(join(tree, "Kbuild"), `# ${text}\n`);
  const read = await readSourceTree(tree);
  return {
    tree: read.digest as Bytes["digest"],
    archive: await directory.put(await buffer(archiveOfSource(read))),
  };
}

/** An order of which nothing is missing but the kernel's headers: so far does a worker come with it. */
async function honestOrder(headers?: Package): Promise<BuildOrder> {
  const { packages, ...rest } = makeElement({ kernelurls: [] });
  const element = {
    ...rest,
    packages: { ...packages, headers: headers === undefined ? packages.headers : [headers] },
  };
  const order = makeBuildOrder({ element });
  const driver = { ...order.driver, source: await source("honest") };
  const recipe = recipeOf({
    element: order.element,
    driver: {
      ...{
        name: driver.name,
        version: driver.version,
        modules: driver.modules,
        build: { kind: "kbuild", packages: [], files: [] },
      },
      origin: { kind: "directory", place: "" },
      source: { directory: "", files: [], leftovers: [], digest: driver.source.tree },
    },
    ...{ builder: "x86_64", root: [{ name: "gcc-12", version: "12.2.0-14" }], scripts: sha256("scripts") },
  });
  return claiming(recipe, {
    ...order,
    driver,
    toolchain: { ...order.toolchain, ...(await toolchain("honest", "12.2.0-14")) },
  });
}

/** Headers that travel with their order. */
async function carriedHeaders(): Promise<Package> {
  const name = "linux-headers-6.1.0-56-amd64";
  const deb = await makeDeb(place, name, { [`usr/src/${name}/Makefile`]: "" });
  const { digest, size } = await directory.put(await readFile(deb));
  return { ...makePackage({ name }), sha256: digest.slice(7), size };
}

/** A boot image that travels with its order. */
async function carriedImage(): Promise<Package> {
  const name = "linux-image-6.1.0-56-amd64";
  const deb = await makeDeb(place, name, { "boot/vmlinuz-6.1.0-56-amd64": "a kernel" });
  const { digest, size } = await directory.put(await readFile(deb));
  return { ...makePackage({ name }), sha256: digest.slice(7), size };
}

/** An order to load one module of those bytes. */
async function loadOrder(image: Package, name: string, bytes: string): Promise<LoadOrder> {
  const { packages, ...element } = makeElement();
  const order = makeLoadOrder({
    ...makeBuildOrder(),
    element: {
      ...element,
      packages: { ...packages, image: [image] },
    },
  });
  const module = { name, ...(await directory.put(Buffer.from(bytes))) };
  return { ...order, set: { ...order.set, modules: [module] } };
}

/** The same order, which says that what comes of it is of that recipe. */
function claiming(recipe: Recipe, order: BuildOrder): BuildOrder {
  return { ...order, recipe, element: { ...order.element, recipe: recipeKey(recipe) } };
}

const WATCH = { signal: new AbortController().signal, stage: () => {} };
const build = (order: BuildOrder) => workshop.build(order, WATCH);

describe("a workshop", () => {
  test("goes as far as an honest order lets it", async () => {
    await expect(build(await honestOrder())).rejects.toMatchObject({ code: "NOT_FETCHABLE" });
  });

  // What was built of other things would be handed over, and found, as the outcome of an honest recipe.
  test.each<[string, (order: BuildOrder) => Promise<BuildOrder> | BuildOrder]>([
    [
      "another source",
      async (order) => ({ ...order, driver: { ...order.driver, source: await source("evil") } }),
    ],
    [
      "another toolchain",
      async (order) => ({ ...order, toolchain: { ...order.toolchain, ...(await toolchain("evil", "13")) } }),
    ],
    [
      "other packages",
      ({ recipe, ...order }) =>
        claiming(
          { ...recipe, headers: recipe.headers.map((one) => ({ ...one, sha256: "2".repeat(64) })) },
          { ...order, recipe },
        ),
    ],
    [
      "other settings",
      (order) => ({
        ...order,
        driver: { ...order.driver, build: { ...order.driver.build, make: ["evil"] } },
      }),
    ],
    ["other modules", (order) => ({ ...order, driver: { ...order.driver, modules: ["evil"] } })],
    ["another driver's name", (order) => ({ ...order, driver: { ...order.driver, name: "evil" } })],
    ["another kernel", (order) => ({ ...order, element: { ...order.element, kversion: "6.1.0-57-amd64" } })],
    [
      "another recipe than its element's",
      ({ element, ...order }) => ({ ...order, element: { ...element, recipe: sha256("evil") } }),
    ],
  ])("builds nothing under a recipe of %s", async (_, change) => {
    const order = await change(await honestOrder());

    await expect(build(order)).rejects.toMatchObject({ code: "ORDER_INVALID" });
  });

  test("keeps what an order gave apart from the farm's own attempts, and from other roots'", async () => {
    const honest = await honestOrder(await carriedHeaders());
    // Of the same packages as far as anybody says, so of the same recipe.
    const evil = { ...honest, toolchain: { ...honest.toolchain, ...(await toolchain("evil", "12.2.0-14")) } };

    const [lie, first, second] = [await build(evil), await build(honest), await build(honest)];

    expect(lie.recipeKey).toBe(first.recipeKey);
    const digestOfHonest = sha256(craftModule("doorbell", { comment: "honest" }));
    expect(first.record.modules).toMatchObject([{ name: "doorbell", sha256: digestOfHonest }]);
    expect(second).toEqual(first);
    expect(builds).toBe(2);
    expect(await findAttempt(honest.recipe, cache)).toBeUndefined();
    expect(await readdir(join(cache, "toolchains"))).toHaveLength(2);
  });

  test("tries again what failed, if an order says so", async () => {
    const order = await honestOrder(await carriedHeaders());
    leaves = "nothing";

    const failed = [await build(order), await build(order)];
    leaves = "doorbell";
    const retried = [await build({ ...order, isRetry: true }), await build({ ...order, isRetry: true })];

    expect(failed.map(({ record }) => record.failure?.code)).toEqual(["MODULE_MISSING", "MODULE_MISSING"]);
    expect(retried.map(({ record }) => record.failure)).toEqual([undefined, undefined]);
    expect(builds).toBe(2);
  });

  test("gives a build no more than this machine does, whatever its order allows", async () => {
    const honest = await honestOrder(await carriedHeaders());
    const greedy = {
      ...honest,
      limits: { ...OWN_LIMITS, minutes: 10_000, memory: 2 ** 50, disk: 2 ** 50, output: 4096 },
    };

    await build(greedy);

    expect(given).toMatchObject([
      {
        timeoutMs: OWN_LIMITS.minutes * 60_000,
        memoryBytes: OWN_LIMITS.memory,
        writableBytes: OWN_LIMITS.disk,
        outputLimitBytes: 4096,
      },
    ]);
    expect(workshop.lessThan(greedy)).toEqual({ ...OWN_LIMITS, output: 4096 });
    expect(workshop.lessThan({ ...honest, limits: OWN_LIMITS })).toBeUndefined();
  });

  test("says of a build that met a limit of this machine's own, and nothing of its driver", async () => {
    const honest = await honestOrder(await carriedHeaders());
    stopped = "memoryLimit";

    const greedy = { ...honest, limits: { ...OWN_LIMITS, memory: 2 ** 50 } };
    await expect(build(greedy)).rejects.toMatchObject({
      code: "LIMIT_EXCEEDED",
      message: expect.stringContaining("limits.memory is 4.0 GiB; its order allows more"),
      hint: expect.stringContaining("--memory"),
    });
    const fair = await build({ ...honest, limits: OWN_LIMITS });
    expect(fair.record.failure).toMatchObject({ code: "LIMIT_EXCEEDED" });
  });

  test("lets an order with damaged bytes spoil none of the same tree and root", async () => {
    const honest = await honestOrder();
    const { source: own } = honest.driver;
    const bad = await directory.put(Buffer.from("no archive"));
    const wrongRoot = (await toolchain("evil", "12.2.0-14")).archive;

    for (const order of [
      { ...honest, driver: { ...honest.driver, source: { ...own, archive: bad } } },
      { ...honest, toolchain: { ...honest.toolchain, archive: wrongRoot } },
      { ...honest, toolchain: { ...honest.toolchain, archive: bad } },
    ])
      await expect(build(order)).rejects.not.toMatchObject({ code: "NOT_FETCHABLE" });

    await expect(build(honest)).rejects.toMatchObject({ code: "NOT_FETCHABLE" });
  });

  test("loads nothing for an element of another driver", async () => {
    const order = await loadOrder(await carriedImage(), "doorbell", "no module");

    await expect(
      workshop.load({ ...order, element: { ...order.element, driver: "another" } }, WATCH),
    ).rejects.toMatchObject({ code: "ORDER_INVALID" });
  });

  test("reads nothing of an order that names more bytes than any driver has", async () => {
    const order = await loadOrder(await carriedImage(), "doorbell", "no module");
    const [module] = order.set.modules;
    const large = Array.from(
      { length: 5 },
      () => ({ ...module, size: 400 << 20 }) as (typeof order.set.modules)[0],
    );

    await expect(
      workshop.load({ ...order, set: { ...order.set, modules: large } }, WATCH),
    ).rejects.toMatchObject({
      code: "ORDER_INVALID",
      message: expect.stringContaining("2097152000 bytes"),
    });
  });

  test("boots for each order alone: any of them may claim to be of the same driver", async () => {
    processors.pause();
    const image = await carriedImage();
    const orders = [
      await loadOrder(image, "honest", "no module"),
      await loadOrder(image, "evil", "no module either"),
    ];
    const loaded = Promise.allSettled(orders.map((order) => workshop.load(order, WATCH)));
    await vi.waitFor(() => expect(processors.size).toBe(2));
    processors.start();

    expect(await loaded).toMatchObject(
      ["honest", "evil"].map((name) => ({
        reason: { code: "MODULE_MALFORMED", message: expect.stringContaining(name) },
      })),
    );
  });
});
