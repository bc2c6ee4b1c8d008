import { describe, expect, test } from "vitest";
import { aboutThese, CATALOG, makeOutcome } from "../../../test/support/artifacts.ts";
import { makeElement } from "../../../test/support/elements.ts";
import { mortal } from "../../../test/support/mortal-store.ts";
import { farmWith } from "../../../test/support/stored-farm.ts";
import { makeVerdict as verdict } from "../../../test/support/verdicts.ts";
import { CHECK_NAMES } from "../../check/checks/index.ts";
import { blobPath } from "../../registry/blobs.ts";
import { readPublished } from "../../registry/generations.ts";
import { nodeIndices } from "../../registry/node-index.ts";
import { nextState } from "../../registry/publish.ts";
import { type Listed, listAll } from "../../registry/standing.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import type { Store } from "../../registry/stores/store.ts";
import { viewPath } from "../../registry/view-path.ts";
import { promote, rollback, setFloor, withdraw } from "./moves.ts";

const [ONE, TWO] = [makeElement({ kversion: "6.1.0-55-amd64" }), makeElement({ kversion: "6.1.0-56-amd64" })];
const GOOD = CHECK_NAMES.map((check) => verdict(check, "pass", "good"));
const BAD = [...GOOD, verdict("symbols", "fail", "no such symbol")];
const ANN = { by: "ann", why: "because" };
const NOW = () => new Date("2026-11-27T00:00:00Z");
const all = (listed: readonly Listed[]) => listed;

async function channelsOf(store: Store) {
  const { indices, decisions } = await readPublished(store);
  const names = (channel: "stable" | "candidate") =>
    indices.flatMap((index) => index[channel].map(({ kversion }) => kversion));
  return { stable: names("stable"), candidate: names("candidate"), decisions };
}

describe("promote", () => {
  test("makes stable what the policy allows, says what is missing, and both are on the record", async () => {
    const { store, ...farm } = await farmWith([
      { element: ONE, verdicts: GOOD },
      { element: TWO, verdicts: BAD },
    ]);

    const { moves, generation } = await promote({ store, ...farm }, all, ANN, NOW);

    expect(moves.map(({ result, reasons }) => [result, ...reasons])).toEqual([
      ["promoted"],
      ["refused", "symbols: fail: no such symbol"],
    ]);
    expect(generation).toBe(2);
    const { stable, candidate, decisions } = await channelsOf(store);
    expect([stable, candidate]).toEqual([[ONE.kversion], [TWO.kversion]]);
    expect(decisions).toMatchObject([
      { action: "promote", by: "ann", why: "because", artifact: { output: ONE.output } },
      { action: "refuse", by: "ann", why: "because", artifact: { output: TWO.output } },
    ]);
    expect(decisions.map(({ verdicts }) => verdicts.map(({ check }) => check))).toEqual([[], ["symbols"]]);
    for (const { policy, manifest } of decisions)
      expect([policy, manifest].join()).toMatch(/^sha256:.*,sha256:/);
    expect(await store.list(viewPath(ONE))).toContain("manifest.json");
  });

  test("refuses an artifact whose manifest cannot be read, and nobody else's", async () => {
    const farm = await farmWith([
      { element: ONE, verdicts: GOOD },
      { element: TWO, verdicts: GOOD },
    ]);
    const { indices } = await readPublished(farm.store);
    const { entry } = listAll(indices).find((one) => one.entry.output === ONE.output) as Listed;
    await farm.store.write(blobPath(entry.manifest), "no manifest");

    const { moves } = await promote(farm, all, ANN, NOW);

    expect(
      moves
        .map(({ result, reasons }) => [result, ...reasons])
        .toSorted((a, b) => (a.join() < b.join() ? -1 : 1)),
    ).toEqual([["promoted"], ["refused", expect.stringContaining(entry.manifest.slice("sha256:".length))]]);
    expect((await channelsOf(farm.store)).stable).toEqual([TWO.kversion]);
  });

  test("a second time changes nothing", async () => {
    const farm = await farmWith([
      { element: ONE, verdicts: GOOD },
      { element: TWO, verdicts: BAD },
    ]);
    await promote(farm, all, ANN, NOW);

    const again = await promote(farm, all, ANN, () => new Date("2026-11-28T00:00:00Z"));

    expect((await channelsOf(farm.store)).decisions).toHaveLength(2);
    expect(again.moves.map(({ result }) => result).toSorted()).toEqual(["nothing to do", "refused"]);
  });

  test("counts no verdict about other bytes than nodes would get, and none that names no bytes", async () => {
    const [other, unnamed] = [
      aboutThese(verdict("load", "pass"), "other"),
      { ...verdict("load", "pass"), of: undefined },
    ];
    const farm = await farmWith([
      { element: ONE, verdicts: [...GOOD, other] },
      { element: TWO, verdicts: [...GOOD, unnamed] },
    ]);

    const { moves } = await promote(farm, all, ANN, NOW);

    expect(moves.map(({ result, reasons }) => [result, ...reasons])).toEqual([
      ["refused", "load: fail: the bytes that were checked are not those that nodes would get"],
      ["refused", expect.stringMatching(/^load: unknown: an older version checked it/)],
    ]);
  });

  test("refuses a policy that says something nobody understands", async () => {
    const farm = await farmWith([], "requires: [load]");

    await expect(promote(farm, all, ANN, NOW)).rejects.toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.stringMatching(/there is no setting "requires" \(did you mean 'require'/),
      }),
    );
  });

  test("lets a loaded sibling stand in where the policy says so", async () => {
    const unloadable = [...GOOD, verdict("load", "unknown", "no boot image")];
    const given = [
      { element: ONE, verdicts: GOOD, isStable: true },
      { element: TWO, verdicts: unloadable },
    ];
    const [strict, lenient] = [
      await farmWith(given),
      await farmWith(given, "standIns: {load: [siblingLoad]}"),
    ];

    expect((await promote(strict, all, ANN, NOW)).moves.at(-1)?.result).toBe("refused");
    expect((await promote(lenient, all, ANN, NOW)).moves.at(-1)).toMatchObject({
      result: "promoted",
      reasons: [expect.stringMatching(/load waived: no boot image; 6\.1\.0-55-amd64 was loaded instead/)],
    });
  });
});

