import { expect, test } from "vitest";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { makeTestKey, trustOf } from "../../test/support/notes.ts";
import { around, failing } from "../../test/support/scripted-store.ts";
import {
  askRegistry,
  firstRoot,
  HEAD_KEY,
  headMaker,
  publishSigned,
  putRoot,
  ROOT_KEY,
} from "../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { acceptHead, HEAD_PATH } from "../provenance/head.ts";
import type { SignedNote } from "../provenance/signed-note.ts";
import { publish } from "./commit.ts";
import type { Published } from "./documents.ts";
import { fsck } from "./fsck.ts";
import { publishHead } from "./head.ts";
import { readHeadAt, readTrusts } from "./metadata.ts";
import { nextState } from "./publish.ts";
import { serialPath } from "./serials.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";
import { openVoucher } from "./vouched.ts";

const KERNELS = ["6.1.0-56-amd64", "6.1.0-57-amd64", "6.1.0-58-amd64"].map((kversion) =>
  makeKernel({ kversion }),
);
const CATALOG = makeCatalog(KERNELS);
const VERSION = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)";
const question = (release: string) => ({ driver: "doorbell", machine: "x86_64", release, version: VERSION });
const newestOf = async (store: Store) => (await readHeadAt(store, await readTrusts(store)))?.head;
const newestNoteOf = async (store: Store) =>
  (await readHeadAt(store, await readTrusts(store)))?.note as SignedNote;
const coded = (code: string) => expect.objectContaining({ code });

function stateOf(kversions: readonly string[], before: Published = NOTHING): Published {
  const elements = kversions.map((kversion) => makeElement({ kversion }));
  return nextState(
    before,
    CATALOG,
    elements.map((element) =>
      makeOutcome(element, { artifact: { entry: makeEntry(element, element.kversion), isStable: true } }),
    ),
  );
}

async function openSigned(): Promise<{ store: Store; clock: { now: Date } }> {
  const store = await openFolderStore(await temporaryDirectory());
  for (const { kversion } of KERNELS) await putBlobs(store, makeElement({ kversion }), kversion);
  await putRoot(store, firstRoot());
  return { store, clock: { now: new Date("2026-11-28T02:10:00Z") } };
}

test("each published generation has its head, and a node finds what is published", async () => {
  const { store, clock } = await openSigned();

  const first = await publishSigned(store, stateOf(["6.1.0-56-amd64"]), clock);
  expect(await newestOf(store)).toMatchObject({ serial: 1, generation: first.head });
  const second = await publishSigned(store, stateOf(["6.1.0-57-amd64"], first), clock);

  expect(await newestOf(store)).toMatchObject({ serial: 2, generation: second.head });
  for (const release of ["6.1.0-56-amd64", "6.1.0-57-amd64"])
    expect(await askRegistry(store, question(release), clock.now)).toMatchObject({
      kind: "found",
      block: { release, answer: { kind: "exact", artifact: { version: "0.1.1" } } },
    });
  expect(await askRegistry(store, question("6.1.0-58-amd64"), clock.now)).toEqual({
    kind: "neverSeen",
    near: [],
  });
});

test("a quiet night signs nothing until half of a head's time is over, and then renews the expiry alone", async () => {
  const { store, clock } = await openSigned();
  const state = await publishSigned(store, stateOf(["6.1.0-56-amd64"]), clock);
  const first = await newestOf(store);

  clock.now = new Date("2026-12-01T00:00:00Z");
  await publishSigned(store, state, clock);
  expect(await newestOf(store)).toEqual(first);
  clock.now = new Date("2026-12-02T00:00:00Z");
  await publishSigned(store, state, clock);

  expect(await newestOf(store)).toEqual({
    ...first,
    ...{ serial: 2, issued: "2026-12-02T00:00:00Z", expires: "2026-12-09T00:00:00Z" },
  });
});

test("a clock that was ahead is not copied, and nodes that believed it hear of the next head", async () => {
  const { store, clock } = await openSigned();
  clock.now = new Date("2036-11-28T00:00:00Z");
  const first = await publishSigned(store, stateOf(["6.1.0-56-amd64"]), clock);
  const seen = await newestNoteOf(store);
  clock.now = new Date("2026-11-29T00:00:00Z");
  await publishSigned(store, stateOf(["6.1.0-57-amd64"], first), clock);

  expect(await newestOf(store)).toMatchObject({
    serial: 2,
    issued: "2026-11-29T00:00:00Z",
    expires: "2026-12-06T00:00:00Z",
  });
  expect(acceptHead(firstRoot(), await newestNoteOf(store), seen, clock.now, "the head").serial).toBe(2);
  // The same head again proves nothing by such a clock.
  expect(() => acceptHead(firstRoot(), seen, seen, clock.now, "the head")).toThrow("before 2036");
});

test("a store without a root gets no head", async () => {
  const store = await openFolderStore(await temporaryDirectory());
  const clock = { now: new Date("2026-11-28T02:10:00Z") };
  await publishSigned(store, stateOf([]), clock);

  expect(await store.read(HEAD_PATH)).toBeUndefined();
});

