/**
 * Roots of Debian and its like: apt finds and fetches packages, verified, with the network and none of their programs;
 * the root's own dpkg installs them, with nothing but the root (deb-root.ts).
 */

import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import type { RunResult } from "../../../base/run.ts";
import { formatSize } from "../../../base/size.ts";
import { architecture } from "../../../kernel/architecture.ts";
import { requireTool } from "./box.ts";
import { ARCHIVES, archiveName, bootstrapError, DebRoot, EXCLUDED } from "./deb-root.ts";
import {
  type DebMirror,
  keepFiles,
  type MadeRoot,
  type RootContext,
  type RootMethod,
  type RootPlace,
  type RootSpec,
} from "./root-method.ts";

/** In the words of mmdebstrap, which made the first roots: their names come from this, and they are good still. */
const OPTIONS = [
  "--variant=essential",
  '--aptopt=Acquire::Languages "none"',
  ...EXCLUDED.map((path) => `--dpkgopt=path-exclude=${path}`),
];

export const apt: RootMethod<DebMirror> = { format: "deb", options: OPTIONS, make, remake };

async function make(
  spec: RootSpec,
  mirror: DebMirror,
  { say }: RootContext,
  signal?: AbortSignal,
): Promise<MadeRoot> {
  requireTool("apt-get", "apt");
  const making = new AptRoot(spec, mirror, say, signal);
  await making.open();
  const { suite } = mirror.lines[0];
  const name = architecture(spec.builder).debian;
  await making.makeEssential(
    `?narrow(?or(?archive(^${suite}$),?codename(^${suite}$)),?architecture(${name}),?essential)`,
  );
  const notes = await making.addWanted();
  return { ...(await making.installed()), notes };
}

/** All are laid down first, as essential ones are, so that dpkg may configure them in whatever order it finds. */
async function remake(place: RootPlace, packages: readonly string[], signal?: AbortSignal) {
  const root = new DebRoot(place, signal);
  // Nothing of what a stranger calls his packages becomes a path.
  const files = packages.map((_, index) => `${index}.deb`);
  await root.open(async (archives) => {
    for (const [index, file] of packages.entries()) await copyFile(file, join(archives, `${index}.deb`));
  });
  await root.layDown(files);
  return (await root.installed()).map(({ name, version }) => ({ name, version }));
}

/** What apt means to do, in its order: to unpack a package, or to configure it. */
interface Step {
  readonly kind: "unpack" | "configure";
  readonly name: string;
  /** As apt calls it in its archive. */
  readonly file: string;
}

class AptRoot {
  readonly #spec: RootSpec;
  readonly #mirror: DebMirror;
  readonly #say: RootContext["say"];
  readonly #root: DebRoot;
  /** Where packages are fetched, by the names of their files. */
  readonly #places = new Map<string, string>();

  constructor(spec: RootSpec, mirror: DebMirror, say: RootContext["say"], signal: AbortSignal | undefined) {
    this.#spec = spec;
    this.#mirror = mirror;
    this.#say = say;
    this.#root = new DebRoot(spec, signal);
  }

  /** Reads the signed indices. */
  async open(): Promise<void> {
    const { work } = this.#spec;
    await this.#root.open(async () => {
      await mkdir(join(work, "apt/lists/partial"), { recursive: true });
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
      await writeFile(join(work, "sources.list"), `${lines.join("\n")}\n`);
      await writeFile(join(work, "apt.conf"), aptConfiguration(this.#spec, this.#mirror));
      // The status of a root that holds nothing yet.
      await writeFile(join(work, "empty"), "");
    });
    const updated = await this.#apt(["--error-on=any", "update"], "/work/empty");
    if (updated.exitCode !== 0) throw this.#fault(updated);
  }

  /** What every package counts on. */
  async makeEssential(pattern: string): Promise<void> {
    const steps = await this.#fetch([pattern], "/work/empty");
    await this.#root.layDown(steps.filter(({ kind }) => kind === "unpack").map(({ file }) => file));
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
      await this.#root.dpkg([`--${kind}`, ...each]);
    }
    return notes;
  }

  async installed(): Promise<Pick<MadeRoot, "packages" | "files">> {
    const installed = await this.#root.installed();
    const fetched = installed.map((one) => {
      const file = archiveName(one);
      return { ...one, path: `${ARCHIVES}/${file}`, place: this.#places.get(file) ?? "" };
    });
    const packages = installed.map(({ name, version }) => ({ name, version }));
    return { packages, files: await keepFiles(fetched, this.#spec) };
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

  /** Has packages fetched, with what they need beside what is there. */
  async #fetch(wanted: readonly string[], status: string): Promise<Step[]> {
    const install = ["install", "--", ...wanted];
    const listed = await this.#apt(["--yes", "--print-uris", ...install], status);
    let [count, bytes] = [0, 0];
    for (const [, url = "", file = "", size = ""] of listed.stdout.matchAll(/^'(\S+)' (\S+) (\d+) /gm)) {
      this.#places.set(file, withoutUser(url));
      count++;
      bytes += Number(size);
    }
    this.#say?.(
      `toolchain of ${this.#spec.what}: fetching ${counted(count, "package")}, ${formatSize(bytes)}`,
    );
    const fetched = await this.#apt(["--yes", "--download-only", ...install], status);
    if (fetched.exitCode !== 0) throw this.#fault(fetched);
    const planned = await this.#apt(["--simulate", ...install], status);
    if (planned.exitCode !== 0) throw this.#fault(planned);
    return stepsOf(planned.stdout);
  }

  #apt(argv: readonly string[], status: string): Promise<RunResult> {
    return this.#root.box({
      argv: ["apt-get", `--option=Dir::State::status=${status}`, ...argv],
      shows: [{ ...this.#root.work, isWritable: true }, this.#root.target],
      hasNetwork: true,
      env: { APT_CONFIG: "/work/apt.conf" },
    });
  }

  #fault(result: RunResult): FarmError {
    return bootstrapError(this.#spec.what, result);
  }
}

const STATUS = "/target/var/lib/dpkg/status";

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
    const file = archiveName({ name: name.split(":")[0] ?? "", version, architecture: own });
    return [{ kind: word === "Inst" ? "unpack" : "configure", name, file }];
  });
}

/** A place is published; who may fetch from it is not. */
function withoutUser(place: string): string {
  const url = URL.parse(place);
  if (url === null) return "";
  url.username = "";
  url.password = "";
  return url.href;
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
