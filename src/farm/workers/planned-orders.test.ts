import { join } from "node:path";
import { expect, test } from "vitest";
import { makeBuildOrder } from "../../../test/support/hand-overs.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openScratch } from "../../base/scratch.ts";
import { OrderDirectory } from "./order-directory.ts";
import { PlannedOrders } from "./planned-orders.ts";

const ROOTS = { "debian12-gcc-12": [{ name: "gcc-12", version: "12.2.0-14" }] };

test("what is added to the directory once the plan was compared is not believed", async () => {
  const place = await temporaryDirectory();
  const directory = await OrderDirectory.make(join(place, "orders"));
  const planned = makeBuildOrder();
  const known = await directory.putOrder(planned);
  await directory.putRoots(ROOTS);
  const plan = await directory.putPlan();
  const scratch = await openScratch(join(place, "tmp"));

  const orders = await PlannedOrders.open(directory.place, plan, scratch);
  const added = await directory.putOrder(makeBuildOrder({ nonce: "e".repeat(32) }));
  await directory.putRoots({ ...ROOTS, "debian12-gcc-12": [{ name: "gcc-12", version: "evil" }] });

  expect(await orders.order(added)).toBeUndefined();
  expect(await orders.order(known)).toEqual(planned);
  expect(orders.roots).toEqual(ROOTS);
  await expect(PlannedOrders.open(directory.place, plan, scratch)).rejects.toMatchObject({
    code: "DIGEST_MISMATCH",
  });
  await directory.close();
  await scratch.close();
});
