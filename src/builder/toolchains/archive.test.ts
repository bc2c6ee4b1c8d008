import { chmod, link, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Block, tarBlocks } from "../../../test/support/tar-blocks.ts";
import { sharedDirectory, temporaryDirectory } from "../../../test/support/temporary.ts";
import { sha256 } from "../../base/json.ts";
import { run } from "../../base/run.ts";
import { openScratch } from "../../base/scratch.ts";
import { exportRoot, importRoot } from "./archive.ts";

const directory = sharedDirectory();

const RECORD = {
  builder: "x86_64",
  packages: [{ name: "gcc-12", version: "12.2.0-14" }],
  compilers: { x86_64: "gcc (Debian 12.2.0-14) 12.2.0" },
};

async function makePlace(name: string): Promise<string> {
  const place = join(directory, name, "debian12-gcc-12-0123456789ab");
  const root = join(place, "root");
  await mkdir(join(root, "usr", "bin"), { recursive: true });
  await mkdir(join(root, "empty"));
  await writeFile(join(root, "usr", "bin", "gcc-12"), "the compiler", { mode: 0o755 });
  await link(join(root, "usr", "bin", "gcc-12"), join(root, "usr", "bin", "x86_64-linux-gnu-gcc-12"));
  await symlink("usr/bin", join(root, "bin"));
  await symlink("/usr/bin/gcc-12", join(root, "cc"));
  await mkdir(join(root, "d".repeat(90), "e".repeat(90)), { recursive: true });
  await writeFile(join(root, "d".repeat(90), "e".repeat(90), "long"), "a long name");
  await chmod(join(root, "empty"), 0o1777);
  await writeFile(join(place, "root.json"), JSON.stringify(RECORD));
  return place;
}

describe("a toolchain root", () => {
  test("gives the same archive twice, and from where it was imported", async () => {
    const scratch = await openScratch(join(directory, "tmp"));
    const place = await makePlace("one");
    const files = ["a.tar", "b.tar", "c.tar"].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];

    const first = await exportRoot(place, files[0], scratch);
    await run(["touch", "--date=2001-01-01", join(place, "root", "cc"), join(place, "root", "empty")]);
    await exportRoot(place, files[1], scratch);
    const imported = await importRoot(files[1], (root) => join(directory, "two", root.name), scratch);
    await exportRoot(join(directory, "two", imported.name), files[2], scratch);

    expect(imported).toEqual(first);
    expect(imported).toMatchObject({ name: "debian12-gcc-12-0123456789ab", record: RECORD });
    const digests = await Promise.all(files.map(async (file) => sha256(await readFile(file))));
    expect(new Set(digests).size).toBe(1);
    const root = join(directory, "two", imported.name, "root");
    expect((await stat(join(root, "bin", "x86_64-linux-gnu-gcc-12"))).mode & 0o7777).toBe(0o755);
    expect((await stat(join(root, "empty"))).mode & 0o7777).toBe(0o1777);
    await scratch.close();
  });

  test("is another one where its record says something else", async () => {
    const scratch = await openScratch(join(directory, "tmp"));
    const honest = await exportRoot(await makePlace("honest"), join(directory, "honest.tar"), scratch);
    const place = await makePlace("lying");
    await writeFile(join(place, "root.json"), JSON.stringify({ ...RECORD, packages: [] }));

    const lying = await exportRoot(place, join(directory, "lying.tar"), scratch);

    expect(lying.digest).not.toBe(honest.digest);
    const target = join(directory, "target");
    await importRoot(join(directory, "honest.tar"), target, scratch);
    await importRoot(join(directory, "honest.tar"), target, scratch);
    await expect(importRoot(join(directory, "lying.tar"), target, scratch)).rejects.toMatchObject({
      code: "TOOLCHAIN_INVALID",
      message: expect.stringMatching(/another root of that name/),
    });
    expect(JSON.parse(await readFile(join(target, "root.json"), "utf8"))).toEqual(RECORD);
    await scratch.close();
  });

  test("takes its place once, however many bring it there at the same time, and replaces half of one", async () => {
    const scratch = await openScratch(join(directory, "tmp"));
    const archive = join(directory, "raced.tar");
    await exportRoot(await makePlace("raced"), archive, scratch);
    const target = join(directory, "raced-target");
    await mkdir(join(target, "root/half"), { recursive: true });

    await importRoot(archive, target, scratch);
    const both = await Promise.all(
      Array.from({ length: 4 }, () => importRoot(archive, join(directory, "raced-new"), scratch)),
    );

    expect(new Set(both.map(({ digest }) => digest)).size).toBe(1);
    for (const place of [target, join(directory, "raced-new")])
      expect(JSON.parse(await readFile(join(place, "root.json"), "utf8"))).toEqual(RECORD);
    await scratch.close();
  });

  test("is an image to container tools", async () => {
    const scratch = await openScratch(join(directory, "tmp"));
    const file = join(directory, "image.tar");
    await exportRoot(await makePlace("image"), file, scratch);

    const { exitCode, stdout } = await run(["skopeo", "inspect", "--config", `oci-archive:${file}`]).catch(
      () => ({ exitCode: 127, stdout: "" }),
    );

    // What reads images is not on every machine; `tar` is.
    if (exitCode === 0) expect(JSON.parse(stdout)).toMatchObject({ architecture: "amd64", os: "linux" });
    const listed = await run(["tar", "--list", "--file", file]);
    expect(listed.stdout.split("\n").filter((name) => !name.startsWith("blobs/"))).toEqual([
      "oci-layout",
      "index.json",
      "",
    ]);
    await scratch.close();
  });

  test.each([
    [
      "cut off in the middle",
      (bytes: Buffer) => bytes.subarray(0, bytes.length - 4096),
      /ends in the middle/,
    ],
    ["damaged in its layer", (bytes: Buffer) => replaced(bytes, "the compiler", "the Compiler"), /damaged/],
    ["damaged in its documents", (bytes: Buffer) => replaced(bytes, "12.2.0-14", "12.2.0-15"), /digest/],
    ["empty", () => Buffer.alloc(1024), /missing/],
    ["no archive", () => Buffer.from("no archive at all"), /cannot be read|middle/],
  ])("is refused when it is %s, and nothing of it stays", async (name, damage, fact) => {
    const scratch = await openScratch(join(directory, "tmp"));
    const file = join(directory, `damaged-${name.replaceAll(" ", "-")}.tar`);
    await exportRoot(await makePlace(name.replaceAll(" ", "-")), file, scratch);
    await writeFile(file, damage(await readFile(file)));
    const place = join(directory, "never");

    const refusal = importRoot(file, place, scratch);

    await expect(refusal).rejects.toMatchObject({
      code: "TOOLCHAIN_INVALID",
      message: expect.stringMatching(fact),
    });
    await expect(stat(place)).rejects.toMatchObject({ code: "ENOENT" });
    await scratch.close();
  });
});

