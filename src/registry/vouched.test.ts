/** What whoever can write to a store gets a farm to publish upon, or to sign: nothing that no key of it vouches for. */
import { beforeEach, describe, expect, test } from "vitest";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { makeTestKey, ORIGIN, signed, type TestKey, trustOf } from "../../test/support/notes.ts";
import { around } from "../../test/support/scripted-store.ts";
import {
  firstRoot,
  HEAD_KEY,
  headMaker,
  publishSigned,
  putRoot,
  ROOT_KEY,
} from "../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256, toDocument } from "../base/json.ts";
import { HEAD_PATH, writeHead } from "../provenance/head.ts";
import { writeNote } from "../provenance/signed-note.ts";
import { type Vouch, vouchPath, writeVouch } from "../provenance/vouch.ts";
import { type Author, publish } from "./commit.ts";
import { artifactName } from "./decisions.ts";
import type { Decision, Published } from "./documents.ts";
import { generationPath, POINTER, readPublished } from "./generations.ts";
import { publishHead } from "./head.ts";
import { readTrusts } from "./metadata.ts";
import { prune } from "./prune.ts";
import { nextState } from "./publish.ts";
import { newestHead, serialPath } from "./serials.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";
import { verifyRegistry } from "./verify.ts";
import { openVoucher, readVouched } from "./vouched.ts";

const ELEMENT = makeElement();
const CLOCK = { now: new Date("2026-11-28T02:10:00Z") };
const STRANGER = { who: "nobody", what: "run", now: () => CLOCK.now };
const DENIAL: Decision = {
  ...{ at: CLOCK.now.toISOString(), action: "withdraw", by: "ann", why: "it panics", verdicts: [] },
  artifact: artifactName(makeEntry(ELEMENT, "built")),
  denied: { modules: [], kernels: ["debian12/x86_64/6.1.0-56-amd64_6.1.170-3"] },
};
const coded = (code: string) => expect.objectContaining({ code });
const UNVOUCHED = coded("GENERATION_UNVOUCHED");

let store: Store;
/** The same files, for somebody who remembers nothing. */
const reopened = (): Promise<Store> => openFolderStore(store.place);

beforeEach(async () => {
  store = await openFolderStore(await temporaryDirectory());
  for (const content of ["built", "again", "evil"]) await putBlobs(store, ELEMENT, content);
  await putRoot(store, firstRoot());
  await publishSigned(store, { ...stateOf("built"), decisions: [DENIAL] }, CLOCK);
});

function stateOf(content: string, before: Published = NOTHING): Published {
  const artifact = { entry: makeEntry(ELEMENT, content), isStable: true };
  return nextState(before, makeCatalog([makeKernel()]), [makeOutcome(ELEMENT, { artifact })]);
}

async function publishAs(author: Author, content: string, place = store): Promise<Published> {
  const { state } = await publish(
    place,
    (before) => ({ state: stateOf(content, before), result: undefined }),
    author,
  );
  return state;
}

const farm = (keys: readonly TestKey[] = [HEAD_KEY]): Author => ({
  ...{ who: "farm", what: "run", now: () => CLOCK.now, head: headMaker(CLOCK, keys) },
});

/** Every file but parts, which nothing names until they are published. */
async function filesOf(place: Store): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for await (const { path } of place.walk(""))
    if (!path.startsWith("blobs/")) files.set(path, String(await place.read(path)));
  return files;
}

/** The farm refuses to publish, to sign a head, and to read for signing; and writes nothing. */
async function refuses(error: unknown, keys: readonly TestKey[] = [HEAD_KEY]): Promise<void> {
  const place = await reopened();
  const before = await filesOf(place);
  const maker = headMaker(CLOCK, keys);
  const voucher = await openVoucher(place, maker);
  await expect(publishAs(farm(keys), "again", place)).rejects.toThrow(error as Error);
  await expect(readVouched(place, voucher)).rejects.toThrow(error as Error);
  await expect(publishHead(place, NOTHING, voucher)).rejects.toThrow(error as Error);
  expect(await filesOf(place)).toEqual(before);
}

async function putVouch(by: TestKey, changes: Partial<Vouch> = {}): Promise<void> {
  const { head } = await readPublished(store);
  if (head === null) throw new Error("nothing is published");
  const parent = { number: head.number - 1, digest: head.digest };
  const text = writeVouch({ origin: ORIGIN, generation: head, parent, ...changes });
  const note = signed(text, changes.origin ?? ORIGIN, [by]);
  await store.write(vouchPath(head.digest), writeNote(note));
}

