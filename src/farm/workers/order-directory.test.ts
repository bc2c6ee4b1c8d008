import { cp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeBuildOrder } from "../../../test/support/hand-overs.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { hexOf } from "../../base/json.ts";
import { OrderDirectory } from "./order-directory.ts";

const ROOTS = { "debian12-gcc-12": [{ name: "gcc-12", version: "12.2.0-14" }] };

async function planned() {
  const directory = await OrderDirectory.make(join(await temporaryDirectory(), "orders"));
  const orders = [await directory.putOrder(makeBuildOrder())];
  orders.push(await directory.putOrder(makeBuildOrder({ nonce: "f".repeat(32) })));
  await directory.putRoots(ROOTS);
  await directory.close();
  return { directory, orders };
}

test("a plan is named the same wherever its directory lies, whatever bytes lie in it", async () => {
  const { directory } = await planned();
  const copy = join(await temporaryDirectory(), "copy");
  await cp(directory.place, copy, { recursive: true });
  const other = await OrderDirectory.make(copy);
  await other.put(Buffer.from("bytes"));
  await other.close();

  expect(await other.plan()).toBe(await directory.plan());
  expect(await (await planned()).directory.plan()).toBe(await directory.plan());
});

test.each<[string, (directory: OrderDirectory, orders: readonly string[]) => Promise<unknown>]>([
  ["one order more", (directory) => directory.putOrder(makeBuildOrder({ nonce: "e".repeat(32) }))],
  ["one order less", ({ place }, [first = ""]) => rm(join(place, "orders", `${hexOf(first)}.json`))],
  [
    "another order",
    async ({ place }, [first = ""]) => {
      await rm(join(place, "orders", `${hexOf(first)}.json`));
      await writeFile(join(place, "orders", `${"0".repeat(64)}.json`), "{}");
    },
  ],
  [
    "other contents of roots",
    (directory) => directory.putRoots({ ...ROOTS, "debian12-gcc-12": [{ name: "gcc-12", version: "evil" }] }),
  ],
  ["one root more", (directory) => directory.putRoots({ ...ROOTS, other: [] })],
  ["no contents of roots", ({ place }) => rm(join(place, "roots.json"))],
])("with %s it is another plan", async (_, change) => {
  const { directory, orders } = await planned();
  const before = await directory.plan();

  await change(directory, orders);

  expect(await directory.plan()).not.toBe(before);
});

test("an order that is not the one of its name is none, so the plan names every byte of its orders", async () => {
  const { directory, orders } = await planned();
  const [first] = orders as [Parameters<typeof directory.order>[0]];
  await writeFile(join(directory.place, "orders", `${hexOf(first)}.json`), "{}");

  await expect(directory.order(first)).rejects.toThrow();
});

test("a directory without orders is a plan too", async () => {
  const empty = new OrderDirectory(await temporaryDirectory(), undefined as never);

  expect(await empty.plan()).toMatch(/^sha256:/);
  await expect(empty.digests()).rejects.toMatchObject({ code: "ORDER_INVALID" });
});
