import { chown, mkdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { gitIn } from "../../../test/support/git-trees.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openScratch } from "../../base/scratch.ts";
import { readSourceTree } from "../source-tree.ts";
import { ignoredByGit } from "./git-ignored.ts";
import { leftOutAt, leftOutBy, NEVER_SOURCE } from "./not-source.ts";

const said: string[] = [];
const context = async () => ({
  scratch: await openScratch(await temporaryDirectory()),
  say: (text: string) => void said.push(text),
  signal: new AbortController().signal,
});

async function write(top: string, ...paths: string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(top, path)), { recursive: true });
    await writeFile(join(top, path), `${path}\n`);
  }
}

test("an index in very many parts is refused before a disk is full of it", async () => {
  const directory = await temporaryDirectory();
  gitIn(directory, "", "init", "--quiet");
  for (const part of ["a", "b", "c"]) {
    const file = join(directory, ".git", `sharedindex.0${part}`);
    await writeFile(file, "");
    await truncate(file, 100 << 20);
  }

  await expect(ignoredByGit(directory, await context())).rejects.toMatchObject({
    code: "DRIVER_INVALID",
    message: expect.stringContaining("its git index has more than"),
  });
});

async function sourceOf(directory: string): Promise<string[]> {
  const { files } = await readSourceTree(directory, await ignoredByGit(directory, await context()));
  return files.map(({ path }) => path);
}

describe("what lies beside a source", () => {
  const isLeftOut = leftOutBy(NEVER_SOURCE);

  test.each([
    "kmodfarm.yaml",
    "sub/kmodfarm.yml",
    "README.md",
    "CHANGELOG",
    "Jenkinsfile",
    "x.c~",
    "src/.x.c.swp",
    ".#x.c",
    "#x.c#",
    ".gitlab-ci.yml",
    ".gitattributes",
  ])("%s is left out", (path) => expect(isLeftOut(path, false)).toBe(true));

  test.each([".github", ".kmodfarm", ".idea", ".gitlab"])("%s is left out as a directory", (path) =>
    expect(isLeftOut(path, true)).toBe(true),
  );

  test.each([
    "Kbuild",
    "readme.c",
    "README.c",
    "docs/README.md",
    "LICENSE",
    ".config",
    "version.txt",
    "x.orig",
    "#x.c",
  ])("%s is source", (path) => expect(isLeftOut(path, false)).toBe(false));

  test("a driver's own lines continue the rules", () => {
    const own = leftOutBy([...NEVER_SOURCE, "!README.md", "/docs/"]);
    expect([own("README.md", false), own("docs", true), own("sub/docs", true)]).toEqual([false, true, false]);
  });

  test("the farm's places are left out wherever they are, through links too", async () => {
    const top = await temporaryDirectory();
    await mkdir(join(top, "tree/registry"), { recursive: true });
    await symlink("tree", join(top, "link"));
    const isOwn = await leftOutAt(join(top, "link"), [join(top, "tree/registry"), join(top, "elsewhere")]);
    expect(isOwn("registry", true)).toBe(true);
    expect(isOwn("elsewhere", true)).toBe(false);
  });
});

