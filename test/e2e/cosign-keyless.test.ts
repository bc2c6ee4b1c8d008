/**
 * What the cosign of two Debian releases, and we, make of bundles that no key signed: an identity is whoever the same
 * authority, log and clock say it is, for all three.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tableText } from "../../src/cli/table.ts";
import type { Identity } from "../../src/provenance/builder.ts";
import { certifiedBuilder } from "../../src/provenance/certified.ts";
import { judgeBundle } from "../../src/provenance/judge.ts";
import { askCosign, COLUMNS, COSIGNS, type CosignSuite } from "../support/cosign.ts";
import { certifiedBundle, ISSUER, SUBJECT, startSigstore, type TestSigstore } from "../support/sigstore.ts";
import { BUILDER, IDENTITY, MODULES, makeBuild, makeSigner, makeStatement } from "../support/statements.ts";
import { sharedDirectory } from "../support/temporary.ts";

const directory = sharedDirectory();
const STATEMENT = makeStatement();
const BUILD = { identity: IDENTITY, modules: MODULES, materials: makeBuild() };

let sigstore: TestSigstore;
let other: TestSigstore;
beforeAll(async () => {
  [sigstore, other] = await Promise.all([startSigstore(), startSigstore()]);
});
afterAll(async () => {
  await Promise.all([sigstore, other].map((one) => one[Symbol.asyncDispose]()));
});

interface BundleJson {
  readonly verificationMaterial: {
    tlogEntries: { integratedTime: string }[];
    certificate: { rawBytes: string };
  };
  readonly dsseEnvelope: { payload: string };
}

const made = (options?: Parameters<typeof certifiedBundle>[3]) =>
  certifiedBundle(sigstore, STATEMENT, directory, options);
const tampered = async (change: (bundle: BundleJson) => unknown) => {
  const bundle = JSON.parse(await made()) as BundleJson;
  await change(bundle);
  return JSON.stringify(bundle);
};

type Word = "accepts" | "refuses";
const [YES, NO] = ["accepts", "refuses"] as const;

interface Case {
  readonly what: string;
  readonly bundle: () => Promise<string>;
  /** Who must have signed, where it is not him who did. */
  readonly by?: Partial<Identity>;
  readonly isOtherRoots?: true;
  readonly words: readonly [trixie: Word, sid: Word, kmodfarm: Word];
}

const CASES: readonly Case[] = [
  { what: "as it was made", bundle: () => made(), words: [YES, YES, YES] },
  { what: "with a timestamp too", bundle: () => made({ timestamps: true }), words: [YES, YES, YES] },
  { what: "another subject", bundle: () => made(), by: { subject: `${SUBJECT}x` }, words: [NO, NO, NO] },
  { what: "another issuer", bundle: () => made(), by: { issuer: `${ISSUER}/x` }, words: [NO, NO, NO] },
  {
    what: "a token of somebody else",
    bundle: () => made({ claims: { iss: ISSUER, sub: `${SUBJECT}x` } }),
    words: [NO, NO, NO],
  },
  { what: "other roots", bundle: () => made(), isOtherRoots: true, words: [NO, NO, NO] },
  {
    what: "signed with a key",
    bundle: async () => makeSigner().sign(STATEMENT),
    words: [NO, NO, NO],
  },
  {
    what: "no log saw it",
    bundle: () => tampered(({ verificationMaterial: one }) => (one.tlogEntries = [])),
    words: [NO, NO, NO],
  },
  {
    what: "the log's time was changed",
    bundle: () =>
      tampered(({ verificationMaterial: { tlogEntries } }) => {
        for (const one of tlogEntries) one.integratedTime = `${Number(one.integratedTime) + 1}`;
      }),
    words: [NO, NO, NO],
  },
  {
    what: "the log saw another signature",
    bundle: () =>
      tampered(async ({ verificationMaterial: one }) => {
        one.tlogEntries = (JSON.parse(await made()) as BundleJson).verificationMaterial.tlogEntries;
      }),
    words: [NO, NO, NO],
  },
  {
    what: "the certificate is of another key",
    bundle: () =>
      tampered(async ({ verificationMaterial: one }) => {
        one.certificate = (JSON.parse(await made()) as BundleJson).verificationMaterial.certificate;
      }),
    words: [NO, NO, NO],
  },
  {
    what: "the payload was changed after it was signed",
    bundle: () =>
      tampered(({ dsseEnvelope: one }) => {
        const text = Buffer.from(one.payload, "base64").toString();
        one.payload = Buffer.from(text.replace("debian13", "debian12")).toString("base64");
      }),
    words: [NO, NO, NO],
  },
];

const table: string[][] = [];

describe("cosign and kmodfarm, of an identity", () => {
  test.each(CASES)("$what", async ({ what, bundle: make, by, isOtherRoots, words }) => {
    const bundle = await make();
    const identity = { issuer: ISSUER, subject: SUBJECT, ...by };
    const { roots } = isOtherRoots ? other : sigstore;
    const said: Word[] = [];
    for (const suite of Object.keys(COSIGNS) as CosignSuite[]) {
      const key = { ...identity, roots };
      const answer = await askCosign(suite, directory, { bundle, key, blob: Buffer.from("tally") });
      said.push(answer.isAccepted ? YES : NO);
    }
    const builder = await certifiedBuilder(BUILDER, identity, Buffer.from(roots), "roots");
    const ours = judgeBundle(Buffer.from(bundle), BUILD, [builder]);
    said.push(ours.kind === "good" ? YES : NO);
    table.push([what, ...said]);

    expect(said).toEqual(words);
  });

  afterAll(() => void process.stdout.write(tableText(COLUMNS, table)));
});
