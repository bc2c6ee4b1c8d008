import { spawn } from "node:child_process";
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import {
  awaitEviction,
  type CacheEntry,
  chooseEvictions,
  evict,
  markUsed,
  openCache,
  readCache,
  sharedCache,
} from "./cache.ts";
import { processName } from "./process-name.ts";
import { openScratch } from "./scratch.ts";

/** A cache with entries of 4 KiB and more, each last used so many seconds after 1970. */
async function makeCache(entries: Readonly<Record<string, number>>) {
  const cache = join(await temporaryDirectory(), "cache");
  for (const [path, lastUse] of Object.entries(entries)) {
    const isDirectory = path.startsWith("trees/");
    const file = join(cache, path, ...(isDirectory ? ["below", "file"] : []));
    await mkdir(join(file, ".."), { recursive: true });
    await writeFile(file, Buffer.alloc(4096, 1));
    await utimes(join(cache, path), lastUse, lastUse);
  }
  return { cache, scratch: await openScratch(join(cache, "tmp")) };
}

const names = (entries: readonly CacheEntry[]) => entries.map(({ room, name }) => `${room}/${name}`).sort();

describe("chooseEvictions", () => {
  const entry = fc.record({
    room: fc.constantFrom("trees", "inputs"),
    name: fc.uuid(),
    sizeBytes: fc.nat(1000),
    lastUse: fc.nat(50).map((seconds) => new Date(seconds * 1000)),
  });
  const sum = (entries: readonly CacheEntry[]) => entries.reduce((all, { sizeBytes }) => all + sizeBytes, 0);

  test("leaves what workers were asked for, however old it is and however small the limit", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 10 }), fc.array(entry, { maxLength: 10 }), (some, others) => {
        const orders = some.map((one) => ({ ...one, room: "orders" }));

        expect(chooseEvictions([...orders, ...others], 0).filter(({ room }) => room === "orders")).toEqual(
          [],
        );
        const chosen = chooseEvictions([...orders, ...others], sum(orders));
        expect(sum(others) - sum(chosen)).toBe(0);
      }),
    );
  });

  test("leaves what is within the limit, takes the oldest, and not one more than it must", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 30 }), fc.nat(20_000), (entries, limit) => {
        const chosen = chooseEvictions(entries, limit);

        const kept = entries.filter((one) => !chosen.includes(one));
        expect(sum(kept)).toBeLessThanOrEqual(limit);
        const last = chosen.at(-1);
        if (last !== undefined) {
          expect(sum(kept) + last.sizeBytes).toBeGreaterThan(limit);
          for (const one of kept)
            expect(one.lastUse.getTime()).toBeGreaterThanOrEqual(last.lastUse.getTime());
        }
      }),
    );
  });
});

describe("openCache", () => {
  test("lets nobody else in, whatever was there before", async () => {
    const cache = join(await temporaryDirectory(), "cache");
    await mkdir(cache, { mode: 0o755 });

    await openCache(cache);

    expect((await stat(cache)).mode & 0o777).toBe(0o700);
    expect(await readFile(join(cache, "CACHEDIR.TAG"), "utf8")).toMatch(
      /^Signature: 8a477f597d28d172789f06886806bc55\n/,
    );
  });
});

