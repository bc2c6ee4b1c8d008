/**
 * What a command is: its words, arguments and options. Its code takes their types from here, and loads when it is called.
 */
import { Argument, type Command, InvalidArgumentError, Option } from "commander";
import { TAUGHT } from "./examples.ts";

/** One option. Its key in the declaration is its name: `driverVersion` stands for `--driver-version`. */
export interface OptionKind<Value> {
  readonly make: (name: string) => Option;
  /** Never there: it carries the type, with undefined if the option may be left out. */
  readonly type?: () => Value;
}

export interface ArgumentKind<Value> {
  readonly make: () => Argument;
  readonly type?: () => Value;
}

const option = <Value>(make: (name: string) => Option): OptionKind<Value> => ({ make });
const argument = <Value>(make: () => Argument): ArgumentKind<Value> => ({ make });

/** The heading of options that nearly every command has. */
export const COMMON = "Common options:";

/** Options that `--help` shows under a heading of their own, below those that only the command has. */
export function under<O extends Options>(heading: string, options: O): O {
  const grouped = Object.entries(options).map(([key, { make }]) => [
    key,
    option((name) => make(name).helpGroup(heading)),
  ]);
  // The same options, each with a heading.
  return Object.fromEntries(grouped) as O;
}

const MOST = 999_999;

/** Commander adds which option or argument it is of. */
function toNumber(value: string): number {
  if (!/^[1-9]\d{0,5}$/.test(value)) throw new InvalidArgumentError(`Give a whole number from 1 to ${MOST}.`);
  return Number(value);
}

/** `--name`, or `-n, --name` with a letter. */
export function flag(text: string, letter?: string) {
  const short = letter === undefined ? "" : `-${letter}, `;
  return option<boolean | undefined>((name) => new Option(`${short}--${name}`, text));
}

/** `--no-name`: true unless it is given. */
export function unless(text: string) {
  return option<boolean>((name) => new Option(`--no-${name}`, text));
}

/** `--name <shape>` */
export function word(shape: string, text: string) {
  return option<string | undefined>((name) => new Option(`--${name} ${shape}`, text));
}

/** One that may be repeated. */
export function words(shape: string, text: string) {
  const collect = (value: string, previous: readonly string[] | undefined) => [...(previous ?? []), value];
  return option<readonly string[] | undefined>((name) =>
    new Option(`--${name} ${shape}`, text).argParser(collect),
  );
}

export function wholeNumber(shape: string, text: string) {
  return option<number | undefined>((name) => new Option(`--${name} ${shape}`, text).argParser(toNumber));
}

export function choice<const Name extends string>(shape: string, names: readonly Name[], text = "") {
  return option<Name | undefined>((name) => new Option(`--${name} ${shape}`, text).choices(names));
}

export function required<Value>({ make }: OptionKind<Value>) {
  return option<NonNullable<Value>>((name) => {
    const made = make(name).makeOptionMandatory();
    made.description += " (required)";
    return made;
  });
}

export function byDefault<Value>({ make }: OptionKind<Value>, value: NonNullable<Value>) {
  return option<NonNullable<Value>>((name) => make(name).default(value));
}

export function one(name: string, text?: string) {
  return argument<string>(() => new Argument(`<${name}>`, text));
}

export function optional(name: string, text?: string) {
  return argument<string | undefined>(() => new Argument(`[${name}]`, text));
}

/** One or more. */
export function oneOrMore(name: string, text?: string) {
  return argument<readonly string[]>(() => new Argument(`<${name}...>`, text));
}

/** None or more. */
export function zeroOrMore(name: string, text?: string) {
  return argument<readonly string[]>(() => new Argument(`[${name}...]`, text));
}

export function oneWholeNumber(name: string, text?: string) {
  return argument<number>(() => new Argument(`<${name}>`, text).argParser(toNumber));
}

type Arguments = readonly ArgumentKind<unknown>[];
type Options = Readonly<Record<string, OptionKind<unknown>>>;

/** A command as `--help` shows it, without its code. */
export interface Declaration<A extends Arguments = Arguments, O extends Options = Options> {
  readonly name: string;
  readonly text: string;
  readonly arguments: A;
  readonly options: O;
}

