/**
 * The policy of system-calls.ts as the kernel reads it: a classic BPF program over `struct seccomp_data`, as its
 * Documentation/userspace-api/seccomp_filter.rst tells it. Also as a container engine reads it: less in its own list.
 */
import type { ArchitectureName } from "../../kernel/architecture.ts";
import {
  DEVICE_CONTROL,
  DEVICE_REQUESTS,
  FILE_CONTROL,
  FIRST_OF_LINUX,
  LAST_KNOWN,
  LINUX_FILE_COMMANDS,
  NAMELESS_FLAG,
  NAMESPACE_FLAGS,
  NAMESPACE_MAKERS,
  NETLINK,
  numberOf,
  OPENERS,
  REFUSED,
  type Refusal,
  SOCKET_FAMILIES,
  SOCKET_MAKERS,
  type SystemCall,
  UNCOUNTED_MEMORY,
} from "./system-calls.ts";

export interface FilterOptions {
  readonly architecture: ArchitectureName;
  /** Whether a control group counts memory that no process shows. */
  readonly countsMemory: boolean;
}

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

const [LOAD, IF_EQUAL, IF_GREATER, IF_AT_LEAST, IF_ANY_BIT, RETURN] = [0x20, 0x15, 0x25, 0x35, 0x45, 0x06];
/** Offsets in `struct seccomp_data`; of arguments, the lower half. */
const [NUMBER, ARCHITECTURE, FIRST_ARGUMENT, SECOND_ARGUMENT, THIRD_ARGUMENT] = [0, 4, 16, 24, 32];
const [ALLOW, KILL_PROCESS] = [0x7fff_0000, 0x8000_0000];
const ERRNO = {
  ...{ EPERM: 1, ENOTTY: 25, ENOSYS: 38 },
  ...{ EPROTONOSUPPORT: 93, EOPNOTSUPP: 95, EAFNOSUPPORT: 97 },
} as const;
/** AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64: a 32-bit program's calls have other numbers, and none gets here. */
const AUDIT: Readonly<Record<ArchitectureName, number>> = { x86_64: 0xc000_003e, aarch64: 0xc000_00b7 };
/** Calls of x86-64 by the 32-bit convention (x32) have this bit; every number of today is below it. */
const X32 = 0x4000_0000;

const refuse = (error: keyof typeof ERRNO): Instruction => [RETURN, 0, 0, 0x0005_0000 | ERRNO[error]];
const allow: Instruction = [RETURN, 0, 0, ALLOW];

/** The filter's bytes, for `bwrap --seccomp`. */
export function seccompFilter(options: FilterOptions): Buffer {
  const { architecture } = options;
  const rules = (calls: readonly SystemCall[], instructions: readonly Instruction[]) =>
    calls.flatMap((call) => when(numberOf(call, architecture), instructions));
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [IF_EQUAL, 1, 0, AUDIT[architecture]],
    [RETURN, 0, 0, KILL_PROCESS],
    [LOAD, 0, 0, NUMBER],
    [IF_AT_LEAST, 1, 0, X32],
    [IF_GREATER, 0, 1, LAST_KNOWN],
    refuse("ENOSYS"),
    ...rules(NAMESPACE_MAKERS, unlessNamespaces()),
    ...rules(SOCKET_MAKERS, knownFamilies()),
    ...rules([FILE_CONTROL], fileCommands()),
    ...rules([DEVICE_CONTROL], deviceRequests()),
    ...OPENERS.flatMap(([call, flags]) => rules([call], unlessNameless(flags))),
    ...refusals(options).flatMap(([error, calls]) => rules(calls, [refuse(error)])),
    allow,
  ];
  return Buffer.concat(program.map(encode));
}

function refusals({ countsMemory }: FilterOptions): readonly [Refusal, readonly SystemCall[]][] {
  const unknown = countsMemory ? REFUSED.ENOSYS : [...REFUSED.ENOSYS, ...UNCOUNTED_MEMORY];
  return [
    ["EPERM", REFUSED.EPERM],
    ["ENOSYS", unknown],
    ["EOPNOTSUPP", REFUSED.EOPNOTSUPP],
  ];
}

/** What is done for one call; it must end with a return, because it may load something else than the number. */
function when(number: number | undefined, instructions: readonly Instruction[]): Instruction[] {
  return number === undefined ? [] : [[IF_EQUAL, 0, instructions.length, number], ...instructions];
}

function unlessNamespaces(): Instruction[] {
  return [[LOAD, 0, 0, FIRST_ARGUMENT], [IF_ANY_BIT, 0, 1, NAMESPACE_FLAGS], refuse("EPERM"), allow];
}

