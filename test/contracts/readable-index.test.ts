/** Whatever a farm knows, claims and denies: what it writes for nodes both readers read, the farm's and the shell's. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FarmError } from "../../src/base/error.ts";
import { sha256 } from "../../src/base/json.ts";
import { imageFacts } from "../../src/kernel/facts.ts";
import { kernelName } from "../../src/kernel/kernel.ts";
import { readLeaf } from "../../src/provenance/node-index.ts";
import { writeIndex } from "../../src/provenance/write-node-index.ts";
import {
  type AttemptNote,
  type Decision,
  emptyIndex,
  type Index,
  type Published,
} from "../../src/registry/documents.ts";
import { nodeIndices } from "../../src/registry/node-index.ts";
import { makeEntry, makeOutcome, NOTHING } from "../support/artifacts.ts";
import { makeElement } from "../support/elements.ts";
import { makeCatalog, makeKernel } from "../support/kernels.ts";
import { CLIENT } from "../support/node-clients.ts";
import { sharedDirectory } from "../support/temporary.ts";

const text = fc.oneof(
  fc.string({ maxLength: 300 }),
  fc.constantFrom("", "a  b", " x", "é\n", "w".repeat(900)),
);
const kernel = fc.record({
  distribution: fc.constantFrom("debian12", "debian99", "rocky9"),
  kversion: fc.constantFrom("6.1.0-56-amd64", "6.1.0-57-amd64", `6.${"1".repeat(126)}`),
  packageVersion: fc.oneof(text, fc.constantFrom("6.1.170-3", "6.1.170-4", "x".repeat(200))),
  source: fc.constantFrom("debian/bookworm", "strangers"),
  said: fc.option(text, { nil: undefined }),
  answer: fc.constantFrom("stable", "candidate", "failed", "loadsOn", "none"),
  line: text,
  denied: fc.constantFrom<number>(0, 0, 0, 1, 200),
  /** As many more of its kind. */
  more: fc.constantFrom<number>(0, 0, 0, 300),
});
type Drawn = typeof kernel extends fc.Arbitrary<infer T> ? T : never;

/** A state with nothing held against it: parts of a hostile store may say anything that their types take. */
function stateOf(drawn: readonly Drawn[]): Published {
  const all = drawn.flatMap((one) => [
    one,
    ...Array.from({ length: one.more }, (_, at) => ({
      ...{ ...one, denied: 0, packageVersion: `${at}${one.packageVersion}` },
    })),
  ]);
  const kernels = all.map(({ distribution, kversion, packageVersion, source }) => ({
    ...makeKernel({ distribution, kversion, sources: [source] }),
    packageVersion,
  }));
  const indices = new Map<string, Index>();
  const indexOf = (distribution: string): Index => {
    const index = indices.get(distribution) ?? emptyIndex({ distribution, architecture: "x86_64" });
    indices.set(distribution, index);
    return index;
  };
  const attempts: AttemptNote[] = [];
  const decisions: Decision[] = [];
  for (const [at, { distribution, kversion, packageVersion, answer, line, denied }] of all.entries()) {
    const entry = { ...makeEntry(makeElement(), String(at)), kversion, packageVersion };
    const { driver, output, recipe, flavour } = entry;
    const index = indexOf(distribution);
    if (answer === "stable") index.stable.push(entry);
    if (answer === "candidate") index.candidate.push({ ...entry, reasons: [line] });
    const failure = { code: "BUILD_FAILED", blame: "source", cause: "no", line } as const;
    const element = `doorbell/0.1.1/${distribution}/x86_64/${kversion}/${packageVersion}`;
    if (answer === "failed") attempts.push({ ...makeOutcome(makeElement()).note, element, failure });
    const [first] = index.stable;
    if (answer === "loadsOn" && first !== undefined) {
      const artifact = { distribution, driver, output, recipe, manifest: first.manifest };
      index.loadsOn = [...(index.loadsOn ?? []), { kversion, packageVersion, flavour, artifact }];
    }
    const modules = Array.from({ length: denied }, (_, one) => sha256(`${at} ${one}`));
    const name = kernelName({ distribution, architecture: "x86_64", kversion, packageVersion });
    if (denied > 0)
      decisions.push({
        ...{
          at: "2026-11-28T00:00:00.000Z",
          action: "withdraw",
          artifact: { driver, output, recipe: sha256(name) },
        },
        ...{ by: "ann", why: line.slice(0, 20), verdicts: [], denied: { modules, kernels: [name] } },
      });
  }
  const facts = all.flatMap(({ said }, at) =>
    said === undefined ? [] : (imageFacts(kernels[at] ?? makeKernel(), { version: said }) ?? []),
  );
  return {
    ...{ ...NOTHING, catalog: makeCatalog(kernels), facts, attempts, decisions },
    indices: [...indices.values()],
  };
}

