/** Command lines, one after the other in one process, on the terminal that it is started on. */
import { COMMANDS } from "../../src/cli/commands/index.ts";
import { runProgram } from "../../src/cli/program.ts";

const [config = "", ...lines] = process.argv.slice(2);
for (const line of lines) {
  process.stdout.write(`$ kmodfarm ${line}\n`);
  await runProgram([...line.split(" "), "--config", config], COMMANDS);
}
process.stdout.write("END\n");
