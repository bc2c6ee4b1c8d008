/** The client for nodes that have Node.js: `kmodfarm fetch` alone, which scripts/node-client.ts makes one file of. */
import { command } from "./command.ts";
import { FETCH } from "./commands/node/command.ts";
import { fetch } from "./commands/node/fetch.ts";
import { runProgram } from "./program.ts";

process.exitCode = await runProgram(["fetch", ...process.argv.slice(2)], [command(FETCH, async () => fetch)]);
