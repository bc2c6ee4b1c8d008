import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { copyFileSync } from "node:fs";
import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { describe, expect, test } from "vitest";
import { gitOrigin } from "../../src/builder/origins/git.ts";
import { fetchSource, ORIGINS } from "../../src/builder/origins/index.ts";
import type { OriginContext } from "../../src/builder/origins/origin.ts";
import { readSourceTree } from "../../src/builder/source-tree.ts";
import type { InputArchive } from "../../src/inputs/input-places.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { makeSigningKey, startRepository } from "../support/apt-repository.ts";
import { addDeepPath, gitIn } from "../support/git-trees.ts";
import { startServer } from "../support/server.ts";
import { tarBlocks } from "../support/tar-blocks.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import {
  digestOf,
  makeTar,
  makeTree,
  type OriginCase,
  originContext,
  originContract,
  VERSION,
} from "./origin.ts";

const key = makeSigningKey();
const sha256Of = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function makeGit(tree: string): Promise<string> {
  const git = (...argv: string[]) =>
    execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@b.example", ...argv], { cwd: tree })
      .toString()
      .trim();
  git("init", "--quiet", "--initial-branch=main");
  git("add", "--all");
  git("commit", "--quiet", "--message=first");
  git("tag", `v${VERSION}`);
  await writeFile(join(tree, "later.c"), "");
  git("add", "--all");
  git("commit", "--quiet", "--message=later");
  return git("rev-parse", `v${VERSION}`);
}

/** The digest of a tree of `makeGit` as it was tagged. */
async function withoutLater(tree: string): Promise<string> {
  await rm(join(tree, "later.c"));
  return (await readSourceTree(tree)).digest;
}

async function makePackage(tree: string, base: string, more = ""): Promise<string> {
  const root = join(base, "deb");
  await mkdir(join(root, "usr/src"), { recursive: true });
  await cp(tree, join(root, "usr/src", `doorbell-${VERSION}`), { recursive: true, verbatimSymlinks: true });
  await mkdir(join(root, "DEBIAN"), { mode: 0o755 });
  await chmod(root, 0o755);
  const control = `Package: doorbell-dkms\nVersion: 1:${VERSION}-3\nArchitecture: all\nMaintainer: nobody\n${more}Description: test\n`;
  await writeFile(join(root, "DEBIAN/control"), control);
  const file = join(base, "doorbell-dkms.deb");
  execFileSync("dpkg-deb", ["--root-owner-group", "--build", root, file], { stdio: "ignore" });
  return file;
}

/** The package in a repository of its own, whose suite is the only one of debian13. */
async function publishPackage(file: string) {
  const repository = await startRepository(key);
  const bytes = await readFile(file);
  const path = "pool/main/d/doorbell-dkms.deb";
  repository.files.set(path, bytes);
  repository.publish("trixie", {
    packages: [
      {
        name: "doorbell-dkms",
        version: `1:${VERSION}-3`,
        architecture: "all",
        sha256: sha256Of(bytes),
        size: bytes.length,
        source: "x",
        path,
        depends: "",
      },
    ],
  });
  const suites = () => [
    {
      kind: "apt" as const,
      id: "debian/trixie",
      distribution: debian,
      release: "debian13",
      suite: "trixie",
      component: "main",
      architectures: ["x86_64" as const],
      url: repository.url,
      keyring: key.keyring,
      acceptExpired: false,
      isRequired: false,
    },
  ];
  return { repository, suites };
}

const ODD = ["--owner=1234", "--group=5678", "--mtime=2001-01-01"];
const tarCase = (ending: string, ...options: string[]): OriginCase => ({
  title: `a ${ending} archive made with ${options.join(" ") || "nothing special"}`,
  async make(tree, base) {
    const file = await makeTar(tree, join(base, `driver-{version}${ending}`.replace("{version}", VERSION)), [
      ...options,
      basename(tree),
    ]);
    return { place: file.replace(VERSION, "{version}") };
  },
  nowhere: `none${ending}`,
});

const CASES: readonly OriginCase[] = [
  { title: "a directory", make: async (tree) => ({ place: tree }), nowhere: "none" },
  tarCase(".tar", ...ODD, "--sort=name"),
  tarCase(".tar.gz", "--gzip", "--format=pax"),
  tarCase(".tar.xz", "--xz", "--format=gnu", "--numeric-owner"),
  tarCase(".tar.zst", "--zstd", "--format=v7"),
  tarCase(".tar.bz2", "--bzip2", ...ODD),
  {
    title: "an archive without a directory of its own",
    async make(tree, base) {
      return { place: await makeTar(`${tree}/.`, join(base, "flat.tgz"), ["--gzip", "."]) };
    },
    nowhere: "none.tgz",
  },
  {
    title: "an archive on a web server",
    async make(tree, base) {
      const bytes = await readFile(await makeTar(tree, join(base, "d.tar"), [basename(tree)]));
      const server = await startServer((_, response) => response.end(bytes));
      return {
        place: { url: `${server.url}/d-{version}.tar?x=1`, sha256: { [VERSION]: sha256Of(bytes) } },
      };
    },
    nowhere: { url: "http://127.0.0.1:9/d.tar", sha256: { "9.9.9": "0".repeat(64) } },
  },
  ...["v{version}", "commit", "short"].map(
    (revision): OriginCase => ({
      title: `a git revision by ${revision}`,
      async make(tree) {
        const commit = await makeGit(tree);
        const names: Record<string, string> = { commit, short: commit.slice(0, 9) };
        return { place: { git: tree, revision: names[revision] ?? revision } };
      },
      nowhere: { git: "none", revision: "main" },
    }),
  ),
  {
    title: "a .deb file",
    make: async (tree, base) => ({ place: await makePackage(tree, base) }),
    nowhere: "none.deb",
  },
  {
    title: "a package of a release",
    async make(tree, base) {
      const { suites } = await publishPackage(await makePackage(tree, base));
      return { place: { package: "doorbell-dkms", release: "debian13" }, context: { suites } };
    },
    nowhere: { package: "none-dkms", release: "debian13" },
  },
];

