import { link, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  archiveOf,
  describe as describeHandOver,
  honestAttempt,
  honestFiles,
  issue,
  MODULE,
  makeBuildOrder,
  NOW,
} from "../../../test/support/hand-overs.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openScratch, type Scratch } from "../../base/scratch.ts";
import { findAttempt, keepAttempt } from "../../builder/attempt.ts";
import { followingTest } from "./following-test.ts";
import { handOversIn } from "./hand-over-file.ts";
import { type BuildOrder, type HandOver, type LoadOrder, orderDigest } from "./order.ts";
import { claimOf, takeHandOver } from "./take.ts";
import { takeFiles } from "./take-files.ts";

let directory: string;
let cache: string;
let scratch: Scratch;

beforeEach(async () => {
  directory = await temporaryDirectory();
  cache = join(directory, "cache");
  scratch = await openScratch(join(cache, "tmp"));
});

afterEach(() => scratch.close());

const takeIn = async (...names: string[]) => {
  const { files } = await handOversIn(names.map((name) => join(directory, name)));
  return takeFiles(files, { cache, scratch, now: NOW }, new AbortController().signal);
};

/** Puts what a machine made of an order where its artifact is downloaded to. */
async function put(
  artifact: string,
  module: Buffer,
  spoil = (archive: Buffer) => archive,
  order = makeBuildOrder(),
) {
  await issue(order, cache, scratch);
  const files = honestFiles(module);
  const archive = archiveOf(describeHandOver(order, files, { attempt: honestAttempt(order, module) }), files);
  await mkdir(join(directory, artifact), { recursive: true });
  await writeFile(join(directory, artifact, "one.tar"), spoil(archive));
  return order;
}

/** The same module with another last byte. */
const FORGED = Buffer.concat([MODULE.subarray(0, -1), Buffer.from([(MODULE.at(-1) ?? 0) ^ 1])]);

test("of two that contradict each other neither is used, whichever is first", async () => {
  const order = await put("built-1", MODULE);
  await put("built-0", FORGED);

  const { results, refused } = await takeIn("built-0", "built-1");

  expect(results).toEqual([]);
  expect(refused.map(({ error }) => [error.code, error.message])).toEqual(
    [1, 2].map(() => ["HAND_OVER_REFUSED", expect.stringContaining("came to something else")]),
  );
  expect(refused.every(({ error }) => error.at.kept !== undefined)).toBe(true);
  expect(await findAttempt(order.recipe, cache)).toBeUndefined();
});

test("nor of two by orders of two plans, which are of one recipe", async () => {
  const asIs = (archive: Buffer) => archive;
  const order = await put("built-1", MODULE, asIs, makeBuildOrder({ nonce: "b".repeat(32) }));
  await put("built-0", FORGED, asIs, makeBuildOrder({ nonce: "a".repeat(32) }));

  expect((await takeIn("built-0", "built-1")).results).toEqual([]);
  expect(await findAttempt(order.recipe, cache)).toBeUndefined();
});

test.each([false, true])(
  "tests that contradict each other decide nothing (failed before: %j)",
  async (isAgain) => {
    const order = makeBuildOrder({ load: { guest: [] }, ...(isAgain ? { isRetry: true } : {}) });
    if (isAgain) {
      const failure = { code: "BUILD_FAILED", cause: "it did not build", line: "" } as const;
      const evidence = join(directory, "evidence");
      await mkdir(evidence);
      await writeFile(join(evidence, "build.log"), "x");
      await keepAttempt({ ...honestAttempt(order), modules: [], failure }, evidence, cache);
    }
    await put("built-0", MODULE, undefined, order);
    const modules = await loadOrderOf(order);
    for (const [artifact, verdict] of [
      ["a-checked", "pass"],
      ["z-checked", "fail"],
    ] as const)
      await hand(artifact, modules, order, verdict);

    const { results, refused } = await takeIn("a-checked", "built-0", "z-checked");

    expect(results.map(({ kind }) => kind)).toEqual(["taken"]);
    expect(refused.map(({ error }) => error.message)).toEqual(
      [1, 2].map(() => expect.stringContaining("came to something else")),
    );
  },
);

