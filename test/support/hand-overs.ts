/** An order, what an honest worker hands over for it, and its archive: with only what a test says different. */
import { join } from "node:path";
import { canonicalJson, type Digest, sha256 } from "../../src/base/json.ts";
import type { Scratch } from "../../src/base/scratch.ts";
import { recipeKey } from "../../src/builder/recipe.ts";
import type { AttemptRecord, Recipe } from "../../src/builder/records.ts";
import { issuedOrder } from "../../src/farm/executors/orders.ts";
import {
  type BuildOrder,
  HAND_OVER_FILE,
  type HandOver,
  type LoadOrder,
  type Order,
  orderDigest,
} from "../../src/farm/workers/order.ts";
import { craftModule } from "./crafted-module.ts";
import { makeElement } from "./elements.ts";
import { tarBlocks } from "./tar-blocks.ts";

export const NOW = new Date("2026-03-01T12:00:00.000Z");
export const MODULE = craftModule("doorbell");
const SAYS = "gcc-12 (Debian 12.2.0-14) 12.2.0";
const HEADERS = [{ name: "linux-headers-6.1.0-56-amd64", version: "6.1.170-3", sha256: "1".repeat(64) }];
const TOOLCHAIN = [{ name: "gcc-12", version: "12.2.0-14" }];

export function makeBuildOrder(changes: Partial<BuildOrder> = {}): BuildOrder {
  const element = makeElement();
  const { kversion, packageVersion, distribution, architecture } = element;
  const recipe: Recipe = {
    schema: "kmodfarm.recipe/1",
    driver: { name: "doorbell", version: "0.1.1", source: sha256("source"), modules: ["doorbell"] },
    kernel: { distribution, architecture, kversion, packageVersion },
    builder: "x86_64",
    headers: HEADERS,
    toolchain: TOOLCHAIN,
    scripts: sha256("scripts"),
  };
  const bytes = { digest: sha256("bytes") as BuildOrder["toolchain"]["digest"], size: 5 };
  return {
    schema: "kmodfarm.order/1",
    kind: "build",
    element: { ...element, recipe: recipeKey(recipe) },
    recipe,
    driver: {
      ...{ name: "doorbell", version: "0.1.1", modules: ["doorbell"], needed: [] },
      source: { tree: bytes.digest, archive: bytes },
      build: { kind: "kbuild", packages: [], files: [] },
    },
    toolchain: {
      ...{ name: "debian12-gcc-12-abc", digest: bytes.digest, archive: bytes, says: SAYS },
      compiler: { family: "gcc", version: "12", command: "gcc-12", packages: ["gcc-12"] },
    },
    limits: {
      minutes: 15,
      memory: 2 ** 30,
      processes: 4096,
      disk: 2 ** 30,
      output: 2 ** 20,
      artifact: 2 ** 20,
    },
    mirrors: {},
    nonce: "0123456789abcdef0123456789abcdef",
    expires: "2026-03-02T12:00:00.000Z",
    ...changes,
  };
}

export function makeLoadOrder({ element, nonce, expires, mirrors }: BuildOrder, module = MODULE): LoadOrder {
  const digest = sha256(module) as BuildOrder["toolchain"]["digest"];
  return {
    ...{ schema: "kmodfarm.order/1", kind: "load", element, nonce, expires, mirrors, guest: [] },
    set: { driver: "doorbell", modules: [{ name: "doorbell", digest, size: module.length }], needs: [] },
  };
}

/** A file of a hand-over's archive; `path` is what it is called there. */
export interface HandedFile {
  readonly path: string;
  readonly content: Buffer;
}

export function honestFiles(module = MODULE): HandedFile[] {
  return [
    { path: "build.log", content: Buffer.from("a log\n") },
    { path: "modules/doorbell.ko", content: module },
  ];
}

export function honestAttempt(order: BuildOrder, module = MODULE): AttemptRecord {
  return {
    schema: "kmodfarm.attempt/2",
    recipe: order.recipe,
    inputs: order.recipe.headers.map((one) => ({ ...one, from: "mirror" as const, tried: [] })),
    buildMs: 1234,
    environment: { compiler: SAYS, packages: [...TOOLCHAIN] },
    modules: [{ name: "doorbell", sha256: sha256(module), size: module.length }],
  };
}

const RUNNER = {
  kind: "machine",
  name: "worker",
  architecture: "x86_64",
  sandbox: "bwrap",
  network: "none",
} as const;

export function describe(order: Order, files: readonly HandedFile[], changes: Partial<HandOver>): HandOver {
  return {
    schema: "kmodfarm.handOver/1",
    order: orderDigest(order) as HandOver["order"],
    nonce: order.nonce,
    runner: RUNNER,
    startedAt: "2026-03-01T11:00:00.000Z",
    endedAt: "2026-03-01T11:10:00.000Z",
    files: files.map(({ path, content }) => ({
      path,
      digest: sha256(content) as HandOver["order"],
      size: content.length,
    })),
    ...changes,
  };
}

export const END = Buffer.alloc(1024);

export function describedFirst(handOver: unknown): Buffer {
  return tarBlocks({ name: HAND_OVER_FILE, content: canonicalJson(handOver) });
}

export function archiveOf(handOver: unknown, files: readonly HandedFile[]): Buffer {
  const blocks = files.map(({ path, content }) => tarBlocks({ name: path, content }));
  return Buffer.concat([describedFirst(handOver), ...blocks, END]);
}

export async function issue(order: Order, cache: string, scratch: Scratch): Promise<Digest> {
  const digest = orderDigest(order);
  await scratch.write(issuedOrder(cache, digest), canonicalJson(order));
  return digest;
}

export function handOverPlace(directory: string, name = "hand-over"): string {
  return join(directory, `${name}.tar`);
}
