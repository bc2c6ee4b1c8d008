/**
 * The orders of a plan that another machine made. Whoever can write to their directory could give some, or say what is in
 * roots, so what it is asked for is read once, and only what the plan's digest names is believed from then on.
 */
import { FarmError } from "../../base/error.ts";
import { type Digest, digestOf } from "../../base/json.ts";
import type { Scratch } from "../../base/scratch.ts";
import type { Order } from "./order.ts";
import { OrderDirectory } from "./order-directory.ts";
import type { Roots } from "./plan-documents.ts";

export class PlannedOrders {
  /** What the roots of the orders contain, by their names. */
  readonly roots: Roots["roots"];
  readonly #orders: ReadonlySet<Digest>;
  readonly #directory: OrderDirectory;

  private constructor(directory: OrderDirectory, orders: readonly Digest[], roots: Roots["roots"]) {
    this.roots = roots;
    this.#orders = new Set(orders);
    this.#directory = directory;
  }

  /** @throws FarmError DIGEST_MISMATCH for orders that are not those of the plan */
  static async open(place: string, plan: Digest, scratch: Scratch): Promise<PlannedOrders> {
    const directory = new OrderDirectory(place, scratch);
    const { orders, roots } = await directory.planned();
    const found = digestOf({ orders, roots });
    if (found === plan) return new PlannedOrders(directory, orders, roots);
    throw new FarmError("DIGEST_MISMATCH", {
      detail: `${place} is not the plan ${plan}: with what lies there now it would be ${found}`,
      hint: "Copy the directory from the machine that planned once more, and give --plan what `kmodfarm plan` printed there last.",
    });
  }

  get count(): number {
    return this.#orders.size;
  }

  /** Undefined if the plan has no such order, whatever lies there meanwhile. @throws as `OrderDirectory.order` */
  async order(digest: Digest): Promise<Order | undefined> {
    return this.#orders.has(digest) ? this.#directory.order(digest) : undefined;
  }
}
