/** Help and documentation through a real spell checker: British English, and the words of test/fixtures/words.txt. */
import { execFileSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const WORDS = read("test/fixtures/words.txt").trim().split("\n");

/** Words that neither the dictionary nor our list has. What holds a digit or an underscore is a name. */
function strangeWords(text: string): string[] {
  const said = execFileSync("hunspell", ["-i", "utf-8", "-d", "en_GB", "-l"], {
    input: text,
    encoding: "utf8",
  });
  const known = new Set(WORDS);
  return [...new Set(said.split("\n"))].filter(
    (word) => word !== "" && !/[\d_]/.test(word) && !known.has(word),
  );
}

/** What people read of a page: no code, no addresses. */
function prose(markdown: string): string {
  return markdown
    .replaceAll(/^```[\s\S]*?^```/gm, "")
    .replaceAll(/^ {4}.*$/gm, "")
    .replaceAll(/`[^`]*`/g, " ")
    .replaceAll(/\]\([^)]*\)/g, "] ")
    .replaceAll(/https?:\/\/\S+/g, " ");
}

test("help has no misspelt word", () => {
  expect(strangeWords(read("test/fixtures/help.txt"))).toEqual([]);
});

test.each([
  "README.md",
  "CONTRIBUTING.md",
  "ARCHITECTURE.md",
  ...globSync("docs/*.md", { cwd: ROOT }).toSorted(),
])("%s has no misspelt word", (path) => {
  expect(strangeWords(prose(read(path)))).toEqual([]);
});

test("what is misspelt is found, and the list is sorted, without a word twice", () => {
  expect(strangeWords("a kernal and a modul of kmodfarm")).toEqual(["kernal", "modul"]);
  expect(WORDS).toEqual([...new Set(WORDS)].toSorted());
});
