import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAst } from "rolldown/parseAst";
import { describe, expect, test } from "vitest";

/** Reading order: a folder imports only from itself and from those before it. */
const ORDER = [
  "base",
  "formats",
  "kernel",
  "catalog",
  "matrix",
  "build",
  "check",
  "registry",
  "farm",
  "cli",
] as const;
const PURE = ["formats", "kernel", "matrix"];
const IO = /^node:(fs|child_process|net|tls|dgram|dns|http|https|http2|worker_threads|cluster)(\/|$)/;
const MAY_READ_ENVIRONMENT = /^(cli\/|farm\/config\.ts$)/;

const SRC = join(import.meta.dirname, "..", "src");

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Modules it names: `node:fs`, `zod`, or the path below src/ of another file. */
  readonly imports: readonly string[];
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(SRC, path), "utf8");
  const imports: string[] = [];
  const visit = (node: unknown) => {
    if (typeof node !== "object" || node === null) return;
    // Static, re-exporting and dynamic imports, those of types alone included.
    if ("source" in node && typeof node.source === "object" && node.source !== null && "value" in node.source)
      imports.push(resolve(path, String(node.source.value)));
    for (const child of Object.values(node)) visit(child);
  };
  visit(parseAst(text, { lang: "ts", sourceType: "module" }, path));
  return { path, text, imports };
}

function resolve(from: string, specifier: string): string {
  return specifier.startsWith(".") ? join(from, "..", specifier) : specifier;
}

const folderOf = (path: string) => path.split("/")[0] ?? "";
const rank = (path: string) => (ORDER as readonly string[]).indexOf(folderOf(path));
const FILES = globSync("**/*.ts", { cwd: SRC })
  .filter((path) => !path.endsWith(".test.ts"))
  .sort()
  .map(readSource);

describe("the source", () => {
  test("lies in the folders of the reading order, and is read here", () => {
    expect(FILES.length).toBeGreaterThan(50);
    expect([...new Set(FILES.map(({ path }) => folderOf(path)))].toSorted()).toEqual(ORDER.toSorted());
    expect(FILES.find(({ path }) => path === "base/run.ts")?.imports).toContain("node:child_process");
  });

  test("imports only from the same folder and from those before it", () => {
    const upward = FILES.flatMap(({ path, imports }) =>
      imports
        .filter((target) => target.endsWith(".ts") && rank(target) > rank(path))
        .map((target) => `${path} → ${target}`),
    );

    expect(upward).toEqual([]);
  });

  test("has no circle of imports", () => {
    const waiting = new Map(FILES.map(({ path, imports }) => [path, imports]));
    for (let before = -1; before !== waiting.size; ) {
      before = waiting.size;
      for (const [path, imports] of waiting)
        if (!imports.some((target) => waiting.has(target))) waiting.delete(path);
    }

    expect([...waiting.keys()], "in a circle, or after one").toEqual([]);
  });

  test(`does no input or output in ${PURE.join(", ")}`, () => {
    const impure = FILES.filter(({ path }) => PURE.includes(folderOf(path))).flatMap(({ path, imports }) =>
      imports.filter((target) => IO.test(target)).map((target) => `${path} → ${target}`),
    );

    expect(impure).toEqual([]);
  });

  test("starts programs in one place", () => {
    const starters = FILES.filter(({ imports }) => imports.includes("node:child_process"));

    expect(starters.map(({ path }) => path)).toEqual(["base/run.ts"]);
  });

  test("reads the environment at its edge only", () => {
    const readers = FILES.filter(({ text }) =>
      /\bprocess\s*\.\s*env\b|\benv\b[^;]*from "node:process"/.test(text),
    );

    expect(readers.map(({ path }) => path).filter((path) => !MAY_READ_ENVIRONMENT.test(path))).toEqual([]);
  });

  test("says of every rejection that is passed over why nothing is lost", () => {
    const silent = FILES.flatMap(({ path, text }) => {
      const lines = text.split("\n");
      return lines.flatMap((line, index) => {
        const around = lines.slice(Math.max(0, index - 3), index + 1).join("\n");
        return /\.catch\(\(\) => \{\}\)/.test(line) && !/\/\/ |\*\/$/m.test(around)
          ? [`${path}:${index + 1}`]
          : [];
      });
    });

    expect(silent).toEqual([]);
  });

  test("begins each file with what it is for", () => {
    const silent = FILES.filter(({ text }) => !/^\/\*\*[\s*]+[^\s*/]/.test(text));

    expect(silent.map(({ path }) => path)).toEqual([]);
  });
});
