import { describe, expect, test } from "vitest";
import { makeKernel } from "../../test/support/kernels.ts";
import { kernelName } from "../kernel/kernel.ts";
import { ownStages } from "./stages.ts";

const NOW = new Date("2026-11-27T12:00:00Z");
const FIRST = Array.from({ length: 255 }, (_, abi) =>
  makeKernel({ kversion: `6.1.0-${abi}-amd64`, firstSeen: "2026-11-26T00:00:00.000Z" }),
);
const uploaded = () => "2026-11-20";
const stageOf = (name: string, ...given: Parameters<typeof ownStages>) =>
  ownStages(...given).find(({ stage }) => stage === name);

describe("the farm's own part", () => {
  test("has no gap up to its first night: of what was there nobody saw it come", () => {
    expect(stageOf("upload to first seen", FIRST, uploaded, [], NOW)).toMatchObject({
      count: 0,
      intervals: 0,
      unseen: 255,
    });
  });

  test("has exactly one, as an interval, after a night with one new kernel", () => {
    const fresh = makeKernel({
      ...{ kversion: "6.1.0-999-amd64", firstSeen: "2026-11-27T00:00:00.000Z" },
      ...{ unseenAt: "2026-11-26T00:00:00.000Z", firstListed: "2026-11-26T12:00:00.000Z" },
    });

    const stages = [...FIRST, fresh];

    expect(stageOf("upload to first seen", stages, uploaded, [], NOW)).toMatchObject({
      count: 1,
      intervals: 1,
      median: 7,
      unseen: 255,
    });
    expect(stageOf("listed to first seen", stages, uploaded, [], NOW)).toMatchObject({
      count: 1,
      median: 0.5,
    });
  });

  test("goes on to where modules are, and what has not ended is open", () => {
    const [one, two] = FIRST.map(kernelName) as [string, string];
    const history = [
      {
        driver: "d",
        series: "1.0.0",
        kernel: one,
        built: "2026-11-26T02:00:00.000Z",
        loaded: "2026-11-26T03:00:00.000Z",
        stable: "2026-11-26T03:00:00.000Z",
      },
      { driver: "d", series: "1.0.0", kernel: two, built: "2026-11-26T02:00:00.000Z" },
    ];
    const stages = ownStages(FIRST, uploaded, history, NOW).map(({ stage, count, open, median }) => [
      stage,
      count,
      open,
      median,
    ]);

    expect(stages.slice(2)).toEqual([
      ["first seen to built", 2, 0, 2 / 24],
      ["built to loaded", 1, 1, 1 / 24],
      ["loaded to stable", 1, 0, 0],
      ["stable to node", 0, 1, undefined],
    ]);
  });
});