for (const one of CASES) originContract(one);

test("every kind of origin is tried here", async () => {
  const kinds = new Set<string>();
  for (const { nowhere } of CASES) kinds.add(ORIGINS.find((one) => one.fits(nowhere))?.kind ?? "none");

  expect([...kinds].toSorted()).toEqual(ORIGINS.map(({ kind }) => kind).toSorted());
});

describe("a hostile archive", () => {
  type Entry = Parameters<ReturnType<typeof pack>["entry"]>[0];
  const refusals: readonly [string, Entry, RegExp][] = [
    ["a path that leads out", { name: "d/../../x" }, /leads out of the archive/],
    ["an absolute path", { name: "/etc/x" }, /leads out of the archive/],
    [
      "a link to an absolute path",
      { name: "d/l", type: "symlink", linkname: "/etc/passwd" },
      /to \/etc\/passwd/,
    ],
    ["a link that leads out", { name: "d/l", type: "symlink", linkname: "../../x" }, /to \.\.\/\.\.\/x/],
    ["a hard link that leads out", { name: "d/l", type: "link", linkname: "../x" }, /to \.\.\/x/],
    ["a device", { name: "d/null", type: "character-device", devmajor: 1, devminor: 3 }, /character-device/],
    ["a pipe", { name: "d/pipe", type: "fifo" }, /fifo/],
    ["a setuid file", { name: "d/su", mode: 0o4755 }, /setuid/],
  ];

  test.each(refusals)("with %s is refused, and named", async (_, entry, words) => {
    const context = await originContext();
    const file = join(context.base, "bad.tar");
    const archive = pack();
    archive.entry({ name: "d/Kbuild" }, "obj-m := x.o\n");
    archive.entry(entry, entry.type === undefined ? "x" : "");
    archive.finalize();
    await writeFile(file, await buffer(archive));

    await expect(digestOf(file, context)).rejects.toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringMatching(words) }),
    );
  });

  test.each<[string, Buffer, RegExp]>([
    [
      "that only tar sees, behind a hard link with a size",
      tarBlocks({
        name: "d/b",
        type: "1",
        linkName: "d/a",
        content: tarBlocks({ name: "d/pipe", type: "6" }),
      }),
      /no file has content/,
    ],
    [
      "in more directories than it may have entries",
      tarBlocks(
        ...Array.from({ length: 110 }, (_, index) => `d/${index}/${"d/".repeat(1900)}f`).flatMap((name) => [
          { type: "L", content: `${name}\0` },
          {},
        ]),
      ),
      /more than 200000 files and directories/,
    ],
  ])("with entries %s is refused", async (_, blocks, words) => {
    const context = await originContext();
    const file = join(context.base, "bad.tar");
    await writeFile(file, Buffer.concat([tarBlocks({ name: "d/a" }), blocks, Buffer.alloc(1024)]));

    await expect(digestOf(file, context)).rejects.toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringMatching(words) }),
    );
  });

  test("with links that lead out together, and none alone, is refused", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    await mkdir(join(tree, "a/b"), { recursive: true });
    await symlink("../..", join(tree, "a/b/top"));
    await symlink("top/..", join(tree, "a/b/out"));
    const file = await makeTar(tree, join(context.base, "d.tar"), ["tree"]);

    await expect(digestOf(file, context)).rejects.toThrow(/a\/b\/out is a link that points outside/);
  });

  test.each<[string, string]>([
    ["too deep", 'for (1..120) { mkdir "d"; chdir "d" }'],
    ["too long", 'for (1..9) { $d = "x" x 250; mkdir $d; chdir $d }'],
    ["not UTF-8", 'open F, ">", "\\xff"'],
  ])("with a path that is %s is refused, and nothing stays behind", async (_name, script) => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    execFileSync("perl", ["-e", script], { cwd: tree });
    const file = await makeTar(tree, join(context.base, "d.tar"), ["tree"]);

    await expect(digestOf(file, context)).rejects.toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID" }),
    );
    expect(await readdir(join(context.cache, "tmp"))).toHaveLength(1);
  });

  test.each([".tar", ".tar.gz"])("that is damaged is refused (%s)", async (ending) => {
    const context = await originContext();
    const file = join(context.base, `bad${ending}`);
    await writeFile(file, Buffer.alloc(2000, 7));

    await expect(digestOf(file, context)).rejects.toThrow(
      expect.objectContaining({
        code: "DRIVER_INVALID",
        message: expect.not.stringContaining(`${ending}.`),
      }),
    );
  });

  test("of another digest than was promised is refused", async () => {
    const server = await startServer((_, response) => response.end("other"));
    const place = { url: `${server.url}/d.tar`, sha256: "0".repeat(64) };

    // Who wrote it down is asked, and no index.
    await expect(digestOf(place, await originContext())).rejects.toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.stringMatching(
          /the sha256 of the source \S+d\.tar is not 0{64}, as the configuration says$/,
        ),
        hint: expect.stringContaining("Correct the `sha256`"),
      }),
    );
  });

  test("at an address where nothing is says so", async () => {
    const server = await startServer((_, response) => response.writeHead(404).end());
    const place = { url: `${server.url}/d.tar`, sha256: "0".repeat(64) };

    await expect(digestOf(place, await originContext())).rejects.toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.stringMatching(/d\.tar does not exist$/),
        hint: expect.stringContaining("Correct the `url`"),
      }),
    );
  });

  test.each(["vendor.zip", "absent.zip"])(
    "of a kind that is not read is no missing directory: %s",
    async (name) => {
      const context = await originContext();
      await writeFile(join(context.base, "vendor.zip"), "PK");

      await expect(digestOf(name, context)).rejects.toThrow(
        expect.objectContaining({
          code: "DRIVER_INVALID",
          message: expect.stringContaining(`${name} is a .zip archive, and sources are .tar archives`),
          hint: expect.stringContaining("Unpack it"),
        }),
      );
    },
  );

  test("that its server has lost comes from the farm's own archive", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    const bytes = await readFile(await makeTar(tree, join(context.base, "d.tar"), ["tree"]));
    let isThere = true;
    const server = await startServer((_, response) => {
      response.writeHead(isThere ? 200 : 404).end(isThere ? bytes : "");
    });
    const place = { url: `${server.url}/d.tar`, sha256: sha256Of(bytes) };
    const kept = new Map<string, { bytes: Buffer; isPrivate: boolean }>();
    const archive: InputArchive = {
      open: async (digest) => {
        const bytes = kept.get(digest)?.bytes;
        return bytes === undefined ? undefined : Readable.from([bytes]);
      },
      write: async (digest, file, isPrivate) =>
        void kept.set(digest, { bytes: await readFile(file), isPrivate }),
    };
    const before = await digestOf(place, { ...context, archive });
    isThere = false;
    const said: string[] = [];
    const elsewhere = await originContext({ archive, say: (text) => said.push(text) });

    expect(await digestOf(place, elsewhere)).toBe(before);
    expect(said.join()).toContain("from the archive");
    expect([...kept.values()].map(({ isPrivate }) => isPrivate)).toEqual([true]);
  });

  test("is downloaded again when what is kept of it has changed", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    const bytes = await readFile(await makeTar(tree, join(context.base, "d.tar"), ["tree"]));
    const server = await startServer((_, response) => response.end(bytes));
    const sha256 = sha256Of(bytes);
    const before = await digestOf({ url: `${server.url}/d.tar`, sha256 }, context);
    await rm(join(context.cache, "sources"), { recursive: true });
    await writeFile(join(context.cache, "inputs", `${sha256}.tar`), bytes.subarray(0, 700));

    expect(await digestOf({ url: `${server.url}/d.tar`, sha256 }, context)).toBe(before);
  });

  test("on a web server needs a digest", async () => {
    await expect(digestOf("https://host.example/d.tar.gz", await originContext())).rejects.toThrow(/sha256/);
  });
});

