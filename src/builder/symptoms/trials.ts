/**
 * Lines of a log that tell of a trial: configure scripts and makefiles compile small programs to learn what a kernel has,
 * and go on whatever comes of it; so does a dkms.conf that asks for programs. They are read only if nothing else says why a
 * build failed.
 */
import { LOCATION } from "./place.ts";

/** What generators keep of a trial as a comment, what config.log quotes, and commands that a shell repeats. */
const QUOTED = /^\s*(?:\/\/|#|\||\++ )/;
/** What was compiled from a pipe or in a directory for that, but for the compiler's own temporary files. */
const TRIAL_FILE =
  /^(?:<stdin>|-|\/(?:var\/)?tmp\/(?!cc\w{6}\.)\S*)$|(?:^|\/)(?:conftest|(?:conf|configure|config|feature|compat|kernel|kapi|api|build)[-_.]?(?:tests?|checks?|probes?)(?=[-_./]))/i;
/** In config.log, a trial's command: what follows it, up to the next line of configure's own, is what came of that. */
const TRIAL_BEGINS = /^configure:\d+: .*>&5$/;
const CONFIGURE_SAYS = /^configure:\d+: /;
const FAILED_OBJECT = /\*\*\* \[(?:\S+:\d+: )?(?<path>[^\]\s]+)\.o\] Error \d+/;
/** The compiler itself, which names no line of any source. */
const COMPILER_SAYS = /^\S*(?<!\w)(?:gcc|clang|cc1|cc)(?:-[\d.]+)?: (?:fatal )?error: /;
const ERROR = /: (?:fatal )?error: |: Error: /;
/** What a shell says while it reads dkms.conf, which DKMS goes on after. */
const CONF_SAYS = /(?:^|\/)dkms\.conf: (?:line )?\d+: /;

/** For each line whether it tells of a trial. `directory` is where the driver's tree was. */
export function trialsAmong(lines: readonly string[], directory: string): readonly boolean[] {
  const failed = new Set(lines.flatMap((line) => stemOf(FAILED_OBJECT.exec(line)?.groups?.path) ?? []));
  const units = unitsOf(lines);
  const explained = new Set(units.flatMap((unit) => unit?.find((stem) => failed.has(stem)) ?? []));
  const isAllExplained = explained.size === failed.size && failed.size > 0;
  let isTrial = false;
  return lines.map((line, index) => {
    if (CONFIGURE_SAYS.test(line)) isTrial = TRIAL_BEGINS.test(line);
    else if (isTrial) return true;
    if (QUOTED.test(line) || CONF_SAYS.test(line)) return true;
    const file = LOCATION.exec(line)?.groups?.file;
    if (file !== undefined && TRIAL_FILE.test(below(file, directory))) return true;
    if (isAllExplained && COMPILER_SAYS.test(line)) return true;
    // Make says which objects it did not get: an error in any other one did not end the build.
    const unit = units[index];
    return unit !== undefined && explained.size > 0 && !unit.some((stem) => failed.has(stem));
  });
}

function below(file: string, directory: string): string {
  return file.startsWith(`${directory}/`) ? file.slice(directory.length + 1) : file;
}

/** For each line that reports an error in a source: the names of objects that it may have been compiled into. */
function unitsOf(lines: readonly string[]): readonly (readonly string[] | undefined)[] {
  let including: string | undefined;
  let isChain = false;
  return lines.map((line) => {
    const first = /^In file included from ([^\s:]+)/.exec(line)?.[1];
    const next = /^ +from ([^\s:]+)/.exec(line)?.[1];
    // gcc ends with the outermost file, clang begins with it.
    if (next !== undefined || (first !== undefined && !isChain)) including = next ?? first;
    isChain = first !== undefined || next !== undefined;
    const file = ERROR.test(line) ? LOCATION.exec(line)?.groups?.file : undefined;
    if (file === undefined) return undefined;
    const stems = [file, including].flatMap((one) => stemOf(one?.replace(/\.\w+$/, "")) ?? []);
    return /\.[cS]$/.test(file) || including !== undefined ? stems : undefined;
  });
}

function stemOf(path: string | undefined): string | undefined {
  return path?.slice(path.lastIndexOf("/") + 1);
}
