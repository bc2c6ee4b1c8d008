/**
 * `kmodfarm help`: what commands do, and the pages of the documentation.
 */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { didYouMean } from "../../../base/closest.ts";
import { FarmError } from "../../../base/error.ts";
import { ownFile } from "../../../base/own-files.ts";
import type { OptionsOf } from "../../command.ts";
import { pageText } from "../../markdown.ts";
import { print } from "../../output.ts";
import { sizeOf } from "../../terminal.ts";
import type { HELP } from "./command.ts";

/** The same place from the sources and from the published package. */
const DOCS = fileURLToPath(ownFile("docs"));

/** `program` has every command there is. */
export async function help(
  program: Command,
  topic: readonly string[],
  { all }: OptionsOf<typeof HELP>,
): Promise<number> {
  if (all) for (const one of [program, ...below(program)]) await print(`${helpOf(one)}\n`);
  else if (topic.length === 0) await print(`${helpOf(program)}\nPages: ${(await pages()).join(", ")}\n`);
  else await print(await explained(program, topic));
  return 0;
}

async function explained(program: Command, topic: readonly string[]): Promise<string> {
  const command = named(program, topic);
  const [page = ""] = topic;
  const known = await pages();
  // Where a command has the name of a page, `--help` shows the command, and leads here for more.
  if (topic.length === 1 && known.includes(page)) {
    const options = command === undefined ? "" : `\nOptions and examples: kmodfarm ${page} --help\n`;
    return `${await readPage(page)}${options}`;
  }
  if (command !== undefined) return helpOf(command);
  const words = [...below(program).map((one) => pathOf(one)), ...known];
  throw new FarmError("USAGE", {
    detail: `there is no command and no page '${topic.join(" ")}'${didYouMean(topic.join(" "), words)}`,
    hint: `Pages: ${known.join(", ")}. \`kmodfarm help\` lists the commands.`,
  });
}

async function readPage(name: string): Promise<string> {
  const text = await readFile(`${DOCS}/${name}.md`, "utf8");
  const width = process.stdout.isTTY ? sizeOf(process.stdout).columns : 100;
  return pageText(text, Math.min(width, 100));
}

async function pages(): Promise<string[]> {
  if (!existsSync(DOCS)) return [];
  const names = await readdir(DOCS);
  return names
    .filter((name) => name.endsWith(".md"))
    .map((name) => name.slice(0, -".md".length))
    .toSorted();
}

function named(program: Command, words: readonly string[]): Command | undefined {
  return words.reduce<Command | undefined>(
    (at, word) => at?.commands.find((one) => one.name() === word),
    program,
  );
}

function below(command: Command): Command[] {
  return command.commands.flatMap((one) => [one, ...below(one)]);
}

function pathOf(command: Command): string {
  const above = command.parent?.parent ? `${pathOf(command.parent)} ` : "";
  return `${above}${command.name()}`;
}

/** As `--help` prints it, with the examples. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (more) => (text += more) });
  command.outputHelp();
  return text;
}
