/**
 * The family of origins: where a driver's source may come from, and how it becomes a tree on disk. The tree
 * tells nothing of its origin: the same files have the same digest wherever they came from.
 */

import { copyFile, mkdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { isCached } from "../../base/cache.ts";
import { FarmError, toFarmError } from "../../base/error.ts";
import { fileDigest } from "../../base/file-digest.ts";
import type { Http } from "../../base/http.ts";
import { type Digest, digestOf, hexOf, sha256 } from "../../base/json.ts";
import { exists, type Scratch } from "../../base/scratch.ts";
import { kindIn, moveDirectoryOut, namesIn, removeTree, walkTree } from "../../base/strange-tree.ts";
import { holdsCredentials } from "../../base/url.ts";
import type { AptSource } from "../../catalog/apt.ts";
import type { InputArchive } from "../../inputs/input-places.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import { readSeal, sealOf, writeSeal } from "../../inputs/seal.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import type { OriginRecord } from "../records.ts";
import { FILE_LIMIT_BYTES, refuseSource, SOURCE_BUDGET } from "../source-tree.ts";
import type { LeftOut } from "./not-source.ts";

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, { error: "not a SHA-256 in hexadecimal digits" });

const ONLY_SERVERS = {
  error:
    "only http(s) and ssh URLs and repositories on this machine are supported: write https://HOST/PATH or ssh://USER@HOST/PATH",
};

const NO_CREDENTIALS = {
  error:
    "contains a user name or a password, which would appear in messages and in the store: use `credentials`",
};

/** `ssh://USER@HOST/PATH`, or git's own short form `USER@HOST:PATH`. */
export function isSsh(place: string): boolean {
  return (
    /^ssh:\/\/([\w.-]+@)?(\w[\w.-]*|\[[\da-f:.]+\])(:\d+)?\//i.test(place) ||
    /^\w[\w.-]*@\w[\w.-]*:/.test(place)
  );
}

/** A repository and a revision of it, by URL or by path. */
export const GitRevision = z.strictObject({
  git: z
    .string()
    .min(1)
    .refine(
      (place) => !/^[a-z][a-z0-9+.-]*:\/\//i.test(place) || /^https?:/i.test(place) || isSsh(place),
      ONLY_SERVERS,
    )
    .refine((place) => isSsh(place) || !holdsCredentials(place), NO_CREDENTIALS)
    .describe("Repository: an http(s) or ssh URL, git@HOST:PATH, or a path relative to this file."),
  revision: z
    .string()
    .regex(/^([A-Za-z0-9]|\{version\})([A-Za-z0-9._/+~-]|\{version\})*$/, {
      error: "not the name of a revision",
    })
    .describe("Tag, branch or commit; `{version}` stands for the version."),
});

/** Who asks a server for a driver's source. A server of git takes a token as a password. */
const SourceCredentials = z.strictObject({
  user: z
    .string()
    .regex(/^[^\p{Cc}:]+$/u, { error: "not a user name" })
    .describe("User name that goes with the password; for a token, what its server wants there."),
  passwordFile: z
    .string()
    .min(1)
    .describe("File that holds the password or the token, relative to this file."),
});

const OverHttps = {
  path: ["credentials"],
  error: "would be sent over plain http, or to no server at all: they need an https URL",
};
/** On this machine there is no network path. */
const isHidden = (url: string) => /^https:\/\/|^http:\/\/(127\.0\.0\.1|localhost|\[::1\])[:/]/i.test(url);

/** A driver's source in a git repository. */
export const GitPlace = z
  .strictObject({
    ...GitRevision.shape,
    submodules: z
      .boolean()
      .optional()
      .describe(
        "Whether its submodules are part of the source: those of its own server, and of others by https. Default: false.",
      ),
    key: z
      .string()
      .min(1)
      .optional()
      .describe(
        "File of the private key for ssh, without a passphrase, relative to this file (a deploy key). Default: the agent of whoever runs kmodfarm.",
      ),
    knownHosts: z
      .string()
      .min(1)
      .optional()
      .describe(
        "File of the host keys that ssh believes, relative to this file. Default: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.",
      ),
    credentials: SourceCredentials.optional().describe("User name and password, for https."),
  })
  .refine(({ git, credentials }) => credentials === undefined || isHidden(git), OverHttps)
  .refine(({ git, key, knownHosts }) => isSsh(git) || (key === undefined && knownHosts === undefined), {
    path: ["key"],
    error: "`key` and `knownHosts` are for repositories that are reached by ssh",
  });
