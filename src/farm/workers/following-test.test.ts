import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { craftModule } from "../../../test/support/crafted-module.ts";
import { makeElement } from "../../../test/support/elements.ts";
import {
  archiveOf,
  describe as describeHandOver,
  honestAttempt,
  honestFiles,
  MODULE,
  makeBuildOrder,
  NOW,
} from "../../../test/support/hand-overs.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { type Digest, hexOf, sha256 } from "../../base/json.ts";
import { openScratch, type Scratch } from "../../base/scratch.ts";
import { findAttempt } from "../../builder/attempt.ts";
import { Limits } from "../config/limits.ts";
import { followingTest } from "./following-test.ts";
import { type BuildOrder, orderDigest } from "./order.ts";
import { OrderDirectory } from "./order-directory.ts";
import { takeHandOver } from "./take.ts";
import { carryOut } from "./work.ts";

let place: string;
let scratch: Scratch;
let orders: OrderDirectory;
let build: Digest;

/** For a kernel without an image, whose test comes to a verdict at once. */
function buildOrder(): BuildOrder {
  const order = makeBuildOrder();
  const { packages } = makeElement();
  return {
    ...order,
    element: { ...order.element, packages: { ...packages, image: [] } },
    load: { guest: [] },
  };
}

beforeEach(async () => {
  place = await temporaryDirectory();
  scratch = await openScratch(join(place, "cache", "tmp"));
  orders = await OrderDirectory.make(join(place, "orders"));
  build = await orders.putOrder(buildOrder());
  await mkdir(join(place, "built"));
});

afterEach(async () => {
  await orders.close();
  await scratch.close();
});

const take = (file: string) => takeHandOver(file, { cache: join(place, "cache"), scratch, orders, now: NOW });

async function built(module = MODULE): Promise<string> {
  const file = join(place, "built", `${hexOf(build)}.tar`);
  const [files, order] = [honestFiles(module), buildOrder()];
  await writeFile(
    file,
    archiveOf(describeHandOver(order, files, { attempt: honestAttempt(order, module) }), files),
  );
  return file;
}

const work = (more: { readonly after?: string; readonly shard?: string }) =>
  carryOut({
    ...{ orders: orders.place, out: join(place, "out"), cache: join(place, "worker"), jobs: 2 },
    ...{ sandbox: "bwrap", now: () => NOW, signal: new AbortController().signal, ...more },
    progress: { element: () => {}, say: () => {} },
    limits: Limits.parse({}),
  });

const testAfterBuild = () => work({ after: join(place, "built") });

describe("the load test that follows from a build", () => {
  test("is carried out and taken though nobody wrote its order", async () => {
    const file = await built();

    expect(await testAfterBuild()).toMatchObject({ done: 1, left: [], faults: [] });

    const [name = ""] = await readdir(join(place, "out"));
    await expect(take(join(place, "out", name))).rejects.toMatchObject({ code: "NOT_FETCHABLE" });
    expect(await take(file)).toMatchObject({ kind: "taken" });
    expect(await take(join(place, "out", name))).toMatchObject({ kind: "taken" });
    expect(await testAfterBuild()).toMatchObject({ done: 0, before: 1 });
  });

  test("is left while the build is not handed over", async () => {
    expect(await testAfterBuild()).toMatchObject({
      done: 0,
      left: [{ reason: "its build was not handed over" }],
    });
  });

  test("is not carried out of a build that is a lie", async () => {
    await writeFile(await built(), "no archive");

    expect(await testAfterBuild()).toMatchObject({
      done: 0,
      faults: [{ error: { code: "HAND_OVER_REFUSED" } }],
    });
  });

  test("is refused of other modules than those that were taken", async () => {
    await take(await built());
    await built(craftModule("doorbell", { comment: "GCC: another" }));
    await testAfterBuild();
    const [name = ""] = await readdir(join(place, "out"));

    await expect(take(join(place, "out", name))).rejects.toThrow(/it tested other modules/);
  });

  test("is the same for everybody who has the order and the modules", async () => {
    await take(await built());
    const attempt = await findAttempt(buildOrder().recipe, join(place, "cache"));

    const following = await followingTest(buildOrder(), attempt as NonNullable<typeof attempt>);

    expect(following?.order.set.modules).toEqual([
      { name: "doorbell", digest: sha256(MODULE), size: MODULE.length },
    ]);
    const copy = JSON.parse(JSON.stringify(following?.order));
    expect(orderDigest(copy)).toBe(orderDigest(following?.order as never));
  });
});

describe("a shard of a plan", () => {
  test("is all that its worker does", async () => {
    await built();
    const shard = { distribution: "debian12", architecture: "x86_64", machine: "x86_64" } as const;
    const shards = [
      { ...shard, id: "some", expectedSeconds: 1, orders: [build as never] },
      { ...shard, id: "none", expectedSeconds: 1, orders: [] },
    ];
    await orders.putShards({ schema: "kmodfarm.orderShards/1", shards });
    const after = join(place, "built");

    expect(await work({ after, shard: "none" })).toMatchObject({ done: 0, left: [] });
    expect(await work({ after, shard: "some" })).toMatchObject({ done: 1 });
    await expect(work({ after, shard: "other" })).rejects.toMatchObject({ code: "USAGE" });
  });

  test("is no place for other documents", async () => {
    await writeFile(join(orders.place, "shards.json"), '{"schema":"kmodfarm.orderShards/1","shards":[{}]}');

    await expect(work({ shard: "some" })).rejects.toMatchObject({ code: "DOCUMENT_INVALID" });
  });
});
