import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { NOTHING } from "../../test/support/artifacts.ts";
import { makeCatalog, makeKernel, makeSource } from "../../test/support/kernels.ts";
import { writePublished } from "../../test/support/published.ts";
import { withTestKeys } from "../../test/support/signed-store.ts";
import { keysOf, makeSigner } from "../../test/support/statements.ts";
import { FARM } from "../../test/support/stored-farm.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { makeVerdict } from "../../test/support/verdicts.ts";
import { FarmError, toFarmError } from "../base/error.ts";
import { ERRORS, type ErrorCode } from "../base/error-codes.ts";
import { sha256 } from "../base/json.ts";
import { type Attempt, keepAttempt } from "../builder/attempt.ts";
import { rootRequest } from "../builder/build.ts";
import type { LoadedDriver } from "../builder/driver.ts";
import { recipeKey, recipeOf } from "../builder/recipe.ts";
import type { CatalogKernel, CatalogSource } from "../catalog/catalog.ts";
import type { ReadList } from "../catalog/list-source.ts";
import { exitOf } from "../cli/commands/night/run.ts";
import { factsByKernel, factsOf } from "../kernel/facts.ts";
import { type Element, elementKey } from "../matrix/element.ts";
import { generateMatrix } from "../matrix/generate.ts";
import { readPublished } from "../registry/generations.ts";
import { nextState } from "../registry/publish.ts";
import { listAll } from "../registry/standing.ts";
import { loadConfig } from "./config/index.ts";
import { loadDrivers } from "./drivers.ts";
import { dryRun } from "./dry-run.ts";
import type { Work } from "./executors/executor.ts";
import { HandOverExecutor } from "./executors/hand-overs.ts";
import { type Farm, openFarm, openToolchains } from "./open.ts";
import type { RunReport } from "./report.ts";
import { runFarm } from "./run.ts";
import type { RunOptions } from "./run-options.ts";
import { STEPS, type Steps } from "./steps.ts";

/**
 * Whatever can be thrown: every code of the catalogue, and what only a fault of ours throws. NOT_FETCHABLE is not in
 * it: it is a fact about the kernel, which all its elements share.
 */
