import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { readAtMost } from "./read-at-most.ts";

test("reads a file up to the limit, and of one that is longer, or never ends, only that far", async () => {
  const file = join(await temporaryDirectory(), "file");
  await writeFile(file, "12345678");

  expect(String(await readAtMost(file, 8))).toBe("12345678");
  for (const endless of [file, "/dev/zero"])
    await expect(readAtMost(endless, 7)).rejects.toMatchObject({ code: "EFBIG" });
  await expect(readAtMost(`${file}s`, 7)).rejects.toMatchObject({ code: "ENOENT" });
});