test("without its heads a farm's generation is vouched for by its note, and without its note by the head", async () => {
  const { head } = await publishAs(farm(), "again");
  const notes = await Promise.all(
    (await store.list("metadata/generations")).map(async (name) => {
      const path = `metadata/generations/${name}`;
      return { path, bytes: (await store.read(path)) ?? "" };
    }),
  );
  const read = async () => {
    const place = await reopened();
    return (await readVouched(place, await openVoucher(place, headMaker(CLOCK)))).head;
  };
  await store.removeAll("metadata/generations");
  expect(await read()).toEqual(head);
  for (const { path, bytes } of notes) await store.write(path, bytes);
  await store.removeAll(HEAD_PATH);
  await store.removeAll("metadata/heads");
  expect(await read()).toEqual(head);
});

test("of a farm from before there were notes, the head vouches for the newest generation", async () => {
  await store.removeAll("metadata/generations");

  expect((await publishAs(farm(), "again", await reopened())).head?.number).toBe(2);
});

test("a generation that was published by a writer who was killed before the head goes on by itself", async () => {
  const killed = around(store, (path) => {
    if (path.startsWith("metadata/heads/")) throw new Error("killed");
  });
  await expect(publishAs(farm(), "again", killed)).rejects.toThrow("killed");

  const place = await reopened();
  const { head } = await publishAs(farm(), "again", place);

  expect((await newestHead(place, await readTrusts(place)))?.head.generation).toEqual(head);
});

describe("who can write to the store, and has no key,", () => {
  test("has nothing published upon a generation of his own, no head signed over it", async () => {
    await publishAs(STRANGER, "evil");

    await refuses(UNVOUCHED);
  });

  test("takes no decision away", async () => {
    await expect(
      publish(store, (before) => ({ state: { ...before, decisions: [] }, result: undefined }), STRANGER),
    ).rejects.toThrow(coded("BUG"));
    const { head, parts, ...rest } = await readPublished(store);
    const kept = Object.fromEntries(Object.entries(parts).filter(([name]) => !name.startsWith("decisions")));
    const text = String(await store.read(generationPath(1)));
    const forged = { ...JSON.parse(text), number: 2, parent: head, parts: kept };
    await store.create(generationPath(2), toDocument(forged));
    expect(rest.decisions).toHaveLength(1);

    await refuses(UNVOUCHED);
  });

  test("changes no generation that there is", async () => {
    await publishAs(farm(), "again");
    const text = String(await store.read(generationPath(2)));
    await store.remove(generationPath(2));
    await store.remove(POINTER);
    await store.write(generationPath(2), text.replace('"who":"farm"', '"who":"mafr"'));

    await refuses(UNVOUCHED);
  });

  test("does not go back to an earlier one", async () => {
    const pointer = String(await store.read(POINTER));
    await publishAs(farm(), "again");
    await store.removeAll("generations/2");
    await store.write(POINTER, pointer);

    await refuses(coded("METADATA_ROLLED_BACK"));
  });

  test("does not go back to an earlier one by an earlier head in the place of the newest", async () => {
    const [pointer, head] = [await store.read(POINTER), await store.read(HEAD_PATH)];
    await publishAs(farm(), "again");
    await store.removeAll("generations/2");
    await store.write(POINTER, pointer ?? "");
    await store.write(HEAD_PATH, head ?? "");

    await refuses(coded("METADATA_ROLLED_BACK"));
  });

  test("has no head signed that is newer than the newest, by taking one away from the middle", async () => {
    const [pointer, head] = [await store.read(POINTER), await store.read(HEAD_PATH)];
    await publishAs(farm(), "again");
    await publishAs(farm(), "built");
    for (const path of ["generations/2", "generations/3", serialPath(2)]) await store.removeAll(path);
    await store.write(POINTER, pointer ?? "");
    await store.write(HEAD_PATH, head ?? "");

    for (const content of ["again", "built"])
      await expect(publishAs(farm(), content, await reopened())).rejects.toThrow(
        coded("METADATA_ROLLED_BACK"),
      );
    expect(await store.list("metadata/heads")).toEqual(["1", "3"]);
  });

  test.each<[string, (key: TestKey) => Promise<void>]>([
    ["of another key", (key) => putVouch(key)],
    ["of another registry", () => putVouch(HEAD_KEY, { origin: "other.example.org/drivers" })],
    [
      "of another number",
      async () => {
        const { head } = await readPublished(store);
        if (head === null) throw new Error("nothing is published");
        const generation = { ...head, number: 3 };
        await putVouch(HEAD_KEY, { generation, parent: head });
      },
    ],
    ["of the generation before", async () => putFirstNote()],
    ["that is none", () => readPublished(store).then(({ head }) => spoil(head?.digest))],
  ])("does not get by with a note %s", async (_, put) => {
    await publishAs(STRANGER, "evil");
    await put(makeTestKey());

    await refuses(UNVOUCHED);
  });

  test("does not get by with heads taken away, or a head of his own", async () => {
    const { head } = await publishAs(STRANGER, "evil");
    await store.removeAll(HEAD_PATH);
    await store.removeAll("metadata/heads");
    await refuses(UNVOUCHED);
    const [issued, expires] = ["2026-11-28T02:10:00Z", "2026-12-05T02:10:00Z"];
    if (head === null) throw new Error("nothing is published");
    const text = writeHead({ origin: ORIGIN, serial: 2, issued, expires, generation: head, indices: [] });
    await store.write(HEAD_PATH, writeNote(signed(text, ORIGIN, [makeTestKey()])));

    await refuses(coded("METADATA_UNSIGNED"));
  });

  test("does not get by with a root of his own that trusts the farm's key beside his", async () => {
    const his = makeTestKey();
    const { head } = await publishAs(STRANGER, "evil");
    if (head === null) throw new Error("nothing is published");
    await putRoot(store, trustOf([his], [HEAD_KEY, his]), [his]);
    await putVouch(his);
    await refuses(UNVOUCHED);
    const [issued, expires] = ["2026-11-28T02:10:00Z", "2026-11-29T02:10:00Z"];
    const text = writeHead({ origin: ORIGIN, serial: 2, issued, expires, generation: head, indices: [] });
    await store.write(serialPath(2), writeNote(signed(text, ORIGIN, [his])));

    await refuses(UNVOUCHED);
  });

  test("gets no index of his signed again, by a head of his over the farm's own generation", async () => {
    const his = makeTestKey();
    const first = await newestHead(store, await readTrusts(store));
    const { head } = await readPublished(store);
    await putRoot(store, trustOf([his], [HEAD_KEY, his]), [his]);
    const [issued, expires] = ["2026-11-28T02:10:00Z", "2026-12-05T02:10:00Z"];
    const indices = [{ driver: "doorbell", machine: "x86_64", widths: "1", top: sha256("evil") }];
    if (head === null) throw new Error("nothing is published");
    const text = writeHead({ origin: ORIGIN, serial: 2, issued, expires, generation: head, indices });
    await store.write(serialPath(2), writeNote(signed(text, ORIGIN, [his])));

    const place = await reopened();
    const signedAnew = await publishHead(place, NOTHING, await openVoucher(place, headMaker(CLOCK)));

    expect(signedAnew).toMatchObject({ serial: 3, generation: head, indices: first?.head.indices });
  });

  async function putFirstNote(): Promise<void> {
    const { head } = await readPublished(store);
    const [first] = (await store.list("metadata/generations")).map((hex) => `metadata/generations/${hex}`);
    if (head === null || first === undefined) throw new Error("nothing is published");
    await store.write(vouchPath(head.digest), (await store.read(first)) ?? "");
  }

  async function spoil(digest: Parameters<typeof vouchPath>[0] | undefined): Promise<void> {
    if (digest !== undefined) await store.write(vouchPath(digest), "kmodfarm generation v1\n");
  }
});

