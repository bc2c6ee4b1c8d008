/** A root that whoever can write to the store put there: it trusts the farm's keys, and one of his own. */
import { expect, test } from "vitest";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../../../test/support/artifacts.ts";
import { makeElement } from "../../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../../test/support/kernels.ts";
import { makeTestKey, ORIGIN, signed, trustOf } from "../../../test/support/notes.ts";
import { headMaker, publishSigned, putRoot } from "../../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { HEAD_PATH, readHead, writeHead } from "../../provenance/head.ts";
import { writeNote } from "../../provenance/signed-note.ts";
import { rootPath, writeTrust } from "../../provenance/trust.ts";
import { vouchPath, writeVouch } from "../../provenance/vouch.ts";
import { publish } from "../../registry/commit.ts";
import type { Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { nextState } from "../../registry/publish.ts";
import { newestHead, serialPath } from "../../registry/serials.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import type { Store } from "../../registry/stores/store.ts";
import { newRoot, publishRoot, signForRoot } from "./ceremony.ts";

const ELEMENT = makeElement();
const [ann, bob, own, stranger] = [makeTestKey(), makeTestKey(), makeTestKey(), makeTestKey()];
const clock = { now: new Date("2026-11-28T02:10:00Z") };
const root = newRoot(
  { origin: ORIGIN, rootKeys: [ann.publicKey, bob.publicKey], headKeys: [own.publicKey] },
  undefined,
  clock.now,
);
const foreign = trustOf([ann, bob, stranger], [own, stranger]);

const stateOf = (content: string, before: Published = NOTHING) =>
  nextState(before, makeCatalog([makeKernel()]), [
    makeOutcome(ELEMENT, { artifact: { entry: makeEntry(ELEMENT, content), isStable: true } }),
  ]);

async function openStore(): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  for (const content of ["built", "evil", "built again"]) await putBlobs(store, ELEMENT, content);
  await putRoot(store, root, [ann, bob]);
  await publishSigned(store, stateOf("built"), clock, headMaker(clock, [own]));
  return store;
}

test("has no forged generation signed when the next root is published", async () => {
  const store = await openStore();
  await putRoot(store, foreign, [stranger]);
  const before = (await readPublished(store)).head;
  const forged = await publish(store, (before) => ({ state: stateOf("evil", before), result: undefined }), {
    who: "nobody",
    what: "run",
    now: () => clock.now,
  });
  const generation = forged.state.head as NonNullable<Published["head"]>;
  const text = writeVouch({ origin: ORIGIN, generation, parent: before });
  await store.write(vouchPath(generation.digest), writeNote(signed(text, ORIGIN, [stranger])));
  const next = newRoot({ rootKeys: [], headKeys: [] }, root, clock.now);

  await publishRoot(store, signed(writeTrust(next), ORIGIN, [ann, bob]), "root-2");
  const again = await openFolderStore(store.place);

  await expect(signForRoot(again, headMaker(clock, [own]))).rejects.toMatchObject({
    code: "GENERATION_UNVOUCHED",
  });
  // Nor by a machine that has none of the keys that were trusted before.
  const other = await openFolderStore(store.place);
  await putRoot(store, { ...trustOf([ann], [makeTestKey()]), version: 1 }, [ann]);
  await expect(signForRoot(other, headMaker(clock, [own]))).rejects.toMatchObject({
    code: "GENERATION_UNVOUCHED",
  });
  expect(String(await store.read(HEAD_PATH))).toContain("serial 1\n");
});

test("has no head signed for a time that is still to come", async () => {
  const store = await openStore();
  await putRoot(store, foreign, [stranger]);
  const good = await newestHead(store, [foreign]);
  const future = writeHead({
    ...readHead(good?.note.text ?? "", "the head"),
    ...{ serial: 2, issued: "2999-01-01T00:00:00Z", expires: "2999-01-08T00:00:00Z" },
  });
  const note = writeNote(signed(future, ORIGIN, [stranger]));
  await store.write(serialPath(2), note);
  await store.write(HEAD_PATH, note);
  await store.write(rootPath(1), writeNote(signed(writeTrust(foreign), ORIGIN, [stranger])));

  const again = await openFolderStore(store.place);
  await publishSigned(
    again,
    stateOf("built again", await readPublished(again)),
    clock,
    headMaker(clock, [own]),
  );

  const head = await newestHead(again, [root]);
  expect(head?.head).toMatchObject({
    serial: 3,
    issued: "2026-11-28T02:10:00Z",
    expires: "2026-12-05T02:10:00Z",
  });
});
