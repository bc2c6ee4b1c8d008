/**
 * Where the links of a tree lead when its top is the root of everything: found by following each of them through
 * all the others, because links that each stay inside can lead out together. Nothing is asked of any disk.
 */

export type Landing =
  | { readonly kind: "inside"; readonly path: string }
  /** Up, beyond the top. */
  | { readonly kind: "outside" }
  /** So many links on the way that a kernel gives up; perhaps a circle. */
  | { readonly kind: "endless" };

/** What a kernel follows at most. */
const LINK_LIMIT = 40;

/**
 * Where the link at `path` leads. `links` has every link of the tree, path → target; a target that begins with
 * `/` begins at the top. What is not among them counts as a directory, whether it is there or not.
 */
export function landingOf(path: string, links: ReadonlyMap<string, string>): Landing {
  const reached: string[] = [];
  const ahead = path.split("/").reverse();
  for (let followed = 0, part = ahead.pop(); part !== undefined; part = ahead.pop()) {
    if (part === "" || part === ".") continue;
    if (part === "..") {
      if (reached.pop() === undefined) return { kind: "outside" };
      continue;
    }
    const target = links.get([...reached, part].join("/"));
    if (target === undefined) {
      reached.push(part);
      continue;
    }
    if (++followed > LINK_LIMIT) return { kind: "endless" };
    if (target.startsWith("/")) reached.length = 0;
    ahead.push(...target.split("/").reverse());
  }
  return { kind: "inside", path: reached.join("/") };
}
