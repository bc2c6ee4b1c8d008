import { expect, test } from "vitest";
import { CATALOG, NOTHING } from "../../test/support/artifacts.ts";
import { firstRoot, publishSigned, putRoot } from "../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import type { CatalogKernel } from "../catalog/catalog.ts";
import { HEAD_PATH } from "../provenance/head.ts";
import { commit } from "./commit.ts";
import type { Published } from "./documents.ts";
import { readPublished } from "./generations.ts";
import { openFolderStore } from "./stores/folder.ts";

const AUTHOR = { who: "somebody", what: "run", now: () => new Date("2026-11-28T00:00:00Z") };

test.each<[string, Partial<CatalogKernel>]>([
  ["a flavour that is not a safe name", { flavour: "+x" }],
  ["a time that is none", { lastSeen: "+020000-01-01T00:00:00.000Z" }],
])("what could not be read back is not published, and what was stays: %s", async (_, change) => {
  const store = await openFolderStore(await temporaryDirectory());
  const publish = (state: Published) => commit(store, () => ({ state, result: undefined }), AUTHOR);
  await publish({ ...NOTHING, catalog: CATALOG });
  const before = await readPublished(store);
  const kernels = CATALOG.kernels.map((kernel) => ({ ...kernel, ...change }));

  await expect(publish({ ...before, catalog: { ...CATALOG, kernels } })).rejects.toThrow(
    /could not be read back/,
  );
  expect((await readPublished(store)).head).toEqual(before.head);
});

test("what no head could name is not published: nodes would hear of no withdrawal any more", async () => {
  const store = await openFolderStore(await temporaryDirectory());
  await putRoot(store, firstRoot());
  const clock = { now: AUTHOR.now() };
  const { head } = await publishSigned(store, { ...NOTHING, catalog: CATALOG }, clock);
  const before = String(await store.read(HEAD_PATH));
  const failed = (count: number): Published => ({
    ...NOTHING,
    catalog: CATALOG,
    attempts: Array.from({ length: count }, (_, at) => ({
      element: `${`d${at}`.padEnd(120, "x")}/1/debian12/x86_64/6.1.0-56-amd64/6.1.170-3`,
      ...{ at: clock.now.toISOString(), compiler: "gcc-12" },
    })),
  });

  await expect(publishSigned(store, failed(4000), clock)).rejects.toMatchObject({
    code: "REGISTRY_TOO_LARGE",
    message: expect.stringContaining("4000 drivers and machines"),
  });
  expect((await readPublished(store)).head).toEqual(head);
  expect(String(await store.read(HEAD_PATH))).toBe(before);
  expect((await publishSigned(store, failed(2000), clock)).head?.number).toBe(2);
});
