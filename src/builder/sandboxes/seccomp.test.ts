import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { ArchitectureName } from "../../kernel/architecture.ts";
import { narrowedProfile, seccompFilter } from "./seccomp.ts";
import {
  FILE_CONTROL,
  LAST_KNOWN,
  NAMESPACE_MAKERS,
  OPENERS,
  REFUSED,
  SOCKET_MAKERS,
  UNCOUNTED_MEMORY,
} from "./system-calls.ts";

const AUDIT = { x86_64: 0xc000003e, aarch64: 0xc00000b7, i386: 0x40000003, arm: 0x40000028 };
const NUMBERS = {
  x86_64: {
    clone: 56,
    socket: 41,
    read: 0,
    execve: 59,
    fcntl: 72,
    ioctl: 16,
    openat: 257,
    fallocate: 285,
    sendmsg: 46,
  },
  aarch64: {
    clone: 220,
    socket: 198,
    read: 63,
    execve: 221,
    fcntl: 25,
    ioctl: 29,
    openat: 56,
    fallocate: 47,
    sendmsg: 211,
  },
};
const [ALLOW, KILL] = ["allow", "kill"];

interface Call {
  readonly number: number;
  readonly audit?: number;
  readonly args?: readonly bigint[];
}

/** Runs a filter as the kernel does; of classic BPF, the words that filters of system calls are made of. */
function ask(filter: Buffer, { number, audit, args = [] }: Call): string {
  const data = Buffer.alloc(64);
  data.writeInt32LE(number | 0, 0);
  data.writeUInt32LE(audit ?? 0, 4);
  for (const [index, value] of args.entries()) data.writeBigUInt64LE(value, 16 + index * 8);
  let loaded = 0;
  for (let at = 0; ; at++) {
    const code = filter.readUInt16LE(at * 8);
    const value = filter.readUInt32LE(at * 8 + 4);
    const jump = (isTrue: boolean) => filter.readUInt8(at * 8 + (isTrue ? 2 : 3));
    if (code === 0x20) loaded = data.readUInt32LE(value);
    else if (code === 0x15) at += jump(loaded === value);
    else if (code === 0x25) at += jump(loaded > value);
    else if (code === 0x35) at += jump(loaded >= value);
    else if (code === 0x45) at += jump((loaded & value) !== 0);
    else if (code === 0x06)
      return value === 0x7fff0000 ? "allow" : value === 0x80000000 ? "kill" : `error ${value & 0xffff}`;
    else throw new Error(`no such instruction: ${code}`);
  }
}