test("whatever the state, both readers read what is written for nodes", () => {
  const directory = sharedDirectory();
  const leaves: { readonly prefix: string; readonly denials: number }[] = [];
  const counts = { refused: 0, cut: 0 };
  const check = (drawn: readonly Drawn[]) => {
    for (const { blocks, claims, ...place } of nodeIndices(stateOf(drawn), () => 7)) {
      const denials = blocks.reduce((sum, { denied }) => sum + denied.length, 0);
      try {
        const { files, cut } = writeIndex(place, blocks, claims);
        counts.cut += cut;
        let read = 0;
        for (const leaf of [...files.values()].filter((one) => one.includes("\nleaf "))) {
          const prefix = leaf.split("\n")[1]?.split(" ")[3] ?? "";
          const found = readLeaf(Buffer.from(leaf), place, prefix, "a leaf");
          read += found.reduce((sum, { denied }) => sum + denied.length, 0);
          writeFileSync(join(directory, String(leaves.length)), leaf);
          leaves.push({ prefix, denials: leaf.split("\ndeny ").length - 1 });
        }
        expect(read).toBe(denials);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(FarmError);
        expect(thrown).toMatchObject({ code: "REGISTRY_TOO_LARGE" });
        counts.refused++;
      }
    }
  };
  const flood: Drawn = {
    ...{
      distribution: "debian99",
      kversion: "6.1.0-56-amd64",
      packageVersion: "6.1.170-3",
      source: "strangers",
    },
    ...{ said: undefined, answer: "failed", line: "w".repeat(200), denied: 1, more: 500 },
  };
  const genuine: Drawn = {
    ...flood,
    distribution: "debian12",
    source: "debian/bookworm",
    more: 0,
    denied: 256,
  };
  const tooMany: Drawn = { ...genuine, denied: 257 };
  const examples: [Drawn[]][] = [[[genuine, flood]], [[tooMany]]];
  fc.assert(fc.property(fc.array(kernel, { maxLength: 8 }), check), { numRuns: 30, seed: 7, examples });

  expect(Object.values(counts).map((count) => count > 0)).toEqual([true, true]);
  expect(leaves.length).toBeGreaterThan(20);
  const script = `. "$here/kmodfarm-registry.sh"; at=0
    while read -r prefix; do export prefix
      if lines leaf "$work/$at"; then echo taken; else echo "refused $at"; fi; at=$((at + 1)); done`;
  const said = execFileSync("dash", ["-c", script], {
    ...{ encoding: "utf8", input: leaves.map(({ prefix }) => `${prefix}\n`).join("") },
    env: {
      ...{
        PATH: "/usr/bin:/bin",
        LC_ALL: "C",
        here: join(CLIENT, ".."),
        work: directory,
        driver: "doorbell",
      },
      ...{ machine: "x86_64", release: "6.1.0-56-amd64", build: "#1 SMP Debian 6.1.170-3 (2026-05-01)" },
    },
  });
  expect(said.trim().split("\n")).toEqual(leaves.map(() => "taken"));
});
