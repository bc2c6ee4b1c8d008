/** `kmodfarm help`, `kmodfarm completion`. */
import { declareCommand, flag, one, zeroOrMore } from "../../command.ts";

export const HELP = declareCommand("help", "explain a command, or print a page of the documentation", {
  arguments: [zeroOrMore("topic", "a command, or a page: config, policy, exit-codes, …")],
  options: { all: flag("every command, one after the other") },
});

export const COMPLETION = declareCommand(
  "completion",
  "print a script that lets a shell complete command lines",
  {
    arguments: [one("shell", "bash, zsh or fish")],
    options: {},
  },
);
