/**
 * Programs that work on bytes from outside: each in a box of its own, without network, without capabilities, within
 * limits of memory and time. A fault in one of them then reaches nothing but the answer that it gives us.
 */
import { FarmError } from "./error.ts";
import { boxedProgram, isInstalled, searchPath } from "./programs.ts";

export interface Box {
  /** The one directory that the program may write to: `/target` to it, and where it starts. */
  readonly target?: string;
  /** Files of ours that it may read: path inside → path here. */
  readonly shows?: Readonly<Record<`/${string}`, string>>;
  /** The same of what it may also write to, at the same path. */
  readonly writes?: readonly string[];
  /** Whether it starts programs, and needs /proc for that: of its own box. */
  readonly startsPrograms?: boolean;
  readonly memoryBytes?: number;
  /** The most that it may write where its answer is a file of ours. */
  readonly answerBytes?: number;
  /** Of computing; default: ten minutes. */
  readonly cpuSeconds?: number;
}

/** Decompressors need 0.5 GiB for the largest dictionaries that they are allowed. */
const MEMORY_BYTES = 1024 ** 3;
/** An hour of a slow mirror is a minute of work. */
const CPU_SECONDS = 600;
const OPEN_FILES = 256;
/** What is temporary there is this machine's memory, which no limit of the program's own counts. */
const TEMPORARY_BYTES = 256 << 20;
/** Those of /usr, however a distribution links them; and nothing else of this machine. */
const SYSTEM = ["/usr", "/bin", "/lib", "/lib64", "/sbin"].flatMap((path) => ["--ro-bind-try", path, path]);
/** Debian's name of what a box is made with. */
const TOOLS = ["bwrap", "prlimit"];

/**
 * The command that runs a program in a box where it sees the system's programs and what it is shown. Unless it has a
 * target it can write nothing but its answer.
 * @throws FarmError TOOL_MISSING
 */
export function shutIn(argv: readonly string[], box: Box = {}): string[] {
  for (const program of [...TOOLS, argv[0] ?? ""]) requireInstalled(program);
  const { target, shows = {}, writes = [], startsPrograms = false } = box;
  const { memoryBytes = MEMORY_BYTES, cpuSeconds = CPU_SECONDS, answerBytes = 0 } = box;
  const { path, shows: place } = boxedProgram(argv[0] ?? "");
  const writesNothing = target === undefined && writes.length === 0;
  return [
    ["prlimit", `--as=${memoryBytes}`, `--cpu=${cpuSeconds}`, `--nofile=${OPEN_FILES}`],
    ["--core=0", ...(writesNothing ? [`--fsize=${answerBytes}`] : []), "--"],
    ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"],
    ["--setenv", "PATH", searchPath()],
    [
      "--setenv",
      "LC_ALL",
      "C",
      ...SYSTEM,
      ...place,
      "--dev",
      "/dev",
      ...(startsPrograms ? ["--proc", "/proc"] : []),
    ],
    Object.entries(shows).flatMap(([inside, ours]) => ["--ro-bind", ours, inside]),
    writes.flatMap((path) => ["--bind", path, path]),
    // After what is shown there: what it may write to beside its target would be memory without a limit.
    ["--remount-ro", "/dev"],
    target === undefined
      ? ["--remount-ro", "/"]
      : [
          "--size",
          String(TEMPORARY_BYTES),
          "--tmpfs",
          "/tmp",
          "--bind",
          target,
          "/target",
          "--chdir",
          "/target",
        ],
    ["--", path, ...argv.slice(1)],
  ].flat();
}

/** Inside a box, a missing program would be reported only in the box's own words. */
function requireInstalled(program: string): void {
  if (isInstalled(program)) return;
  throw new FarmError("TOOL_MISSING", { detail: `there is no program '${program}' on this machine` });
}
