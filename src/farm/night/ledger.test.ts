import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CATALOG, makeOutcome, NOTHING, putBlobs } from "../../../test/support/artifacts.ts";
import { makeElement } from "../../../test/support/elements.ts";
import { failing } from "../../../test/support/scripted-store.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { makeReasons } from "../../../test/support/verdicts.ts";
import { FarmError } from "../../base/error.ts";
import { ERRORS, type ErrorCode } from "../../base/error-codes.ts";
import { sha256 } from "../../base/json.ts";
import type { Catalog, CatalogKernel } from "../../catalog/catalog.ts";
import { compilerOf, factsByKernel, headersFacts, idOf, imageFacts } from "../../kernel/facts.ts";
import { elementKey } from "../../matrix/element.ts";
import type { Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import type { Outcome } from "../../registry/publish.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import type { Store } from "../../registry/stores/store.ts";
import { Ledger } from "./ledger.ts";

const AUTHOR = { who: "somebody", what: "run", now: () => new Date("2026-11-28T00:00:00Z") };
const NOW = AUTHOR.now().toISOString();
const COMPILER = { family: "gcc", version: "12.2.0", source: "header" } as const;
/** Its kernel is the one of the catalog. */
const ONE_OF_CATALOG = makeElement();
const AT_ONCE = { intervalMs: 0, retryDelaysMs: [0, 0, 0] };
const [ONE, TWO] = ["6.1.0-1-amd64", "6.1.0-2-amd64"].map((kversion) =>
  makeOutcome(makeElement({ kversion })),
) as [Outcome, Outcome];

test("an outcome that says endlessly much is published in few words, and so are the others", async () => {
  const healthy = await openFolderStore(await temporaryDirectory());
  for (const { element } of [ONE, TWO]) await putBlobs(healthy, element);
  const ledger = ledgerOf(healthy);
  const words = Array.from({ length: 90_000 }, (_, index) => `${index} ${"\u0001".repeat(600)}`);
  const load = { verdict: { check: "load", verdict: "unknown" as const, reasons: makeReasons(...words) } };

  ledger.record({ ...ONE, note: { ...ONE.note, refusals: words, load } });
  ledger.record(TWO);
  await ledger.publish();

  expect(await elementsIn(healthy)).toEqual([ONE, TWO].map(keyOf));
  const [note] = (await readPublished(healthy)).attempts;
  expect(note).toMatchObject({ element: keyOf(ONE), load: { verdict: { verdict: "unknown" } } });
  expect(note?.refusals?.at(-1)).toBe("and 89997 more");
  expect(JSON.stringify(note).length).toBeLessThan(64 * 1024);
});

describe("an outcome that nobody could read back", () => {
  const artifact = ONE.artifact as NonNullable<Outcome["artifact"]>;
  const [module] = artifact.entry.modules as [(typeof artifact.entry.modules)[number]];
  const failure = { code: "BUILD_FAILED", blame: "source", cause: "x", line: "x", lineNumber: 1e20 };

  test.each<[string, Partial<Outcome>]>([
    ["a line number that is none", { note: { ...ONE.note, failure } }],
    [
      "a file whose name is too long",
      {
        artifact: {
          ...artifact,
          entry: {
            ...artifact.entry,
            modules: [
              { ...module, compressed: { file: `${"m".repeat(125)}.ko.zst`, digest: module.digest } },
            ],
          },
        },
      },
    ],
    [
      "modules without end",
      {
        artifact: {
          ...artifact,
          entry: {
            ...artifact.entry,
            modules: Array.from({ length: 2000 }, (_, index) => ({ ...module, name: `module_${index}` })),
          },
        },
      },
    ],
    ["a release that no path can have", { element: { ...ONE.element, distribution: "a b" } }],
  ])("is refused, and keeps no other from being published: %s", async (_, change) => {
    const store = await openFolderStore(await temporaryDirectory());
    for (const { element } of [ONE, TWO]) await putBlobs(store, element);
    const ledger = ledgerOf(store);

    expect(() => ledger.record({ ...ONE, ...change })).toThrow(/could not be read back/);
    ledger.record(TWO);
    await ledger.publish();

    expect(await elementsIn(store)).toEqual([keyOf(TWO)]);
  });

  test("as a decision about very many modules: the manifest has them", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    await putBlobs(store, ONE.element);
    const of = Array.from({ length: 2000 }, (_, index) => ({
      module: `m${index}`,
      sha256: sha256(`${index}`),
    }));
    const verdicts = ["load", "symbols"].map((check) => ({
      check,
      verdict: "unknown" as const,
      reasons: [],
      of,
    }));
    const decision = {
      ...{ at: NOW, action: "refuse" as const, by: "somebody", why: "x", verdicts },
      artifact: { driver: ONE.element.driver, output: ONE.element.output, recipe: artifact.entry.recipe },
    };
    const ledger = ledgerOf(store);
    ledger.record({ ...ONE, decision });
    await ledger.publish();

    const [kept] = (await readPublished(store)).decisions;
    expect(kept?.verdicts.map(({ check }) => check)).toEqual(["load", "symbols"]);
    expect(JSON.stringify(kept).length).toBeLessThan(64 * 1024);
  });
});