describe("a hostile Debian package", () => {
  type Entry = Parameters<ReturnType<typeof pack>["entry"]>[0];

  /** A package with a tar archive that no honest tool would write. */
  async function debOf(base: string, entries: readonly Entry[]): Promise<string> {
    const tar = pack();
    for (const entry of entries) tar.entry(entry, entry.type === undefined ? "x" : "");
    tar.finalize();
    await writeFile(join(base, "data.tar"), await buffer(tar));
    const honest = await makePackage(await makeTree(join(base, "honest")), base);
    const members = execFileSync("ar", ["t", honest]).toString().split("\n");
    execFileSync("ar", ["d", honest, members.find((name) => name.startsWith("data.tar")) ?? ""]);
    execFileSync("ar", ["q", honest, join(base, "data.tar")], { stdio: "pipe" });
    return honest;
  }

  test.each(["./usr/src", "./usr/src/", "./usr"])("whose %s is a link loses nobody's links", async (name) => {
    const context = await originContext();
    const victim = await temporaryDirectory();
    await symlink("/etc/passwd", join(victim, "precious"));
    await mkdir(join(victim, "src"));
    await symlink("/etc/passwd", join(victim, "src/precious"));
    const file = await debOf(context.base, [
      { name: "./usr/", type: "directory" },
      { name: "./usr/src/", type: "directory" },
      { name: "./usr/src/doorbell-1/dkms.conf" },
      { name, type: "symlink", linkname: victim },
    ]);

    await digestOf(file, context).catch(() => "refused");

    expect(await readdir(victim)).toEqual(["precious", "src"]);
    expect(await readdir(join(victim, "src"))).toEqual(["precious"]);
    for (const kept of await readdir(join(context.cache, "sources")).catch(() => []))
      expect((await lstat(join(context.cache, "sources", kept))).isDirectory()).toBe(true);
  });

  test("whose /usr/src is a link first and a directory later deletes nothing of the machine", async () => {
    const context = await originContext();
    const host = await temporaryDirectory();
    await mkdir(join(host, "victim"));
    await writeFile(join(host, "victim/precious"), "");
    const file = await debOf(context.base, [
      { name: "./usr/src", type: "symlink", linkname: "." },
      { name: "./usr/src/0", type: "directory" },
      { name: "./usr/src/0/X", type: "directory" },
      { name: "./usr/src/0/X/victim", type: "symlink", linkname: "victim" },
      { name: "./usr/src/", type: "directory" },
      { name: "./usr/src/X", type: "symlink", linkname: host },
      { name: "./usr/src/doorbell-1/dkms.conf" },
    ]);

    await expect(digestOf(file, context)).rejects.toThrow(/\/src", which must be a directory/);
    expect(await readdir(join(host, "victim"))).toEqual(["precious"]);
  });

  test("with a link in the place of a tree is read without it", async () => {
    const context = await originContext();
    const host = await temporaryDirectory();
    await writeFile(join(host, "dkms.conf"), "");
    const file = await debOf(context.base, [
      { name: "./usr/src/doorbell-1/dkms.conf" },
      { name: "./usr/src/doorbell-2", type: "symlink", linkname: "doorbell-1" },
      { name: "./usr/src/host-1", type: "symlink", linkname: host },
    ]);

    const { directory } = await fetchSource(file, VERSION, context);

    expect(basename(directory)).toBe("doorbell-1");
    expect(await readdir(join(directory, ".."))).toEqual(["doorbell-1"]);
    expect(await readdir(host)).toEqual(["dkms.conf"]);
  });

  test("that is exchanged while it is read depends on what the package of its digest says", async () => {
    const context = await originContext();
    const file = await makePackage(
      await makeTree(join(context.base, "tree")),
      context.base,
      "Depends: libfirst-dev, dkms\n",
    );
    const other = join(context.base, "other");
    await mkdir(other);
    const evil = await makePackage(join(context.base, "tree"), other, "Depends: libevil-dev\n");
    let places = 0;
    const scratch = {
      ...context.scratch,
      // Our copy has the first place; from the second on, whoever writes the package has exchanged it.
      path: () => {
        if (++places === 2) copyFileSync(evil, file);
        return context.scratch.path();
      },
    };

    const { depends } = await fetchSource(file, VERSION, { ...context, scratch });

    expect(places).toBeGreaterThan(2);
    expect(depends).toEqual(["libfirst-dev"]);
    expect((await fetchSource(file, VERSION, context)).depends).toEqual(["libevil-dev"]);
  });

  test("has its links to documentation left out, and those that lead out together too", async () => {
    const context = await originContext();
    const tree = "./usr/src/doorbell-1";
    const file = await debOf(context.base, [
      { name: `${tree}/dkms.conf` },
      { name: `${tree}/changelog`, type: "symlink", linkname: "../../share/doc/doorbell/changelog.gz" },
      { name: `${tree}/a/b/top`, type: "symlink", linkname: "../.." },
      { name: `${tree}/a/b/out`, type: "symlink", linkname: "top/.." },
      { name: `${tree}/conf`, type: "symlink", linkname: "dkms.conf" },
    ]);

    const { directory } = await fetchSource(file, VERSION, context);

    expect((await readSourceTree(directory)).files.map(({ path }) => path)).toEqual([
      "a/b/top",
      "conf",
      "dkms.conf",
    ]);
  });
});

describe("a git repository", () => {
  test.each([".git-index", "index"])("may hold a directory named %s", async (name) => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    await mkdir(join(tree, name));
    await writeFile(join(tree, name, "file"), "");
    await makeGit(tree);

    expect(await digestOf({ git: tree, revision: `v${VERSION}` }, context)).toBe(await withoutLater(tree));
  });

  test("with a path that is too long for a checkout is a fault of the driver", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    await makeGit(tree);
    addDeepPath(tree);

    await expect(digestOf({ git: tree, revision: "deep" }, context)).rejects.toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID" }),
    );
    expect(await readdir(join(context.cache, "tmp"))).toHaveLength(1);
  });

  test.each(["ext::sh -c 'touch /tmp/x'", "ssh://host.example/x", "-u./x", "git@host.example:x"])(
    "is not reached by %s",
    async (git) => {
      await expect(digestOf({ git, revision: "main" }, await originContext())).rejects.toThrow(
        expect.objectContaining({ code: expect.stringMatching(/INVALID$/) }),
      );
    },
  );

  test.each<[string, number, number, string]>([
    ["entries", 3, 100, "x"],
    ["bytes", 2, 20, "x".repeat(16 * 1024 ** 2)],
  ])(
    "of few objects that make too many %s is refused before it is read",
    async (_name, levels, width, text) => {
      const context = await originContext();
      const tree = await makeTree(join(context.base, "tree"));
      await makeGit(tree);
      const blob = gitIn(tree, text, "hash-object", "-w", "--stdin");
      const many = (line: string) =>
        Array.from({ length: width }, (_, index) => `${line}\t${index}\n`).join("");
      let object = gitIn(tree, many(`100644 blob ${blob}`), "mktree");
      for (let level = 1; level < levels; level++)
        object = gitIn(tree, many(`040000 tree ${object}`), "mktree");
      gitIn(tree, "", "branch", "bomb", gitIn(tree, "", "commit-tree", object, "-m", "bomb"));

      await expect(digestOf({ git: tree, revision: "bomb" }, context)).rejects.toThrow(
        expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringContaining("more than") }),
      );
    },
  );

  test.each([7, 12, 39, 64])(
    "whose branch is named like a commit of %d digits is refused",
    async (length) => {
      const context = await originContext();
      const tree = await makeTree(join(context.base, "tree"));
      await makeGit(tree);
      const pin = "abcdef0123456789".repeat(4).slice(0, length);
      gitIn(tree, "", "branch", pin);

      await expect(digestOf({ git: tree, revision: pin }, context)).rejects.toThrow(
        expect.objectContaining({
          code: "CONFIG_INVALID",
          message: expect.stringContaining("points to another commit"),
        }),
      );
      expect(await digestOf({ git: tree, revision: `refs/heads/${pin}` }, context)).toMatch(/^sha256:/);
    },
  );

  test("may have a tag that reads as a date", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    await makeGit(tree);
    gitIn(tree, "", "tag", "20240101");

    expect(await digestOf({ git: tree, revision: "20240101" }, context)).toMatch(/^sha256:/);
  });

  describe("of this machine", () => {
    const SECRET = "token-of-somebody-else-8c1f";
    const main = (git: string) => ({ git, revision: "main" });

    /** A repository of the driver's author, and a secret beside it that only the farm may read. */
    async function besideSecret() {
      const context = await originContext();
      const tree = await makeTree(join(context.base, "tree"));
      await makeGit(tree);
      const secret = join(context.base, "secret");
      await writeFile(secret, `${SECRET}\n`, { mode: 0o600 });
      return { context, tree, secret };
    }

    /** What came of it: words that would be published, or what the tree holds. */
    async function wordsOf(git: string, context: OriginContext): Promise<string> {
      const fetched = await fetchSource(main(git), VERSION, context).catch((thrown) => thrown);
      if (fetched instanceof Error) return fetched.message;
      return execFileSync("grep", ["-r", "", fetched.directory]).toString();
    }

    test.each([
      "packed-refs",
      "shallow",
      "config",
      "HEAD",
      "refs/heads/main",
      "objects/info/alternates",
      "commondir",
    ])("shows nobody what its %s leads to", async (name) => {
      const { context, tree, secret } = await besideSecret();
      const said: string[] = [];
      await rm(join(tree, ".git", name), { force: true });
      await symlink(secret, join(tree, ".git", name));

      const words = await wordsOf(tree, { ...context, say: (text) => said.push(text) });

      expect(words).not.toBe("");
      expect(`${words} ${said.join()}`).not.toContain(SECRET);
    });

    test("gives nothing of another repository that it leads to", async () => {
      const { context, tree } = await besideSecret();
      await writeFile(join(tree, "secret.c"), SECRET);
      gitIn(tree, "", "add", "--all");
      gitIn(tree, "", "commit", "--quiet", "--message=secret");
      const links = join(context.base, "links.git");
      const borrowing = join(context.base, "borrowing.git");
      for (const one of [links, borrowing]) gitIn(tree, "", "init", "--quiet", "--bare", one);
      for (const name of ["objects", "refs"]) {
        await rm(join(links, name), { recursive: true });
        await symlink(join(tree, ".git", name), join(links, name));
      }
      await writeFile(join(links, "HEAD"), "ref: refs/heads/main\n");
      await mkdir(join(borrowing, "objects/info"), { recursive: true });
      await writeFile(join(borrowing, "objects/info/alternates"), `${join(tree, ".git/objects")}\n`);
      await writeFile(join(borrowing, "refs/heads/main"), `${gitIn(tree, "", "rev-parse", "main")}\n`);

      expect(await wordsOf(links, context)).toMatch(/git finds no repository there$/);
      expect(await wordsOf(borrowing, context)).toMatch(/it borrows objects \(objects\/info\/alternates\)/);
    });

    test("has its damage told in words of ours, and git's own only here", async () => {
      const { context, tree } = await besideSecret();
      const said: string[] = [];
      await writeFile(join(tree, ".git/packed-refs"), `${SECRET}\n`);

      const words = await wordsOf(tree, { ...context, say: (text) => said.push(text) });

      expect(words).toMatch(/tree cannot be fetched: its packed-refs are damaged$/);
      expect(said.join()).toContain(SECRET);
    });

    test.each<[string, (tree: string, other: string) => void]>([
      ["a worktree", (tree, other) => gitIn(tree, "", "worktree", "add", "--quiet", "--detach", other)],
      [
        "a link to one",
        (tree, other) => execFileSync("sh", ["-c", `mkdir "${other}"; ln -s "${tree}/.git" "${other}/.git"`]),
      ],
      [
        "a worktree's own part",
        (tree, other) => {
          gitIn(tree, "", "worktree", "add", "--quiet", "--detach", `${other}-2`);
          execFileSync("mv", [join(tree, ".git/worktrees", `${basename(other)}-2`), other]);
        },
      ],
    ])("that is %s says which one to name", async (_name, make) => {
      const { context, tree } = await besideSecret();
      const other = join(context.base, "other");
      make(tree, other);

      await expect(digestOf(main(other), context)).rejects.toThrow(
        expect.objectContaining({
          code: "DRIVER_INVALID",
          message: expect.stringContaining("elsewhere"),
          hint: expect.stringContaining("--git-common-dir"),
        }),
      );
    });
  });

  test("runs none of its hooks, filters and commands", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    const mark = join(await temporaryDirectory(), "ran");
    await writeFile(join(tree, ".gitattributes"), "*.c filter=evil\n");
    await makeGit(tree);
    const hook = join(tree, ".git/hooks/post-checkout");
    await mkdir(join(tree, ".git/hooks"), { recursive: true });
    await writeFile(hook, `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 });
    const evil = `touch ${mark}`;
    for (const [name, value] of [
      ["filter.evil.smudge", evil],
      ["core.fsmonitor", evil],
      ["uploadpack.packObjectsHook", evil],
      ["core.pager", evil],
    ] as const)
      execFileSync("git", ["config", name, value], { cwd: tree });

    await digestOf({ git: tree, revision: "main" }, context);

    await expect(readFile(mark)).rejects.toThrow("ENOENT");
  });

  test.each([".gitattributes", "sub/.gitattributes"])(
    "is the bytes of its commit, whatever its %s says",
    async (attributes) => {
      const context = await originContext();
      const tree = await makeTree(join(context.base, "tree"));
      const content = "$Id$ $Format:%H$\nline\n";
      const wanted = ["ident", "utf32", "crlf", "legacy", "auto", "macro", "kept"].map(
        (name) => `sub/${name}.txt`,
      );
      const lines = [
        "[attr]odd ident text eol=crlf",
        "ident.txt ident",
        "utf32.txt text working-tree-encoding=UTF-32",
        "crlf.txt text eol=crlf",
        "legacy.txt crlf=input eol=crlf",
        "auto.txt text=auto eol=crlf",
        "macro.txt odd",
        "kept.txt export-ignore export-subst",
      ];
      await mkdir(join(tree, "sub"));
      for (const path of wanted) await writeFile(join(tree, path), content);
      // Its author adds the bytes before the attributes say how they would be read.
      await makeGit(tree);
      const blob = gitIn(tree, `${lines.join("\n")}\n`, "hash-object", "-w", "--stdin", "--no-filters");
      gitIn(tree, "", "update-index", "--add", "--cacheinfo", `100644,${blob},${attributes}`);
      gitIn(tree, "", "commit", "--quiet", "--message=odd");

      const { directory } = await fetchSource({ git: tree, revision: "main" }, VERSION, context);

      for (const path of wanted) expect(await readFile(join(directory, path), "utf8")).toBe(content);
      expect(await readFile(join(directory, attributes), "utf8")).toContain("working-tree-encoding");
    },
  );

  test("whose files are more than its copy may be has its checkout ended, and nothing of it stays", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    await makeGit(tree);
    const limit = 16 * 1024 ** 2;
    const bytes = randomBytes(limit * 0.6);
    for (const name of ["one", "same"]) await writeFile(join(tree, name), bytes);
    gitIn(tree, "", "add", "--all");
    gitIn(tree, "", "commit", "--quiet", "--message=large");

    await expect(gitOrigin(limit).fetch({ git: tree, revision: "main" }, VERSION, context)).rejects.toThrow(
      expect.objectContaining({
        code: "DRIVER_INVALID",
        message: expect.stringMatching(/takes more than 16777216 bytes on the disk/),
      }),
    );
    expect(await readdir(join(context.cache, "tmp"))).toHaveLength(1);
    expect(await readdir(join(context.cache, "sources")).catch(() => [])).toEqual([]);
  });

  test("says which revision it does not have, and follows a branch that moves", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    await makeGit(tree);
    const before = await digestOf({ git: tree, revision: "main" }, context);
    execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@b.example", "rm", "-q", "later.c"], {
      cwd: tree,
    });
    execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@b.example", "commit", "-qm", "less"], {
      cwd: tree,
    });

    expect(await digestOf({ git: tree, revision: "main" }, context)).not.toBe(before);
    await expect(digestOf({ git: tree, revision: "v9" }, context)).rejects.toThrow(/has no revision v9/);
  });
});

test("versions of one git repository that are fetched at once are each what they are", async () => {
  const context = await originContext();
  const tree = await makeTree(join(context.base, "tree"));
  const [tagged, latest] = [await makeGit(tree), gitIn(tree, "", "rev-parse", "main")];
  const wanted = Array.from({ length: 4 }, () => [`v${VERSION}`, "main"]).flat();

  const fetched = await Promise.all(
    wanted.map((revision) => fetchSource({ git: tree, revision }, VERSION, context)),
  );

  expect(fetched.map(({ origin }) => origin.commit)).toEqual(
    wanted.map((one) => (one === "main" ? latest : tagged)),
  );
});

describe("a git repository on a web server", () => {
  /** A clone that git can fetch from a plain web server. */
  async function served(password?: string) {
    const context = await originContext();
    const authorization = `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;
    const tree = await makeTree(join(context.base, "tree"));
    await makeGit(tree);
    execFileSync("git", ["clone", "--quiet", "--bare", tree, join(context.base, "bare")]);
    execFileSync("git", ["update-server-info"], { cwd: join(context.base, "bare") });
    let isUp = true;
    const server = await startServer((request, response) => {
      if (isUp && password !== undefined && request.headers.authorization !== authorization) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
        return;
      }
      const path = new URL(request.url ?? "", "http://x").pathname;
      const bytes = readFile(join(context.base, "bare", path)).catch(() => undefined);
      void bytes.then((found) => {
        response.writeHead(!isUp ? 503 : found === undefined ? 404 : 200).end(isUp ? found : "");
      });
    });
    const stop = () => {
      isUp = false;
    };
    const commit = execFileSync("git", ["rev-parse", "main"], { cwd: tree, encoding: "utf8" }).trim();
    return { context, place: { git: server.url, revision: "main" }, stop, commit };
  }

  test("is fetched, and as last seen while it is down", async () => {
    const { context, place, stop } = await served();
    const said: string[] = [];
    const before = await digestOf(place, context);
    stop();

    expect(await digestOf(place, { ...context, say: (text) => said.push(text) })).toBe(before);
    expect(said.join()).toMatch(/main: as last seen/);
  });

  test("that somebody's password opened is not there for who knows only its commit", async () => {
    const { context, place, stop, commit } = await served("secret");
    await writeFile(join(context.base, "password"), "secret\n");
    const opened = { ...place, credentials: { user: "me", passwordFile: "password" } };
    await digestOf(opened, context);

    await expect(digestOf({ ...place, revision: commit }, context)).rejects.toThrow(
      expect.objectContaining({ hint: expect.stringContaining("passwordFile") }),
    );
    await expect(digestOf({ ...opened, revision: commit }, context)).resolves.toBeDefined();
    // Nor is what was last seen with the password, while the server is down.
    stop();
    await expect(digestOf(place, context)).rejects.toThrow();
    await expect(digestOf(opened, context)).resolves.toBeDefined();
  });

  test("that was never seen is a fault of its server", async () => {
    const { context, place, stop } = await served();
    stop();

    await expect(digestOf(place, context)).rejects.toThrow(
      expect.objectContaining({ code: "REMOTE_UNAVAILABLE" }),
    );
  });
});