describe("evict", () => {
  test("takes the least recently used, whole, and leaves nothing behind", async () => {
    const { cache, scratch } = await makeCache({ "inputs/a.deb": 100, "trees/b": 50, "inputs/c.deb": 200 });
    const all = await readCache(cache);
    const total = all.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

    const eviction = await evict(cache, total - 1, scratch);

    expect(eviction).toMatchObject({ kind: "done", keptBytes: 8192 });
    expect(names(await readCache(cache))).toEqual(["inputs/a.deb", "inputs/c.deb"]);
    await scratch.close();
    expect((await readdir(cache)).sort()).toEqual(["inputs", "sizes.json", "trees"]);
  });

  test("takes every room, whichever part of the farm made it, once the directory is a cache", async () => {
    const cache = join(await temporaryDirectory(), "cache");
    await openCache(cache);
    const scratch = await openScratch(join(cache, "tmp"));
    for (const room of ["inputs", "made-by-a-part-to-come"]) {
      await mkdir(join(cache, room));
      await writeFile(join(cache, room, "x"), "x");
    }

    expect(names(await readCache(cache))).toEqual(["inputs/x", "made-by-a-part-to-come/x"]);
    expect(await evict(cache, 0, scratch)).toMatchObject({ kind: "done", keptBytes: 0 });

    expect(names(await readCache(cache))).toEqual([]);
    await scratch.close();
  });

  test("takes nothing from a directory that is not a cache alone, and says what is in it", async () => {
    const { cache, scratch } = await makeCache({ "inputs/a.deb": 100, "precious/x": 50 });
    await chmod(cache, 0o755);
    await expect(openCache(cache)).rejects.toMatchObject({
      code: "PLACE_UNUSABLE",
      message: expect.stringContaining("it holds precious"),
    });
    expect((await stat(cache)).mode & 0o777).toBe(0o755);

    expect(await evict(cache, 0, scratch)).toEqual({ kind: "shared", stranger: "precious" });

    expect(await readdir(join(cache, "precious"))).toEqual(["x"]);
    expect(await readdir(join(cache, "inputs"))).toEqual(["a.deb"]);
    expect(sharedCache(cache, "precious").message).toContain(
      "contains files that are not part of a cache, such as precious",
    );
    await scratch.close();
  });

  test("is none if a room of it is a link, or somebody else's", async () => {
    const { cache, scratch } = await makeCache({ "inputs/a.deb": 100 });
    await openCache(cache);
    await mkdir(join(cache, "..", "victim"));
    const other = async () => {
      await mkdir(join(cache, "roots"));
      if (process.getuid?.() === 0) await chown(join(cache, "roots"), 65534, 65534);
      else await chmod(join(cache, "roots"), 0o777);
    };
    for (const make of [() => symlink("../victim", join(cache, "roots")), other]) {
      await make();
      await expect(openCache(cache)).rejects.toMatchObject({
        code: "PLACE_UNUSABLE",
        message: expect.stringContaining(join(cache, "roots")),
      });
      await rm(join(cache, "roots"), { recursive: true });
    }
    await rm(join(cache, "CACHEDIR.TAG"));
    await symlink("../victim/made", join(cache, "CACHEDIR.TAG"));
    await expect(openCache(cache)).rejects.toMatchObject({ code: "PLACE_UNUSABLE" });
    expect(await readdir(join(cache, "..", "victim"))).toEqual([]);
    await scratch.close();
  });

  test("takes a cache over that was made before there was a tag", async () => {
    const { cache, scratch } = await makeCache({ "inputs/a.deb": 100, "trees/b": 50, "loads/c": 20 });
    expect(names(await readCache(cache))).toEqual(["inputs/a.deb", "loads/c", "trees/b"]);

    await openCache(cache);
    await mkdir(join(cache, "later"));
    await writeFile(join(cache, "later", "x"), "x");

    expect(names(await readCache(cache))).toContain("later/x");
    await scratch.close();
  });

  test("removes an entry whose paths are longer than a path may be", async () => {
    const { cache, scratch } = await makeCache({ "sources/a": 100 });
    // Neither half is too long; put together they are.
    const half = Array.from({ length: 12 }, () => "n".repeat(200));
    for (const name of ["a-half", "other"])
      await mkdir(join(cache, "sources", name, ...half), { recursive: true });
    await rename(join(cache, "sources", "other"), join(cache, "sources", "a-half", ...half, "other"));
    // Directories alone take nothing on some file systems.
    await writeFile(join(cache, "sources", "a-half", "file"), "x");

    expect(await evict(cache, 0, scratch)).toMatchObject({ kind: "done", keptBytes: 0 });

    expect(await readdir(join(cache, "sources"))).toEqual([]);
    await scratch.close();
  });

  test("takes what was marked as used for the youngest", async () => {
    const { cache, scratch } = await makeCache({ "trees/a": 100, "trees/b": 200 });
    await markUsed(join(cache, "trees/a"));

    await evict(cache, (await readCache(cache))[0]?.sizeBytes ?? 0, scratch);

    expect(names(await readCache(cache))).toEqual(["trees/a"]);
  });

  test("measures again what was made anew under the same name", async () => {
    const { cache } = await makeCache({ "trees/a": 100 });
    const [before] = await readCache(cache);
    await rm(join(cache, "trees/a"), { recursive: true });
    await mkdir(join(cache, "trees", "between"));
    await mkdir(join(cache, "trees", "a"));
    await writeFile(join(cache, "trees", "a", "file"), Buffer.alloc(65536, 1));

    const after = (await readCache(cache)).find(({ name }) => name === "a");

    expect(before?.sizeBytes).toBeGreaterThanOrEqual(4096);
    expect(after?.sizeBytes).toBeGreaterThanOrEqual(65536);
  });

  test("leaves all alone while another living process works in the cache, and not when it is dead", async () => {
    const { cache, scratch } = await makeCache({ "trees/a": 100 });
    const child = spawn("sleep", ["60"]);
    const other = processName(child.pid) ?? "";
    await writeFile(join(cache, "tmp", `${other}-mark`), "");

    const while_ = await evict(cache, 0, scratch);
    child.kill("SIGKILL");
    await new Promise((resolve) => child.on("close", resolve));
    const after = await evict(cache, 0, scratch);

    expect(while_).toEqual({ kind: "busy", process: other });
    expect(after).toMatchObject({ kind: "done", keptBytes: 0 });
  });

  test("is waited for by who begins meanwhile, but not when it died", async () => {
    const { cache } = await makeCache({ "trees/a": 100 });
    const child = spawn("sleep", ["60"]);
    const gate = join(cache, "tmp", `${processName(child.pid)}-evicting`);
    await writeFile(gate, "");
    let isThrough = false;
    const waiting = awaitEviction(cache).then(() => {
      isThrough = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(isThrough).toBe(false);

    child.kill("SIGKILL");
    await waiting;

    expect(isThrough).toBe(true);
    expect((await stat(gate)).isFile()).toBe(true);
  });
});
