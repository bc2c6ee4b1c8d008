/**
 * Roots of Debian and its like: apt finds and fetches packages, verified, with the network and none of their programs;
 * the root's own dpkg installs them, with nothing but the root.
 */

import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { FarmError, saysDiskFull } from "../../../base/error.ts";
import { lastLines, type RunResult } from "../../../base/run.ts";
import { architecture } from "../../../kernel/architecture.ts";
import type { InstalledPackage } from "../../records.ts";
import { handIn, makeBoxRoot, type RootBox, requireTool, runInBox, type Shown } from "./box.ts";
import {
  bootstrapTimeoutMs,
  type DebMirror,
  installedList,
  type MadeRoot,
  packageUnknown,
  type RootContext,
  type RootMethod,
  type RootSpec,
} from "./root-method.ts";

/** Documentation and translations take a third of a root and no part in a build. */
const EXCLUDED = ["man", "locale", "doc", "info"].map((kind) => `/usr/share/${kind}/*`);

/** In the words of mmdebstrap, which made the first roots: their names come from this, and they are good still. */
const OPTIONS = [
  "--variant=essential",
  '--aptopt=Acquire::Languages "none"',
  ...EXCLUDED.map((path) => `--dpkgopt=path-exclude=${path}`),
];

export const apt: RootMethod<DebMirror> = { format: "deb", options: OPTIONS, make };

const ARCHIVES = "apt/cache/archives";

async function make(
  spec: RootSpec,
  mirror: DebMirror,
  _context: RootContext,
  signal?: AbortSignal,
): Promise<MadeRoot> {
  requireTool("apt-get", "apt");
  requireTool("dpkg-deb", "dpkg");
  const root = new DebRoot(spec, mirror, signal);
  await root.open();
  const { suite } = mirror.lines[0];
  const name = architecture(spec.builder).debian;
  await root.makeEssential(
    `?narrow(?or(?archive(^${suite}$),?codename(^${suite}$)),?architecture(${name}),?essential)`,
  );
  const notes = await root.addWanted();
  return { packages: await root.installed(), notes };
}

/** What apt means to do, in its order: to unpack a package, or to configure it. */
interface Step {
  readonly kind: "unpack" | "configure";
  readonly name: string;
  /** As apt calls it in its archive. */
  readonly file: string;
}

class DebRoot {
  readonly #spec: RootSpec;
  readonly #mirror: DebMirror;
  readonly #signal: AbortSignal | undefined;

  constructor(spec: RootSpec, mirror: DebMirror, signal: AbortSignal | undefined) {
    this.#spec = spec;
    this.#mirror = mirror;
    this.#signal = signal;
  }

