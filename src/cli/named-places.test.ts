/** Where a person names a place, `.tmp` in it may be somebody else's. */
import { lstat, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { exportCatalog } from "./commands/catalog/export.ts";
import { writeFiles } from "./commands/modules/signature.ts";
import { SeenCheckpoints } from "./seen-checkpoints.ts";

const CATALOG = join(import.meta.dirname, "../../test/fixtures/stores/whole/generations/1/catalog.json");
const NOTE = { text: "log.test/one\n1\nAAAA\n", signatures: [] };
const FOUND = { checkpoint: { origin: "log.test/one" }, note: NOTE } as never;

test.each<[string, (directory: string) => Promise<unknown>]>([
  ["modules", (directory) => writeFiles(directory, new Map([["one.ko", Buffer.from("one")]]))],
  [
    "kernels",
    (output) =>
      exportCatalog({
        logFormat: "text",
        format: "kmodfarm",
        driver: "",
        catalog: [CATALOG],
        output,
        cache: join(output, "../cache"),
      }),
  ],
  ["checkpoints", (directory) => new SeenCheckpoints(join(directory, "..")).mustKeep(FOUND, undefined)],
])("%s are not written by way of a .tmp that is there", async (_, write) => {
  const directory = join(await temporaryDirectory(), "checkpoints");
  await mkdir(directory);
  await symlink("/nonexistent", join(directory, ".tmp"));

  await expect(write(directory)).resolves.not.toThrow();

  expect((await lstat(join(directory, ".tmp"))).isSymbolicLink()).toBe(true);
});
