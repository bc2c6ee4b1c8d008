/**
 * A disk that is full is nobody's fault but its own. What whole commands make of one: kill-workers.wide.test.ts.
 */
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { unpackTar } from "../../src/builder/origins/unpack-tar.ts";
import { packageFormat } from "../../src/inputs/package-format.ts";
import { unpackPackage } from "../../src/inputs/unpack.ts";
import { makeDeb } from "../support/debs.ts";
import { mountSmall } from "../support/small-disk.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const MIB = 1024 ** 2;

it("is the fault of no package, and of no source, that is being unpacked", async () => {
  const directory = await temporaryDirectory();
  const file = await makeDeb(directory, "large", { "usr/large": "x".repeat(4 * MIB) }, "none");
  const tar = join(directory, "large.tar");
  await promisify(execFile)("sh", ["-c", 'dpkg-deb --fsys-tarfile "$1" >"$2"', "sh", file, tar]);
  const target = join(directory, "target");
  await mkdir(target);
  await mountSmall(target, MIB);
  const format = packageFormat({ name: "large", version: "1", path: file });
  const full = expect.objectContaining({ code: "DISK_FULL" });

  await expect(unpackPackage(createReadStream(file), "large", format, target)).rejects.toThrow(full);
  await expect(unpackTar(() => createReadStream(tar), "large", target, undefined)).rejects.toThrow(full);
  expect(await readdir(target)).toEqual(["usr"]);
});