describe("promote, of what somebody took back", () => {
  async function withdrawn() {
    const farm = await farmWith([{ element: ONE, verdicts: GOOD, isStable: true }]);
    await withdraw(farm, all, ANN, NOW);
    return farm;
  }

  test("leaves it where it is when all are meant, and says why", async () => {
    const farm = await withdrawn();

    const { moves } = await promote(farm, all, { ...ANN, bringsBack: false }, NOW);

    expect(moves).toMatchObject([
      {
        result: "nothing to do",
        reasons: ["withdrawn by ann on 2026-11-27: because; name it to promote it again"],
      },
    ]);
    expect(await channelsOf(farm.store)).toMatchObject({ stable: [], candidate: [ONE.kversion] });
  });

  test("says what it overrides when it is named", async () => {
    const { moves } = await promote(await withdrawn(), all, ANN, NOW);

    expect(moves).toMatchObject([
      { result: "promoted", reasons: ["it was withdrawn by ann on 2026-11-27: because"] },
    ]);
  });
});

test("names in a policy that nothing bears are told", async () => {
  const policy = `
    distributions: {debain12: {require: [load]}, debian: {require: [load]}}
    exceptions:
      - {check: load, owner: ann, reason: why, until: 2027-01-01, driver: vendro, distributions: [debian12]}`;
  const farm = await farmWith([{ element: ONE, verdicts: GOOD }], policy);

  const { warnings = [] } = await promote(farm, all, ANN, NOW);

  expect(warnings.map((one) => one.slice(0, one.indexOf(":")))).toEqual([
    "distributions",
    "exceptions[0].driver",
  ]);
});

test("an expression in a policy that nobody understands is told where it stands", async () => {
  const exception = 'check: load, owner: ann, reason: why, until: 2027-01-01, kernelRelease: "(["';
  const farm = await farmWith([], `exceptions: [{${exception}}]`);

  await expect(promote(farm, all, ANN, NOW)).rejects.toThrow(
    expect.objectContaining({
      code: "CONFIG_INVALID",
      message: expect.stringMatching(/policy\.yaml: exceptions\[0\]\.kernelRelease: expression '\(\['/),
    }),
  );
});

describe("withdraw", () => {
  test("takes an artifact from nodes, and from every later night", async () => {
    const farm = await farmWith([{ element: ONE, verdicts: GOOD }]);
    await promote(farm, all, ANN, NOW);

    const { moves } = await withdraw(farm, all, ANN, NOW);
    const state = await readPublished(farm.store);
    const [entry] = state.indices[0]?.candidate ?? [];
    const night = nextState(state, CATALOG, [
      makeOutcome(ONE, { artifact: { entry: entry as NonNullable<typeof entry>, isStable: true } }),
    ]);

    expect(moves).toMatchObject([{ result: "withdrawn", reasons: ["withdrawn by ann: because"] }]);
    expect(await channelsOf(farm.store)).toMatchObject({ stable: [], candidate: [ONE.kversion] });
    expect(await farm.store.list(viewPath(ONE))).toEqual([]);
    expect(await farm.store.list("view")).toEqual([]);
    expect(night.indices[0]?.stable).toEqual([]);
    expect(entry?.reasons).toEqual(["withdrawn by ann: because"]);
  });

  test("is undone by a promotion", async () => {
    const farm = await farmWith([{ element: ONE, verdicts: GOOD, isStable: true }]);
    await withdraw(farm, all, ANN, NOW);

    await promote(farm, all, ANN, NOW);

    expect(await channelsOf(farm.store)).toMatchObject({ stable: [ONE.kversion], candidate: [] });
  });
});