describe("a store that fails", () => {
  test("at one write: the outcome waits, and is published with the next one", async () => {
    const { store, failures } = await storeThatFails(1);
    const ledger = ledgerOf(store);
    ledger.record(ONE);

    expect((await ledger.publishSometimes())?.message).toMatch(/^503 for /);
    expect(failures()).toBe(1);
    ledger.record(TWO);
    expect(await ledger.publishSometimes()).toBeUndefined();

    expect(await elementsIn(store)).toEqual([ONE, TWO].map(keyOf));
    expect((await readPublished(store)).head?.number).toBe(1);
  });

  test("at any one write: the next try gives the same state, once", async () => {
    let writes = Number.POSITIVE_INFINITY;
    // Documents, the generation, each channel, and the view.
    for (let index = 0; index < writes; index++) {
      let count = 0;
      const healthy = await openFolderStore(await temporaryDirectory());
      for (const { element } of [ONE, TWO]) await putBlobs(healthy, element);
      const ledger = ledgerOf(failing(healthy, () => count++ === index));
      ledger.record(ONE);

      await ledger.publish();

      if (count <= index) writes = count;
      const [candidate, stable] = [await readPublished(healthy), await readPublished(healthy)];
      expect(candidate).toEqual(stable);
      expect(candidate.head?.number).toBe(1);
      expect(candidate.attempts.map(({ element }) => element)).toEqual([keyOf(ONE)]);
      expect(await healthy.read(join("view", "doorbell", ONE.element.output, "manifest.json"))).toBeDefined();
    }
    expect(writes).toBeGreaterThan(8);
  });

  test.each(Object.keys(ERRORS) as ErrorCode[])(
    "once with %s: it is published, or that very error is told",
    async (code) => {
      let isIll = true;
      const healthy = await openFolderStore(await temporaryDirectory());
      for (const { element } of [ONE, TWO]) await putBlobs(healthy, element);
      const thrown = new FarmError(code, { detail: "once" });
      const store = failing(healthy, () => {
        if (!isIll) return false;
        isIll = false;
        throw thrown;
      });
      const ledger = ledgerOf(store);
      ledger.record(ONE);

      const isHopeless = ERRORS[code].blame === "integrity";
      expect(await ledger.publish().catch((error: unknown) => error)).toBe(isHopeless ? thrown : undefined);
      expect(await elementsIn(healthy)).toEqual(isHopeless ? [] : [keyOf(ONE)]);
    },
  );

  test("a few times: the last publication tries again until it is written", async () => {
    const { store, failures } = await storeThatFails(3);
    const ledger = ledgerOf(store);
    ledger.record(ONE);

    await ledger.publish();

    expect(failures()).toBe(3);
    expect(await elementsIn(store)).toEqual([keyOf(ONE)]);
  });

  test("always: what is not published is named, and so is what the store said", async () => {
    const { store } = await storeThatFails(Number.POSITIVE_INFINITY);
    const ledger = ledgerOf(store);
    ledger.record(ONE);
    ledger.record(TWO);

    const error = await ledger.publish().catch((thrown) => thrown);

    expect(error).toBeInstanceOf(FarmError);
    expect(error).toMatchObject({ code: "NOT_PUBLISHED", exit: 3 });
    expect(error.message).toMatch(/^2 outcomes are not published: .* failed 4 times, at last with: 503 for /);
    expect(error.at.waiting).toContain(ONE.element.kversion);
    expect(error.at.waiting).toContain(TWO.element.kversion);
  });

  test("always, and is well again later: nothing was lost meanwhile", async () => {
    let isIll = true;
    const healthy = await openFolderStore(await temporaryDirectory());
    for (const { element } of [ONE, TWO]) await putBlobs(healthy, element);
    const ledger = ledgerOf(failing(healthy, () => isIll));
    ledger.record(ONE);
    await expect(ledger.publish()).rejects.toThrow("not published");
    ledger.record(TWO);
    await expect(ledger.publish()).rejects.toThrow("not published");

    isIll = false;
    await ledger.publish();

    expect(await elementsIn(healthy)).toEqual([ONE, TWO].map(keyOf));
  });
});

