/** System calls made from inside of a sandbox, by a script in a language that has a word for them: Perl, this machine's. */

import { numberOf, type SystemCall } from "../../src/builder/sandboxes/system-calls.ts";
import { hostArchitecture } from "../../src/kernel/architecture.ts";

const ARCHITECTURE = hostArchitecture(process.arch);

export function numberHere(call: SystemCall): number | undefined {
  return numberOf(call, ARCHITECTURE);
}

/** A call of any name, of those that nothing refuses too. */
export const CALLS = {
  mmap: { x86_64: 9, aarch64: 222 },
  read: { x86_64: 0, aarch64: 63 },
  timer_create: { x86_64: 222, aarch64: 107 },
  getpid: { x86_64: 39, aarch64: 172 },
  memfd_create: { x86_64: 319, aarch64: 279 },
  inotify_init1: { x86_64: 294, aarch64: 26 },
} as const;

export function callOf(name: keyof typeof CALLS): number {
  return CALLS[name][ARCHITECTURE];
}

/** A script that makes each call with useless arguments, and prints the names of those that did not end in `errors`. */
export function callEach(calls: readonly SystemCall[], errors: readonly string[]): string {
  const list = calls.flatMap((call) => {
    const number = numberHere(call);
    return number === undefined ? [] : [`[${number}, "${call[0]}"]`];
  });
  return `use Errno qw(EPERM ENOSYS); my @bad;
for my $call (${list.join(", ")}) { my ($number, $name) = @$call; $! = 0;
  my $answer = syscall($number, 0, 0, 0, 0, 0);
  push @bad, "$name: " . ($answer == -1 ? $! : "done") unless $answer == -1 && (${errors.map((error) => `$!{${error}}`).join(" || ")}); }
print join("\\n", "tried ${list.length}", @bad), "\\n";`;
}
