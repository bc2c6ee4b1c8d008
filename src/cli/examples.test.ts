import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import type { CommandDefinition } from "./command.ts";
import { COMMANDS } from "./commands/index.ts";
import { TAUGHT } from "./examples.ts";
import { runProgram, wholeProgram } from "./program.ts";

/** The same commands, which do nothing. */
function idle(commands: readonly CommandDefinition[]): CommandDefinition[] {
  return commands.map(({ run, commands: below = [], ...rest }) => ({
    ...rest,
    ...(run === undefined ? {} : { run: async () => 0 }),
    commands: idle(below),
  }));
}

/** Words as a shell has them, up to what it does with the output. */
function wordsOf(line: string): string[] {
  const [before = ""] = line.split(" > ");
  return (before.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'(.*)'$/, "$1"));
}

function paths(commands: readonly CommandDefinition[], above = ""): string[] {
  return commands.flatMap(({ name, run, commands: below = [] }) => [
    ...(run === undefined ? [] : [`${above}${name}`]),
    ...paths(below, `${above}${name} `),
  ]);
}

describe("what --help shows beside options", () => {
  test("is there for every command, and for no other", () => {
    expect(Object.keys(TAUGHT).toSorted()).toEqual([...paths(COMMANDS), "help", "completion"].toSorted());
  });

  test.each(Object.entries(TAUGHT))(
    "%s: two or three examples that are its own, and a page that exists",
    (path, { examples, page }) => {
      expect(examples.length).toBeGreaterThanOrEqual(2);
      expect(examples.length).toBeLessThanOrEqual(3);
      for (const [line] of examples) expect(`${line} `.startsWith(`${path} `), line).toBe(true);
      expect(existsSync(join(import.meta.dirname, `../../docs/${page}.md`)), page).toBe(true);
    },
  );

  const lines = Object.entries(TAUGHT).flatMap(([path, { examples }]) =>
    path === "help" || path === "completion" ? [] : examples.map(([line]) => line),
  );
  test.each(lines)("kmodfarm %s is a command line that is understood", async (line) => {
    const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    try {
      expect(await runProgram(wordsOf(line), idle(COMMANDS))).toBe(0);
    } finally {
      said.mockRestore();
      process.stdout.removeAllListeners("error");
    }
  });

  test("has an option for every one that an example names", () => {
    const known = new Set(
      all(wholeProgram(COMMANDS)).flatMap(({ options }) => options.map(({ long }) => long)),
    );
    const named = lines.flatMap((line) => line.match(/(?<= )--[a-z-]+/g) ?? []);

    expect(named.filter((one) => !known.has(one))).toEqual([]);
  });
});

function all(command: ReturnType<typeof wholeProgram>): ReturnType<typeof wholeProgram>[] {
  return [command, ...command.commands.flatMap((one) => all(one as ReturnType<typeof wholeProgram>))];
}
