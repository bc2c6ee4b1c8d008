/**
 * Our own copy of a git repository, and git itself, which sees nothing of this machine but the two. Nothing that a repository can
 * configure runs here: no hooks, no protocols but file, http(s) and ssh. Of a repository of this machine git sees its
 * own directory and nothing else, in a box without network: whatever in it leads elsewhere leads nowhere.
 */
import { mkdir, opendir, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { isCached } from "../../base/cache.ts";
import { FarmError } from "../../base/error.ts";
import { sha256 } from "../../base/json.ts";
import { boxedProgram, searchPath } from "../../base/programs.ts";
import { lastLines, pipeThrough, type RunOptions, type RunResult, run } from "../../base/run.ts";
import { exists } from "../../base/scratch.ts";
import { kindIn, removeTree } from "../../base/strange-tree.ts";
import { watchSize } from "../../base/watched-size.ts";
import { SOURCE_BUDGET } from "../source-tree.ts";
import { type GitAccess, INSIDE, readable, refusedBy } from "./git-access.ts";
import { type Link, linksIn, urlsIn } from "./git-submodules.ts";
import { invalidDriver, type OriginContext } from "./origin.ts";

const FETCH_TIMEOUT_MS = 600_000;

/** What reading a repository takes. */
export type GitContext = Pick<OriginContext, "cache" | "scratch" | "base" | "say" | "signal" | "ssh">;

/** A submodule, by its path in the whole tree. */
export interface Part {
  readonly path: string;
  readonly commit: string;
  readonly repository: Repository;
}

/** Our own bare copy of what was fetched of a repository. */
export class Repository {
  readonly directory: string;
  /** Its URL, and whose word opens it: what one could fetch is kept apart from what others ask for. */
  readonly name: string;
  readonly #access: GitAccess;
  readonly #limitBytes: number;
  readonly #context: GitContext;

  constructor(access: GitAccess, limitBytes: number, context: GitContext) {
    this.#access = access;
    this.#limitBytes = limitBytes;
    this.#context = context;
    this.name = [access.url, ...(access.as === undefined ? [] : [access.as])].join(" ");
    this.directory = join(context.cache, "git", `${sha256(this.name).slice(7, 39)}.git`);
  }

  get url(): string {
    return this.#access.url;
  }

  async open(): Promise<void> {
    if (!this.#access.isRemote) await requireRepository(this.url);
    if ((await exists(join(this.directory, "HEAD"))) && (await isCached(this.directory))) return;
    await mkdir(this.directory, { recursive: true });
    await this.#must(["init", "--quiet", "--bare", "--template=", this.directory]);
  }

  /** The commit a revision is now; asks the repository unless it is one that we have. */
  async commitOf(revision: string): Promise<string> {
    const isCommit = /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(revision);
    if (isCommit && (await this.#resolve(revision)) !== undefined) return revision;
    try {
      return await this.#ask(revision);
    } catch (thrown) {
      const isFetched = thrown instanceof FarmError && thrown.code === "CONFIG_INVALID";
      if (!isFetched) await this.#dropLeftovers();
      throw thrown;
    }
  }

  async #ask(revision: string): Promise<string> {
    const some = await this.#fetch(["--depth=1", "--no-tags"], [`+${revision}:${FETCHED}`]);
    const found = some.exitCode === 0 ? await this.#resolve(FETCHED) : undefined;
    if (found !== undefined) return found;
    // Not a name that the server knows: a commit, or part of one.
    const isShallow = await exists(join(this.directory, "shallow"));
    const all = await this.#fetch(isShallow ? ["--unshallow"] : [], ALL_REFERENCES);
    const commit = all.exitCode === 0 ? await this.#resolve(revision) : undefined;
    if (commit !== undefined) return commit;
    if (all.exitCode === 0)
      throw new FarmError("CONFIG_INVALID", { detail: `${this.url} has no revision ${revision}` });
    const words = lastLines(all.stderr, 4);
    const refused = this.#access.isRemote ? refusedBy(this.#access, all.stderr) : undefined;
    if (refused !== undefined) throw refused;
    if (!this.#access.isRemote) {
      // Git quotes what it could not read: that is for the person here, and not for what is published.
      this.#context.say(`${this.url}: git says: ${words}`);
      if (!all.timedOut) throw invalidDriver(faultOf(this.url, all.stderr));
    }
    const detail = `${this.url} cannot be fetched: ${all.timedOut ? "it took too long" : words}`;
    throw new FarmError(all.timedOut ? "TIMED_OUT" : "REMOTE_UNAVAILABLE", { detail });
  }

  /**
   * Writes the files of a commit, byte by byte as it has them, with nothing of git's own. A file of attributes in it could
   * have them converted, to many times their size.
   */
  async checkOut(commit: string, target: string, parts: readonly Part[] = []): Promise<void> {
    await this.#context.scratch.write(join(this.directory, "info/attributes"), NO_CONVERSION);
    const { isOver } = await watchSize(target, this.#limitBytes, (until) =>
      this.#write(commit, target, parts, until),
    );
    if (isOver)
      throw invalidDriver(`${this.url} at ${commit} takes more than ${this.#limitBytes} bytes on the disk`);
  }

  /** All files of a commit, byte by byte as it has them. @throws FarmError DRIVER_INVALID when it is damaged */
  async *archive(commit: string): AsyncGenerator<Buffer> {
    await this.#context.scratch.write(join(this.directory, "info/attributes"), NO_CONVERSION);
    const argv = [`--git-dir=${this.directory}`, "archive", "--format=tar", commit];
    const git = pipeThrough(this.#boxed(argv, []), {
      env: { ...ENVIRONMENT, PATH: searchPath() },
    });
    try {
      git.stdin.end();
      yield* git.stdout as AsyncIterable<Buffer>;
      if ((await git.exit) === 0) return;
      this.#context.say(`${this.url} at ${commit}: git says: ${lastLines(git.said(), 3)}`);
      throw invalidDriver(`${this.url} at ${commit} cannot be read: its objects are damaged`);
    } finally {
      git.stop();
    }
  }

  async #write(commit: string, target: string, parts: readonly Part[], until: AbortSignal): Promise<void> {
    const own = this.#context.scratch.path();
    const here = [`--git-dir=${this.directory}`, `--work-tree=${target}`];
    try {
      // Not in the tree, where a file of the repository may have any name.
      await mkdir(own);
      const objects = parts.map(({ repository }) => JSON.stringify(join(repository.directory, "objects")));
      const env = { GIT_INDEX_FILE: join(own, "index"), GIT_ALTERNATE_OBJECT_DIRECTORIES: objects.join(":") };
      const sees = [...SYSTEM, ...parts.flatMap(({ repository }) => readable(repository.directory))];
      // One index of all: git itself then sees to it that no path leads through a link.
      const added = parts.flatMap(({ path, commit: at }) => [
        ["update-index", "--force-remove", "--", path],
        ["read-tree", `--prefix=${path}/`, at],
      ]);
      for (const step of [["read-tree", commit], ...added, ["checkout-index", "--all", "--force"]]) {
        const result = await this.#git([...here, ...step], [this.directory, own, target], {
          ...{ env, sees },
          limits: { until },
        });
        if (until.aborted) return;
        if (result.exitCode !== 0) throw this.#unusable(commit, "cannot be checked out", result);
      }
    } finally {
      await removeTree(own);
    }
  }

  /**
   * The submodules of a commit. A few kilobytes of repository can hold a tree of a billion files: it is listed before
   * git reads it whole. Names first, because each size costs git a look into an object.
   * @throws FarmError DRIVER_INVALID when it is larger than a source may be
   */
  async linksOf(commit: string): Promise<Link[]> {
    const names = await this.#list(commit, ["--name-only"]);
    const isMany = names === undefined || names.split("\0").length - 1 > SOURCE_BUDGET.entries;
    const listed = isMany ? undefined : await this.#list(commit, ["-l"]);
    const sizes = listed === undefined ? undefined : [...listed.matchAll(SIZES)];
    const bytes = sizes?.reduce((sum, [, size]) => sum + (size === "-" ? 0 : Number(size)), 0);
    if (bytes === undefined || bytes > SOURCE_BUDGET.bytes)
      throw invalidDriver(
        `${this.url} at ${commit} contains more than ${SOURCE_BUDGET.entries} entries or ${SOURCE_BUDGET.bytes} bytes`,
      );
    return linksIn(listed ?? "");
  }

  /** Where .gitmodules says that submodules are: path → URL. */
  async urlsOf(commit: string): Promise<Map<string, string>> {
    const argv = [
      `--git-dir=${this.directory}`,
      "config",
      `--blob=${commit}:.gitmodules`,
      "--null",
      "--list",
    ];
    const { stdout, exitCode } = await this.#git(argv, []);
    // Without the file, or with one that cannot be read, no submodule has a URL, and that is said of each.
    return exitCode === 0 ? urlsIn(stdout) : new Map();
  }

  /** What git says of every entry of a commit, a NUL after each; undefined when it is more than is read. */
  async #list(commit: string, form: readonly string[]): Promise<string | undefined> {
    const argv = [`--git-dir=${this.directory}`, "ls-tree", "-r", "-t", "-z", "--full-tree", ...form, commit];
    const limits = { outputLimitBytes: LIST_LIMIT_BYTES, endsAtOutputLimit: true };
    const listed = await this.#git(argv, [], { limits });
    if (listed.truncated) return undefined;
    if (listed.exitCode !== 0) throw this.#unusable(commit, "cannot be listed", listed);
    return listed.stdout;
  }

  #unusable(commit: string, fact: string, { stderr }: RunResult): FarmError {
    this.#context.say(`${this.url} at ${commit}: git says: ${lastLines(stderr, 3)}`);
    return invalidDriver(
      `${this.url} at ${commit} ${fact}: its objects are damaged, or cannot be checked out`,
    );
  }

  async #resolve(name: string): Promise<string | undefined> {
    const argv = [
      `--git-dir=${this.directory}`,
      "rev-parse",
      "--quiet",
      "--verify",
      "--end-of-options",
      `${name}^{commit}`,
    ];
    const result = await this.#git(argv, []);
    const commit = result.stdout.trim();
    return result.exitCode === 0 && /^[0-9a-f]{40,64}$/.test(commit) ? commit : undefined;
  }

  /** @throws FarmError DRIVER_INVALID when our copy would be too large; it is removed then */
  async #fetch(options: readonly string[], refspecs: readonly string[]): Promise<RunResult> {
    const argv = [
      [`--git-dir=${this.directory}`, "fetch", "--quiet", "--force", "--no-recurse-submodules"],
      [
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        ...options,
        "--",
        this.#access.isRemote ? this.url : INSIDE,
      ],
      refspecs,
    ].flat();
    const { sees, env, settings, secret } = this.#access;
    const fetched = await watchSize(this.directory, this.#limitBytes, (until) =>
      this.#git(argv, [this.directory], {
        ...{ env, settings, sees: [...SYSTEM, ...sees] },
        limits: { until, descriptors: secret === undefined ? [] : [secret] },
      }),
    );
    if (!fetched.isOver) return fetched.result;
    await removeTree(this.directory);
    throw invalidDriver(
      `${this.url} cannot be fetched: what it sends takes more than ${this.#limitBytes} bytes on the disk`,
    );
  }

  /**
   * What a failed fetch left would stay for good: git removes nothing of it by itself, and its locks would stop the
   * next fetch. A copy in which nothing was ever fetched goes as a whole.
   */
  async #dropLeftovers(): Promise<void> {
    if (!(await exists(this.directory))) return;
    let isNew = true;
    const leftovers: string[] = [];
    for await (const entry of await opendir(this.directory, { recursive: true })) {
      if (!entry.isFile()) continue;
      const file = join(entry.parentPath, entry.name);
      const path = relative(this.directory, file);
      if (UNFINISHED.test(path) || (/^objects\/.*\.idx$/.test(path) && !(await hasPack(file))))
        leftovers.push(file);
      else if (/^(packed-refs$|refs\/)/.test(path)) isNew = false;
    }
    for (const path of isNew ? [this.directory] : leftovers) await removeTree(path);
  }

  async #must(argv: readonly string[]): Promise<void> {
    const result = await this.#git(argv, [this.directory]);
    if (result.exitCode !== 0)
      throw new FarmError("TOOL_FAILED", { detail: `git of ${this.url}: ${lastLines(result.stderr, 3)}` });
  }

  /** Runs git in a box where it sees our copy, the named directories, to write to, and else the system's programs. */
  #git(
    argv: readonly string[],
    writable: readonly string[],
    { env = {}, settings = [], sees = SYSTEM, limits = {} }: GitOptions = {},
  ): Promise<RunResult> {
    return run(
      this.#boxed([...settings.flatMap((one) => ["-c", one]), ...argv], writable, sees),
      { ...limits, env: { ...ENVIRONMENT, PATH: searchPath(), ...env }, timeoutMs: FETCH_TIMEOUT_MS },
      this.#context.signal,
    );
  }

  #boxed(argv: readonly string[], writable: readonly string[], sees: readonly string[] = SYSTEM): string[] {
    const { path, shows } = boxedProgram("git");
    const box = [
      LIMITS,
      ["bwrap", "--unshare-all", "--die-with-parent", "--new-session"],
      ["--cap-drop", "ALL", ...sees, ...shows, "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run"],
      readable(this.directory),
      writable.flatMap((path) => ["--bind", path, path]),
      ["--"],
    ].flat();
    return [...box, path, ...SETTINGS.flatMap((setting) => ["-c", setting]), ...argv];
  }
}

