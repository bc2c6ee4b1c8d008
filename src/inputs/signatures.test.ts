import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { makeSigningKey, type SigningKey } from "../../test/support/apt-repository.ts";
import { makeDeb } from "../../test/support/debs.ts";
import {
  partsOfRpm,
  type RpmParts,
  renamedTag,
  type Signatures,
  withSignatures,
} from "../../test/support/rpm-parts.ts";
import { makeRpm } from "../../test/support/rpms.ts";
import { startServer } from "../../test/support/server.ts";
import { sharedDirectory, temporaryDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { openScratch } from "../base/scratch.ts";
import { believedKeys, type KeySource } from "../catalog/signing-keys.ts";
import type { Package } from "../kernel/kernel.ts";
import { Inputs } from "./inputs.ts";
import { PackageSignature } from "./package-signature.ts";
import { PackageSignatures } from "./signatures.ts";

const SHARED = sharedDirectory();
const KEY = makeSigningKey();
const RSA = makeSigningKey("rsa2048");
const OTHER = makeSigningKey();
const at = (time: string) => ["--faked-system-time", `${time}!`] as const;
const [LONG_AGO, THEN, LATER] = [at("20200101T000000"), at("20200601T000000"), at("20220101T000000")];
/** Its time ended in 2021. */
const OLD = makeSigningKey("ed25519", ...LONG_AGO);
const REVOKED = makeSigningKey();
/** As old, and without an end. */
const PAST = makeSigningKey("ed25519", ...LONG_AGO);

const NAME = { name: "kernel-devel", version: "5.14.0", release: "427.el9", architecture: "x86_64" } as const;
const KVERSION = "5.14.0-427.el9.x86_64";

/** A package as rpmbuild makes it, before anybody signed it. */
const PLAIN = readFileSync(
  makeRpm(SHARED, NAME.name, {
    ...NAME,
    files: { "usr/src/kernels/Makefile": "all:\n" },
    head: [`Provides: kernel-devel-uname-r = ${KVERSION}`],
  }),
);
const PARTS = partsOfRpm(PLAIN);

const SIGNED = new Map<string, Buffer>();

/** By the real rpmsign, which signs the same once. */
function signed(key: SigningKey, ...options: readonly string[]): Buffer {
  const name = [key.fingerprint, ...options].join(" ");
  const made = SIGNED.get(name) ?? sign(key, options);
  SIGNED.set(name, made);
  return made;
}

function sign(key: SigningKey, options: readonly string[]): Buffer {
  const file = join(mkdtempSync(join(SHARED, "sign-")), "package.rpm");
  writeFileSync(file, PLAIN);
  key.signRpms([file], ...options);
  return readFileSync(file);
}

const overHeader = (key: SigningKey, ...options: readonly string[]) =>
  key.gpg([...options, "--detach-sign"], PARTS.header);
const remade = (made: Signatures, parts: Omit<RpmParts, "signatures"> = PARTS) => withSignatures(parts, made);
/** Signed, and then with another header that bears its own signature. */
const withHeader = (header: Buffer) =>
  withSignatures({ ...PARTS, header }, { rsa: KEY.gpg(["--detach-sign"], header) });

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] as number) ^ 1;
  return changed;
}

/** Exports keys after something was done to them. */
function armoured(key: SigningKey): Buffer {
  return key.gpg(["--armor", "--export"]);
}

function withEnd(key: SigningKey): Buffer {
  key.gpg([...at("20200102T000000"), "--quick-set-expire", key.fingerprint, "20210101T000000"]);
  return armoured(key);
}

function revoked(key: SigningKey): Buffer {
  const certificate = readFileSync(join(key.home, "openpgp-revocs.d", `${key.fingerprint}.rev`), "utf8");
  key.gpg(["--import"], certificate.replace(":-----BEGIN", "-----BEGIN"));
  return armoured(key);
}

const OLD_SIGNATURES = { inTime: overHeader(OLD, ...THEN), tooLate: overHeader(OLD, ...LATER) };
const REVOKED_SIGNATURE = overHeader(REVOKED);
const KEYS = Buffer.concat([
  readFileSync(KEY.armoured),
  readFileSync(RSA.armoured),
  withEnd(OLD),
  armoured(PAST),
  revoked(REVOKED),
]);

async function openContext() {
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  const http = new Http({ retries: 0 });
  onTestFinished(async () => {
    await http.close();
    await scratch.close();
  });
  return { cache, scratch, http };
}

async function read(bytes: Buffer, keys = KEYS): Promise<PackageSignature> {
  const signatures = new PackageSignatures({ ...(await openContext()), signersOf: () => [] });
  return signatures.read(Readable.from([bytes]), keys);
}

