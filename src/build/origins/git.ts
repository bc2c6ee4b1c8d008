/**
 * A source in a git repository, at a revision that is resolved to a commit. Nothing that a repository can
 * configure runs here: no hooks, no submodules, no protocols but file and http(s), and repositories of this
 * machine are only read in a box without network.
 */
import { mkdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { isCached } from "../../base/cache.ts";
import { FarmError } from "../../base/error.ts";
import { sha256 } from "../../base/json.ts";
import { lastLines, type RunResult, run } from "../../base/run.ts";
import { exists } from "../../base/scratch.ts";
import { removeTree } from "../../base/strange-tree.ts";
import {
  type GitPlace,
  invalidDriver,
  keepTree,
  type Origin,
  type OriginContext,
  remembering,
} from "./origin.ts";

const FETCH_TIMEOUT_MS = 600_000;

export const git: Origin = {
  kind: "git",
  fits: (place) => typeof place === "object" && "git" in place,
  async fetch(place, _version, context) {
    const { git: url, revision } = place as GitPlace;
    const repository = await openRepository(url, context);
    const commit = await remembering(`git ${repository.url} ${revision}`, z.string(), context, () =>
      repository.commitOf(revision),
    );
    const directory = await keepTree(`git-${commit}`, context, async (empty) => {
      await repository.checkOut(commit, empty);
      return "";
    });
    return { directory, origin: { kind: "git", place: repository.url, commit } };
  },
};

async function openRepository(place: string, context: OriginContext): Promise<Repository> {
  const isRemote = /^https?:\/\//.test(place);
  if (!isRemote && (/^[a-z][a-z0-9+.-]*::?/i.test(place) || place.startsWith("-"))) {
    throw new FarmError("CONFIG_INVALID", {
      detail: `the repository ${place} is neither an http(s) URL nor a path`,
      hint: "Clone it by hand, and name the clone.",
    });
  }
  const url = isRemote ? place : resolve(context.base, place);
  if (!isRemote && !(await stat(url).catch(() => undefined))?.isDirectory())
    throw invalidDriver(`there is no git repository ${url}`);
  const repository = new Repository(url, isRemote, context);
  await repository.open();
  return repository;
}

/** Our own bare copy of what was fetched of a repository. */
class Repository {
  readonly url: string;
  readonly #isRemote: boolean;
  readonly #context: OriginContext;
  readonly #directory: string;

  constructor(url: string, isRemote: boolean, context: OriginContext) {
    this.url = url;
    this.#isRemote = isRemote;
    this.#context = context;
    this.#directory = join(context.cache, "git", `${sha256(url).slice(7, 39)}.git`);
  }

  async open(): Promise<void> {
    if ((await exists(join(this.#directory, "HEAD"))) && (await isCached(this.#directory))) return;
    await mkdir(this.#directory, { recursive: true });
    await this.#must(["init", "--quiet", "--bare", "--template=", this.#directory]);
  }

  /** The commit a revision is now; asks the repository unless it is one that we have. */
  async commitOf(revision: string): Promise<string> {
    const isCommit = /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(revision);
    if (isCommit && (await this.#resolve(revision)) !== undefined) return revision;
    const some = await this.#fetch(["--depth=1", "--no-tags"], [`+${revision}:${FETCHED}`]);
    const found = some.exitCode === 0 ? await this.#resolve(FETCHED) : undefined;
    if (found !== undefined) return found;
    // Not a name that the server knows: a commit, or part of one.
    const isShallow = await exists(join(this.#directory, "shallow"));
    const all = await this.#fetch(isShallow ? ["--unshallow"] : [], ALL_REFERENCES);
    const commit = all.exitCode === 0 ? await this.#resolve(revision) : undefined;
    if (commit !== undefined) return commit;
    if (all.exitCode === 0)
      throw new FarmError("CONFIG_INVALID", { detail: `${this.url} has no revision ${revision}` });
    const detail = `${this.url} cannot be fetched: ${lastLines(all.stderr, 4)}`;
    if (all.timedOut) throw new FarmError("TIMED_OUT", { detail });
    throw this.#isRemote ? new FarmError("REMOTE_UNAVAILABLE", { detail }) : invalidDriver(detail);
  }

  /** Writes the files of a commit as a checkout has them, with nothing of git's own. */
  async checkOut(commit: string, target: string): Promise<void> {
    const own = this.#context.scratch.path();
    const here = [`--git-dir=${this.#directory}`, `--work-tree=${target}`];
    try {
      // Not in the tree, where a file of the repository may have any name.
      await mkdir(own);
      const env = { GIT_INDEX_FILE: join(own, "index") };
      for (const step of [
        ["read-tree", commit],
        ["checkout-index", "--all", "--force"],
      ]) {
        const result = await this.#git([...here, ...step], [this.#directory, own, target], env);
        if (result.exitCode !== 0)
          throw invalidDriver(
            `${this.url} cannot be checked out at ${commit}: ${lastLines(result.stderr, 3)}`,
          );
      }
    } finally {
      await removeTree(own);
    }
  }

  async #resolve(name: string): Promise<string | undefined> {
    const argv = [
      `--git-dir=${this.#directory}`,
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

  #fetch(options: readonly string[], refspecs: readonly string[]): Promise<RunResult> {
    const argv = [
      [`--git-dir=${this.#directory}`, "fetch", "--quiet", "--force", "--no-recurse-submodules"],
      ["--no-write-fetch-head", "--no-auto-maintenance", ...options, "--", this.url, ...refspecs],
    ].flat();
    return this.#git(argv, [this.#directory], {}, this.#isRemote ? "server" : "machine");
  }

  async #must(argv: readonly string[]): Promise<void> {
    const result = await this.#git(argv, [this.#directory]);
    if (result.exitCode !== 0)
      throw new FarmError("TOOL_FAILED", { detail: `git of ${this.url}: ${lastLines(result.stderr, 3)}` });
  }

  /**
   * Runs git in a box where it sees the system's programs and, to write to, the named directories. With
   * `asks: "server"` it also has the network, with `asks: "machine"` all of this machine to read: a repository may
   * borrow objects from anywhere.
   */
  #git(
    argv: readonly string[],
    writable: readonly string[],
    env: Record<string, string> = {},
    asks?: "server" | "machine",
  ): Promise<RunResult> {
    const sees =
      asks === "machine" ? ["--ro-bind", "/", "/"] : [...SYSTEM, ...(asks === undefined ? [] : NETWORK)];
    const box = [
      ["bwrap", "--unshare-all", ...(asks === "server" ? ["--share-net"] : []), "--die-with-parent"],
      ["--new-session", "--cap-drop", "ALL", ...sees, "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run"],
      readable(this.#directory),
      writable.flatMap((path) => ["--bind", path, path]),
      ["--"],
    ].flat();
    const command = ["git", ...SETTINGS.flatMap((setting) => ["-c", setting]), ...argv];
    return run(
      [...box, ...command],
      { env: { ...ENVIRONMENT, ...env }, timeoutMs: FETCH_TIMEOUT_MS },
      this.#context.signal,
    );
  }
}

const readable = (path: string) => ["--ro-bind-try", path, path];
const SYSTEM = ["/usr", "/bin", "/lib", "/lib64", "/sbin"].flatMap(readable);
/** What finding a server and believing it takes. */
const NETWORK = [
  "resolv.conf",
  "hosts",
  "nsswitch.conf",
  "gai.conf",
  "ssl",
  "ca-certificates",
  "pki",
].flatMap((name) => readable(`/etc/${name}`));

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
  "protocol.http.allow=always",
  "protocol.https.allow=always",
  "gc.auto=0",
];

const ENVIRONMENT = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  HOME: "/nonexistent",
  LC_ALL: "C",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_TERMINAL_PROMPT: "0",
  GIT_NO_LAZY_FETCH: "1",
  GIT_OPTIONAL_LOCKS: "0",
};
