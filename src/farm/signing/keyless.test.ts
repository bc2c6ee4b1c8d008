import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ISSUER, SUBJECT, startSigstore, type TestSigstore, token } from "../../../test/support/sigstore.ts";
import {
  IDENTITY,
  keysOf,
  MODULES,
  makeBuild,
  makeSigner,
  makeStatement,
} from "../../../test/support/statements.ts";
import { sharedDirectory } from "../../../test/support/temporary.ts";
import type { TrustedBuilder } from "../../provenance/builder.ts";
import { certifiedBuilder } from "../../provenance/certified.ts";
import { judgeBundle } from "../../provenance/judge.ts";
import { parseConfig } from "../config/index.ts";
import { keySettings } from "../config/keys.ts";
import { FarmSigning } from "./keys.ts";
import { attest, openAttestor, openKeyedAttestor, ownBuilders } from "./statements.ts";

const place = sharedDirectory();
const tokenFile = join(place, "token");
const rootsFile = join(place, "trusted_root.json");
const BUILD = { identity: IDENTITY, modules: MODULES, materials: makeBuild() };

let sigstore: TestSigstore;
beforeAll(async () => {
  sigstore = await startSigstore();
});
afterAll(async () => sigstore[Symbol.asyncDispose]());
beforeEach(() => {
  sigstore.fault = undefined;
  writeFileSync(rootsFile, sigstore.roots);
  writeFileSync(tokenFile, `${token()}\n`);
});

const settings = (changes: object = {}) => ({
  ...{ issuer: ISSUER, subject: SUBJECT, roots: "trusted_root.json" },
  ...{ fulcio: sigstore.url, rekor: sigstore.url, tokenFile: "token", ...changes },
});

/** A farm with such an identity, and its signer. */
async function withFarm<T>(changes: object, work: (farm: Parameters<typeof openAttestor>[0]) => Promise<T>) {
  const { keys } = parseConfig(
    JSON.stringify({ keys: { ci: { for: "builder", keyless: settings(changes) } } }),
    "a",
  );
  await using signing = new FarmSigning({
    keys: keySettings(place, keys),
    keyDirectory: join(place, "keys"),
  });
  return await work({ signing, config: {} });
}

async function bundleOf(changes: object = {}): Promise<Buffer> {
  return withFarm(changes, async (farm) => {
    const attestor = await openAttestor(farm);
    if (attestor === undefined) throw new Error("it has an identity");
    return attest(attestor, makeBuild(), MODULES);
  });
}

const trusted = (changes: { issuer?: string; subject?: string; roots?: string } = {}) => {
  const { issuer = ISSUER, subject = SUBJECT, roots = sigstore.roots } = changes;
  return certifiedBuilder(SUBJECT, { issuer, subject }, Buffer.from(roots), "roots");
};