/** Both in the order in which `--help` shows them. */
export function declareCommand<O extends Options, const A extends Arguments = []>(
  name: string,
  text: string,
  { arguments: words, options }: { readonly arguments?: A; readonly options: O },
): Declaration<A, O> {
  // Without arguments `A` is the empty list.
  return { name, text, arguments: words ?? ([] as unknown as A), options };
}

type ValueOf<Kind> = Kind extends OptionKind<infer Value> ? Value : never;
type Flat<T> = { [K in keyof T]: T[K] };

/** What a set of options comes to; what may be left out is missing then, and not undefined. */
export type Values<O> = Flat<
  {
    readonly [K in keyof O as undefined extends ValueOf<O[K]> ? never : K]: ValueOf<O[K]>;
  } & {
    readonly [K in keyof O as undefined extends ValueOf<O[K]> ? K : never]?: NonNullable<ValueOf<O[K]>>;
  }
>;
/** The options that a command's code gets: `OptionsOf<typeof PROMOTE>`. */
export type OptionsOf<D> = D extends Declaration<Arguments, infer O> ? Values<O> : never;
type ArgumentsOf<A extends Arguments> = {
  readonly [I in keyof A]: A[I] extends ArgumentKind<infer Value> ? Value : never;
};

export interface CommandDefinition extends Declaration {
  /** Returns the exit code; undefined for a group, which shows its help instead. */
  readonly run?: (words: readonly unknown[], options: unknown) => Promise<number>;
  readonly commands?: readonly CommandDefinition[];
}

/** A command with its code, which takes the arguments in their order and then the options, and returns the exit code. */
export function command<A extends Arguments, O extends Options>(
  declaration: Declaration<A, O>,
  load: () => Promise<(...given: [...ArgumentsOf<A>, Values<O>]) => Promise<number>>,
  commands: readonly CommandDefinition[] = [],
): CommandDefinition {
  return {
    ...declaration,
    // Commander made both by this declaration.
    run: async (words, options) =>
      (await load())(...([...words, options] as unknown[] as [...ArgumentsOf<A>, Values<O>])),
    commands,
  };
}

export function group(name: string, text: string, commands: readonly CommandDefinition[]): CommandDefinition {
  return { name, text, arguments: [], options: {}, commands };
}

/** Adds a command, and those below it, to what commander knows. */
export function addCommand(
  parent: Command,
  definition: CommandDefinition,
  setExit: (exit: number) => void,
  above: readonly string[] = [],
) {
  const { name, text, options, run, commands = [] } = definition;
  const words = [...above, name];
  const added = parent.command(name).description(text).helpCommand(false);
  added.addHelpText("after", () => taughtText(words.join(" ")));
  const made = Object.entries(options).map(([key, { make }]) => make(kebab(key)));
  // Its own first: what all commands have is known by then.
  const rank = ({ helpGroupHeading }: Option) =>
    helpGroupHeading === undefined ? 0 : helpGroupHeading === COMMON ? 2 : 1;
  for (const one of made.toSorted((a, b) => rank(a) - rank(b))) added.addOption(one);
  for (const { make } of definition.arguments) added.addArgument(make());
  if (run !== undefined)
    added.action(async () => setExit(await run(added.processedArgs, added.optsWithGlobals())));
  for (const below of commands) addCommand(added, below, setExit, words);
}

/** What `--help` says below the options. */
function taughtText(command: string): string {
  const taught = TAUGHT[command];
  if (taught === undefined) return "";
  const examples = taught.examples.map(([line, what]) => `  $ kmodfarm ${line}\n      ${what}\n`);
  return `\nExamples:\n${examples.join("")}\nMore: docs/${taught.page}.md, or \`kmodfarm help ${taught.page}\``;
}

export function kebab(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Whether `--json` is among the options, and neither the value of another one nor after `--`. */
export function asksForJson(program: Command, argv: readonly string[]): boolean {
  let [at, isValue] = [program, false];
  for (const given of argv) {
    if (isValue) isValue = false;
    else if (given === "--json") return true;
    else if (given === "--") return false;
    else {
      isValue = at.options.find(({ long }) => long === given)?.required ?? false;
      at = at.commands.find((below) => below.name() === given) ?? at;
    }
  }
  return false;
}
