/**
 * A disk that is full is nobody's fault but its own. What whole commands make of one: kill-workers.wide.test.ts.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { unpackTar } from "../../src/builder/origins/unpack-tar.ts";
import { ingest } from "../../src/farm/gap/feeds.ts";
import { readBook } from "../../src/farm/gap/stored-book.ts";
import { packageFormat } from "../../src/inputs/package-format.ts";
import { unpackPackage } from "../../src/inputs/unpack.ts";
import { fsck } from "../../src/registry/fsck.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { makeDeb } from "../support/debs.ts";
import { makeCve } from "../support/gap.ts";
import { mountSmall, resizeSmall } from "../support/small-disk.ts";
import { farmWith } from "../support/stored-farm.ts";
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

it("is named when feeds are read, loses nothing of what they said, and is over when there is room", async () => {
  const farm = await farmWith([]);
  await mkdir(farm.store.place, { recursive: true });
  await mountSmall(farm.store.place, MIB);
  const from = join(await temporaryDirectory(), "cves.ndjson");
  const options = { by: "ann", now: () => new Date(), say: () => {}, signal: new AbortController().signal };
  const read = async (count: number) => {
    const cves = Array.from({ length: count }, (_, at) =>
      makeCve(`CVE-2026-${10_000 + at}`, [["5.4", "a", "6.1.170", "b"]], {
        title: randomBytes(80).toString("hex"),
      }),
    );
    await writeFile(from, cves.map((one) => JSON.stringify(one)).join("\n"));
    const { answers } = await ingest(farm, [{ kind: "compact", from }], options);
    return answers.map(({ result, error }) => error?.code ?? result);
  };
  const sizeNow = async () => {
    const { feeds } = await readPublished(farm.store);
    return (await readBook(farm.store, feeds, "CVE-2026-10001")).size;
  };
  expect(await read(10)).toEqual(["read"]);

  // The feed itself has no room; then it has, and what is made of it has none.
  expect(await read(12_000)).toEqual(["DISK_FULL"]);
  await expect(read(7_000)).rejects.toMatchObject({ code: "DISK_FULL" });
  expect(await sizeNow()).toBe(10);
  const look = { isFull: true, isRepair: false, copyOf: async () => undefined };
  expect((await fsck(farm.store, look)).findings.filter(({ remedy }) => remedy === "lost")).toEqual([]);

  await resizeSmall(farm.store.place, 64 * MIB);
  expect(await read(7_000)).toEqual(["read"]);
  expect(await sizeNow()).toBe(7_000);
});