describe("a farm without a key", () => {
  test.each([
    ["a log", {}],
    ["a log and a clock", { timestamps: "URL" }],
    ["a log of the second version, and a clock", { rekorVersion: 2, timestamps: "URL" }],
    ["a clock alone", { rekor: "none", timestamps: "URL" }],
  ])("states its builds, as its own token proves: with %s", async (_, changes) => {
    const isClockOnly = "rekor" in changes;
    const { tlogs, ...others } = JSON.parse(sigstore.roots);
    const roots = isClockOnly ? JSON.stringify(others) : sigstore.roots;
    writeFileSync(rootsFile, roots);
    const bundle = await bundleOf(JSON.parse(JSON.stringify(changes).replace("URL", sigstore.url)));

    expect(judgeBundle(bundle, BUILD, [await trusted({ roots })])).toEqual({ kind: "good" });
    expect(tlogs).toHaveLength(1);
  });

  test("believes itself, by the name of its workflow, and has no key that others could be told", async () => {
    const bundle = await bundleOf();

    await withFarm({}, async (farm) => {
      const builders = await ownBuilders(farm);
      expect(builders.map(({ id }) => id)).toEqual([SUBJECT]);
      expect(judgeBundle(bundle, BUILD, builders)).toEqual({ kind: "good" });
      expect(await farm.signing.keysFor("builder")).toEqual(new Map());
      expect(await openKeyedAttestor(farm)).toBeUndefined();
    });
  });

  test("signs nothing that its roots do not show to be its own", async () => {
    writeFileSync(tokenFile, token({ iss: ISSUER, sub: `${SUBJECT}x` }));
    await expect(bundleOf()).rejects.toMatchObject({
      code: "SIGNING_REFUSED",
      message: expect.stringContaining(SUBJECT),
    });
  });

  test.each([
    ["is missing", { tokenFile: "none" }, "ENOENT"],
    ["is none", { tokenFile: "trusted_root.json" }, "no OIDC token"],
    [
      "is not in the environment",
      { tokenFile: undefined, tokenEnvironment: "KMODFARM_NO_TOKEN" },
      "KMODFARM_NO_TOKEN",
    ],
  ])("says before it builds that its token %s", async (_, changes, words) => {
    const before = sigstore.asked.length;
    await expect(withFarm(changes, openAttestor)).rejects.toMatchObject({
      code: "KEY_LOCKED",
      message: expect.stringContaining(words),
    });
    expect(sigstore.asked).toHaveLength(before);
  });

  test("an address of e-mail counts once its issuer verified it", async () => {
    writeFileSync(tokenFile, token({ iss: ISSUER, sub: "1", email: "a@example.org", email_verified: false }));

    await expect(withFarm({}, openAttestor)).rejects.toMatchObject({ code: "KEY_LOCKED" });
  });

  test.each([
    [401, "KEY_LOCKED"],
    [404, "REMOTE_UNAVAILABLE"],
  ])("an authority that answers %i is told, without the token", async (status, code) => {
    sigstore.fault = { status, body: JSON.stringify({ message: "the token has expired" }) };

    const thrown = await bundleOf().catch((error: unknown) => error);

    expect(thrown).toMatchObject({ code, message: expect.stringContaining("the token has expired") });
    expect(JSON.stringify(thrown)).not.toContain(token().split(".")[1]);
  });

  test("its token goes nowhere else, and is in no message", async () => {
    let isAsked = false;
    const thief = createServer((_request, response) => {
      isAsked = true;
      response.end();
    });
    await new Promise<void>((resolve) => thief.listen(0, "127.0.0.1", resolve));
    const { port } = thief.address() as AddressInfo;
    sigstore.fault = { status: 307, body: "", location: `http://127.0.0.1:${port}/` };
    const redirected = await bundleOf().catch((error: unknown) => error);
    sigstore.fault = { status: 401, body: JSON.stringify({ message: `no: ${token()}` }) };
    const echoed = await bundleOf().catch((error: unknown) => error);
    thief.close();

    expect(isAsked).toBe(false);
    expect(redirected).toMatchObject({
      code: "REMOTE_UNAVAILABLE",
      message: expect.stringContaining("HTTP 307"),
    });
    expect(echoed).toMatchObject({ code: "KEY_LOCKED" });
    expect(inspect(echoed, { depth: 9 })).not.toContain(token().split(".")[1]);
  });

  test.each([
    ["without end", "x".repeat(1_000_000)],
    ["of nothing", "{}"],
    ["of no chain", JSON.stringify({ signedCertificateEmbeddedSct: {} })],
    ["of a number", "7"],
  ])("an answer %s is the server's fault", async (_, body) => {
    sigstore.fault = { status: 201, body };

    await expect(bundleOf()).rejects.toMatchObject({ code: "REMOTE_UNAVAILABLE" });
  });

  test("has no password, no public key, and signs nothing but statements", () => {
    const refused = (key: object, words: RegExp) =>
      expect(() => parseConfig(JSON.stringify({ keys: { ci: key } }), "a")).toThrow(words);

    refused({ for: "head", keyless: settings() }, /only for `builder`/);
    refused({ for: "builder", file: "a.pem", keyless: settings() }, /either `file` or/);
    refused({ for: "builder", passwordFile: "a", keyless: settings() }, /no password/);
    refused({ for: "builder", keyless: settings({ rekor: "none" }) }, /`timestamps` must name/);
    refused({ for: "builder", keyless: settings({ rekorVersion: 2 }) }, /`timestamps` must name/);
    for (const fulcio of [
      "http://fulcio.example",
      "http://127.0.0.1.example",
      "http://localhost.x/",
      "ftp://a",
    ])
      refused({ for: "builder", keyless: settings({ fulcio }) }, /https/);
  });
});

