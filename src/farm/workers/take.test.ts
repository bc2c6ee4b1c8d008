import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { craftModule } from "../../../test/support/crafted-module.ts";
import { makeElement } from "../../../test/support/elements.ts";
import {
  archiveOf,
  describedFirst,
  describe as describeHandOver,
  END,
  type HandedFile,
  handOverPlace,
  honestAttempt,
  honestFiles,
  issue,
  MODULE,
  makeBuildOrder,
  makeLoadOrder,
  NOW,
} from "../../../test/support/hand-overs.ts";
import { tarBlocks } from "../../../test/support/tar-blocks.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { sha256 } from "../../base/json.ts";
import { run } from "../../base/run.ts";
import { openScratch, type Scratch } from "../../base/scratch.ts";
import { findAttempt, findAttemptOf } from "../../builder/attempt.ts";
import type { AttemptRecord } from "../../builder/records.ts";
import { handOversIn } from "./hand-over-file.ts";
import type { BuildOrder, HandOver } from "./order.ts";
import { takeHandOver } from "./take.ts";

let directory: string;
let cache: string;
let scratch: Scratch;

beforeEach(async () => {
  directory = await temporaryDirectory();
  cache = join(directory, "cache");
  scratch = await openScratch(join(cache, "tmp"));
});

afterEach(() => scratch.close());

const take = (file: string, now = NOW) => takeHandOver(file, { cache, scratch, now });

async function put(archive: Buffer, name?: string): Promise<string> {
  const file = handOverPlace(directory, name);
  await writeFile(file, archive);
  return file;
}

/** Hands over what a test makes of honest work for an order that was given. */
async function handed(
  order: BuildOrder,
  attempt: Partial<AttemptRecord> = {},
  files: readonly HandedFile[] = honestFiles(),
  changes: Partial<HandOver> = {},
): Promise<string> {
  await issue(order, cache, scratch);
  const whole = { ...honestAttempt(order), ...attempt };
  return put(archiveOf(describeHandOver(order, files, { attempt: whole, ...changes }), files));
}

async function refusalOf(file: string, now?: Date): Promise<string> {
  const error = await take(file, now).then(
    (taken) => expect.fail(`it was ${taken.kind}`),
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ code: "HAND_OVER_REFUSED", exit: 4 });
  const { message, at } = error as { message: string; at: Record<string, string> };
  // What was refused can be looked at, and nothing of it is anywhere else.
  expect(JSON.parse(await readFile(join(at.kept as string, "reason.json"), "utf8"))).toMatchObject({
    file,
  });
  return message;
}

const isUsed = async (order: BuildOrder) => (await findAttempt(order.recipe, cache)) !== undefined;

