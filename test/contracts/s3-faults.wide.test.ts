/** What befalls those who publish to a real server: kills, faults of the way, clocks, others at work. One history, always. */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isInstalled } from "../../src/base/programs.ts";
import { copyStore } from "../../src/registry/copy.ts";
import { fsck } from "../../src/registry/fsck.ts";
import { history, readPublished } from "../../src/registry/generations.ts";
import { prune } from "../../src/registry/prune.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { openS3Store } from "../../src/registry/stores/s3.ts";
import type { Store } from "../../src/registry/stores/store.ts";
import { startChild } from "../support/children.ts";
import { treeDigests } from "../support/e2e-farm.ts";
import { endlessPublisher, publishingModule, threeOf } from "../support/publishing-child.ts";
import { type ProxyFault, startS3Proxy } from "../support/s3-proxy.ts";
import {
  openElsewhere,
  placeOf,
  radosgwFault,
  type S3Server,
  startRadosgw,
  withBucket,
} from "../support/s3-servers.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const KILLS = Number(process.env.KMODFARM_KILLS ?? 200);
const LOOK = { isFull: true, isRepair: false, copyOf: async () => undefined };
const SILENT_MS = 60_000;

const noRadosgw = radosgwFault();
if (noRadosgw !== undefined) console.warn(`radosgw is not tried: ${noRadosgw}`);

/** Numbers of all generations, newest first, each of which names the one before. */
async function numbersOf(store: Store): Promise<number[]> {
  const { head } = await readPublished(store);
  const numbers: number[] = [];
  for await (const one of history(store, head)) numbers.push(one.head.number);
  return numbers;
}