export type GitPlace = z.infer<typeof GitPlace>;

/** An archive on a web server. */
export const UrlPlace = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/ })
      .refine((url) => !holdsCredentials(url), NO_CREDENTIALS)
      .describe("A .tar archive; `{version}` stands for the version."),
    sha256: z
      .union([Sha256, z.record(PathSegment, Sha256)])
      .describe("Its digest; with several versions, one for each: `{1.2.0: …}`."),
    credentials: SourceCredentials.optional().describe("User name and password, for https."),
  })
  .refine(({ url, credentials }) => credentials === undefined || isHidden(url), OverHttps);
export type UrlPlace = z.infer<typeof UrlPlace>;

/** A package of a Debian-like distribution with a tree for DKMS in it. */
export const PackagePlace = z.strictObject({
  package: z
    .string()
    .regex(/^[a-z0-9][a-z0-9+.-]+$/, { error: "not the name of a package" })
    .describe("Name of the package, for example v4l2loopback-dkms."),
  release: PathSegment.describe("Distribution release whose index lists it, for example debian13."),
  component: z
    .enum(["main", "contrib", "non-free"])
    .optional()
    .describe("Component of the archive that it is in; default: main."),
});
export type PackagePlace = z.infer<typeof PackagePlace>;

/** Where a source is, as the configuration says it, with the version put in. */
export type Place = string | GitPlace | UrlPlace | PackagePlace;

export interface FetchedSource {
  readonly directory: string;
  readonly origin: OriginRecord;
  /** Names of the packages that it needs, where its own package says so. */
  readonly depends?: readonly string[];
  /** People work in it: not-source.ts says what lies beside a source then. */
  readonly isWorkedOn?: true;
  /** What else in the directory is no part of it. */
  readonly isLeftOut?: LeftOut;
}

/** What whoever runs the farm has for ssh. */
export interface SshOfUser {
  /** The socket of the agent. */
  readonly agent?: string;
  /** Files of host keys that are believed. */
  readonly knownHosts: readonly string[];
}