describe("an honest hand-over", () => {
  test("becomes an attempt of this farm", async () => {
    const order = makeBuildOrder();

    const taken = await take(await handed(order));

    expect(taken).toMatchObject({ kind: "taken", recipe: order.element.recipe });
    const attempt = await findAttempt(order.recipe, cache);
    expect(attempt?.record).toEqual(honestAttempt(order));
    expect(await readFile(join(attempt?.directory ?? "", "modules", "doorbell.ko"))).toEqual(MODULE);
  });

  test("of a failure is one too", async () => {
    const order = makeBuildOrder();
    const failure = { code: "BUILD_FAILED" as const, cause: "no such header", line: "x.c:1: error" };

    const taken = await take(await handed(order, { modules: [], failure }, honestFiles().slice(0, 1)));

    expect(taken.kind).toBe("taken");
    expect((await findAttempt(order.recipe, cache))?.record.failure).toEqual(failure);
  });

  test("taken twice is no news", async () => {
    const file = await handed(makeBuildOrder());

    expect(await take(file)).toMatchObject({ kind: "taken" });
    expect(await take(file)).toMatchObject({ kind: "again" });
  });

  test("of a failure that proves nothing counts as one try, however often it is taken, and its log is kept", async () => {
    const order = makeBuildOrder();
    const failure = { code: "BUILD_UNEXPLAINED" as const, cause: "it ended", line: "" };

    const file = await handed(order, { modules: [], failure }, honestFiles().slice(0, 1));

    expect(await take(file)).toMatchObject({ kind: "unproven", attempt: { record: { failure } } });
    expect(await take(file)).toMatchObject({ kind: "again" });
    expect(await isUsed(order)).toBe(false);
    const [place = ""] = await readdir(join(cache, "unfinished"));
    expect(await readFile(join(cache, "unfinished", place, "build.log"), "utf8")).toBe("a log\n");
  });

  test("of a failure of the worker's machine is a fault, and counts for nothing", async () => {
    const failure = { code: "OUT_OF_MEMORY" as const, cause: "it was killed", line: "" };
    const order = makeBuildOrder();

    const taken = await take(await handed(order, { modules: [], failure }, honestFiles().slice(0, 1)));

    expect(taken).toMatchObject({ kind: "fault", code: "OUT_OF_MEMORY", message: "it was killed" });
    expect(await isUsed(order)).toBe(false);
  });

  test("may overrule a failure, if that was ordered again", async () => {
    const first = makeBuildOrder();
    const failure = { code: "BUILD_FAILED" as const, cause: "", line: "" };
    await take(await handed(first, { modules: [], failure }, honestFiles().slice(0, 1)));

    expect(await refusalOf(await handed(first))).toMatch(/one recipe has one result/);
    const again = makeBuildOrder({ isRetry: true });
    expect(await take(await handed(again))).toMatchObject({ kind: "taken" });
    expect((await findAttempt(first.recipe, cache))?.record).toEqual(honestAttempt(first));
    const late = await handed(again, { modules: [], failure }, honestFiles().slice(0, 1));
    expect(await refusalOf(late)).toMatch(/one recipe has one result/);
  });

  test("is found behind a link to its directory", async () => {
    const file = await handed(makeBuildOrder());
    await symlink(directory, join(directory, "link"));

    expect((await handOversIn([join(directory, "link")])).files).toEqual([file]);
    expect((await handOversIn([join(directory, "link", "hand-over.tar")])).files).toEqual([file]);
  });

  test("that says what kept the worker from it is a fault, and nothing is used", async () => {
    const order = makeBuildOrder();
    await issue(order, cache, scratch);
    const error = { code: "DISK_FULL", message: "no space left" };

    const taken = await take(await put(archiveOf(describeHandOver(order, [], { error }), [])));

    expect(taken).toMatchObject({ kind: "fault", ...error });
    expect(await isUsed(order)).toBe(false);
  });
});

test("a hand-over may say that its worker gave the build less than its order allows", async () => {
  const order = makeBuildOrder();
  const limits = { ...order.limits, memory: 1, minutes: 1 };

  expect(await take(await handed(order, {}, honestFiles(), { limits }))).toMatchObject({ kind: "taken" });
});

