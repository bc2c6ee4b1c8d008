import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, stat, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { processName } from "../../src/base/process-name.ts";
import { entriesOf } from "../../src/base/scratch.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { killNow, startChild } from "../support/children.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { storeContract } from "./store.ts";

const FOLDER = new URL("../../src/registry/stores/folder.ts", import.meta.url).href;

function openElsewhere(directory: string): string {
  return `
    import { openFolderStore } from ${JSON.stringify(FOLDER)};
    const store = await openFolderStore(${JSON.stringify(directory)});`;
}

storeContract("a folder", async () => {
  const directory = join(await temporaryDirectory(), "store");
  return { open: () => openFolderStore(directory), openElsewhere: openElsewhere(directory) };
});

test("a folder has nothing but what was written, once its writers are gone", async () => {
  const directory = join(await temporaryDirectory(), "store");
  const { child } = await startChild(
    `${openElsewhere(directory)}
    await store.lock();
    for (let turn = 0; ; turn++) {
      await store.write("a/" + (turn % 3), "x".repeat(1 << 20));
      if (turn === 3) console.log("at work");
    }`,
  );
  await killNow(child);

  const store = await openFolderStore(directory);
  const unlock = await store.lock();
  await unlock();

  expect(await entriesOf(directory)).toEqual(["a"]);
  expect(await store.list("a")).toEqual(["0", "1", "2"]);
  for (const name of ["0", "1", "2"]) expect((await store.read(`a/${name}`))?.length).toBe(1 << 20);
});

/** A process that cannot be looked at from here, on a machine that calls itself as this one does. */
const ELSEWHERE = `4711-1.0123456789abcdef ${hostname()} aabb`;
const DEAD = `${(processName() as string).replace(/^\d+-\d+/, "1-1")} ${hostname()} aabb`;

const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000);

async function lockedBy(holder: string, minutes = 0): Promise<string> {
  const directory = await temporaryDirectory();
  await writeFile(join(directory, ".lock"), holder);
  await utimes(join(directory, ".lock"), ago(minutes), ago(minutes));
  return directory;
}

describe("a folder's lock", () => {
  test.each([
    ["another machine", "1-1.0123456789abcdef another-machine aabb", "on another-machine"],
    ["another container of this host name", ELSEWHERE, `process 4711-1 on ${hostname()}`],
    ["an earlier version, which did not say where it runs", `1-1 ${hostname()}`, `1-1 on ${hostname()}`],
    ["something that cannot be read", "4711-1", "another machine"],
  ])(
    "of %s is not taken over while it is fresh, and the error says when it will be",
    async (_, holder, words) => {
      const directory = await lockedBy(holder, 9);
      const store = await openFolderStore(directory);

      await expect(store.lock()).rejects.toMatchObject({
        code: "STORE_BUSY",
        message: expect.stringContaining(words),
        hint: expect.stringMatching(/10 minutes after its last sign of life, which was 5[345]\d s ago/),
      });

      expect(await readFile(join(directory, ".lock"), "utf8")).toBe(holder);
      expect(await readdir(directory)).toEqual([".lock"]);
    },
  );

  test("of a process elsewhere is not taken over while its mark is fresh, however old the lock", async () => {
    const directory = await lockedBy(ELSEWHERE, 600);
    await mkdir(join(directory, ".tmp"));
    await writeFile(join(directory, ".tmp", "4711-1.0123456789abcdef-aa-alive1199"), "");

    await expect((await openFolderStore(directory)).lock()).rejects.toMatchObject({ code: "STORE_BUSY" });

    expect(await readdir(join(directory, ".tmp"))).toEqual(["4711-1.0123456789abcdef-aa-alive1199"]);
  });

  test("of a process elsewhere is taken over after ten minutes of silence", async () => {
    const directory = await lockedBy(ELSEWHERE, 11);
    const store = await openFolderStore(directory);

    const unlock = await store.lock();
    await store.write("a", "mine");
    await unlock();

    expect(await readdir(directory)).toEqual(["a"]);
  });

  test.each([
    ["dead", DEAD, 0],
    ["silent elsewhere", ELSEWHERE, 11],
  ])(
    "of a process that is %s is never taken over by two, however close they come",
    async (_, holder, minutes) => {
      const winners: number[] = [];

      for (let round = 0; round < 30; round++) {
        const place = await lockedBy(holder, minutes);
        const stores = await Promise.all(Array.from({ length: 6 }, () => openFolderStore(place)));
        const locks = await Promise.allSettled(stores.map((store) => store.lock()));
        winners.push(locks.filter(({ status }) => status === "fulfilled").length);
      }

      expect(Math.max(...winners)).toBe(1);
    },
  );

  test("that was taken over is noticed by who had it: it writes nothing more, and leaves the new one", async () => {
    const directory = await temporaryDirectory();
    const store = await openFolderStore(directory);
    const unlock = await store.lock();
    await store.write("a", "mine");

    await writeFile(join(directory, ".lock"), ELSEWHERE);
    const busy = expect.objectContaining({
      code: "STORE_BUSY",
      message: expect.stringContaining("taken over"),
    });
    await expect(store.write("a", "still mine")).rejects.toThrow(busy);
    await expect(store.create("b", "mine")).rejects.toThrow(busy);
    await expect(store.remove("a")).rejects.toThrow(busy);
    await unlock();

    expect(await readFile(join(directory, ".lock"), "utf8")).toBe(ELSEWHERE);
    expect(String(await store.read("a"))).toBe("mine");
    expect(await store.list("b")).toEqual([]);
  });
});

