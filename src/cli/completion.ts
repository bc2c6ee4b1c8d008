/**
 * Scripts that let shells complete command lines, written from what commands are. All three work alike: the words before
 * the cursor that name commands say where it is, and the word right before it whether a value is wanted.
 */
import type { Command, Option } from "commander";

export type Shell = "bash" | "zsh" | "fish";

export const COMPLETIONS: Readonly<Record<Shell, (program: Command) => string>> = { bash, zsh, fish };

/** A place on a command line: the commands named so far, and what may follow. */
interface Place {
  /** `` for the program itself, ` catalog list` for others. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly text: string }[];
  readonly options: readonly Option[];
  /** Its arguments that are one of a few words. */
  readonly words: readonly string[];
}

function places(command: Command, path = ""): Place[] {
  const commands = command.commands.map((one) => ({ name: one.name(), text: one.description() }));
  const options = [...command.options, ...(path === "" ? [] : helpOption(command))];
  const words = path === " completion" ? ["bash", "zsh", "fish"] : [];
  return [
    { path, commands, options, words },
    ...command.commands.flatMap((one) => places(one, `${path} ${one.name()}`)),
  ];
}

function helpOption(command: Command): Option[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .filter(({ long }) => long === "--help");
}

const flagsOf = (options: readonly Option[]) =>
  options.flatMap(({ short, long }) => [short, long]).filter((one) => one !== undefined);

/** `' catalog list --arch'|…` for the options of all places that `test` takes. */
function patterns(all: readonly Place[], test: (option: Option) => boolean): string {
  return all
    .flatMap(({ path, options }) => flagsOf(options.filter(test)).map((one) => `'${path} ${one}'`))
    .join("|");
}

/** The lines of a `case` that give the values of options which are one of a few words. */
function choices(all: readonly Place[], line: (words: string) => string): string {
  const byWords = new Map<string, string[]>();
  for (const { path, options } of all)
    for (const { long, argChoices } of options)
      if (argChoices !== undefined) {
        const words = argChoices.join(" ");
        byWords.set(words, [...(byWords.get(words) ?? []), `'${path} ${long}'`]);
      }
  return [...byWords].map(([words, names]) => `    ${names.join("|")}) ${line(words)} ;;\n`).join("");
}

const takesValue = ({ required, argChoices }: Option) => required === true && argChoices === undefined;
const named = (all: readonly Place[]) =>
  all
    .filter(({ path }) => path !== "")
    .map(({ path }) => {
      const [before, last] = [path.slice(0, path.lastIndexOf(" ")), path.slice(path.lastIndexOf(" ") + 1)];
      return `'${before} ${last}'`;
    })
    .join("|");

function bash(program: Command): string {
  const all = places(program);
  const offers = all
    .map(({ path, commands, options, words }) => {
      const offered = [...commands.map(({ name }) => name), ...words].join(" ");
      return `    '${path}') words='${offered}'; flags='${flagsOf(options).join(" ")}' ;;\n`;
    })
    .join("");
  return `# Completion of kmodfarm and matrix-gen for bash; written by \`kmodfarm completion bash\`.
_kmodfarm() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} at='' words='' flags='' i
  [[ \${COMP_WORDS[0]##*/} == matrix-gen ]] && at=' matrix'
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at \${COMP_WORDS[i]}" in
      ${named(all)}) at+=" \${COMP_WORDS[i]}" ;;
    esac
  done
  COMPREPLY=()
  case "$at $prev" in
${choices(all, (words) => `COMPREPLY=($(compgen -W '${words}' -- "$cur")); return`)}    ${patterns(all, takesValue)}) compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
  esac
  case $at in
${offers}  esac
  [[ $cur == -* ]] && words=$flags
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _kmodfarm kmodfarm matrix-gen
`;
}

function zsh(program: Command): string {
  const all = places(program);
  const escaped = (text: string) => text.replaceAll("'", "'\\''").replaceAll(":", "\\:");
  const offers = all
    .map(({ path, commands, options, words }) => {
      const offered = [
        ...commands.map(({ name, text }) => `'${name}:${escaped(text)}'`),
        ...words.map((word) => `'${word}'`),
      ].join(" ");
      const flags = options
        .flatMap((one) => flagsOf([one]).map((name) => `'${name}:${escaped(one.description)}'`))
        .join(" ");
      return `    '${path}') commands=(${offered}); flags=(${flags}) ;;\n`;
    })
    .join("");
  return `#compdef kmodfarm matrix-gen
# Completion of kmodfarm and matrix-gen for zsh; written by \`kmodfarm completion zsh\`.
_kmodfarm() {
  local at='' word
  local -a commands flags
  [[ \${words[1]:t} == matrix-gen ]] && at=' matrix'
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
      ${named(all)}) at+=" $word" ;;
    esac
  done
  case "$at \${words[CURRENT-1]}" in
${choices(all, (words) => `compadd -- ${words}; return`)}    ${patterns(all, takesValue)}) _files; return ;;
  esac
  case $at in
${offers}  esac
  if [[ $PREFIX == -* ]]; then
    _describe option flags
  elif (( \${#commands} )); then
    _describe command commands
  else
    _files
  fi
}
if [[ $funcstack[1] == _kmodfarm ]]; then _kmodfarm "$@"; else compdef _kmodfarm kmodfarm matrix-gen; fi
`;
}

function fish(program: Command): string {
  const all = places(program);
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = all.flatMap(({ path, commands, options, words }) => {
    const where = `-n ${quoted(`__kmodfarm_at '${path}'`)}`;
    return [
      ...commands.map(
        ({ name, text }) => `complete -c kmodfarm ${where} -f -a ${quoted(name)} -d ${quoted(text)}`,
      ),
      ...words.map((word) => `complete -c kmodfarm ${where} -f -a ${quoted(word)}`),
      ...options.map((option) => {
        const { short, long, argChoices, required, description } = option;
        const flags = `${short === undefined ? "" : ` -s ${short.slice(1)}`}${long === undefined ? "" : ` -l ${long.slice(2)}`}`;
        const value =
          argChoices !== undefined ? ` -x -a ${quoted(argChoices.join(" "))}` : required ? " -r -F" : "";
        return `complete -c kmodfarm ${where}${flags}${value} -d ${quoted(description)}`;
      }),
    ];
  });
  return `# Completion of kmodfarm for fish; written by \`kmodfarm completion fish\`.
function __kmodfarm_at
    set -l at ''
    for word in (commandline -opc)[2..]
        switch "$at $word"
            case ${named(all).replaceAll("|", " ")}
                set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end
${lines.join("\n")}
`;
}
