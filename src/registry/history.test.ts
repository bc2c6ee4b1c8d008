import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CATALOG, makeEntry, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { writePublished } from "../../test/support/published.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { kernelName } from "../kernel/kernel.ts";
import { artifactName } from "./decisions.ts";
import type { Decision, Published } from "./documents.ts";
import { readPublished } from "./generations.ts";
import { historyAfter, withHappened } from "./history.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";

const ELEMENT = makeElement();
const KERNEL = kernelName(ELEMENT);
const [DAY1, DAY2, DAY3] = [
  "2026-02-01T00:00:00.000Z",
  "2026-02-02T00:00:00.000Z",
  "2026-02-03T00:00:00.000Z",
] as const;

const triedOn = (at: string, changes: object = {}) => {
  const outcome = makeOutcome(ELEMENT);
  return { ...outcome, note: { ...outcome.note, at, ...changes } };
};
const PASSED = { load: { verdict: { check: "load", verdict: "pass", reasons: [] } } } as const;
const decided = (action: Decision["action"], at: string): Decision => ({
  ...{ action, at, artifact: artifactName(makeEntry(ELEMENT)), by: "ann", why: "w", verdicts: [] },
});
const next = (before: Published, ...outcomes: Parameters<typeof nextState>[2]) => {
  const after = nextState(before, CATALOG, outcomes);
  return { ...after, history: historyAfter(before.history, before, after) };
};

describe("history", () => {
  test("has when a series was first built and loaded on a kernel, whatever is tried later", () => {
    const built = next(NOTHING, triedOn(DAY1));
    const loaded = next(built, triedOn(DAY2, PASSED));
    const again = next(loaded, triedOn(DAY3, PASSED));

    expect(built.history).toEqual([{ driver: "doorbell", series: "0.1.0", kernel: KERNEL, built: DAY1 }]);
    expect(again.history).toEqual([
      { driver: "doorbell", series: "0.1.0", kernel: KERNEL, built: DAY1, loaded: DAY2 },
    ]);
    expect(again.history).toBe(loaded.history);
  });

  test("has nothing of what failed", () => {
    const failure = { code: "BUILD_FAILED", blame: "source", cause: "c", line: "l" };

    expect(next(NOTHING, triedOn(DAY1, { failure })).history).toEqual([]);
  });

  test("has when it was decided that it is stable, and that it is not", () => {
    const built = next(NOTHING, triedOn(DAY1));
    const moved = {
      ...built,
      decisions: [decided("refuse", DAY1), decided("promote", DAY2), decided("withdraw", DAY3)],
    };

    expect(historyAfter(built.history, built, moved)).toEqual([
      { driver: "doorbell", series: "0.1.0", kernel: KERNEL, built: DAY1, stable: DAY2, takenBack: DAY3 },
    ]);
  });

  test("has the kernel that modules serve, and not only their own", () => {
    const other = "debian12/x86_64/6.1.0-99-amd64_6.1.999-1";
    const built = next(NOTHING, triedOn(DAY1));
    const reused = { ...built, decisions: [{ ...decided("reuse", DAY2), kernel: other }] };

    expect(historyAfter(built.history, built, reused)).toContainEqual({
      ...{ driver: "doorbell", series: "0.1.0", kernel: other, stable: DAY2 },
    });
  });

  test("never loses or moves a time", () => {
    const entry = { driver: "d", series: "1.0.0", kernel: "k", built: DAY2 };

    const after = withHappened(
      [entry],
      [{ driver: "d", series: "1.0.0", kernel: "k", times: { built: DAY1, node: DAY3 } }],
    );

    expect(after).toEqual([{ ...entry, node: DAY3 }]);
  });
});

describe("a store", () => {
  test("keeps history by itself, and a night that brings nothing writes nothing", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    const first = await writePublished(store, nextState(NOTHING, CATALOG, [triedOn(DAY1)]), new Date(DAY1));

    const same = await writePublished(store, nextState(first, CATALOG, []), new Date(DAY2));

    expect((await readPublished(store)).history).toMatchObject([{ built: DAY1 }]);
    expect(Object.keys(first.parts).filter((name) => name.startsWith("history/"))).toHaveLength(1);
    expect(same.head).toEqual(first.head);
  });
});

describe("history from before a store kept any", () => {
  const FIXTURES = join(import.meta.dirname, "../../test/fixtures/stores");

  test.each(["facts", "whole"])(
    "comes from its older generations, with the first news (%s)",
    async (fixture) => {
      const store = await openFolderStore(await temporaryDirectory());
      for (const path of JSON.parse(
        await readFile(join(FIXTURES, fixture, "files.json"), "utf8"),
      ) as string[])
        await store.write(path, await readFile(join(FIXTURES, fixture, path)));
      const before = await readPublished(store);

      const quiet = await writePublished(store, nextState(before, before.catalog, []), new Date(DAY1));
      const news = makeOutcome(makeElement({ kversion: "6.1.0-99-amd64" }));
      await writePublished(store, nextState(before, before.catalog, [news]), new Date(DAY2));

      const { history } = await readPublished(store);
      expect([before.history, quiet.head]).toEqual([[], before.head]);
      const kernels = history.map(({ kernel }) => kernel);
      for (const { element } of before.attempts) expect(kernels.join("\n")).toContain(element.split("/")[4]);
      expect(kernels).toContain("debian12/x86_64/6.1.0-99-amd64_6.1.170-3");
      for (const { built } of history) expect(built).toMatch(/^20/);
    },
  );

  test("lacks what a damaged generation said, and nothing else is lost for that", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    for (const path of JSON.parse(await readFile(join(FIXTURES, "whole/files.json"), "utf8")) as string[])
      await store.write(path, await readFile(join(FIXTURES, "whole", path)));
    const before = await readPublished(store);
    await store.write("generations/1/attempts.json", "{}");

    const news = makeOutcome(makeElement({ kversion: "6.1.0-99-amd64" }));
    await writePublished(store, nextState(before, before.catalog, [news]), new Date(DAY2));

    expect((await readPublished(store)).history.length).toBeGreaterThan(1);
  });
});