test("an outcome that is recorded while another is written is published next", async () => {
  const healthy = await openFolderStore(await temporaryDirectory());
  for (const { element } of [ONE, TWO]) await putBlobs(healthy, element);
  const ledger = new Ledger(
    failing(healthy, (path) => {
      if (path.endsWith("/generation.json") && ledger.noteOf(keyOf(ONE)) === undefined) ledger.record(TWO);
      return false;
    }),
    { ...NOTHING, catalog: CATALOG },
    AUTHOR,
    undefined,
    AT_ONCE,
  );
  ledger.record(ONE);

  await ledger.publish();
  expect(await elementsIn(healthy)).toEqual([keyOf(ONE)]);
  await ledger.publish();

  expect(await elementsIn(healthy)).toEqual([ONE, TWO].map(keyOf));
});

test("an outcome that cannot be written is refused when it is recorded, and the others are published", async () => {
  const { store } = await storeThatFails(0);
  const ledger = ledgerOf(store);
  const broken = { ...TWO, note: { ...TWO.note, compiler: "cut in the middle of \ud83d" } };

  expect(() => ledger.record(broken)).toThrow("lone surrogate");
  ledger.record(ONE);
  await ledger.publish();

  expect(await elementsIn(store)).toEqual([keyOf(ONE)]);
});