describe("rollback", () => {
  test("brings back exactly what was stable then", async () => {
    const farm = await farmWith([
      { element: ONE, verdicts: GOOD, isStable: true },
      { element: TWO, verdicts: GOOD },
    ]);
    await promote(farm, all, ANN, NOW);
    await withdraw(farm, (listed) => listed.filter(({ entry }) => entry.kversion === ONE.kversion), ANN, NOW);

    const { moves, generation } = await rollback(farm, 1, undefined, ANN, NOW);

    expect(generation).toBe(4);
    expect(moves.map(({ result }) => result)).toEqual(["rolled back", "promoted"]);
    expect(await channelsOf(farm.store)).toMatchObject({ stable: [ONE.kversion], candidate: [TWO.kversion] });
    expect((await rollback(farm, 1, undefined, ANN, NOW)).moves).toEqual([]);
  });

  test("knows no driver that nothing is or was of", async () => {
    const farm = await farmWith([{ element: ONE, verdicts: GOOD, isStable: true }]);

    await expect(rollback(farm, 1, "nosuch", ANN, NOW)).rejects.toThrow(
      expect.objectContaining({ code: "ARTIFACT_UNKNOWN" }),
    );
  });

  test("names the newest generation when there is no such one", async () => {
    await expect(rollback(await farmWith([]), 7, undefined, ANN, NOW)).rejects.toThrow(
      expect.objectContaining({ code: "USAGE", message: "there is no generation 7; the newest is 1" }),
    );
  });
});

describe("moves at the same time", () => {
  test("never leave a mix", async () => {
    const farm = await farmWith([
      { element: ONE, verdicts: GOOD },
      { element: TWO, verdicts: GOOD },
    ]);
    // Each with a store of its own, as processes have.
    const moves = Array.from({ length: 30 }, async (_, index) => {
      const own = { ...farm, store: await openFolderStore(farm.store.place) };
      return (index % 2 === 0 ? promote : withdraw)(own, all, { by: "ann", why: String(index) }, NOW);
    });
    const seen = [];
    const settled = Promise.allSettled(moves);
    for (let look = 0; look < 30; look++) seen.push((await channelsOf(farm.store)).stable.length);

    const results = await settled;

    expect(new Set([...seen, 0, 2])).toEqual(new Set([0, 2]));
    expect(results.filter(({ status }) => status === "rejected")).toEqual([]);
  });

  test("killed before any write leave the old state or the new one", async () => {
    for (let writes = 0; writes < 12; writes++) {
      const farm = await farmWith([
        { element: ONE, verdicts: GOOD },
        { element: TWO, verdicts: GOOD },
      ]);
      const store = mortal(farm.store, writes);
      await promote({ ...farm, store }, all, ANN, NOW).catch(() => {});

      expect([0, 2]).toContain((await channelsOf(farm.store)).stable.length);

      await promote(farm, all, ANN, NOW);
      expect((await channelsOf(farm.store)).stable).toHaveLength(2);
    }
  });
});

describe("what nodes that have a module already must hear", () => {
  test("a denied artifact: its modules, on the kernels that it was given to, whether stable or withdrawn before", async () => {
    const farm = await farmWith([{ element: ONE, verdicts: GOOD }], "require: [symbols]");
    await promote(farm, all, ANN, NOW);
    const { indices } = await readPublished(farm.store);
    const digest = indices[0]?.stable[0]?.modules[0]?.digest;
    const denied = { modules: [digest], kernels: ["debian12/x86_64/6.1.0-55-amd64_6.1.170-3"] };

    await withdraw(farm, all, ANN, NOW);
    expect((await channelsOf(farm.store)).decisions.at(-1)).not.toHaveProperty("denied");
    await withdraw(farm, all, { ...ANN, denies: true }, NOW);
    const { decisions, candidate } = await channelsOf(farm.store);

    expect(candidate).toEqual([ONE.kversion]);
    expect(decisions.at(-1)).toMatchObject({ action: "withdraw", denied });
    expect(nodeIndices(await readPublished(farm.store), () => 1)[0]?.blocks).toMatchObject([
      { answer: { kind: "withheld" }, denied: [{ module: digest, why: "because" }] },
    ]);
  });

  test("the least version, which only what is stable can set", async () => {
    const farm = await farmWith([{ element: ONE, verdicts: GOOD }], "require: [symbols]");

    expect((await setFloor(farm, all, ANN, NOW)).moves[0]?.result).toBe("nothing to do");
    await promote(farm, all, ANN, NOW);
    const { moves } = await setFloor(farm, all, ANN, NOW);

    expect(moves).toMatchObject([{ result: "floor set", reasons: ["nodes use doorbell 0.1.1 or newer"] }]);
    expect(nodeIndices(await readPublished(farm.store), () => 1)).toMatchObject([
      { driver: "doorbell", floor: "0.1.1" },
    ]);
  });
});
