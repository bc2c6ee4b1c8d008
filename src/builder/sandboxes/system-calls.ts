/**
 * System calls that no build needs, and that lead out of a sandbox: past its namespaces, into what all processes of
 * this machine share, or into parts of the kernel where faults are found most. Numbers as the kernel's own tables give
 * them: arch/x86/entry/syscalls/syscall_64.tbl, scripts/syscall.tbl.
 */
import type { ArchitectureName } from "../../kernel/architecture.ts";

/** A name, and its number on each architecture; undefined where it never was. */
export type SystemCall = readonly [name: string, x86_64: number | undefined, aarch64: number | undefined];

/**
 * What a program then meets: "not permitted"; "this kernel has no such call" or "this file system cannot do that", for
 * which programs have another way.
 */
export type Refusal = "EPERM" | "ENOSYS" | "EOPNOTSUPP";

export const REFUSED: Readonly<Record<Refusal, readonly SystemCall[]>> = {
  EPERM: [
    // Keys, which belong to the user who started the farm, and outlive the build.
    ["add_key", 248, 217],
    ["request_key", 249, 218],
    ["keyctl", 250, 219],
    // Programs for the kernel, and a look into it.
    ["bpf", 321, 280],
    ["perf_event_open", 298, 241],
    ["userfaultfd", 323, 282],
    ["kcmp", 312, 272],
    ["syslog", 103, 116],
    ["lookup_dcookie", 212, 18],
    ["init_module", 175, 105],
    ["finit_module", 313, 273],
    ["delete_module", 176, 106],
    ["create_module", 174, undefined],
    ["query_module", 178, undefined],
    ["get_kernel_syms", 177, undefined],
    ["kexec_load", 246, 104],
    ["kexec_file_load", 320, 294],
    ["reboot", 169, 142],
    ["iopl", 172, undefined],
    ["ioperm", 173, undefined],
    ["modify_ldt", 154, undefined],
    ["_sysctl", 156, undefined],
    // Other views of the file system, and what lies outside of this one.
    ["mount", 165, 40],
    ["umount2", 166, 39],
    ["pivot_root", 155, 41],
    ["chroot", 161, 51],
    ["open_tree", 428, 428],
    ["move_mount", 429, 429],
    ["fsopen", 430, 430],
    ["fsconfig", 431, 431],
    ["fsmount", 432, 432],
    ["fspick", 433, 433],
    ["mount_setattr", 442, 442],
    ["statmount", 457, 457],
    ["listmount", 458, 458],
    ["open_by_handle_at", 304, 265],
    ["setns", 308, 268],
    // Settings of the whole machine.
    ["settimeofday", 164, 170],
    ["clock_settime", 227, 112],
    ["clock_adjtime", 305, 266],
    ["adjtimex", 159, 171],
    ["sethostname", 170, 161],
    ["setdomainname", 171, 162],
    ["swapon", 167, 224],
    ["swapoff", 168, 225],
    ["acct", 163, 89],
    ["quotactl", 179, 60],
    ["quotactl_fd", 443, 443],
    ["nfsservctl", 180, 42],
    ["vhangup", 153, 58],
    ["migrate_pages", 256, 238],
    ["move_pages", 279, 239],
    // Files in flight over a socket, which are open in no process and take room on the disk.
    ["sendmsg", 46, 211],
    ["sendmmsg", 307, 269],
  ],
  ENOSYS: [
    // The flags of clone are in a register, where a filter sees them; those of clone3 are not.
    ["clone3", 435, 435],
    // Counted for each user of this machine or for all of them together, and a build may be root to the kernel.
    ["inotify_init", 253, undefined],
    ["inotify_init1", 294, 26],
    ["fanotify_init", 300, 262],
    ["mq_open", 240, 180],
    ["io_setup", 206, 0],
    // Does the work of every other call, unseen by a filter.
    ["io_uring_setup", 425, 425],
    ["io_uring_enter", 426, 426],
    ["io_uring_register", 427, 427],
    ["memfd_secret", 447, 447],
    // Its flags are in memory, where a filter sees nothing; those of openat are in a register.
    ["openat2", 437, 437],
    // Rules about a file keep it on the disk when it has neither a name nor a process that holds it.
    ["landlock_create_ruleset", 444, 444],
  ],
  EOPNOTSUPP: [
    // Takes as much of the disk as it names before anybody can measure it; libc writes instead.
    ["fallocate", 285, 47],
  ],
};

