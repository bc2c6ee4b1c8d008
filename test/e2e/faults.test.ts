/**
 * What goes wrong on mirrors and in drivers: one clear error, and everything else as it was.
 */
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  ALL_DONE,
  CLOUD,
  type CliResult,
  copyDriver,
  DOORBELL,
  leftovers,
  readGeneration,
  readIndices,
  readStable,
  type SharedElement,
  sharedElement,
  stableContent,
  type TestFarm,
  treeDigests,
  useFarms,
} from "../support/e2e-farm.ts";
import type { Fault, TestMirror } from "../support/e2e-mirror.ts";

const farms = useFarms();
let mirror: TestMirror;
let amd: SharedElement;
let arm: SharedElement;

beforeAll(async () => {
  mirror = await farms.mirror();
  [amd, arm] = [await sharedElement("x86_64"), await sharedElement("aarch64")];
});

afterEach(() => mirror.behave());

describe("a package that is not what the index promised", () => {
  type Case = [Fault["kind"], number, RegExp];
  const cases: Case[] = [
    [
      "flipped",
      4,
      /_arm64\.deb: its sha256 is not [0-9a-f]{64}, as the index says[\s\S]*\[DIGEST_MISMATCH\]/,
    ],
  ];
  const moreCases: Case[] = [
    ["cut", 3, /_arm64\.deb: [^\n]+[\s\S]*\[REMOTE_UNAVAILABLE\]/],
    ["short", 4, /_arm64\.deb ended after \d+ of \d+ bytes[\s\S]*\[DIGEST_MISMATCH\]/],
    ["longer", 4, /_arm64\.deb: longer than the \d+ bytes of the index[\s\S]*\[DIGEST_MISMATCH\]/],
    ["broken", 3, /_arm64\.deb answers with status 500[\s\S]*\[REMOTE_UNAVAILABLE\]/],
  ];

  const WORDS = "headers that come %s: exit %i, the other architecture is published";
  const isSeen = async (...[kind, exit, fact]: Case) => {
    const farm = await farmWithout("aarch64", "headers");
    mirror.misbehave({ match: nameOf(arm.packages.headers[0]), kind });

    const result = await farm.cli("run");

    expect(mirror.misdeeds).toBeGreaterThan(0);
    expect(result.exitCode).toBe(exit);
    expectOneError(result, `doorbell 0.1.0 debian12/aarch64/${arm.kversion}: `, fact);
    expect(await stableArchitectures(farm)).toEqual(["x86_64"]);
    expect(await candidateReasons(farm)).toEqual([]);
    expect(await leftovers(farm)).toEqual([]);
  };

  it.each(cases)(WORDS, isSeen);
  it.each(moreCases)(WORDS, { tags: ["wide"] }, isSeen);

  it("is fetched again, and built, when the mirror has recovered", { tags: ["wide"] }, async () => {
    const farm = await farmWithout("aarch64", "headers");
    mirror.misbehave({ match: nameOf(arm.packages.headers[0]), kind: "flipped" });
    expect((await farm.cli("run")).exitCode).toBe(4);
    mirror.behave();

    const { exitCode, stdout } = await farm.cli("run");

    expect(stdout).toMatch(/2 stable, 0 candidates, 0 failed, 1 of them new/);
    expect(exitCode).toBe(0);
    expect(await stableArchitectures(farm)).toEqual(["aarch64", "x86_64"]);
  });

  it("a boot image with a wrong byte is no boot image: exit 4", async () => {
    const farm = await farmWithout("aarch64", "image", ["attempts", "loads"]);
    mirror.misbehave({ match: nameOf(arm.packages.image[0]), kind: "flipped" });

    const result = await farm.cli("run");

    expect(result.exitCode).toBe(4);
    expectOneError(
      result,
      `doorbell 0.1.0 debian12/aarch64/${arm.kversion}: `,
      /linux-image[\s\S]*\[DIGEST_MISMATCH\]/,
    );
    expect(await stableArchitectures(farm)).toEqual(["x86_64"]);
    expect(await leftovers(farm)).toEqual([]);
  });
});

