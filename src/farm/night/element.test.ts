import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { readSmoke } from "./element.ts";

const LIMIT_BYTES = 1024 * 1024;

test("a smoke script is run whole or not at all", async () => {
  const directory = await temporaryDirectory();
  await writeFile(join(directory, "most.sh"), "#".repeat(LIMIT_BYTES));
  await writeFile(join(directory, "more.sh"), `${"#".repeat(LIMIT_BYTES)}exit 1`);

  expect(readSmoke(directory, "most.sh")).toHaveLength(LIMIT_BYTES);
  expect(() => readSmoke(directory, "more.sh")).toThrow(
    expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringContaining("more.sh") }),
  );
});