describe("a folder that strangers can write to", () => {
  const corrupt = expect.objectContaining({
    code: "STORE_CORRUPT",
    message: expect.stringContaining("a link"),
  });

  test("is left by no link: nothing is read, listed, written or removed where one leads", async () => {
    const [directory, victim] = [await temporaryDirectory(), await temporaryDirectory()];
    await mkdir(join(victim, "precious"));
    await writeFile(join(victim, "precious", "a"), "1");
    await writeFile(join(victim, "passwd"), "2");
    const store = await openFolderStore(directory);
    await store.write("view/doorbell/leaf/a.ko", "module");
    for (const place of ["view/doorbell/linked", "view/linked", "linked"]) {
      await symlink(victim, join(directory, place));

      for (const path of [`${place}/passwd`, `${place}/precious/a`]) {
        await expect(store.read(path)).rejects.toThrow(corrupt);
        await expect(store.write(path, "x")).rejects.toThrow(corrupt);
        await expect(store.create(`${path}.new`, "x")).rejects.toThrow(corrupt);
        await expect(store.remove(path)).rejects.toThrow(corrupt);
      }
      await expect(store.list(place)).rejects.toThrow(corrupt);
      await expect(store.list(`${place}/precious`)).rejects.toThrow(corrupt);
      await expect(store.read(place)).rejects.toThrow(corrupt);
    }

    await store.remove("view/linked");
    await store.remove("view/doorbell");
    await store.write("linked", "a file of ours takes its place");

    expect(await readdir(victim, { recursive: true })).toEqual(["passwd", "precious", "precious/a"]);
    expect(await readFile(join(victim, "passwd"), "utf8")).toBe("2");
    expect(await readFile(join(directory, "linked"), "utf8")).toBe("a file of ours takes its place");
    expect(await store.list("view")).toEqual([]);
  });

  test.each([
    [".tmp", "PLACE_UNUSABLE"],
    [".lock", "STORE_CORRUPT"],
  ])("may have a link in the place of %s: nothing happens where it leads", async (name, code) => {
    const [directory, victim] = [await temporaryDirectory(), await temporaryDirectory()];
    await writeFile(join(victim, "1-1-aa-0"), "precious");
    await symlink(name === ".tmp" ? victim : join(victim, "1-1-aa-0"), join(directory, name));
    const store = await openFolderStore(directory);

    await expect(store.lock()).rejects.toMatchObject({ code });

    expect(await readdir(victim)).toEqual(["1-1-aa-0"]);
    expect(await readFile(join(victim, "1-1-aa-0"), "utf8")).toBe("precious");
  });

  test.each([
    ["a FIFO", (path: string) => execFileSync("mkfifo", [path])],
    ["a socket", (path: string) => listenAt(path)],
    ["a device", (path: string) => symlink("/dev/zero", path)],
    ["a directory", (path: string) => mkdir(path)],
    ["a file without end", (path: string) => truncate(path, 2 ** 40)],
  ])("may have %s in the place of a file: that is said at once", async (_, make) => {
    const directory = await temporaryDirectory();
    const store = await openFolderStore(directory);
    for (const path of [
      "channels/stable",
      "blobs/sha256/aa/aabb",
      "generations/1/generation.json",
      ".lock",
    ]) {
      await store.write(path, "x");
      if (!String(make).includes("truncate")) await rm(join(directory, path));
      await make(join(directory, path));

      await expect(store.read(path)).rejects.toThrow(expect.objectContaining({ code: "STORE_CORRUPT" }));
    }
    await expect(store.lock()).rejects.toThrow(expect.objectContaining({ code: "STORE_CORRUPT" }));
  });

  test("may have a file in the place of a directory, or the other way round: both are errors of the store", async () => {
    const directory = await temporaryDirectory();
    const store = await openFolderStore(directory);
    await store.write("view/a", "file");
    await store.write("view/b/c", "file");
    const strange = expect.objectContaining({ code: "STORE_CORRUPT" });

    await expect(store.write("view/a/b", "x")).rejects.toThrow(strange);
    await expect(store.list("view/a")).rejects.toThrow(strange);
    await expect(store.write("view/b", "x")).rejects.toThrow(strange);

    expect(await store.list("view/b")).toEqual(["c"]);
    expect(await readdir(join(directory, ".tmp"))).toEqual([expect.stringContaining("-alive")]);
  });

  test("is a tree that is removed whatever is in it, and only it", async () => {
    const [directory, victim] = [await temporaryDirectory(), await temporaryDirectory()];
    await writeFile(join(victim, "precious"), "");
    const store = await openFolderStore(directory);
    await store.write("view/a/b", "x");
    await symlink(victim, join(directory, "view", "a", "link"));
    execFileSync("perl", ["-e", 'for (1..3000) { mkdir "d"; chdir "d" }'], {
      cwd: join(directory, "view", "a"),
    });

    await store.remove("view/a");

    expect(await store.list("view")).toEqual([]);
    expect(await readdir(victim)).toEqual(["precious"]);
  });
});