const RPMKEYS = ["--dbpath", join(SHARED, "db"), "--define", "_pkgverify_level all"];

beforeAll(() => {
  const keys = join(SHARED, "keys.asc");
  writeFileSync(keys, KEYS);
  execFileSync("rpmkeys", [...RPMKEYS, "--import", keys], { stdio: "ignore" });
});

/** Whether the real rpmkeys is content, if it demands that header and payload are signed by one of the keys. */
function rpmkeysAccepts(bytes: Buffer): boolean {
  const file = join(SHARED, "package.rpm");
  writeFileSync(file, bytes);
  return spawnSync("rpmkeys", [...RPMKEYS, "--checksig", file], { stdio: "ignore" }).status === 0;
}

const TAMPERED_PAYLOAD = signed(KEY);
const CASES: readonly [what: string, bytes: () => Buffer, answer: string, rpmkeys: boolean][] = [
  ["signed by rpmsign, with EdDSA", () => signed(KEY), "signed", true],
  ["signed by rpmsign, with RSA", () => signed(RSA), "signed", true],
  ["signed also over header and payload, as before rpm 4.14", () => signed(RSA, "--rpmv3"), "signed", true],
  ["signed twice, by the same signature under two tags", () => remade(same(overHeader(KEY))), "signed", true],
  [
    "signed in time, by a key whose time is over",
    () => remade({ rsa: OLD_SIGNATURES.inTime }),
    "signed",
    true,
  ],
  ["that nobody signed", () => PLAIN, "unsigned", false],
  ["that has digests alone, remade", () => remade({}), "unsigned", false],
  ["signed by a stranger", () => signed(OTHER), "strangeKey", false],
  ["signed only over header and payload", () => remade({ legacy: overWhole(RSA) }), "legacySignature", true],
  [
    "whose header does not name its payload",
    () => withHeader(renamedTag(PARTS.header, 5092, 5999)),
    "legacySignature",
    false,
  ],
  [
    "whose header does not say by what it names its payload",
    () => withHeader(renamedTag(PARTS.header, 5093, 5999)),
    "legacySignature",
    true,
  ],
  ["whose payload is named by an MD5", () => withHeader(withAlgorithm(1)), "weakSignature", true],
  ["whose payload is named by a SHA-1", () => withHeader(withAlgorithm(2)), "weakSignature", true],
  [
    "signed with SHA-1",
    () => remade({ rsa: overHeader(RSA, "--digest-algo", "sha1") }),
    "weakSignature",
    true,
  ],
  [
    "with two signatures of its keys in two tags",
    () => remade({ rsa: overHeader(RSA), dsa: overHeader(KEY) }),
    "severalSignatures",
    true,
  ],
  [
    "with two signatures in one tag",
    () => remade({ rsa: Buffer.concat([overHeader(KEY), overHeader(RSA)]) }),
    "severalSignatures",
    false,
  ],
  [
    "with two signatures as rpm 6 has them",
    () => remade({ openpgp: [overHeader(KEY), overHeader(RSA)] }),
    "severalSignatures",
    false,
  ],
  ["with one signature as rpm 6 has it", () => remade({ openpgp: [overHeader(KEY)] }), "signed", false],
  ["signed after the key's time", () => remade({ rsa: OLD_SIGNATURES.tooLate }), "expiredSignature", true],
  [
    "signed for two days that are over",
    () => remade({ rsa: overHeader(PAST, ...THEN, "--default-sig-expire", "2d") }),
    "expiredSignature",
    false,
  ],
  ["signed by a key that was revoked", () => remade({ rsa: REVOKED_SIGNATURE }), "revokedKey", true],
  [
    "whose header was changed",
    () => remade({ rsa: overHeader(KEY) }, withName("kernel-duvel")),
    "changedHeader",
    false,
  ],
  [
    "whose header's reserved bytes are used",
    () => remade({ rsa: overHeader(KEY) }, { ...PARTS, header: flipped(PARTS.header, 5) }),
    "changedHeader",
    false,
  ],
  [
    "whose payload was changed",
    () => flipped(TAMPERED_PAYLOAD, TAMPERED_PAYLOAD.length - 30),
    "changedPayload",
    false,
  ],
  [
    "with bytes behind its payload",
    () => Buffer.concat([TAMPERED_PAYLOAD, Buffer.from("x")]),
    "changedPayload",
    false,
  ],
  ["without the end of its payload", () => TAMPERED_PAYLOAD.subarray(0, -1), "changedPayload", false],
  [
    "with another's signature, of another package",
    () => remade({ rsa: KEY.gpg(["--detach-sign"], "other") }),
    "changedHeader",
    false,
  ],
  [
    "with a signed message in place of a signature",
    () => remade({ rsa: KEY.gpg(["--sign"], PARTS.header) }),
    "unreadableSignature",
    false,
  ],
  [
    "with a cleartext message in place of a signature",
    () => remade({ rsa: KEY.gpg(["--clearsign"], PARTS.header) }),
    "unreadableSignature",
    false,
  ],
  [
    "with no signature where one should be",
    () => remade({ rsa: Buffer.from("no signature") }),
    "unreadableSignature",
    false,
  ],
  ["that is none", () => Buffer.from("<html>not found</html>"), "unreadableSignature", false],
  ["that ends in its header", () => TAMPERED_PAYLOAD.subarray(0, 1500), "unreadableSignature", false],
];