/** Calls that open a file by flags, and which argument has these. */
export const OPENERS: readonly (readonly [call: SystemCall, flags: 1 | 2])[] = [
  [["open", 2, undefined], 1],
  [["openat", 257, 56], 2],
];
/** The bit of O_TMPFILE that is no other flag's: a file that never has a name. Programs then make one that has. */
export const NAMELESS_FLAG = 0o20000000;

/** Memory without a name or an owner: where no control group counts it, nothing does. */
export const UNCOUNTED_MEMORY: readonly SystemCall[] = [
  ["memfd_create", 319, 279],
  ["shmget", 29, 194],
];

/** Calls that make namespaces when their first argument says so, and are harmless otherwise. */
export const NAMESPACE_MAKERS: readonly SystemCall[] = [
  ["clone", 56, 220],
  ["unshare", 272, 97],
];
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME is no flag of clone. */
export const NAMESPACE_FLAGS = 0x7e02_0000;

export const SOCKET_MAKERS: readonly SystemCall[] = [
  ["socket", 41, 198],
  ["socketpair", 53, 199],
];
/** AF_UNIX, AF_INET, AF_INET6. Others, AF_VSOCK above all, are not parted by namespaces of the network. */
export const SOCKET_FAMILIES: readonly number[] = [1, 2, 10];
/** AF_NETLINK speaks to many parts of the kernel: libraries ask protocol 0, which is about their own network. */
export const NETLINK = { family: 16, protocol: 0 } as const;

/** Calls that a kernel may have beyond this one (removexattrat) were not looked at. */
export const LAST_KNOWN = 466;

/**
 * Its commands below the first of Linux's own are those of every Unix. Of Linux's own, leases and what tells of changes
 * are not among these: they are for each file, which several builds see, and keep others from opening it.
 */
export const FILE_CONTROL: SystemCall = ["fcntl", 72, 25];
export const FIRST_OF_LINUX = 1024;
const F_SETPIPE_SZ = 1031;
/**
 * F_GETLEASE, and from F_DUPFD_QUERY to F_SET_FILE_RW_HINT: queries, descriptors, seals, hints. A pipe is not made larger:
 * the pages of all pipes are counted for each user, and a user who has used them up leaves only pipes of a page or two.
 */
export const LINUX_FILE_COMMANDS: readonly number[] = [
  1025,
  ...Array.from({ length: 12 }, (_, at) => 1027 + at).filter((command) => command !== F_SETPIPE_SZ),
];

export const DEVICE_CONTROL: SystemCall = ["ioctl", 16, 29];
/**
 * What programs ask of terminals, pipes, sockets and files, by include/uapi/asm-generic/ioctls.h, linux/fs.h and
 * linux/sockios.h. Not among them is what reserves disk space (FS_IOC_RESVSP), marks files, or types into a terminal
 * (TIOCSTI).
 */
export const DEVICE_REQUESTS: readonly number[] = [
  // TCGETS to TCSETSF, and with struct termios2.
  ...[0x5401, 0x5402, 0x5403, 0x5404, 0x802c_542a, 0x402c_542b, 0x402c_542c, 0x402c_542d],
  // TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCGWINSZ, TIOCSWINSZ, TIOCGSID; of pseudo-terminals TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER.
  ...[0x540e, 0x540f, 0x5410, 0x5413, 0x5414, 0x5429, 0x8004_5430, 0x4004_5431, 0x5441],
  // FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC.
  ...[0x541b, 0x5421, 0x5450, 0x5451, 0x5452],
  // FICLONE, FICLONERANGE, FS_IOC_FIEMAP, FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR.
  ...[0x4004_9409, 0x4020_940d, 0xc020_660b, 0x8008_6601, 0x801c_581f],
  // SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFHWADDR, SIOCGIFINDEX.
  ...[0x8910, 0x8912, 0x8913, 0x8915, 0x8927, 0x8933],
];

export function numberOf([, x86, arm]: SystemCall, architecture: ArchitectureName): number | undefined {
  return architecture === "x86_64" ? x86 : arm;
}
