import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inProcess } from "../../test/support/in-process.ts";
import { COMMANDS } from "./commands/index.ts";
import { TAUGHT } from "./examples.ts";
import { manPage } from "./man.ts";
import { wholeProgram } from "./program.ts";

const FILE = join(import.meta.dirname, "../../docs/man/kmodfarm.1");
const isThere = (program: string) => spawnSync(program, ["--version"]).status === 0;

describe("the manual page", () => {
  test("has every command with its examples, and no request of roff by accident", () => {
    const page = manPage(wholeProgram(COMMANDS));

    for (const path of Object.keys(TAUGHT))
      expect(page).toContain(`.SS kmodfarm ${path}`.replaceAll("-", "\\-"));
    const requests = page.split("\n").flatMap((line) => /^[.']\S*/.exec(line) ?? []);
    expect([...new Set(requests)].toSorted()).toEqual([".B", ".I", ".PP", ".SH", ".SS", ".TH", ".TP", ".br"]);
  });

  test.skipIf(!isThere("man"))("is set by man without a warning; skipped where there is no man", () => {
    const env = { ...process.env, MANWIDTH: "80", LC_ALL: "C.UTF-8", MANPAGER: "cat" };
    const { stdout, stderr, status } = spawnSync("man", ["--warnings", "-l", FILE], {
      encoding: "utf8",
      env,
    });

    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("kmodfarm run --distro debian12 --kernel 6.1.0-57-amd64 --retry");
  });

  test.skipIf(!isThere("groff"))("is set by groff without a warning; skipped where there is no groff", () => {
    const { stdout, stderr, status } = spawnSync("groff", ["-ww", "-man", "-Tutf8", "-P-cbou", FILE], {
      encoding: "utf8",
    });

    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("EXIT STATUS");
  });
});

describe("kmodfarm help", () => {
  test("explains commands as --help does, and all of them at once", async () => {
    const [one, same, all] = [
      await inProcess(["help", "catalog", "list"]),
      await inProcess(["catalog", "list", "--help"]),
      await inProcess(["help", "--all"]),
    ];

    expect(one).toEqual(same);
    expect(all.stdout).toContain(same.stdout);
  });

  test.each(["config", "policy", "exit-codes", "errors"])(
    "prints the page %s without the marks of Markdown",
    async (page) => {
      const { exitCode, stdout } = await inProcess(["help", page]);

      expect(exitCode).toBe(0);
      expect(stdout.length).toBeGreaterThan(500);
      expect(stdout).not.toMatch(/^#|^\||\]\(/m);
      const prose = stdout.split("\n").filter((line) => !line.startsWith("    ") && line.includes(" "));
      expect(Math.max(...prose.map((line) => line.length))).toBeLessThanOrEqual(120);
    },
  );

  test("prints the page where a command has its name too, and says how to see the command", async () => {
    const { stdout } = await inProcess(["help", "gap"]);

    expect(stdout).toContain("kmodfarm gap ingest");
    expect(stdout).not.toContain("Usage:");
    expect(stdout).toMatch(/\nOptions and examples: kmodfarm gap --help\n$/);
  });

  test("says what there is where there is no such thing", async () => {
    const { exitCode, stderr } = await inProcess(["help", "polici"]);

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(
      /no command and no page 'polici' \(did you mean 'policy'\?\)\n {2}Pages: .*config/,
    );
  });
});