describe.skipIf(noRadosgw !== undefined)("who publishes to radosgw", () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await withBucket(await startRadosgw(17780));
  });
  afterAll(() => server?.stop());

  test(`is killed at any request, ${KILLS} times: the old generation is there, or the new one`, async () => {
    const proxy = await startS3Proxy(server.endpoint);
    const [there, throughProxy] = [placeOf(server), placeOf(proxy)];
    const store = await openS3Store(there);
    const writer = endlessPublisher(openElsewhere({ ...throughProxy, prefix: there.prefix }));
    let [last, advanced] = [0, 0];
    for (let kill = 0; kill < KILLS; kill++) {
      // Of the first a writer tries the bucket; two publications have some seventy.
      let left = randomInt(0, 80);
      const isBefore = kill % 2 === 0;
      const { child } = await startChild(writer, [String(kill * 7)]);
      const gone = once(child, "exit");
      proxy.fault = async (): Promise<ProxyFault | undefined> => {
        if (left-- !== 0) return undefined;
        // Before the server hears of it, or once it has answered and nobody hears the answer.
        if (!isBefore) setTimeout(() => child.kill("SIGKILL"), randomInt(0, 8));
        else child.kill("SIGKILL");
        return isBefore ? { kind: "slow", ms: 20 } : undefined;
      };
      await gone;

      const { head } = await readPublished(store);
      expect(head?.number ?? 0).toBeGreaterThanOrEqual(last);
      if ((head?.number ?? 0) > last) advanced++;
      last = head?.number ?? 0;
    }
    expect(advanced).toBeGreaterThan(KILLS / 4);
    expect(await numbersOf(store)).toEqual(Array.from({ length: last }, (_, index) => last - index));

    // Whoever publishes next makes good what was left.
    proxy.fault = () => undefined;
    const { said } = await startChild(threeOf(openElsewhere(there), "next"));
    expect(said).toBe("done");
    const { findings } = await fsck(store, { ...LOOK, isRepair: true });
    expect(findings.filter(({ remedy }) => remedy === "lost" || remedy === "leave")).toEqual([]);
    expect((await fsck(store, LOOK)).findings).toEqual([]);
  });

  test("meets every fault of a server and of the way to it, and loses nothing", async () => {
    const proxy = await startS3Proxy(server.endpoint);
    const there = placeOf(server);
    const faults: ProxyFault[] = [
      { kind: "answer", status: 500, code: "InternalError" },
      { kind: "answer", status: 500, code: "InternalError", isDone: true },
      { kind: "answer", status: 503, code: "SlowDown" },
      { kind: "answer", status: 429, code: "TooManyRequests" },
      { kind: "cut" },
      { kind: "slow", ms: 300 },
    ];
    const met = new Set<ProxyFault>();
    proxy.fault = () => {
      if (randomInt(0, 4) !== 0) return undefined;
      const fault = faults[randomInt(0, faults.length)] as ProxyFault;
      met.add(fault);
      return fault;
    };

    const names = ["one", "two", "three", "four"];
    const writers = names.map((name) =>
      startChild(threeOf(openElsewhere({ ...placeOf(proxy), prefix: there.prefix }), name)),
    );
    expect((await Promise.all(writers)).map(({ said }) => said)).toEqual(names.map(() => "done"));

    expect(met.size).toBe(faults.length);
    const store = await openS3Store(there);
    expect(await numbersOf(store)).toEqual(Array.from({ length: 12 }, (_, index) => 12 - index));
    expect((await fsck(store, LOOK)).findings).toEqual([]);
  });

  test("may be two at once, while a third prunes: nothing is removed that anybody needs", async () => {
    const there = placeOf(server);
    const store = await openS3Store(there);
    await startChild(threeOf(openElsewhere(there), "first"));
    const running = { isOver: false };
    const pruned = (async () => {
      const counts: number[] = [];
      while (!running.isOver) {
        // Grace is what keeps the young: what is older than nothing is everything but that.
        const { generations } = await prune(store, {
          keep: 2,
          graceMs: 10_000,
          now: new Date(),
          isDryRun: false,
        });
        counts.push(generations.length);
        await sleep(50);
      }
      return counts;
    })();

    const writers = ["left", "right"].map((name) => startChild(threeOf(openElsewhere(there), name)));
    expect((await Promise.all(writers)).map(({ said }) => said)).toEqual(["done", "done"]);
    running.isOver = true;
    await pruned;

    await prune(store, { keep: 2, graceMs: 0, now: new Date(Date.now() + SILENT_MS), isDryRun: false });
    expect(await numbersOf(store)).toEqual([9, 8]);
    const { indices } = await readPublished(store);
    const drivers = indices.flatMap(({ stable }) => stable.map(({ driver }) => driver));
    expect(drivers.toSorted()).toEqual(["first", "left", "right"]);
    expect((await fsck(store, LOOK)).findings).toEqual([]);
  });

  test.skipIf(!isInstalled("faketime")).each(["-20 minutes", "+20 minutes"])(
    "may have a clock that is wrong by %s: the server refuses it, says its own time, and is asked again with that",
    async (skew) => {
      const proxy = await startS3Proxy(server.endpoint);
      const place = placeOf(proxy);
      const work = publishingModule(
        openElsewhere(place),
        `await publishOne(makeElement(), "100");
         console.log("done");`,
      );

      const { said } = await startChild(work, [], ["faketime", skew]);

      expect(said).toBe("done");
      expect(proxy.requests.filter(({ status }) => status === 403).length).toBeGreaterThan(0);
      expect(await numbersOf(await openS3Store(place))).toEqual([1]);
    },
  );

  test("copies a registry there although it is killed again and again, and gets it back byte for byte", async () => {
    const directory = await temporaryDirectory();
    const source = new URL("../../src/registry/", import.meta.url).href;
    const folder = `
      import { openFolderStore } from "${source}stores/folder.ts";
      const store = await openFolderStore(${JSON.stringify(directory)});`;
    expect((await startChild(threeOf(folder, "copied"))).said).toBe("done");
    const proxy = await startS3Proxy(server.endpoint);
    const there = placeOf(server);
    const scratchOf = `
      import { openScratch } from "${new URL("../../src/base/scratch.ts", import.meta.url).href}";
      const scratch = await openScratch(${JSON.stringify(`${await temporaryDirectory()}/scratch`)});`;
    const copier = `
      import { openFolderStore } from "${source}stores/folder.ts";
      import { copyStore } from "${source}copy.ts";
      ${openElsewhere({ ...placeOf(proxy), prefix: there.prefix })}
      ${scratchOf}
      console.log("here");
      await copyStore(await openFolderStore(${JSON.stringify(directory)}), store, scratch);
      await scratch.close();`;
    const remote = await openS3Store(there);
    for (let requests = 5; ; requests += 6) {
      let left = requests;
      const { child } = await startChild(copier);
      const gone = once(child, "exit");
      proxy.fault = () => {
        if (left-- === 0) child.kill("SIGKILL");
        return undefined;
      };
      const [exitCode] = await gone;
      // At any moment a registry, of fewer generations perhaps.
      await readPublished(remote);
      if (exitCode === 0) break;
    }

    const back = await temporaryDirectory();
    const target = await openFolderStore(back);
    const { openScratch } = await import("../../src/base/scratch.ts");
    const scratch = await openScratch(`${await temporaryDirectory()}/scratch`);
    await copyStore(remote, target, scratch);
    await target.close();
    expect(await treeDigests(back)).toEqual(await treeDigests(directory));
  });
});
