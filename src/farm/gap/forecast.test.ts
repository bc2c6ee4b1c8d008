import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { NOTHING } from "../../../test/support/artifacts.ts";
import { craftModule } from "../../../test/support/crafted-module.ts";
import { buildingOf, effortless } from "../../../test/support/effortless-steps.ts";
import { makeCatalog, makeKernel, makeSource } from "../../../test/support/kernels.ts";
import { writePublished } from "../../../test/support/published.ts";
import { withTestKeys } from "../../../test/support/signed-store.ts";
import { keysOf } from "../../../test/support/statements.ts";
import { FARM } from "../../../test/support/stored-farm.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { makeVerdict } from "../../../test/support/verdicts.ts";
import { sha256 } from "../../base/json.ts";
import { readSymvers } from "../../formats/module-symvers.ts";
import { changelogFacts } from "../../kernel/facts.ts";
import { putBlob } from "../../registry/blobs.ts";
import type { FeedNote } from "../../registry/documents.ts";
import { packed } from "../../registry/packed.ts";
import { nextState } from "../../registry/publish.ts";
import type { Store } from "../../registry/stores/store.ts";
import { loadConfig } from "../config/index.ts";
import { runFarm } from "../night/run.ts";
import { type Farm, openFarm } from "../open.ts";
import { STEPS, type Steps } from "../steps.ts";
import { forecast } from "./forecast.ts";

const STABLE = makeKernel({
  distribution: "debian13",
  kversion: "6.12.118+deb13-amd64",
  packageVersion: "6.12.118-1",
  sources: ["debian/trixie"],
});
const coming = (distribution: string, suite: string, packageVersion: string) =>
  makeKernel({
    ...{ distribution, packageVersion, kversion: `${packageVersion.replace(/[-~].*$/, "")}-amd64` },
    sources: [`debian/${suite}`],
  });
const SID = coming("debiansid", "sid", "7.2.13-1");
const CANDIDATE = coming("debiansid", "experimental", "7.3~rc7-1~exp1");
const BACKPORT = coming("debian13", "trixie-backports", "7.3.4-1~bpo13+1");
const KERNELS = [STABLE, SID, CANDIDATE, BACKPORT];
const SOURCES = [
  makeSource({ id: "debian/trixie", distribution: "debian13" }),
  makeSource({ id: "debian/trixie-backports", distribution: "debian13", upcoming: true }),
  makeSource({ id: "debian/sid", distribution: "debiansid", upcoming: true }),
  makeSource({ id: "debian/experimental", distribution: "debiansid", upcoming: true }),
];
/** What the crafted modules import. */
const SYMBOL = "aaaaaaaaaaa0";
const FAILURE = {
  ...{ code: "BUILD_FAILED" as const, cause: `the kernel has no function ${SYMBOL} (its API changed)` },
  ...{
    file: "old.c",
    lineNumber: 3,
    line: "error: implicit declaration",
    advice: "Replace it.",
    name: SYMBOL,
  },
};
const WATCHED = {
  progress: { say() {}, element() {} },
  signal: new AbortController().signal,
  now: () => new Date("2026-11-30T00:00:00Z"),
};

/** The changelog of the kernel in backports, as a generation keeps it. */
async function changelogIn(store: Store): Promise<FeedNote> {
  const entries = [
    ["7.3.4-1~bpo13+1", "trixie-backports", "2026-11-15"],
    ["7.3.3-1", "unstable", "2026-11-07"],
    ["7.3~rc6-1~exp1", "experimental", "2026-10-09"],
  ].map(([version = "", suite = "", day = ""]) => ({
    ...{ source: "linux", version, suite, day, stable: [], bullets: [] },
  }));
  const said = { source: "linux", distribution: "debian13", isTrimmed: false, entries };
  const bytes = await packed(JSON.stringify(said));
  return {
    ...{ name: "changelog/debian13/linux/7.3", kind: "changelog", from: "linux-kbuild", source: "sha256:00" },
    ...{ at: "2026-11-29T00:00:00.000Z", licence: "GPL-2.0", records: entries.length, bad: [] },
    content: { digest: await putBlob(store, bytes), size: bytes.length },
  };
}

