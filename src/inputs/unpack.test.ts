import { execFileSync } from "node:child_process";
import { createReadStream, writeFileSync } from "node:fs";
import { mkdir, readFile, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { type Header, pack } from "tar-stream";
import { describe, expect, test } from "vitest";
import { makeDeb } from "../../test/support/debs.ts";
import { makeRpm } from "../../test/support/rpms.ts";
import { tarBlocks } from "../../test/support/tar-blocks.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { packageFormat } from "./package-format.ts";
import { type UnpackLimits, unpackPackage } from "./unpack.ts";

const malformed = (words: RegExp) =>
  expect.objectContaining({ code: "PACKAGE_MALFORMED", message: expect.stringMatching(words) });

/** Unpacks into a fresh directory beside a file that nobody may touch. */
async function unpack(file: string, limits?: UnpackLimits) {
  const place = await temporaryDirectory();
  const target = join(place, "target");
  await mkdir(target);
  writeFileSync(join(place, "victim"), "untouched");
  const format = packageFormat({ name: "test", version: "1", path: file });
  try {
    await unpackPackage(createReadStream(file), file, format, target, limits === undefined ? {} : { limits });
  } finally {
    expect(await readFile(join(place, "victim"), "utf8")).toBe("untouched");
  }
  return target;
}

type Entry = Partial<Header> & { readonly name: string; readonly content?: string };

/** A Debian package with a tar archive that no honest tool would write. */
async function debOf(entries: readonly Entry[]): Promise<string> {
  const tar = pack();
  for (const { content, ...header } of entries) tar.entry(header as Header, content ?? "");
  tar.finalize();
  return debOfTar(await buffer(tar));
}

async function debOfTar(tar: Buffer): Promise<string> {
  const directory = await temporaryDirectory();
  writeFileSync(join(directory, "data.tar"), tar);
  const honest = await makeDeb(directory, "hostile", {}, "none");
  execFileSync("ar", ["d", honest, "data.tar"], { cwd: directory });
  execFileSync("ar", ["q", honest, "data.tar"], { cwd: directory, stdio: "pipe" });
  return honest;
}

const files = (count: number) => Array.from({ length: count }, (_, index) => ({ name: `usr${index}` }));

describe("packages of both formats", () => {
  const honest = { "usr/src/linux-headers-6.1/Makefile": "all:", "usr/share/doc/x": "words" };

  test("are unpacked by their own tool", async () => {
    const directory = await temporaryDirectory();
    const install =
      "mkdir -p $R/usr/src/kernels/1.x86_64/a; ln -s ../../1.x86_64 $R/usr/src/kernels/1.x86_64/a/up";
    for (const file of [
      await makeDeb(directory, "headers", honest),
      makeRpm(directory, "kernel-devel", { files: honest, install, list: ["/usr/src/kernels"] }),
    ]) {
      const tree = await unpack(file);

      expect(await readFile(join(tree, "usr/src/linux-headers-6.1/Makefile"), "utf8")).toBe("all:");
    }
  });

  test("keep links that lead to where other packages of the kernel are", async () => {
    const tree = await unpack(
      await debOf([
        { name: "lib/modules/6.1/build", type: "symlink", linkname: "/usr/src/linux-headers-6.1" },
        { name: "usr/src/a/scripts", type: "symlink", linkname: "../../lib/linux-kbuild-6.1/scripts" },
      ]),
    );

    expect(await readlink(join(tree, "lib/modules/6.1/build"))).toBe("/usr/src/linux-headers-6.1");
  });

  test("of rpm keep hard links between their own files", async () => {
    const install = "mkdir -p $R/u; echo same >$R/u/one; ln $R/u/one $R/u/two; ln $R/u/one $R/u/three";
    const tree = await unpack(makeRpm(await temporaryDirectory(), "linked", { install, list: ["/u"] }));

    expect((await stat(join(tree, "u/two"))).nlink).toBe(3);
    expect(await readFile(join(tree, "u/three"), "utf8")).toBe("same\n");
  });

  test("keep hard links between their own files", async () => {
    const tree = await unpack(
      await debOf([
        { name: "usr/src/one", content: "same" },
        { name: "usr/src/two", type: "link", linkname: "usr/src/one" },
      ]),
    );

    expect((await stat(join(tree, "usr/src/two"))).nlink).toBe(2);
  });
});

describe("hostile Debian packages", () => {
  test.each<[string, readonly Entry[], RegExp]>([
    ["a path up and out", [{ name: "../victim", content: "x" }], /cannot be unpacked.*\.\./],
    ["a path up in its middle", [{ name: "usr/../../victim", content: "x" }], /\.\./],
    [
      "an absolute link elsewhere",
      [{ name: "usr/x", type: "symlink", linkname: "/etc/passwd" }],
      /link to \/etc\/passwd/,
    ],
    [
      "a link up and out",
      [{ name: "usr/x", type: "symlink", linkname: "../../victim" }],
      /link out of the package/,
    ],
    [
      "a link out by way of a directory",
      [{ name: "usr/x", type: "symlink", linkname: "a/../../../victim" }],
      /link out of the package/,
    ],
    [
      "an absolute link that only begins well",
      [{ name: "usr/x", type: "symlink", linkname: "/usr/src/../../etc" }],
      /link to \/usr\/src\/\.\./,
    ],
    [
      "a link, then a file through it",
      [
        { name: "usr/out", type: "symlink", linkname: "../../.." },
        { name: "usr/out/victim", content: "x" },
      ],
      /./,
    ],
    [
      "a hard link to a file of ours",
      [{ name: "usr/x", type: "link", linkname: "../victim" }],
      /cannot be unpacked/,
    ],
    ["a hard link to a file of the system", [{ name: "usr/x", type: "link", linkname: "/usr/bin/env" }], /./],
    ["a device", [{ name: "dev/null", type: "character-device", devmajor: 1, devminor: 3 }], /./],
    ["a fifo", [{ name: "usr/fifo", type: "fifo" }], /not a file, a directory or a link/],
    ["a program with its owner's rights", [{ name: "usr/bin/su", mode: 0o4755, content: "x" }], /rights/],
    ["a directory with its group's rights", [{ name: "usr/d", type: "directory", mode: 0o2755 }], /rights/],
  ])("with %s are refused", async (_, entries, words) => {
    await expect(unpack(await debOf(entries))).rejects.toThrow(malformed(words));
  });

  test("that unpack to endless bytes are stopped", async () => {
    const bomb = await makeDeb(await temporaryDirectory(), "bomb", { "usr/zeros": Buffer.alloc(64 << 20) });

    expect((await stat(bomb)).size).toBeLessThan(100_000);
    await expect(unpack(bomb, { bytes: 8 << 20, files: 1000 })).rejects.toThrow(
      malformed(/more than 8388608 bytes/),
    );
  });

  test("that unpack to endless files are stopped", async () => {
    const entries = Array.from({ length: 2000 }, (_, index) => ({ name: `usr/${index}` }));

    await expect(unpack(await debOf(entries), { bytes: 1 << 30, files: 1000 })).rejects.toThrow(
      malformed(/more than 1000 files/),
    );
  });

  /** Each of them counted as one file, or as none, where entries alone were counted. */
  test.each<[string, Buffer, RegExp]>([
    [
      "behind a hard link with a size",
      tarBlocks({ name: "a" }, { name: "b", type: "1", linkName: "a", size: 8 ** 11 - 1 }, ...files(2000)),
      /no file has content/,
    ],
    [
      "as directories that no entry names",
      tarBlocks(...files(30).map(({ name }) => ({ name: `${name}/${"d/".repeat(40)}f` }))),
      /more than 1000 files/,
    ],
  ])("that hold files %s are stopped", async (_, blocks, words) => {
    const file = await debOfTar(Buffer.concat([blocks, Buffer.alloc(1024)]));

    await expect(unpack(file, { bytes: 1 << 30, files: 1000 })).rejects.toThrow(malformed(words));
  });

  test.each([
    ["nothing", ""],
    ["a page of words", "<html>not found</html>"],
    ["half an archive", "!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"],
  ])("that are %s are refused with the tool's words", async (_, text) => {
    const file = join(await temporaryDirectory(), "x.deb");
    writeFileSync(file, text);

    await expect(unpack(file)).rejects.toThrow(malformed(/dpkg-deb/));
  });
});

describe("hostile rpm packages", () => {
  test.each<[string, string, string, RegExp]>([
    ["an absolute link elsewhere", "ln -s /etc/passwd $R/x", "/x", /link to \/etc\/passwd/],
    ["a link up and out", "ln -s ../victim $R/x", "/x", /link out of the package/],
    ["a program with its owner's rights", "echo x >$R/x", "%attr(4755,root,root) /x", /rights/],
    ["a device", "mknod $R/x c 1 3", "/x", /./],
  ])("with %s are refused", async (_, install, list, words) => {
    const rpm = makeRpm(await temporaryDirectory(), "hostile", { install, list: [list] });

    await expect(unpack(rpm)).rejects.toThrow(malformed(words));
  });

  test("with a path up and out are refused", async () => {
    const directory = await temporaryDirectory();
    const rpm = makeRpm(directory, "up", { files: { "usr/ab/victim": "x" }, compression: "none" });
    const bytes = await readFile(rpm);
    // rpmbuild would not write that: the names are replaced by others of the same length.
    const changed = Buffer.from(
      bytes
        .toString("latin1")
        .replaceAll("/usr/ab/", "/../../x/".slice(0, 8))
        .replaceAll("usr/ab", "../../../"),
      "latin1",
    );
    writeFileSync(rpm, changed);

    await expect(unpack(rpm)).rejects.toThrow(malformed(/./));
  });

  test("that unpack to endless bytes are stopped", async () => {
    const install = "head -c 67108864 /dev/zero >$R/zeros";
    const bomb = makeRpm(await temporaryDirectory(), "bomb", { install, list: ["/zeros"] });

    expect((await stat(bomb)).size).toBeLessThan(1_000_000);
    await expect(unpack(bomb, { bytes: 8 << 20, files: 1000 })).rejects.toThrow(
      malformed(/more than 8388608 bytes/),
    );
  });

  test("that are none are refused with the tool's words", async () => {
    const file = join(await temporaryDirectory(), "x.rpm");
    writeFileSync(file, "<html>not found</html>");

    await expect(unpack(file)).rejects.toThrow(malformed(/not an RPM package/));
  });
});

test("a package of a format that we do not know is refused by its name", () => {
  expect(() => packageFormat({ name: "linux-headers", version: "1", path: "a/b.pkg.tar.zst" })).toThrow(
    malformed(/neither \.deb nor \.rpm/),
  );
});

test("a tool that is not installed is named, and is no fault of the package", async () => {
  const directory = await temporaryDirectory();
  const file = await makeDeb(directory, "headers", {});
  await mkdir(join(directory, "target"));

  await expect(
    unpackPackage(createReadStream(file), file, { toTar: ["no-such-tool"] }, join(directory, "target")),
  ).rejects.toThrow(
    expect.objectContaining({ code: "TOOL_MISSING", message: expect.stringContaining("no-such-tool") }),
  );
});

test("a stop is told from a fault", async () => {
  const directory = await temporaryDirectory();
  const file = await makeDeb(directory, "headers", {});
  const format = packageFormat({ name: "headers", version: "1", path: file });

  await expect(
    unpackPackage(createReadStream(file), file, format, directory, { signal: AbortSignal.abort() }),
  ).rejects.toThrow(expect.objectContaining({ code: "INTERRUPTED" }));
});
