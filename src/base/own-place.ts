/**
 * Whether a place is its user's own. Where somebody else owns a directory, or everybody may write to it, any path below it is a
 * link to anywhere by the time it is opened.
 */
import { readFileSync } from "node:fs";
import { lstat, readlink, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve, sep } from "node:path";

/** In a directory with this bit, entries are their makers' alone. */
const STICKY = 0o1000;
export const OTHERS_WRITE = 0o002;

/** This user, root, and who became root by sudo. */
export function ownUsers(): ReadonlySet<number | undefined> {
  const { SUDO_UID = "" } = process.env;
  const own = process.getuid?.();
  return new Set([own, 0, ...(own === 0 && /^\d{1,10}$/.test(SUDO_UID) ? [Number(SUDO_UID)] : [])]);
}

/** These, and to whom these places belong. */
export async function ownUsersAnd(places: readonly string[]): Promise<ReadonlySet<number | undefined>> {
  const owners = places.map(async (path) => (await lstat(path).catch(() => undefined))?.uid);
  return new Set([...ownUsers(), ...(await Promise.all(owners))]);
}

/**
 * Who besides these users can put something else there: a fact in words, or undefined if nobody can, or nothing is there. A
 * link counts with what it leads to. What we made (`isMade`) must be there: one who takes his own away for a moment, and
 * brings it back, would pass.
 */
export async function strangerAt(
  path: string,
  trusted: ReadonlySet<number | undefined>,
  isMade = false,
): Promise<string | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return isMade ? `${path} is not there any more` : undefined;
  const target = found.isSymbolicLink() ? await stat(path).catch(() => undefined) : found;
  for (const { uid } of target === undefined ? [found] : [found, target])
    if (!trusted.has(uid)) return `${path} belongs to another user (${uid})`;
  const isOpen = target?.isDirectory() && (target.mode & OTHERS_WRITE) !== 0 && (target.mode & STICKY) === 0;
  return isOpen ? `everybody may replace what is in ${path}` : undefined;
}

/** The same where nobody else may even add something, or change a file. */
export async function otherWriterAt(
  path: string,
  trusted: ReadonlySet<number | undefined>,
  isMade = false,
): Promise<string | undefined> {
  const fact = await strangerAt(path, trusted, isMade);
  if (fact !== undefined) return fact;
  const target = await stat(path).catch(() => undefined);
  const isOpen = target !== undefined && (target.mode & OTHERS_WRITE) !== 0;
  return isOpen ? `everybody may write to ${path}` : undefined;
}

/** As the kernel follows them. */
const MOST_LINKS = 40;

/**
 * Who could put something else in the place of a path by what lies on the way to it, links that it goes through included. What
 * is not there yet is nobody's.
 */
export async function strangerAbove(
  path: string,
  trusted: ReadonlySet<number | undefined>,
): Promise<string | undefined> {
  const { last, way } = await wayTo(resolve(path));
  for (const one of way) {
    if (one === last || (await isUnmapped(one))) continue;
    const fact = await strangerAt(one, trusted);
    if (fact !== undefined) return fact;
  }
  return undefined;
}

/** Everything that is opened to get there, in its order, and the very place, if it is there. */
async function wayTo(path: string): Promise<{ readonly way: readonly string[]; readonly last?: string }> {
  const way = ["/"];
  const names = path.split(sep);
  let [at, links] = ["/", 0];
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      at = dirname(at);
      continue;
    }
    const next = join(at, name);
    const status = await lstat(next).catch(() => undefined);
    if (status === undefined) return { way };
    way.push(next);
    if (!status.isSymbolicLink()) at = next;
    else {
      const target = await readlink(next);
      if (++links > MOST_LINKS) return { way };
      if (isAbsolute(target)) at = "/";
      names.unshift(...target.split(sep));
    }
  }
  return { way, last: at };
}

/** In a user namespace, what belongs to users of the machine around it has no owner that could be told. */
async function isUnmapped(path: string): Promise<boolean> {
  const [, , count] = readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/);
  if (Number(count) >= 2 ** 32 - 1) return false;
  const nobody = Number(readFileSync("/proc/sys/kernel/overflowuid", "utf8"));
  return (await lstat(path).catch(() => undefined))?.uid === nobody;
}