describe("whoever verifies", () => {
  const judged = async (bundle: Uint8Array, ...builders: readonly TrustedBuilder[]) =>
    judgeBundle(bundle, BUILD, builders);

  test("believes that very identity, of that very issuer, with these very roots", async () => {
    await using other = await startSigstore();
    const bundle = await bundleOf();

    for (const strange of [
      { subject: SUBJECT.toUpperCase() },
      { subject: `${SUBJECT}x` },
      { subject: SUBJECT.slice(0, -1) },
      { subject: ".*" },
      { issuer: `${ISSUER}/` },
      { issuer: "" },
      { roots: other.roots },
    ])
      expect(await judged(bundle, await trusted(strange))).toMatchObject({
        kind: "open",
        because: { code: "untrustedKey" },
      });
    expect(await judged(bundle, await trusted({ subject: "x" }), await trusted())).toEqual({ kind: "good" });
  });

  test("believes it for its own builder alone", async () => {
    const other = { ...(await trusted()), id: "urn:x:other" };

    expect(await judged(await bundleOf(), other)).toMatchObject({
      kind: "bad",
      because: { code: "otherBuilder" },
    });
  });

  test("asks each log and clock that its roots name", async () => {
    const bundle = JSON.parse((await bundleOf()).toString());
    const roots = JSON.parse(sigstore.roots);
    const clockOnly = await trusted({ roots: JSON.stringify({ ...roots, tlogs: [] }) });

    expect(await judged(Buffer.from(JSON.stringify(bundle)), clockOnly)).toMatchObject({ kind: "open" });
    bundle.verificationMaterial.tlogEntries = [];
    expect(await judged(Buffer.from(JSON.stringify(bundle)), await trusted())).toMatchObject({
      kind: "open",
    });
  });

  test("believes no bundle in which a byte is another one", async () => {
    const bundle = (await bundleOf()).toString();
    const builder = await trusted();
    const fields = [...bundle.matchAll(/"(\w+)":"([A-Za-z0-9+/=]{20,})"/g)];
    const believed = new Set<string | undefined>();
    for (const [, name, field = ""] of fields)
      for (const at of [0, field.length >> 1]) {
        const other = field[at] === "A" ? "B" : "A";
        const changed = bundle.replace(field, field.slice(0, at) + other + field.slice(at + 1));
        if ((await judged(Buffer.from(changed), builder)).kind === "good") believed.add(name);
      }

    expect(fields.length).toBeGreaterThan(5);
    // Beside the log's checkpoint, which is signed and has it too, nobody reads it.
    expect([...believed]).toEqual(["rootHash"]);
  });

  test("believes no certificate that was over when the log saw the signature", async () => {
    const bundle = JSON.parse((await bundleOf()).toString());
    const roots = JSON.parse(sigstore.roots);
    // The same log and authority, whose word on that time is over.
    for (const one of [...roots.tlogs, ...roots.certificateAuthorities])
      (one.publicKey ?? one).validFor = { start: "2020-01-01T00:00:00Z", end: "2021-01-01T00:00:00Z" };

    expect(
      await judged(Buffer.from(JSON.stringify(bundle)), await trusted({ roots: JSON.stringify(roots) })),
    ).toMatchObject({ kind: "open" });
  });

  test("compares bytes: a letter with its highest bit is another one", async () => {
    const mine = SUBJECT.replace("example", "exampl\u00e5");
    writeFileSync(tokenFile, token({ iss: ISSUER, sub: mine }));

    await expect(bundleOf({ subject: mine.replace("\u00e5", "e") })).rejects.toMatchObject({
      code: "SIGNING_REFUSED",
    });
  });

  test.each([
    ["a name that is a regular expression", "checkpoint", 1],
    ["hundreds of entries of logs", "entries", 200],
    ["a certificate of a megabyte", "certificate", 1],
    ["thousands of hashes", "hashes", 5000],
  ])("looks at no bundle with %s", async (_, what, count) => {
    const bundle = JSON.parse((await bundleOf()).toString());
    const { verificationMaterial: material } = bundle;
    const [entry] = material.tlogEntries;
    if (what === "entries") material.tlogEntries = Array.from({ length: count }, () => entry);
    if (what === "certificate") material.certificate.rawBytes = Buffer.alloc(500_000).toString("base64");
    if (what === "hashes") entry.inclusionProof.hashes = Array.from({ length: count }, () => "AAAA");
    if (what === "checkpoint") {
      const { checkpoint } = entry.inclusionProof;
      checkpoint.envelope = checkpoint.envelope.replace(/\u2014 \S+/, `\u2014 ${"((.+)+)+".repeat(3)}!`);
    }
    const builder = await trusted();

    // A library that looked at it would not come back before the test's own limit.
    expect(builder.faultIn(Buffer.from(JSON.stringify(bundle)))).toMatch(
      /^it is no bundle with a certificate/,
    );
  });

  test("a key's bundle says nothing of an identity, nor an identity's of a key", async () => {
    const signer = makeSigner();
    const keyed = Buffer.from(signer.sign(makeStatement(MODULES, makeBuild(), SUBJECT)));

    expect(await judged(keyed, await trusted())).toMatchObject({ kind: "open" });
    expect(await judged(await bundleOf(), { id: SUBJECT, key: signer.key })).toMatchObject({ kind: "open" });
    expect(await judged(keyed, await trusted(), { id: SUBJECT, key: signer.key })).toEqual({ kind: "good" });
  });

  test.each([
    ["nothing", ""],
    ["no JSON", "{"],
    [
      "no authority",
      JSON.stringify({ mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1" }),
    ],
    ["a list", "[]"],
  ])("refuses roots that are %s", async (_, roots) => {
    await expect(trusted({ roots })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  test("a statement of anything is never signed for a stranger's subject", async () => {
    await withFarm({}, async ({ signing }) => {
      const [identity] = signing.keyless;
      const key = await identity?.open();
      for (const subject of ["", "two words", "DSSEv1 28 x", "a\nb", "ä", "x".repeat(2001)])
        await expect(key?.sign({ kind: "subject", subject })).rejects.toMatchObject({
          code: "SIGNING_REFUSED",
        });
      await expect(key?.sign({ kind: "head", text: "x" })).rejects.toMatchObject({ code: "SIGNING_REFUSED" });
    });
  });
});

test("a farm that changes from a key to an identity believes what the key signed, and builds again with it", async () => {
  const signer = makeSigner();
  await withFarm({}, async ({ signing: { keyless } }) => {
    const farm = { signing: { ...keysOf(signer), keyless }, config: { builderId: SUBJECT } };
    const before = Buffer.from(signer.sign(makeStatement(MODULES, makeBuild(), SUBJECT)));
    const attestor = await openAttestor(farm);
    if (attestor === undefined) throw new Error("it has an identity");
    const after = await attest(attestor, makeBuild(), MODULES);

    const builders = await ownBuilders(farm);
    expect([before, after].map((one) => judgeBundle(one, BUILD, builders).kind)).toEqual(["good", "good"]);
    expect(after.toString()).toContain('"certificate"');
    expect((await openKeyedAttestor(farm))?.builder).toEqual({ id: SUBJECT, key: signer.key });
  });
});
