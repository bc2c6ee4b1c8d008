import { describe, expect, test } from "vitest";
import { makeTestKey, ORIGIN, signature, type TestKey } from "../../../test/support/notes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { writeTrust } from "../../provenance/trust.ts";
import { readTrusts } from "../../registry/metadata.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import type { Role } from "../../signing/roles.ts";
import type { Farm } from "../open.ts";
import {
  makeFirstRoot,
  newRoot,
  originOf,
  publishRoot,
  readRootFile,
  signRoot,
  writeRootFile,
} from "./ceremony.ts";
import { headMaker } from "./heads.ts";

const NOW = new Date("2026-11-28T00:00:00Z");
const [a, b, c, head, newHead] = Array.from({ length: 5 }, makeTestKey) as [
  TestKey,
  TestKey,
  TestKey,
  TestKey,
  TestKey,
];
const publicKeys = (...keys: readonly TestKey[]) => keys.map(({ publicKey }) => publicKey);
const coded = (code: string) => expect.objectContaining({ code });

/** A machine that holds some keys. */
function machine(keys: Partial<Record<Role, readonly TestKey[]>>): Farm["signing"] {
  const named = (role: Role) => new Map((keys[role] ?? []).map((key, index) => [`${role}${index}`, key]));
  return {
    keyless: [],
    keysFor: async (role) => new Map([...named(role)].map(([name, { publicKey }]) => [name, publicKey])),
    sign: async (role, request, name = "") => {
      const key = named(role).get(name);
      if (key === undefined || !("text" in request)) throw new Error(`no key ${name}`);
      return signature(request.text, key);
    },
  };
}

/** A document goes from one machine to the next, as a file. */
async function signedOn(text: string, ...machines: readonly Farm["signing"][]): Promise<Buffer> {
  let file = Buffer.from(text);
  for (const signing of machines)
    file = Buffer.from(writeRootFile(await signRoot(readRootFile(file, "a file"), signing)));
  return file;
}

describe("the ceremony", () => {
  const first = newRoot(
    { origin: ORIGIN, rootKeys: publicKeys(a, b, c), headKeys: publicKeys(head) },
    undefined,
    NOW,
  );

  test("a first root: two of three keys by default, each on a machine of its own", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    const one = await signedOn(writeTrust(first), machine({ root: [a] }));
    await expect(publishRoot(store, readRootFile(one, "root-1"), "root-1")).rejects.toThrow(
      coded("METADATA_UNSIGNED"),
    );

    const two = await signedOn(one.toString(), machine({ root: [c] }));
    await publishRoot(store, readRootFile(two, "root-1"), "root-1");

    expect(first).toMatchObject({
      version: 1,
      expires: "2027-11-28T00:00:00Z",
      roles: { root: { threshold: 2 } },
    });
    expect((await readTrusts(store)).map(({ version }) => version)).toEqual([1]);
  });

  test("signing twice leaves one signature of each key", async () => {
    const file = await signedOn(writeTrust(first), machine({ root: [a] }), machine({ root: [a, b] }));

    expect(readRootFile(file, "a file").signatures).toHaveLength(2);
  });

  test("a rotation keeps what is not said, and needs the old keys", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    await publishRoot(
      store,
      readRootFile(await signedOn(writeTrust(first), machine({ root: [a, b] })), "root-1"),
      "root-1",
    );
    const next = newRoot({ rootKeys: [], headKeys: publicKeys(newHead) }, first, NOW);
    const byOthers = await signedOn(writeTrust(next), machine({ root: [head, newHead] }));
    const byOld = await signedOn(writeTrust(next), machine({ root: [b, c] }));

    expect(next).toMatchObject({ origin: ORIGIN, version: 2, roles: { root: first.roles.root } });
    await expect(publishRoot(store, readRootFile(byOthers, "root-2"), "root-2")).rejects.toThrow(
      coded("METADATA_UNSIGNED"),
    );
    await publishRoot(store, readRootFile(byOld, "root-2"), "root-2");
    await expect(publishRoot(store, readRootFile(byOld, "root-2"), "root-2")).rejects.toThrow(
      coded("METADATA_ROLLED_BACK"),
    );
    expect((await readTrusts(store)).at(-1)?.roles.head.keys).toEqual([newHead.publicKey.fingerprint]);
  });

  test("what is missing is named", () => {
    const make = (wishes: Partial<Parameters<typeof newRoot>[0]>) => () =>
      newRoot(
        { rootKeys: publicKeys(a), headKeys: publicKeys(head), origin: ORIGIN, ...wishes },
        undefined,
        NOW,
      );

    expect(make({ origin: undefined })).toThrow("--origin");
    expect(make({ origin: "two words" })).toThrow("--origin");
    expect(make({ headKeys: [] })).toThrow("--head-key");
    expect(make({ threshold: 2 })).toThrow(coded("NOTE_MALFORMED"));
  });

  test("a farm that made its own keys makes its own root, once", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    const own = machine({ root: [a], head: [head] });
    const maker = headMaker({ signing: own, config: { keys: [] } }, () => NOW);

    expect(await makeFirstRoot(store, own, maker, true)).toContain(originOf(a.publicKey));
    expect(await makeFirstRoot(store, own, maker, true)).toBeUndefined();
    expect((await readTrusts(store))[0]?.origin).toMatch(/^kmodfarm-[0-9a-f]{16}$/);
  });

  test("two first runs at once make one root, and neither fails", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    const own = machine({ root: [a], head: [head] });
    const maker = headMaker({ signing: own, config: { keys: [] } }, () => NOW);

    const both = await Promise.all([1, 2].map(() => makeFirstRoot(store, own, maker, true)));

    expect(both.filter((said) => said !== undefined)).toEqual([
      expect.stringContaining(originOf(a.publicKey)),
    ]);
    expect(await readTrusts(store)).toHaveLength(1);
  });
});