test("where the root trusts no key of the farm, all is as without keys", async () => {
  await publishAs(STRANGER, "evil");
  const other = makeTestKey();

  await expect(publishAs(farm([other]), "again")).rejects.toThrow(coded("METADATA_UNSIGNED"));
  expect((await readPublished(store)).head?.number).toBe(3);
});

test("prune removes the notes of what is gone and of lost races, and verify names a stranger's", async () => {
  await publishAs(farm(), "again");
  await publishAs(farm(), "built");
  const names = await store.list("metadata/generations");
  expect(names).toHaveLength(3);
  const later = new Date(Date.now() + 1000);
  await prune(store, { keep: 2, graceMs: 0, now: later, isDryRun: false });
  expect(await store.list("metadata/generations")).toHaveLength(2);
  const look = async () => {
    const { breaks } = await verifyRegistry(store, { now: CLOCK.now });
    return breaks.map(({ fact }) => fact).filter((fact) => fact.includes("/metadata/"));
  };
  expect(await look()).toEqual([]);

  await putVouch(makeTestKey());
  expect(await look()).toEqual([expect.stringContaining("is of no key that a root names")]);
  await putVouch(ROOT_KEY);
  expect(await look()).toEqual([expect.stringContaining("is of no key that a root names")]);
});

test("costs one small file for each generation, and nothing in a night without news", async () => {
  const written: string[] = [];
  const watched = around(store, (path) => void written.push(path));
  await publishAs(farm(), "again", watched);
  expect(written.filter((path) => path.startsWith("metadata/generations/"))).toHaveLength(1);
  written.length = 0;
  await publishAs(farm(), "again", watched);

  expect(written).toEqual([]);
});
