import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inProcess } from "../../test/support/in-process.ts";
import {
  byDefault,
  type CommandDefinition,
  choice,
  command,
  declareCommand,
  flag,
  type OptionsOf,
  one,
  optional,
  required,
  unless,
  wholeNumber,
  word,
  words,
} from "./command.ts";
import { COMMANDS } from "./commands/index.ts";
import { runProgram } from "./program.ts";

/** Each command's words on the command line: `catalog`, `catalog update`, … */
function wordsOf(commands: readonly CommandDefinition[], above: readonly string[] = []): string[][] {
  return commands.flatMap(({ name, commands: below = [] }) => [
    [...above, name],
    ...wordsOf(below, [...above, name]),
  ]);
}

describe("--help", () => {
  test("of every command says what it said", async () => {
    const shown: string[] = [];
    for (const path of [[], ...wordsOf(COMMANDS)]) {
      const { exitCode, stdout, stderr } = await inProcess([...path, "--help"]);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      shown.push(`$ kmodfarm ${[...path, "--help"].join(" ")}\n${stdout}`);
    }

    // `npx vitest run src/cli/program.test.ts -u` takes over what is meant to change.
    await expect(shown.join("\n")).toMatchFileSnapshot("../../test/fixtures/help.txt");
  });
});

test("declarations of commands, which every start loads, load no code of theirs", () => {
  const files = globSync("commands/*/command.ts", { cwd: import.meta.dirname });
  const imports = files.flatMap((file) =>
    [...readFileSync(join(import.meta.dirname, file), "utf8").matchAll(/(?:from|import\() ?"([^"]+)"/g)].map(
      ([, target]) => target,
    ),
  );

  expect(files.length).toBeGreaterThan(8);
  expect(new Set(imports)).toEqual(new Set(["../../command.ts", "../../common-options.ts"]));
});

const MADE = declareCommand("make", "", {
  arguments: [one("what"), optional("where")],
  options: {
    json: flag("as JSON"),
    why: required(word("<reason>", "")),
    kernel: words("<kernel>", ""),
    load: unless(""),
    driverVersion: word("<version>", ""),
    format: byDefault(choice("<format>", ["text", "json"]), "text"),
    keep: byDefault(wholeNumber("<n>", ""), 7),
  },
});

describe("a command", () => {
  test("gets its arguments, and its options by their names, with the types that it declares", async () => {
    const given: unknown[] = [];
    const make = async (what: string, where: string | undefined, options: OptionsOf<typeof MADE>) => {
      // @ts-expect-error: no such option
      given.push(what, where, options.driverVerison, options);
      // @ts-expect-error: it may be missing
      options.kernel?.length.toFixed() satisfies string;
      return options.keep satisfies number;
    };

    const exit = await runProgram(
      ["make", "x", "--why", "--json", "--kernel", "a", "--kernel=b", "--no-load", "--driver-version", "1"],
      [command(MADE, async () => make)],
    );

    expect(exit).toBe(7);
    expect(given).toEqual([
      "x",
      undefined,
      undefined,
      {
        why: "--json",
        kernel: ["a", "b"],
        load: false,
        driverVersion: "1",
        format: "text",
        keep: 7,
      },
    ]);
  });

  test("is refused where its code takes other words", () => {
    const ofNumber = async (_: string, __: unknown, { why }: { readonly why: number }) => why;
    const ofList = async (what: readonly string[]) => what.length;

    // @ts-expect-error: `why` is no number
    command(MADE, async () => ofNumber);
    // @ts-expect-error: `what` is no list
    command(MADE, async () => ofList);
  });
});

describe("--json", () => {
  test.each([
    ["an option", ["promote", "--why", "x", "--json"], true],
    ["an option of a command in a group", ["catalog", "import", "--json"], true],
    ["an option after one that is wrong", ["run", "--jobs", "many", "--json"], true],
    ["an option that the command does not have", ["catalog", "--json"], true],
    ["the value of an option", ["promote", "--why", "--json"], false],
    ["the value of an option of the group", ["cache", "--store", "--json", "prune", "--limit", "x"], false],
    ["a part of a word", ["promote", "--why=--json"], false],
    ["an argument", ["audit", "--", "--json"], false],
  ])("that is %s decides how errors look: %j", async (_, argv, isJson) => {
    const { exitCode, stderr } = await inProcess(argv);

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(isJson ? /^\{"error":\{.*\}\}\n$/ : /^kmodfarm: .* \[[A-Z_]+\]\n$/s);
  });
});
