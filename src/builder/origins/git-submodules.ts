/**
 * The submodules of a commit: where each is, as .gitmodules says. Whoever writes a driver may write anything there, so
 * it leads to servers only: to the repository's own, with the same key or password, or to others by https, without.
 */
import { lookup } from "node:dns/promises";
import { isPublicAddress } from "../../base/public-address.ts";
import { holdsCredentials } from "../../base/url.ts";
import { type GitPlace, invalidDriver, isSsh } from "./origin.ts";

export interface Link {
  readonly path: string;
  readonly commit: string;
}

const COMMITS = /(?:^|\0)160000 commit ([0-9a-f]+) +-\t([^\0]+)/g;

/** What `ls-tree -l -z` lists of submodules. */
export function linksIn(listed: string): Link[] {
  return [...listed.matchAll(COMMITS)].map(([, commit = "", path = ""]) => ({ commit, path }));
}

/** Path → URL, from what `git config --null --list` says of a .gitmodules. */
export function urlsIn(listed: string): Map<string, string> {
  const sections = new Map<string, Map<string, string>>();
  for (const entry of listed.split("\0")) {
    const [, name, word, value] = /^submodule\.(.+)\.(path|url)\n([\s\S]*)$/.exec(entry) ?? [];
    if (name === undefined || word === undefined || value === undefined) continue;
    sections.set(name, (sections.get(name) ?? new Map()).set(word, value));
  }
  return new Map([...sections.values()].map((one) => [one.get("path") ?? "", one.get("url") ?? ""]));
}

/**
 * Where a submodule is fetched from.
 * @throws FarmError DRIVER_INVALID where that is none of what a stranger may name
 */
export async function placeOfSubmodule(
  parent: GitPlace,
  { path, commit }: Link,
  url: string | undefined,
): Promise<GitPlace> {
  const refuse = (fact: string) =>
    invalidDriver(
      `the submodule ${path} of ${parent.git} ${fact}`,
      undefined,
      "Check it out by hand, and configure the directory.",
    );
  if (url === undefined || url === "") throw refuse("has no URL in .gitmodules");
  const git = /^\.\.?\//.test(url) ? relativeTo(parent.git, url) : url;
  if (git === undefined) throw refuse(`is at ${url}, which leads nowhere from there`);
  if (!PLAIN.test(git))
    throw refuse(`is at ${JSON.stringify(git)}, which not everybody reads as the same server`);
  if (holdsCredentials(git) && !isSsh(git)) throw refuse("contains a user name or a password in its URL");
  const place = { git, revision: commit };
  if (serverOf(git) !== undefined && serverOf(git) === serverOf(parent.git)) return { ...parent, ...place };
  if (!/^https:\/\//i.test(git))
    throw refuse(`is at ${git}: only its own server and others by https are asked`);
  const { hostname } = URL.parse(git) ?? {};
  if (hostname === undefined) throw refuse(`is at ${git}, which is no URL`);
  const addresses = await lookup(hostname.replace(/^\[|\]$/g, ""), { all: true }).catch(() => []); // Git says that it is not there.
  if (addresses.some(({ address }) => !isPublicAddress(address)))
    throw refuse(`is at ${git}, which is not a public address`);
  return place;
}

/**
 * The characters of URLs (RFC 3986). What else may stand there is read in one way by us, who decide what a server may have, and
 * in another by git and curl, who ask it: behind a backslash begins a path, or the host.
 */
const PLAIN = /^[\w.~:/?#[\]@!$&'()*+,;=%-]+$/;

/** Which server a key or a password is for; undefined for a path of this machine. */
function serverOf(git: string): string | undefined {
  const [, user, host] = /^([\w.-]+)@([\w.-]+):/.exec(git) ?? [];
  if (host !== undefined) return `ssh://${user}@${host}`;
  const url = URL.parse(git);
  if (url === null || !/^(https?|ssh):$/.test(url.protocol)) return undefined;
  return `${url.protocol}//${url.username === "" ? "" : `${url.username}@`}${url.host}`;
}

/** As git resolves a URL that begins with ./ or ../: from the repository as if it were a directory. */
function relativeTo(git: string, url: string): string | undefined {
  const [, server, path] = /^([a-z]+:\/\/[^/]+\/|[\w.-]+@[\w.-]+:)(.*)$/i.exec(git) ?? [];
  if (server === undefined || path === undefined) return undefined;
  const segments = path.split("/").filter((one) => one !== "");
  for (const segment of url.split("/")) {
    if (segment === "." || segment === "") continue;
    if (segment !== "..") segments.push(segment);
    else if (segments.pop() === undefined) return undefined;
  }
  return `${server}${path.startsWith("/") ? "/" : ""}${segments.join("/")}`;
}
