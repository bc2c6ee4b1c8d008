/**
 * Rounds of a program that leaves 150 processes, in every fiftieth round 1,800, which swap a directory with a link to a
 * victim, and end only with their sandbox. Each round is followed by the plainest of removals, which walks through such a link when one of them
 * is still alive. Prints what became of the victim. To be started by its test alone, where it can write nowhere else.
 */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bubblewrap } from "../../src/builder/sandboxes/bubblewrap.ts";
import { groupPlaces } from "../../src/builder/sandboxes/cgroup.ts";
import { hostRoot } from "../../src/builder/sandboxes/prove.ts";
import { hostArchitecture } from "../../src/kernel/architecture.ts";

const processesIn = (round: number) => (round % 50 === 0 ? 1800 : 150);
const RENAMEAT2 = { x86_64: 316, aarch64: 276 }[hostArchitecture(process.arch)];
const SWAP = `use POSIX (); mkdir "/output/a"; open(F, ">/output/a/file"); close F; symlink($ARGV[0], "/output/link");
pipe(WAIT, GO);
for (1..$ARGV[1]) { my $p = fork(); last unless defined $p; if (!$p) { POSIX::setsid(); POSIX::_exit(0) if fork();
  close GO; close STDIN; close STDOUT; close STDERR; POSIX::nice(19); sysread(WAIT, my $b, 1); my ($x, $y) = ("/output/a", "/output/link");
  syscall(${RENAMEAT2}, -100, $x, -100, $y, 2) while 1 } }
close GO; select(undef, undef, undef, 0.1); POSIX::_exit(0);`;

const [directory = "", rounds = "1"] = process.argv.slice(2);
const victim = join(directory, "victim");
await mkdir(join(victim, "below"), { recursive: true });
for (let n = 0; n < 100; n++) await writeFile(join(victim, `file${n}`), "precious");
const root = await hostRoot(join(directory, "root"));
const before = (await readdir(victim)).length;

let round = 0;
for (; round < Number(rounds) && (await readdir(victim)).length === before; round++) {
  const work = join(directory, `round-${round}`);
  for (const name of ["output", "scratch"]) await mkdir(join(work, name), { recursive: true });
  const { stopped } = await bubblewrap.run({
    ...root,
    outputs: [[join(work, "output"), "/output"]],
    scratch: join(work, "scratch"),
    links: [],
    emptyDirectories: [],
    env: { PATH: "/usr/bin:/bin" },
    argv: ["/usr/bin/perl", "-e", SWAP, victim, String(processesIn(round))],
    timeoutMs: 300_000,
    memoryBytes: 2 ** 33,
    processLimit: 4096,
    writableBytes: 2 ** 28,
    outputLimitBytes: 2 ** 20,
    logFile: join(work, "log"),
  });
  if (stopped !== undefined) throw new Error(`round ${round} was stopped: ${stopped}`);
  await rm(work, { recursive: true, force: true });
}
const left = (await readdir(victim)).length;
console.log(JSON.stringify({ hasGroups: (await groupPlaces()).length > 0, round, lost: before - left }));