function same(signature: Buffer): Signatures {
  return { rsa: signature, openpgp: [signature] };
}

function overWhole(key: SigningKey): Buffer {
  return key.gpg(["--detach-sign"], Buffer.concat([PARTS.header, PARTS.payload]));
}

function withName(name: string): RpmParts {
  const at = PARTS.header.indexOf(NAME.name);
  const header = Buffer.from(PARTS.header);
  header.write(name, at);
  return { ...PARTS, header };
}

/** Entry of the payload digest's algorithm, whose value lies in the store. */
function withAlgorithm(algorithm: number): Buffer {
  const header = Buffer.from(PARTS.header);
  const entries = header.readUInt32BE(8);
  for (let at = 16; at < 16 + entries * 16; at += 16)
    if (header.readUInt32BE(at) === 5093)
      header.writeUInt32BE(algorithm, 16 + entries * 16 + header.readUInt32BE(at + 8));
  return header;
}

describe("the signature of a package", () => {
  test.each(CASES)("%s is judged by what was signed", async (_, make, answer, rpmkeys) => {
    const bytes = make();

    const found = await read(bytes);

    expect(found.kind === "signed" ? "signed" : found.why).toBe(answer);
    expect(rpmkeysAccepts(bytes), "rpmkeys").toBe(rpmkeys);
  });

  // Whatever rpm takes and we do not is a choice; nothing may be the other way round, but rpm 6's own form.
  test("counts only where rpm takes it too", () => {
    const laxer = CASES.filter(([, , answer, rpmkeys]) => answer === "signed" && !rpmkeys);

    expect(laxer.map(([what]) => what)).toEqual(["with one signature as rpm 6 has it"]);
  });

  test("says by whom, over what, and what the package calls itself", async () => {
    const found = await read(signed(KEY));

    const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    expect(found).toEqual({
      kind: "signed",
      key: KEY.fingerprint,
      header: sha256(PARTS.header),
      payload: sha256(PARTS.payload),
      ...{ name: "kernel-devel", version: "5.14.0-427.el9", architecture: "x86_64", releases: [KVERSION] },
    });
  });

  test("of a package whose bytes are damaged anywhere is never good", async () => {
    const bytes = signed(KEY);
    const after = 96 + 16 + 8;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: bytes.length - 1 }), async (at) => {
        const found = await read(flipped(bytes, at));
        // The lead, and what the signature header says beside the signature, say nothing of the package.
        const isSaid = at >= after && partsOfRpm(bytes).signatures.length + 96 <= at;
        if (isSaid) expect(found.kind).toBe("refused");
        else expect(PackageSignature.safeParse(found).success).toBe(true);
      }),
      { numRuns: 15 },
    );
  });
});

