import { spawnSync } from "node:child_process";
import { mkdirSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { landingOf, linkBudget } from "./strange-links.ts";

const landing = (path: string, links: Record<string, string>) =>
  landingOf(path, new Map(Object.entries(links)));

describe("landingOf", () => {
  test.each<[string, Record<string, string>, string]>([
    ["a/link", { "a/link": "b" }, "a/b"],
    ["a/link", { "a/link": "../b/./c//d" }, "b/c/d"],
    ["a/link", { "a/link": "/b" }, "b"],
    ["a/link", { "a/link": "x/y", "a/x": "../c" }, "c/y"],
    ["a/b/link", { "a/b/link": "up/..", "a/b/up": "/c/d" }, "c"],
    ["link", { link: "." }, ""],
  ])("follows %s of %j to %j", (path, links, expected) => {
    expect(landing(path, links)).toEqual({ kind: "inside", path: expected });
  });

  test.each<[string, Record<string, string>]>([
    ["link", { link: ".." }],
    ["a/link", { "a/link": "../../b" }],
    ["a/link", { "a/link": "/../b" }],
    // Each stays inside; together they do not.
    ["usr/d/d/x", { "usr/d/d/l": "../../..", "usr/d/d/x": "l/../etc" }],
    ["a/b/x", { "a/b/l": "/", "a/b/x": "l/.." }],
    ["a/b/x", { "a/b/x": "y/../..", "a/b/y": "/z" }],
  ])("finds that %s of %j leads out", (path, links) => {
    expect(landing(path, links)).toEqual({ kind: "outside" });
  });

  test("gives up on circles and on long ways", () => {
    const long = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`l${index}`, `l${index + 1}`]));

    expect(landing("a", { a: "b", b: "a" })).toEqual({ kind: "endless" });
    expect(landing("l0", long)).toEqual({ kind: "endless" });
    expect(landing("l20", long)).toEqual({ kind: "inside", path: "l50" });
  });

  test("gives up at once on long targets that follow one another", () => {
    const pad = "/a".repeat(2040);
    const links = Object.fromEntries(
      Array.from({ length: 6 }, (_, index) => [`l${index}`, `l${index + 1}${pad}`]),
    );
    const before = performance.now();

    expect(landing("l0", links)).toEqual({ kind: "endless" });
    expect(landing("x", { x: `${"y".repeat(250)}/`.repeat(12) })).toEqual({ kind: "endless" });
    expect(performance.now() - before).toBeLessThan(500);
  });

  test("gives up on a tree whose links take too long together", () => {
    const links = new Map(Array.from({ length: 3000 }, (_, index) => [`l${index}`, "a/".repeat(200)]));
    const budget = linkBudget();
    const kinds = [...links.keys()].map((path) => landingOf(path, links, budget).kind);

    expect(kinds.slice(0, 2000)).not.toContain("endless");
    expect(new Set(kinds.slice(2500))).toEqual(new Set(["endless"]));
  });

  test("agrees with a kernel that has the tree as its root", { timeout: 60_000 }, async () => {
    const part = fc.constantFrom("a", "b", "d", "..", ".");
    const target = fc
      .tuple(fc.boolean(), fc.array(part, { minLength: 1, maxLength: 5 }))
      .map(([isAbsolute, parts]) => `${isAbsolute ? "/" : ""}${parts.join("/")}`);
    const place = fc.constantFrom("p", "q", "d/a", "d/p", "d/d/q", "d/d/b");
    let compared = 0;
    for (const links of fc.sample(fc.dictionary(place, target, { minKeys: 2 }), { numRuns: 40, seed: 7 })) {
      const root = await temporaryDirectory();
      mkdirSync(join(root, "d/d"), { recursive: true });
      for (const [path, to] of Object.entries(links)) symlinkSync(to, join(root, path));
      const inside = Object.keys(links).flatMap((path) => {
        const ours = landing(path, links);
        return ours.kind === "inside" ? [{ path, ours: ours.path }] : [];
      });
      for (const { ours } of inside) mkdirSync(join(root, ours), { recursive: true });

      const seen = inodesBelow(
        root,
        inside.map(({ path }) => path),
      );

      for (const { path, ours } of inside) {
        const theirs = seen.get(path);
        if (theirs === undefined) continue; // A directory on its way is not there.
        compared++;
        expect(theirs, `${path} of ${JSON.stringify(links)}`).toBe(statSync(join(root, ours)).ino);
      }
    }
    expect(compared).toBeGreaterThan(30);
  });
});

/** What each path leads to in a box whose root is this directory; absent ones are left out. */
function inodesBelow(root: string, paths: readonly string[]): Map<string, number> {
  const system = ["/usr", "/lib", "/lib64"].flatMap((name) => ["--ro-bind-try", name, name]);
  const stat = ["/usr/bin/stat", "--dereference", "--format=%i %n", "--", ...paths];
  const { stdout } = spawnSync("bwrap", ["--bind", root, "/", ...system, "--chdir", "/", ...stat]);
  const lines = stdout.toString().split("\n").filter(Boolean);
  return new Map(lines.map((line) => [line.replace(/^\d+ /, ""), Number.parseInt(line, 10)]));
}
