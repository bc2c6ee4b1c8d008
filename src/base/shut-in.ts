/**
 * Programs that work on bytes from outside: each in a box of its own, without network, without capabilities, within
 * limits of memory and time. A fault in one of them then reaches nothing but the answer that it gives us.
 */
import { FarmError } from "./error.ts";
import { isInstalled } from "./run.ts";

export interface Box {
  /** The one directory that the program may write to: `/target` to it, and where it starts. */
  readonly target?: string;
  /** Files of ours that it may read: path inside → path here. */
  readonly shows?: Readonly<Record<`/${string}`, string>>;
  readonly memoryBytes?: number;
}

/** Decompressors need 0.5 GiB for the largest dictionaries that they are allowed. */
const MEMORY_BYTES = 1024 ** 3;
/** An hour of a slow mirror is a minute of work. */
const CPU_SECONDS = 600;
const OPEN_FILES = 256;
/** Those of /usr, however a distribution links them; and nothing else of this machine. */
const SYSTEM = ["/usr", "/bin", "/lib", "/lib64", "/sbin"].flatMap((path) => ["--ro-bind-try", path, path]);
/** Debian's name of what a box is made with. */
const TOOLS = ["bwrap", "prlimit"];

/**
 * The command that runs a program in a box where it sees the system's programs and what it is shown. Unless it has a
 * target it can write nothing but its answer.
 * @throws FarmError TOOL_MISSING
 */
export function shutIn(argv: readonly string[], { target, shows = {}, memoryBytes }: Box = {}): string[] {
  for (const program of [...TOOLS, argv[0] ?? ""]) requireInstalled(program);
  return [
    ["prlimit", `--as=${memoryBytes ?? MEMORY_BYTES}`, `--cpu=${CPU_SECONDS}`, `--nofile=${OPEN_FILES}`],
    ["--core=0", ...(target === undefined ? ["--fsize=0"] : []), "--"],
    ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"],
    ["--setenv", "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    ["--setenv", "LC_ALL", "C", ...SYSTEM, "--dev", "/dev"],
    Object.entries(shows).flatMap(([inside, ours]) => ["--ro-bind", ours, inside]),
    target === undefined
      ? ["--remount-ro", "/"]
      : ["--tmpfs", "/tmp", "--bind", target, "/target", "--chdir", "/target"],
    ["--", ...argv],
  ].flat();
}

/** Inside a box, a missing program would be reported only in the box's own words. */
function requireInstalled(program: string): void {
  if (isInstalled(program)) return;
  throw new FarmError("TOOL_MISSING", { detail: `there is no program '${program}' on this machine` });
}