const THROWN: readonly (readonly [name: string, value: unknown])[] = [
  ...(Object.keys(ERRORS) as ErrorCode[])
    .filter((code) => code !== "NOT_FETCHABLE")
    .map(
      (code) =>
        [code.toLowerCase().replaceAll("_", "-"), new FarmError(code, { detail: `thrown ${code}` })] as const,
    ),
  ["raw-error", new Error("a raw error")],
  ["type-error", new TypeError("x is not a function")],
  ["errno", Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" })],
  ["abort-error", Object.assign(new Error("aborted by nobody"), { name: "AbortError" })],
  ["a-string", "a string"],
  ["nothing", undefined],
  ["no-text", Object.create(null)],
  ["half-a-character", new Error("cut in \ud83d")],
];
const GOOD = "good";
const DRIVERS = [GOOD, ...THROWN.map(([name]) => name)];

const directory = sharedDirectory();

beforeAll(async () => {
  for (const name of DRIVERS) {
    await mkdir(join(directory, "drivers", name), { recursive: true });
    await writeFile(join(directory, "drivers", name, "Kbuild"), `obj-m := ${name}.o\n`);
  }
});

/** Which driver a step works on, from its arguments. */
const SUBJECTS = {
  fetchSource: ([source]) => (typeof source === "string" ? (source.split("/").at(-1) ?? "") : ""),
  readSourceTree: ([tree]) => tree.split("/").at(-1) ?? "",
  planRecipe: ([element]) => element.driver,
  stageInputs: ([element]) => element.driver,
  buildElement: ([element]) => element.driver,
  testLoad: ([element]) => element.driver,
  fetchKernelRecord: ([element]) => (element as Partial<Element>).driver ?? "",
  judgeModules: ([{ files }]) => files[0]?.name.replace(/\.ko$/, "") ?? "",
  storeArtifact: ([, element]) => element.driver,
} satisfies { [Name in keyof Steps]?: (given: Parameters<Steps[Name]>) => string };

describe("whatever one element's step throws", () => {
  test.each(Object.keys(SUBJECTS) as (keyof typeof SUBJECTS)[])(
    "%s: is named, and all others go on",
    async (step) => {
      const farm = await openTestFarm(step);
      const thrown = new Map(THROWN);
      const real = farm.steps[step] as (...given: unknown[]) => Promise<unknown>;
      const throwing = async (...given: unknown[]) => {
        const subject = (SUBJECTS[step] as (given: unknown[]) => string)(given);
        if (thrown.has(subject)) throw thrown.get(subject);
        return real(...given);
      };

      const { report } = await night({ ...farm, steps: { ...farm.steps, [step]: throwing } });

      expect(report.wanted).toBe(THROWN.length + 1);
      expect(failuresOf(report)).toEqual(
        new Map(THROWN.map(([name, value]) => [name, toFarmError(value).code] as const)),
      );
      expect(report.rows.find(({ element }) => element.driver === GOOD)?.standing?.word).toMatch(
        /^(stable|candidate)$/,
      );
      expect(exitOf(report)).toBe(4);
    },
  );
});

test("what learning the compiler of one kernel throws is the fault of that kernel's elements alone", async () => {
  const kernels = DRIVERS.map((_, index) => kernelWithoutCompiler(index));
  const farm = await openTestFarm("compilers", { drivers: [GOOD], kernels });
  const { learnCompiler } = farm.steps;
  const throwing: Steps["learnCompiler"] = async (element, inputs, signal) => {
    const thrown = THROWN[kernels.findIndex(({ kversion }) => kversion === element.kversion) - 1];
    if (thrown !== undefined) throw thrown[1];
    return learnCompiler(element, inputs, signal);
  };

  const { report } = await night({ ...farm, steps: { ...farm.steps, learnCompiler: throwing } });

  const codes = new Map(report.rows.map(({ element, note }) => [element.kversion, note.failure?.code]));
  expect(kernels.map(({ kversion }) => codes.get(kversion))).toEqual([
    undefined,
    ...THROWN.map(([, value]) => toFarmError(value).code),
  ]);
});

test("what headers say of their kernel is kept, and the next night plans without them", async () => {
  const kernels = [kernelWithoutCompiler(0)] as [CatalogKernel];
  const farm = await openTestFarm("facts", { drivers: [GOOD], kernels });
  let reads = 0;
  const steps: Steps = {
    ...farm.steps,
    learnCompiler: async () => {
      if (reads++ > 0) throw new Error("the headers are gone");
      return { family: "gcc", version: "12.2.0", source: "config" };
    },
    fetchKernelRecord: async () => ({
      architecture: "x86_64",
      release: "6.1.0-100-amd64",
      vermagic: "6.1.0-100-amd64 SMP ",
      configDigest: sha256("config"),
      symversDigest: sha256("symvers"),
      upstream: "6.1.170",
    }),
  };

  const options = { without: ["load"] } as const;
  await night({ ...farm, steps }, options);
  const { report } = await night({ ...(await openFarm(farm.config)), signing: farm.signing, steps }, options);

  const { catalog, facts } = await readPublished(farm.store);
  expect(factsOf(factsByKernel(facts), kernels[0])).toEqual({
    headers: {
      of: expect.stringMatching(/^sha256:/),
      compiler: { family: "gcc", version: "12.2.0", source: "config" },
      release: "6.1.0-100-amd64",
      vermagic: "6.1.0-100-amd64 SMP ",
      configuration: sha256("config"),
      symvers: sha256("symvers"),
      upstream: "6.1.170",
    },
  });
  expect(catalog.kernels).toEqual(kernels);
  expect(report.rows.map(({ isNew, element }) => [isNew, element.compiler?.version])).toEqual([
    [false, "12.2.0"],
  ]);
});

test("what is ranked higher goes ahead of all that waits", async () => {
  const kernels = Array.from({ length: 30 }, (_, index) =>
    makeKernel({ kversion: `6.1.0-${100 + index}-amd64` }),
  );
  const farm = await openTestFarm("ranks", { drivers: [GOOD], kernels });
  const urgent = kernels.at(-1)?.kversion;
  const built: string[] = [];
  const steps: Steps = {
    ...farm.steps,
    buildElement: async (element, ...more) => {
      built.push(element.kversion);
      return farm.steps.buildElement(element, ...more);
    },
  };

  await night({ ...farm, steps }, { rank: ({ kversion }) => Number(kversion === urgent) });

  expect(built).toHaveLength(30);
  // Those that are under way by then may be quicker; of those that wait none is.
  expect(built.indexOf(urgent ?? "")).toBeLessThan(10);
});

describe("whatever a source throws while it is asked", () => {
  test.each(THROWN)(
    "%s: is named, the other sources are read and all elements are built",
    async (name, value) => {
      const sources = [
        { kind: "apt", releases: ["debian12"], suites: ["bookworm"] },
        { kind: "apt", releases: ["debian13"], suites: ["trixie"] },
        { kind: "kernel-crawler", list: "one.json", name: "one", architecture: "x86_64" },
        { kind: "kernel-crawler", list: "two.json", name: "two", architecture: "x86_64" },
      ];
      const farm = await openTestFarm(`source-${name}`, { drivers: [GOOD], sources });
      const asked: string[] = [];
      const steps: Steps = {
        ...farm.steps,
        askSources: async ([source]) => {
          asked.push(source?.id ?? "");
          if (source?.id === "debian/trixie") throw value;
          return [];
        },
        askLists: async ([source]) => {
          asked.push(source?.id ?? "");
          if (source?.id === "one") throw value;
          return [];
        },
      };

      const { report, said } = await night({ ...farm, steps });

      expect(asked).toEqual(["debian/bookworm", "debian/trixie", "one", "two"]);
      const { code, blame } = toFarmError(value);
      expect(report.problems.map((problem) => [problem.source, problem.code])).toEqual([
        ["debian/trixie", code],
        ["one", code],
      ]);
      expect(report.rows.map(({ note }) => note.failure)).toEqual([undefined]);
      expect(exitOf(report)).toBe(blame === "integrity" ? 4 : 3);
      // Whoever reports a fault of ours needs to know where it is.
      if (value instanceof TypeError)
        expect(said.join("\n")).toContain("TypeError: x is not a function\n    at ");
    },
  );
});

test("a list whose kernels no document could hold costs itself, and no other source", async () => {
  const farm = await openTestFarm("poison", {
    drivers: [GOOD],
    sources: ["well", "ill"].map((name) => ({
      kind: "kernel-crawler",
      list: `${name}.json`,
      name,
      architecture: "x86_64",
    })),
  });
  for (const name of ["well", "ill"]) await writeFile(join(farm.config.base, `${name}.json`), LIST);
  const askLists: Steps["askLists"] = async (lists, context) =>
    (await STEPS.askLists(lists, context)).map((one) => (one.source.id === "ill" ? poisoned(one) : one));

  const { report } = await night({ ...farm, steps: { ...farm.steps, askLists } });

  expect(report.problems.map(({ source, code }) => [source, code])).toEqual([["ill", "BUG"]]);
  expect(report.kernels).toBe(2);
  expect(report.rows.map(({ note }) => note.failure)).toEqual([undefined]);
  expect(exitOf(report)).toBe(3);
});

test("kernels that only an unsigned list names wait until all others have begun", async () => {
  const sources = [makeSource(), makeSource({ id: "list/debian12", kind: "kernel-crawler" })];
  const listed = Array.from({ length: 20 }, (_, at) =>
    makeKernel({
      kversion: `6.1.0-${at + 10}-amd64`,
      packageVersion: `6.1.${at}-1`,
      sources: ["list/debian12"],
    }),
  );
  const farm = await openTestFarm("order", {
    drivers: [GOOD],
    kernels: [...listed, makeKernel()],
    known: sources,
  });
  const begun: string[] = [];
  const planRecipe: Steps["planRecipe"] = (element, ...rest) => {
    begun.push(element.kversion);
    return farm.steps.planRecipe(element, ...rest);
  };

  await night({ ...farm, steps: { ...farm.steps, planRecipe } });

  // Eight are under way at once.
  expect(begun.slice(0, 8)).toContain("6.1.0-56-amd64");
  expect(begun).toHaveLength(21);
});

const LIST = JSON.stringify({
  debian: [
    {
      ...{ kernelversion: "1", kernelrelease: "6.1.0-77-amd64", target: "debian" },
      headers: ["http://mirror.example/pool/linux-headers-6.1.0-77-amd64_6.1.77-1_amd64.deb"],
    },
  ],
});

/** A list that got past its reader with a name that JSON cannot carry. */
function poisoned({ source, read }: ReadList): ReadList {
  if (read instanceof FarmError) throw read;
  return {
    source,
    read: { ...read, kernels: read.kernels.map((kernel) => ({ ...kernel, flavour: "\ud83d" })) },
  };
}

describe("a run that takes what workers made", () => {
  const kernels = [1, 2, 3].map((n) => makeKernel({ kversion: `6.1.0-${n}-amd64` }));
  /** What the workers' toolchain root contains: who takes hand-overs makes none. */
  const rootsOf = async (farm: Farm) => {
    const [driver] = (await loadDrivers(farm)).loaded as [LoadedDriver];
    const [element] = generateMatrix(makeCatalog(kernels), [driver], [{}]) as [Element];
    return { [basename(await openToolchains(farm).place(rootRequest(element, driver)))]: [] };
  };

  test("plans what was handed over, and nothing else", async () => {
    const planned: Element[] = [];
    const open = async (name: string) => {
      const farm = await openTestFarm(name, { drivers: [GOOD], kernels });
      const planRecipe: Steps["planRecipe"] = (element, ...more) => {
        planned.push(element);
        return farm.steps.planRecipe(element, ...more);
      };
      return { ...farm, steps: { ...farm.steps, planRecipe } };
    };
    const executor = () => new HandOverExecutor({ load: async () => undefined });
    const all = await open("all");
    const roots = await rootsOf(all);
    await night(all, { executor, roots });
    const [one] = planned.splice(0) as [Element];

    const { report } = await night(await open("handed"), {
      executor,
      roots,
      only: new Set([elementKey(one)]),
    });

    expect(planned.map(elementKey)).toEqual([elementKey(one)]);
    expect(report).toMatchObject({ wanted: 3, handedOut: 3, rows: [], problems: [] });
  });

  test("counts a failure that proves nothing as a try, and leaves the element alone after three", async () => {
    const farm = await openTestFarm("unproven", { drivers: [GOOD], kernels: kernels.slice(0, 1) });
    const built: string[] = [];
    const unproven = {
      name: "handOvers" as const,
      load: async () => undefined,
      build: async ({ recipe }: Work): Promise<Attempt> => {
        built.push(recipeKey(recipe));
        const record = {
          schema: "kmodfarm.attempt/2" as const,
          ...{ recipe, inputs: [], buildMs: 1, modules: [], environment: { compiler: "", packages: [] } },
          failure: { code: "BUILD_UNEXPLAINED" as const, cause: "it ended", line: "" },
        };
        return { recipeKey: recipeKey(recipe), record, directory: "/nowhere", logFile: "/nowhere/build.log" };
      },
    };

    const tries: (number | undefined)[] = [];
    const roots = await rootsOf(farm);
    for (let taken = 0; taken < 4; taken++) {
      const report = await runFarm(farm, { ...WATCHED, roots, executor: () => unproven });
      tries.push(report.rows[0]?.note.failure?.tries);
    }
    await farm.close();

    expect(tries).toEqual([1, 2, 3, 3]);
    expect(built).toHaveLength(3);
  });
});

test("a dry run plans all that a run would do, says why, and writes nothing to the store", async () => {
  const farm = await openTestFarm("dry", { drivers: [GOOD] });
  const filesOf = async () => {
    const paths = [];
    for await (const { path } of farm.store.walk("")) paths.push(path);
    return paths.toSorted();
  };
  const before = await filesOf();

  const { planned, rows, wanted } = await dryRun(farm, WATCHED);
  const after = await filesOf();
  const { report } = await night(farm);
  const again = await dryRun({ ...(await openFarm(farm.config)), steps: farm.steps }, WATCHED);

  expect(planned.map(({ element, step, why }) => [element.driver, step, why])).toEqual([
    [GOOD, "build", "it is new"],
  ]);
  expect([rows, wanted, after]).toEqual([[], 1, before]);
  expect(report.rows).toHaveLength(1);
  expect(again.planned).toEqual([]);
});

test("what was built without a statement is tried again once the farm has a key, and no more after that", async () => {
  const farm = await openTestFarm("unstated", { drivers: [GOOD] });
  const none = { ...keysOf(makeSigner()), keysFor: async () => new Map() };
  const nights = [];
  for (const builder of [none, keysOf(makeSigner()), keysOf(makeSigner())]) {
    const signing = withTestKeys(builder);
    const opened = { ...(await openFarm(farm.config)), steps: farm.steps, signing };
    const { report } = await night(opened, { without: ["load"] });
    const [listed] = listAll((await readPublished(farm.store)).indices);
    nights.push([report.rows.map(({ isNew }) => isNew), listed?.entry.provenance?.length]);
  }

  expect(nights).toEqual([
    [[true], undefined],
    [[true], 1],
    [[false], 1],
  ]);
});

test("an error that cannot be kept as a log is reported all the same", async () => {
  const farm = await openTestFarm("unkept", { drivers: [GOOD, "raw-error", "tool-failed"] });
  await writeFile(join(farm.cache, "unfinished"), "a file where the directory should be");
  const thrown = new Map(THROWN);
  const steps: Steps = {
    ...farm.steps,
    stageInputs: async ({ driver }) => {
      if (thrown.has(driver)) throw thrown.get(driver);
      return [];
    },
  };

  const { report, said } = await night({ ...farm, steps });

  expect(failuresOf(report)).toEqual(
    new Map([
      ["raw-error", "BUG"],
      ["tool-failed", "TOOL_FAILED"],
    ]),
  );
  expect(said.filter((line) => line.includes("its error cannot be stored: "))).toHaveLength(2);
  expect(exitOf(report)).toBe(3);
});

/** By driver, how its element ended. */
function failuresOf({ rows }: RunReport): ReadonlyMap<string, string | undefined> {
  return new Map(
    rows
      .filter(({ element }) => element.driver !== GOOD)
      .map(({ element, note }) => [element.driver, note.failure?.code]),
  );
}

const WATCHED: RunOptions = {
  progress: { say() {}, element() {} },
  signal: new AbortController().signal,
  now: () => new Date("2026-11-28T00:00:00Z"),
};

async function night(
  farm: Farm,
  options: Partial<RunOptions> = {},
): Promise<{ readonly report: RunReport; readonly said: readonly string[] }> {
  const said: string[] = [];
  try {
    const progress = { say: (text: string) => said.push(text), element() {} };
    const report = await runFarm(farm, { ...WATCHED, progress, ...options });
    return { report, said };
  } finally {
    await farm.close();
  }
}

interface Contents {
  readonly drivers?: readonly string[];
  readonly sources?: readonly object[];
  readonly kernels?: readonly CatalogKernel[];
  /** Sources that the catalog knows. */
  readonly known?: readonly CatalogSource[];
}

/** A farm whose steps cost nothing. By default it has one kernel and a driver for everything that can be thrown. */
async function openTestFarm(
  name: string,
  { drivers = DRIVERS, sources = [], kernels = [makeKernel()], known }: Contents = {},
): Promise<Farm> {
  const place = join(directory, name);
  await mkdir(place, { recursive: true });
  const config = {
    drivers: drivers.map((one) => ({
      name: one,
      source: join(directory, "drivers", one),
      versions: ["1.0.0"],
    })),
    ...{ sources, jobs: 2, policy: "policy.yaml" },
  };
  await writeFile(join(place, "kmodfarm.yaml"), JSON.stringify(config));
  await writeFile(join(place, "policy.yaml"), "require: [provenance, load]\n");
  const opened = await openFarm(await loadConfig({}, place));
  // Faults are tried by the hundred: keys that need no process of their own do for that.
  const farm = { ...opened, signing: withTestKeys(keysOf(FARM)) };
  await writePublished(farm.store, nextState(NOTHING, makeCatalog(kernels, known), []), new Date(0));
  return { ...farm, steps: { ...STEPS, ...effortless(farm) } };
}

function kernelWithoutCompiler(number: number): CatalogKernel {
  const { compiler: _, ...kernel } = makeKernel({ kversion: `6.1.0-${100 + number}-amd64` });
  return kernel;
}

/** Steps that need no mirror, no toolchain and no virtual machine, and do what the real ones promise. */
function effortless(farm: Farm): Partial<Steps> {
  return {
    learnCompiler: async () => ({ family: "gcc", version: "12", source: "header" }),
    planRecipe: async (element, driver) =>
      recipeOf({ element, driver, builder: "x86_64", root: [], scripts: "sha256:00" }),
    stageInputs: async () => [],
    buildElement: async ({ driver }, _, recipe) => {
      const evidence = farm.scratch.path();
      await mkdir(join(evidence, "modules"), { recursive: true });
      await writeFile(join(evidence, "build.log"), "built\n");
      await writeFile(join(evidence, "modules", `${driver}.ko`), "");
      return keepAttempt(
        {
          schema: "kmodfarm.attempt/2",
          recipe,
          inputs: [],
          buildMs: 1,
          environment: { compiler: "gcc-12", packages: [] },
          modules: [{ name: driver, size: 0, sha256: sha256("") }],
        },
        evidence,
        farm.cache,
      );
    },
    fetchBootImage: async () => "boot image",
    testLoad: async () => ({ verdict: makeVerdict("load", "unknown", "no guest here") }),
    fetchKernelRecord: async () => ({ architecture: "x86_64" }),
    storeArtifact: (store, element, content, evidence) =>
      STEPS.storeArtifact(store, element, { ...content, modules: [] }, evidence),
  };
}
