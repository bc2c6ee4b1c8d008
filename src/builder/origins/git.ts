/**
 * A source in a git repository, at a revision that is resolved to a commit, with its submodules if they are wanted.
 */
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { SOURCE_BUDGET } from "../source-tree.ts";
import { gitAccess } from "./git-access.ts";
import { type GitContext, type Part, Repository } from "./git-repository.ts";
import { placeOfSubmodule } from "./git-submodules.ts";
import {
  type GitPlace,
  invalidDriver,
  keepTree,
  type Origin,
  type OriginContext,
  remembering,
} from "./origin.ts";

/** What our copy of a repository may take of the disk: all that a source may hold. The kernel's own takes less. */
const COPY_LIMIT_BYTES = SOURCE_BUDGET.bytes;

export const git: Origin = gitOrigin(COPY_LIMIT_BYTES);

/** The origin with another limit to what a copy may take of the disk. */
export function gitOrigin(copyLimitBytes: number): Origin {
  return {
    kind: "git",
    fits: (place) => typeof place === "object" && "git" in place,
    async fetch(place, _version, context) {
      const wanted = place as GitPlace;
      const repository = await repositoryAt(wanted, copyLimitBytes, context);
      return fetchFrom(repository, wanted, context);
    },
  };
}

async function fetchFrom(repository: Repository, place: GitPlace, context: OriginContext) {
  const { revision, submodules = false } = place;
  const turn = <T>(work: () => Promise<T>) => inTurn(repository.directory, work);
  const commit = await turn(async () => {
    await repository.open();
    return remembering(`git ${repository.name} ${revision}`, z.string(), context, () =>
      repository.commitOf(revision),
    );
  });
  requirePin(repository.url, revision, commit);
  const name = `commit-${commit}${submodules ? "-submodules" : ""}`;
  const directory = await keepTree(name, context, async (empty) => {
    const links = await turn(() => repository.linksOf(commit));
    if (links.length > 0 && !submodules) {
      const paths = links.map(({ path }) => path).join(", ");
      context.say(`${repository.url}: submodules are left out (${paths}); \`submodules: true\` fetches them`);
    }
    // A submodule's turn is not waited for in our own: theirs may lead back here.
    const parts = submodules ? await submodulesOf(repository, place, commit, context) : [];
    await turn(() => repository.checkOut(commit, empty, parts));
    return "";
  });
  const origin = { kind: "git" as const, place: repository.url, commit };
  return { directory, origin, isWorkedOn: true as const };
}

const MOST_SUBMODULES = 100;

/** The submodules of a commit, and theirs; those that hold others come first. */
async function submodulesOf(
  repository: Repository,
  place: GitPlace,
  commit: string,
  context: OriginContext,
): Promise<Part[]> {
  const parts: Part[] = [];
  const waiting = [{ repository, place, commit, path: "" }];
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { repository: parent, place: from, commit: at, path: above } = next;
    const { links, urls } = await inTurn(parent.directory, async () => ({
      links: await parent.linksOf(at),
      urls: await parent.urlsOf(at),
    }));
    for (const link of links) {
      if (parts.length === MOST_SUBMODULES)
        throw invalidDriver(`${repository.url} at ${commit} has more than ${MOST_SUBMODULES} submodules`);
      const own = await placeOfSubmodule(from, link, urls.get(link.path));
      const one = await repositoryAt(own, COPY_LIMIT_BYTES, context);
      await inTurn(one.directory, async () => {
        await one.open();
        requirePin(one.url, link.commit, await one.commitOf(link.commit));
      });
      const path = `${above}${link.path}`;
      parts.push({ path, commit: link.commit, repository: one });
      waiting.push({ repository: one, place: own, commit: link.commit, path: `${path}/` });
    }
  }
  return parts;
}

/** A commit, and all of its files as a tar archive. */
export interface GitCommit {
  readonly commit: string;
  readonly tar: () => AsyncGenerator<Buffer>;
}

/** Lets `use` read the files of a revision as they come by; nothing of them is written. */
export async function withGitCommit<T>(
  place: GitPlace,
  context: GitContext,
  use: (found: GitCommit) => Promise<T>,
): Promise<T> {
  const { revision } = place;
  const repository = await repositoryAt(place, COPY_LIMIT_BYTES, context);
  return inTurn(repository.directory, async () => {
    await repository.open();
    const commit = await repository.commitOf(revision);
    requirePin(repository.url, revision, commit);
    return use({ commit, tar: () => repository.archive(commit) });
  });
}

const turns = new Map<string, Promise<unknown>>();

/** Several versions of a driver share a copy, and in it the name of what was fetched last. */
async function inTurn<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const before = turns.get(directory);
  const own = (before ?? Promise.resolve()).catch(() => {}).then(work);
  turns.set(directory, own);
  try {
    return await own;
  } finally {
    if (turns.get(directory) === own) turns.delete(directory);
  }
}

/**
 * A revision that reads as a commit, or as the beginning of one, is that commit, whatever branches and tags somebody
 * names like it. Digits alone read as a date.
 */
function requirePin(url: string, revision: string, commit: string): void {
  const pin = revision.toLowerCase();
  const isShort = /^(?=.*[a-f])[0-9a-f]{7,39}$/.test(pin);
  if (!isShort && !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(pin)) return;
  if (isShort ? commit.startsWith(pin) : commit === pin) return;
  throw new FarmError("CONFIG_INVALID", {
    detail: `${url} has no commit ${revision}: a branch or tag of that name points to another commit, ${commit}`,
    hint: "Give the commit, or refs/tags/NAME or refs/heads/NAME if you mean the tag or branch.",
  });
}

async function repositoryAt(place: GitPlace, limitBytes: number, context: GitContext): Promise<Repository> {
  return new Repository(await gitAccess(place, context.base, context.ssh), limitBytes, context);
}
