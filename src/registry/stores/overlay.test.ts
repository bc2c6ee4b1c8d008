import { join } from "node:path";
import { expect, test } from "vitest";
import { storeContract } from "../../../test/contracts/store.ts";
import { treeDigests } from "../../../test/support/e2e-farm.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openFolderStore } from "./folder.ts";
import { overlayStore } from "./overlay.ts";
import type { Store } from "./store.ts";

const MODULES = ["folder", "overlay"].map((name) => new URL(`${name}.ts`, import.meta.url).href);

const openBoth = async (lower: string, upper: string): Promise<Store> =>
  overlayStore(await openFolderStore(lower), await openFolderStore(upper));

storeContract("a layer over a folder", async () => {
  const directory = await temporaryDirectory();
  const [lower, upper] = [join(directory, "lower"), join(directory, "upper")];
  return {
    open: () => openBoth(lower, upper),
    openElsewhere: `
    import { openFolderStore } from ${JSON.stringify(MODULES[0])};
    import { overlayStore } from ${JSON.stringify(MODULES[1])};
    const store = overlayStore(
      await openFolderStore(${JSON.stringify(lower)}), await openFolderStore(${JSON.stringify(upper)}));`,
  };
});

test("a layer shows what is below it, and writes nothing there", async () => {
  const directory = await temporaryDirectory();
  const lower = await openFolderStore(join(directory, "lower"));
  await lower.write("a/b", "below");
  await lower.write("a/c", "below");
  const before = await treeDigests(join(directory, "lower"));
  const store = await openBoth(join(directory, "lower"), join(directory, "upper"));

  await store.prepare();
  await store.write("a/b", "above");
  await store.write("d/e", "above");

  expect(await store.create("a/c", "above")).toBe(false);
  expect(String(await store.read("a/b"))).toBe("above");
  expect(String(await store.read("a/c"))).toBe("below");
  expect(await store.list("a")).toEqual(["b", "c"]);
  const walked: string[] = [];
  for await (const { path } of store.walk("")) walked.push(path);
  expect(walked.toSorted()).toEqual(["a/b", "a/c", "d/e"]);
  expect(await treeDigests(join(directory, "lower"))).toEqual(before);
});
