/**
 * Where this machine's programs are: first on the PATH of whoever started us, then in the usual directories. So they may
 * be anywhere (Nix, Homebrew, /opt), and a box then has to show more than the system's directories.
 */
import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";

const USUAL = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/** What every box shows, however a distribution links it. */
const SYSTEM = /^\/(usr|bin|sbin|lib|lib64)\//;
/** Stores whose programs find each other by absolute paths. */
const WHOLE_STORES = ["/nix/store", "/gnu/store"];
/** What programs find beside the directory that they are in. All of `share` may hold what is nobody's business. */
const BESIDE = ["lib", "lib64", "libexec", "share/qemu", "share/git-core"];

let own: readonly string[] = [];

/** Has programs found on a PATH first. What is relative in it would be whatever directory a program is started in. */
export function searchFirst(path = ""): void {
  own = path.split(":").filter((directory) => isAbsolute(directory) && !USUAL.includes(directory));
}

/** The PATH that programs are started with. */
export function searchPath(): string {
  return [...own, ...USUAL].join(":");
}

/** The path of a program, or undefined where there is none of that name. */
export function findProgram(program: string): string | undefined {
  const places = program.includes("/")
    ? [program]
    : [...own, ...USUAL].map((directory) => join(directory, program));
  return places.find((path) => existsSync(path));
}

export function isInstalled(program: string): boolean {
  return findProgram(program) !== undefined;
}

/** A program as a box starts it, and what bwrap must show for it beside the system's directories. */
export function boxedProgram(program: string): { readonly path: string; readonly shows: readonly string[] } {
  const found = findProgram(program);
  if (found === undefined || SYSTEM.test(found)) return { path: program, shows: [] };
  // The links of a profile would lead through directories that a box does not have.
  const path = realpathSync(found);
  return { path, shows: SYSTEM.test(path) ? [] : placesOf(path).flatMap(showing) };
}

function placesOf(path: string): string[] {
  const store = WHOLE_STORES.find((one) => path.startsWith(`${one}/`));
  if (store !== undefined) return [store];
  const directory = dirname(path);
  const beside = /^s?bin$/.test(basename(directory)) ? BESIDE.map((name) => join(directory, "..", name)) : [];
  return [directory, ...beside.filter((one) => existsSync(one))];
}

/** What bwrap makes on the way to a mount is closed to all but root. */
function showing(path: string): string[] {
  const above: string[] = [];
  for (let at = dirname(path); at !== "/"; at = dirname(at)) above.unshift("--dir", at);
  return [...above, "--ro-bind", path, path];
}