/** A farm with an old driver and a good one, whose sources have nothing new. */
async function openTestFarm(upcoming = true): Promise<Farm> {
  const place = await temporaryDirectory();
  for (const name of ["old", "good"]) {
    await mkdir(join(place, name));
    await writeFile(join(place, name, "Kbuild"), `obj-m := ${name}.o\n`);
  }
  const config = {
    drivers: ["old", "good"].map((name) => ({ name, source: name, versions: ["1.0.0"] })),
    sources: [
      { kind: "apt", releases: ["debian13"], suites: ["trixie", "trixie-security"] },
      { kind: "apt", releases: ["debian13"], suites: ["trixie-backports"], upcoming },
      { kind: "apt", releases: ["debiansid"], suites: ["sid", "experimental"], upcoming },
    ],
    ...{ jobs: 2, policy: "policy.yaml" },
  };
  await writeFile(join(place, "kmodfarm.yaml"), JSON.stringify(config));
  await writeFile(join(place, "policy.yaml"), "require: [load]\n");
  const opened = await openFarm(await loadConfig({}, place));
  const farm = { ...opened, signing: withTestKeys(keysOf(FARM)) };
  onTestFinished(() => farm.close());
  const known = KERNELS.flatMap((kernel) => changelogFacts(kernel, {}) ?? []);
  const state = nextState(NOTHING, makeCatalog(KERNELS, SOURCES), []);
  const feeds = [await changelogIn(farm.store)];
  await writePublished(farm.store, { ...state, facts: known, feeds }, new Date(0));
  const steps: Steps = {
    ...{ ...STEPS, ...effortless(farm) },
    askSources: async () => [],
    storeArtifact: STEPS.storeArtifact,
    buildElement: (element, ...rest) => {
      const isBroken = element.driver === "old" && element.kversion.startsWith("7.3");
      const module = craftModule(element.driver, { nameBytes: SYMBOL.length });
      return buildingOf(farm, module, isBroken ? FAILURE : undefined)(element, ...rest);
    },
    testLoad: async ({ driver }) => {
      const module = craftModule(driver, { nameBytes: SYMBOL.length });
      const of = [{ module: driver, sha256: sha256(module) }];
      return { verdict: { ...makeVerdict("load", "pass", "it loads"), of } };
    },
    fetchKernelRecord: async ({ kversion }) => {
      const lines = ["0x00000000\tprintk\tvmlinux\tEXPORT_SYMBOL\t"];
      if (!kversion.startsWith("7.3")) lines.push(`0x00000000\t${SYMBOL}\tvmlinux\tEXPORT_SYMBOL\t`);
      return { architecture: "x86_64", symvers: readSymvers(`${lines.join("\n")}\n`, "Module.symvers") };
    },
  };
  return { ...farm, steps };
}

test("says which kernel breaks which driver, by what, and where that kernel is by now", async () => {
  const farm = await openTestFarm();
  await runFarm(farm, WATCHED);

  const report = await forecast(farm, { ...WATCHED, by: "ann" });

  const results = report.kernels.map(({ kernel, supersededBy, drivers }) => [
    ...[kernel.split("/").at(-1)?.split("_")[0], supersededBy?.split("_").at(-1)],
    drivers.map(({ driver, result, api }) => [driver, result, ...api]),
  ]);
  expect(results).toEqual([
    [
      "7.2.13-amd64",
      undefined,
      [
        ["old", "loads"],
        ["good", "loads"],
      ],
    ],
    ["7.3-amd64", "7.3.4-1~bpo13+1", []],
    [
      "7.3.4-amd64",
      undefined,
      [
        ["old", "breaks", SYMBOL],
        ["good", "loads"],
      ],
    ],
  ]);
  const [broken, good] = report.kernels[2]?.drivers ?? [];
  expect(broken).toMatchObject({ why: FAILURE.cause, failure: { file: "old.c", lineNumber: 3 } });
  // What is gone breaks nobody whose source does without it.
  for (const one of [broken, good])
    expect(one?.symbols).toMatchObject({
      ...{ comparedWith: "debian13/x86_64/6.12.118+deb13-amd64_6.12.118-1", imports: 1, hasVersions: false },
      changed: [{ symbol: SYMBOL, kind: "missing" }],
    });
  expect(report.kernels[2]?.arrivals).toMatchObject([
    { place: "experimental", since: "2026-10-09", warning: 0 },
    { place: "sid", since: "2026-11-07", warning: 29 },
    { place: "debian13", kind: "unknown" },
    { place: "trixie-backports", kind: "there", since: "2026-11-15", warning: 37 },
  ]);
  expect(report.readiness).toMatchObject({ kernels: 0, unseen: 1 });
  expect(report.run.rows.map(({ standing }) => standing?.word)).not.toContain("stable");
});

test("takes what is superseded if it is asked to, and only what the command line names", async () => {
  const farm = await openTestFarm();

  const narrowed = { drivers: ["good"], distributions: ["debiansid"] };
  const report = await forecast(farm, { ...WATCHED, by: "ann", takesSuperseded: true, narrowed });

  expect(report.kernels.map(({ kernel, drivers }) => [kernel.split("_").at(-1), drivers.length])).toEqual([
    ["7.2.13-1", 1],
    ["7.3~rc7-1~exp1", 1],
  ]);
  expect(report.kernels[0]?.drivers[0]).not.toHaveProperty("symbols");
});

test("needs a source that is upcoming", async () => {
  const farm = await openTestFarm(false);

  await expect(forecast(farm, { ...WATCHED, by: "ann" })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    hint: expect.stringContaining("upcoming: true"),
  });
});
