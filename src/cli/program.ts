/**
 * Runs one command line: reports errors, and decides the exit code. `--help` loads nothing of the farm.
 */
import { Command, CommanderError } from "commander";
import { visible } from "../base/visible.ts";
import { addCommand, asksForJson, type CommandDefinition, command } from "./command.ts";
import { COMPLETION, HELP } from "./commands/help/command.ts";

/** Returns the exit code. */
export async function runProgram(
  argv: readonly string[],
  commands: readonly CommandDefinition[],
): Promise<number> {
  const outcome = { exit: 0, asJson: false };
  const everything = [...commands, ...builtIn(commands)];
  // Where one command is named, the others need not be known.
  const named = everything.filter(({ name }) => name === argv[0]);
  const program = defineProgram(named.length > 0 ? named : everything, outcome);
  outcome.asJson = asksForJson(program, argv);
  // A command may hear of the same fault as its stream.
  let ending: Promise<number> | undefined;
  const end = (thrown: unknown) => (ending ??= report(thrown, outcome));
  // `kmodfarm … | head`: who reads no further has what they wanted.
  process.stdout.on("error", (fault: NodeJS.ErrnoException) => {
    if (fault.code === "EPIPE") process.exit(0);
    void end(fault).then((exit) => process.exit(exit));
  });
  try {
    await refuseRemovedDirectory();
    await program.parseAsync(argv as string[], { from: "user" });
    return outcome.exit;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    // Called without a command it has shown its help, which says more than an error.
    if (thrown instanceof CommanderError && thrown.code === "commander.help" && !outcome.asJson) return 2;
    return end(thrown);
  }
}

interface Outcome {
  exit: number;
  readonly asJson: boolean;
}

/** Commands that show what all commands are. */
function builtIn(commands: readonly CommandDefinition[]): CommandDefinition[] {
  const whole = () => wholeProgram(commands);
  return [
    command(HELP, async () => {
      const { help } = await import("./commands/help/help.ts");
      return (topic, options) => help(whole(), topic, options);
    }),
    command(COMPLETION, async () => {
      const { completion } = await import("./commands/help/completion.ts");
      return (shell) => completion(whole(), shell);
    }),
  ];
}

/** Every command, to be looked at and not run. */
export function wholeProgram(commands: readonly CommandDefinition[]): Command {
  return defineProgram([...commands, ...builtIn(commands)], { exit: 0, asJson: false });
}

function defineProgram(commands: readonly CommandDefinition[], outcome: Outcome): Command {
  const program = new Command("kmodfarm")
    .description(
      "Builds, tests and publishes an out-of-tree Linux driver for every kernel that its fleet may boot.",
    )
    .option("-V, --version", "print the version")
    .helpCommand(false)
    .configureHelp({ sortSubcommands: false })
    // Errors are reported in one place, as all others are.
    .configureOutput({
      outputError() {},
      writeErr: (text) => void (outcome.asJson || process.stderr.write(visible(text))),
    })
    .exitOverride();
  for (const one of commands) addCommand(program, one, (exit) => (outcome.exit = exit));
  return program;
}

/** Relative paths mean nothing in a directory that has been removed. */
async function refuseRemovedDirectory(): Promise<void> {
  try {
    process.cwd();
  } catch (cause) {
    const { FarmError } = await import("../base/error.ts");
    throw new FarmError("FILE_UNREADABLE", {
      detail: "the current directory has been removed",
      hint: "Change to a directory that exists.",
      cause,
    });
  }
}

/** Prints what is wrong, three lines for a person, one document for a program; returns the exit code. */
async function report(thrown: unknown, { asJson }: Outcome): Promise<number> {
  const { FarmError, toFarmError, traceOf } = await import("../base/error.ts");
  const { visibleJson } = await import("../base/visible.ts");
  const { say } = await import("./output.ts");
  const error =
    thrown instanceof CommanderError
      ? new FarmError("USAGE", { detail: thrown.message.replace(/^error: /, "") })
      : toFarmError(thrown);
  const { code, message, blame, at, hint, exit } = error;
  const places = Object.entries(at).map(([name, value]) => `  ${name}: ${value}\n`);
  const trace = traceOf(error);
  if (asJson)
    process.stderr.write(`${visibleJson(JSON.stringify({ error: { code, message, blame, at, hint } }))}\n`);
  else say(`${trace === "" ? "" : `${trace}\n`}kmodfarm: ${message}\n${places.join("")}  ${hint} [${code}]`);
  return exit;
}
