import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { hexOf, sha256 } from "../base/json.ts";
import { keptCopies } from "./kept-copies.ts";

test("a package of a kernel or of a toolchain is found in the cache, if it is the very thing", async () => {
  const cache = await temporaryDirectory();
  const [headers, make, damaged] = ["headers", "make", "damaged"].map((content) => sha256(content)) as [
    ...(readonly [`sha256:${string}`, `sha256:${string}`, `sha256:${string}`]),
  ];
  const packages = join(cache, "roots", "debian12-gcc-12", "packages");
  await mkdir(packages, { recursive: true });
  await mkdir(join(cache, "inputs"));
  await writeFile(join(cache, "inputs", `${hexOf(headers)}.deb`), "headers");
  await writeFile(join(packages, hexOf(make)), "make");
  await writeFile(join(packages, hexOf(damaged)), "other bytes");
  const copyOf = keptCopies(cache);
  const found = async (digest: string) =>
    (await copyOf({ path: "blobs/x", by: "inputs", digest }))?.toString();

  expect([await found(headers), await found(make), await found(damaged)]).toEqual([
    "headers",
    "make",
    undefined,
  ]);
});