interface GitOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly settings?: readonly string[];
  /** What bwrap shows, where it is more than programs. */
  readonly sees?: readonly string[];
  readonly limits?: Pick<RunOptions, "outputLimitBytes" | "endsAtOutputLimit" | "until" | "descriptors">;
}

/** Of memory and of any one file, a pack included; the kernel's own repository needs less. */
const LIMITS = ["prlimit", `--as=${4 * 1024 ** 3}`, `--fsize=${2 * 1024 ** 3}`, "--core=0", "--"];
/** MODE TYPE OBJECT SIZE, a tab, and the path; directories have `-` for a size. */
const SIZES = /(?:^|\0)\d+ [a-z]+ [0-9a-f]+ +(\d+|-)\t/g;
/** As many entries as a source may have, with paths of 200 bytes. */
const LIST_LIMIT_BYTES = 56 * 1024 ** 2;

const SYSTEM = ["/usr", "/bin", "/lib", "/lib64", "/sbin"].flatMap(readable);

/** These words count before those of a commit, whose author may also have made macros of them. */
const NO_CONVERSION =
  "* -text -eol -crlf -ident -filter -working-tree-encoding -export-ignore -export-subst\n";

/**
 * The repository must be in the directory that is named. What only points to one is told from it, since git would say no
 * more than that nothing is there.
 * @throws FarmError DRIVER_INVALID
 */
