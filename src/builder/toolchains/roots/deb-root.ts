/**
 * A root while dpkg installs packages into it: they lie in a directory of the box, and none of their programs has a
 * network.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError, saysDiskFull } from "../../../base/error.ts";
import { lastLines, type RunResult } from "../../../base/run.ts";
import type { PackageFile } from "../root-record.ts";
import { handIn, makeBoxRoot, type RootBox, requireTool, runInBox, type Shown } from "./box.ts";
import { bootstrapTimeoutMs, installedList, packageUnknown, type RootPlace } from "./root-method.ts";

/** Documentation and translations take a third of a root and no part in a build. */
export const EXCLUDED = ["man", "locale", "doc", "info"].map((kind) => `/usr/share/${kind}/*`);

/** Where packages lie, below the directory that the box works in. */
export const ARCHIVES = "apt/cache/archives";

export class DebRoot {
  readonly #place: RootPlace;
  readonly #signal: AbortSignal | undefined;

  constructor(place: RootPlace, signal: AbortSignal | undefined) {
    this.#place = place;
    this.#signal = signal;
  }

  /** `lay` puts into the box what else it works with. */
  async open(lay: (archives: string) => Promise<void>): Promise<void> {
    requireTool("dpkg-deb", "dpkg");
    const { work, root } = this.#place;
    await makeBoxRoot(root);
    await mkdir(join(work, ARCHIVES, "partial"), { recursive: true });
    await writeFile(join(work, "excluded"), EXCLUDED.map((path) => `.${path}\n`).join(""));
    await lay(join(work, ARCHIVES));
    await handIn(work);
  }

  /** Installs packages that need each other: laid down first, since none of their scripts works before all are there. */
  async layDown(files: readonly string[]): Promise<void> {
    const laid = await this.box({
      argv: ["sh", "-c", LAY_DOWN, "sh", ...files.map((file) => `/work/${ARCHIVES}/${file}`)],
      shows: [this.work, { ...this.target, isWritable: true }],
    });
    if (laid.exitCode !== 0) throw this.#fault(laid);
    await this.dpkg(["--install", "--force-depends", ...files.map((file) => `/tmp/packages/${file}`)]);
  }

  async dpkg(argv: readonly string[]): Promise<void> {
    const result = await this.box({
      argv: ["dpkg", "--force-unsafe-io", ...EXCLUDED.map((path) => `--path-exclude=${path}`), ...argv],
      shows: [
        { outside: this.#place.root, inside: "/", isWritable: true },
        { outside: join(this.#place.work, ARCHIVES), inside: "/tmp/packages" },
      ],
      env: { DEBIAN_FRONTEND: "noninteractive", DEBCONF_NONINTERACTIVE_SEEN: "true" },
    });
    if (result.exitCode !== 0) throw this.#fault(result);
  }

  /** Asked of this machine's own dpkg. */
  async installed(): Promise<ReturnType<typeof installedList>> {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own template
    const format = "${Package}\\t${Version}\\t${Architecture}\\n";
    const result = await this.box({
      argv: ["dpkg-query", "--admindir=/target/var/lib/dpkg", "-W", "-f", format],
      shows: [this.target],
    });
    if (result.exitCode !== 0) throw this.#fault(result);
    return installedList(result.stdout);
  }

  get work(): Shown {
    return { outside: this.#place.work, inside: "/work" };
  }

  get target(): Shown {
    return { outside: this.#place.root, inside: "/target" };
  }

  box(box: Omit<RootBox, "timeoutMs">): Promise<RunResult> {
    return runInBox({ ...box, timeoutMs: bootstrapTimeoutMs(this.#place) }, this.#signal);
  }

  #fault(result: RunResult): FarmError {
    return bootstrapError(this.#place.what, result);
  }
}

/** Links that lead from /bin to /usr/bin stay, which `dpkg-deb --extract` would replace. */
const LAY_DOWN = `set -e
for package; do
	dpkg-deb --fsys-tarfile "$package" >/tmp/data.tar
	tar --extract --directory=/target --keep-directory-symlink --exclude-from=/work/excluded --file=/tmp/data.tar
done`;

/** What apt calls a package's file. */
export function archiveName({
  name,
  version,
  architecture: own,
}: Pick<PackageFile, "name" | "version" | "architecture">): string {
  return `${[name, version, own].map(quoted).join("_")}.deb`;
}

/** As apt writes what may not stand in a file's name. */
function quoted(word: string): string {
  return word.replaceAll(/[_:%]/g, (one) => `%${one.charCodeAt(0).toString(16)}`);
}

const IS_UNSIGNED = /GPG error|NO_PUBKEY|is not signed|couldn't be verified/;
/** apt's words for an answer that it does not follow: `302  Found [IP: …]`. */
const IS_REDIRECTED = /(?:^|\s)30[12378] {2}\S/m;
const PACKAGE_IS_UNKNOWN =
  /Unable to locate package (?<name>\S+)|Package '?(?<name>[^'\s]+)'? has no installation candidate/;

export function bootstrapError(what: string, { stdout, stderr, timedOut }: RunResult): FarmError {
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
