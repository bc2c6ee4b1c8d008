import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  aboutThese,
  makeEntry,
  makeManifest,
  makeOutcome,
  NOTHING,
  putBlobs,
} from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { type Forged, forge } from "../../test/support/forged-store.ts";
import { makeCatalog, makeKernel, makeSource } from "../../test/support/kernels.ts";
import { showPublished } from "../../test/support/published.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { makeVerdict as verdict } from "../../test/support/verdicts.ts";
import { toFarmError } from "../base/error.ts";
import { toDocument } from "../base/json.ts";
import { readManifest, readModules } from "./artifact.ts";
import { putBlob } from "./blobs.ts";
import { commit } from "./commit.ts";
import { artifactName, laterEvidence } from "./decisions.ts";
import { readPast, readPublished } from "./generations.ts";
import { nextState, OpenIndices } from "./publish.ts";
import { listAll, standingOf } from "./standing.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

const ELEMENT = makeElement();
const CATALOG = makeCatalog([makeKernel()], [makeSource()]);
const NOW = new Date("2026-02-07T00:00:00Z");

/** A small store with one of everything. */
async function smallStore(): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  await putBlobs(store, ELEMENT);
  const made = makeManifest(ELEMENT, [aboutThese(verdict("load", "pass", "it loads"))]);
  const entry = { ...makeEntry(ELEMENT), manifest: await putBlob(store, toDocument(made)) };
  const { recipe, manifest } = entry;
  const decision = {
    ...{ at: NOW.toISOString(), action: "promote" as const, artifact: artifactName(entry), manifest },
    ...{ by: "ann", why: "it is good", verdicts: [verdict("load", "waived", "by ann")] },
  };
  const outcome = makeOutcome(ELEMENT, { artifact: { entry, isStable: true }, decision });
  const roots = { [`debian12-${recipe.slice(7, 15)}`]: [{ name: "gcc-12", version: "12.2.0-14" }] };
  await showPublished(store, nextState(NOTHING, CATALOG, [outcome], { roots }), NOW);
  return store;
}

/** All that is done with what a store says, as a night and a person at the gate do it. */
async function useAll(store: Store): Promise<void> {
  const state = await readPublished(store);
  for (const listed of listAll(state.indices)) {
    standingOf(state.decisions, listed);
    laterEvidence(state.decisions, listed.entry);
    await readManifest(store, listed.entry);
    await readModules(store, listed.entry);
  }
  await readPast(store, state, 1);
  const author = { who: "ann", what: "withdraw", now: () => NOW };
  const { show } = await commit(
    store,
    (before) => {
      const open = new OpenIndices(before.indices);
      for (const { index, entry } of listAll(before.indices)) open.takeBack(index, entry, ["taken back"]);
      const next = nextState({ ...before, indices: open.closed() }, before.catalog, [makeOutcome(ELEMENT)]);
      return { state: next, result: undefined };
    },
    author,
  );
  await show();
  // What was accepted can be written, and what was written can be read.
  await readPublished(store);
}

const anything = fc.oneof(
  fc.constantFrom<unknown>(null, true, -1, 0, 1.5, 2 ** 53, 1e308, "", [], {}),
  fc.constantFrom("../../x", "/etc/passwd", "a\0b", "a\nb", "\ud800", "x".repeat(300), "a/".repeat(3000)),
  fc.constantFrom("sha256:", `sha256:${"0".repeat(64)}`, "constructor", "__proto__", "2026-13-99T00:00:00Z"),
  fc.constantFrom("deep", "infinite", "duplicate", "gone"),
  fc.string({ unit: "binary", maxLength: 20 }),
);

/** Changes the n-th place of a JSON value (counted through all of it), as `change` says. */
function changedAt(value: unknown, anyPlace: number, change: unknown): unknown {
  const place = anyPlace % (JSON.stringify(value).match(/[,{[]/g)?.length ?? 1);
  let count = 0;
  const walk = (at: unknown): unknown => {
    if (count++ === place) return change === "duplicate" ? [at, at] : change;
    if (typeof at !== "object" || at === null) return at;
    if (Array.isArray(at)) return at.flatMap((one: unknown) => gone(walk(one)));
    return Object.fromEntries(
      Object.entries(at).flatMap(([key, one]) => gone(walk(one)).map((kept) => [key, kept])),
    );
  };
  return walk(value);
}

function gone(value: unknown): unknown[] {
  return value === "gone" ? [] : [value];
}

function textOf(value: unknown): string {
  return JSON.stringify(value)
    .replace('"deep"', () => `${"[".repeat(20_000)}${"]".repeat(20_000)}`)
    .replace('"infinite"', "1e999");
}

/** More of them: KMODFARM_RUNS=100. Each writes to the disk, and waits until it has it. */
const RUNS = Number(process.env.KMODFARM_RUNS ?? 4);

describe("a store that somebody changed", () => {
  const FILES: readonly Forged[] = [
    ...["kernels", "matrix", "attempts", "indices"].map((kind): Forged => `part ${kind}`),
    ...["sources", "roots", "decisions"].map((name): Forged => `part ${name}`),
    ...(["generation", "channel", "manifest"] as const),
  ];

  test.each(FILES)(
    "in %s, all digests kept right, is used or refused, and never a fault of kmodfarm",
    async (file) => {
      const store = await smallStore();
      const codes = new Set<string>();
      const attempt = async (change: (text: string) => string) => {
        const restore = await forge(store, file, change);
        const error = await useAll(store).then(() => undefined, toFarmError);
        codes.add(error?.code ?? "used");
        expect(error?.code === "BUG" ? error : undefined).toBeUndefined();
        await restore();
      };

      await fc.assert(
        fc.asyncProperty(fc.nat(), anything, async (place, change) => {
          await attempt((text) => textOf(changedAt(JSON.parse(text), place, change)));
        }),
        { numRuns: RUNS * 2 },
      );
      await fc.assert(
        fc.asyncProperty(fc.nat(3000), fc.string({ maxLength: 3 }), async (at, bytes) => {
          await attempt(
            (text) => text.slice(0, at % text.length) + bytes + text.slice((at % text.length) + 1),
          );
        }),
        { numRuns: RUNS },
      );

      expect([...codes].filter((code) => !["used", "STORE_CORRUPT", "USAGE"].includes(code))).toEqual([]);
      expect(codes).toContain("STORE_CORRUPT");
    },
  );
});