describe("two ledgers that began from the same state", () => {
  test("publish what both came to, and neither undoes what the other one learned or heard", async () => {
    const { store } = await storeThatFails(0);
    const [{ compiler: _, ...kernel }] = CATALOG.kernels as [CatalogKernel];
    const seed = ledgerOf(store);
    const plain = { ...CATALOG, kernels: [kernel] };
    seed.layCatalog(plain, () => plain);
    await seed.publish();
    const published = await readPublished(store);
    const [one, two] = [1, 2].map(() => new Ledger(store, published, AUTHOR, undefined, AT_ONCE)) as [
      Ledger,
      Ledger,
    ];

    one.record(ONE);
    one.learnCompiler({ ...ONE.element, ...kernel }, { family: "gcc", version: "99", source: "header" });
    const other = { ...kernel, kversion: "6.1.0-77-amd64", packageVersion: "6.1.77-1" };
    const heard = (catalog: Catalog) => ({ ...catalog, kernels: [...catalog.kernels, other] });
    two.layCatalog(heard(two.catalog), heard);
    two.record(TWO);
    await one.publish();
    await two.publish();

    const { catalog, facts, head } = await readPublished(store);
    const compilers = catalog.kernels.map((one) => [
      one.kversion,
      compilerOf(factsByKernel(facts), one)?.version,
    ]);
    expect(await elementsIn(store)).toEqual([ONE, TWO].map(keyOf));
    expect(compilers).toEqual([
      ["6.1.0-77-amd64", undefined],
      [kernel.kversion, "99"],
    ]);
    expect(head?.number).toBe(3);
    await one.publish();
    expect((await readPublished(store)).head?.number).toBe(3);
  });

  test("learn different things of one kernel, and the store has all of them", async () => {
    const { store } = await storeThatFails(0);
    const seed = ledgerOf(store);
    seed.layCatalog(CATALOG, () => CATALOG);
    await seed.publish();
    const published = await readPublished(store);
    const [one, two] = [1, 2].map(() => new Ledger(store, published, AUTHOR, undefined, AT_ONCE)) as [
      Ledger,
      Ledger,
    ];
    const [kernel] = CATALOG.kernels as [CatalogKernel];

    one.learnCompiler(ONE_OF_CATALOG, COMPILER);
    one.learn(ONE_OF_CATALOG, "notLoadable");
    two.learnFacts(headersFacts(kernel, { release: kernel.kversion, upstream: "6.1.170" }));
    two.learnFacts(imageFacts(kernel, { version: "#1 SMP", certificates: [] }));
    await Promise.all([one.publish(), two.publish()]);

    const { facts } = await readPublished(store);
    expect(facts).toEqual([
      {
        ...idOf(kernel),
        headers: expect.objectContaining({
          compiler: COMPILER,
          release: kernel.kversion,
          upstream: "6.1.170",
        }),
        image: expect.objectContaining({ version: "#1 SMP", certificates: [] }),
        fetching: expect.objectContaining({ notLoadableSince: AUTHOR.now().toISOString() }),
      },
    ]);
    // Who came first learns of the other's with the next publication.
    one.record(ONE);
    await one.publish();
    expect(one.factsOf(kernel)).toMatchObject({ image: { version: "#1 SMP" } });
  });

  test("forget what failed fetches taught, and neither what was read nor what failed since", async () => {
    const { store } = await storeThatFails(0);
    const seed = ledgerOf(store);
    seed.layCatalog(CATALOG, () => CATALOG);
    seed.learn(ONE_OF_CATALOG, "notFetchable");
    seed.learnCompiler(ONE_OF_CATALOG, COMPILER);
    await seed.publish();
    const published = await readPublished(store);
    const ledger = new Ledger(store, published, AUTHOR, undefined, AT_ONCE);
    expect(ledger.isOutOfReach(ONE_OF_CATALOG)).toBe(true);

    ledger.forgetLessons();
    expect(ledger.isOutOfReach(ONE_OF_CATALOG)).toBe(false);
    ledger.learn(ONE_OF_CATALOG, "notLoadable");
    await ledger.publish();

    const [facts] = (await readPublished(store)).facts;
    expect(facts).toMatchObject({ headers: { compiler: COMPILER }, fetching: { notLoadableSince: NOW } });
    expect(facts?.fetching).not.toHaveProperty("notFetchableSince");
  });

  test("say what they learned once: what others made of it since stays", async () => {
    const { store } = await storeThatFails(0);
    const ledger = ledgerOf(store);
    ledger.layCatalog(CATALOG, () => CATALOG);
    ledger.learn(ONE_OF_CATALOG, "notFetchable");
    await ledger.publish();
    const other = new Ledger(store, await readPublished(store), AUTHOR, undefined, AT_ONCE);
    other.forgetLessons();
    other.record(TWO);
    await other.publish();
    expect(ledger.isOutOfReach(ONE_OF_CATALOG)).toBe(true);

    ledger.record(ONE);
    ledger.learnCompiler(ONE_OF_CATALOG, COMPILER);
    await ledger.publish();

    const [facts] = (await readPublished(store)).facts;
    expect(facts?.headers).toMatchObject({ compiler: COMPILER });
    expect(facts).not.toHaveProperty("fetching");
    expect(ledger.factsOf(ONE_OF_CATALOG)).not.toHaveProperty("fetching");
  });

  test("of a kernel that no source lists nothing is kept", async () => {
    const { store } = await storeThatFails(0);
    const ledger = ledgerOf(store);

    ledger.learn(makeElement({ kversion: "6.1.0-98765-amd64" }), "notFetchable");
    await ledger.publish();

    expect((await readPublished(store)).facts).toEqual([]);
  });
});

describe("a build that failed for no proven reason", () => {
  test("is tried three times, and then left alone until its recipe changes", async () => {
    const { store } = await storeThatFails(0);
    let published: Published = { ...NOTHING, catalog: CATALOG };
    const night = async (recipe: string) => {
      const ledger = new Ledger(store, published, AUTHOR, undefined, AT_ONCE);
      const outcome = unexplained(recipe);
      const isLeftAlone = ledger.isSettled(outcome.element);
      if (!isLeftAlone) ledger.record(outcome);
      await ledger.publish();
      published = ledger.published;
      return [isLeftAlone, ledger.noteOf(keyOf(ONE))?.failure?.tries];
    };

    expect([await night("a"), await night("a"), await night("a"), await night("a")]).toEqual([
      [false, 1],
      [false, 2],
      [false, 3],
      [true, 3],
    ]);
    expect(await night("b")).toEqual([false, 1]);
  });
});

