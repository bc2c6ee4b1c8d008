import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { StrangeDirectory } from "./strange-directory.ts";
import {
  copyFileIn,
  measureTrees,
  namesIn,
  readFileIn,
  removeLinkIn,
  removeTree,
  walkTree,
} from "./strange-tree.ts";

const PLACE = mkdtempSync(join(realpathSync(tmpdir()), "kmodfarm-strange-"));
const DEEP = 5000;
const BUDGET = { entries: 1000, bytes: 1024 ** 2 };
let tree = "";
let victim = "";
let count = 0;

/** Perl makes what no shell and no Node can: depths beyond PATH_MAX, names of any bytes, exchanges. */
function perl(directory: string, script: string): void {
  execFileSync("perl", ["-e", script], { cwd: directory });
}

beforeEach(() => {
  tree = join(PLACE, `tree-${count++}`);
  victim = join(PLACE, `victim-${count}`);
  for (const directory of [tree, victim]) mkdirSync(directory);
  writeFileSync(join(victim, "precious"), "precious");
});
afterAll(() => execFileSync("rm", ["-rf", PLACE]));

const fault = (path: string, fact: string) => new Error(`${path} ${fact}`);
const visited = async (budget = BUDGET) => {
  const seen: string[] = [];
  await walkTree(tree, budget, fault, ({ path, kind }) => {
    seen.push(`${kind} ${path}`);
    return undefined;
  });
  return seen;
};

describe("walkTree", () => {
  test("visits what there is in order, and follows no link", async () => {
    mkdirSync(join(tree, "b"));
    writeFileSync(join(tree, "b", "file"), "x");
    symlinkSync(victim, join(tree, "a"));
    execFileSync("mkfifo", [join(tree, "c")]);

    expect(await visited()).toEqual(["link a", "directory b", "file b/file", "special c"]);
  });

  test("skips what is not to be entered", async () => {
    mkdirSync(join(tree, "a/b"), { recursive: true });

    const seen: string[] = [];
    await walkTree(tree, BUDGET, fault, ({ path }) => {
      seen.push(path);
      return "skip";
    });

    expect(seen).toEqual(["a"]);
  });

  test.each([
    ["a depth beyond any path", `for (1..${DEEP}) { mkdir "d"; chdir "d" }`, /nested too deeply/],
    ["names that together are too long", 'for (1..12) { $d = "x" x 200; mkdir $d; chdir $d }', /too deep/],
    ["a name that is not UTF-8", 'open F, ">", "a\\xff"', /a\uFFFD has a name that is not UTF-8/],
    ["too many entries", 'for (1..1001) { open F, ">", $_ }', /more than the 1000 entries/],
    ["a sparse file", 'open F, ">", "f"; truncate F, 1 << 40', /f is more than the 1048576 bytes/],
  ])("refuses %s", async (_name, script, message) => {
    perl(tree, script);

    await expect(visited()).rejects.toThrow(message);
  });

  test("reads a file, and nothing in its place", async () => {
    writeFileSync(join(tree, "file"), "mine");

    const read: string[] = [];
    await walkTree(tree, BUDGET, fault, (entry) => {
      read.push(entry.read().toString());
      rmSync(join(tree, "file"));
      symlinkSync(join(victim, "precious"), join(tree, "file"));
      expect(() => entry.read()).toThrow("file is not a plain file");
      return undefined;
    });

    expect(read).toEqual(["mine"]);
  });
});

