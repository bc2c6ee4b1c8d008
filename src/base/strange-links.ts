/**
 * Where the links of a tree lead when its top is the root of everything: found by following each of them through
 * all the others, because links that each stay inside can lead out together. Nothing is asked of any disk.
 */

export type Landing =
  | { readonly kind: "inside"; readonly path: string }
  /** Up, beyond the top. */
  | { readonly kind: "outside" }
  /** So much on the way that a kernel gives up, or we do; perhaps a circle. */
  | { readonly kind: "endless" };

/** What a kernel follows at most. */
const LINK_LIMIT = 40;
/** No honest link takes more, and each part blocks everything else in the meantime. */
const PARTS_LIMIT = 512;
/** A path on the way, as long as walking a tree allows one. */
const PATH_LIMIT_BYTES = 2048;
/** The largest packages have some thousand links of some ten parts. */
const TREE_PARTS_LIMIT = 500_000;

/** What following all links of one tree may still cost. */
export interface LinkBudget {
  parts: number;
}

export function linkBudget(): LinkBudget {
  return { parts: TREE_PARTS_LIMIT };
}

/**
 * Where the link at `path` leads. `links` has every link of the tree, path → target; a target that begins with
 * `/` begins at the top. What is not among them counts as a directory, whether it is there or not. Who asks for
 * many links of a tree gives them one budget; when that is spent, every further link is endless.
 */
export function landingOf(
  path: string,
  links: ReadonlyMap<string, string>,
  budget: LinkBudget = linkBudget(),
): Landing {
  /** The path to each directory on the way, the top's first. */
  const reached = [""];
  const ahead: string[] = [];
  let [followed, left] = [0, PARTS_LIMIT];
  /** Answers whether that is within the limits. */
  const follow = (target: string): boolean => {
    const parts = target.split("/").reverse();
    left -= parts.length;
    budget.parts -= parts.length;
    if (left < 0 || budget.parts < 0) return false;
    ahead.push(...parts);
    return true;
  };
  if (!follow(path)) return { kind: "endless" };
  for (let part = ahead.pop(); part !== undefined; part = ahead.pop()) {
    if (part === "" || part === ".") continue;
    if (part === "..") {
      reached.pop();
      if (reached.length === 0) return { kind: "outside" };
      continue;
    }
    const above = reached.at(-1);
    const next = above === "" ? part : `${above}/${part}`;
    if (Buffer.byteLength(next) > PATH_LIMIT_BYTES) return { kind: "endless" };
    const target = links.get(next);
    if (target === undefined) {
      reached.push(next);
      continue;
    }
    if (++followed > LINK_LIMIT || !follow(target)) return { kind: "endless" };
    if (target.startsWith("/")) reached.length = 1;
  }
  return { kind: "inside", path: reached.at(-1) as string };
}
