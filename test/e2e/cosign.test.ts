/**
 * What the cosign of two Debian releases, and we, make of the same bundles: whatever we accept it accepts too, and what it
 * accepts beyond that is known by name.
 */
import { afterAll, describe, expect, test } from "vitest";
import { tableText } from "../../src/cli/table.ts";
import { judgeBundle } from "../../src/provenance/judge.ts";
import type { Statement } from "../../src/provenance/statement.ts";
import { askCosign, COLUMNS, COSIGNS, type CosignSuite } from "../support/cosign.ts";
import { BUILDER, IDENTITY, MODULES, makeBuild, makeSigner, makeStatement } from "../support/statements.ts";
import { sharedDirectory } from "../support/temporary.ts";

const directory = sharedDirectory();
const [signer, stranger, ed] = [makeSigner(), makeSigner(), makeSigner("ed25519")];
const STATEMENT = makeStatement();
const GOOD = signer.sign(STATEMENT);

/** The statement with the first of a text replaced, signed as it is then. */
const stated = (from: string, to: string) => signer.sign(replaced(JSON.stringify(STATEMENT), from, to));
interface BundleJson {
  note?: string;
  readonly verificationMaterial: { readonly publicKey: { hint?: string } };
  readonly dsseEnvelope: { payload: string; payloadType: string; signatures: unknown[] };
}

/** The bundle itself, after it was signed. */
const tampered = (change: (bundle: BundleJson) => void) => {
  const bundle = JSON.parse(GOOD) as BundleJson;
  change(bundle);
  return JSON.stringify(bundle);
};

function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`there is no ${from} to change`);
  return text.replace(from, to);
}

const [first = { name: "", digest: { sha256: "" } }] = STATEMENT.subject;
const tally = STATEMENT.subject.at(-1)?.digest.sha256 ?? "";
const withSubjects = (subject: Statement["subject"]) => signer.sign({ ...STATEMENT, subject });

type Word = "accepts" | "refuses";
interface Case {
  readonly what: string;
  readonly bundle: string;
  /** Default: the builder's. */
  readonly key?: typeof signer;
  readonly words: readonly [trixie: Word, sid: Word, kmodfarm: Word];
}
const [YES, NO] = ["accepts", "refuses"] as const;

