/**
 * Roots of distributions with rpm: dnf into an empty directory, from any rpm-md repositories.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { lastLines, type RunResult, run } from "../../../base/run.ts";
import type { RpmRepository } from "../../../kernel/distributions/distribution.ts";
import type { InstalledPackage } from "../../recipe.ts";
import {
  bootstrapTimeoutMs,
  type MadeRoot,
  packageUnknown,
  type RootMethod,
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

export const dnf: RootMethod<RpmMirror> = { format: "rpm", options: OPTIONS, make };

/** Where releases keep their database of packages. What they do not find there, they find by a link. */
const DATABASE = "/var/lib/rpm";
/** For the record that a build inside makes: its own rpm may not read a database of ours. */
const PACKAGE_LIST = "usr/share/kmodfarm/packages.tsv";

async function make(spec: RootSpec, mirror: RpmMirror, signal?: AbortSignal): Promise<MadeRoot> {
  const { root, work, packages } = spec;
  await requireTools();
  const environment = await prepare(spec, mirror);
  const device = join(root, "dev/null");
  await mkdir(join(root, "dev"), { recursive: true });
  // Scripts of packages expect it; nothing of the kind stays.
  await run(["mknod", "--mode=666", device, "c", "1", "3"]);
  const install = (names: readonly string[], ...options: string[]) =>
    run(
      [...dnfArguments(spec, mirror, work), ...options, "install", ...names],
      { timeoutMs: bootstrapTimeoutMs(spec), contained: true, env: environment },
      signal,
    );
  const required = packages.filter(({ isOptional }) => !isOptional).map(({ name }) => name);
  const optional = packages.filter(({ isOptional }) => isOptional).map(({ name }) => name);
  const result = await install(required);
  if (result.exitCode !== 0) throw bootstrapError(spec.what, result);
  if (optional.length > 0) await install(optional, "--setopt=strict=0", "--skip-broken");
  await rm(device, { force: true });
  const installed = await installedPackages(root, environment);
  const missing = optional.filter((name) => !installed.some((one) => one.name === name));
  await mkdir(join(root, PACKAGE_LIST, ".."), { recursive: true });
  await writeFile(
    join(root, PACKAGE_LIST),
    installed.map(({ name, version }) => `${name}\t${version}\n`).join(""),
  );
  return {
    packages: installed,
    notes: [
      ...(mirror.keyring === undefined ? [`${spec.what}: nobody's signature is asked of its packages`] : []),
      ...missing.map((name) => `${spec.what}: its repositories have no ${name}`),
    ],
  };
}

async function requireTools(): Promise<void> {
  for (const tool of ["dnf", "rpm"]) {
    await run([tool, "--version"], { env: { PATH: "/usr/bin:/bin", HOME: "/nonexistent" } }).catch(
      (cause) => {
        throw new FarmError("TOOL_MISSING", {
          detail: `there is no program '${tool}' on this machine, which makes toolchains of rpm distributions`,
          hint: "On Debian and Ubuntu: apt-get install --no-install-recommends dnf rpm.",
          cause,
        });
      },
    );
  }
}

/** Configuration of dnf and rpm, so that nothing of this machine's own takes part. */
async function prepare({ work }: RootSpec, mirror: RpmMirror): Promise<Record<string, string>> {
  const home = join(work, "home");
  for (const directory of [home, ...["cache", "log", "persist"].map((name) => join(work, name))])
    await mkdir(directory, { recursive: true });
  // Debian's rpm keeps its database in the user's home unless told otherwise.
  await writeFile(join(home, ".rpmmacros"), `%_dbpath ${DATABASE}\n`);
  await writeFile(join(work, "dnf.conf"), dnfConfiguration(mirror));
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    LC_ALL: "C.UTF-8",
    HOME: home,
  };
}

/** Names, URLs and paths that hold a line's end would be other settings: they are refused. */
export function dnfConfiguration({ repositories, keyring }: Omit<RpmMirror, "format" | "version">): string {
  const key = keyring === undefined ? ["gpgcheck=0"] : ["gpgcheck=1", `gpgkey=file://${keyring}`];
  const sections = repositories.flatMap((repository, index) => [
    `[kmodfarm-${index}]`,
    `name=${repository.name}`,
    `${LOCATION_WORDS[repository.location.kind]}=${repository.location.urls.join(" ")}`,
    ...key,
  ]);
  const lines = ["[main]", ...OPTIONS, ...sections];
  const strange = lines.find((line) => /\p{Cc}/u.test(line));
  if (strange === undefined) return `${lines.join("\n")}\n`;
  throw new FarmError("CONFIG_INVALID", {
    detail: `a repository cannot be given to dnf: ${JSON.stringify(strange)}`,
  });
}

const LOCATION_WORDS: Readonly<Record<RpmRepository["location"]["kind"], string>> = {
  baseurl: "baseurl",
  mirrorlist: "mirrorlist",
  metalink: "metalink",
};

function dnfArguments({ root, builder }: RootSpec, { version }: RpmMirror, work: string): string[] {
  return [
    "dnf",
    "--quiet",
    "--assumeyes",
    `--config=${join(work, "dnf.conf")}`,
    `--installroot=${root}`,
    `--releasever=${version}`,
    `--forcearch=${builder}`,
    `--setopt=cachedir=${join(work, "cache")}`,
    `--setopt=logdir=${join(work, "log")}`,
    `--setopt=persistdir=${join(work, "persist")}`,
  ];
}

async function installedPackages(root: string, env: Record<string, string>): Promise<InstalledPackage[]> {
  const format = "%{NAME}\\t%{VERSION}-%{RELEASE}\\n";
  const { stdout, stderr, exitCode } = await run(["rpm", "--root", root, "-qa", "--queryformat", format], {
    env,
  });
  if (exitCode !== 0)
    throw new FarmError("TOOL_FAILED", { detail: `rpm cannot list a root: ${lastLines(stderr, 3)}` });
  const packages = stdout.split("\n").flatMap((line) => {
    const [name, version] = line.split("\t");
    return name && version && name !== "gpg-pubkey" ? [{ name, version }] : [];
  });
  return packages.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function bootstrapError(what: string, { stderr, timedOut }: RunResult): FarmError {
  if (timedOut)
    return new FarmError("TIMED_OUT", { detail: `installing the toolchain root of ${what} took too long` });
  const unknown = /(?:Unable to find a match|No match for argument): (?<name>\S+)/.exec(stderr)?.groups?.name;
  if (unknown !== undefined) return packageUnknown(what, unknown);
  const isRemote = /Failed to download|Curl error|Cannot download|Status code/i.test(stderr);
  return new FarmError(isRemote ? "REMOTE_UNAVAILABLE" : "TOOL_FAILED", {
    detail: `the toolchain root of ${what} cannot be installed: ${lastLines(stderr, 4)}`,
  });
}