  /** Reads the signed indices. */
  async open(): Promise<void> {
    const { work, root } = this.#spec;
    await makeBoxRoot(root);
    for (const name of ["apt/lists/partial", `${ARCHIVES}/partial`])
      await mkdir(join(work, name), { recursive: true });
    const keyring = `keyring${extname(this.#mirror.keyring)}`;
    await copyFile(this.#mirror.keyring, join(work, keyring)).catch((cause: NodeJS.ErrnoException) => {
      throw new FarmError("FILE_UNREADABLE", {
        detail: `the keyring ${this.#mirror.keyring} cannot be read (${cause.code})`,
        cause,
      });
    });
    const lines = this.#mirror.lines.map(
      ({ url, suite, components }) =>
        `deb [signed-by=/work/${keyring}] ${url} ${suite} ${components.join(" ")}`,
    );
    await writeFile(join(work, "excluded"), EXCLUDED.map((path) => `.${path}\n`).join(""));
    await writeFile(join(work, "sources.list"), `${lines.join("\n")}\n`);
    await writeFile(join(work, "apt.conf"), aptConfiguration(this.#spec, this.#mirror));
    // The status of a root that holds nothing yet.
    await writeFile(join(work, "empty"), "");
    await handIn(work);
    const updated = await this.#apt(["--error-on=any", "update"], "/work/empty");
    if (updated.exitCode !== 0) throw this.#fault(updated);
  }

  /** What every package counts on: laid down first, since none of their scripts works before all are there. */
  async makeEssential(pattern: string): Promise<void> {
    const steps = await this.#fetch([pattern], "/work/empty");
    const files = steps.filter(({ kind }) => kind === "unpack").map(({ file }) => file);
    const laid = await this.#box({
      argv: ["sh", "-c", LAY_DOWN, "sh", ...files.map((file) => `/work/${ARCHIVES}/${file}`)],
      shows: [this.#work, { ...this.#target, isWritable: true }],
    });
    if (laid.exitCode !== 0) throw this.#fault(laid);
    await this.#dpkg(["--install", "--force-depends", ...files.map((file) => `/tmp/packages/${file}`)]);
  }

  /** Whatever is wanted, in the locked versions while the mirror has them. */
  async addWanted(): Promise<string[]> {
    const { lock, what } = this.#spec;
    const { names, notes } = await this.#obtainable();
    const locked = names.map((name) => (lock.has(name) ? `${name}=${lock.get(name)}` : name));
    const steps = await this.#fetch(locked, STATUS).catch((thrown) => {
      if (lock.size === 0 || !(thrown instanceof FarmError) || !LOCK_IS_GONE.test(thrown.message))
        throw thrown;
      notes.push(
        `${what}: the mirror no longer has the versions of packages.lock; the newest versions are used`,
      );
      return this.#fetch(names, STATUS);
    });
    for (const { kind, some } of runsOf(steps)) {
      const each = some.map(({ name, file }) => (kind === "unpack" ? `/tmp/packages/${file}` : name));
      await this.#dpkg([`--${kind}`, ...each]);
    }
    return notes;
  }

  /** Names of what is wanted, without optional packages that cannot be had beside the others. */
  async #obtainable(): Promise<{ readonly names: string[]; readonly notes: string[] }> {
    const { packages, what } = this.#spec;
    const names = packages.filter(({ isOptional }) => !isOptional).map(({ name }) => name);
    const notes: string[] = [];
    for (const { name } of packages.filter(({ isOptional }) => isOptional)) {
      const planned = await this.#apt(["--simulate", "install", "--", ...names, name], STATUS);
      if (planned.exitCode === 0) names.push(name);
      else notes.push(`${what}: its mirror has no installable ${name}`);
    }
    return { names, notes };
  }

  /** Asked of this machine's own dpkg. */
  async installed(): Promise<InstalledPackage[]> {
    const result = await this.#box({
      // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own template
      argv: ["dpkg-query", "--admindir=/target/var/lib/dpkg", "-W", "-f", "${Package}\\t${Version}\\n"],
      shows: [this.#target],
    });
    if (result.exitCode !== 0) throw this.#fault(result);
    return installedList(result.stdout);
  }

  /** Has packages fetched, with what they need beside what is there. */
  async #fetch(wanted: readonly string[], status: string): Promise<Step[]> {
    const install = ["install", "--", ...wanted];
    const fetched = await this.#apt(["--yes", "--download-only", ...install], status);
    if (fetched.exitCode !== 0) throw this.#fault(fetched);
    const planned = await this.#apt(["--simulate", ...install], status);
    if (planned.exitCode !== 0) throw this.#fault(planned);
    return stepsOf(planned.stdout);
  }

  #apt(argv: readonly string[], status: string): Promise<RunResult> {
    return this.#box({
      argv: ["apt-get", `--option=Dir::State::status=${status}`, ...argv],
      shows: [{ ...this.#work, isWritable: true }, this.#target],
      hasNetwork: true,
      env: { APT_CONFIG: "/work/apt.conf" },
    });
  }

  async #dpkg(argv: readonly string[]): Promise<void> {
    const result = await this.#box({
      argv: ["dpkg", "--force-unsafe-io", ...EXCLUDED.map((path) => `--path-exclude=${path}`), ...argv],
      shows: [
        { outside: this.#spec.root, inside: "/", isWritable: true },
        { outside: join(this.#spec.work, ARCHIVES), inside: "/tmp/packages" },
      ],
      env: { DEBIAN_FRONTEND: "noninteractive", DEBCONF_NONINTERACTIVE_SEEN: "true" },
    });
    if (result.exitCode !== 0) throw this.#fault(result);
  }

  get #work(): Shown {
    return { outside: this.#spec.work, inside: "/work" };
  }

  get #target(): Shown {
    return { outside: this.#spec.root, inside: "/target" };
  }

  #box(box: Omit<RootBox, "timeoutMs">): Promise<RunResult> {
    return runInBox({ ...box, timeoutMs: bootstrapTimeoutMs(this.#spec) }, this.#signal);
  }

  #fault(result: RunResult): FarmError {
    return bootstrapError(this.#spec.what, result);
  }
}

const STATUS = "/target/var/lib/dpkg/status";

/** Links that lead from /bin to /usr/bin stay, which `dpkg-deb --extract` would replace. */
const LAY_DOWN = `set -e
for package; do
	dpkg-deb --fsys-tarfile "$package" >/tmp/data.tar
	tar --extract --directory=/target --keep-directory-symlink --exclude-from=/work/excluded --file=/tmp/data.tar
done`;

/** Nothing of this machine's own apt takes part: the box has no /etc/apt. */
function aptConfiguration({ builder }: RootSpec, { acceptExpired }: DebMirror): string {
  const name = architecture(builder).debian;
  const settings: readonly (readonly [string, string])[] = [
    ["Dir", "/work/apt"],
    ["Dir::State", "/work/apt"],
    ["Dir::State::lists", "lists"],
    ["Dir::Cache", "/work/apt/cache"],
    ["Dir::Log", "/work/apt"],
    ["Dir::Etc::SourceList", "/work/sources.list"],
    ...["SourceParts", "Main", "Parts", "Preferences", "PreferencesParts", "Trusted", "TrustedParts"].map(
      (name): readonly [string, string] => [`Dir::Etc::${name}`, "/dev/null"],
    ),
    // All of it is this run's own.
    ["Debug::NoLocking", "true"],
    ["APT::Architecture", name],
    ["APT::Architectures", name],
    ["APT::Install-Recommends", "false"],
    // The box's root is nobody already, and has no user `_apt`.
    ["APT::Sandbox::User", "root"],
    // apt itself is not one of them.
    ["pkgCacheGen::ForceEssential", ","],
    ["Acquire::Languages", "none"],
    // They would lead from the mirror to whatever this machine reaches.
    ["Acquire::http::AllowRedirect", "false"],
    ["Acquire::https::AllowRedirect", "false"],
    ...(acceptExpired ? ([["Acquire::Check-Valid-Until", "false"]] as const) : []),
  ];
  return settings.map(([key, value]) => `${key} "${value}";\n`).join("");
}

/** apt's words: `Inst libc6 (2.36-9 Debian:12/stable [amd64])`, `Conf libc6 (…)`. */
function stepsOf(text: string): Step[] {
  return text.split("\n").flatMap((line): Step[] => {
    const [, word, name, version = "", own = ""] =
      /^(Inst|Conf) (\S+) (?:\[\S+\] )?\((\S+) .*?\[(\S+)\]\)/.exec(line) ?? [];
    if (name === undefined) return [];
    const file = `${[name.split(":")[0] ?? "", version, own].map(quoted).join("_")}.deb`;
    return [{ kind: word === "Inst" ? "unpack" : "configure", name, file }];
  });
}

/** As apt writes what may not stand in a file's name. */
function quoted(word: string): string {
  return word.replaceAll(/[_:%]/g, (one) => `%${one.charCodeAt(0).toString(16)}`);
}

/** Neighbours of one kind together: dpkg does a run of them at once. */
function runsOf(steps: readonly Step[]): { readonly kind: Step["kind"]; readonly some: Step[] }[] {
  const runs: { kind: Step["kind"]; some: Step[] }[] = [];
  for (const step of steps) {
    const last = runs.at(-1);
    if (last?.kind === step.kind) last.some.push(step);
    else runs.push({ kind: step.kind, some: [step] });
  }
  return runs;
}

/** apt's words for a version that it does not have. */
const LOCK_IS_GONE = /Version '[^']*' for '[^']*' was not found/;
const IS_UNSIGNED = /GPG error|NO_PUBKEY|is not signed|couldn't be verified/;
/** apt's words for an answer that it does not follow: `302  Found [IP: …]`. */
const IS_REDIRECTED = /(?:^|\s)30[12378] {2}\S/m;
const PACKAGE_IS_UNKNOWN =
  /Unable to locate package (?<name>\S+)|Package '?(?<name>[^'\s]+)'? has no installation candidate/;

