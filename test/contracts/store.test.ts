import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
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
    for (let turn = 0; ; turn++) {
      await store.write("a/" + (turn % 3), "x".repeat(1 << 20));
      if (turn === 3) console.log("at work");
    }`,
  );
  await killNow(child);

  const store = await openFolderStore(directory);
  await store.write("a/0", "x".repeat(1 << 20));
  await store.close();

  expect(await entriesOf(directory)).toEqual(["a"]);
  expect(await store.list("a")).toEqual(["0", "1", "2"]);
  for (const name of ["0", "1", "2"]) expect((await store.read(`a/${name}`))?.length).toBe(1 << 20);
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

    await store.removeAll("view/linked");
    await store.removeAll("view/doorbell");
    await store.write("linked", "a file of ours takes its place");

    expect(await readdir(victim, { recursive: true })).toEqual(["passwd", "precious", "precious/a"]);
    expect(await readFile(join(victim, "passwd"), "utf8")).toBe("2");
    expect(await readFile(join(directory, "linked"), "utf8")).toBe("a file of ours takes its place");
    expect(await store.list("view")).toEqual([]);
  });

  test("may have a link in the place of .tmp: nothing happens where it leads", async () => {
    const [directory, victim] = [await temporaryDirectory(), await temporaryDirectory()];
    await writeFile(join(victim, "1-1-aa-0"), "precious");
    await symlink(victim, join(directory, ".tmp"));
    const store = await openFolderStore(directory);

    await expect(store.write("a", "x")).rejects.toMatchObject({ code: "PLACE_UNUSABLE" });

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
    for (const path of ["channels/stable", "blobs/sha256/aa/aabb", "generations/1/generation.json"]) {
      await store.write(path, "x");
      if (!String(make).includes("truncate")) await rm(join(directory, path));
      await make(join(directory, path));

      await expect(store.read(path)).rejects.toThrow(expect.objectContaining({ code: "STORE_CORRUPT" }));
    }
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

    await store.removeAll("view/a");

    expect(await store.list("view")).toEqual([]);
    expect(await readdir(victim)).toEqual(["precious"]);
  });
});

test("a folder takes in 200 MB, and gives them out, within 150 MB of memory", async () => {
  const directory = await temporaryDirectory();
  const { said } = await startChild(
    `${openElsewhere(join(directory, "store"))}
    import { readFileSync } from "node:fs";
    import { open } from "node:fs/promises";
    const file = await open(${JSON.stringify(join(directory, "package"))}, "w");
    for (let part = 0; part < 200; part++) await file.write(Buffer.alloc(1 << 20, part));
    await file.close();
    await store.write("small", "x");
    const idle = process.memoryUsage().rss;
    await store.writeFile("blobs/sha256/aa/aabb", ${JSON.stringify(join(directory, "package"))});
    let size = 0;
    for await (const chunk of await store.stream("blobs/sha256/aa/aabb")) size += chunk.length;
    // Not the system's own count of a process: that begins with what its parent had.
    const most = Number(/VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
    console.log(JSON.stringify({ size, isSmall: most - idle < 150e6 }));`,
  );

  expect(JSON.parse(said)).toEqual({ size: 200 << 20, isSmall: true });
});

test("a folder may itself be a link, to another disk say", async () => {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "disk"));
  await symlink("disk", join(directory, "store"));
  const store = await openFolderStore(join(directory, "store"));

  await store.write("a/b", "x");
  await store.close();

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