test("a key that the root does not trust signs no head", async () => {
  const { store, clock } = await openSigned();
  const other = makeTestKey();

  await expect(
    publishSigned(store, stateOf(["6.1.0-56-amd64"]), clock, headMaker(clock, [other])),
  ).rejects.toThrow(coded("METADATA_UNSIGNED"));
  expect(await store.list("metadata")).toEqual(["root"]);
});

test("after a rotation the head is signed anew at once", async () => {
  const { store, clock } = await openSigned();
  const state = await publishSigned(store, stateOf(["6.1.0-56-amd64"]), clock);
  const newKey = makeTestKey();
  await putRoot(store, trustOf([ROOT_KEY], [newKey], { version: 2 }));

  await expect(askRegistry(store, question("6.1.0-56-amd64"), clock.now)).rejects.toThrow(
    coded("METADATA_UNSIGNED"),
  );
  await publishSigned(store, state, clock, headMaker(clock, [newKey]));

  expect(await askRegistry(store, question("6.1.0-56-amd64"), clock.now)).toMatchObject({ kind: "found" });
  expect(await newestOf(store)).toMatchObject({ serial: 2 });
});

test("only files of the index that changed are written", async () => {
  const { store, clock } = await openSigned();
  const first = await publishSigned(store, stateOf(["6.1.0-56-amd64", "6.1.0-57-amd64"]), clock);
  const written: string[] = [];
  const watched = around(store, (path) => void written.push(path));

  await publishSigned(watched, stateOf(["6.1.0-58-amd64"], first), clock);

  const texts = await Promise.all(
    written.filter((path) => path.startsWith("blobs/")).map((path) => store.read(path)),
  );
  // A leaf that names a set is of format 2.
  const [nodes, leaves] = ["v1\nnode", "v2\nleaf"].map((kind) =>
    texts.filter((text) => String(text).startsWith(`kmodfarm index ${kind} `)),
  );
  expect([nodes?.length, leaves?.length]).toEqual([1, 1]);
});

test("a writer that was killed between serial and head is completed by the next one", async () => {
  const { store, clock } = await openSigned();
  const killed = failing(store, (path) => path === HEAD_PATH);

  await expect(publishSigned(killed, stateOf(["6.1.0-56-amd64"]), clock)).rejects.toThrow(
    "the head could not be updated",
  );
  expect(await newestOf(store)).toBeUndefined();
  const state = await publishSigned(store, stateOf(["6.1.0-56-amd64"]), clock);

  expect(await newestOf(store)).toMatchObject({ serial: 1, generation: state.head });
});

test("writers that meet make one row of heads, each serial once, and the newest generation is shown", async () => {
  const { store, clock } = await openSigned();
  const publishOne = ({ kversion }: { kversion: string }) =>
    publish(store, (before) => ({ state: stateOf([kversion], before), result: undefined }), {
      ...{ who: "somebody", what: "run", now: () => clock.now, head: headMaker(clock) },
    });

  await Promise.all(KERNELS.map(publishOne));

  const trusts = await readTrusts(store);
  const serials = (await store.list("metadata/heads")).map(Number).toSorted((a, b) => a - b);
  const heads = await Promise.all(serials.map((serial) => readHeadAt(store, trusts, serialPath(serial))));
  const generations = heads.map((one) => one?.head.generation.number ?? 0);
  expect(serials).toEqual(serials.map((_, at) => at + 1));
  expect(generations).toEqual(generations.toSorted((a, b) => a - b));
  expect(await newestOf(store)).toEqual(heads.at(-1)?.head);
  expect((await newestOf(store))?.generation.number).toBe(3);
});

test("a lost head does not begin serials anew; a forged one is no ground to stand on", async () => {
  const { store, clock } = await openSigned();
  const state = await publishSigned(store, stateOf(["6.1.0-56-amd64"]), clock);
  await store.remove(HEAD_PATH);

  expect(await publishHead(store, state, await openVoucher(store, headMaker(clock)))).toMatchObject({
    serial: 1,
  });
  expect(await newestOf(store)).toMatchObject({ serial: 1 });
  const other = makeTestKey();
  await store.write(HEAD_PATH, String(await store.read(HEAD_PATH)).replace("serial 1", "serial 900"));
  await expect(
    openVoucher(store, headMaker(clock, [other, HEAD_KEY])).then((voucher) =>
      publishHead(store, state, voucher),
    ),
  ).rejects.toThrow(coded("METADATA_UNSIGNED"));
});

test.each(["kmodfarm head v1\n", ""])(
  "a damaged head is shown again from its serial: %j",
  async (damaged) => {
    const { store, clock } = await openSigned();
    await publishSigned(store, stateOf(["6.1.0-56-amd64"]), clock);
    const whole = String(await store.read(HEAD_PATH));
    await store.write(HEAD_PATH, damaged);
    const look = { isFull: true, isRepair: false, copyOf: async () => undefined };
    const remedies = async (isRepair: boolean) => {
      const { findings } = await fsck(store, { ...look, isRepair });
      return findings.filter(({ path }) => path.includes(HEAD_PATH)).map(({ remedy }) => remedy);
    };

    expect(await remedies(false)).toEqual(["repairable"]);
    expect(await remedies(true)).toEqual(["repaired"]);
    expect(String(await store.read(HEAD_PATH))).toBe(whole);
    expect(await remedies(false)).toEqual([]);
  },
);