describe("a package that the index lists and the mirror lacks", () => {
  it("headers: the kernel is remembered as not fetchable, and the next newest one is built", async () => {
    const farm = await farmWithout("aarch64", "headers");
    mirror.misbehave({ match: nameOf(arm.packages.headers[0]), kind: "missing" });

    const { exitCode, stdout } = await farm.cli("run");

    expect(mirror.misdeeds).toBe(1);
    expect(stdout).toMatch(/2 stable, 0 candidates, 0 failed.* 1 of them is listed but not on its mirror/);
    expect(exitCode).toBe(0);
    const [older] = (await readStable(farm.store)).filter(({ architecture }) => architecture === "aarch64");
    expect(older?.kversion).toMatch(/-cloud-arm64$/);
    expect(older?.kversion).not.toBe(arm.kversion);
    expect(await factsOf(farm, arm)).toMatchObject({ notFetchableSince: expect.any(String) });

    // Not asked for again …
    mirror.behave();
    expect((await farm.cli("run")).stdout).toMatch(/2 stable, .* 0 of them new/);
    expect(await factsOf(farm, arm)).toMatchObject({ notFetchableSince: expect.any(String) });
    // … but for --retry.
    expect((await farm.cli("run", "--retry")).exitCode).toBe(0);
    expect(await factsOf(farm, arm)).not.toHaveProperty("notFetchableSince");
    expect((await readStable(farm.store)).map(({ kversion }) => kversion)).toContain(arm.kversion);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("a boot image: what its modules did is remembered, and nobody asks for it", async () => {
    const farm = await farmWithout("aarch64", "image", ["attempts"]);
    mirror.misbehave({ match: nameOf(arm.packages.image[0]), kind: "missing" });

    const { stdout } = await farm.cli("run");

    expect(stdout).toMatch(/2 stable, 0 candidates, 0 failed/);
    expect(mirror.misdeeds).toBe(0);
  });

  it("a boot image: the modules stay a candidate, remembered as not loadable, exit 0", {
    tags: ["wide"],
  }, async () => {
    const farm = await farmWithout("aarch64", "image", ["attempts", "loads"]);
    mirror.misbehave({ match: nameOf(arm.packages.image[0]), kind: "missing" });

    const result = await farm.cli("run");

    expect(mirror.misdeeds).toBe(1);
    expect(result.exitCode).toBe(0);
    const fact =
      /linux-image[^\n]+ is listed in the mirror's index, but the mirror does not have it[\s\S]*--retry/;
    expectOneError(result, `doorbell 0.1.0 debian12/aarch64/${arm.kversion}: `, fact);
    expect(await stableArchitectures(farm)).toEqual(["x86_64"]);
    expect(await candidateReasons(farm)).toEqual([expect.stringMatching(/^load: unknown: .*linux-image/)]);
    expect(await factsOf(farm, arm)).toMatchObject({ notLoadableSince: expect.any(String) });

    const before = await treeDigests(farm.store);
    mirror.forget();
    expect((await farm.cli("run")).exitCode).toBe(0);
    expect(mirror.asked.filter(({ path }) => path.includes("linux-image"))).toEqual([]);
    expect(await treeDigests(farm.store)).toEqual(before);

    mirror.behave();
    expect((await farm.cli("run", "--retry")).stdout).toMatch(/2 stable, 0 candidates/);
    expect(await candidateReasons(farm)).toEqual([]);
    expect(await leftovers(farm)).toEqual([]);
  });
});

describe("a mirror that goes away", () => {
  it("half-way through a run: what was finished is published, the rest fails and is done the next time", async () => {
    const farm = await farmWithout("aarch64", "headers");
    // Four suites, and then the first of the packages.
    mirror.leaveAfter(4);

    const result = await farm.cli("run");

    expect(mirror.misdeeds).toBeGreaterThan(0);
    expect(result.exitCode).toBe(3);
    expectOneError(
      result,
      `doorbell 0.1.0 debian12/aarch64/${arm.kversion}: `,
      /http[^\n]+[\s\S]*\[REMOTE_UNAVAILABLE\]/,
    );
    expect(await stableArchitectures(farm)).toEqual(["x86_64"]);
    expect(await leftovers(farm)).toEqual([]);

    mirror.behave();
    expect((await farm.cli("run")).exitCode).toBe(0);
    expect(await stableArchitectures(farm)).toEqual(["aarch64", "x86_64"]);
  });

  it("before a run: exit 3, every source named, every kernel and artifact kept", async () => {
    const farm = await finishedFarm();
    const before = await unchanging(farm);
    const kernels = await kernelNames(farm);
    mirror.leaveAfter(0);

    const { exitCode, stdout } = await farm.cli("run");

    expect(exitCode).toBe(3);
    expect(stdout.match(/^debian\/bookworm[a-z-]*: failed: http/gm)).toHaveLength(4);
    expect(stdout).toMatch(
      /2 stable, .* 0 of them new; 78 kernels known|2 stable, .* 0 of them new; \d+ kernels known/,
    );
    await expectKept(farm, before);
    expect(await kernelNames(farm)).toEqual(kernels);
  });

  it("slowly: nothing but patience is needed", { tags: ["wide"] }, async () => {
    const farm = await farmWithout("aarch64", "headers");
    mirror.misbehave({ match: nameOf(arm.packages.headers[0]), kind: "slow" });

    const { exitCode } = await farm.cli("run");

    expect(mirror.misdeeds).toBe(1);
    expect(exitCode).toBe(0);
    expect(await stableArchitectures(farm)).toEqual(["aarch64", "x86_64"]);
  });
});

describe("metadata that is not what its owner signed", () => {
  const isRefused = async (suite: string) => {
    const farm = await finishedFarm();
    const before = await unchanging(farm);
    const kernels = await kernelNames(farm);
    // Who asks without a memory gets the whole file.
    await rm(join(farm.cache, "remembered"), { recursive: true });
    mirror.misbehave({ match: new RegExp(`/dists/${suite}/InRelease$`), kind: "flipped" });

    const run = await farm.cli("run");
    const update = await farm.cli("catalog", "update");

    for (const { exitCode } of [run, update]) expect(exitCode).toBe(4);
    const fact = /no key of \S+ signed its InRelease \(gpgv: [^\n]+\)[\s\S]*\[SIGNATURE_INVALID\]/;
    expectOneError(run, `debian/${suite}: failed: `, fact);
    expect(update.stderr).toMatch(/every kernel known before was kept[\s\S]*\[SIGNATURE_INVALID\]/);
    await expectKept(farm, before);
    expect(await kernelNames(farm)).toEqual(kernels);
    expect(await leftovers(farm)).toEqual([]);

    // The bad copy had the good one's ETag: it must not be taken for it.
    mirror.behave();
    expect((await farm.cli("run")).exitCode).toBe(0);
    await expectKept(farm, before);
  };

  const INRELEASE = "InRelease of %s: exit 4, everything is kept";
  it.each(["bookworm-security"])(INRELEASE, isRefused);
  it.each(["bookworm"])(INRELEASE, { tags: ["wide"] }, isRefused);

  it("a package index: exit 4, everything is kept", { tags: ["wide"] }, async () => {
    const farm = await finishedFarm();
    const before = await unchanging(farm);
    const kernels = await kernelNames(farm);
    await rm(join(farm.cache, "indices"), { recursive: true });
    mirror.misbehave({ match: /bookworm-security\/main\/binary-arm64\/Packages/, kind: "flipped" });

    const run = await farm.cli("run");
    const update = await farm.cli("catalog", "update");

    expect(mirror.misdeeds).toBeGreaterThan(0);
    for (const { exitCode } of [run, update]) expect(exitCode).toBe(4);
    const fact =
      /binary-arm64\/Packages\.xz: its sha256 is not [0-9a-f]+, as the index says[\s\S]*\[DIGEST_MISMATCH\]/;
    expectOneError(run, "debian/bookworm-security: failed: ", fact);
    await expectKept(farm, before);
    expect(await kernelNames(farm)).toEqual(kernels);
    expect(await leftovers(farm)).toEqual([]);
  });
});

describe("a bad driver beside a good one", () => {
  let farm: TestFarm;
  let tally: string;
  let source: string;
  /** The log of the build that failed. */
  let kept = "";
  /** A place is short where people read it: relative to where they are. */
  const logIn = (text: string) => {
    const [, path] = /log: (\S+\/blobs\/\S+)/.exec(text) ?? [];
    return path === undefined ? "" : resolve(farm.directory, path);
  };
  /** What tells a file of the cache from one that was made again. */
  const made = async (room: "attempts" | "loads", file: string) => {
    const names = await readdir(join(farm.cache, room));
    const files = names.map((name) => stat(join(farm.cache, room, name, file)).catch(() => undefined));
    return (await Promise.all(files)).map((one) => `${one?.ino} ${one?.mtimeMs}`).toSorted();
  };

  beforeAll(async () => {
    farm = await farms.farm({
      mirror,
      warm: ALL_DONE,
      drivers: [DOORBELL, { ...DOORBELL, name: "broken", source: "broken", versions: ["1.0.0"] }],
      select: { ...CLOUD, architectures: ["x86_64"] },
    });
    await copyDriver(join(farm.directory, "broken"));
    tally = join(farm.directory, "broken", "tally.c");
    source = await readFile(tally, "utf8");
  });

  it("that does not compile: exit 1 with cause, guilty line and log, and the good one is published", async () => {
    await writeFile(tally, replaced(source, "atomic64_add_return(", "atomic64_ad_return("));

    const result = await farm.cli("run");

    expect(result.exitCode).toBe(1);
    const fact =
      /this kernel has no atomic64_ad_return, but it has atomic64_add_return[\s\S]*tally\.c:14:\d+: error: implicit declaration[\s\S]*log: [\s\S]*\[BUILD_FAILED\]/;
    expectOneError(result, `broken 1.0.0 debian12/x86_64/${amd.kversion}: `, fact);
    kept = logIn(result.stdout);
    expect(await readFile(kept, "utf8")).toMatch(/implicit declaration of function .atomic64_ad_return/);
    expect(await stableDrivers(farm)).toEqual(["doorbell"]);
    expect(await candidateReasons(farm)).toEqual([]);
  });

  it("is not tried again, but with --retry it is", { tags: ["wide"] }, async () => {
    const before = await treeDigests(farm.store);
    const first = await made("attempts", "build.log");

    const again = await farm.cli("run");

    const file = logIn(again.stdout);
    expect(file).toBe(kept);
    expect(again.exitCode).toBe(1);
    expect(again.stdout).toMatch(/1 stable, 0 candidates, 1 failed, 0 of them new/);
    expect(again.stdout).toMatch(/not tried again until something changes, or --retry/);
    expect(await treeDigests(farm.store)).toEqual(before);
    expect(await made("attempts", "build.log")).toEqual(first);

    const retried = await farm.cli("run", "--retry");

    expect(retried.exitCode).toBe(1);
    expect(retried.stdout).toMatch(/1 stable, 0 candidates, 1 failed, 1 of them new/);
    expect(await made("attempts", "build.log")).not.toEqual(first);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("that refuses to start: a candidate with the reason, exit 1", async () => {
    await writeFile(tally, replaced(source, "\treturn 0;\n", "\treturn -EINVAL;\n"));

    const result = await farm.cli("run");

    expect(result.exitCode).toBe(1);
    const fact = /tally is refused: [^\n]*Invalid (?:argument|parameters)[\s\S]*log: [\s\S]*\[LOAD_FAILED\]/;
    expectOneError(result, `broken 1.0.0 debian12/x86_64/${amd.kversion}: `, fact);
    expect(await stableDrivers(farm)).toEqual(["doorbell"]);
    expect(await candidateReasons(farm)).toEqual([expect.stringMatching(/^load: fail: tally is refused/)]);
    expect(await readFile(logIn(result.stdout), "utf8")).toContain("counting from zero");
  });

  it("that breaks the kernel: a candidate with the kernel's own words, exit 1; loaded again by --retry only", {
    tags: ["wide"],
  }, async () => {
    await writeFile(tally, replaced(source, "\treturn 0;\n", "\t*(volatile int *)8 = 1;\n\treturn 0;\n"));

    const result = await farm.cli("run");
    const first = await made("loads", "load.json");
    const again = await farm.cli("run");
    expect(await made("loads", "load.json")).toEqual(first);
    const retried = await farm.cli("run", "--retry");
    expect(await made("loads", "load.json")).not.toEqual(first);

    for (const { exitCode } of [result, again, retried]) expect(exitCode).toBe(1);
    const fact = /the kernel oopsed: loading tally; BUG: [^\n]*NULL pointer[\s\S]*\[LOAD_FAILED\]/;
    expectOneError(result, `broken 1.0.0 debian12/x86_64/${amd.kversion}: `, fact);
    expect(again.stdout).toMatch(/1 stable, 1 candidate, 0 failed, 0 of them new/);
    expect(retried.stdout).toMatch(/1 stable, 1 candidate, 0 failed, 1 of them new/);
    expect(await stableDrivers(farm)).toEqual(["doorbell"]);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("lacks a module that it should give: exit 1, named", { tags: ["wide"] }, async () => {
    await writeFile(tally, source);
    await farm.configure({
      drivers: [
        DOORBELL,
        { ...DOORBELL, name: "broken", source: "broken", versions: ["1.0.0"], modules: ["tally", "gong"] },
      ],
    });

    const result = await farm.cli("run");

    expect(result.exitCode).toBe(1);
    expectOneError(
      result,
      `broken 1.0.0 debian12/x86_64/${amd.kversion}: `,
      /the build succeeded but produced .*gong\.ko[\s\S]*\[MODULE_MISSING\]/,
    );
    expect(await stableDrivers(farm)).toEqual(["doorbell"]);
  });
});

/** A farm where all is done and cached but one architecture, whose package is not there. */
async function farmWithout(
  architecture: "aarch64",
  kind: "headers" | "image",
  without: readonly string[] = [],
): Promise<TestFarm> {
  const warm = ALL_DONE.filter((one) => kind === "headers" || one !== "loads" || !without.includes("loads"));
  const farm = await farms.farm({ mirror, warm });
  if (!without.includes("attempts")) await farm.unbuild(architecture);
  await farm.lose(arm.packages[kind][0]);
  mirror.forget();
  return farm;
}

let finished: Promise<TestFarm> | undefined;

/** A farm that has published everything: a copy of the one that did. */
async function finishedFarm(): Promise<TestFarm> {
  finished ??= (async () => {
    const first = await farms.farm({ mirror, warm: ALL_DONE });
    expect((await first.cli("run")).exitCode).toBe(0);
    return first;
  })();
  const farm = await farms.copyOf(await finished);
  mirror.forget();
  return farm;
}

/** Where readers begin: it follows the newest generation. */
const MOVES = /^(channels\/|metadata\/(head|log\/checkpoint)$)/;

/** What no failure may touch: blobs, the view, generations that are there, and what is stable. */
async function unchanging(farm: TestFarm) {
  const files = [...(await treeDigests(farm.store))].filter(([path]) => !MOVES.test(path));
  expect(files.length).toBeGreaterThan(10);
  return { files, stable: await stableContent(farm.store) };
}

async function expectKept(farm: TestFarm, before: Awaited<ReturnType<typeof unchanging>>): Promise<void> {
  const now = await treeDigests(farm.store);
  expect(before.files.filter(([path, digest]) => now.get(path) !== digest)).toEqual([]);
  const known = new Set(before.files.map(([path]) => path));
  const added = [...now.keys()].filter((path) => !known.has(path) && !MOVES.test(path));
  // Parts of generations and logs are among the blobs; each generation has a head, and a place in the log.
  expect(added.filter((path) => !/^(generations|blobs|metadata)\//.test(path))).toEqual([]);
  expect(await stableContent(farm.store)).toEqual(before.stable);
}

/** One error in the report: it begins with the thing, tells the fact, and ends with the next step and its code. */
function expectOneError({ stdout }: CliResult, thing: string, fact: RegExp): void {
  const blocks = stdout.split(/^(?=\S)/m).filter((block) => block.startsWith(thing));
  expect(blocks, stdout).toHaveLength(1);
  expect(blocks[0]).toMatch(fact);
  const others = stdout.split(/^(?=\S)/m).filter((block) => /\[[A-Z_]+\]$/m.test(block));
  expect(others.length, stdout).toBeLessThanOrEqual(1);
}

function nameOf({ path }: { path: string }): RegExp {
  const file = path.split("/").at(-1) ?? "";
  return new RegExp(`${file.replace(/[.+*?^$()[\]{}|\\]/g, "\\$&")}$`);
}

function replaced(text: string, before: string, after: string): string {
  if (!text.includes(before)) throw new Error(`the driver no longer says ${before}`);
  return text.replace(before, after);
}

async function stableArchitectures(farm: TestFarm): Promise<string[]> {
  return (await readStable(farm.store)).map(({ architecture }) => architecture).sort();
}

async function stableDrivers(farm: TestFarm): Promise<string[]> {
  return (await readStable(farm.store)).map(({ driver }) => driver);
}

async function candidateReasons(farm: TestFarm): Promise<string[]> {
  const indices = await readIndices(farm.store);
  return indices.flatMap(({ candidate }) => candidate.map(({ reasons }) => (reasons ?? []).join("\n")));
}

interface ListedKernel {
  readonly distribution: string;
  readonly kversion: string;
  readonly packageVersion: string;
}

async function kernelsOf(farm: TestFarm): Promise<ListedKernel[]> {
  const parts = [...(await readGeneration(farm.store))].filter(([name]) => name.startsWith("kernels/"));
  return parts.flatMap(([, text]) => (JSON.parse(text) as { kernels: ListedKernel[] }).kernels);
}

/** What people are told of a kernel: what sources say, and what was learned. */
async function factsOf(farm: TestFarm, wanted: SharedElement): Promise<ListedKernel | undefined> {
  const { stdout } = await farm.inProcess("catalog", "list", "--json");
  return (JSON.parse(stdout) as { kernels: ListedKernel[] }).kernels.find(
    ({ kversion, packageVersion }) =>
      kversion === wanted.kversion && packageVersion === wanted.packageVersion,
  );
}

async function kernelNames(farm: TestFarm): Promise<string[]> {
  const kernels = await kernelsOf(farm);
  expect(kernels.length).toBeGreaterThan(10);
  return kernels.map(({ distribution, kversion, packageVersion }) =>
    [distribution, kversion, packageVersion].join("/"),
  );
}
