import { chmod, chown, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openScratch } from "../../base/scratch.ts";
import { makeOut, OrderDirectory } from "./order-directory.ts";

const ANOTHER = 65534;
let place: string;

beforeEach(async () => {
  place = await temporaryDirectory();
});

describe.skipIf(process.getuid?.() !== 0)("a directory that others can write to", () => {
  test.each(["", "tmp", "orders", "blobs"])(
    "is refused if its %j is another user's, or everybody's",
    async (name) => {
      const directory = join(place, name);
      await mkdir(directory, { recursive: true });
      await makeOut(place);
      await chown(directory, ANOTHER, ANOTHER);
      await expect(makeOut(place)).rejects.toMatchObject({
        code: "PLACE_UNUSABLE",
        message: expect.stringMatching(/belongs to another user \(65534\)$/),
      });
      await chown(directory, 0, 0);
      await chmod(directory, 0o777);
      await expect(makeOut(place)).rejects.toThrow(/everybody may replace/);
    },
  );

  test("may be of whoever became root by sudo", async () => {
    await chown(place, ANOTHER, ANOTHER);
    process.env.SUDO_UID = String(ANOTHER);
    try {
      await expect(makeOut(place)).resolves.toBeUndefined();
    } finally {
      delete process.env.SUDO_UID;
    }
  });
});

test("no link that lies where a document belongs is written through", async () => {
  const mine = join(place, "important");
  await writeFile(mine, "root:important\n");
  const out = join(place, "orders");
  await mkdir(out);
  for (const name of ["matrix.json", "shards.json"]) await symlink(mine, join(out, name));
  const directory = await OrderDirectory.make(out);

  await directory.putMatrix("{}\n");
  await directory.putShards({ schema: "kmodfarm.orderShards/1", shards: [] });
  await directory.close();

  expect(await readFile(mine, "utf8")).toBe("root:important\n");
  expect(await readFile(join(out, "matrix.json"), "utf8")).toBe("{}\n");
});

test("nobody who sees the name of a temporary file can foretell the next", async () => {
  const scratch = await openScratch(join(place, "tmp"));
  const [first, second] = [scratch.path(), scratch.path()];
  await scratch.close();

  const endOf = (path: string) => path.split("-").at(-1);
  expect(endOf(first)).toMatch(/^[0-9a-f]{12}$/);
  expect(endOf(second)).not.toBe(endOf(first));
});