/** The test that follows from a build, as a machine with that build has it. */
async function loadOrderOf(order: BuildOrder) {
  const elsewhere = join(directory, "elsewhere");
  const place = await openScratch(join(elsewhere, "tmp"));
  await issue(order, elsewhere, place);
  const { files } = await handOversIn([join(directory, "built-0")]);
  await takeFiles(files, { cache: elsewhere, scratch: place, now: NOW }, new AbortController().signal);
  const attempt = await findAttempt(order.recipe, elsewhere);
  await place.close();
  const following = attempt === undefined ? undefined : await followingTest(order, attempt);
  if (following === undefined) throw new Error("no test follows");
  return following.order;
}

async function hand(artifact: string, order: LoadOrder, build: BuildOrder, verdict: "pass" | "fail") {
  const files = [{ path: "load.log", content: Buffer.from("log\n") }];
  const of = order.set.modules.map(({ name, digest }) => ({ module: name, sha256: digest }));
  const reasons = verdict === "pass" ? [] : [{ code: "loaded", text: "it oopsed" }];
  const load = { verdict: { check: "load" as const, verdict, reasons, of } };
  const described = describeHandOver(order, files, { after: orderDigest(build), load } as Partial<HandOver>);
  await mkdir(join(directory, artifact), { recursive: true });
  await writeFile(join(directory, artifact, "one.tar"), archiveOf(described, files));
}

test("what is no good contradicts nobody", async () => {
  const order = await put("built-1", MODULE);
  await put("built-0", FORGED, (archive) => {
    archive[archive.indexOf(FORGED) + 1] = 0;
    return archive;
  });

  const { results, refused } = await takeIn("built-0", "built-1");

  expect(results.map(({ kind }) => kind)).toEqual(["taken"]);
  expect(refused).toHaveLength(1);
  expect((await findAttempt(order.recipe, cache))?.record.failure).toBeUndefined();
});

test("one file under many names is one hand-over", async () => {
  await put("built-0", MODULE);
  const [name = ""] = await readdir(join(directory, "built-0"));
  for (const again of ["a.tar", "b.tar"])
    await link(join(directory, "built-0", name), join(directory, "built-0", again));

  expect((await handOversIn([join(directory, "built-0")])).files).toHaveLength(1);
});

test("what was looked at is what is used: one that was exchanged since is refused", async () => {
  const order = await put("built-0", MODULE);
  const { files } = await handOversIn([join(directory, "built-0")]);
  const context = { cache, scratch, now: NOW };
  const claimed = await claimOf(files[0] ?? "", context);
  await put("built-0", FORGED);

  for (const before of [claimed ?? "nothing", "nothing"] as const)
    await expect(takeHandOver(files[0] ?? "", { ...context, claimed: before })).rejects.toThrow(
      /changed while it was taken/,
    );
  expect(claimed).toBeDefined();
  expect(await findAttempt(order.recipe, cache)).toBeUndefined();
});

test("two that are the same are one", async () => {
  await put("built-0", MODULE);
  await put("built-1", MODULE);

  const { results, refused } = await takeIn("built-0", "built-1");

  expect(results.map(({ kind }) => kind)).toEqual(["taken", "again"]);
  expect(refused).toEqual([]);
});

test("very many that are no good are counted, and keep none from being taken", async () => {
  await put("built-1", MODULE);
  await mkdir(join(directory, "built-0"));
  for (let index = 0; index < 100; index++) await writeFile(join(directory, "built-0", `${index}.tar`), "x");

  const { results, refused } = await takeIn("built-0", "built-1");

  expect(results.map(({ kind }) => kind)).toEqual(["taken"]);
  expect(refused).toHaveLength(65);
  expect(refused.at(-1)?.error.message).toBe("36 more were refused");
});

test("a directory without any is reported, and the others are taken", async () => {
  await put("built-1", MODULE);
  await mkdir(join(directory, "built-0"));
  await writeFile(join(directory, "built-0", "readme.txt"), "");

  const found = await handOversIn([join(directory, "built-0"), join(directory, "built-1")]);

  expect(found.files).toEqual([join(directory, "built-1/one.tar")]);
  expect(found.empty.map(({ error }) => error.code)).toEqual(["FILE_UNREADABLE"]);
  await expect(handOversIn([join(directory, "built-0")])).rejects.toThrow(/has no hand-over/);
});