describe("a git server that means harm", () => {
  const LIMIT_BYTES = 64 * 1024 ** 2;
  const commit = "1".repeat(40);
  /** An index of packs with one entry a million times, which git takes for one that it may ask more about. */
  const index = (() => {
    const count = 1_000_000;
    const fan = Array.from({ length: 256 }, (_, first) => (first < 0x22 ? 0 : count));
    const head = Buffer.alloc(8 + 4 * 256);
    head.writeUInt32BE(0xff744f63, 0);
    head.writeUInt32BE(2, 4);
    for (const [at, total] of fan.entries()) head.writeUInt32BE(total, 8 + 4 * at);
    const parts = [
      Buffer.alloc(20 * count, 0x22),
      Buffer.alloc(4 * count),
      Buffer.alloc(4 * count, "\0\0\0\x0c"),
    ];
    const bytes = Buffer.concat([head, ...parts, Buffer.alloc(20, 0x33)]);
    return gzipSync(Buffer.concat([bytes, createHash("sha1").update(bytes).digest()]));
  })();

  /** Has packs whose indices are a thousand times what is sent of them. */
  const bomb = (packs: number) =>
    startServer((request, response) => {
      const path = new URL(request.url ?? "", "http://x").pathname;
      if (path.endsWith("/info/refs")) response.end(`${commit}\trefs/heads/main\n`);
      else if (path === "/HEAD") response.end("ref: refs/heads/main\n");
      else if (path.endsWith("/info/packs"))
        response.end(
          Array.from({ length: packs }, (_, at) => `P pack-${String(at).padStart(40, "0")}.pack\n`).join(""),
        );
      else if (path.endsWith(".idx")) response.writeHead(200, { "content-encoding": "gzip" }).end(index);
      else response.writeHead(404).end();
    });

  test("fills no disk: its fetch is ended at a limit, and nothing of it stays", async () => {
    const context = await originContext();
    const { url, requests } = await bomb(200);

    await expect(
      gitOrigin(LIMIT_BYTES).fetch({ git: url, revision: "main" }, VERSION, context),
    ).rejects.toThrow(
      expect.objectContaining({
        code: "DRIVER_INVALID",
        message: expect.stringMatching(/more than 67108864 bytes/),
      }),
    );
    expect(requests.filter((path) => path.endsWith(".idx")).length).toBeLessThan(200);
    expect(await readdir(join(context.cache, "git"))).toEqual([]);
  });

  test("leaves nothing behind that is less than the limit", async () => {
    const context = await originContext();
    const { url } = await bomb(1);

    await expect(digestOf({ git: url, revision: "main" }, context)).rejects.toThrow(/cannot be fetched/);
    expect(await readdir(join(context.cache, "git"))).toEqual([]);
  });

  test("costs nothing of what was fetched before, and leaves nothing beside it", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    await makeGit(tree);
    const place = { git: tree, revision: "main" };
    gitIn(tree, "", "branch", "tmp_branch");
    await expect(digestOf({ git: tree, revision: "v9" }, context)).rejects.toThrow(/has no revision/);
    const copies = await readdir(join(context.cache, "git"));
    const copy = join(context.cache, "git", copies[0] as string);
    const left = [
      "objects/pack/tmp_pack_1",
      "objects/pack/pack-1.idx",
      "shallow.lock",
      "objects/11/tmp_obj_1",
    ];
    await mkdir(join(copy, "objects/11"), { recursive: true });
    for (const path of left) await writeFile(join(copy, path), "");
    await rename(join(tree, ".git/HEAD"), join(tree, ".git/gone"));

    await expect(digestOf({ git: tree, revision: "other" }, context)).rejects.toThrow(/cannot be fetched/);
    const files = await readdir(copy, { recursive: true });
    expect(files.filter((path) => left.includes(path))).toEqual([]);
    await rename(join(tree, ".git/gone"), join(tree, ".git/HEAD"));
    expect(gitIn(copy, "", "rev-parse", "tmp_branch")).toBe(gitIn(tree, "", "rev-parse", "main"));
    expect(await digestOf(place, context)).toMatch(/^sha256:/);
  });
});

