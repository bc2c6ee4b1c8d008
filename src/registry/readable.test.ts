import { expect, test } from "vitest";
import { CATALOG, NOTHING } from "../../test/support/artifacts.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import type { CatalogKernel } from "../catalog/catalog.ts";
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
