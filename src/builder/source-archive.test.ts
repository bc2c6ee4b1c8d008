import { mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { archiveOfSource, sourceOfArchive } from "./source-archive.ts";
import { readSourceTree } from "./source-tree.ts";

test("a source that travels is the same tree there", async () => {
  const place = await temporaryDirectory();
  await mkdir(join(place, "source"));
  await writeFile(join(place, "source", "Kbuild"), "obj-m += x.o\n");
  const tree = await readSourceTree(join(place, "source"));
  await writeFile(join(place, "source.tar"), archiveOfSource(tree));

  const giver = { what: "order", code: "ORDER_INVALID" } as const;
  const there = await sourceOfArchive(join(place, "source.tar"), tree.digest, join(place, "there"), giver);

  expect(there.digest).toBe(tree.digest);
});

// Holes cost a driver's author nothing.
test("a source that no worker would unpack is refused before any of it is read", async () => {
  const place = await temporaryDirectory();
  const file = await open(join(place, "large"), "w");
  await file.truncate(400 << 20);
  await file.close();
  const tree = await readSourceTree(place);
  const [one] = tree.files;
  const files = Array.from(
    { length: 3 },
    (_, index) => ({ ...one, path: `missing${index}` }) as (typeof tree.files)[0],
  );

  await expect(archiveOfSource({ ...tree, files }).next()).rejects.toMatchObject({ code: "DRIVER_INVALID" });
});
