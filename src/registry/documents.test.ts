import { describe, expect, test } from "vitest";
import type { z } from "zod";
import { makeEntry, makeManifest } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel, makeSource } from "../../test/support/kernels.ts";
import { makeVerdict as verdict } from "../../test/support/verdicts.ts";
import { sha256 } from "../base/json.ts";
import { Catalog } from "../catalog/catalog.ts";
import { Matrix } from "../matrix/element.ts";
import {
  Attempts,
  Channel,
  Decisions,
  Generation,
  Index,
  Manifest,
  Roots,
  WholeGeneration,
} from "./documents.ts";

const ELEMENT = makeElement();
const DIGEST = sha256("x");
const NAMED = { name: "gcc-12", version: "12.2.0-14" };
const FILES = [{ path: "firmware/a.bin", digest: DIGEST, size: 1 }];
const MISMATCH = { declared: "gcc-12.2", used: "gcc-12.3" };
const AT = "2026-02-07T00:00:00.000Z";
const BASE = makeManifest(ELEMENT, [verdict("load", "pass", "it loads")]);
const MODULE = {
  ...{ name: "doorbell", digest: DIGEST, size: 1, stripped: DIGEST },
  compressed: { file: "doorbell.ko.xz", digest: DIGEST },
};
const { driver, output, recipe, manifest } = makeEntry(ELEMENT);
const NOTED = { verdicts: { load: "pass" }, judged: { policy: DIGEST, until: "2027-01-31" } };
const ENTRY = {
  ...makeEntry(ELEMENT),
  ...{ modules: [MODULE], files: FILES, reasons: ["load: fail"], ...NOTED },
  provenance: [{ digest: DIGEST, size: 1 }],
};

const NONE = { added: 0, changed: 0, removed: 0 };

/** One of each document, with everything in it that there can be. */
const DOCUMENTS: Readonly<Record<string, readonly [z.ZodType, unknown]>> = {
  manifest: [
    Manifest,
    {
      ...BASE,
      modules: [
        {
          ...{ name: "doorbell", size: 1 },
          digests: { unsigned: DIGEST, stripped: DIGEST, compressed: DIGEST },
          witnesses: {
            ...{ vermagic: "6.1", version: "1", srcversion: "A", license: "GPL", depends: ["tally"] },
            ...{ buildId: "aa", buildSalt: "s", compilers: ["gcc"] },
          },
        },
      ],
      files: FILES,
      environment: {
        declared: { compiler: "gcc-12", packages: [NAMED] },
        observed: { compiler: "gcc-12", packages: [NAMED] },
        target: {
          ...{
            compiler: "gcc-12",
            compilerVersion: "gcc 12.2",
            release: "6.1",
            vermagic: "6.1",
            buildSalt: "s",
          },
          configuration: DIGEST,
        },
        mismatch: MISMATCH,
      },
    },
  ],
  index: [
    Index,
    {
      schema: "kmodfarm.index/1",
      ...{ distribution: "debian12", architecture: "x86_64", stable: [ENTRY], candidate: [ENTRY] },
      loadsOn: [
        {
          ...{ kversion: ELEMENT.kversion, packageVersion: ELEMENT.packageVersion, flavour: ELEMENT.flavour },
          artifact: { distribution: "debian12", driver, output, recipe, manifest },
        },
      ],
    },
  ],
  generation: [
    Generation,
    {
      ...{ schema: "kmodfarm.generation/2", number: 2, publishedAt: AT },
      parent: { number: 1, digest: DIGEST },
      by: { who: "ann", what: "promote" },
      difference: {
        ...{ stable: NONE, candidates: NONE },
        ...{ attempts: 0, kernels: 0, decisions: 0 },
      },
      parts: { sources: { digest: DIGEST, size: 1 }, "index/debian12.x86_64": { digest: DIGEST, size: 1 } },
    },
  ],
  "generation of the version before": [
    WholeGeneration,
    {
      ...{ schema: "kmodfarm.generation/1", number: 2, publishedAt: AT },
      parent: { number: 1, digest: DIGEST },
      files: { "catalog.json": DIGEST, "index/debian12.x86_64.json": DIGEST },
    },
  ],
  channel: [Channel, { schema: "kmodfarm.channel/1", channel: "stable", generation: 2, digest: DIGEST }],
  roots: [Roots, { schema: "kmodfarm.roots/1", roots: { "debian12-x86_64-gcc-12": [NAMED] } }],
  decisions: [
    Decisions,
    {
      schema: "kmodfarm.decisions/1",
      decisions: [
        {
          ...{ at: AT, action: "withdraw", kernel: "el9/x86_64/5.14", by: "ann", why: "it panics" },
          ...{ artifact: { driver, output, recipe }, policy: DIGEST, manifest: DIGEST },
          verdicts: [verdict("load", "waived", "by ann")],
        },
      ],
    },
  ],
  attempts: [
    Attempts,
    {
      schema: "kmodfarm.attempts/1",
      attempts: [
        { element: "doorbell/0.1.0", recipe: DIGEST, at: AT, compiler: "gcc-12", logFile: "/cache/log" },
      ],
    },
  ],
  matrix: [Matrix, { schema: "kmodfarm.matrix/1", generatedAt: AT, elements: [ELEMENT] }],
  catalog: [Catalog, makeCatalog([makeKernel()], [makeSource()])],
};

