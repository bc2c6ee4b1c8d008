/** What every store must do, whatever it keeps its files in. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { type Store, sizeLimitOf } from "../../src/registry/stores/store.ts";
import { killNow, startChild } from "../support/children.ts";
import { temporaryDirectory } from "../support/temporary.ts";

interface StoreUnderTest {
  /** Opens the same place again and again, as different processes would. */
  readonly open: () => Promise<Store>;
  /** Module text that opens the same place as `store` in a process of its own. */
  readonly openElsewhere: string;
}

const tryToCreate = (index: number) => `
  console.log((await store.create("generations/1", "${index}")) ? "created ${index}" : "there");
  await store.close();`;

export function storeContract(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`${name} as a store`, () => {
    test("reads what was written, byte by byte, in other hands too", async () => {
      const { open } = await make();
      const bytes = randomBytes(1 << 20);

      await (await open()).write("blobs/sha256/aa/aabb", bytes);

      expect(await (await open()).read("blobs/sha256/aa/aabb")).toEqual(bytes);
    });

    test("keeps the last of what was written to one place", async () => {
      const store = await (await make()).open();

      await store.write("channels/stable", "one");
      await store.write("channels/stable", "two");
      await store.write("empty", "");

      expect(String(await store.read("channels/stable"))).toBe("two");
      expect(await store.read("empty")).toEqual(Buffer.alloc(0));
    });

    test("refuses what is longer than its reader takes", async () => {
      const store = await (await make()).open();
      await store.write("metadata/head", "x".repeat(100));

      await expect(store.read("metadata/head", 10)).rejects.toThrow(
        expect.objectContaining({ code: "STORE_CORRUPT" }),
      );
      expect(String(await store.read("metadata/head", 100))).toHaveLength(100);
    });

    test("takes names as Debian makes them", async () => {
      const store = await (await make()).open();
      const path = "view/doorbell/0.1.0/debian12/x86_64/6.12.113+deb12-amd64_6.12.113-1~bpo12+1/a.ko";

      await store.write(path, "module");

      expect(String(await store.read(path))).toBe("module");
    });

    test("creates a file once: of several writers one succeeds, and its file stays", async () => {
      const { open } = await make();
      const stores = await Promise.all([1, 2, 3, 4].map(open));

      const created = await Promise.all(stores.map((store, index) => store.create("a/b", String(index))));
      const winner = created.indexOf(true);
      const again = await (await open()).create("a/b", "later");

      expect(created.filter(Boolean)).toHaveLength(1);
      expect(again).toBe(false);
      expect(String(await (await open()).read("a/b"))).toBe(String(winner));
      expect(await (await open()).list("a")).toEqual(["b"]);
    });

    test.each([
      "",
      "/",
      "/etc/passwd",
      "a/../../b",
      "..",
      ".",
      "a//b",
      "a/./b",
      "a/",
      "a\0b",
      "x".repeat(10_000),
    ])("takes no path that is not one below it: %j", async (path) => {
      const store = await (await make()).open();
      await store.write("b", "there");
      const unsafe = expect.objectContaining({ code: "UNSAFE_NAME" });

      await expect(store.read(path)).rejects.toThrow(unsafe);
      await expect(store.write(path, "x")).rejects.toThrow(unsafe);
      await expect(store.create(path, "x")).rejects.toThrow(unsafe);
      await expect(store.list(path)).rejects.toThrow(unsafe);
      await expect(store.remove(path)).rejects.toThrow(unsafe);
      await expect(store.removeAll(path)).rejects.toThrow(unsafe);

      expect(String(await store.read("b"))).toBe("there");
    });

    test("neither writes nor reads more than a file of its kind may have", async () => {
      const store = await (await make()).open();
      const large = "x".repeat(sizeLimitOf("channels/stable") + 1);

      await expect(store.write("channels/stable", large)).rejects.toThrow(
        expect.objectContaining({ code: "STORE_UNUSABLE" }),
      );

      expect(await store.read("channels/stable")).toBeUndefined();
    });

    test("has nothing where nothing was written", async () => {
      const store = await (await make()).open();
      await store.write("a/b", "file");

      expect(await store.read("none")).toBeUndefined();
      expect(await store.read("a/none")).toBeUndefined();
      expect(await store.read("a/b/none")).toBeUndefined();
      expect(await store.list("none")).toEqual([]);
    });

    test("lists names directly below a directory, sorted, and nothing temporary", async () => {
      const store = await (await make()).open();
      for (const path of ["generations/2/a", "generations/10/a", "generations/10/b/c", "other"])
        await store.write(path, "");

      expect(await store.list("generations")).toEqual(["10", "2"]);
      expect(await store.list("generations/10")).toEqual(["a", "b"]);
    });

    test("removes files and whole directories, and does not mind what is not there", async () => {
      const store = await (await make()).open();
      for (const path of ["a/b/c", "a/d", "e"]) await store.write(path, "x");

      await store.removeAll("a/b");
      await store.remove("e");
      await store.remove("none/none");
      await store.removeAll("none");

      expect(await store.list("a")).toEqual(["d"]);
      expect(await store.read("a/b/c")).toBeUndefined();
      expect(await store.read("e")).toBeUndefined();
    });

    test("shows readers a file whole, whoever writes it", async () => {
      const { open } = await make();
      const [one, two] = [await open(), await open()];
      const contents = ["a", "b"].map((letter) => letter.repeat(1 << 18)) as [string, string];
      await one.write("file", contents[0]);

      const reading = { isOver: false };
      const seen = new Set<string>();
      const reader = (async () => {
        while (!reading.isOver) seen.add(String(await one.read("file")));
      })();
      for (let turn = 0; turn < 20; turn++)
        await Promise.all([one.write("file", contents[0]), two.write("file", contents[1])]);
      reading.isOver = true;
      await reader;

      expect([...seen].filter((text) => !contents.includes(text))).toEqual([]);
    });

    // Who empties a directory removes it, perhaps while another one enters it.
    test("keeps what is written while another process removes the last other file of its directory", async () => {
      const { open, openElsewhere } = await make();

      const writers = await Promise.all(
        [1, 2, 3, 4].map((index) => startChild(`${openElsewhere}${writeAndRemove(index)}`)),
      );

      expect(writers.map(({ said }) => said)).toEqual(Array(4).fill("kept all"));
      expect(await (await open()).list("view")).toEqual([]);
    });

    test("lets one of several processes create a file, and forgets what a killed one was writing", async () => {
      const { open, openElsewhere } = await make();
      const { child } = await startChild(
        `${openElsewhere}
        await store.write("a", "x");
        console.log("here");
        setInterval(() => {}, 1000);`,
      );
      await killNow(child);

      const tries = await Promise.all(
        [1, 2, 3, 4].map((index) => startChild(`${openElsewhere}${tryToCreate(index)}`)),
      );

      const said = tries.map((attempt) => attempt.said);
      const winner = said.find((one) => one.startsWith("created "));
      expect(said.toSorted().slice(1)).toEqual(["there", "there", "there"]);
      expect(`created ${String(await (await open()).read("generations/1"))}`).toBe(winner);
    });

    test("takes in and gives out a file of any size without holding it", async () => {
      const store = await (await make()).open();
      const file = join(await temporaryDirectory(), "package");
      const bytes = randomBytes(3 << 20);
      await writeFile(file, bytes);

      await store.writeFile("blobs/sha256/aa/aabb", file);

      const body = await store.stream("blobs/sha256/aa/aabb");
      expect(Buffer.concat(await (body as Readable).toArray())).toEqual(bytes);
      expect(await store.stream("blobs/sha256/aa/none")).toBeUndefined();
      expect(await store.facts("blobs/sha256/aa/aabb")).toMatchObject({
        path: "blobs/sha256/aa/aabb",
        size: bytes.length,
      });
      expect(await store.facts("blobs/sha256/aa")).toBeUndefined();
      expect(await store.facts("none/none")).toBeUndefined();
    });

    test("can be prepared, which leaves nothing in it", async () => {
      const { open } = await make();
      const store = await open();

      await store.prepare();
      await store.close();

      expect(await store.list("a")).toEqual([]);
      for await (const { path } of store.walk("")) expect(path).toBe("nothing");
    });

    test("walks through every file, of a directory or of everything, and nothing temporary", async () => {
      const store = await (await make()).open();
      for (const path of ["a/b/c", "a/d", "e"]) await store.write(path, path);

      const found = async (path: string) => {
        const files: string[] = [];
        for await (const one of store.walk(path)) files.push(`${one.path} ${one.size}`);
        return files.toSorted();
      };

      expect(await found("")).toEqual(["a/b/c 5", "a/d 3", "e 1"]);
      expect(await found("a")).toEqual(["a/b/c 5", "a/d 3"]);
      expect(await found("none")).toEqual([]);
    });
  });
}

function writeAndRemove(index: number): string {
  return `
    const path = "view/a/b/${index}";
    let said = "kept all";
    try {
      for (let turn = 0; turn < 30; turn++) {
        await store.write(path, String(turn));
        if (String(await store.read(path)) !== String(turn)) said = "lost one";
        await store.removeAll(path);
      }
    } catch (thrown) {
      said = String(thrown);
    }
    console.log(said);
    await store.close();`;
}