describe("reading by a path", () => {
  test("takes plain files below plain directories", () => {
    mkdirSync(join(tree, "a/b"), { recursive: true });
    writeFileSync(join(tree, "a/b/file"), "content");

    expect(readFileIn(tree, "a/b/file", 4)?.toString()).toBe("cont");
    expect(namesIn(tree, "a/b")).toEqual(["file"]);
    for (const [limit, copied] of [
      [100, "content"],
      [7, "content"],
      [4, "cont"],
    ] as const) {
      const copy = join(PLACE, `copy-${count}-${limit}`);
      const sha256 = createHash("sha256").update(copied).digest("hex");

      expect(copyFileIn(tree, "a/b/file", copy, limit)).toBe(sha256);
      expect(readFileSync(copy, "utf8")).toBe(copied);
    }
  });

  test.each([
    ["a link", (at: string) => symlinkSync(join(victim, "precious"), join(at, "x")), "x"],
    ["a link on the way", (at: string) => symlinkSync(victim, join(at, "x")), "x/precious"],
    ["a FIFO", (at: string) => execFileSync("mkfifo", [join(at, "x")]), "x"],
    ["a device", (at: string) => execFileSync("mknod", [join(at, "x"), "c", "1", "5"]), "x"],
    ["a directory", (at: string) => mkdirSync(join(at, "x")), "x"],
    ["nothing", () => {}, "x"],
  ])("answers nothing for %s", (_name, make, path) => {
    make(tree);

    expect(readFileIn(tree, path, 100)).toBeUndefined();
    expect(copyFileIn(tree, path, join(PLACE, `none-${count}`), 100)).toBeUndefined();
  });

  test.each(["..", "a/../..", ".", "", "/etc", "a//b", "a\0b"])("refuses the path %j", (path) => {
    mkdirSync(join(tree, "a"));

    expect(() => readFileIn(tree, path, 100)).toThrow(RangeError);
  });

  test("does not begin at a link", () => {
    symlinkSync(victim, join(tree, "top"));

    expect(readFileIn(join(tree, "top"), "precious", 100)).toBeUndefined();
    expect(namesIn(tree, "top")).toBeUndefined();
  });
});

describe("removeLinkIn", () => {
  test("removes a link itself, never what is beyond one, and nothing else", () => {
    symlinkSync("precious", join(victim, "link"));
    symlinkSync(victim, join(tree, "out"));
    writeFileSync(join(tree, "file"), "");

    expect(removeLinkIn(tree, "out/link")).toBe(false);
    expect(removeLinkIn(tree, "file")).toBe(false);
    expect(removeLinkIn(tree, "absent")).toBe(false);
    expect(readdirSync(victim)).toEqual(["link", "precious"]);
    expect(removeLinkIn(tree, "out")).toBe(true);
    expect(readdirSync(tree)).toEqual(["file"]);
  });
});

describe("measureTrees", () => {
  test("counts blocks, not sizes, and an entry as something", async () => {
    writeFileSync(join(tree, "sparse"), "");
    truncateSync(join(tree, "sparse"), 1024 ** 3);
    writeFileSync(join(tree, "full"), Buffer.alloc(1024 ** 2, 1));

    expect(await measureTrees([tree], 1024 ** 4)).toBe(1024 ** 2 + 2 * 4096);
  });

  test("counts a depth that nothing can look into as endless", async () => {
    perl(tree, `for (1..${DEEP}) { mkdir "d"; chdir "d" }`);

    expect(await measureTrees([tree], 1024 ** 4)).toBe(Number.POSITIVE_INFINITY);
  });

  test("counts what its mode hides from an ordinary user as endless", () => {
    mkdirSync(join(tree, "hidden"), { mode: 0o300 });

    expect(
      asNobody(`
      import { measureTrees } from ${JSON.stringify(join(import.meta.dirname, "strange-tree.ts"))};
      console.log(await measureTrees([${JSON.stringify(tree)}], 1e12));
    `),
    ).toBe("Infinity");
  });

  test("is nothing for what is not there", async () => {
    expect(await measureTrees([join(tree, "absent")], 1000)).toBe(0);
  });
});

/** What a module prints when an ordinary user runs it, to whom the tree belongs. */
function asNobody(module: string): string {
  execFileSync("chmod", ["755", PLACE]);
  execFileSync("chown", ["-R", "65534:65534", tree]);
  const drop = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
  const node = [process.execPath, "--input-type=module", "--eval", module];
  return execFileSync("setpriv", [...drop, ...node], { encoding: "utf8", cwd: "/" }).trim();
}

