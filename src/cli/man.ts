/**
 * The manual page, from what commands are: `man kmodfarm`.
 */
import type { Command, Option } from "commander";
import { COMMON } from "./command.ts";
import { TAUGHT } from "./examples.ts";

/** In roff, as man(7) has it. Nothing in it depends on when it was written. */
export function manPage(program: Command): string {
  const commands = below(program);
  const common = commonOptions(commands);
  return [
    '.TH KMODFARM 1 "" "kmodfarm" "User Commands"',
    ".SH NAME",
    "kmodfarm \\- build, test and publish an out\\-of\\-tree Linux driver for every kernel of a fleet",
    ".SH SYNOPSIS",
    ".B kmodfarm",
    ".I command",
    "[options]",
    ".br",
    ".B matrix\\-gen",
    "[options]",
    ".SH DESCRIPTION",
    text(program.description()),
    ".PP",
    text(
      "Without a configuration, `kmodfarm try` builds and load-tests the driver of a directory, and `kmodfarm init` writes a first kmodfarm.yaml; `kmodfarm run` does all that the configuration asks for. matrix-gen stands for `kmodfarm matrix`; with options alone, for `kmodfarm matrix generate`.",
    ),
    ".SH COMMANDS",
    ...commands.flatMap(({ command, path }) => section(command, path, common)),
    ".SH COMMON OPTIONS",
    "Options of most commands:",
    ...[...common.values()].flatMap(optionLines),
    ".SH EXIT STATUS",
    ...EXITS.flatMap(([code, meaning]) => [".TP", `.B ${code}`, text(meaning)]),
    ".SH ENVIRONMENT",
    ...VARIABLES.flatMap(([name, meaning]) => [".TP", `.B ${name}`, text(meaning)]),
    ".SH FILES",
    ...FILES.flatMap(([name, meaning]) => [".TP", `.I ${text(name)}`, text(meaning)]),
    ".SH SEE ALSO",
    text(
      "`kmodfarm help PAGE` prints the pages of the documentation: config, policy, drivers, checks, errors, …",
    ),
    "",
  ].join("\n");
}

const EXITS = [
  ["0", "Success."],
  ["1", "A negative result: an element failed through its driver, a module was refused."],
  ["2", "Usage or configuration."],
  ["3", "This machine, a server or a source needs attention, or the answer is unknown."],
  ["4", "Integrity: a digest or a signature is wrong."],
  ["130", "Stopped by a signal."],
] as const;

const VARIABLES = [
  ["NO_COLOR", "If it is not empty, nothing is coloured."],
  [
    "XDG_CACHE_HOME",
    "The directory of the user's caches, instead of ~/.cache. `try`, and commands without a configuration, use kmodfarm/ in it.",
  ],
  ["TERM", "dumb: progress is written line by line, and never redrawn."],
  ["GITHUB_ACTIONS", "true: progress is a group, and failures are annotations."],
] as const;

const FILES = [
  ["kmodfarm.yaml", "The configuration, in the current directory or above it."],
  [".kmodfarm/store", "The registry, unless the configuration has another place for it."],
  [
    ".kmodfarm/cache",
    "The cache, beside the configuration unless that has another place for it; ~/.cache/kmodfarm without a configuration. It may be removed when no kmodfarm is running; logs/ has the logs of the last runs.",
  ],
] as const;

interface Placed {
  readonly command: Command;
  readonly path: string;
}

/** Every command that does something, in the order of `--help`. */
function below(command: Command, path = ""): Placed[] {
  return command.commands.flatMap((one) => {
    const at = path === "" ? one.name() : `${path} ${one.name()}`;
    const isGroup = one.commands.length > 0 && TAUGHT[at] === undefined;
    return [...(isGroup ? [] : [{ command: one, path: at }]), ...below(one, at)];
  });
}

/** What is said once, at the end. */
function commonOptions(commands: readonly Placed[]): ReadonlyMap<string, Option> {
  const all = commands.flatMap(({ command }) => command.options);
  return new Map(all.filter(isCommon).map((option) => [option.flags, option] as const));
}

function isCommon({ helpGroupHeading }: Option): boolean {
  return helpGroupHeading === COMMON;
}

function section(command: Command, path: string, common: ReadonlyMap<string, Option>): string[] {
  const words = command.registeredArguments.map((one) => {
    const name = `${one.name()}${one.variadic ? "..." : ""}`;
    return one.required ? `\\fI${text(name)}\\fR` : `[\\fI${text(name)}\\fR]`;
  });
  const own = command.options.filter((option) => !common.has(option.flags));
  const { examples = [] } = TAUGHT[path] ?? {};
  return [
    `.SS kmodfarm ${text(path)}`,
    `\\fBkmodfarm ${text(path)}\\fR [options] ${words.join(" ")}`.trimEnd(),
    ".PP",
    text(sentence(command.description())),
    ...command.registeredArguments
      .filter(({ description }) => description !== "")
      .flatMap((one) => [".TP", `\\fI${text(one.name())}\\fR`, text(one.description)]),
    ...own.flatMap(optionLines),
    ...examples.flatMap(([line, what]) => [".TP", `\\fB$ kmodfarm ${text(line)}\\fR`, text(sentence(what))]),
  ];
}

function optionLines({ flags, description, argChoices, defaultValue }: Option): string[] {
  const facts = [
    ...(argChoices === undefined ? [] : [`one of ${argChoices.join(", ")}`]),
    ...(defaultValue === undefined || typeof defaultValue === "boolean"
      ? []
      : [`default: ${String(defaultValue)}`]),
  ];
  const more = facts.length === 0 ? "" : ` (${facts.join("; ")})`;
  return [".TP", `\\fB${text(flags)}\\fR`, text(sentence(`${description}${more}`.trim()))];
}

function sentence(words: string): string {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
}

/** What would be a request, an escape or a typographic dash is none. */
function text(words: string): string {
  return words
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("…", "...")
    .replaceAll("×", "x")
    .replaceAll("`", "\\(ga")
    .replaceAll(/^([.'])/gm, "\\&$1");
}
