import { execFileSync, spawnSync } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inProcess } from "../../test/support/in-process.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { COMMANDS } from "./commands/index.ts";
import { COMPLETIONS, type Shell } from "./completion.ts";
import { wholeProgram } from "./program.ts";

const isThere = (shell: string) => spawnSync(shell, ["-c", "true"]).status === 0;

/** What a real bash offers for the last of these words. */
function offered(words: readonly string[]): string[] {
  const script = `${COMPLETIONS.bash(wholeProgram(COMMANDS))}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kmodfarm; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const said = execFileSync("bash", ["--norc", "-c", script, "bash", ...words], { encoding: "utf8" });
  return said.split("\n").filter((line) => line !== "");
}

describe("completion in bash", () => {
  test.each<[string, string[], string[]]>([
    ["a command", ["kmodfarm", "ro"], ["root", "rollback"]],
    ["one below it", ["kmodfarm", "catalog", ""], ["update", "list", "import", "export", "find"]],
    ["an option", ["kmodfarm", "catalog", "list", "--ke"], ["--kernel", "--kernel-release"]],
    ["a value that is one of a few", ["kmodfarm", "run", "--log-format", ""], ["text", "json"]],
    ["behind the value of an option", ["kmodfarm", "catalog", "list", "--arch", "x", "--fo"], ["--format"]],
    ["a shell", ["kmodfarm", "completion", ""], ["bash", "zsh", "fish"]],
    ["the original tool's name", ["matrix-gen", "gen"], ["generate"]],
    ["with a path", ["/usr/bin/matrix-gen", "generate", "--driver-v"], ["--driver-version"]],
  ])("offers %s", (_, words, expected) => {
    expect(offered(words)).toEqual(expected);
  });

  test("offers files for the value of an option", () => {
    expect(offered(["kmodfarm", "run", "--config", "/etc/host"])).toEqual(
      expect.arrayContaining([expect.stringMatching(/^\/etc\/host/)]),
    );
  });
});

test.skipIf(spawnSync("script", ["--version"]).status !== 0)(
  "a file's name is completed as a name in bash, and its words are no commands",
  async () => {
    const directory = await temporaryDirectory();
    const hostile = "evil;date>done;";
    await writeFile(join(directory, hostile), "");
    await writeFile(join(directory, "rc"), COMPLETIONS.bash(wholeProgram(COMMANDS)));
    const line = `kmodfarm() { printf %s "$3" >got; }\nkmodfarm run --config ev\t\nexit\n`;

    spawnSync("script", ["-qec", "bash --noprofile --rcfile rc -i", "/dev/null"], {
      ...{ cwd: directory, input: line, timeout: 30_000 },
      env: { ...process.env, TERM: "dumb", HISTFILE: "/dev/null" },
    });

    expect((await readdir(directory)).toSorted()).toEqual([hostile, "got", "rc"]);
    expect(await readFile(join(directory, "got"), "utf8")).toBe(hostile);
  },
);

describe.each<[Shell, string[]]>([
  ["bash", ["-n"]],
  ["zsh", ["-n"]],
  ["fish", ["--no-execute"]],
])("the script for %s", (shell, flags) => {
  test("names every command and option", () => {
    const script = COMPLETIONS[shell](wholeProgram(COMMANDS));

    for (const word of ["withdraw", "accept-withdrawals", "target-minutes"]) expect(script).toContain(word);
  });

  test.skipIf(!isThere(shell))(
    "is one that the shell can read; skipped where it is not installed",
    async () => {
      const file = join(await temporaryDirectory(), "script");
      await writeFile(file, COMPLETIONS[shell](wholeProgram(COMMANDS)));

      expect(spawnSync(shell, [...flags, file], { encoding: "utf8" })).toMatchObject({
        status: 0,
        stderr: "",
      });
    },
  );
});

test("a shell that is not known is refused with those that are", async () => {
  const { exitCode, stderr } = await inProcess(["completion", "tcsh"]);

  expect(exitCode).toBe(2);
  expect(stderr).toContain("'tcsh' is not a shell that this is known for; choose from bash, zsh, fish");
});
