/**
 * A kernel's messages: which of them report a fault of the kernel's, as it prints them itself. A driver may print the same
 * words, but a kernel begins its messages with them, and goes on in ways of its own.
 * Sources: kernel/panic.c, lib/bug.c, arch/x86/kernel/dumpstack.c, arch/arm64/kernel/traps.c, kernel/locking/,
 * kernel/rcu/, kernel/watchdog.c, kernel/hung_task.c, mm/, lib/ubsan.c, read for facts.
 */

/** Level, time, and the thread or processor that it came from: `<4>[    1.234567][  T123] `. */
const PREFIX = /^(?:<\d+>)?\s*(?:\[[\s\d.]+\])?\s*(?:\[\s*[TC]\d+\])?\s*/;

/** What was printed, without what `dmesg` shows before it. */
export function messageOf(line: string): string {
  return line.replace(PREFIX, "");
}

/** Each begins a message; kernels that die by it print their dying words after it. */
const OOPSES: readonly RegExp[] = [
  /^BUG: (?:kernel NULL pointer|unable to handle|stack guard page|IRQ stack guard|TASK stack guard)/,
  /^Unable to handle kernel /,
  /^kernel BUG at /,
  // `Oops: 0002 [#1] PREEMPT SMP`, `Internal error: Oops - BUG: 0 [#1]`, `divide error: 0000 [#1]`
  /^[A-Za-z][\w ,:()-]*: [0-9a-fA-F]{1,16} \[#\d+\]/,
  /^(?:Oops: )?general protection fault(?:,|: [0-9a-f]{4}|$)/,
  /^Internal error: /,
];

/** What kernels complain of and go on living; lockdep and RCU among them. */
const COMPLAINTS: readonly RegExp[] = [
  // `WARNING: CPU: 0 PID: 1 at file.c:2`; since Linux 6.19 the place comes first.
  /^WARNING: CPU: \d+ PID: \d+/,
  /^WARNING: \S+:\d+ at /,
  /^WARNING: at .+, CPU#\d+: /,
  /^WARNING: (?:possible (?:circular locking|recursive locking|irq lock)|inconsistent lock state|suspicious RCU usage)/,
  /^WARNING: (?:bad unlock balance|held lock freed|Nested lock was not taken|lock held when returning)/,
  /^WARNING: (?:HARDIRQ-safe|SOFTIRQ-safe|\S+-safe -> \S+-unsafe|stack recursion|kernel stack|can't access registers)/,
  /^BUG: (?:sleeping function called|scheduling while atomic|using \w+\(\) in preemptible|workqueue (?:lockup|leaked))/,
  /^BUG: (?:Bad (?:page|rss-counter|swap)|Bad (?:rss-|page)|non-zero pgtables_bytes|spinlock |rwlock |recent printk)/,
  /^BUG: (?:KASAN|KFENCE|KMSAN|KCSAN): /,
  /^BUG: (?:MAX_LOCKDEP|Invalid wait context|looking up invalid subclass|key \S+ (?:has not been registered|not in))/,
  /^BUG \S+ \((?:Tainted|Not tainted)/,
  /^(?:watchdog: )?BUG: soft lockup - CPU#\d+/,
  /^(?:watchdog: )?Watchdog detected hard LOCKUP/,
  /^(?:NMI )?watchdog: .*LOCKUP on cpu/,
  /^INFO: task \S+:\d+ (?:blocked|is blocked) /,
  /^INFO: (?:possible (?:recursive|circular)|inconsistent lock state|suspicious RCU|trying to register non-static key)/,
  /^(?:rcu: )?INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stalls?/,
  /^UBSAN: [\w-]+ in /,
  /^list_(?:add|del) corruption/,
  /^refcount_t: /,
];

export function isOops(line: string): boolean {
  const message = messageOf(line);
  return OOPSES.some((begins) => begins.test(message));
}

export function isFault(line: string): boolean {
  const message = messageOf(line);
  return isOops(line) || COMPLAINTS.some((begins) => begins.test(message));
}

/** What is on the console of a kernel that dies, where other words may stand before it on the same line. */
export function isDeath(line: string): boolean {
  return /Kernel panic - not syncing/.test(line) || line.split(/(?=\[ *\d+\.\d+\])/).some(isOops);
}

/** Modules whose code lines of a trace stand in: `RIP: 0010:own_exit+0x5/0x10 [doorbell]`, `pc : …`, ` own_init+0x1/0x2 [tally]`. */
export function tracedModules(lines: readonly string[]): string[] {
  const found = lines.flatMap((line) =>
    [...line.matchAll(/\+0x[0-9a-f]+\/0x[0-9a-f]+ \[([\w-]+)[^\]]*\]/g)].map(([, name = ""]) => name),
  );
  return [...new Set(found)];
}
