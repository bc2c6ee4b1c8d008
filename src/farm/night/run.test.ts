import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { NOTHING } from "../../../test/support/artifacts.ts";
import { craftModule } from "../../../test/support/crafted-module.ts";
import { buildingOf, effortless } from "../../../test/support/effortless-steps.ts";
import { makeCatalog, makeKernel, makeSource } from "../../../test/support/kernels.ts";
import { writePublished } from "../../../test/support/published.ts";
import { withTestKeys } from "../../../test/support/signed-store.ts";
import { keysOf, makeSigner } from "../../../test/support/statements.ts";
import { FARM } from "../../../test/support/stored-farm.ts";
import { sharedDirectory, temporaryDirectory } from "../../../test/support/temporary.ts";
import { makeVerdict } from "../../../test/support/verdicts.ts";
import { FarmError, toFarmError } from "../../base/error.ts";
import { ERRORS, type ErrorCode } from "../../base/error-codes.ts";
import { sha256 } from "../../base/json.ts";
import type { Outlook, Progress } from "../../base/progress.ts";
import type { Attempt } from "../../builder/attempt.ts";
import { rootRequest } from "../../builder/build.ts";
import type { LoadedDriver } from "../../builder/driver.ts";
import { recipeKey } from "../../builder/recipe.ts";
import type { Catalog, CatalogKernel, CatalogSource } from "../../catalog/catalog.ts";
import type { ReadList } from "../../catalog/list-source.ts";
import { summaryText } from "../../cli/commands/night/run.ts";
import { exitOf } from "../../cli/faults.ts";
import { factsByKernel, factsOf } from "../../kernel/facts.ts";
import { type Element, elementKey } from "../../matrix/element.ts";
import { generateMatrix } from "../../matrix/generate.ts";
import { publish } from "../../registry/commit.ts";
import { readPublished } from "../../registry/generations.ts";
import { nextState } from "../../registry/publish.ts";
import { listAll } from "../../registry/standing.ts";
import { loadConfig } from "../config/index.ts";
import { loadDrivers } from "../drivers.ts";
import type { Work } from "../executors/executor.ts";
import { HandOverExecutor } from "../executors/hand-overs.ts";
import { ingest } from "../gap/feeds.ts";
import { promote } from "../gate/moves.ts";
import { type Farm, openFarm, openToolchains } from "../open.ts";
import { authorOf } from "../signing/heads.ts";
import { STEPS, type Steps } from "../steps.ts";
import { dryRun } from "./dry-run.ts";
import type { RunReport } from "./report.ts";
import { runFarm } from "./run.ts";
import type { RunOptions } from "./run-options.ts";

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

test("with `order: gap` the kernel goes ahead that closes the most, and each line says why", async () => {
  const kernels = Array.from({ length: 30 }, (_, index) =>
    makeKernel({
      kversion: `6.1.0-${100 + index}-amd64`,
      packageVersion: index === 29 ? "6.1.170-3" : "6.1.150-1",
    }),
  );
  const farm = await openTestFarm("order", { drivers: [GOOD], kernels });
  const file = join(await temporaryDirectory(), "cves.ndjson");
  const pairs = [["6.1", "a".repeat(40), "6.1.160", "b".repeat(40)]];
  const record = { id: "CVE-2026-1001", published: "2026-08-20", title: "t", fix: [], pairs, files: ["a.c"] };
  await writeFile(file, JSON.stringify(record));
  const signal = new AbortController().signal;
  const options = { by: "ann", now: () => new Date("2026-08-21"), say: () => {}, signal };
  await ingest(farm, [{ kind: "compact", from: file }], options);
  const [built, lines]: [string[], string[]] = [[], []];
  const steps: Steps = {
    ...farm.steps,
    buildElement: async (element, ...more) => {
      built.push(element.kversion);
      return farm.steps.buildElement(element, ...more);
    },
  };
  const progress: Progress = {
    say: (text) => lines.push(text),
    element: ({ name }, stage, detail) => lines.push(`${stage} ${name}: ${detail}`),
  };

  await night({ ...farm, steps, config: { ...farm.config, order: "gap" } }, { progress });

  expect(built).toHaveLength(30);
  expect(built.indexOf("6.1.0-129-amd64")).toBeLessThan(10);
  expect(lines).toContain("order: by what kernels close, as known on 2026-08-20");
  expect(lines.find((line) => /^(published|candidate) .*6\.1\.0-129-amd64/.test(line))).toMatch(
    /1 CVEs? in all/,
  );
});

