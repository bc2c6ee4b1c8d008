/**
 * The load test that follows from a build: a build order says how its modules are to be tested, so who has the order and
 * the modules has the load order too. Nobody needs to write it, and both sides come to the same one.
 */
import { defined } from "../../base/defined.ts";
import { sha256 } from "../../base/json.ts";
import type { Attempt } from "../../builder/attempt.ts";
import type { LoadSet } from "../../check/load.ts";
import { loadSet } from "../night/load-test.ts";
import type { BuildOrder, Bytes, LoadOrder } from "./order.ts";

export interface FollowingTest {
  readonly order: LoadOrder;
  /** The bytes of the build's own modules, by their digests. */
  readonly bytes: ReadonlyMap<string, Buffer>;
}

/** Undefined if there is nothing to test: the build failed. */
export async function followingTest(build: BuildOrder, attempt: Attempt): Promise<FollowingTest | undefined> {
  const { element, mirrors, nonce, expires, isRetry, load } = build;
  if (load === undefined || attempt.record.failure !== undefined) return undefined;
  const bytes = new Map<string, Buffer>();
  const keep = (content: Buffer): Bytes => {
    const one = { digest: sha256(content) as Bytes["digest"], size: content.length };
    bytes.set(one.digest, content);
    return one;
  };
  const subject = { attempt, smoke: load.smoke, settings: undefined, needs: [] };
  const set = await orderedSet(await loadSet(element, subject), keep);
  const needs = build.driver.needed.flatMap(({ modules }) => modules);
  const order: LoadOrder = defined({
    ...{ schema: "kmodfarm.order/1" as const, kind: "load" as const },
    ...{ element, mirrors, nonce, expires, isRetry, guest: load.guest },
    set: defined({ ...set, needs, settings: load.settings }),
  });
  return { order, bytes };
}

/** What is inserted, as an order names it; `keep` is given each module's bytes. */
export async function orderedSet(
  { driver, modules, smoke, settings, needs = [] }: LoadSet,
  keep: (content: Buffer) => Bytes | Promise<Bytes>,
): Promise<LoadOrder["set"]> {
  return {
    ...{ driver, smoke, settings: structuredClone(settings) as LoadOrder["set"]["settings"] },
    modules: await Promise.all(
      modules.map(async ({ name, bytes, packed }) => ({
        name,
        ...(await keep(bytes)),
        packed: packed === undefined ? undefined : { packing: packed.packing, ...(await keep(packed.bytes)) },
      })),
    ),
    needs: await Promise.all(needs.map(async ({ name, bytes }) => ({ name, ...(await keep(bytes)) }))),
  };
}
