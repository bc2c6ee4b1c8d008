/**
 * Roots of distributions with rpm: dnf finds and fetches packages, verified, with the network and none of their
 * programs; rpm installs them, with nothing but the root and rpm itself.
 */

import { copyFile, cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { assertNever, FarmError, saysDiskFull } from "../../../base/error.ts";
import { lastLines, type RunResult, run } from "../../../base/run.ts";
import type { RpmRepository } from "../../../kernel/distributions/distribution.ts";
import type { InstalledPackage } from "../../records.ts";
import { handIn, makeBoxRoot, type RootBox, requireTool, runInBox, type Shown } from "./box.ts";
import {
  bootstrapTimeoutMs,
  type FetchedPackage,
  installedList,
  keepFiles,
  type MadeRoot,
  packageUnknown,
  type RootContext,
  type RootMethod,
  type RootPlace,
  type RootSpec,
  type RpmMirror,
} from "./root-method.ts";

const OPTIONS = [
  "install_weak_deps=False",
  "tsflags=nodocs",
  "plugins=0",
  "reposdir=/dev/null",
  "best=False",
];

export const dnf: RootMethod<RpmMirror> = { format: "rpm", options: OPTIONS, make, remake };

/** Where releases keep their database of packages. What they do not find there, they find by a link. */
const DATABASE = "/var/lib/rpm";
/** For programs inside that ask what is installed: the root's own rpm may not read a database of ours. */
/** Where the box that fetches, and the one that installs, have things. */
const KEYS = "/work/keys.asc";
const PACKAGES = "/tmp/packages";
const TOOL = "/tmp/tool";

async function make(
  spec: RootSpec,
  mirror: RpmMirror,
  context: RootContext,
  signal?: AbortSignal,
): Promise<MadeRoot> {
  const { work, root, what, packages } = spec;
  for (const tool of ["dnf", "rpm"]) requireTool(tool, tool);
  for (const name of ["cache", "log", "persist", "home", "packages", "resolve"])
    await mkdir(join(work, name));
  await makeBoxRoot(root);
  const configuration = dnfConfiguration(what, mirror);
  if (mirror.trust.kind === "signed")
    await writeFile(join(work, basename(KEYS)), await context.keysOf(mirror.trust.keys, signal));
  await writeFile(join(work, "dnf.conf"), configuration);
  const tool = await copyRpm(work);
  await handIn(work);
  await fetchPackages(spec, mirror, signal);
  await install(spec, tool, signal);
  const files = await fetchedFiles(spec, mirror, tool, signal);
  const installed = await installedPackages(spec, tool, signal);
  const missing = packages.filter(
    ({ name, isOptional }) => isOptional && !installed.some((one) => one.name === name),
  );
  return {
    packages: installed,
    files: await keepFiles(files, spec),
    notes: [
      ...(mirror.trust.kind === "unsigned"
        ? [`${what}: its packages are unsigned, as \`allowUnsigned\` permits`]
        : []),
      ...missing.map(({ name }) => `${what}: its repositories have no ${name}`),
    ],
  };
}

async function remake(
  place: RootPlace,
  packages: readonly string[],
  signal?: AbortSignal,
): Promise<readonly InstalledPackage[]> {
  requireTool("rpm", "rpm");
  const { work, root } = place;
  await mkdir(join(work, "packages"));
  await makeBoxRoot(root);
  // Nothing of what a stranger calls his packages becomes a path.
  for (const [index, file] of packages.entries())
    await copyFile(file, join(work, "packages", `${index}.rpm`));
  const tool = await copyRpm(work);
  await handIn(work);
  await install(place, tool, signal);
  return installedPackages(place, tool, signal);
}

/** Leaves what is needed below `packages`; optional ones that the repositories lack are left out. */
async function fetchPackages(spec: RootSpec, mirror: RpmMirror, signal?: AbortSignal): Promise<void> {
  const { work, packages } = spec;
  const required = packages.filter(({ isOptional }) => !isOptional).map(({ name }) => name);
  let optional = packages.filter(({ isOptional }) => isOptional).map(({ name }) => name);
  for (;;) {
    const result = await runInBox(
      {
        argv: [...dnfArguments(spec, mirror), "install", ...required, ...optional],
        shows: [{ outside: work, inside: "/work", isWritable: true }, ...localPlaces(mirror)],
        hasNetwork: true,
        env: { HOME: "/work/home" },
        timeoutMs: bootstrapTimeoutMs(spec),
      },
      signal,
    );
    if (result.exitCode === 0) return;
    if (optional.length === 0 || result.timedOut) throw bootstrapError(spec.what, result);
    const found = optional.filter((name) => !result.stderr.includes(`No match for argument: ${name}\n`));
    optional = found.length < optional.length ? found : [];
  }
}

/** Repositories of this machine's own disk. */
function localPlaces({ repositories }: RpmMirror): Shown[] {
  const urls = repositories
    .flatMap(({ location }) => location.urls)
    .filter((url) => url.startsWith("file:///"));
  return [...new Set(urls)].map((url) => {
    const path = decodeURIComponent(new URL(url).pathname);
    return { outside: path, inside: path };
  });
}

/**
 * Names, URLs and paths that hold a line's end would be other settings: they are refused, and so is what nobody vouches
 * for.
 */
export function dnfConfiguration(
  what: string,
  { repositories, trust }: Pick<RpmMirror, "repositories" | "trust">,
): string {
  const sections = repositories.flatMap((repository, index) => [
    `[kmodfarm-${index}]`,
    `name=${repository.name}`,
    `${LOCATION_WORDS[repository.location.kind]}=${repository.location.urls.join(" ")}`,
    ...trustSettings(what, trust, repository),
  ]);
  const lines = ["[main]", ...OPTIONS, ...sections];
  const strange = lines.find((line) => /\p{Cc}/u.test(line));
  if (strange === undefined) return `${lines.join("\n")}\n`;
  throw new FarmError("CONFIG_INVALID", {
    detail: `a repository cannot be given to dnf: ${JSON.stringify(strange)}`,
  });
}

function trustSettings(what: string, trust: RpmMirror["trust"], { location }: RpmRepository): string[] {
  switch (trust.kind) {
    case "signed":
      return ["gpgcheck=1", `repo_gpgcheck=${trust.signsMetadata ? 1 : 0}`, `gpgkey=file://${KEYS}`];
    case "unsigned": {
      const open =
        location.kind === "baseurl" ? location.urls.find((url) => /^http:/i.test(url)) : location.urls[0];
      if (open === undefined) return ["gpgcheck=0", "repo_gpgcheck=0"];
      throw new FarmError("CONFIG_INVALID", {
        detail: `the toolchain of ${what} would consist of unsigned packages from ${open}, which anybody on the network path can replace`,
        hint: "Give its source a `baseurl` with https, or the `keyring` and `fingerprints` of its signer.",
      });
    }
    case "unknown":
      throw new FarmError("CONFIG_INVALID", {
        detail: `the toolchain of ${what} would consist of packages whose signing key is not configured`,
        hint: "Give its source `keyring` (or `keyUrl`) and `fingerprints`, or `allowUnsigned: true` if you trust its server alone.",
      });
    default:
      return assertNever(trust);
  }
}

const LOCATION_WORDS: Readonly<Record<RpmRepository["location"]["kind"], string>> = {
  baseurl: "baseurl",
  mirrorlist: "mirrorlist",
  metalink: "metalink",
};

/** Nothing of this machine's own dnf and rpm takes part: the box has none of their settings. */
function dnfArguments({ builder }: RootSpec, { version }: RpmMirror): string[] {
  return [
    ["dnf", "--quiet", "--assumeyes", "--config=/work/dnf.conf", "--installroot=/work/resolve"],
    [`--releasever=${version}`, `--forcearch=${builder}`, "--setopt=cachedir=/work/cache"],
    ["--setopt=logdir=/work/log", "--setopt=persistdir=/work/persist"],
    ["--downloadonly", "--destdir=/work/packages"],
  ].flat();
}

/**
 * rpm with its libraries and settings in a directory of its own, so that the box that installs needs nothing else of
 * this machine.
 */
async function copyRpm(work: string): Promise<string> {
  const tool = join(work, "tool");
  await mkdir(join(tool, "lib"), { recursive: true });
  const { stdout } = await run(["ldd", "/usr/bin/rpm"]);
  const libraries = [...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map(([, path = ""]) => path);
  for (const library of libraries) await copyFile(library, join(tool, "lib", basename(library)));
  const loader = libraries.find((path) => /\/ld-[^/]*\.so/.test(path));
  if (loader === undefined)
    throw new FarmError("TOOL_FAILED", {
      detail: "the libraries that /usr/bin/rpm needs cannot be determined",
    });
  await copyFile(loader, join(tool, "loader"));
  await copyFile("/usr/bin/rpm", join(tool, "rpm"));
  await cp("/usr/lib/rpm", join(tool, "settings"), { recursive: true, dereference: true });
  return tool;
}

function rpmBox(spec: RootPlace, tool: string, argv: readonly string[], isWritable: boolean): RootBox {
  return {
    argv: [`${TOOL}/loader`, "--library-path", `${TOOL}/lib`, `${TOOL}/rpm`, `--dbpath=${DATABASE}`, ...argv],
    shows: [
      { outside: spec.root, inside: "/", isWritable },
      { outside: tool, inside: TOOL },
      { outside: join(spec.work, "packages"), inside: PACKAGES },
    ],
    env: { RPM_CONFIGDIR: `${TOOL}/settings` },
    timeoutMs: bootstrapTimeoutMs(spec),
  };
}

/** dnf has verified their signatures, with keys that rpm in the box does not have. */
async function install(spec: RootPlace, tool: string, signal?: AbortSignal): Promise<void> {
  const files = await filesIn(spec);
  const settings = ["--excludedocs", "--nosignature", "--ignorearch", "--noplugins"];
  // Those are the box's, and no package may change them.
  const shared = ["--define", "_netsharedpath /proc:/dev:/sys"];
  const argv = ["--install", ...settings, ...shared, "--", ...files.map((file) => `${PACKAGES}/${file}`)];
  const result = await runInBox(rpmBox(spec, tool, argv, true), signal);
  if (result.exitCode !== 0) throw bootstrapError(spec.what, result);
}

async function filesIn({ work }: Pick<RootPlace, "work">): Promise<string[]> {
  return (await readdir(join(work, "packages"))).filter((name) => name.endsWith(".rpm")).sort();
}

/** The packages that dnf fetched, which rpm tells apart. Of the repositories it does not say which had one. */
async function fetchedFiles(
  spec: RootSpec,
  { repositories }: RpmMirror,
  tool: string,
  signal?: AbortSignal,
): Promise<FetchedPackage[]> {
  const files = await filesIn(spec);
  const place = repositories.flatMap(({ location }) => location.urls).join(" ");
  const argv = [
    "-qp",
    "--nosignature",
    "--queryformat",
    FORMAT,
    ...files.map((file) => `${PACKAGES}/${file}`),
  ];
  const asked = await runInBox(rpmBox(spec, tool, argv, true), signal);
  const lines = asked.stdout.split("\n").filter((line) => line !== "");
  if (asked.exitCode !== 0 || lines.length !== files.length)
    throw new FarmError("TOOL_FAILED", {
      detail: `rpm cannot read its packages: ${lastLines(asked.stderr, 3)}`,
    });
  return lines.map((line, index) => {
    const [name = "", version = "", architecture = ""] = line.split("\t");
    return { name, version, architecture, place, path: `packages/${files[index]}` };
  });
}

const FORMAT = "%{NAME}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\n";

async function installedPackages(
  spec: RootPlace,
  tool: string,
  signal?: AbortSignal,
): Promise<InstalledPackage[]> {
  const asked = await runInBox(rpmBox(spec, tool, ["-qa", "--queryformat", FORMAT], true), signal);
  if (asked.exitCode !== 0)
    throw new FarmError("TOOL_FAILED", { detail: `rpm cannot list a root: ${lastLines(asked.stderr, 3)}` });
  return installedList(asked.stdout).flatMap(({ name, version }) =>
    name === "gpg-pubkey" ? [] : [{ name, version }],
  );
}

function bootstrapError(what: string, { stdout, stderr, timedOut }: RunResult): FarmError {
  if (saysDiskFull(`${stdout}\n${stderr}`))
    return new FarmError("DISK_FULL", {
      detail: `the toolchain root of ${what} cannot be bootstrapped: there is no space left in the cache's file system`,
      hint: "Free some space, or move --cache elsewhere.",
    });
  if (timedOut)
    return new FarmError("TIMED_OUT", { detail: `installing the toolchain root of ${what} took too long` });
  const unknown = /(?:Unable to find a match|No match for argument): (?<name>\S+)/.exec(stderr)?.groups?.name;
  if (unknown !== undefined) return packageUnknown(what, unknown);
  const words = lastLines(stderr.trim() === "" ? stdout : stderr, 4);
  if (/is not signed|GPG (?:check|verification)|not correct for this package|Public key/i.test(stderr))
    return new FarmError("SIGNATURE_INVALID", {
      detail: `a package for the toolchain root of ${what} is not signed with a trusted key: ${words}`,
      hint: "Do not trust it: compare the repository with another mirror. The source's `keyring` and `fingerprints` determine which keys are trusted.",
    });
  const isRemote = /Failed to download|Curl error|Cannot download|Status code/i.test(stderr);
  return new FarmError(isRemote ? "REMOTE_UNAVAILABLE" : "TOOL_FAILED", {
    detail: `the toolchain root of ${what} cannot be installed: ${words}`,
  });
}