describe("removeTree", () => {
  test("removes a file, a link itself, a tree, and is content with nothing", async () => {
    const parts = ["file", "link", "tree", "absent"].map((name) => join(tree, name));
    const [file = "", link = "", below = ""] = parts;
    writeFileSync(file, "");
    symlinkSync(victim, link);
    mkdirSync(join(below, "a/b"), { recursive: true });
    symlinkSync(victim, join(below, "a/b/link"));
    linkSync(join(victim, "precious"), join(below, "a/hard"));

    for (const part of parts) await removeTree(part);

    expect(readdirSync(tree)).toEqual([]);
    expect(readdirSync(victim)).toEqual(["precious"]);
  });

  test.each([
    ["deeper than any path", `for (1..${DEEP}) { mkdir "d"; open F, ">", "f"; chdir "d" }`],
    ["wide", 'for (1..3000) { mkdir $_; open F, ">", "$_/f" }'],
    [
      "with names of any bytes",
      'for (1..255) { next if $_ == 47; $n = "n" . chr; mkdir $n; open F, ">", "$n/\\xff\\n" }',
    ],
    ["with names that it would use itself", 'mkdir "a"; mkdir "a/.removing-"; open F, ">", ".removing-0"'],
    ["with the longest names", 'for (1..40) { $d = "x" x 255; mkdir $d; chdir $d }'],
  ])("removes a tree %s", async (_name, script) => {
    perl(tree, script);

    await removeTree(tree);

    expect(existsSync(tree)).toBe(false);
  });

  test("removes what its modes keep an ordinary user from", () => {
    perl(
      tree,
      'for (qw(a a/b a/b/c a/b/c/d)) { mkdir $_ } for (qw(a/b/c/d a/b/c a/b a)) { open F, ">", "$_/f"; chmod 0300 + 0200 * ($_ eq "a"), $_ } chmod 0555, "a/b"; mkdir "z", 0',
    );

    asNobody(`
      import { removeTree } from ${JSON.stringify(join(import.meta.dirname, "strange-tree.ts"))};
      for (const name of ["a", "z"]) await removeTree(${JSON.stringify(tree)} + "/" + name);
    `);

    expect(readdirSync(tree)).toEqual([]);
  });

  test("goes through its parent's links, which are ours", async () => {
    symlinkSync(tree, join(PLACE, `way-${count}`));
    mkdirSync(join(tree, "below"));

    await removeTree(join(PLACE, `way-${count}`, "below"));

    expect(readdirSync(tree)).toEqual([]);
  });

  test("removes nothing elsewhere while directories and links change places", {
    timeout: 60_000,
  }, async () => {
    const precious = Array.from({ length: 200 }, (_, index) => `p${index}`);
    for (const name of precious) writeFileSync(join(victim, name), "");
    for (let round = 0; round < ROUNDS; round++) {
      const here = join(tree, String(round));
      mkdirSync(here);
      perl(here, 'for (1..20) { mkdir "a$_"; for $f (1..50) { open F, ">", "a$_/f$f" } }');
      for (let index = 1; index <= 20; index++) symlinkSync(victim, join(here, `b${index}`));
      const swapper = spawn("perl", ["-e", EXCHANGE], { cwd: here, stdio: "ignore" });
      await removeTree(here).catch(() => {}); // It may well say that somebody goes on writing there.
      swapper.kill("SIGKILL");
      await new Promise((resolve) => swapper.once("exit", resolve));
      await removeTree(here);
    }

    expect(readdirSync(victim).toSorted()).toEqual([...precious, "precious"].toSorted());
    expect(readdirSync(tree)).toEqual([]);
  });
});

/** More of them: KMODFARM_ROUNDS=100. Each keeps a processor busy. */
const ROUNDS = Number(process.env.KMODFARM_ROUNDS ?? 5);

/** renameat2(…, RENAME_EXCHANGE), for ever. */
const EXCHANGE = `
  $call = \`uname -m\` =~ /aarch64/ ? 276 : 316;
  while (1) { for (1..20) { syscall($call, -100, "a$_", -100, "b$_", 2) } }
`;

describe("a strange directory", () => {
  test("does not hold what is no directory", () => {
    symlinkSync(victim, join(tree, "link"));
    using directory = StrangeDirectory.open(tree);

    expect(() => StrangeDirectory.open(join(tree, "link"))).toThrow("ENOTDIR");
    expect(() => directory.enter(Buffer.from("link"))).toThrow("ENOTDIR");
  });
});