describe("a package of a release", () => {
  async function published() {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    const { repository, suites } = await publishPackage(await makePackage(tree, context.base));
    return { repository, context: { ...context, suites } };
  }
  const place = { package: "doorbell-dkms", release: "debian13" };

  test.each([`${VERSION}-3`, VERSION])("is found by its version as %s", async (version) => {
    const { context } = await published();

    expect(await digestOf(place, context, version)).toMatch(/^sha256:/);
  });

  test("is refused under another version, which names the one there is", async () => {
    const { context } = await published();

    await expect(digestOf(place, context, "1.3.0")).rejects.toThrow(
      /debian13 has doorbell-dkms 1\.2\.0-3 \(its tree is 1\.2\.0\), not 1\.3\.0/,
    );
  });

  test("is refused when its bytes are not those of the index", async () => {
    const { context, repository } = await published();
    const [path] = [...repository.files.keys()].filter((name) => name.endsWith(".deb"));
    const bytes = Buffer.from(repository.files.get(path as string) as Buffer);
    bytes.writeUInt8(bytes.readUInt8(200) ^ 1, 200);
    repository.files.set(path as string, bytes);

    await expect(digestOf(place, context)).rejects.toThrow(
      expect.objectContaining({ code: "DIGEST_MISMATCH" }),
    );
  });

  test("is as it was last seen while its mirror is down", async () => {
    const { context, repository } = await published();
    const before = await digestOf(place, context);
    const said: string[] = [];
    const down = context.suites().map((suite) => ({ ...suite, url: "http://127.0.0.1:9" }));

    expect(repository.requests().length).toBeGreaterThan(0);
    expect(await digestOf(place, { ...context, suites: () => down, say: (text) => said.push(text) })).toBe(
      before,
    );
    expect(said.join()).toMatch(/as last seen/);
  });

  test("without a tree of DKMS is refused", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    await rename(join(tree, "dkms.conf"), join(tree, "dkms.conf.in"));

    await expect(digestOf(await makePackage(tree, context.base), context)).rejects.toThrow(
      /no tree with a dkms\.conf/,
    );
  });

  test("is the same without its links to what is elsewhere in the package", async () => {
    const context = await originContext();
    const tree = await makeTree(join(context.base, "tree"));
    const plain = await digestOf(tree, context);
    await symlink("../../share/doc/doorbell-dkms/README.gz", join(tree, "README.gz"));
    await symlink("/etc/passwd", join(tree, "include", "passwd"));

    expect(await digestOf(await makePackage(tree, context.base), context)).toBe(plain);
  });
});