const CASES: readonly Case[] = [
  { what: "as it was made", bundle: GOOD, words: [YES, YES, YES] },
  { what: "signed with Ed25519", bundle: ed.sign(STATEMENT), key: ed, words: [YES, YES, YES] },
  {
    what: "the key's hint is missing",
    bundle: tampered((one) => delete one.verificationMaterial.publicKey.hint),
    words: [YES, YES, YES],
  },
  { what: "another key signed it", bundle: stranger.sign(STATEMENT), words: [NO, NO, NO] },
  {
    what: "the signature is another one",
    bundle: tampered((one) => {
      one.dsseEnvelope.signatures = (JSON.parse(signer.sign("{}")) as BundleJson).dsseEnvelope.signatures;
    }),
    words: [NO, NO, NO],
  },
  {
    what: "the payload was changed after it was signed",
    bundle: tampered((one) => {
      const text = Buffer.from(one.dsseEnvelope.payload, "base64").toString();
      one.dsseEnvelope.payload = Buffer.from(replaced(text, "debian13", "debian12")).toString("base64");
    }),
    words: [NO, NO, NO],
  },
  {
    what: "the payload's type was changed after it was signed",
    bundle: tampered((one) => (one.dsseEnvelope.payloadType = "application/json")),
    words: [NO, NO, NO],
  },
  {
    what: "it has two signatures",
    bundle: tampered((one) => one.dsseEnvelope.signatures.push(one.dsseEnvelope.signatures[0])),
    words: [NO, NO, NO],
  },
  {
    what: "the bundle has a field beside the standard's",
    bundle: tampered((one) => (one.note = "x")),
    words: [NO, NO, NO],
  },
  {
    what: "the statement has a field beside the standard's",
    bundle: stated('{"_type"', '{"note":"x","_type"'),
    words: [NO, NO, NO],
  },
  {
    what: "a field of the statement stands twice",
    bundle: stated('{"_type"', '{"_type":"https://in-toto.io/Statement/v1","_type"'),
    words: [NO, NO, NO],
  },
  { what: "bytes follow the bundle", bundle: `${GOOD}{}`, words: [NO, NO, NO] },
  { what: "it is about other bytes", bundle: stated(tally, "0".repeat(64)), words: [NO, NO, NO] },
  { what: "a digest is in capitals", bundle: stated(tally, tally.toUpperCase()), words: [YES, YES, NO] },
  {
    what: "its predicate is SLSA's version 0.2",
    bundle: stated("slsa.dev/provenance/v1", "slsa.dev/provenance/v0.2"),
    words: [YES, NO, NO],
  },
  {
    what: "its predicate is something else",
    bundle: stated("https://slsa.dev/provenance/v1", "https://spdx.dev/Document"),
    words: [YES, NO, NO],
  },
  { what: "another builder made it", bundle: stated(BUILDER, `${BUILDER}:other`), words: [YES, YES, NO] },
  { what: "it is for another kernel", bundle: stated('"6.12.107-1"', '"6.12.107-2"'), words: [YES, YES, NO] },
  { what: "it is for another release", bundle: stated('"debian13"', '"debian12"'), words: [YES, YES, NO] },
  {
    what: "it is of another source",
    bundle: stated(IDENTITY.driver.source, `sha256:${"0".repeat(64)}`),
    words: [YES, YES, NO],
  },
  {
    what: "it says more of what was asked for",
    bundle: stated('"externalParameters":{', '"externalParameters":{"x":"y",'),
    words: [YES, YES, NO],
  },
  {
    what: "a header package is another one",
    bundle: stated("b".repeat(64), "c".repeat(64)),
    words: [YES, YES, NO],
  },
  {
    what: "a module has another name",
    bundle: withSubjects(STATEMENT.subject.map((one) => (one === first ? { ...one, name: "x.ko" } : one))),
    words: [YES, YES, NO],
  },
  {
    what: "a module is missing",
    bundle: withSubjects(STATEMENT.subject.filter((one) => one !== first)),
    words: [YES, YES, NO],
  },
  {
    what: "it names modules that are not there",
    bundle: withSubjects([...STATEMENT.subject, { name: "x.ko", digest: { sha256: "0".repeat(64) } }]),
    words: [YES, YES, NO],
  },
];

const table: string[][] = [];

describe("cosign and kmodfarm", () => {
  test.each(CASES)("$what", async ({ what, bundle, key = signer, words }) => {
    const pem = String(key.key.key.export({ type: "spki", format: "pem" }));
    const said: Word[] = [];
    for (const suite of Object.keys(COSIGNS) as CosignSuite[]) {
      const { isAccepted } = await askCosign(suite, directory, {
        bundle,
        key: pem,
        blob: Buffer.from("tally"),
      });
      said.push(isAccepted ? YES : NO);
    }
    const build = { identity: IDENTITY, modules: MODULES, materials: makeBuild() };
    const ours = judgeBundle(Buffer.from(bundle), build, [{ id: BUILDER, key: key.key }]);
    said.push(ours.kind === "good" ? YES : NO);
    table.push([what, ...said]);

    expect(said).toEqual(words);
  });

  test.each(Object.keys(COSIGNS) as CosignSuite[])(
    "of %s accepts it for every module, as nodes get it and as it was built, and for no other file",
    async (suite) => {
      const key = String(signer.key.key.export({ type: "spki", format: "pem" }));
      const about = async (blob: string) =>
        (await askCosign(suite, directory, { bundle: GOOD, key, blob: Buffer.from(blob) })).isAccepted;

      expect([await about("module built"), await about("module stripped")]).toEqual([true, true]);
      expect(await about("log")).toBe(false);
    },
  );

  afterAll(() => void process.stdout.write(tableText(COLUMNS, table)));
});