test("a folder may itself be a link, to another disk say", async () => {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "disk"));
  await symlink("disk", join(directory, "store"));
  const store = await openFolderStore(join(directory, "store"));

  const unlock = await store.lock();
  await store.write("a/b", "x");
  await unlock();

  expect(await readdir(join(directory, "disk"), { recursive: true })).toEqual(["a", "a/b"]);
});

test("a folder shows all of it to everybody, but packages that may not be passed on", async () => {
  const directory = await temporaryDirectory();
  const store = await openFolderStore(directory);
  const modeOf = async (path: string) => (await stat(join(directory, path))).mode & 0o777;

  await store.write("view/a/b.ko", "x");
  await store.create("private/sha256/aa/aabb", "x");

  expect(await Promise.all(["view", "view/a", "view/a/b.ko"].map(modeOf))).toEqual([0o755, 0o755, 0o644]);
  const hidden = ["private", "private/sha256", "private/sha256/aa", "private/sha256/aa/aabb"];
  expect(await Promise.all(hidden.map(modeOf))).toEqual([0o700, 0o700, 0o700, 0o600]);
});

function listenAt(path: string): Promise<void> {
  // A longer path than the address of a socket may have: it is made in its own directory.
  const script =
    "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un($ARGV[0])) or die $!";
  execFileSync("perl", ["-e", script, basename(path)], { cwd: dirname(path) });
  return Promise.resolve();
}