function bootstrapError(what: string, { stdout, stderr, timedOut }: RunResult): FarmError {
  const said = stderr.trim() === "" ? stdout : stderr;
  const causes = said.split("\n").filter((line) => /^(Err|W|E|dpkg):/.test(line));
  const words = lastLines(causes.length > 0 ? causes.join("\n") : said, 4);
  if (saysDiskFull(`${stdout}\n${stderr}`))
    return new FarmError("DISK_FULL", {
      detail: `the toolchain root of ${what} cannot be bootstrapped: there is no space left in the cache's file system`,
      hint: "Free some space, or move --cache elsewhere.",
    });
  if (timedOut)
    return new FarmError("TIMED_OUT", {
      detail: `bootstrapping the toolchain root of ${what} took too long`,
    });
  const unknown = PACKAGE_IS_UNKNOWN.exec(stderr)?.groups?.name;
  if (unknown !== undefined) return packageUnknown(what, unknown);
  if (IS_REDIRECTED.test(said))
    return new FarmError("REMOTE_UNAVAILABLE", {
      detail: `the mirror of ${what} redirects elsewhere, and apt does not follow redirects here; configure the mirror that it leads to: ${words}`,
    });
  if (IS_UNSIGNED.test(said))
    return new FarmError("SIGNATURE_INVALID", {
      detail: `the mirror of ${what} cannot be trusted: ${words}`,
    });
  const remote = /Failed to fetch|Could not connect|Temporary failure|Unable to fetch/i.test(stderr);
  return new FarmError(remote ? "REMOTE_UNAVAILABLE" : "TOOL_FAILED", {
    detail: `the toolchain root of ${what} cannot be bootstrapped: ${words}`,
  });
}