async function requireRepository(path: string): Promise<void> {
  if (!(await stat(path).catch(() => undefined))?.isDirectory())
    throw invalidDriver(`there is no git repository at ${path}`);
  const inner = kindIn(path, ".git");
  if (inner === "link" || inner === "file")
    throw elsewhere(
      `${path} is not a separate repository: its .git points to one elsewhere (a worktree, a submodule)`,
    );
  const isShared = kindIn(path, "commondir") !== undefined;
  if (isShared) throw elsewhere(`${path} is a worktree of a repository elsewhere`);
}

function elsewhere(detail: string): FarmError {
  return new FarmError("DRIVER_INVALID", {
    detail,
    hint: "Configure that repository itself; `git rev-parse --git-common-dir` shows where it is.",
  });
}

/** What is wrong with a repository of this machine, in words of ours: git's own may hold bytes of any file in it. */
function faultOf(path: string, said: string): string {
  const [, fact] = FAULTS.find(([sign]) => sign.test(said)) ?? [];
  const borrows = ["objects/info/alternates", ".git/objects/info/alternates"].some(
    (name) => kindIn(path, name) !== undefined,
  );
  const lacks = borrows
    ? "; it borrows objects (objects/info/alternates), which are not read: use a clone made without --shared, after `git repack -a -d`"
    : "";
  return `${path} cannot be fetched: ${fact ?? "git cannot read it"}${lacks}`;
}

