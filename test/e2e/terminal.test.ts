/** What people see on terminals of several sizes, as a real terminal has it. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeElement } from "../support/elements.ts";
import { farmWith } from "../support/stored-farm.ts";
import { openTerminal, WITHOUT_TMUX } from "../support/tmux.ts";
import { makeVerdict } from "../support/verdicts.ts";

const BOARD = [process.execPath, join(import.meta.dirname, "../support/play-board.ts")];
const COMMANDS = [process.execPath, join(import.meta.dirname, "../support/play-commands.ts")];
/** Seconds and the spinner are another each time, and on a busy machine what is left too. */
const timeless = (screen: string) =>
  screen
    .replaceAll(/about \d min/g, "about N min")
    .replaceAll(/ +\d+ s\b/g, "    N s")
    .replaceAll(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/gu, "*")
    .replaceAll(/ +$/gm, "");

describe.skipIf(WITHOUT_TMUX !== undefined)(
  `on a terminal${WITHOUT_TMUX === undefined ? "" : `: ${WITHOUT_TMUX}`}`,
  () => {
    test.each([
      [80, 24],
      [140, 40],
      [50, 10],
    ])(
      "of %i columns and %i rows the board is as large as it may be, and there once",
      async (columns, rows) => {
        const terminal = openTerminal(BOARD, { columns, rows });

        const { screen, all } = await terminal.shown((text) => / {3}building +[1-9]\d* s /.test(text));

        expect([all.match(/^── /gm), all.match(/asking the mirrors/g)].map((found) => found?.length)).toEqual(
          [...[1, 1]],
        );
        await expect(timeless(screen)).toMatchFileSnapshot(
          `../fixtures/terminal/board-${columns}x${rows}.txt`,
        );
      },
    );

    test("that becomes smaller and larger again, nothing is left behind", async () => {
      const terminal = openTerminal(BOARD, { columns: 140, rows: 40 });
      await terminal.shown((text) => /and \d+ more|6\.1\.0-34-amd64/.test(text));

      // Until the board is drawn anew, the terminal shows what it made of the lines before.
      const heads = (text: string) => text.match(/^── /gm) ?? [];
      terminal.resize(50, 10);
      const small = await terminal.shown(
        (text) => /^ {3}and \d+ more$/m.test(text.trimEnd()) && heads(text).length === 1,
      );
      terminal.resize(100, 30);
      const large = await terminal.shown(
        (text) => /about .* left, 6 as before, .* fetched/.test(text) && heads(text).length === 1,
      );

      expect(heads(small.screen)).toHaveLength(1);
      expect(heads(large.screen)).toHaveLength(1);
    });

    test.each([
      [80, 24],
      [50, 10],
    ])("of %i columns and %i rows no line of a table is wrapped", async (columns, rows) => {
      const farm = await farmWith(
        ["6.1.0-56-amd64", "6.12.117+deb13-cloud-amd64"].map((kversion) => ({
          element: makeElement({ kversion }),
          verdicts: [makeVerdict("load", "pass", "it loads")],
          isStable: true,
        })),
      );
      const config = join(farm.config.base, "kmodfarm.yaml");
      const commands = ["catalog list", "matrix show", "generations"];
      const terminal = openTerminal([...COMMANDS, config, ...commands], { columns, rows });

      const { all } = await terminal.shown((text) => text.includes("END"));

      const words = all.slice(0, all.indexOf("END")).replaceAll(farm.config.base, "/farm");
      await expect(words.replaceAll(/ +$/gm, "")).toMatchFileSnapshot(
        `../fixtures/terminal/tables-${columns}x${rows}.txt`,
      );
    });
  },
);