describe("a hand-over is refused by name", () => {
  const order = makeBuildOrder();
  const other = makeBuildOrder({ nonce: "f".repeat(32) });
  const elsewhere = { ...order.recipe, kernel: { ...order.recipe.kernel, kversion: "6.1.0-57-amd64" } };

  test.each<[string, () => Promise<string>, RegExp]>([
    ["for an order that nobody gave", () => put(archiveOf(honest(other), honestFiles())), /gave no order/],
    [
      "with another order's nonce",
      () => handed(order, {}, honestFiles(), { nonce: other.nonce }),
      /nonce is not the order's/,
    ],
    [
      "that took more than its order allows",
      () =>
        handed(order, {}, honestFiles(), { limits: { ...order.limits, memory: order.limits.memory + 1 } }),
      /might take more than its order allows/,
    ],
    [
      "with another element's output",
      () => handed(order, { recipe: elsewhere }),
      /recipe is not the order's/,
    ],
    [
      "that lies about its compiler",
      () => handed(order, { environment: { ...honestAttempt(order).environment, compiler: "gcc 13" } }),
      /its compiler calls itself "gcc 13"/,
    ],
    [
      "that lies about its toolchain",
      () => handed(order, { environment: { ...honestAttempt(order).environment, packages: [] } }),
      /packages of its toolchain/,
    ],
    [
      "that was built with other packages",
      () =>
        handed(order, {
          inputs: honestAttempt(order).inputs.map((one) => ({ ...one, sha256: "2".repeat(64) })),
        }),
      /other packages than the ordered/,
    ],
    [
      "that keeps silent about another compiler than the kernel's",
      () => handed(order, { mismatch: { declared: "gcc-12", used: "gcc-13" } }),
      /compiler that is not the kernel's/,
    ],
    [
      "without modules or a failure",
      () => handed(order, { modules: [] }, honestFiles().slice(0, 1)),
      /no module/,
    ],
    [
      "with a failure and modules",
      () => handed(order, { failure: { code: "BUILD_FAILED", cause: "", line: "" } }),
      /failed, and brings modules/,
    ],
    [
      "with a failure that no build has",
      () =>
        handed(
          order,
          { modules: [], failure: { code: "SIGNATURE_INVALID", cause: "", line: "" } },
          honestFiles().slice(0, 1),
        ),
      /no build fails with SIGNATURE_INVALID/,
    ],
    [
      "with another module than the ordered one",
      () => withModule("evil", craftModule("evil")),
      /modules evil, and doorbell were ordered/,
    ],
    [
      "with a module that says another name",
      () => handed(order, moduleFacts(craftModule("evil")), honestFiles(craftModule("evil"))),
      /says that it has another name/,
    ],
    [
      "with a module that is none",
      () => handed(order, moduleFacts(Buffer.from("no ELF")), honestFiles(Buffer.from("no ELF"))),
      /./,
    ],
    ["with a module named like a path", () => withModule("../../evil", MODULE), /has the name/],
    [
      "with a file that nobody ordered",
      () => handed(order, {}, [...honestFiles(), { path: "modules/more.ko", content: MODULE }]),
      /modules\/more\.ko.*was not ordered/,
    ],
    [
      "with a path that leads out",
      () => handed(order, {}, [...honestFiles(), { path: "../../../etc/evil", content: MODULE }]),
      /etc\/evil.*was not ordered/,
    ],
    ["with a file twice", () => handed(order, {}, [...honestFiles(), ...honestFiles()]), /twice/],
    ["without its log", () => handed(order, {}, honestFiles().slice(1)), /build\.log is missing/],
    [
      "with a log longer than any",
      () =>
        handed(order, {}, [
          { path: "build.log", content: Buffer.alloc(16 * 2 ** 20) },
          ...honestFiles().slice(1),
        ]),
      /build\.log has 16777216 bytes/,
    ],
    [
      "that is larger than its limits",
      () => {
        const small = makeBuildOrder({ limits: { ...order.limits, artifact: 10 } });
        return handed(small);
      },
      /limits\.artifact is 10/,
    ],
    [
      "that describes a million files",
      async () => {
        await issue(order, cache, scratch);
        const one = { path: "x", digest: sha256("x"), size: 1 };
        const files = Array.from({ length: 30_000 }, () => one);
        return put(Buffer.concat([describedFirst(honest(order, { files: files as never })), END]));
      },
      /./,
    ],
    [
      "whose archive holds a link",
      () => archived(tarBlocks({ name: "modules/doorbell.ko", type: "2", linkName: "/etc/shadow" })),
      /holds a symlink/,
    ],
    [
      "whose archive holds a hard link",
      () => archived(tarBlocks({ name: "modules/doorbell.ko", type: "1", linkName: "build.log" })),
      /holds a link/,
    ],
    [
      "whose archive holds a device",
      () => archived(tarBlocks({ name: "modules/doorbell.ko", type: "3" })),
      /holds a character-device/,
    ],
    [
      "whose archive holds a pipe",
      () => archived(tarBlocks({ name: "build.log", type: "6" })),
      /holds a fifo/,
    ],
    [
      "whose archive holds a directory",
      () => archived(tarBlocks({ name: "modules/", type: "5" })),
      /holds a directory/,
    ],
    [
      "whose archive holds more than it describes",
      () => archived(Buffer.concat([blocksOf(honestFiles()), tarBlocks({ name: "more", content: "x" })])),
      /"more", which it does not describe/,
    ],
    [
      "whose archive holds a million files",
      () => archived(Buffer.concat(Array.from({ length: 20_000 }, () => tarBlocks({ name: "x" })))),
      /"x", which it does not describe|more than the/,
    ],
    [
      "whose archive holds less than it describes",
      () => archived(blocksOf(honestFiles().slice(1))),
      /does not hold build\.log/,
    ],
    [
      "whose file has other bytes",
      () =>
        archived(
          blocksOf([{ path: "build.log", content: Buffer.from("A log\n") }, ...honestFiles().slice(1)]),
        ),
      /build\.log has another digest/,
    ],
    [
      "whose file has another length",
      () => archived(blocksOf([{ path: "build.log", content: Buffer.from("longer\n") }])),
      /build\.log has 7 bytes, and 6 are described/,
    ],
    [
      "that is cut off",
      async () => {
        const file = await handed(order);
        const whole = await readFile(file);
        return put(whole.subarray(0, whole.length - 1400));
      },
      /ends in the middle/,
    ],
    [
      "that is cut off in its description",
      async () => {
        const file = await handed(order);
        return put((await readFile(file)).subarray(0, 700));
      },
      /middle/,
    ],
    ["that is empty", () => put(Buffer.alloc(1024)), /is empty/],
    ["that is no archive", () => put(Buffer.from("no archive".repeat(100))), /./],
    [
      "that does not begin with its description",
      () => put(Buffer.concat([blocksOf(honestFiles()), END])),
      /description/,
    ],
    [
      "whose description is no JSON",
      () => put(Buffer.concat([tarBlocks({ name: "hand-over.json", content: "{" }), END])),
      /./,
    ],
    [
      "whose description has a field of its own",
      () => handed(order, {}, honestFiles(), { evil: true } as Partial<HandOver>),
      /./,
    ],
    [
      "that says more of its packages than anybody reads",
      () => {
        const tried = [{ place: "mirror", fault: "F".repeat(100_000) }];
        return handed(order, { inputs: honestAttempt(order).inputs.map((one) => ({ ...one, tried })) });
      },
      /nobody has more than 65536 to say/,
    ],
    [
      "that says more of a failure than anybody reads",
      () => {
        const failure = { code: "BUILD_FAILED" as const, cause: "", line: "", file: "F".repeat(100_000) };
        return handed(order, { modules: [], failure }, honestFiles().slice(0, 1));
      },
      /nobody has more than 65536 to say/,
    ],
    [
      "with half of a character",
      () =>
        described((text) =>
          text.replace(
            '"buildMs":1234',
            String.raw`"buildMs":1234,"mismatch":{"declared":"\ud800","used":""}`,
          ),
        ),
      /no canonical form/,
    ],
    [
      "with a name that is half of a character",
      () => described((text) => text.replace("{", String.raw`{"\ud800":1,`)),
      /Unrecognized key/,
    ],
    [
      "that is nested a million deep",
      () =>
        described((text) =>
          text.replace('"recipe":{', `"recipe":{"deep":${"[".repeat(1e6)}${"]".repeat(1e6)},`),
        ),
      /no canonical form/,
    ],
    ["that ended before it began", () => handed(order, { buildMs: -1 }), /ended before it began/],
    ["with a kept file twice", () => kept("firmware/a", "firmware/a"), /a file twice/],
    [
      "with a kept file on the way to another",
      () => kept("firmware", "firmware/a"),
      /"firmware" is a directory too/,
    ],
    [
      "that says two things",
      () => handed(order, {}, honestFiles(), { error: { code: "X", message: "" } }),
      /one thing/,
    ],
    [
      "for a fault with a code of several lines",
      async () => {
        await issue(order, cache, scratch);
        const error = { code: "X\nHand-overs: 9 taken", message: "" };
        return put(archiveOf(describeHandOver(order, [], { error }), []));
      },
      /error\.code/,
    ],
    [
      "that brings a load test for a build",
      async () => {
        await issue(order, cache, scratch);
        const load = { verdict: { check: "load", verdict: "pass" as const, reasons: [] } };
        return put(archiveOf(describeHandOver(order, [], { load }), []));
      },
      /brings a load test/,
    ],
  ])("%s", async (_, make, fact) => {
    const file = await make();

    const reason = await refusalOf(file);

    expect(reason).toMatch(fact);
    expect(await isUsed(order)).toBe(false);
    expect(existsSync("/etc/evil")).toBe(false);
  });

  test("in few words, whatever its own are", async () => {
    const file = await described((text) => text.replace("{", `{"${"evil".repeat(100_000)}":1,`));

    expect((await refusalOf(file)).length).toBeLessThan(3000);
  });

  test("once, however often it is handed over", async () => {
    const file = await handed(order, {}, honestFiles(), { nonce: other.nonce });

    for (const seconds of [1, 2, 3]) await refusalOf(file, new Date(NOW.getTime() + seconds * 1000));

    expect(await readdir(join(cache, "quarantine"))).toHaveLength(1);
  });

  test("without filling the disk", async () => {
    for (let lie = 0; lie < 70; lie++)
      await refusalOf(await put(Buffer.from(`no archive ${lie}`.repeat(100))));

    expect(await readdir(join(cache, "quarantine"))).toHaveLength(64);
  });

  test("when its order has expired", async () => {
    const file = await handed(order);

    expect(await refusalOf(file, new Date("2026-03-03T00:00:00Z"))).toMatch(/expired/);
    expect(await isUsed(order)).toBe(false);
  });

  test("when an earlier one of the same order gave other modules, which stay", async () => {
    await take(await handed(order));
    const second = craftModule("doorbell", { comment: "GCC: (other) 12.2.0" });

    const reason = await refusalOf(await handed(order, moduleFacts(second), honestFiles(second)));

    expect(reason).toMatch(/one recipe has one result/);
    expect((await findAttempt(order.recipe, cache))?.record.modules).toEqual(honestAttempt(order).modules);
  });

  test("when another one of the same order is taken at the same time, and which of them is first decides", async () => {
    const second = craftModule("doorbell", { comment: "GCC: (other) 12.2.0" });
    const lie = await handed(order, moduleFacts(second), honestFiles(second));
    const lying = await put(await readFile(lie), "lie");
    const honestOne = await handed(order);

    const results = await Promise.all(
      [lying, honestOne, lying, honestOne].map((file) =>
        take(file).then(
          ({ kind }) => kind,
          ({ code }) => code as string,
        ),
      ),
    );

    expect(results.filter((one) => one === "taken")).toHaveLength(1);
    expect(results.toSorted()).toEqual(["HAND_OVER_REFUSED", "HAND_OVER_REFUSED", "again", "taken"]);
  });

  test("when it is a link, or a pipe, which nobody opens", async () => {
    const target = await handed(order);
    await symlink(target, handOverPlace(directory, "link"));
    await run(["mkfifo", handOverPlace(directory, "pipe")]);
    await mkdir(handOverPlace(directory, "directory"));

    for (const name of ["link", "pipe", "directory"])
      expect(await refusalOf(handOverPlace(directory, name))).toMatch(/not a plain file/);
    expect((await handOversIn([directory])).files).toHaveLength(4);
  });

  test("when it is larger than its order allows, before it is read", async () => {
    const file = await handed(order);
    await run(["truncate", "--size=100G", file]);

    expect(await refusalOf(file)).toMatch(/more than the \d+ bytes that its order allows/);
    const [kept = "", ...others] = await readdir(join(cache, "quarantine"));
    expect(others).toEqual([]);
    const { blocks } = await stat(join(cache, "quarantine", kept, "hand-over.tar"));
    expect(blocks * 512).toBeLessThan(10 * 2 ** 20);
  });

  describe("in the shapes of its modules", () => {
    const packing = makeBuildOrder({
      driver: { ...order.driver, build: { ...order.driver.build, compress: "zstd" } },
      recipe: { ...order.recipe, driver: { ...order.recipe.driver, build: { compress: "zstd" } } },
    });
    const shaped = (packed: Buffer) => {
      const compressed = { sha256: sha256(packed), size: packed.length };
      const modules = honestAttempt(packing).modules.map((one) => ({ ...one, compressed }));
      const file = { path: "compressed/doorbell.ko.zst", content: packed };
      return handed(packing, { modules }, [...honestFiles(), file]);
    };

    test("takes the very module, compressed", async () => {
      expect(await take(await shaped(zstdCompressSync(MODULE)))).toMatchObject({ kind: "taken" });
    });

    test.each<[string, () => Promise<string>, RegExp]>([
      [
        "another module, compressed",
        () => shaped(zstdCompressSync(craftModule("evil"))),
        /does not hold the module/,
      ],
      ["the module as it is", () => shaped(MODULE), /does not hold the module/],
      ["a bomb", () => shaped(zstdCompressSync(Buffer.alloc(300 * 2 ** 20))), /unpacks to more/],
      ["no compressed module", () => handed(packing), /not compressed, against the order/],
      [
        "a stripped module that nobody ordered",
        () =>
          handed(order, {
            modules: honestAttempt(order).modules.map((one) => ({
              ...one,
              stripped: { sha256: sha256(MODULE), size: MODULE.length },
            })),
          }),
        /stripped, against the order/,
      ],
    ])("refuses %s", async (_, make, fact) => {
      expect(await refusalOf(await make())).toMatch(fact);
    });
  });

  /** What an honest hand-over says, changed as JSON. */
  async function described(change: (text: string) => string): Promise<string> {
    await issue(order, cache, scratch);
    const description = tarBlocks({ name: "hand-over.json", content: change(JSON.stringify(honest(order))) });
    return put(Buffer.concat([description, blocksOf(honestFiles()), END]));
  }

  /** A hand-over of a driver that keeps further files. */
  function kept(...paths: readonly string[]): Promise<string> {
    const content = Buffer.from("firmware");
    const build = { ...order.driver.build, files: ["firmware", "firmware/*"] };
    const more = [...new Set(paths)].map((path) => ({ path: `files/${path}`, content }));
    const files = paths.map((path) => ({ path, sha256: sha256(content), size: content.length }));
    const keeping = makeBuildOrder({ driver: { ...order.driver, build } });
    return handed(keeping, { files }, [...honestFiles(), ...more]);
  }

  function honest(for_: BuildOrder, changes: Partial<HandOver> = {}): HandOver {
    return describeHandOver(for_, honestFiles(), { attempt: honestAttempt(for_), ...changes });
  }

  async function archived(blocks: Buffer): Promise<string> {
    await issue(order, cache, scratch);
    return put(Buffer.concat([describedFirst(honest(order)), blocks, END]));
  }

  function moduleFacts(module: Buffer): Partial<AttemptRecord> {
    return { modules: [{ name: "doorbell", sha256: sha256(module), size: module.length }] };
  }

  function withModule(name: string, module: Buffer): Promise<string> {
    const modules = [{ name, sha256: sha256(module), size: module.length }];
    const [log] = honestFiles() as [HandedFile];
    return handed(order, { modules }, [log, { path: `modules/${name}.ko`, content: module }]);
  }

  function blocksOf(files: readonly HandedFile[]): Buffer {
    return Buffer.concat(files.map(({ path, content }) => tarBlocks({ name: path, content })));
  }
});

