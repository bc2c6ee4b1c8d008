import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeEntry, makeManifest } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { openModuleFile } from "../check/opened-modules.ts";
import { putManifest, readManifest, storeArtifact } from "./artifact.ts";
import { importedContent } from "./artifact-content.ts";
import { blobPath, putBlob } from "./blobs.ts";
import { Manifest } from "./documents.ts";
import { damageOf } from "./repair.ts";
import { openFolderStore } from "./stores/folder.ts";

const GOOD = makeManifest(makeElement(), []);
const [MODULE] = GOOD.modules as [Manifest["modules"][number]];
const file = (path: string): Partial<Manifest> => ({ files: [{ path, digest: sha256("x"), size: 1 }] });

describe("putManifest", () => {
  test("stores what can be read again", async () => {
    const store = await openFolderStore(await temporaryDirectory());

    const { digest: manifest } = await putManifest(store, GOOD);

    expect(await readManifest(store, { ...makeEntry(makeElement()), manifest })).toEqual(
      Manifest.parse(GOOD),
    );
  });

  test.each<[string, Partial<Manifest>, string]>([
    [
      "a module that calls itself a path",
      { modules: [{ ...MODULE, name: "../../etc/x" }] },
      "modules[0].name",
    ],
    ["a file outside", file("firmware/../../x"), "files[0].path"],
    ["a file too deep", file("a/".repeat(200)), "files[0].path"],
    ["a file of a name too long", file("x".repeat(2000)), "files[0].path"],
  ])("refuses %s before anything refers to it", async (_, changes, place) => {
    const store = await openFolderStore(await temporaryDirectory());

    const putting = async () => putManifest(store, { ...GOOD, ...changes });

    await expect(putting()).rejects.toMatchObject({
      code: "UNSAFE_NAME",
      message: expect.stringContaining(`cannot be stored: ${place}: `),
    });
    expect(await store.list("blobs")).toEqual([]);
  });
});

test("a manifest of the first version, whose reasons were texts alone, is read", async () => {
  const store = await openFolderStore(await temporaryDirectory());
  const reasons = ['vermagic "6.1.0-56-amd64 SMP "'];
  const first = {
    ...GOOD,
    schema: "kmodfarm.manifest/1",
    verdicts: [{ check: "identity", verdict: "pass", reasons }],
  };
  const manifest = await putBlob(store, JSON.stringify(first));

  const { verdicts } = await readManifest(store, { ...makeEntry(makeElement()), manifest });

  expect(verdicts).toEqual([
    { check: "identity", verdict: "pass", reasons: [{ code: "unstated", text: reasons[0] }] },
  ]);
});

describe("storeArtifact", () => {
  const bytes = readFileSync(join(import.meta.dirname, "../../test/fixtures/modules/crc7.ko"));
  const element = makeElement();
  const evidence = { verdicts: [], refusals: ["ticket 7"], kernel: { architecture: element.architecture } };

  async function imported() {
    const opened = await openModuleFile({ name: "crc7.ko", bytes });
    const content = importedContent({ name: "crc7", version: "1" }, element, [opened]);
    return { ...content, log: Buffer.from("Imported by ann\n") };
  }

  test("stores an import so that index and manifest agree, and every byte is there", async () => {
    const store = await openFolderStore(await temporaryDirectory());

    const entry = await storeArtifact(store, element, await imported(), evidence);

    expect(entry).toMatchObject({
      driver: "crc7",
      reasons: ["ticket 7"],
      recipe: (await imported()).recipeKey,
    });
    expect((await readManifest(store, entry)).environment.declared).toEqual({
      compiler: "unknown",
      packages: [],
    });
    expect(await damageOf(store, { entry, channel: "candidate" })).toEqual([]);
  });

  test("refuses bytes that are not those that were judged", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    const content = await imported();
    const [module] = content.modules as [(typeof content.modules)[number]];
    const built = { ...module.built, read: async () => Buffer.from("others") };

    const storing = storeArtifact(store, element, { ...content, modules: [{ ...module, built }] }, evidence);

    await expect(storing).rejects.toMatchObject({ code: "DIGEST_MISMATCH" });
  });
});

describe("putBlob", () => {
  test("replaces what is damaged: bytes are good again once somebody has them", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    const path = blobPath(sha256("bytes"));
    await store.write(path, "byt");

    await putBlob(store, "bytes");

    expect(String(await store.read(path))).toBe("bytes");
  });
});
