import PQueue from "p-queue";
import { describe, expect, test } from "vitest";
import { makeElement } from "../../../test/support/elements.ts";
import { makePackage } from "../../../test/support/kernels.ts";
import type { LoadReport, LoadRequest } from "../../check/load.ts";
import { verdict } from "../../check/verdict.ts";
import type { LoadWork } from "./executor.ts";
import { LoadQueue } from "./load-queue.ts";

const REPORT: LoadReport = {
  verdict: verdict("load", "pass"),
  bootMs: 1,
  accelerator: "kvm",
  log: "",
  livePatches: [],
};

/** How many sets each boot had, of load tests that wait for the only processor. */
async function bootsOf(works: readonly LoadWork[]): Promise<number[]> {
  const boots: LoadRequest[] = [];
  const processors = new PQueue({ concurrency: 1, autoStart: false });
  const boot = (request: LoadRequest) => {
    boots.push(request);
    return Promise.resolve(request.sets.map(() => REPORT));
  };
  const queue = new LoadQueue(processors, boot, new AbortController().signal);
  const loaded = works.map((work) => queue.load(work, () => {}));
  processors.start();
  await Promise.all(loaded);
  return boots.map(({ sets }) => sets.length);
}

const element = makeElement();
const work: LoadWork = {
  element,
  guest: [makePackage({ name: "busybox-static" })],
  set: { driver: "doorbell", modules: [] },
  rank: 0,
};
const other = "2".repeat(64);

describe("load tests that wait for a processor", () => {
  test("share a boot if they are of one driver", async () => {
    const newer = { ...work, element: makeElement({ driverversion: "0.1.2" }) };

    expect(await bootsOf([work, newer])).toEqual([2]);
  });

  // Whoever's turn it is decides what is booted: another one's result would depend on that.
  test.each<[string, Partial<LoadWork>]>([
    ["another driver", { set: { driver: "siren", modules: [] } }],
    ["another guest", { guest: [makePackage({ name: "busybox-static", sha256: other })] }],
    [
      "another boot image",
      {
        element: makeElement({
          packages: { ...element.packages, image: [makePackage({ name: "linux-image", sha256: other })] },
        }),
      },
    ],
    [
      "other modules of the kernel",
      {
        element: makeElement({
          packages: { ...element.packages, modules: [makePackage({ name: "linux-image", sha256: other })] },
        }),
      },
    ],
    ["another kernel", { element: makeElement({ kversion: "6.1.0-57-amd64" }) }],
  ])("share none with one of %s", async (_, change) => {
    expect(await bootsOf([work, { ...work, ...change }])).toEqual([1, 1]);
  });
});
