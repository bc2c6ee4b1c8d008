/** Keys and signed notes for tests, and every small change that a stranger could make to a file of lines. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { type PublicKey, publicKeyOf } from "../../src/provenance/public-key.ts";
import {
  cosignedText,
  noteCosignature,
  noteSignature,
  type SignedNote,
} from "../../src/provenance/signed-note.ts";
import type { Trust } from "../../src/provenance/trust.ts";

export interface TestKey {
  readonly publicKey: PublicKey;
  readonly privateKey: KeyObject;
}

export function makeTestKey(kind: "p256" | "ed25519" = "p256"): TestKey {
  const { privateKey, publicKey } =
    kind === "p256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("ed25519");
  return { privateKey, publicKey: publicKeyOf(publicKey, "a test's key") };
}

export function signature(text: string, { privateKey, publicKey }: TestKey): Buffer {
  if (publicKey.kind === "ed25519") return sign(null, Buffer.from(text), privateKey);
  return sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "der" });
}

export function signed(text: string, origin: string, keys: readonly TestKey[]): SignedNote {
  return { text, signatures: keys.map((key) => noteSignature(origin, key.publicKey, signature(text, key))) };
}

/** A witness's line below a note. */
export function cosignature(name: string, text: string, key: TestKey, seconds = 1_764_000_000) {
  return noteCosignature(name, key.publicKey, seconds, signature(cosignedText(text, seconds), key));
}

export function testKeyFromPem(pem: string): TestKey {
  const privateKey = createPrivateKey(pem);
  return { privateKey, publicKey: publicKeyOf(createPublicKey(pem), "a test's key") };
}

export const ORIGIN = "farm.example.org/drivers";

export function trustOf(
  root: readonly TestKey[],
  head: readonly TestKey[],
  { version = 1, threshold = 1, expires = "2030-01-01T00:00:00Z", origin = ORIGIN } = {},
): Trust {
  const digests = (keys: readonly TestKey[]) => keys.map(({ publicKey }) => publicKey.fingerprint).toSorted();
  const all = [...root, ...head].map(({ publicKey }): [PublicKey["fingerprint"], PublicKey] => [
    publicKey.fingerprint,
    publicKey,
  ]);
  return {
    ...{ origin, version, expires, keys: new Map(all) },
    roles: { root: { threshold, keys: digests(root) }, head: { threshold: 1, keys: digests(head) } },
  };
}

/** The same for a registry with a log, and perhaps witnesses. */
export function trustWithLog(
  trust: Trust,
  log: readonly TestKey[],
  witness: readonly TestKey[] = [],
  threshold = 1,
): Trust {
  const digests = (keys: readonly TestKey[]) => keys.map(({ publicKey }) => publicKey.fingerprint).toSorted();
  const more = [...log, ...witness].map(({ publicKey }): [PublicKey["fingerprint"], PublicKey] => [
    publicKey.fingerprint,
    publicKey,
  ]);
  return {
    ...trust,
    keys: new Map([...trust.keys, ...more]),
    roles: {
      ...trust.roles,
      log: { threshold: 1, keys: digests(log) },
      ...(witness.length === 0 ? {} : { witness: { threshold, keys: digests(witness) } }),
    },
  };
}

/** Every byte changed in one bit. */
export function* flippedBytes(bytes: Buffer): Generator<{ readonly at: number; readonly changed: Buffer }> {
  for (const [at, old] of bytes.entries()) {
    const changed = Buffer.from(bytes);
    changed[at] = old ^ (1 << (at % 8));
    yield { at, changed };
  }
}

/** Every byte changed in one bit, and to what readers like to take for something else. */
export function* changedBytes(bytes: Buffer): Generator<{ readonly at: number; readonly changed: Buffer }> {
  for (let at = 0; at < bytes.length; at++) {
    const old = bytes[at] as number;
    for (const other of new Set([old ^ 1, old ^ 0x20, old ^ 0x80, 0x0d, 0x00, 0x0a, 0x20])) {
      if (other === old) continue;
      const changed = Buffer.from(bytes);
      changed[at] = other;
      yield { at, changed };
    }
  }
}

/** Lines doubled, left out, swapped with the next, begun with a blank; the file cut anywhere, or longer than it was. */
export function* changedLines(text: string): Generator<{ readonly what: string; readonly changed: Buffer }> {
  for (const one of lineChanges(text)) if (!one.changed.equals(Buffer.from(text))) yield one;
}

function* lineChanges(text: string): Generator<{ readonly what: string; readonly changed: Buffer }> {
  const lines = text.split("\n").slice(0, -1);
  const put = (some: readonly string[]) => Buffer.from(some.map((line) => `${line}\n`).join(""));
  for (const [at, line] of lines.entries()) {
    yield { what: `line ${at} twice`, changed: put([...lines.slice(0, at + 1), ...lines.slice(at)]) };
    yield { what: `no line ${at}`, changed: put(lines.toSpliced(at, 1)) };
    yield { what: `a blank before line ${at}`, changed: put(lines.with(at, ` ${line}`)) };
    yield { what: `a blank after line ${at}`, changed: put(lines.with(at, `${line} `)) };
    yield { what: `CR after line ${at}`, changed: put(lines.with(at, `${line}\r`)) };
    yield { what: `two blanks in line ${at}`, changed: put(lines.with(at, line.replace(" ", "  "))) };
    yield { what: `a tab in line ${at}`, changed: put(lines.with(at, line.replace(" ", "\t"))) };
    yield { what: `UTF-8 in line ${at}`, changed: put(lines.with(at, line.replace("e", "é"))) };
    yield { what: `an empty line before ${at}`, changed: put(lines.toSpliced(at, 0, "")) };
    const next = lines[at + 1];
    if (next !== undefined)
      yield { what: `lines ${at} and ${at + 1} swapped`, changed: put(lines.toSpliced(at, 2, next, line)) };
  }
  const bytes = Buffer.from(text);
  for (let length = 0; length < bytes.length; length++)
    yield { what: `cut at ${length}`, changed: bytes.subarray(0, length) };
  for (const tail of ["\n", "\0", "x", "x\n", "\r\n"])
    yield { what: `${JSON.stringify(tail)} at the end`, changed: Buffer.concat([bytes, Buffer.from(tail)]) };
}
