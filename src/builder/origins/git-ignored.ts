/**
 * What git ignores in a directory, as git itself says it. The repository is its author's, who is a stranger: git works with
 * a directory of ours that has their index and their patterns, and none of their settings, objects or hooks. In a box
 * without network it sees that and the work tree, and no path that the tree names.
 */
import { lstat, mkdir, realpath, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { FarmError } from "../../base/error.ts";
import { lastLines, run } from "../../base/run.ts";
import { shutIn } from "../../base/shut-in.ts";
import { copyFileIn, kindIn, namesIn, readFileIn, removeTree } from "../../base/strange-tree.ts";
import type { LeftOut } from "./not-source.ts";
import type { OriginContext } from "./origin.ts";

type GitContext = Pick<OriginContext, "scratch" | "say" | "signal">;

/** As many ignored files as anybody has, with long paths; a directory that is ignored whole is one line. */
const LIST_LIMIT_BYTES = 64 << 20;
const TIMEOUT_MS = 120_000;
/** `gitdir: PATH`, and PATH has at most 4096 bytes. */
const POINTER_LIMIT_BYTES = 4200;
/** The kernel's has 10 MB. */
const INDEX_LIMIT_BYTES = 256 << 20;
const TEXT_LIMIT_BYTES = 1 << 20;

/**
 * What git ignores below a directory, tracked files never; nothing where no work tree of git's holds the directory, or
 * one that ignores it as a whole.
 * @throws FarmError TOOL_MISSING, DRIVER_INVALID for a repository that git cannot read
 */
export async function ignoredByGit(directory: string, context: GitContext): Promise<LeftOut> {
  const place = await realpath(directory).catch(() => directory);
  const top = await workTreeOf(place);
  if (top === undefined) return () => false;
  const below = relative(top, place).split(sep).join("/");
  const repository = context.scratch.path();
  try {
    await makeRepository(repository, top);
    const git = (words: readonly string[]) => runGit(repository, top, words, context.signal);
    return await ignoredIn(top, below, git, context.say);
  } finally {
    await removeTree(repository);
  }
}

type Git = (words: readonly string[]) => ReturnType<typeof runGit>;

async function ignoredIn(top: string, below: string, git: Git, say: OriginContext["say"]): Promise<LeftOut> {
  // Asked what is ignored below a directory that is ignored itself, git 2.39 ends with an error of its own.
  if (below !== "" && (await git(["check-ignore", "--quiet", "--", below])).exitCode === 0)
    return () => false;
  const words = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
  const listed = await git([...words, "--", below === "" ? "." : below]);
  if (listed.exitCode !== 0 || listed.truncated) {
    // Its words may quote what it read: they are for the person here, and not for what is published.
    say(`${top}: git says: ${lastLines(listed.stderr, 2)}`);
    throw new FarmError("DRIVER_INVALID", {
      detail: `git cannot say what it ignores in ${top}: ${listed.truncated ? "the list is too long" : "it cannot read the index"}`,
      hint: "Repair the repository (one with a sparse index: `git sparse-checkout reapply --no-sparse-index`), or configure a copy of the source that is not in one.",
    });
  }
  const ignored = new Set(listed.stdout.split("\0").filter((path) => path !== ""));
  const inside = below === "" ? ignored : within(ignored, `${below}/`);
  // A directory that is ignored itself, such as one below a build directory, is not what that .gitignore is about.
  if (inside.has("")) return () => false;
  return (path, isDirectory) => inside.has(isDirectory ? `${path}/` : path);
}

/**
 * The closest directory with a `.git`: the given one, or one above it whose `.git` is of the directory's owner, of this user
 * or of root. Anybody may put one into a directory such as /tmp, and so leave files out of what lies below it.
 */
async function workTreeOf(directory: string): Promise<string | undefined> {
  const uidOf = async (path: string) => (await lstat(path).catch(() => undefined))?.uid;
  const trusted = new Set([await uidOf(directory), process.getuid?.(), 0]);
  for (let at = directory; ; at = dirname(at)) {
    const uid = await uidOf(join(at, ".git"));
    if (uid !== undefined && (at === directory || trusted.has(uid))) return at;
    if (at === dirname(at)) return undefined;
  }
}

/** Paths below `prefix`, without it; that directory itself, or one above it, is "". */
function within(paths: ReadonlySet<string>, prefix: string): ReadonlySet<string> {
  return new Set(
    [...paths].flatMap((path) => {
      if (path.endsWith("/") && prefix.startsWith(path)) return [""];
      return path.startsWith(prefix) ? [path.slice(prefix.length)] : [];
    }),
  );
}

async function runGit(repository: string, top: string, words: readonly string[], signal: AbortSignal) {
  const command = [
    ...["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false"],
    ...[
      "-c",
      "core.hooksPath=/dev/null",
      "-c",
      "core.attributesFile=/dev/null",
      "-c",
      "protocol.allow=never",
    ],
    ...["--git-dir=/repository", "--work-tree=/tree", "-C", "/tree", ...words],
  ];
  const limits = { timeoutMs: TIMEOUT_MS, outputLimitBytes: LIST_LIMIT_BYTES, endsAtOutputLimit: true };
  const box = shutIn(command, { shows: { "/tree": top, "/repository": repository } });
  return run(box, limits, signal);
}

/**
 * A git directory without objects, and with what of theirs says what is tracked (the index, which may be in parts) and what
 * is ignored beside the work tree's own files.
 */
async function makeRepository(target: string, top: string): Promise<void> {
  const { at, path } = await gitDirectoryOf(top);
  const common = commonDirectoryOf(at, path);
  for (const directory of [target, join(target, "objects"), join(target, "refs"), join(target, "info")])
    await mkdir(directory);
  await writeFile(join(target, "HEAD"), "ref: refs/heads/none\n");
  await writeFile(join(target, "config"), settingsAs(readText(common, "config")));
  await writeFile(join(target, "info/exclude"), readText(common, "info/exclude"));
  const parts = (namesIn(at, path) ?? []).filter((name) => /^(index|sharedindex\.[0-9a-f]+)$/.test(name));
  let left = INDEX_LIMIT_BYTES;
  for (const part of parts) {
    const copy = join(target, part);
    // One byte more than there is room for, so that an index which is cut off is not taken for a whole one.
    if (copyFileIn(at, join(path, part), copy, left + 1) !== undefined) left -= (await stat(copy)).size;
    if (left < 0)
      throw new FarmError("DRIVER_INVALID", {
        detail: `${top}: its git index has more than ${INDEX_LIMIT_BYTES} bytes`,
        hint: "Give the driver's tree without its .git, or as an archive.",
      });
  }
}

/** All that counts of their settings is the length of the digests in the index. */
function settingsAs(theirs: string): string {
  const isSha256 = /^\s*objectformat\s*=\s*sha256\s*$/im.test(theirs);
  return isSha256
    ? "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n"
    : "[core]\n\trepositoryformatversion = 0\n";
}

function readText({ at, path }: StrangePlace, name: string): string {
  return readFileIn(at, join(path, name), TEXT_LIMIT_BYTES)?.toString() ?? "";
}

/** A directory of a stranger's: no link counts below `at`. */
interface StrangePlace {
  readonly at: string;
  readonly path: string;
}

const placeOf = (directory: string): StrangePlace => ({ at: dirname(directory), path: basename(directory) });

/** In a worktree or submodule `.git` is a file that points to git's directory. */
async function gitDirectoryOf(top: string): Promise<StrangePlace> {
  const kind = kindIn(top, ".git");
  if (kind === "directory") return { at: top, path: ".git" };
  const place = join(top, ".git");
  const pointer = kind === "file" ? readFileIn(top, ".git", POINTER_LIMIT_BYTES)?.toString() : undefined;
  const [, target] = /^gitdir: ([^\n\0]+)\n?$/.exec(pointer ?? "") ?? [];
  const directory =
    kind === "link" ? await realpath(place).catch(() => undefined) : resolve(top, target ?? "");
  const isGits = directory !== undefined && kindIn(directory, "HEAD") === "file";
  if (!isGits || (kind !== "link" && target === undefined))
    throw new FarmError("DRIVER_INVALID", { detail: `${place} does not lead to git's own directory` });
  return placeOf(directory);
}

/** A worktree shares another one's patterns and settings. */
function commonDirectoryOf(at: string, path: string): StrangePlace {
  const pointer = readFileIn(at, join(path, "commondir"), POINTER_LIMIT_BYTES)?.toString();
  const [, common] = /^([^\n\0]+)\n?$/.exec(pointer ?? "") ?? [];
  return common === undefined ? { at, path } : placeOf(resolve(at, path, common));
}
