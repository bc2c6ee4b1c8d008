import { expect, test } from "vitest";
import { published, unnoticedChanges } from "../support/changed-registry.ts";

test("of 500 changed bytes of a registry, every one is reported", async () => {
  expect(await unnoticedChanges(await published(), 500)).toEqual([]);
});
