import fc from "fast-check";
import { expect, test } from "vitest";
import { changedBytes, changedLines } from "../../test/support/notes.ts";
import { canonicalJson, type Digest, sha256 } from "../base/json.ts";
import {
  answerFrom,
  keyOf,
  leafPrefix,
  NODE_LIMIT_BYTES,
  type NodeBlock,
  type NodeQuestion,
  readLeaf,
  readNode,
  wayTo,
} from "./node-index.ts";
import { type WrittenIndex, writeIndex } from "./write-node-index.ts";

const PLACE = { driver: "doorbell", machine: "x86_64" };
const sized = (text: string) => ({ digest: sha256(text), size: text.length });
const malformed = expect.objectContaining({ code: "NOTE_MALFORMED" });

function block(release: string, change: Partial<NodeBlock> = {}): NodeBlock {
  return {
    ...{ release, distribution: "debian13", packageVersion: "6.12.117-1" },
    uname: { kind: "uname", text: "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-12)" },
    answer: {
      kind: "exact",
      artifact: {
        version: "0.1.0",
        manifest: sized("manifest"),
        provenance: [sized("provenance")],
        modules: [
          { file: "doorbell.ko", ...sized("a module") },
          { file: "doorbell-tools.ko", ...sized("another module") },
        ],
        signatures: [
          { file: "doorbell.ko", keyId: "ab".repeat(20), ...sized("signature") },
          { file: "doorbell.ko", keyId: "cd".repeat(20), ...sized("another signature") },
        ],
      },
    },
    denied: [{ module: sha256("bad"), why: "CVE-2026-1234" }],
    ...change,
  };
}

/** Goes the way that a node goes. */
function ask(index: WrittenIndex, question: NodeQuestion) {
  const key = keyOf(question);
  let digest: Digest | undefined = index.top;
  for (const { prefix, next } of wayTo(index.widths, key)) {
    const node: Buffer = Buffer.from(index.files.get(digest) ?? "");
    digest = readNode(node, question, prefix, next.length, "a node").get(next);
    if (digest === undefined) return { kind: "neverSeen", near: [] };
  }
  const leaf = Buffer.from(index.files.get(digest) ?? "");
  return answerFrom(readLeaf(leaf, question, leafPrefix(index.widths, key), "a leaf"), question);
}

const theLeaf = (index: WrittenIndex) =>
  [...index.files.values()].find((text) => text.includes("\nleaf ")) ?? "";
const question = (release: string, version: string): NodeQuestion => ({ ...PLACE, release, version });

test("a leaf has the lines that docs/registry.md describes", () => {
  const one = block("6.12.117+deb13-amd64");
  const [prefix] = keyOf({ ...PLACE, release: one.release });
  const hex = (text: string) => sha256(text).slice(7);

  expect(theLeaf(writeIndex(PLACE, [one])).split("\n")).toEqual([
    "kmodfarm index v1",
    `leaf doorbell x86_64 ${prefix}`,
    "kernel doorbell x86_64 6.12.117+deb13-amd64 debian13 6.12.117-1",
    "uname #1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-12)",
    "answer exact 0.1.0",
    `manifest ${hex("manifest")} 8`,
    `provenance ${hex("provenance")} 10`,
    `module doorbell.ko ${hex("a module")} 8`,
    `module doorbell-tools.ko ${hex("another module")} 14`,
    `signature doorbell.ko ${"ab".repeat(20)} ${hex("signature")} 9`,
    `signature doorbell.ko ${"cd".repeat(20)} ${hex("another signature")} 17`,
    `deny ${hex("bad")} CVE-2026-1234`,
    "",
  ]);
});

