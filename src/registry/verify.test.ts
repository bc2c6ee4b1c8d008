import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { CATALOG, makeEntry, makeManifest, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { ELEMENT, NOW, published, unnoticedChanges } from "../../test/support/changed-registry.ts";
import { makeTestKey, ORIGIN, trustOf } from "../../test/support/notes.ts";
import { firstRoot, publishSigned, putRoot } from "../../test/support/signed-store.ts";
import { BUILDER, makeBuild, makeSigner, makeStatement } from "../../test/support/statements.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { splitSignature } from "../formats/module-signature.ts";
import { putManifest } from "./artifact.ts";
import { putBlob } from "./blobs.ts";
import type { Manifest } from "./documents.ts";
import { readPublished } from "./generations.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";
import { LINKS, verifyRegistry } from "./verify.ts";
import { verifyArtifact, verifyModule } from "./verify-artifact.ts";
import { viewPath } from "./view-path.ts";

const look = (store: Store) => verifyRegistry(store, { now: NOW });

test("a registry that holds together is good", async () => {
  const store = await published();

  const found = await look(store);

  expect(found.breaks).toEqual([]);
  expect(found).toMatchObject({ origin: ORIGIN, serial: 3, generation: 3 });
  expect(found.remarks).toContain(`nobody states how these artifacts were built: ${viewPath(ELEMENT)}`);
});

test("every byte that is changed is reported, wherever it is", async () => {
  const store = await published();

  expect(await unnoticedChanges(store, 40)).toEqual([]);
  expect((await look(store)).breaks).toEqual([]);
});

test("the first broken link is named, and what rests on it comes after", async () => {
  const breaksOf = async (change: (store: Store) => Promise<void>) => {
    const store = await published();
    await change(store);
    return (await look(store)).breaks.map(({ link, code }) => [link, code]);
  };
  const textAt = async (store: Store, path: string) => String(await store.read(path));
  const old = await published();

  expect(await breaksOf((store) => store.remove("metadata"))).toContainEqual(["root", "METADATA_UNSIGNED"]);
  expect((await breaksOf((store) => store.remove("metadata/root/2")))[0]).toEqual([
    "head",
    "METADATA_UNSIGNED",
  ]);
  expect((await breaksOf((store) => store.remove("metadata/head")))[0]).toEqual(["head", "STORE_CORRUPT"]);
  // An earlier head, signed by a key that was rotated out since.
  expect(
    (
      await breaksOf(async (store) => store.write("metadata/head", await textAt(store, "metadata/heads/2")))
    )[0],
  ).toEqual(["head", "METADATA_UNSIGNED"]);
  expect(
    (
      await breaksOf(async (store) =>
        store.write("generations/3/generation.json", await textAt(old, "generations/2/generation.json")),
      )
    )[0]?.[0],
  ).toBe("generation");
  expect((await breaksOf((store) => store.write("view/doorbell/x", "y")))[0]?.[0]).toBe("other files");
  expect(
    (await breaksOf((store) => store.write(`${viewPath(ELEMENT)}/doorbell.ko`, "module siX")))[0]?.[0],
  ).toBe("files");
  expect(LINKS.length).toBe(11);
});

test("expiry and another root than the trusted one are broken links too", async () => {
  const store = await published();
  const later = await verifyRegistry(store, { now: new Date("2026-12-28T00:00:00Z") });
  const other = trustOf([makeTestKey()], [makeTestKey()]);

  expect(later.breaks).toMatchObject([{ link: "head", code: "METADATA_EXPIRED" }]);
  expect((await verifyRegistry(store, { now: NOW, trusted: other })).breaks[0]).toMatchObject({
    link: "root",
  });
  expect((await verifyRegistry(store, { now: NOW, trusted: firstRoot() })).breaks).toEqual([]);
});

test("D31: an artifact's folder has what its manifest names, no more and no less", async () => {
  const store = await published();
  const state = await readPublished(store);
  const folder = await openFolderStore(join(store.place, viewPath(ELEMENT)));
  const factsOf = async () =>
    (await verifyArtifact(folder, state)).breaks.map(({ fact }) => fact.slice(folder.place.length + 1));

  expect(await factsOf()).toEqual([]);
  await folder.write("extra.ko", "x");
  await folder.write("build.log", "another log");
  await folder.remove("doorbell.ko");

  expect(await factsOf()).toEqual([
    "build.log is not what the manifest promises",
    "extra.ko is not in the manifest",
    "doorbell.ko is missing",
  ]);
});

test("a module is one that the registry published, or it is none of its", async () => {
  const state = await readPublished(await published());

  expect(await verifyModule(Buffer.from("module six"), "doorbell.ko", state)).toMatchObject({
    breaks: [],
    remarks: [`${viewPath(ELEMENT)}: stable`],
  });
  const other = await verifyModule(Buffer.from("module siX"), "doorbell.ko", state);
  expect(other.breaks).toMatchObject([{ link: "artifacts" }]);
  expect((await verifyModule(gzipSync("module six"), "doorbell.ko.gz", state)).breaks).toEqual([]);
});

/** As whoever built it gave it away: with a signature, which no statement is about. */
const SIGNED = readFileSync(join(import.meta.dirname, "../../test/fixtures/modules/crc7.ko"));
const UNSIGNED = sha256(splitSignature(SIGNED, "crc7.ko").content);

/** A registry with one module: imported or built, compressed or not, and with a statement about a digest. */
async function withModule({
  isImport = false,
  packed = SIGNED,
  about = sha256(SIGNED) as Digest,
  recipe: made = sha256("recipe") as Digest,
}) {
  const signer = makeSigner();
  const plain = makeManifest(ELEMENT, []);
  const compressed = { file: "crc7.ko.gz", digest: sha256(packed) };
  const shape = { name: "crc7", digest: sha256(SIGNED), size: SIGNED.length };
  const modules = [packed === SIGNED ? shape : { ...shape, compressed }];
  const digests = { unsigned: shape.digest, ...(packed === SIGNED ? {} : { compressed: compressed.digest }) };
  const log = { digest: sha256("log"), size: 3 };
  const recipe = { schema: "kmodfarm.import/1" as const, element: ELEMENT.output, modules: [] };
  const manifest: Manifest = {
    ...{ ...plain, log, recipe: isImport ? recipe : plain.recipe, recipeKey: sha256("recipe") },
    modules: plain.modules.map((one) => ({ ...one, name: "crc7", size: shape.size, digests })),
  };
  const built = makeBuild({ identity: manifest.identity, recipeKey: made, log: log.digest });
  const of = { ...built, recipe: { ...built.recipe, headers: [], toolchain: [] } };
  const bundle = signer.sign(makeStatement([{ name: "crc7", digest: about }], of));
  const store = await openFolderStore(await temporaryDirectory());
  await putRoot(store, firstRoot());
  for (const bytes of [SIGNED, packed, "log", bundle]) await putBlob(store, bytes);
  const { digest, size } = await putManifest(store, manifest);
  const entry = {
    ...makeEntry(ELEMENT),
    ...{ modules, recipe: manifest.recipeKey, log: log.digest, manifest: digest, manifestSize: size },
    provenance: [{ digest: sha256(bundle), size: bundle.length }],
  };
  const outcome = makeOutcome(ELEMENT, { artifact: { entry, isStable: true } });
  await publishSigned(store, nextState(NOTHING, CATALOG, [outcome]), { now: NOW });
  const builders = [{ id: BUILDER, key: signer.key }];
  const { breaks, remarks } = await verifyRegistry(store, { now: NOW, builders });
  expect(remarks.join()).not.toContain("nobody states");
  return breaks.map(({ link, fact }) => `${link}: ${fact}`);
}

test("a statement about a module of others is about what it was before its signature", async () => {
  expect(await withModule({ isImport: true, about: UNSIGNED })).toEqual([]);
  expect(await withModule({ isImport: true, about: sha256("another") })).toEqual([
    expect.stringMatching(/^statements: .*not about this crc7\.ko$/),
  ]);
});

test("a statement of what was built here names all that it was made of", async () => {
  expect(await withModule({})).toEqual([]);
  expect(await withModule({ recipe: sha256("another") })).toEqual([
    expect.stringMatching(/^statements: .*what it was made of: its recipe$/),
  ]);
});

test("a compressed module is opened: it is the one that the index lists", async () => {
  const others = { isImport: true, about: UNSIGNED };

  expect(await withModule({ ...others, packed: gzipSync(SIGNED) })).toEqual([]);
  for (const packed of [gzipSync("another"), Buffer.from("no gzip at all")])
    expect(await withModule({ ...others, packed })).toEqual([
      expect.stringMatching(/^artifacts: .*crc7\.ko\.gz is not the module/),
    ]);
});