describe("an archive that somebody made to do harm", () => {
  const honest = { name: "debian12-gcc-12-0123456789ab", record: RECORD };

  /** A layer of any entries, and whatever is said of it. */
  async function crafted(layer: Buffer, said: unknown = honest): Promise<string> {
    const config = Buffer.from(
      JSON.stringify({ config: { Labels: { "io.kmodfarm.root": JSON.stringify(said) } } }),
    );
    const facts = (bytes: Buffer) => ({ mediaType: "x", digest: sha256(bytes), size: bytes.length });
    const manifest = Buffer.from(JSON.stringify({ config: facts(config), layers: [facts(layer)] }));
    const index = Buffer.from(JSON.stringify({ manifests: [facts(manifest)] }));
    const file = join(await temporaryDirectory(), "crafted.tar");
    // What comes fifth is the layer, however small it is.
    const blobs = [manifest, config, layer].map((content) => ({
      name: `blobs/sha256/${sha256(content).slice(7)}`,
      content,
    }));
    const documents = [
      { name: "oci-layout", content: "{}" },
      { name: "index.json", content: index },
    ];
    await writeFile(file, Buffer.concat([tarBlocks(...documents, ...blobs), Buffer.alloc(1024)]));
    return file;
  }
  const layerOf = (...blocks: readonly Block[]) => Buffer.concat([tarBlocks(...blocks), Buffer.alloc(1024)]);

  test.each<[string, Buffer, unknown?]>([
    ["a device", layerOf({ name: "dev/sda", type: "4" })],
    ["a pipe", layerOf({ name: "pipe", type: "6" })],
    ["a program that is root's for everybody", layerOf({ name: "su", mode: 0o4755, content: "x" })],
    ["a path from the top", layerOf({ name: "/tmp/evil", content: "x" })],
    ["a path that leads out", layerOf({ name: "a/../../evil", content: "x" })],
    ["a hard link out", layerOf({ name: "shadow", type: "1", linkName: "../../../etc/shadow" })],
    [
      "a hard link through a link",
      layerOf({ name: "a", type: "2", linkName: "/usr/bin" }, { name: "b", type: "1", linkName: "a/env" }),
    ],
    [
      "a file through a link",
      layerOf({ name: "a", type: "2", linkName: "/usr" }, { name: "a/evil", content: "x" }),
    ],
    ["nothing", Buffer.alloc(1024)],
    ["a name that leads out", layerOf({ name: "x", content: "x" }), { ...honest, name: "../../evil" }],
    [
      "half of a character",
      layerOf({ name: "x", content: "x" }),
      { ...honest, record: { ...RECORD, packages: [{ name: "\ud800", version: "1" }] } },
    ],
    ["no record", layerOf({ name: "x", content: "x" }), { name: honest.name }],
  ])("is refused with %s, and nothing of it stays", async (_, layer, said) => {
    const cache = await temporaryDirectory();
    const scratch = await openScratch(join(cache, "tmp"));
    const file = await crafted(layer, said);

    const refusal = importRoot(file, ({ name }) => join(cache, "roots", name), scratch);

    await expect(refusal).rejects.toMatchObject({ code: "TOOLCHAIN_INVALID" });
    await scratch.close();
    expect(await readdir(cache)).toEqual([]);
  });
});

function replaced(bytes: Buffer, before: string, after: string): Buffer {
  const at = bytes.indexOf(before);
  expect(at).toBeGreaterThan(0);
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(after), bytes.subarray(at + before.length)]);
}