describe("a load test that was handed over", () => {
  const order = makeBuildOrder();
  const load = makeLoadOrder(order);
  const of = [{ module: "doorbell", sha256: sha256(MODULE) as never }];
  const log = { path: "load.log", content: Buffer.from("the kernel said\n") };

  async function tested(
    verdict: object,
    files: readonly HandedFile[] = [log],
    ordered = load,
  ): Promise<string> {
    await take(await handed(order));
    await issue(ordered, cache, scratch);
    const whole = { check: "load", verdict: "pass" as const, reasons: [], of, ...verdict };
    return put(
      archiveOf(describeHandOver(ordered, files, { load: { verdict: whole, bootMs: 3000 } }), files),
      "load",
    );
  }

  test("may find no device only where the driver says so, and says it of every module", async () => {
    const withoutDevice = { ...load, set: { ...load.set, settings: { noDevice: true } } };
    const refusal = { verdict: "notApplicable", reasons: [{ code: "noDevice", text: "no bell here" }] };

    expect(await refusalOf(await tested(refusal))).toMatch(/none of a load test/);
    expect(await refusalOf(await tested({ ...refusal, of: undefined }, [log], withoutDevice))).toMatch(
      /does not name/,
    );
    expect(await take(await tested(refusal, [log], withoutDevice))).toMatchObject({ kind: "taken" });
  });

  test("is remembered of these modules, once", async () => {
    const file = await tested({});

    expect(await take(file)).toMatchObject({ kind: "taken" });
    expect(await take(file)).toMatchObject({ kind: "again" });
    expect(await readdir(join(cache, "loads"))).toHaveLength(1);
  });

  test.each<[string, object, readonly HandedFile[], RegExp]>([
    ["of other modules", { of: [{ module: "doorbell", sha256: sha256("other") }] }, [log], /other modules/],
    ["of no named modules", { of: undefined }, [log], /does not name/],
    ["of another check", { check: "signature" }, [log], /none of a load test/],
    ["that names a module twice", { of: [...of, ...of] }, [log], /names a module twice/],
    ["for endless reasons", { reasons: [{ code: "loaded", text: "F".repeat(100_000) }] }, [log], /65536/],
    [
      "for a reason that none has",
      { reasons: [{ code: "excepted", text: "" }] },
      [log],
      /the reason "excepted"/,
    ],
    ["that waives", { verdict: "waived" }, [log], /none of a load test/],
    ["without its log", {}, [], /load\.log is missing/],
    ["with files", {}, [log, { path: "build.log", content: Buffer.from("x") }], /was not ordered/],
  ])("is refused %s", async (_, verdict, files, fact) => {
    expect(await refusalOf(await tested(verdict, files))).toMatch(fact);
    expect(existsSync(join(cache, "loads"))).toBe(false);
  });

  test("is refused when it contradicts an earlier one", async () => {
    await take(await tested({}));

    expect(await refusalOf(await tested({ verdict: "fail" }))).toMatch(/a test before it said pass/);
  });

  test("may overrule a failure, if that was ordered again", async () => {
    await take(await tested({ verdict: "fail" }));
    const again = { ...load, isRetry: true as const };
    await issue(again, cache, scratch);
    const verdict = { check: "load", verdict: "pass" as const, reasons: [], of };
    const file = await put(archiveOf(describeHandOver(again, [log], { load: { verdict } }), [log]), "again");

    expect(await take(file)).toMatchObject({ kind: "taken" });
    expect(await refusalOf(await tested({ verdict: "fail" }))).toMatch(/a test before it said pass/);
  });

  test("cannot be of modules that are not here", async () => {
    const absent = makeBuildOrder({ element: { ...makeElement(), recipe: sha256("nothing") } });
    const other = makeLoadOrder(absent);
    await issue(other, cache, scratch);
    const verdict = { check: "load", verdict: "pass" as const, reasons: [], of };
    const file = await put(archiveOf(describeHandOver(other, [log], { load: { verdict } }), [log]));

    await expect(take(file)).rejects.toMatchObject({ code: "NOT_FETCHABLE" });
    expect(await findAttemptOf(sha256("nothing"), cache)).toBeUndefined();
  });
});
