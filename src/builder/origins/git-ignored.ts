/**
 * What git ignores in a directory, as git itself says it. Nothing that a repository can configure runs: git sees the
 * work tree and its own directory, and nothing else, in a box without network.
 */
import { lstat, realpath } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { FarmError } from "../../base/error.ts";
import { lastLines, run } from "../../base/run.ts";
import { shutIn } from "../../base/shut-in.ts";
import { kindIn, readFileIn } from "../../base/strange-tree.ts";
import type { LeftOut } from "./not-source.ts";

/** As many ignored files as anybody has, with long paths; a directory that is ignored whole is one line. */
const LIST_LIMIT_BYTES = 64 << 20;
const TIMEOUT_MS = 120_000;
/** `gitdir: PATH`, and PATH has at most 4096 bytes. */
const POINTER_LIMIT_BYTES = 4200;

/**
 * What git ignores below a directory, tracked files never; nothing where no work tree of git's holds the directory, or
 * one that ignores it as a whole.
 * @throws FarmError TOOL_MISSING, DRIVER_INVALID for a repository that git cannot read
 */
export async function ignoredByGit(directory: string, signal: AbortSignal): Promise<LeftOut> {
  const place = await realpath(directory).catch(() => directory);
  const top = await workTreeOf(place);
  if (top === undefined) return () => false;
  const below = relative(top, place).split(sep).join("/");
  // Asked what is ignored below a directory that is ignored itself, git 2.39 ends with an error of its own.
  if (below !== "" && (await isIgnored(top, below, signal))) return () => false;
  const ignored = await listIgnored(top, below, signal);
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

async function isIgnored(top: string, below: string, signal: AbortSignal): Promise<boolean> {
  const { exitCode } = await runGit(top, ["check-ignore", "--quiet", "--", below], signal);
  return exitCode === 0;
}

async function listIgnored(top: string, below: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const words = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
  const listed = await runGit(top, [...words, "--", below === "" ? "." : below], signal);
  if (listed.exitCode !== 0 || listed.truncated)
    throw new FarmError("DRIVER_INVALID", {
      detail: `git cannot say what it ignores in ${top}: ${listed.truncated ? "the list is too long" : lastLines(listed.stderr, 2)}`,
      hint: "Repair the repository, or configure a copy of the source that is not in one.",
    });
  return new Set(listed.stdout.split("\0").filter((path) => path !== ""));
}

async function runGit(top: string, words: readonly string[], signal: AbortSignal) {
  const gitDirectory = await gitDirectoryOf(top);
  const shows = Object.fromEntries([
    ["/tree", top],
    ...gitDirectory.needs.map((path) => [path, path]),
  ]) as Record<`/${string}`, string>;
  const command = [
    ...["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false"],
    ...[`--git-dir=${gitDirectory.inside}`, "--work-tree=/tree"],
    ...["-C", "/tree", ...words],
  ];
  const limits = { timeoutMs: TIMEOUT_MS, outputLimitBytes: LIST_LIMIT_BYTES, endsAtOutputLimit: true };
  return run(shutIn(command, { shows }), limits, signal);
}

interface GitDirectory {
  /** Its path in the box. */
  readonly inside: string;
  /** What of this machine git has to see beside the work tree. */
  readonly needs: readonly string[];
}

/** In a worktree or submodule `.git` is a file that points to git's directory, which may share another one's. */
async function gitDirectoryOf(top: string): Promise<GitDirectory> {
  const kind = kindIn(top, ".git");
  if (kind === "directory") return { inside: "/tree/.git", needs: [] };
  const place = join(top, ".git");
  const pointer = kind === "file" ? readFileIn(top, ".git", POINTER_LIMIT_BYTES)?.toString() : undefined;
  const [, target] = /^gitdir: ([^\n\0]+)\n?$/.exec(pointer ?? "") ?? [];
  const directory =
    kind === "link" ? await realpath(place).catch(() => undefined) : resolve(top, target ?? "");
  // What is shown to git must be git's own, and nothing else of this machine.
  const isGits = directory !== undefined && kindIn(directory, "HEAD") === "file";
  if (!isGits || (kind !== "link" && target === undefined))
    throw new FarmError("DRIVER_INVALID", { detail: `${place} does not lead to git's own directory` });
  const common = readFileIn(directory, "commondir", POINTER_LIMIT_BYTES)?.toString().trim();
  return {
    inside: directory,
    needs: [directory, ...(common === undefined ? [] : [resolve(directory, common)])],
  };
}