describe("what git ignores", () => {
  test("is no source, and what it tracks is", async () => {
    const top = await temporaryDirectory();
    await write(
      top,
      "Kbuild",
      "a.c",
      "build/out.txt",
      "build/kept.h",
      "sub/x.gen.h",
      "sub/keep.gen.h",
      "new.c",
    );
    await writeFile(join(top, ".gitignore"), "build/\n*.log\n");
    await writeFile(join(top, "sub/.gitignore"), "*.gen.h\n!keep.gen.h\n");
    await write(top, "tracked.log", "other.log");
    gitIn(top, "", "init", "--quiet");
    gitIn(top, "", "add", "Kbuild", "a.c", "sub");
    gitIn(top, "", "add", "--force", "tracked.log", "build/kept.h");
    await writeFile(join(top, ".git/info/exclude"), "excluded.c\n");
    await write(top, "excluded.c");
    expect(await sourceOf(top)).toEqual([
      "Kbuild",
      "a.c",
      "build/kept.h",
      "new.c",
      "sub/keep.gen.h",
      "tracked.log",
    ]);
    expect(await sourceOf(join(top, "sub"))).toEqual(["keep.gen.h"]);
  });

  test("is nothing where git knows nothing of the directory, or ignores it as a whole", async () => {
    const plain = await temporaryDirectory();
    await write(plain, "Kbuild", "x.log");
    await writeFile(join(plain, ".gitignore"), "*.log\n");
    expect(await sourceOf(plain)).toEqual(["Kbuild", "x.log"]);
    const top = await temporaryDirectory();
    gitIn(top, "", "init", "--quiet");
    await writeFile(join(top, ".gitignore"), "/out/\n");
    await write(top, "out/driver/Kbuild", "out/driver/x.c");
    expect(await sourceOf(join(top, "out/driver"))).toEqual(["Kbuild", "x.c"]);
    await write(top, "out/of/sight/driver/Kbuild");
    expect(await sourceOf(join(top, "out/of/sight/driver"))).toEqual(["Kbuild"]);
  });

  test("is asked of a worktree, whose .git is a file", async () => {
    const top = await temporaryDirectory();
    await write(top, "main/Kbuild");
    await writeFile(join(top, "main/.gitignore"), "*.log\n");
    gitIn(join(top, "main"), "", "init", "--quiet");
    gitIn(join(top, "main"), "", "add", "--all");
    gitIn(join(top, "main"), "", "commit", "--quiet", "--message=first");
    gitIn(join(top, "main"), "", "worktree", "add", "--quiet", "../other");
    await write(join(top, "other"), "x.log", "x.c");
    expect(await sourceOf(join(top, "other"))).toEqual(["Kbuild", "x.c"]);
  });

  test("runs nothing that the repository configures", async () => {
    const top = await temporaryDirectory();
    gitIn(top, "", "init", "--quiet");
    await write(top, "Kbuild");
    await writeFile(join(top, "hook"), `#!/bin/sh\ntouch ${top}/ran\n`, { mode: 0o755 });
    for (const [name, value] of [
      ["core.fsmonitor", join(top, "hook")],
      ["core.worktree", "/"],
      ["core.excludesFile", "/etc/passwd"],
    ] as const)
      gitIn(top, "", "config", name, value);
    expect(await sourceOf(top)).toEqual(["Kbuild", "hook"]);
  });

  test("starts no program for an object that the repository says is to be had elsewhere", async () => {
    const top = await temporaryDirectory();
    await write(top, "Kbuild", "sub/x.c");
    await writeFile(join(top, "sub/.gitignore"), "*.c\n");
    gitIn(top, "", "init", "--quiet");
    gitIn(top, "", "add", ".");
    gitIn(top, "", "update-index", "--skip-worktree", "sub/.gitignore");
    await rm(join(top, "sub/.gitignore"));
    await rm(join(top, ".git/objects"), { recursive: true });
    await mkdir(join(top, ".git/objects"));
    // If it ran, git would come to its end.
    await writeFile(join(top, ".payload"), "kill -9 -1\n");
    for (const [name, value] of [
      ["core.repositoryFormatVersion", "1"],
      ["extensions.partialClone", "far"],
      ["remote.far.promisor", "true"],
      ["remote.far.url", "ext::sh /tree/.payload"],
      ["protocol.ext.allow", "always"],
    ] as const)
      gitIn(top, "", "config", name, value);

    expect(await sourceOf(top)).toEqual([".payload", "Kbuild", "sub/x.c"]);
    expect(said).toEqual([]);
  });

  test("shows git no place that the repository names, and publishes none of its words", async () => {
    const top = await temporaryDirectory();
    const secret = join(await temporaryDirectory(), "index");
    await writeFile(secret, "s3cret-of-root\n");
    await write(top, "Kbuild");
    gitIn(top, "", "init", "--quiet");
    await writeFile(join(top, ".git/commondir"), ` ${dirname(secret)}\n`);
    expect(await sourceOf(top)).toEqual(["Kbuild"]);
    await write(dirname(secret), "HEAD");
    await rm(join(top, ".git"), { recursive: true });
    await writeFile(join(top, ".git"), `gitdir: ${dirname(secret)}\n`);

    const refused = await sourceOf(top).catch((error: Error) => error.message);
    expect(refused).toMatch(/it cannot read the index$/);
    expect(refused).not.toContain("s3cret");
  });

  test("counts in a worktree, with an index in parts, and with digests of SHA-256", async () => {
    const top = await temporaryDirectory();
    await write(top, "Kbuild", "tracked.log");
    gitIn(top, "", "init", "--quiet", "--object-format=sha256");
    gitIn(top, "", "add", ".");
    gitIn(top, "", "commit", "--quiet", "--message", "first");
    await writeFile(join(top, ".git/info/exclude"), "*.log\n");
    const other = join(await temporaryDirectory(), "other");
    gitIn(top, "", "worktree", "add", "--quiet", other);
    gitIn(other, "", "update-index", "--split-index");
    await write(other, "new.log");

    expect(await sourceOf(other)).toEqual(["Kbuild", "tracked.log"]);
  });

  test("a .git that leads nowhere is an error that names it", async () => {
    const top = await temporaryDirectory();
    await write(top, "Kbuild");
    await writeFile(join(top, ".git"), "gitdir: /nowhere\n");
    await expect(sourceOf(top)).rejects.toThrow(expect.objectContaining({ code: "DRIVER_INVALID" }));
    for (const pointer of ["", "gitdir: /\n", `gitdir: ${top}\n`]) {
      await writeFile(join(top, ".git"), pointer);
      await expect(sourceOf(top)).rejects.toThrow(/\.git does not lead to git's own directory/);
    }
  });

  test("is not what a stranger's .git above says", async () => {
    const top = await temporaryDirectory();
    gitIn(top, "", "init", "--quiet");
    await writeFile(join(top, ".gitignore"), "*.c\n");
    await write(top, "driver/Kbuild", "driver/x.c");
    expect(await sourceOf(join(top, "driver"))).toEqual(["Kbuild"]);
    await chown(join(top, ".git"), 12345, 12345);
    expect(await sourceOf(join(top, "driver"))).toEqual(["Kbuild", "x.c"]);
  });
});
