/** What every executor promises to whoever plans. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FarmError } from "../../src/base/error.ts";
import { sha256 } from "../../src/base/json.ts";
import type { Stage } from "../../src/base/progress.ts";
import type { Scratch } from "../../src/base/scratch.ts";
import { type Attempt, findAttempt, keepAttempt } from "../../src/builder/attempt.ts";
import { readSourceTree } from "../../src/builder/source-tree.ts";
import { verdict } from "../../src/check/verdict.ts";
import type { Executor, LoadWork, Watch, Work } from "../../src/farm/executors/executor.ts";
import { honestAttempt, MODULE, makeBuildOrder } from "../support/hand-overs.ts";

export interface ExecutorPlace {
  readonly directory: string;
  readonly cache: string;
  readonly scratch: Scratch;
  readonly signal: AbortSignal;
}

export interface ExecutorMember {
  readonly name: Executor["name"];
  /** Whether it does the work itself, or leaves it to another process. */
  readonly isHere: boolean;
  readonly make: (place: ExecutorPlace) => Promise<Executor>;
}

/** What a build comes to in these tests, without a compiler. */
export async function builtIn({ scratch, cache }: ExecutorPlace, { recipe }: Work): Promise<Attempt> {
  const evidence = scratch.path();
  await mkdir(join(evidence, "modules"), { recursive: true });
  await writeFile(join(evidence, "build.log"), "built\n");
  await writeFile(join(evidence, "modules", "doorbell.ko"), MODULE);
  return keepAttempt({ ...honestAttempt(makeBuildOrder()), recipe }, evidence, cache);
}

export async function makeWork(directory: string): Promise<Work> {
  const { element, recipe } = makeBuildOrder();
  const source = join(directory, "source");
  await mkdir(source, { recursive: true });
  await writeFile(join(source, "Kbuild"), "obj-m := doorbell.o\n");
  const compiler = { family: "gcc", version: "12", source: "package" } as const;
  return {
    element: { ...element, compiler },
    recipe,
    driver: {
      ...{ name: "doorbell", version: "0.1.1", modules: ["doorbell"] },
      build: { kind: "kbuild", packages: [], files: [] },
      origin: { kind: "directory", place: "" },
      source: await readSourceTree(source),
    },
    rank: 0,
  };
}

export const PASSED = verdict("load", "pass");

export function testExecutor(member: ExecutorMember, place: () => Promise<ExecutorPlace>): void {
  const open = async () => {
    const here = await place();
    const stages: Stage[] = [];
    const watch: Watch = { signal: here.signal, stage: (stage) => stages.push(stage) };
    return { here, stages, watch, executor: await member.make(here), work: await makeWork(here.directory) };
  };

  describe(`${member.name}`, () => {
    test("has a name by which it is known", async () => {
      expect((await open()).executor.name).toBe(member.name);
    });

    test(
      member.isHere ? "keeps what it builds under the recipe" : "leaves a build to others, and keeps nothing",
      async () => {
        const { executor, work, watch, here } = await open();

        const attempt = await executor.build(work, watch);

        const kept = await findAttempt(work.recipe, here.cache);
        if (member.isHere) expect(kept?.record).toEqual(attempt?.record);
        else expect([attempt, kept]).toEqual([undefined, undefined]);
      },
    );

    test("says where an element is, in words of the stream, and never that it is published", async () => {
      const { executor, work, watch, stages } = await open();

      await executor.build(work, watch);

      // What becomes of a build is decided by those who ordered it.
      for (const stage of stages)
        expect(["published", "candidate", "failed", "unfetchable"]).not.toContain(stage);
    });

    test("can be asked for several at once", async () => {
      const { executor, work, watch } = await open();
      const others = [1, 2, 3].map((number) => ({
        ...work,
        recipe: { ...work.recipe, scripts: sha256(String(number)) },
      }));

      const attempts = await Promise.all(others.map((one) => executor.build(one, watch)));

      expect(attempts.map((one) => one?.record.recipe.scripts)).toEqual(
        member.isHere ? others.map(({ recipe }) => recipe.scripts) : [undefined, undefined, undefined],
      );
    });

    test("tests only what it is given, in the kernel that it is given", async () => {
      const { executor, work, watch } = await open();
      const set: LoadWork["set"] = { driver: "doorbell", modules: [{ name: "doorbell", bytes: MODULE }] };

      const result = await executor.load({ element: work.element, guest: [], set, rank: 0 }, watch);

      if (member.name === "orders") expect(result).toBeUndefined();
      else expect(result?.verdict.check).toBe("load");
    });

    test("throws nothing but errors of the catalogue", async () => {
      const { executor, work, watch } = await open();
      const { recipe, driver } = work;
      const foreign = { ...work, recipe: { ...recipe, builder: "aarch64" as const }, driver };

      const thrown = await executor.build(foreign, watch).then(
        () => undefined,
        (fault: unknown) => fault,
      );

      if (thrown !== undefined) expect(thrown).toBeInstanceOf(FarmError);
      if (member.isHere) expect(thrown).toMatchObject({ code: "ARCHITECTURE_UNAVAILABLE" });
    });
  });
}