export interface OriginContext {
  readonly http: Http;
  readonly scratch: Scratch;
  readonly cache: string;
  readonly inputs: Pick<Inputs, "fetch">;
  /** Where what was fetched once is kept. */
  readonly archive?: InputArchive | undefined;
  /** What relative paths are relative to. */
  readonly base: string;
  /** Places of the farm: its configuration, policy, store and cache. They are no source, wherever they are. */
  readonly own: readonly string[];
  /** What whoever runs the farm has for ssh. */
  readonly ssh?: SshOfUser | undefined;
  /** The suites of a distribution release, as far as they matter to source packages. */
  readonly suites: (release: string) => readonly AptSource[];
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface Origin {
  readonly kind: OriginRecord["kind"];
  /** Whether a configured place is one of this kind. */
  fits(place: Place): boolean;
  /**
   * Brings the source of one version here.
   * @throws FarmError DRIVER_INVALID, CONFIG_INVALID, and what mirrors do wrong
   */
  fetch(place: Place, version: string, context: OriginContext): Promise<FetchedSource>;
}

/**
 * A source tree of the cache, under a name that says what it was made from; made when there is none yet. `make`
 * fills an empty directory, and answers which directory in it is the tree: "" for itself.
 */
export async function keepTree(
  name: string,
  { cache, scratch }: Pick<OriginContext, "cache" | "scratch">,
  make: (empty: string) => Promise<string>,
): Promise<string> {
  const target = join(cache, "sources", name);
  if (await isWhole(target)) return target;
  const [made, tree] = [scratch.path(), scratch.path()];
  try {
    await mkdir(made, { recursive: true });
    const path = await make(made);
    if (path === "") await rename(made, tree);
    else if (!moveDirectoryOut(made, path, tree)) throw invalidDriver(`${name} has no directory /${path}`);
    const content = await contentDigest(tree);
    await mkdir(dirname(target), { recursive: true });
    if (await isWhole(target)) return target; // Another process was faster.
    await removeTree(target);
    await writeSeal(target, content, scratch);
    await rename(tree, target).catch(async (thrown) => {
      if (!(await exists(target))) throw thrown;
    });
    return target;
  } finally {
    await removeTree(made);
    await removeTree(tree);
  }
}

/**
 * Whether a tree is in the cache as it was made; asking is using it. After a loss of power any of its files may be
 * cut short, so one of an earlier boot is read again.
 */
async function isWhole(tree: string): Promise<boolean> {
  if (!(await isCached(tree)) || !(await isCached(sealOf(tree)))) return false;
  const seal = await readSeal(tree);
  if (seal === undefined) return false;
  // Whatever is wrong with it, it is made again.
  return seal.isOfThisBoot || (await contentDigest(tree).catch(() => undefined)) === seal.digest;
}
/**
 * Lets `use` read a copy of a file that others may change meanwhile, so that what is judged, what is unpacked, and what
 * has the digest are the same bytes.
 * @throws FarmError DRIVER_INVALID unless the copy has that digest
 */
export async function withOwnCopy<T>(
  file: string,
  sha256: string,
  { scratch }: Pick<OriginContext, "scratch">,
  use: (copy: string) => Promise<T>,
): Promise<T> {
  const copy = scratch.path();
  try {
    await copyFile(file, copy);
    if (hexOf(await fileDigest(copy)) !== sha256)
      throw invalidDriver(`${file} changed while it was being read`);
    return await use(copy);
  } finally {
    await rm(copy, { force: true });
  }
}

/** Digest of all that a build could see of a tree. */
async function contentDigest(tree: string): Promise<Digest> {
  const facts: (string | number)[][] = [];
  await walkTree(tree, SOURCE_BUDGET, refuseSource, ({ path, kind, status, target, read }) => {
    if (kind === "file" && status.size > FILE_LIMIT_BYTES)
      throw refuseSource(path, `is ${status.size} bytes large`);
    const content = kind === "link" ? target() : kind === "file" ? sha256(read()) : "";
    facts.push([path, kind, status.mode, content]);
    return undefined;
  });
  return digestOf(facts);
}

/** The tree proper: archives usually hold everything in one directory that is named after the version. */
export function withoutTop(directory: string): string {
  const names = namesIn(dirname(directory), basename(directory)) ?? [];
  const [only] = names;
  return names.length === 1 && only !== undefined && kindIn(directory, only) === "directory" ? only : "";
}

/**
 * What a server said, remembered; when it cannot be asked, what it said last is good enough.
 * @param subject names it, for the memory and for people
 */
export async function remembering<T>(
  subject: string,
  type: z.ZodType<T>,
  { cache, scratch, say }: Pick<OriginContext, "cache" | "scratch" | "say">,
  ask: () => Promise<T>,
): Promise<T> {
  const memory = join(cache, "remembered", `${sha256(subject).slice(7, 39)}.json`);
  try {
    const answer = await ask();
    await scratch.write(memory, JSON.stringify(answer));
    return answer;
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.blame !== "remote" || !(await exists(memory))) throw error;
    say(`${subject}: as last seen, because it cannot be queried now (${error.message})`);
    return type.parse(JSON.parse(await readFile(memory, "utf8")));
  }
}

/** NOT_FETCHABLE is said of kernels: a source that is gone is its server's fault. */
export function sourceFault(thrown: unknown, what: string): FarmError {
  const error = toFarmError(thrown);
  if (error.code !== "NOT_FETCHABLE") return error;
  return new FarmError("REMOTE_UNAVAILABLE", {
    detail: `the source ${what} no longer exists`,
    cause: error,
  });
}

export function invalidDriver(
  detail: string,
  cause?: unknown,
  hint = "Correct the driver's `source`; docs/drivers.md shows what it may be.",
): FarmError {
  return new FarmError("DRIVER_INVALID", {
    detail,
    hint,
    ...(cause === undefined ? {} : { cause }),
  });
}