/** What is for people only, or compared only. Whatever is missing here may become part of a path. */
const WORDS = [
  "by why by.who by.what reasons reasons.code reasons.text check kernel element compiler compilerVersion packageVersion logFile",
  "identity.distribution.id identity.distribution.version distributionId distributionVersion",
  "vermagic version srcversion license depends buildId buildSalt compilers environment.target.release",
  "packages.name packages.version roots.debian12-x86_64-gcc-12.name roots.debian12-x86_64-gcc-12.version",
  // Of packages, which are stored under their digests; where they lie is asked of their mirrors.
  "headers.name headers.source headers.path image.name image.source image.path packages.modules.name modules.source modules.path",
  "crossTools.name crossTools.source crossTools.path kernels.sources sources.id sources.url sources.digest",
  "sources.distribution sources.detail sources.kernels elements.recipe recipe.driver.source mismatch.declared mismatch.used",
].flatMap((line) => line.split(" "));

const HOSTILE = [
  "../../x",
  "/etc/passwd",
  "..",
  ".",
  "",
  "a/../b",
  "a\0b",
  "a\nb",
  "-rf",
  "a\u202eb",
  "\ud800",
  "x".repeat(10_000),
  "a/".repeat(5_000),
];

interface Leaf {
  /** `stable[0].modules[0].name` */
  readonly place: string;
  /** The document with another text there. */
  readonly with: (text: string) => unknown;
}

/** Every text of a document, and every key of its records. */
function* leavesOf(value: unknown, place = ""): Generator<Leaf> {
  if (typeof value === "string") yield { place, with: (text) => text };
  if (typeof value !== "object" || value === null) return;
  for (const [key, member] of Object.entries(value)) {
    const here = Array.isArray(value) ? `${place}[${key}]` : place === "" ? key : `${place}.${key}`;
    const put = (changed: unknown) =>
      Array.isArray(value)
        ? value.map((one: unknown, index) => (String(index) === key ? changed : one))
        : { ...value, [key]: changed };
    for (const leaf of leavesOf(member, here)) yield { ...leaf, with: (text) => put(leaf.with(text)) };
    if (["roots", "files", "parts"].includes(place))
      yield { place: here, with: (text) => ({ ...value, [text]: member }) };
  }
}

function isWords(place: string): boolean {
  const plain = place.replaceAll(/\[\d+\]/g, "");
  return WORDS.some((word) => `.${plain}`.endsWith(`.${word}`));
}

describe.each(Object.entries(DOCUMENTS))("a hostile %s", (_, [type, good]) => {
  const leaves = [...leavesOf(good)];

  test("is refused wherever a text of it may become part of a path, and the place is named", () => {
    expect(type.safeParse(good).error).toBeUndefined();
    const accepted: string[] = [];
    for (const { place, with: put } of leaves.filter((leaf) => !isWords(leaf.place)))
      for (const text of HOSTILE) {
        const { error } = type.safeParse(put(text));
        if (error === undefined) accepted.push(`${place} = ${text.slice(0, 20)}`);
        else expect(error.issues[0]?.path.length, place).toBeGreaterThan(0);
      }

    expect(accepted).toEqual([]);
    expect(leaves.filter((leaf) => !isWords(leaf.place)).length).toBeGreaterThan(0);
  });
});
