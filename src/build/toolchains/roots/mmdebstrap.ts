/**
 * Roots of Debian and its like: mmdebstrap, from any apt mirror.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { lastLines, type RunResult, run } from "../../../base/run.ts";
import { architecture } from "../../../kernel/architecture.ts";
import type { InstalledPackage } from "../../recipe.ts";
import {
  bootstrapTimeoutMs,
  type DebMirror,
  type MadeRoot,
  packageUnknown,
  type RootMethod,
  type RootSpec,
} from "./root-method.ts";

/** Documentation and translations take a third of a root and no part in a build. */
const OPTIONS = [
  "--variant=essential",
  '--aptopt=Acquire::Languages "none"',
  ...["man", "locale", "doc", "info"].map((kind) => `--dpkgopt=path-exclude=/usr/share/${kind}/*`),
];

export const mmdebstrap: RootMethod<DebMirror> = { format: "deb", options: OPTIONS, make };

async function make(spec: RootSpec, mirror: DebMirror, signal?: AbortSignal): Promise<MadeRoot> {
  const notes: string[] = [];
  let result = await bootstrap(spec, mirror, spec.lock, signal);
  if (result.exitCode !== 0 && spec.lock.size > 0 && LOCK_IS_GONE.test(result.stderr)) {
    notes.push(`${spec.what}: the mirror no longer has the versions of packages.lock; its newest are used`);
    result = await bootstrap(spec, mirror, new Map(), signal);
  }
  if (result.exitCode !== 0) throw bootstrapError(spec.what, result);
  return { packages: await installedPackages(join(spec.root, "var/lib/dpkg/status")), notes };
}

/** apt's words for a version that it does not have. */
const LOCK_IS_GONE = /Version '[^']*' for '[^']*' was not found/;

function bootstrap(
  { builder, isEmulated, packages, root }: RootSpec,
  { lines, keyring, acceptExpired }: DebMirror,
  lock: ReadonlyMap<string, string>,
  signal: AbortSignal | undefined,
): Promise<RunResult> {
  const wanted = packages.map(({ name }) => (lock.has(name) ? `${name}=${lock.get(name)}` : name));
  const argv = [
    // Not --quiet, which keeps apt's reasons to itself.
    ["mmdebstrap", "--mode=root", "--format=directory", ...OPTIONS],
    isEmulated ? ["--skip=check/qemu"] : [],
    acceptExpired ? ['--aptopt=Acquire::Check-Valid-Until "false"'] : [],
    [`--architectures=${architecture(builder).debian}`, `--keyring=${keyring}`],
    [`--include=${wanted.join(",")}`, lines[0].suite, root],
    lines.map(({ url, suite, components }) => `deb ${url} ${suite} ${components.join(" ")}`),
  ].flat();
  return run(argv, { timeoutMs: bootstrapTimeoutMs({ isEmulated }), contained: true }, signal);
}

const PACKAGE_IS_UNKNOWN =
  /Unable to locate package (?<name>\S+)|Package '?(?<name>[^'\s]+)'? has no installation candidate/;

function bootstrapError(what: string, { stderr, timedOut }: RunResult): FarmError {
  // mmdebstrap's last words only repeat that apt failed; why it did stands before them.
  const causes = stderr
    .split("\n")
    .filter((line) => /^(Err|W|E):/.test(line) && !/mmdebstrap failed|--error-on=any/.test(line));
  const words = lastLines(causes.length > 0 ? causes.join("\n") : stderr, 4);
  if (timedOut)
    return new FarmError("TIMED_OUT", {
      detail: `bootstrapping the toolchain root of ${what} took too long`,
    });
  const unknown = PACKAGE_IS_UNKNOWN.exec(stderr)?.groups?.name;
  if (unknown !== undefined) return packageUnknown(what, unknown);
  const remote = /Failed to fetch|Could not connect|Temporary failure|Unable to fetch/i.test(stderr);
  return new FarmError(remote ? "REMOTE_UNAVAILABLE" : "TOOL_FAILED", {
    detail: `the toolchain root of ${what} cannot be bootstrapped: ${words}`,
  });
}

async function installedPackages(statusFile: string): Promise<InstalledPackage[]> {
  const text = await readFile(statusFile, "utf8");
  const packages = text.split("\n\n").flatMap((block) => {
    const name = /^Package: (.+)$/m.exec(block)?.[1];
    const version = /^Version: (.+)$/m.exec(block)?.[1];
    return name === undefined || version === undefined ? [] : [{ name, version }];
  });
  return packages.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
