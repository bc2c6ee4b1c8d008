/** Where the program starts. program.ts prints errors and decides the exit code. */
import { readFileSync } from "node:fs";

const started = process.argv.slice(2);
if (started.length === 1 && (started[0] === "--version" || started[0] === "-V")) {
  const { ownFile } = await import("../base/own-files.ts");
  const { version } = JSON.parse(readFileSync(ownFile("package.json"), "utf8")) as { version: string };
  process.stdout.write(`${version}\n`);
} else {
  const { searchFirst } = await import("../base/programs.ts");
  searchFirst(process.env.PATH);
  const { runProgram } = await import("./program.ts");
  const { COMMANDS } = await import("./commands/index.ts");
  process.exitCode = await runProgram(started, COMMANDS);
}
