import { describe, expect, test } from "vitest";
import { makeBuildOrder } from "../../../test/support/hand-overs.ts";
import { Order } from "./order.ts";

const order = makeBuildOrder();
const { build } = order.driver;

describe("an order", () => {
  test("is what it was written as", () => {
    expect(Order.parse(order)).toEqual(order);
  });

  // Whoever carries orders out has only their word: what a configuration must not say, no order may.
  test.each<[string, object]>([
    [
      "a directory that ends a word",
      { driver: { ...order.driver, build: { ...build, directory: "a\0--bind\0/\0/mnt" } } },
    ],
    ["a directory above the tree", { driver: { ...order.driver, build: { ...build, directory: "../.." } } }],
    ["a pattern that never ends", { driver: { ...order.driver, build: { ...build, files: ["(a+)+b"] } } }],
    ["a pattern above the tree", { driver: { ...order.driver, build: { ...build, files: ["../*"] } } }],
    [
      "a package that is an option",
      { driver: { ...order.driver, build: { ...build, packages: ["-oDebug=1"] } } },
    ],
    ["a package to remove", { driver: { ...order.driver, build: { ...build, depends: ["libc6-"] } } }],
    [
      "a compiler that ends a word",
      {
        toolchain: { ...order.toolchain, compiler: { ...order.toolchain.compiler, command: "gcc\0--bind" } },
      },
    ],
    ["endless time", { limits: { ...order.limits, minutes: 1e308 } }],
    ["no time", { limits: { ...order.limits, minutes: 0 } }],
    ["more memory than a number can say", { limits: { ...order.limits, memory: 1e308 } }],
    ["a driver named like a path", { driver: { ...order.driver, name: "../evil" } }],
    ["a toolchain named like a path", { toolchain: { ...order.toolchain, name: "../evil" } }],
  ])("cannot ask for %s", (_, change) => {
    expect(Order.safeParse({ ...order, ...change }).success).toBe(false);
  });
});