const FAULTS: readonly (readonly [sign: RegExp, fact: string])[] = [
  [/dubious ownership/, "it does not belong to the farm's user"],
  [/not appear to be a git repository|not a git repository/i, "git finds no repository there"],
  [/packed-refs/, "its packed-refs are damaged"],
  [/\bshallow\b/, "its list of where its history ends (shallow) is damaged"],
  [/config/, "its config cannot be read"],
  [/couldn't find remote ref/, "it has no such revision"],
  [/Permission denied/, "the farm's user is not allowed to read all of it"],
  [/object|pack|\bsha1\b|unpack|revision|\bbad\b/i, "some of its objects are missing or damaged"],
];

/** Files that git writes first under another name than they will have, and its locks, as which no reference is named. */
const UNFINISHED = /^objects\/(.*\/)?tmp_[^/]*$|^objects\/.*\.temp$|\.lock$/;
const hasPack = (index: string) => exists(index.replace(/idx$/, "pack"));

const FETCHED = "refs/kmodfarm/fetched";
const ALL_REFERENCES = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];

const SETTINGS = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.autocrlf=false",
  "core.attributesFile=/dev/null",
  "credential.helper=",
  // Where a server sends us, its repository's owner did not name.
  "http.followRedirects=false",
  "submodule.recurse=false",
  "protocol.allow=never",
  "protocol.file.allow=always",
  "gc.auto=0",
  // Within the limit of memory.
  "core.packedGitLimit=512m",
  "core.packedGitWindowSize=64m",
  "pack.windowMemory=256m",
];

const ENVIRONMENT = {
  HOME: "/nonexistent",
  LC_ALL: "C",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_TERMINAL_PROMPT: "0",
  GIT_NO_LAZY_FETCH: "1",
  GIT_OPTIONAL_LOCKS: "0",
};
