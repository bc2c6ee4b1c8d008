import { describe, expect, test } from "vitest";
import { isDeath, isFault, isOops, messageOf, tracedModules } from "./kernel-messages.ts";

describe("a kernel's fault", () => {
  test.each([
    "[    2.345678] WARNING: CPU: 0 PID: 71 at /build/warns/warns.c:7 own_init+0x9/0xff0 [warns]",
    "[    2.345678] WARNING: /build/warns/warns.c:7 at own_init+0x9/0xff0 [warns], CPU#0: insmod/71",
    "[    2.345678] WARNING: at own_init+0x9/0xff0 [warns], CPU#0: insmod/71",
    "[    2.345678][  T123] WARNING: possible circular locking dependency detected",
    "<4>[    2.345678] WARNING: suspicious RCU usage",
    "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580",
    "[ 9.1] BUG: scheduling while atomic: insmod/71/0x00000002",
    "[ 9.1] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:71]",
    "[ 9.1] BUG: Bad page state in process insmod  pfn:0102a",
    "[ 9.1] BUG: KASAN: slab-out-of-bounds in own_init+0x1/0x2 [a]",
    "[ 9.1] BUG kmalloc-64 (Tainted: G           O      ): Redzone overwritten",
    "[ 9.1] INFO: task insmod:71 blocked for more than 120 seconds.",
    "[ 9.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "[ 9.1] UBSAN: array-index-out-of-bounds in /build/a.c:3:4",
  ])("is %s", (line) => {
    expect([isFault(line), isOops(line)]).toEqual([true, false]);
  });

  test.each([
    "[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[    1.0] BUG: unable to handle page fault for address: ffffffffc0000000",
    "[    1.0] Oops: 0002 [#1] PREEMPT SMP NOPTI",
    "[    1.0] Oops: Oops: 0002 [#1] SMP NOPTI",
    "[    1.0] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
    "[    1.0] general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1]",
    "[    1.0] invalid opcode: 0000 [#1] PREEMPT SMP PTI",
    "[    1.0] divide error: 0000 [#2] PREEMPT SMP PTI",
    "[    1.0] kernel BUG at /build/a/a.c:7!",
    "[    1.0][  C0] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
    "[    1.0] Internal error: Oops: 0000000096000045 [#1] SMP",
    "[    1.0] Internal error: Oops - BUG: 00000000f2000800 [#1] SMP",
  ])("is an oops: %s", (line) => {
    expect([isFault(line), isOops(line), isDeath(line)]).toEqual([true, true, true]);
  });

  test.each([
    "[    1.0] words: WARNING: the fan is loud",
    "[    1.0] words2: Oops, the fan is loud",
    "[    1.0] WARNING: the fan is loud",
    "[    1.0] WARNING: fan at 90 degrees",
    "[    1.0] Oops: the fan is loud",
    "[    1.0] BUG: the fan is loud",
    "[    1.0] words: BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[    1.0] words: Internal error: fan",
    "[    1.0] INFO: task of the fan is blocked",
    "[    1.0] words: possible circular locking of the fan",
    "[    1.0] words: loading out-of-tree module taints kernel.",
  ])("is not what a driver says: %s", (line) => {
    expect([isFault(line), isOops(line), isDeath(line)]).toEqual([false, false, false]);
  });

  test("is found on a console behind other words", () => {
    expect(isDeath("some words[    3.1] BUG: unable to handle page fault for address: 8")).toBe(true);
    expect(isDeath("@5ec2e7 inser[    3.0] Kernel panic - not syncing: on purpose")).toBe(true);
  });
});

test.each([
  ["<6>[    1.000000][  T71] doorbell: hello", "doorbell: hello"],
  ["[   12.345678] doorbell: hello", "doorbell: hello"],
  ["doorbell: [1] hello", "doorbell: [1] hello"],
])("messageOf(%j)", (line, message) => {
  expect(messageOf(line)).toBe(message);
});

test("tracedModules names the modules whose code a trace goes through", () => {
  const lines = [
    "[ 1.0] RIP: 0010:chaos_exit+0x5/0x10 [chaos]",
    "[ 1.0] Modules linked in: chaos(O-) tally(O)",
    "[ 1.0]  ? own_init+0x1/0x2 [tally]",
    "[ 1.0]  do_syscall_64+0x55/0xb0",
    "[ 1.0]  ? again+0x1/0x2 [chaos]",
  ];

  expect(tracedModules(lines)).toEqual(["chaos", "tally"]);
});