test("uname decides: all of it where it is known, else the distribution's words of it", () => {
  const release = "5.14.0-503.el9.x86_64";
  const [alma, rocky] = ["#1 SMP Tue Nov  5 10:01:02 UTC 2026", "#1 SMP Thu Nov 12 22:45:55 UTC 2026"];
  const el = (distribution: string, text: string) =>
    block(release, {
      distribution,
      uname: { kind: "uname", text },
      answer: { kind: "failed", why: distribution },
    });
  const wordy = block("6.1.0-1", { uname: { kind: "unameword", text: "Debian 6.1.170-3" } });
  const silent = block("6.1.0-2", { uname: undefined });
  const index = writeIndex(PLACE, [el("rocky9", rocky), el("almalinux9", alma), wordy, silent]);
  const kindAndPlace = (asked: NodeQuestion) => {
    const found = ask(index, asked);
    return found.kind === "found" && "block" in found ? found.block.distribution : found.kind;
  };

  expect(kindAndPlace(question(release, alma))).toBe("almalinux9");
  expect(kindAndPlace(question(release, rocky))).toBe("rocky9");
  expect(kindAndPlace(question(release, rocky.replace("22", "23")))).toBe("neverSeen");
  expect(kindAndPlace(question("6.1.0-1", "#1 SMP Debian 6.1.170-3 (2026-05-01)"))).toBe("debian13");
  expect(kindAndPlace(question("6.1.0-1", "#1 SMP Debian 6.1.170-30 (2026-05-01)"))).toBe("neverSeen");
  expect(kindAndPlace(question("6.1.0-2", wordy.uname?.text ?? ""))).toBe("neverSeen");
  expect(kindAndPlace(question("6.1.0-3", "anything"))).toBe("neverSeen");
  const twins = writeIndex(PLACE, [el("rocky9", rocky), el("rhel9", rocky)]);
  expect(ask(twins, question(release, rocky))).toMatchObject({ kind: "ambiguous" });
});

test("every kernel of an index is found, and no other, however deep it is", () => {
  for (const [count, widths] of Object.entries({ 1: "1", 60: "1", 1200: "2", 6000: "2+1" })) {
    const releases = Array.from({ length: Number(count) }, (_, at) => `6.1.${at}-amd64`);
    const index = writeIndex(
      PLACE,
      releases.map((release) => block(release)),
    );

    expect(index.widths).toBe(widths);
    for (const text of index.files.values()) expect(text.length).toBeLessThan(NODE_LIMIT_BYTES);
    const { text = "" } = block("").uname ?? {};
    for (const release of releases.slice(0, 200))
      expect(ask(index, question(release, text))).toMatchObject({ kind: "found", block: { release } });
    expect(ask(index, question("6.2.0-amd64", text))).toMatchObject({ kind: "neverSeen" });
  }
});

test("what does not change keeps its digest", () => {
  const releases = Array.from({ length: 3000 }, (_, at) => `6.1.${at}-amd64`);
  const blocks = releases.map((release) => block(release));
  const before = writeIndex(PLACE, blocks);
  const after = writeIndex(
    PLACE,
    blocks.with(7, block(releases[7] as string, { answer: { kind: "building" } })),
  );

  expect([...after.files.keys()].filter((digest) => !before.files.has(digest)).length).toBeLessThanOrEqual(3);
  expect(writeIndex(PLACE, blocks.toReversed()).top).toBe(before.top);
});

test("a changed leaf or node is refused, or answers otherwise: nothing is read past", () => {
  const releases = Array.from({ length: 3 }, (_, at) => `6.1.${at}-amd64`);
  const index = writeIndex(
    PLACE,
    releases.map((release) => block(release)),
  );
  const leaf = theLeaf(index);
  const prefix = leaf.split("\n")[1]?.split(" ")[3] ?? "";
  const node = index.files.get(index.top) ?? "";
  const readers: readonly [string, (bytes: Buffer) => unknown][] = [
    [leaf, (bytes) => readLeaf(bytes, PLACE, prefix, "a leaf")],
    [node, (bytes) => [...readNode(bytes, PLACE, "", 1, "a node")]],
  ];

  for (const [text, read] of readers) {
    const before = JSON.stringify(read(Buffer.from(text)));
    const changes = [...changedLines(text), ...changedBytes(Buffer.from(text))];
    const unnoticed = changes.filter(({ changed }) => {
      try {
        return JSON.stringify(read(changed)) === before;
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: "NOTE_MALFORMED" });
        return false;
      }
    });
    expect(changes.length).toBeGreaterThan(1000);
    expect(unnoticed).toEqual([]);
  }
});

