/**
 * A source in a Debian package made for DKMS: a .deb file, or what a release's signed index lists.
 */
import { mkdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { fileDigest } from "../../base/file-digest.ts";
import { hexOf } from "../../base/json.ts";
import { pipeThrough, type RunResult, run } from "../../base/run.ts";
import { shutIn } from "../../base/shut-in.ts";
import { linkBudget } from "../../base/strange-links.ts";
import {
  kindIn,
  moveDirectoryOut,
  namesIn,
  removeLinkIn,
  removeTree,
  walkTree,
} from "../../base/strange-tree.ts";
import { urlOf } from "../../base/url.ts";
import type { AptSource } from "../../catalog/apt.ts";
import { readCurrentAptSource } from "../../catalog/current.ts";
import { parseParagraph, parseRelations } from "../../formats/deb822.ts";
import { compareDebVersions } from "../../kernel/deb-version.ts";
import { Package } from "../../kernel/kernel.ts";
import { leadsOut, refuseSource, SOURCE_BUDGET } from "../source-tree.ts";
import {
  invalidDriver,
  keepTree,
  type Origin,
  type OriginContext,
  type PackagePlace,
  remembering,
  sourceFault,
  withOwnCopy,
} from "./origin.ts";
import { unpackTar } from "./unpack-tar.ts";

export function isPackageName(place: string): boolean {
  return place.endsWith(".deb");
}

export const debianPackage: Origin = {
  kind: "package",
  fits: (place) => (typeof place === "string" ? isPackageName(place) : "package" in place),
  async fetch(place, version, context) {
    if (typeof place === "string") {
      const file = resolve(context.base, place);
      const { directory, sha256, depends } = await treeOf(file, context);
      return { directory, origin: { kind: "package", place: file, sha256 }, depends };
    }
    const listed = await choose(place as PackagePlace, version, context);
    const file = await context.inputs.fetch(listed, [], context.signal).catch((thrown) => {
      throw sourceFault(thrown, `${listed.name} ${listed.version}`);
    });
    const { directory, sha256, treeVersion, depends } = await treeOf(file, context);
    if (!namesOf(listed.version).includes(version) && treeVersion !== version)
      throw otherVersion(place as PackagePlace, version, [listed], treeVersion);
    const origin = { kind: "package" as const, place: `${listed.name} ${listed.version}`, sha256 };
    return { directory, origin, depends };
  },
};

/** The one package of a release that is this version, else the newest, whose tree will tell. */
async function choose(place: PackagePlace, version: string, context: OriginContext): Promise<Package> {
  const subject = `package ${place.package} of ${place.release} ${place.component ?? "main"}`;
  const packages = await remembering(subject, z.array(Package), context, () =>
    listedPackages(place, context),
  );
  const newest = packages.toSorted((a, b) => compareDebVersions(b.version, a.version));
  const chosen = newest.find((one) => namesOf(one.version).includes(version)) ?? newest[0];
  if (chosen !== undefined) return chosen;
  throw new FarmError("CONFIG_INVALID", {
    detail: `${place.release} has no package ${place.package} in ${place.component ?? "main"}`,
    hint: "Check the `package`, `release` and `component` of the driver's source.",
  });
}

/** How a package version may stand in a configuration: whole, or without epoch, or only upstream's part. */
function namesOf(version: string): string[] {
  const plain = version.replace(/^\d+:/, "");
  return [plain, plain.replace(/-[^-]*$/, "")];
}

function otherVersion(
  { release, package: name }: PackagePlace,
  version: string,
  found: readonly Package[],
  treeVersion: string | undefined,
): FarmError {
  const versions = found.map((one) => namesOf(one.version)[0]).join(", ");
  const tree = treeVersion === undefined ? "" : ` (its tree is ${treeVersion})`;
  return new FarmError("CONFIG_INVALID", {
    detail: `${release} has ${name} ${versions}${tree}, not ${version}`,
    hint: "Put the available version into `versions`, or name another release.",
  });
}

/** Every version of the package that the suites of a release list. */
async function listedPackages(place: PackagePlace, context: OriginContext): Promise<Package[]> {
  const { http, scratch, cache, signal, say } = context;
  const answers = await Promise.all(
    context.suites(place.release).map(async (suite) => ({
      suite,
      answer: await readCurrentAptSource(
        forPackage(suite, place),
        { http, scratch, cache, signal },
        new Date(),
        say,
      ),
    })),
  );
  const failed = answers.flatMap(({ answer }) => (answer.kind === "failed" ? [answer.error] : []));
  const found = answers.flatMap(({ suite, answer }) =>
    answer.kind === "read"
      ? answer.packages.map((one) => Package.parse({ ...one, path: urlOf(suite.url, one.path) }))
      : [],
  );
  if (failed[0] !== undefined) throw failed[0];
  return found;
}

/** A suite as it is read for one package alone. */
function forPackage(suite: AptSource, { package: name, component = "main" }: PackagePlace): AptSource {
  return { ...suite, component, only: name };
}

interface PackagedTree {
  readonly directory: string;
  readonly sha256: string;
  /** The version in the name of its directory. */
  readonly treeVersion: string | undefined;
  readonly depends: readonly string[];
}

async function treeOf(file: string, context: OriginContext): Promise<PackagedTree> {
  const digest = await fileDigest(file).catch((cause: NodeJS.ErrnoException) => {
    throw invalidDriver(`the package ${file} cannot be read (${cause.code})`, cause);
  });
  const sha256 = hexOf(digest);
  return withOwnCopy(file, sha256, context, async (own) => {
    const depends = await dependsOf(own, file, context);
    return { ...(await unpackedTree(own, sha256, file, context)), sha256, depends };
  });
}

/** The tree in a package, of which `own` is our copy. */
async function unpackedTree(
  own: string,
  sha256: string,
  file: string,
  context: OriginContext,
): Promise<Pick<PackagedTree, "directory" | "treeVersion">> {
  const kept = await keepTree(`package-${sha256}`, context, async (empty) => {
    const [unpacked, sources] = [join(empty, "unpacked"), join(empty, "src")];
    await mkdir(unpacked);
    await unpackTar(() => dataOf(own), file, unpacked, context.signal, { only: SOURCES });
    if (!moveDirectoryOut(unpacked, SOURCES, sources))
      throw invalidDriver(`${file} has no directory /${SOURCES}`);
    await dropLinksOut(sources);
    return basename(sources);
  });
  const trees = (namesIn(dirname(kept), basename(kept)) ?? []).filter(
    (name) => kindIn(kept, `${name}/dkms.conf`) === "file",
  );
  const [tree, other] = trees;
  if (tree === undefined) throw invalidDriver(`${file} has no tree with a dkms.conf in /${SOURCES}`);
  if (other !== undefined)
    throw invalidDriver(
      `${file} has several trees in /${SOURCES}: ${trees.join(", ")}; unpack it, and configure one of them`,
    );
  return { directory: join(kept, tree), treeVersion: /^[^-]+(?:-[^\d][^-]*)*-(.+)$/.exec(tree)?.[1] };
}

const SOURCES = "usr/src";

/**
 * Packages link from a tree to their documentation elsewhere, which no sandbox has: that link is no source. Neither
 * is one in the place of a tree.
 */
async function dropLinksOut(sources: string): Promise<void> {
  const links = new Map<string, Map<string, string>>();
  await walkTree(sources, SOURCE_BUDGET, refuseSource, ({ path, kind, target }) => {
    const [tree = "", ...rest] = path.split("/");
    const known = links.get(tree) ?? new Map<string, string>();
    if (kind === "link") links.set(tree, known.set(rest.join("/"), target()));
    return undefined;
  });
  const budget = linkBudget();
  for (const [tree, known] of links)
    for (const [path, target] of known) {
      const whole = path === "" ? tree : `${tree}/${path}`;
      if (path === "" || leadsOut(path, target, known, budget)) removeLinkIn(sources, whole);
      if (budget.parts < 0) throw refuseSource(whole, "is one of too many links to follow");
    }
}

/** What a toolchain root has by another way, or what only asks questions on a host. */
const OTHERWISE =
  /^(?:dkms|dh-dkms|debconf|make|build-essential|c-compiler|(?:gcc|clang|linux-headers|linux-image)(?:-.*)?)$/;
/** No field of control files is longer. */
const FIELD_LIMIT_BYTES = 64 * 1024;
const TIMEOUT_MS = 60_000;

/** What a package depends on beside DKMS itself: of alternatives the first, as apt would choose. */
async function dependsOf(own: string, file: string, { scratch, signal }: OriginContext): Promise<string[]> {
  const argv = ["dpkg-deb", "--field", "/package.deb", "Pre-Depends", "Depends"];
  // It unpacks the control files before it reads one.
  const target = scratch.path();
  await mkdir(target, { recursive: true });
  const box = shutIn(argv, { target, shows: { "/package.deb": own } });
  let result: RunResult;
  try {
    result = await run(box, { timeoutMs: TIMEOUT_MS, outputLimitBytes: 4 * FIELD_LIMIT_BYTES }, signal);
  } finally {
    await removeTree(target);
  }
  if (result.exitCode !== 0) throw invalidDriver(`${file} is not a readable Debian package`);
  const fields = parseParagraph(result.stdout.slice(0, FIELD_LIMIT_BYTES));
  const groups = ["Pre-Depends", "Depends"].flatMap((name) => parseRelations(fields.get(name) ?? ""));
  const wanted = groups.filter((group) => !group.some(({ name }) => OTHERWISE.test(name)));
  return [...new Set(wanted.flatMap(([first]) => first?.name ?? []))].toSorted();
}

/** The package's files as a tar archive. */
async function* dataOf(file: string): AsyncGenerator<Buffer> {
  const pipe = pipeThrough(
    shutIn(["dpkg-deb", "--fsys-tarfile", "/package.deb"], { shows: { "/package.deb": file } }),
  );
  try {
    pipe.stdin.end();
    yield* pipe.stdout as AsyncIterable<Buffer>;
    if ((await pipe.exit) !== 0) throw invalidDriver(`${file} is not a readable Debian package`);
  } finally {
    pipe.stop();
  }
}
