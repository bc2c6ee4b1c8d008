import { describe, expect, test } from "vitest";
import { makeEntry, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel, makePackage } from "../../test/support/kernels.ts";
import { sha256 } from "../base/json.ts";
import type { CatalogKernel } from "../catalog/catalog.ts";
import { imageFacts } from "../kernel/facts.ts";
import { kernelName } from "../kernel/kernel.ts";
import { answerFrom, type NodeBlock } from "../provenance/node-index.ts";
import type { AttemptNote, Decision, Published } from "./documents.ts";
import { nodeIndices, unsizedBlobs } from "./node-index.ts";
import { nextState } from "./publish.ts";
import { loadsOnOf, withReuse } from "./reuse.ts";

const DEBIAN = makeKernel();
const SAID = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)";
const sizeOf = () => 7;

function elementOf(
  { kversion, distribution, architecture, packageVersion, packages }: CatalogKernel,
  driverversion = "0.1.1",
) {
  return makeElement({ kversion, distribution, architecture, packageVersion, packages, driverversion });
}

function stateOf(
  kernels: readonly CatalogKernel[],
  changes: Parameters<typeof makeOutcome>[1] = {},
): Published {
  const outcomes = kernels.map((kernel) => {
    const element = elementOf(kernel);
    return makeOutcome(element, {
      artifact: { entry: makeEntry(element, kernelName(kernel)), isStable: true },
      ...changes,
    });
  });
  const facts = kernels.flatMap((kernel) => imageFacts(kernel, { version: saidBy(kernel) }) ?? []);
  return nextState(NOTHING, makeCatalog([...kernels]), outcomes, { facts });
}

const saidBy = ({ distribution }: CatalogKernel) =>
  distribution.startsWith("debian") ? SAID : `#1 SMP ${distribution}`;

function onlyBlock(state: Published): NodeBlock {
  const [index] = nodeIndices(state, sizeOf);
  expect(index?.blocks).toHaveLength(1);
  return index?.blocks[0] as NodeBlock;
}

function decisionOf(state: Published, changes: Partial<Decision>): Decision {
  const { driver, output, recipe } = state.indices[0]?.stable[0] ?? makeEntry(makeElement());
  return {
    ...{ at: "2026-11-28T00:00:00.000Z", action: "withdraw", artifact: { driver, output, recipe } },
    ...{ by: "ann", why: "CVE-2026-1234", verdicts: [] },
    ...changes,
  };
}