test("C21, D32: what nobody may say in a leaf is refused", () => {
  const leaf = theLeaf(writeIndex(PLACE, [block("6.1.0-1-amd64")]));
  const prefix = leaf.split("\n")[1]?.split(" ")[3] ?? "";
  const read = (text: string) => readLeaf(Buffer.from(text), PLACE, prefix, "a leaf");
  const changes: Record<string, (text: string) => string> = {
    "two blocks of one kernel": (text) => text + text.slice(text.indexOf("kernel doorbell")),
    "a second answer": (text) => text.replace("manifest", "answer building\nmanifest"),
    "a path for a file": (text) => text.replaceAll("doorbell.ko", "../doorbell.ko"),
    "a hidden file": (text) => text.replaceAll("doorbell.ko", ".doorbell.ko"),
    "a file that is no module": (text) => text.replaceAll("doorbell.ko", "doorbell.sh"),
    "an upper-case digest": (text) =>
      text.replace(/module (\S+) (\S+)/, (_, file, hex) => `module ${file} ${hex.toUpperCase()}`),
    "a number that is no size": (text) => text.replace(" 8\n", " 08\n"),
    "a size beyond all": (text) => text.replace(" 8\n", " 9999999999\n"),
    "no module": (text) => text.replace(/^(module|signature) .*\n/gm, ""),
    "one module twice": (text) => text.replace(/^(module .*\n)/m, "$1$1"),
    "two signatures of one key": (text) => text.replace("cd".repeat(20), "ab".repeat(20)),
    "a signature of nothing": (text) => text.replace("signature doorbell.ko", "signature other.ko"),
    "another driver": (text) => text.replace("kernel doorbell", "kernel other"),
    "another machine": (text) => text.replace("kernel doorbell x86_64", "kernel doorbell aarch64"),
    "another leaf": (text) => text.replace(`x86_64 ${prefix}`, `x86_64 ${prefix === "0" ? "1" : "0"}`),
    "an unknown answer": (text) => text.replace("answer exact 0.1.0", "answer maybe 0.1.0"),
    "an exact answer of another kernel": (text) =>
      text.replace("answer exact 0.1.0", "answer exact 0.1.0 debian13/x86_64/a_b"),
    "an unknown line": (text) => `${text}hash abc\n`,
  };

  expect(read(leaf)).toHaveLength(1);
  for (const [what, change] of Object.entries(changes)) {
    expect(change(leaf), what).not.toBe(leaf);
    expect(() => read(change(leaf)), what).toThrow(malformed);
  }
});

test("any blocks are read back as they were written", () => {
  const segment = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._+~-]{0,20}$/);
  const word = fc.stringMatching(/^[!-~]{1,20}$/);
  const text = fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/);
  const digest = fc.nat().map((one) => sha256(String(one)));
  const file = fc.record({ digest, size: fc.nat(999_999_999) });
  const artifact = fc.record({
    version: segment,
    manifest: file,
    provenance: fc.array(file, { maxLength: 3 }),
    modules: fc
      .uniqueArray(fc.tuple(segment, file), { minLength: 1, maxLength: 4, selector: ([name]) => name })
      .map((some) => some.map(([name, one]) => ({ file: `${name}.ko`, ...one }))),
    signatures: fc.constant([]),
  });
  const answer: fc.Arbitrary<NodeBlock["answer"]> = fc.oneof(
    fc.record({ kind: fc.constant("exact" as const), artifact }),
    fc.record({ kind: fc.constant("loadsOn" as const), artifact, builtFor: word }),
    fc.constant({ kind: "building" as const }),
    fc.record({
      kind: fc.constantFrom("failed" as const, "excluded" as const, "withheld" as const),
      why: text,
    }),
  );
  const blocks = fc.uniqueArray(
    fc.record({
      ...{ release: segment, distribution: segment, packageVersion: word, answer },
      uname: fc.record({ kind: fc.constantFrom("uname" as const, "unameword" as const), text }),
      denied: fc.constant([]),
    }),
    {
      maxLength: 20,
      selector: ({ release, distribution, packageVersion }) => `${release} ${distribution} ${packageVersion}`,
    },
  );
  fc.assert(
    fc.property(blocks, (some) => {
      const index = writeIndex(PLACE, some);
      const leaves = [...index.files.values()].filter((one) => one.includes("\nleaf "));
      const read = leaves.flatMap((one) => {
        const prefix = one.split("\n")[1]?.split(" ")[3] ?? "";
        return readLeaf(Buffer.from(one), PLACE, prefix, "a leaf");
      });
      const sorted = (all: readonly NodeBlock[]) => all.map(canonicalJson).toSorted();

      expect(sorted(read)).toEqual(sorted(some));
    }),
    { numRuns: 50 },
  );
});
