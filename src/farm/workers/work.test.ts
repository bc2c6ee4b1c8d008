import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { makeElement } from "../../../test/support/elements.ts";
import { makeBuildOrder, makeLoadOrder } from "../../../test/support/hand-overs.ts";
import { startServer } from "../../../test/support/server.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { canonicalJson, digestOf, hexOf, sha256 } from "../../base/json.ts";
import { run } from "../../base/run.ts";
import { Limits } from "../config/limits.ts";
import type { LoadOrder } from "./order.ts";
import { OrderDirectory } from "./order-directory.ts";
import { carryOut } from "./work.ts";

let place: string;
let orders: OrderDirectory;

beforeEach(async () => {
  place = await temporaryDirectory();
  orders = await OrderDirectory.make(join(place, "orders"));
  await orders.close();
});

const work = (now = new Date("2026-03-01T12:00:00.000Z"), privateHosts: readonly string[] = []) =>
  carryOut({
    privateHosts,
    ...{ orders: orders.place, out: join(place, "out"), cache: join(place, "cache"), jobs: 2 },
    ...{ sandbox: "bwrap", now: () => now, signal: new AbortController().signal },
    progress: { element: () => {}, say: () => {} },
    limits: Limits.parse({}),
  });

/** One that any machine can carry out, and that comes to a verdict at once: its kernel has no image. */
function easyOrder(changes: Partial<LoadOrder> = {}): LoadOrder {
  const { packages, ...element } = makeElement();
  return {
    ...makeLoadOrder(makeBuildOrder({ element: { ...element, packages: { ...packages, image: [] } } })),
    set: { driver: "doorbell", modules: [], needs: [] },
    ...changes,
  };
}

const orderFile = (digest: string) => join(orders.place, "orders", `${hexOf(digest)}.json`);

describe("a worker", () => {
  test("hands over what came of an order, once", async () => {
    const digest = await orders.putOrder(easyOrder());

    expect(await work()).toMatchObject({ done: 1, before: 0, faults: [] });
    expect(await work()).toMatchObject({ done: 0, before: 1, faults: [] });
    expect(await readdir(join(place, "out"))).toEqual([`${hexOf(digest)}.tar`]);
  });

  test("carries out later what something kept it from", async () => {
    const content = Buffer.from("bytes");
    const digest = sha256(content) as LoadOrder["set"]["modules"][number]["digest"];
    const set = {
      driver: "doorbell",
      modules: [{ name: "doorbell", digest, size: content.length }],
      needs: [],
    };
    const name = hexOf(await orders.putOrder(easyOrder({ set })));

    expect(await work()).toMatchObject({ done: 1, faults: [{ error: { code: "ORDER_INVALID" } }] });
    expect(await readdir(join(place, "out"))).toEqual([`${name}.fault.tar`]);
    await orders.put(content);

    expect(await work()).toMatchObject({ done: 1, before: 0, faults: [] });
    expect(await readdir(join(place, "out"))).toEqual([`${name}.tar`]);
  });

  test("asks no host of its own network that only an order names", async () => {
    const server = await startServer((_, response) => response.writeHead(404).end());
    const element = makeElement();
    const sources = new Set(element.packages.image.map(({ source }) => source));
    const mirrors = Object.fromEntries([...sources].map((id) => [id, server.url]));
    await orders.putOrder(easyOrder({ element: { ...element, kernelurls: [] }, mirrors }));

    const refused = await work();

    expect(sources.size).toBe(1);
    expect(server.requests).toEqual([]);
    expect(refused.faults).toHaveLength(1);
    await work(undefined, ["127.0.0.1"]);
    expect(server.requests.length).toBeGreaterThan(0);
  });

  const elsewhere = "an order of its own";
  test.each<[string, (file: string) => Promise<unknown>]>([
    ["no JSON", (file) => writeFile(file, "{")],
    ["empty", (file) => writeFile(file, "")],
    ["another one", (file) => writeFile(file, canonicalJson(easyOrder({ nonce: "e".repeat(32) })))],
    [
      "half of a character",
      (file) => writeFile(file, canonicalJson(easyOrder()).replace("doorbell", String.raw`\ud800`)),
    ],
    ["nested a million deep", (file) => writeFile(file, `${"[".repeat(1e6)}${"]".repeat(1e6)}`)],
    ["a pipe", (file) => run(["mkfifo", file])],
    ["a directory", (file) => mkdir(file)],
    [
      "a link",
      async (file) => {
        await writeFile(join(place, elsewhere), canonicalJson(easyOrder()));
        await symlink(join(place, elsewhere), file);
      },
    ],
    ["without an end", (file) => run(["truncate", "--size=1T", file])],
  ])("is kept from no other order by one that is %s", async (_, spoil) => {
    await orders.putOrder(easyOrder());
    await spoil(orderFile(digestOf(easyOrder({ nonce: "f".repeat(32) }))));

    const report = await work();

    expect(report).toMatchObject({
      done: 1,
      faults: [{ name: expect.stringMatching(/^order [0-9a-f]{12}$/) }],
    });
    expect(await readdir(join(place, "out"))).toHaveLength(1);
  });

  test.each<[string, (file: string) => Promise<unknown>]>([
    ["are missing", async () => {}],
    ["are a pipe", (file) => run(["mkfifo", file])],
    ["are a device", (file) => symlink("/dev/zero", file)],
    ["are a link", (file) => symlink("/etc/passwd", file)],
    ["have no end", (file) => run(["truncate", "--size=1T", file])],
    ["are others", (file) => writeFile(file, "other")],
  ])("says of an order whose bytes %s that they are, and waits for nothing", async (_, spoil) => {
    const digest = sha256("bytes") as LoadOrder["set"]["modules"][number]["digest"];
    const modules = [{ name: "doorbell", digest, size: 5 }];
    await orders.putOrder(easyOrder({ set: { driver: "doorbell", modules, needs: [] } }));
    await mkdir(join(orders.place, "blobs"), { recursive: true });
    await spoil(orders.pathOf(digest));

    const report = await work();

    expect(report).toMatchObject({ done: 1, faults: [{ error: { code: "ORDER_INVALID" } }] });
    const [name = ""] = await readdir(join(place, "out"));
    const handedOver = await readFile(join(place, "out", name), "utf8");
    expect(handedOver).toContain('"code":"ORDER_INVALID"');
    expect(handedOver).not.toContain(place);
  });

  test("gets bytes again that were cut off, from whoever orders them anew", async () => {
    const content = Buffer.from("bytes");
    const { digest } = await orders.put(content);
    await writeFile(orders.pathOf(digest), "");

    await orders.put(content);

    expect(await readFile(orders.pathOf(digest), "utf8")).toBe("bytes");
  });

  test("leaves an order that expired", async () => {
    await orders.putOrder(easyOrder());

    const report = await work(new Date("2026-03-03T00:00:00Z"));

    expect(report).toMatchObject({ done: 0, left: [{ reason: "the order has expired" }] });
  });
});