describe.each(["x86_64", "aarch64"] as const)("the filter for %s", (architecture: ArchitectureName) => {
  const filter = seccompFilter({ architecture, countsMemory: true });
  const numbers = NUMBERS[architecture];
  const asked = (number: number, ...args: bigint[]) =>
    ask(filter, { number, audit: AUDIT[architecture], args });

  test("lets programs work", () => {
    expect([numbers.read, numbers.execve].map((number) => asked(number))).toEqual([ALLOW, ALLOW]);
    expect(asked(numbers.clone, 0x1200011n)).toBe(ALLOW);
    for (const family of [1n, 2n, 10n]) expect(asked(numbers.socket, family, 1n, 0n)).toBe(ALLOW);
    expect(asked(numbers.socket, 16n, 3n, 0n)).toBe(ALLOW);
  });

  test("ends programs of other architectures", () => {
    for (const audit of [AUDIT.i386, AUDIT.arm, 0])
      expect(ask(filter, { number: numbers.read, audit })).toBe(KILL);
  });

  test("knows no number of x32 and none beyond its last", () => {
    for (const number of [0x40000000, 0x40000000 | numbers.read, LAST_KNOWN + 1, 0xffff_ffff, 0x7fff_ffff])
      expect(asked(number), String(number)).toBe("error 38");
    expect(asked(LAST_KNOWN)).toBe(ALLOW);
  });

  test.each([0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n])(
    "makes no namespace by flag %i, whatever else is asked for",
    (flag) => {
      expect(asked(numbers.clone, flag)).toBe("error 1");
      expect(asked(numbers.clone, flag | 0xffff_ffff_0000_0011n)).toBe("error 1");
    },
  );

  test("makes sockets of no family whose peers are outside, and asks the kernel only for its network", () => {
    for (const family of [0n, 3n, 17n, 29n, 38n, 40n, 44n, 0xffff_ffffn])
      expect(asked(numbers.socket, family, 1n, 0n)).toBe("error 97");
    for (const protocol of [4n, 9n, 15n, 16n])
      expect(asked(numbers.socket, 16n, 3n, protocol)).toBe("error 93");
    // The kernel looks at the lower half of the register only.
    expect(asked(numbers.socket, (1n << 32n) | 40n)).toBe("error 97");
  });

  test("keeps nobody from a file that others open too", () => {
    // F_SETLEASE, F_NOTIFY, and F_SETDELEG of newer kernels; the kernel looks at the lower half only.
    for (const command of [1024n, 1026n, 1040n, (1n << 32n) | 1024n])
      expect(asked(numbers.fcntl, 3n, command)).toBe("error 1");
    // F_DUPFD, F_SETLK, F_SETSIG, F_SETOWN_EX, F_OFD_SETLKW, F_GETLEASE, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_ADD_SEALS
    for (const command of [0n, 6n, 10n, 15n, 38n, 1025n, 1030n, 1032n, 1033n])
      expect(asked(numbers.fcntl, 3n, command)).toBe(ALLOW);
  });

  test("makes no pipe larger, which all builds together may do so often", () => {
    for (const command of [1031n, (1n << 32n) | 1031n])
      expect(asked(numbers.fcntl, 3n, command)).toBe("error 1");
  });

  test("asks devices and files for what is known only", () => {
    // FS_IOC_RESVSP, FS_IOC_RESVSP64, FS_IOC_ZERO_RANGE, FS_IOC_SETFLAGS, TIOCSTI, KVM_CREATE_VM, and more than 32 bits.
    for (const request of [0x4030_5828n, 0x4030_582an, 0x4030_5839n, 0x4008_6602n, 0x5412n, 0xae01n])
      expect(asked(numbers.ioctl, 3n, request)).toBe("error 25");
    // The kernel looks at the lower half of the register only.
    expect(asked(numbers.ioctl, 3n, (1n << 32n) | 0x4030_5828n)).toBe("error 25");
    // TCGETS, TIOCGWINSZ, FIONREAD, FICLONE, SIOCGIFCONF
    for (const request of [0x5401n, 0x5413n, 0x541bn, 0x4004_9409n, 0x8912n])
      expect(asked(numbers.ioctl, 3n, request)).toBe(ALLOW);
  });

  test("makes no file that has no name, and sends none away", () => {
    const nameless = 0o20000000n;
    for (const flags of [nameless, nameless | 0o200002n, (7n << 32n) | nameless])
      expect(asked(numbers.openat, 0n, 0n, flags)).toBe("error 95");
    for (const flags of [0n, 0o200000n, 0o2000102n, 0o10000000n])
      expect(asked(numbers.openat, 0n, nameless, flags)).toBe(ALLOW);
    if (architecture === "x86_64")
      expect([asked(2, 0n, nameless), asked(2, 0n, 2n)]).toEqual(["error 95", ALLOW]);
    expect([asked(numbers.fallocate), asked(437), asked(numbers.sendmsg)]).toEqual([
      "error 95",
      "error 38",
      "error 1",
    ]);
  });

  test("gives memory that nothing counts only where something does", () => {
    const without = seccompFilter({ architecture, countsMemory: false });
    for (const [, x86, arm] of UNCOUNTED_MEMORY) {
      const number = (architecture === "x86_64" ? x86 : arm) as number;
      expect(asked(number)).toBe(ALLOW);
      expect(ask(without, { number, audit: AUDIT[architecture] })).toBe("error 38");
    }
  });
});

test.each([
  ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 1],
  ["/usr/include/asm-generic/unistd.h", 2],
] as const)("numbers are those of %s", (path, column) => {
  expect(existsSync(path), "linux-libc-dev is there").toBe(true);
  const text = readFileSync(path, "utf8");
  const real = new Map(
    [...text.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)].map(([, name = "", number]) => [
      name,
      Number(number),
    ]),
  );

  const calls = [
    ...Object.values(REFUSED).flat(),
    ...UNCOUNTED_MEMORY,
    ...NAMESPACE_MAKERS,
    ...SOCKET_MAKERS,
    FILE_CONTROL,
    ...OPENERS.map(([call]) => call),
  ];

  // These headers may be older than the newest of them.
  const compared = calls.filter(
    ([name, ...numbers]) => real.has(name) || (numbers[column - 1] ?? 500) <= 450,
  );
  expect(compared.length).toBeGreaterThan(50);
  for (const call of compared) expect(real.get(call[0]), call[0]).toBe(call[column]);
});

test("an engine's profile loses what the filter refuses, and nothing else", () => {
  const profile = {
    archMap: [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] }],
    syscalls: [
      {
        names: ["read", "inotify_init1", "clone", "socket", "fcntl", "ioctl", "openat", "sendmsg"],
        action: "SCMP_ACT_ALLOW",
      },
      { names: ["keyctl"], action: "SCMP_ACT_ALLOW", includes: { caps: ["CAP_SYS_ADMIN"] } },
    ],
  };

  const narrowed = narrowedProfile(profile, { architecture: "x86_64", countsMemory: false });

  const allowed = narrowed.syscalls.filter(({ action }) => action === "SCMP_ACT_ALLOW");
  const always = allowed.filter(({ args }) => args === undefined).flatMap(({ names }) => names);
  expect(always).toEqual(["read"]);
  expect(allowed.filter(({ args }) => args !== undefined).flatMap(({ names }) => names)).not.toContain(
    "keyctl",
  );
  expect(narrowed.archMap).toEqual([{ architecture: "SCMP_ARCH_X86_64", subArchitectures: [] }]);
  expect(
    narrowed.syscalls.flatMap(({ names, action }) => (action === "SCMP_ACT_ALLOW" ? [] : names)),
  ).toContain("memfd_create");
});
