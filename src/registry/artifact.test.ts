import { describe, expect, test } from "vitest";
import { makeEntry, makeManifest } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { putManifest, readManifest } from "./artifact.ts";
import { blobPath, putBlob } from "./blobs.ts";
import { Manifest } from "./documents.ts";
import { openFolderStore } from "./stores/folder.ts";

const GOOD = makeManifest(makeElement(), []);
const [MODULE] = GOOD.modules as [Manifest["modules"][number]];
const file = (path: string): Partial<Manifest> => ({ files: [{ path, digest: sha256("x"), size: 1 }] });

describe("putManifest", () => {
  test("stores what can be read again", async () => {
    const store = await openFolderStore(await temporaryDirectory());

    const manifest = await putManifest(store, GOOD);

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

describe("putBlob", () => {
  test("replaces what is damaged: bytes are good again once somebody has them", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    const path = blobPath(sha256("bytes"));
    await store.write(path, "byt");

    await putBlob(store, "bytes");

    expect(String(await store.read(path))).toBe("bytes");
  });
});