describe("what nodes are told", () => {
  test("sizes stand in the index; only those that an earlier version did not write are asked for", () => {
    const stripped = sha256("stripped");
    const plain = makeEntry(makeElement());
    const older = { ...plain, modules: plain.modules.map((one) => ({ ...one, stripped })) };
    const newer = {
      ...older,
      ...{ manifestSize: 9, modules: older.modules.map((one) => ({ ...one, strippedSize: 5 })) },
    };
    const stateWith = (entry: typeof plain) => stateOf([DEBIAN], { artifact: { entry, isStable: true } });
    const told = (entry: typeof plain) =>
      nodeIndices(stateWith(entry), () => undefined)[0]?.blocks[0]?.answer;

    expect(unsizedBlobs(stateWith(newer))).toEqual(new Set());
    expect(told(newer)).toMatchObject({
      artifact: { manifest: { size: 9 }, modules: [{ digest: stripped, size: 5 }] },
    });
    expect(unsizedBlobs(stateWith(older))).toEqual(new Set([plain.manifest, stripped]));
    expect(told(older)?.kind).toBe("withheld");
  });

  test("a stable artifact: its modules, with the size of what a node inserts", () => {
    const state = stateOf([DEBIAN]);

    expect(onlyBlock(state)).toMatchObject({
      ...{ release: DEBIAN.kversion, distribution: "debian12", packageVersion: "6.1.170-3", denied: [] },
      uname: { kind: "uname", text: SAID },
      answer: {
        kind: "exact",
        artifact: {
          version: "0.1.1",
          manifest: { size: 7 },
          modules: [
            { file: "doorbell.ko", size: 10, digest: state.indices[0]?.stable[0]?.modules[0]?.digest },
          ],
        },
      },
    });
  });

  test("without a boot image, what the distribution writes of the package version into uname -v", () => {
    const ubuntu = makeKernel({ distribution: "ubuntu2204", packageVersion: "5.15.0-26.26~22.04.1" });
    const wordsOf = (kernel: CatalogKernel) => onlyBlock({ ...stateOf([kernel]), facts: [] }).uname;

    expect(wordsOf(DEBIAN)).toEqual({ kind: "unameword", text: "Debian 6.1.170-3" });
    expect(wordsOf(ubuntu)).toEqual({ kind: "unameword", text: "#26~22.04.1-Ubuntu" });
    expect(wordsOf(makeKernel({ distribution: "rocky9" }))).toBeUndefined();
  });

  test("rebuilds of one release are told apart by uname -v", () => {
    const kernels = ["almalinux9", "rocky9"].map((distribution) =>
      makeKernel({ distribution, kversion: "5.14.0-503.el9.x86_64", packageVersion: "5.14.0-503.el9" }),
    );
    const [index] = nodeIndices(stateOf(kernels), sizeOf);
    const ask = (version: string) =>
      answerFrom(index?.blocks ?? [], {
        driver: "doorbell",
        machine: "x86_64",
        release: "5.14.0-503.el9.x86_64",
        version,
      });

    expect(ask("#1 SMP rocky9")).toMatchObject({ kind: "found", block: { distribution: "rocky9" } });
    expect(ask("#1 SMP almalinux9")).toMatchObject({ kind: "found", block: { distribution: "almalinux9" } });
    expect(ask("#1 SMP rhel9")).toMatchObject({ kind: "neverSeen" });
  });

  test("a kernel that several releases publish alike has one block; one that only says the same is ambiguous", () => {
    const alike = makeKernel({ distribution: "debiansid" });
    const headers = [makePackage({ name: "other-headers" })];
    const other = makeKernel({ distribution: "debiansid", packages: { ...DEBIAN.packages, headers } });
    const ask = (kernels: readonly CatalogKernel[]) =>
      answerFrom(nodeIndices(stateOf(kernels), sizeOf)[0]?.blocks ?? [], {
        ...{ driver: "doorbell", machine: "x86_64", release: DEBIAN.kversion, version: SAID },
      });

    expect(ask([DEBIAN, alike])).toMatchObject({ kind: "found", block: { answer: { kind: "exact" } } });
    expect(ask([DEBIAN, other])).toMatchObject({ kind: "ambiguous" });
  });

  describe("of a kernel that only a list names", () => {
    const strange = (changes: Partial<CatalogKernel> = {}) =>
      makeKernel({ distribution: "debian99", sources: ["strangers"], ...changes });
    const answered = (state: Published, version = SAID) => {
      const [{ blocks, claims } = { blocks: [], claims: [] }] = nodeIndices(state, sizeOf);
      const question = { driver: "doorbell", machine: "x86_64", release: DEBIAN.kversion, version };
      const found = answerFrom([...blocks, ...claims], question);
      return found.kind === "found" ? found.block.distribution : found.kind;
    };
    const withImage = (state: Published, kernel: CatalogKernel, version: string): Published => ({
      ...state,
      facts: [imageFacts(kernel, { version }) ?? []].flat(),
    });

    test("its words do not stand beside the same words of one that is vouched for", () => {
      const state = { ...stateOf([DEBIAN, strange()]), facts: [] };
      const other = strange({ packageVersion: "6.6.6-1" });
      const both = stateOf([DEBIAN, other]);

      expect(answered(state)).toBe("debian12");
      expect(answered(withImage(both, other, SAID))).toBe("debian12");
      expect(answered(withImage(both, other, "#1 SMP other"))).toBe("debian12");
      expect(answered(withImage(both, other, "#1 SMP other"), "#1 SMP other")).toBe("debian99");
      // The catalog's word counts before the driver has an answer.
      const alone = { ...stateOf([strange()]), catalog: makeCatalog([DEBIAN, strange()]), facts: [] };
      expect(answered(alone)).toBe("neverSeen");
    });

    test("what passes the check provenance is worth more than what nobody says anything of", () => {
      const headers = [makePackage({ name: "other-headers", source: "strangers" })];
      const other = strange({ distribution: "debian98", packages: { ...DEBIAN.packages, headers } });
      const state = { ...stateOf([strange(), other]), facts: [] };
      const indices = state.indices.map((index) => ({
        ...index,
        stable: index.stable.map((entry) =>
          index.distribution === "debian99" ? { ...entry, verdicts: { provenance: "pass" as const } } : entry,
        ),
      }));

      expect(answered(state)).toBe("ambiguous");
      expect(answered({ ...state, indices })).toBe("debian99");
    });

    test("a boot image that nobody vouches for does not speak for a kernel that is vouched for", () => {
      const image = [makePackage({ name: "linux-image", source: "strangers" })];
      const half = makeKernel({ packages: { ...DEBIAN.packages, image } });
      const state = withImage(stateOf([half]), half, "#1 SMP another kernel");

      expect(onlyBlock(state).uname).toEqual({ kind: "unameword", text: "Debian 6.1.170-3" });
    });

    test("it is a claim, the best first, unless something of it is denied", () => {
      const state = stateOf([DEBIAN, strange(), strange({ packageVersion: "1" })]);
      const name = kernelName(strange());
      const denied = { modules: [sha256("m")], kernels: [name] };
      const [index] = nodeIndices({ ...state, decisions: [decisionOf(state, { denied })] }, sizeOf);

      expect(index?.blocks.map(({ distribution }) => distribution)).toEqual(["debian12", "debian99"]);
      expect(index?.claims.map(({ packageVersion }) => packageVersion)).toEqual(["1"]);
    });
  });

  test("what is denied of one build is given to no other of its release", () => {
    const other = makeKernel({ packageVersion: "6.1.170-4" });
    const state = stateOf([DEBIAN, other]);
    const module = state.indices[0]?.stable.find((one) => one.packageVersion === "6.1.170-4")?.modules[0]
      ?.digest;
    const denied = { modules: [module ?? sha256("")], kernels: [kernelName(DEBIAN)] };
    const [index] = nodeIndices({ ...state, decisions: [decisionOf(state, { denied })] }, sizeOf);

    expect(index?.blocks.map(({ packageVersion, answer }) => [packageVersion, answer.kind])).toEqual([
      ["6.1.170-3", "exact"],
      ["6.1.170-4", "withheld"],
    ]);
  });

  test("why there is nothing", () => {
    const failed = (failure: Partial<NonNullable<AttemptNote["failure"]>>) => {
      const { note } = makeOutcome(elementOf(DEBIAN));
      const all = {
        code: "BUILD_FAILED" as const,
        blame: "source",
        cause: "API",
        line: "too\nfew arguments",
        ...failure,
      };
      const state = nextState(NOTHING, makeCatalog([DEBIAN]), [
        { element: elementOf(DEBIAN), note: { ...note, failure: all }, isSettled: true },
      ]);
      return onlyBlock(state).answer;
    };

    expect(failed({})).toEqual({ kind: "failed", why: "too few arguments" });
    expect(failed({ code: "KERNEL_EXCLUDED", blame: "input", line: "no doors" })).toEqual({
      kind: "excluded",
      why: "no doors",
    });
    expect(failed({ code: "REMOTE_UNAVAILABLE", blame: "remote" })).toEqual({ kind: "building" });
    const element = elementOf(DEBIAN);
    const waiting = stateOf([DEBIAN], {
      artifact: { entry: { ...makeEntry(element), reasons: ["load: fail"] }, isStable: false },
    });
    expect(onlyBlock(waiting).answer).toEqual({ kind: "withheld", why: "load: fail" });
  });

  test("of several versions the newest that is stable", () => {
    const versions = ["0.1.9", "0.2.0", "0.1.10"].map((version) => elementOf(DEBIAN, version));
    const state = nextState(
      NOTHING,
      makeCatalog([DEBIAN]),
      versions.map((element) =>
        makeOutcome(element, {
          artifact: {
            entry: makeEntry(element, element.driverversion),
            isStable: element.driverversion !== "0.2.0",
          },
        }),
      ),
    );

    expect(onlyBlock(state).answer).toMatchObject({ kind: "exact", artifact: { version: "0.1.10" } });
  });

  test("modules for another kernel, and which kernel that is", () => {
    const [own, other] = ["5.14.0-503.el9.x86_64", "5.14.0-504.el9.x86_64"].map((kversion) =>
      makeKernel({ distribution: "rocky9", kversion, packageVersion: kversion }),
    ) as [CatalogKernel, CatalogKernel];
    const state = { ...stateOf([own]), catalog: makeCatalog([own, other]) };
    const [index] = state.indices;
    const [entry] = index?.stable ?? [];
    if (index === undefined || entry === undefined) throw new Error("nothing is stable");
    const indices = withReuse(state.indices, other, loadsOnOf({ index, entry }, other));

    const answers = nodeIndices({ ...state, indices }, sizeOf)[0]?.blocks.map(({ release, answer }) => [
      release,
      answer.kind,
    ]);

    expect(answers).toEqual([
      [own.kversion, "exact"],
      [other.kversion, "loadsOn"],
    ]);
    expect(nodeIndices({ ...state, indices }, sizeOf)[0]?.blocks[1]?.answer).toMatchObject({
      builtFor: kernelName(own),
    });
  });

  test("nothing is promised that is not there", () => {
    const [index] = nodeIndices(stateOf([DEBIAN]), () => undefined);

    expect(index?.blocks[0]?.answer).toEqual({
      kind: "withheld",
      why: "its files are not all in the registry",
    });
  });

  test("a denied module stays denied where it was given, until it is promoted again", () => {
    const state = stateOf([DEBIAN]);
    const module = sha256(`module ${kernelName(DEBIAN)}`);
    const denied = { modules: [module], kernels: [kernelName(DEBIAN)] };
    const decisions = [decisionOf(state, { denied })];
    const gone = { ...state, indices: [], attempts: [], decisions };

    expect(onlyBlock({ ...state, decisions })).toMatchObject({
      answer: { kind: "withheld", why: "CVE-2026-1234" },
      denied: [{ module, why: "CVE-2026-1234" }],
    });
    expect(onlyBlock(gone).denied).toEqual([{ module, why: "CVE-2026-1234" }]);
    const again = [...decisions, decisionOf(state, { action: "promote" })];
    expect(onlyBlock({ ...state, decisions: again })).toMatchObject({
      answer: { kind: "exact" },
      denied: [],
    });
  });

  test("below the floor nothing is given", () => {
    const state = stateOf([DEBIAN]);
    const withFloor = (floor: string) => ({
      ...state,
      decisions: [decisionOf(state, { action: "floor", floor })],
    });

    expect(nodeIndices(withFloor("0.1.1"), sizeOf)).toMatchObject([
      { floor: "0.1.1", blocks: [{ answer: { kind: "exact" } }] },
    ]);
    expect(onlyBlock(withFloor("0.1.2")).answer).toMatchObject({ kind: "withheld" });
  });

  test("the other machine has an index of its own, and words that cannot be written are left out", () => {
    const arm = makeKernel({ architecture: "aarch64" });
    const odd = makeKernel({ packageVersion: "6.1 with a blank" });
    const state = stateOf([DEBIAN, arm]);

    expect(nodeIndices(state, sizeOf).map(({ driver, machine }) => [driver, machine])).toEqual([
      ["doorbell", "aarch64"],
      ["doorbell", "x86_64"],
    ]);
    const element = makeElement();
    const stray = nextState(NOTHING, makeCatalog([odd]), [
      makeOutcome(
        { ...element, packageVersion: odd.packageVersion },
        {
          artifact: { entry: { ...makeEntry(element), packageVersion: odd.packageVersion }, isStable: true },
        },
      ),
    ]);
    expect(nodeIndices(stray, sizeOf)).toEqual([]);
  });
});