function knownFamilies(): Instruction[] {
  const known = SOCKET_FAMILIES.flatMap((family): Instruction[] => [[IF_EQUAL, 0, 1, family], allow]);
  return [
    [LOAD, 0, 0, FIRST_ARGUMENT],
    ...known,
    [IF_EQUAL, 1, 0, NETLINK.family],
    refuse("EAFNOSUPPORT"),
    [LOAD, 0, 0, THIRD_ARGUMENT],
    [IF_EQUAL, 0, 1, NETLINK.protocol],
    allow,
    refuse("EPROTONOSUPPORT"),
  ];
}

function fileCommands(): Instruction[] {
  const known = LINUX_FILE_COMMANDS.flatMap((command): Instruction[] => [[IF_EQUAL, 0, 1, command], allow]);
  return [
    [LOAD, 0, 0, SECOND_ARGUMENT],
    [IF_AT_LEAST, 1, 0, FIRST_OF_LINUX],
    allow,
    ...known,
    refuse("EPERM"),
  ];
}

function deviceRequests(): Instruction[] {
  const known = DEVICE_REQUESTS.flatMap((request): Instruction[] => [[IF_EQUAL, 0, 1, request], allow]);
  return [[LOAD, 0, 0, SECOND_ARGUMENT], ...known, refuse("ENOTTY")];
}

function unlessNameless(flags: 1 | 2): Instruction[] {
  const argument = flags === 1 ? SECOND_ARGUMENT : THIRD_ARGUMENT;
  return [[LOAD, 0, 0, argument], [IF_ANY_BIT, 0, 1, NAMELESS_FLAG], refuse("EOPNOTSUPP"), allow];
}

/** `struct sock_filter`; both architectures are little-endian. */
function encode([code, ifTrue, ifFalse, value]: Instruction): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(value >>> 0, 4);
  return bytes;
}

/** A seccomp profile as container engines have it; only what is asked here. */
export interface EngineProfile {
  readonly archMap?: readonly { readonly architecture: string }[];
  readonly syscalls: readonly EngineRule[];
}

interface EngineRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly {
    readonly index: number;
    readonly value: number;
    readonly valueTwo?: number;
    readonly op: string;
  }[];
}

const refusedWith = (error: Refusal, names: readonly string[]) => ({
  ...{ names, action: "SCMP_ACT_ERRNO", errnoRet: ERRNO[error] },
});

/** An engine's own profile less what ours refuses: whatever the two of them refuse is refused. */
export function narrowedProfile(profile: EngineProfile, options: FilterOptions): EngineProfile {
  const namesOf = (calls: readonly SystemCall[]) => calls.map(([name]) => name);
  const refused = refusals(options).map(([error, calls]) => refusedWith(error, namesOf(calls)));
  const [makers, sockets] = [namesOf(NAMESPACE_MAKERS), namesOf(SOCKET_MAKERS)];
  const [files, devices] = [namesOf([FILE_CONTROL]), namesOf([DEVICE_CONTROL])];
  const openers = namesOf(OPENERS.map(([call]) => call));
  const ours = new Set([
    ...refused.flatMap(({ names }) => names),
    ...makers,
    ...sockets,
    ...files,
    ...devices,
    ...openers,
  ]);
  const equal = (index: number, value: number) => ({ index, value, op: "SCMP_CMP_EQ" });
  const allowed = (names: readonly string[], ...args: NonNullable<EngineRule["args"]>) => ({
    ...{ names, action: "SCMP_ACT_ALLOW", args },
  });
  return {
    ...profile,
    // The first is the 64-bit one; without its companions no other is let in.
    archMap: (profile.archMap ?? []).map(({ architecture }) => ({ architecture, subArchitectures: [] })),
    syscalls: [
      ...profile.syscalls
        .map((rule) => ({ ...rule, names: rule.names.filter((name) => !ours.has(name)) }))
        .filter(({ names }) => names.length > 0),
      ...refused,
      allowed(makers, { index: 0, value: NAMESPACE_FLAGS, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }),
      ...SOCKET_FAMILIES.map((family) => allowed(sockets, equal(0, family))),
      allowed(sockets, equal(0, NETLINK.family), equal(2, NETLINK.protocol)),
      // Engines take one condition for an argument: what is refused is what none of these allows.
      allowed(files, { index: 1, value: FIRST_OF_LINUX, op: "SCMP_CMP_LT" }),
      ...LINUX_FILE_COMMANDS.map((command) => allowed(files, equal(1, command))),
      ...DEVICE_REQUESTS.map((request) => allowed(devices, equal(1, request))),
      ...OPENERS.flatMap(([call, flags]) => {
        const isSet = (bit: number) => ({
          index: flags,
          value: NAMELESS_FLAG,
          valueTwo: bit,
          op: "SCMP_CMP_MASKED_EQ",
        });
        const names = namesOf([call]);
        return [
          allowed(names, isSet(0)),
          { ...refusedWith("EOPNOTSUPP", names), args: [isSet(NAMELESS_FLAG)] },
        ];
      }),
    ],
  };
}
