/** What a registry keeps for rebuilds stays as long as an artifact needs it, and is missed when it is gone. */
import { describe, expect, test } from "vitest";
import { CATALOG, makeEntry, makeManifest, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { type KeptChanges, putInputs, putPackage } from "../../test/support/kept-inputs.ts";
import { writePublished } from "../../test/support/published.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256, toDocument } from "../base/json.ts";
import { blobPath, putBlob } from "./blobs.ts";
import type { Part } from "./documents.ts";
import { fsck } from "./fsck.ts";
import { BuildInputs, readInput, ToolchainInputs } from "./inputs.ts";
import { prune } from "./prune.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

const ELEMENT = makeElement();
const NOW = new Date("2026-02-07T00:00:00Z");
const LATER = new Date("2126-02-07T00:00:00Z");

async function openStore(changes: KeptChanges = {}): Promise<{ store: Store; inputs: Part }> {
  const store = await openFolderStore(await temporaryDirectory());
  for (const kind of ["module", "log"]) await putBlob(store, `${kind} one`);
  const inputs = await putInputs(store, changes);
  const manifest = await putBlob(store, toDocument({ ...makeManifest(ELEMENT, [], "one"), inputs }));
  const entry = { ...makeEntry(ELEMENT, "one"), manifest, inputs };
  const outcome = makeOutcome(ELEMENT, { artifact: { entry, isStable: false } });
  await writePublished(store, nextState(NOTHING, CATALOG, [outcome]), NOW);
  return { store, inputs };
}

const pruneAll = (store: Store) =>
  prune(store, { keep: 1, graceMs: 0, now: LATER, isDryRun: false }).then(({ files }) => files);
const missing = async (store: Store) =>
  (await fsck(store, { isFull: true, isRepair: false, copyOf: async () => undefined })).findings.map(
    ({ path, fact, by }) => [path, fact, by],
  );

describe("prune", () => {
  test("keeps whatever a published artifact can be built again from", async () => {
    const { store } = await openStore();
    await putBlob(store, "named by nobody");

    expect(await pruneAll(store)).toBe(1);
    expect(await missing(store)).toEqual([]);
  });

  test("removes nothing where a document of inputs cannot be read: it may name anything", async () => {
    const { store, inputs } = await openStore();
    await store.remove(blobPath(inputs.digest));

    await expect(pruneAll(store)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await store.read(blobPath(sha256("package make")))).toBeDefined();
  });
});

describe("fsck", () => {
  test.each([
    ["the driver's source", "a tar archive", /^inputs of view\/doorbell/],
    ["a header package", "package linux-headers", /^inputs of view\/doorbell/],
    ["a package of the toolchain", "package make", /^the toolchain debian12 gcc-12$/],
  ])("says that %s is missing or damaged, and what it is of", async (_, content, by) => {
    const { store } = await openStore();
    const path = blobPath(sha256(content));

    await store.write(path, `${content.slice(0, -1)}~`);
    expect(await missing(store)).toEqual([[path, "damaged", expect.stringMatching(by)]]);
    await store.remove(path);
    expect(await missing(store)).toEqual([[path, "missing", expect.stringMatching(by)]]);
  });

  test("says which document is missing", async () => {
    const { store, inputs } = await openStore();
    const { toolchain } = await readInput(store, inputs, BuildInputs);
    await store.remove(blobPath(toolchain.digest));

    expect(await missing(store)).toEqual([
      [blobPath(toolchain.digest), "missing", expect.stringMatching(/^inputs of/)],
    ]);
  });

  test("misses nothing that may not be passed on", async () => {
    const other = await openFolderStore(await temporaryDirectory());
    const place = "https://secret.example/gcc.deb";
    const secret = { ...(await putPackage(other, "secret")), place };
    const { store, inputs } = await openStore({ toolchain: { packages: [secret] } });

    expect(await missing(store)).toEqual([]);
    const { toolchain } = await readInput(store, inputs, BuildInputs);
    expect((await readInput(store, toolchain, ToolchainInputs)).packages).toEqual([secret]);
  });
});

test("a manifest without such a document, as earlier versions wrote it, is read", async () => {
  const store = await openFolderStore(await temporaryDirectory());
  const entry = makeEntry(ELEMENT, "one");
  for (const kind of ["module", "log"]) await putBlob(store, `${kind} one`);
  await putBlob(store, toDocument(makeManifest(ELEMENT, [], "one")));
  const outcome = makeOutcome(ELEMENT, { artifact: { entry, isStable: false } });
  await writePublished(store, nextState(NOTHING, CATALOG, [outcome]), NOW);

  expect(await missing(store)).toEqual([]);
});