function unexplained(content: string): Outcome {
  const recipe = sha256(`recipe ${content}`);
  const element = { ...ONE.element, recipe };
  const failure = { code: "BUILD_UNEXPLAINED", blame: "unknown", cause: "it ended", line: "" };
  return { element, note: { ...ONE.note, recipe, failure }, isSettled: false };
}

function keyOf({ element }: Outcome): string {
  return elementKey(element);
}

function ledgerOf(store: Store): Ledger {
  return new Ledger(store, { ...NOTHING, catalog: CATALOG }, AUTHOR, undefined, AT_ONCE);
}

async function elementsIn(store: Store): Promise<string[]> {
  return (await readPublished(store)).attempts.map(({ element }) => element);
}

async function storeThatFails(times: number) {
  let left = times;
  let count = 0;
  const healthy = await openFolderStore(await temporaryDirectory());
  for (const { element } of [ONE, TWO]) await putBlobs(healthy, element);
  const store = failing(healthy, () => {
    if (left-- <= 0) return false;
    count++;
    return true;
  });
  return { store, failures: () => count };
}

describe("what came out byte for byte as it is published", () => {
  const rebuilt = (change: Partial<NonNullable<Outcome["artifact"]>["entry"]> = {}): Outcome => {
    const { entry } = ONE.artifact as NonNullable<Outcome["artifact"]>;
    const recipe = sha256("another recipe");
    const artifact = { entry: { ...entry, recipe, ...change }, isStable: true };
    return { ...ONE, element: { ...ONE.element, recipe }, artifact };
  };
  const published = async () => {
    const store = await openFolderStore(await temporaryDirectory());
    for (const { element } of [ONE, TWO]) await putBlobs(store, element);
    const ledger = ledgerOf(store);
    ledger.record(ONE);
    await ledger.publish();
    const recipesOf = async () => {
      const { head, indices } = await readPublished(store);
      return [head?.number, indices.flatMap(({ stable }) => stable.map(({ recipe }) => recipe))] as const;
    };
    return { store, ledger, recipesOf };
  };
  const [one, two] = [ONE, TWO].map(({ artifact }) => artifact?.entry.recipe);

  test("makes no generation, and is written with the next one", async () => {
    const { ledger, recipesOf } = await published();
    const again = rebuilt();

    const isNews = ledger.record(again);
    await ledger.publish();
    const quiet = await recipesOf();
    ledger.record(TWO);
    await ledger.publish();

    expect(isNews).toBe(false);
    expect(quiet).toEqual([1, [one]]);
    expect(await recipesOf()).toEqual([2, [again.element.recipe, two]]);
  });

  test("is forgotten if the same element has news after all", async () => {
    const { store, ledger, recipesOf } = await published();
    await putBlobs(store, ONE.element, "other");
    const changed = makeOutcome(ONE.element, { content: "other" });

    ledger.record(rebuilt());
    const isNews = ledger.record(changed);
    await ledger.publish();

    expect(isNews).toBe(true);
    expect(await recipesOf()).toEqual([2, [changed.artifact?.entry.recipe]]);
  });

  test.each<[string, (outcome: Outcome) => Outcome]>([
    ["other bytes", () => rebuilt({ modules: [] })],
    [
      "the first statement of how it was built",
      () => rebuilt({ provenance: [{ digest: sha256("x"), size: 1 }] }),
    ],
    ["other verdicts", () => rebuilt({ verdicts: { load: "pass" } })],
    ["a failure", ({ artifact: _, ...rest }) => rest],
    [
      "that it is a candidate only",
      (outcome) => ({ ...outcome, artifact: { entry: rebuilt().artifact?.entry as never, isStable: false } }),
    ],
  ])("is news with %s", async (_, change) => {
    const { ledger } = await published();

    expect(ledger.record(change(rebuilt()))).toBe(true);
  });
});