/** A server that has a package and a key, and a machine that fetches from it. */
async function openWorld(bytes: Buffer, ending: "rpm" | "deb" = "rpm") {
  const answers = new Map<string, Buffer>([
    [`/package.${ending}`, bytes],
    ["/key.asc", KEYS],
  ]);
  const server = await startServer((request, response) => {
    const answer = answers.get(request.url ?? "");
    response.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
  const context = await openContext();
  const keys: KeySource = {
    ...{ what: "almalinux9", urls: [`${server.url}/key.asc`] },
    fingerprints: [KEY.fingerprint, RSA.fingerprint],
  };
  const inputs = new Inputs({
    ...context,
    mirrors: new Map([["almalinux9.4/BaseOS", server.url]]),
    signersOf: () => [keys],
  });
  const wanted: Package = {
    ...{ name: "kernel-devel", version: "5.14.0-427.el9", architecture: "x86_64" as const },
    sha256: createHash("sha256").update(bytes).digest("hex"),
    size: bytes.length,
    source: "almalinux9.4/BaseOS",
    path: `package.${ending}`,
  };
  const fetched = () => server.requests.filter((path) => path.includes("package"));
  const remembered = () => readdir(join(context.cache, "signatures")).catch((): string[] => []);
  return { inputs, wanted, answers, fetched, remembered, context, keys };
}

describe("what is found out of a signature", () => {
  test.each<[string, (inputs: Inputs, wanted: Package) => Promise<unknown>]>([
    ["unpacked", (inputs, wanted) => inputs.unpack(wanted)],
    ["read as it flies by", (inputs, wanted) => inputs.stream(wanted, buffer)],
    ["left by its reader at once", (inputs, wanted) => inputs.stream(wanted, async () => undefined)],
  ])("when a package is %s is remembered, and nothing fetched for it", async (_, use) => {
    const { inputs, wanted, fetched } = await openWorld(signed(KEY));

    await use(inputs, wanted);
    const found = await inputs.signatureOf(wanted);

    expect(found).toMatchObject({ kind: "signed", key: KEY.fingerprint });
    expect(fetched().length).toBe(1);
  });

  test("of a package that was not fetched yet costs fetching it, once", async () => {
    const { inputs, wanted, fetched } = await openWorld(signed(KEY));

    const answers = [await inputs.signatureOf(wanted), await inputs.signatureOf(wanted)];

    expect(answers).toMatchObject([{ kind: "signed" }, { kind: "signed" }]);
    expect(fetched().length).toBe(1);
  });

  test("of a package in the cache of an earlier version is read there", async () => {
    const { inputs, wanted, fetched, context, keys } = await openWorld(signed(KEY));
    const earlier = new Inputs({
      ...context,
      mirrors: new Map([["almalinux9.4/BaseOS", keys.urls[0]?.replace("/key.asc", "") ?? ""]]),
    });
    await earlier.unpack(wanted);

    expect(await inputs.signatureOf(wanted)).toMatchObject({ kind: "signed" });
    expect(fetched().length).toBe(1);
  });

  test("of wrong bytes is not remembered for the right ones", async () => {
    const { inputs, wanted, answers, remembered } = await openWorld(PLAIN);
    answers.set("/package.rpm", signed(KEY));

    await expect(inputs.unpack(wanted)).rejects.toThrow(expect.objectContaining({ code: "DIGEST_MISMATCH" }));
    await expect(inputs.signatureOf(wanted)).rejects.toThrow(
      expect.objectContaining({ code: "DIGEST_MISMATCH" }),
    );
    expect(await remembered()).toEqual([]);
  });

  test("counts for the keys that it was judged by alone", async () => {
    const { inputs, wanted, context, keys } = await openWorld(signed(OTHER));
    const first = await inputs.signatureOf(wanted);
    const file = join(context.cache, "other.asc");
    writeFileSync(file, readFileSync(OTHER.armoured));
    const later = new Inputs({
      ...context,
      mirrors: new Map([["almalinux9.4/BaseOS", keys.urls[0]?.replace("/key.asc", "") ?? ""]]),
      signersOf: () => [{ what: "almalinux9", file, urls: [], fingerprints: [OTHER.fingerprint] }],
    });

    expect(first).toMatchObject({ kind: "refused", why: "strangeKey" });
    expect(await later.signatureOf(wanted)).toMatchObject({ kind: "signed", key: OTHER.fingerprint });
  });

  test("is nothing while the keys cannot be had; the package is fetched and unpacked all the same", async () => {
    const { inputs, wanted, answers, remembered } = await openWorld(signed(KEY));
    answers.delete("/key.asc");

    const { tree } = await inputs.unpack(wanted);

    expect(await readdir(tree)).toContain("usr");
    expect(await inputs.signatureOf(wanted)).toMatchObject({ kind: "refused", why: "noKeys" });
    expect(await remembered()).toEqual([]);
    answers.set("/key.asc", KEYS);
    expect(await inputs.signatureOf(wanted)).toMatchObject({ kind: "signed" });
  });

  test("is not asked of other formats", async () => {
    const bytes = readFileSync(await makeDeb(await temporaryDirectory(), "headers", { "usr/x": "x" }));
    const { inputs, wanted, remembered } = await openWorld(bytes, "deb");
    await inputs.unpack(wanted);

    expect(await inputs.signatureOf(wanted)).toMatchObject({ kind: "refused", why: "noKeys" });
    expect(await remembered()).toEqual([]);
  });

  test("needs keys with their fingerprints: the server's own word on them is nothing", async () => {
    const { wanted, context, keys } = await openWorld(signed(OTHER));
    const evil = { ...keys, fingerprints: ["0".repeat(40)] };
    await expect(believedKeys(evil, context)).rejects.toThrow(
      expect.objectContaining({ code: "SIGNATURE_INVALID" }),
    );
    const inputs = new Inputs({ ...context, mirrors: new Map(), signersOf: () => [evil] });

    expect(await inputs.signatureOf(wanted)).toMatchObject({ kind: "refused", why: "noKeys" });
  });
});