test("a run says how long its elements should take, as far as earlier ones show", async () => {
  const farm = await openTestFarm("outlook", { drivers: [GOOD] });
  const outlooks: Outlook[] = [];
  const progress: Progress = { ...WATCHED.progress, expect: (outlook) => outlooks.push(outlook) };

  const { report } = await night(farm, { progress });

  expect(
    outlooks.map(({ atOnce, of }) => [
      atOnce,
      ...report.rows.map(({ element }) => of(elementKey(element)).isDone),
    ]),
  ).toEqual([[2, true]]);
});

test("whatever a source throws while it is asked: it is named, the others are read and all elements are built", async () => {
  const sources = [
    { kind: "apt", releases: ["debian12"], suites: DRIVERS },
    ...DRIVERS.map((name) => ({
      ...{ kind: "kernel-crawler", list: `${name}.json`, name, architecture: "x86_64" },
    })),
  ];
  const farm = await openTestFarm("sources", { drivers: [GOOD], sources });
  const thrown = new Map(THROWN);
  const asked: string[] = [];
  const asking = async ([source]: readonly { readonly id: string }[]) => {
    const name = source?.id.split("/").at(-1) ?? "";
    asked.push(name);
    if (thrown.has(name)) throw thrown.get(name);
    return [];
  };

  const { report, said } = await night({
    ...farm,
    steps: { ...farm.steps, askSources: asking, askLists: asking },
  });

  expect(asked.toSorted()).toEqual([...DRIVERS, ...DRIVERS].toSorted());
  const named = ["debian/", ""].flatMap((kind) =>
    THROWN.map(([name, value]) => [`${kind}${name}`, toFarmError(value).code] as const),
  );
  expect(new Map(report.problems.map(({ source, code }) => [source, code]))).toEqual(new Map(named));
  expect(report.rows.map(({ note }) => note.failure)).toEqual([undefined]);
  for (const problem of report.problems) {
    const isIntegrity = ERRORS[problem.code as ErrorCode].blame === "integrity";
    expect(exitOf({ ...report, problems: [problem] }), problem.source).toBe(isIntegrity ? 4 : 3);
  }
  // Whoever reports a fault of ours needs to know where it is.
  expect(said.join("\n")).toContain("TypeError: x is not a function\n    at ");
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
  const farm = await openTestFarm("listed-last", {
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

/** What the toolchain root of other machines contains: who takes hand-overs makes none, nor does a dry run. */
async function rootsOf(farm: Farm, kernels: readonly CatalogKernel[] = [makeKernel()]) {
  const [driver] = (await loadDrivers(farm)).loaded as [LoadedDriver];
  const [element] = generateMatrix(makeCatalog(kernels), [driver], [{}]) as [Element];
  return { [basename(await openToolchains(farm).place(rootRequest(element, driver)))]: [] };
}

describe("a run that takes what workers made", () => {
  const kernels = [1, 2, 3].map((n) => makeKernel({ kversion: `6.1.0-${n}-amd64` }));

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
    const roots = await rootsOf(all, kernels);
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
    const roots = await rootsOf(farm, kernels);
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

  const planRecipe: Steps["planRecipe"] = () => Promise.reject(new Error("a toolchain would be made"));
  const dry = { ...farm, steps: { ...farm.steps, planRecipe } };
  const { planned, rows, wanted, isMeasured, withoutRoot } = await dryRun(dry, WATCHED);
  const after = await filesOf();
  const { report } = await night(farm);
  const roots = await rootsOf(farm);
  const again = await dryRun({ ...(await openFarm(farm.config)), steps: farm.steps }, { ...WATCHED, roots });

  expect(planned.map(({ element, step, why }) => [element.driver, step, why])).toEqual([
    [GOOD, "build", "it is new; its toolchain is not here and is made first"],
  ]);
  expect([rows, wanted, after]).toEqual([[], 1, before]);
  expect([isMeasured, withoutRoot]).toEqual([false, 1]);
  expect(report.rows).toHaveLength(1);
  expect(again.planned).toEqual([]);
});

test("a dry run says what of a recipe changed", async () => {
  await mkdir(join(directory, "drivers", "edited"), { recursive: true });
  const file = join(directory, "drivers", "edited", "Kbuild");
  await writeFile(file, "obj-m := edited.o\n");
  const farm = await openTestFarm("dry-changes", { drivers: ["edited"] });
  await night(farm);
  const roots = await rootsOf(farm);
  await writeFile(file, "obj-m := edited.o\nccflags-y += -DMORE\n");

  const opened = { ...(await openFarm(farm.config)), steps: farm.steps };
  const { planned } = await dryRun(opened, { ...WATCHED, roots });

  expect(planned.map(({ step, why }) => [step, why])).toEqual([["build", "the driver's source changed"]]);
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

test("what no build can see causes none, and a kernel more causes one", async () => {
  const place = join(directory, "seen");
  const write = async (path: string, text: string) => {
    await mkdir(join(place, path, ".."), { recursive: true });
    await writeFile(join(place, path), text);
  };
  const configure = (kernels: readonly string[], comment: string) =>
    write(
      "kmodfarm.yaml",
      `# ${comment}\n${JSON.stringify({ drivers: [{ name: "seen", source: ".", versions: ["1.0.0"] }], sources: [], select: { kernelRelease: kernels.join("|") } })}`,
    );
  const [one, two] = ["6.1.0-101-amd64", "6.1.0-102-amd64"] as const;
  await write("Kbuild", "obj-m := seen.o\n");
  await write(".gitignore", "scratch\n");
  execFileSync("git", ["init", "--quiet", place]);
  await configure([one], "first");
  const kernels = [one, two].map((kversion) => makeKernel({ kversion }));
  const first = await openFarm(await loadConfig({}, place));
  await writePublished(first.store, nextState(NOTHING, makeCatalog(kernels), []), new Date(0));
  const buildsOf = async (change: Promise<unknown>) => {
    await change;
    const farm = { ...(await openFarm(await loadConfig({}, place))), signing: withTestKeys(keysOf(FARM)) };
    const built: string[] = [];
    const steps: Steps = {
      ...{ ...farm.steps, ...effortless(farm) },
      buildElement: (element, ...rest) => {
        built.push(element.kversion);
        return buildingOf(farm, Buffer.alloc(0))(element, ...rest);
      },
    };
    await night({ ...farm, steps }, { without: ["catalog", "load"] });
    return built.toSorted();
  };

  const builds = {
    first: await buildsOf(Promise.resolve()),
    readme: await buildsOf(write("README.md", "prose")),
    ci: await buildsOf(write(".github/workflows/ci.yml", "on: push")),
    configuration: await buildsOf(configure([one], "second")),
    ignored: await buildsOf(write("scratch", "what git ignores")),
    kernel: await buildsOf(configure([one, two], "second")),
    // What it does see.
    source: await buildsOf(write("seen.c", "int seen;")),
  };

  expect(builds).toEqual({
    ...{
      first: [one],
      readme: [],
      ci: [],
      configuration: [],
      ignored: [],
      kernel: [two],
      source: [one, two],
    },
  });
});

test("what comes out byte for byte as published is said, makes no generation, and is not built again", async () => {
  const tree = join(directory, "drivers", "same");
  await mkdir(tree, { recursive: true });
  const farm = await openTestFarm("same", { drivers: ["same"] });
  await writeFile(join(directory, "same", "policy.yaml"), "require: [load]\n");
  const module = craftModule("same");
  let builds = 0;
  const steps: Steps = {
    ...farm.steps,
    buildElement: async (...given) => {
      builds++;
      return buildingOf(farm, module)(...given);
    },
    storeArtifact: STEPS.storeArtifact,
    testLoad: async () => ({
      verdict: {
        ...makeVerdict("load", "pass", "it loads"),
        of: [{ module: "same", sha256: sha256(module) }],
      },
    }),
  };
  const nights = [];
  for (const comment of ["first", "second", "second"]) {
    await writeFile(join(tree, "Kbuild"), `obj-m := same.o # ${comment}\n`);
    const { report } = await night({ ...(await openFarm(farm.config)), signing: farm.signing, steps });
    nights.push([
      report.generation,
      report.rows.map(({ isNew, isSame, state, path }) => [isNew, isSame, state.word, path !== undefined]),
      builds,
      summaryText(report).includes("1 element came out byte for byte as published"),
    ]);
  }

  expect(nights).toEqual([
    [2, [[true, undefined, "stable", true]], 1, false],
    [2, [[false, true, "stable", true]], 2, true],
    [2, [[false, true, "stable", true]], 2, true],
  ]);
});

describe("what a load test says", () => {
  async function nightWith(name: string, policy: string, testLoad: Steps["testLoad"]): Promise<RunReport> {
    const farm = await openTestFarm(name, { drivers: [GOOD] });
    await writeFile(join(farm.config.base, "policy.yaml"), policy);
    const steps: Steps = {
      ...farm.steps,
      buildElement: buildingOf(farm, craftModule(GOOD)),
      storeArtifact: STEPS.storeArtifact,
      testLoad,
    };
    const { report } = await night({ ...(await openFarm(farm.config)), signing: farm.signing, steps });
    return report;
  }
  const noDevice = async () => ({
    verdict: {
      ...makeVerdict("load", "notApplicable", "it finds no device"),
      reasons: [{ code: "noDevice", text: "it finds no device" }],
      of: [{ module: GOOD, sha256: sha256(craftModule(GOOD)) }],
    },
  });

  test.each([
    ["takes a missing device for no proof", "require: [load]\n", "candidate", 1],
    ["that a policy accepts does too", "require: [load]\nstandIns: {load: [noDevice]}\n", "stable", 0],
  ])("%s", async (what, policy, word, exit) => {
    const report = await nightWith(`device-${what.length}`, policy, noDevice);

    expect(report.rows.map(({ state }) => state.word)).toEqual([word]);
    expect(exitOf(report)).toBe(exit);
  });

  test("is this machine's affair where a program is missing, which no driver can help", async () => {
    const report = await nightWith("toolless", "require: [load]\n", () =>
      Promise.reject(new FarmError("TOOL_MISSING", { detail: "qemu-system-x86_64 is not installed" })),
    );

    expect(JSON.stringify(report)).toContain("TOOL_MISSING");
    expect(JSON.stringify(report)).not.toContain("LOAD_FAILED");
    expect(exitOf(report)).toBe(3);
  });
});

describe("a selection", () => {
  test("with a word that names nothing is refused, with the likely one", async () => {
    const farm = await openTestFarm("misspelt", { drivers: [GOOD] });
    const config = { ...farm.config, select: [{ flavours: ["genric"] }] } as Farm["config"];

    await expect(night({ ...farm, config })).rejects.toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.stringMatching(
          /select\.flavours: none of .* flavour 'genric' \(did you mean 'generic'\?\)/,
        ),
      }),
    );
  });

  test("of nothing is odd, unless it may be empty", async () => {
    const farm = await openTestFarm("nothing", { drivers: [GOOD] });
    const config = { ...farm.config, select: [{ kernelRelease: "6\\.99.*" }] } as Farm["config"];

    const { report } = await night({ ...farm, config });

    expect(report.isEmpty).toBe(true);
    expect([exitOf(report), exitOf(report, true)]).toEqual([3, 0]);
  });
});

describe("a kernel that only upcoming sources list", () => {
  const SID = makeSource({ id: "debian/sid", upcoming: true });
  const here = makeKernel();
  const coming = makeKernel({
    kversion: "6.1.0-57-amd64",
    packageVersion: "6.1.180-1",
    packages: here.packages,
    sources: ["debian/sid"],
  });
  const module = craftModule(GOOD);
  const passed = {
    verdict: { ...makeVerdict("load", "pass", "it loads"), of: [{ module: GOOD, sha256: sha256(module) }] },
  };
  const asked = { kernels: ({ kernels }: Catalog) => kernels, select: [{}] };

  async function openFarmWithBoth(name: string, known: readonly CatalogSource[] = [makeSource(), SID]) {
    const farm = await openTestFarm(name, { drivers: [GOOD], kernels: [here, coming], known });
    await writeFile(join(farm.config.base, "policy.yaml"), "require: [load]\n");
    let builds = 0;
    const steps: Steps = {
      ...farm.steps,
      buildElement: (...given) => {
        builds++;
        return buildingOf(farm, module)(...given);
      },
      storeArtifact: STEPS.storeArtifact,
      testLoad: async () => passed,
    };
    const open = async () => ({ ...(await openFarm(farm.config)), signing: farm.signing, steps });
    return { farm, open, buildsOf: () => builds };
  }

  test("is left out by a run, and comes to no more than a candidate for who asks for it", async () => {
    const { open } = await openFarmWithBoth("upcoming");

    const usual = await night(await open());
    const { report } = await night(await open(), asked);

    expect(usual.report.rows.map(({ element }) => element.kversion)).toEqual([here.kversion]);
    const [, row] = report.rows;
    expect(row?.element.kversion).toBe(coming.kversion);
    expect(row?.note).toMatchObject({ upcoming: true, load: { verdict: { verdict: "pass" } } });
    expect(row?.standing).toEqual({
      word: "candidate",
      reasons: [expect.stringMatching(/^kernel: no user has it yet/)],
    });
  });

  test("is stable on the first night on which users have it, and is not built again", async () => {
    const { farm, open, buildsOf } = await openFarmWithBoth("arrived");
    await night(await open(), asked);
    const before = buildsOf();
    const arrived = { ...coming, sources: ["debian/bookworm", "debian/sid"] };
    const catalog = makeCatalog([here, arrived], [makeSource(), SID]);
    const author = authorOf(farm, "ann", "catalog", WATCHED.now);
    await publish(farm.store, (state) => ({ state: { ...state, catalog }, result: undefined }), author);

    const { report } = await night(await open());

    expect(buildsOf()).toBe(before);
    expect(report.rows.map(({ element, standing }) => [element.kversion, standing?.word])).toEqual([
      [here.kversion, "stable"],
      [coming.kversion, "stable"],
    ]);
  });

  test("is not promoted by hand either", async () => {
    const { open } = await openFarmWithBoth("by-hand");
    await night(await open(), asked);
    const farm = await open();

    const { moves } = await promote(farm, (all) => all, { by: "ann", why: "now" }, WATCHED.now);
    await farm.close();

    const move = moves.find(({ entry }) => entry.kversion === coming.kversion);
    expect([move?.result, move?.reasons.at(-1)]).toEqual([
      "refused",
      expect.stringMatching(/^kernel: no user has it yet/),
    ]);
  });
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
