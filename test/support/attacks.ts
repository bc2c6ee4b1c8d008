/** Good modules made bad, each in one way, and the check that must say so. */
import { gzipSync } from "node:zlib";
import { verdictsOn } from "../../src/check/checks/index.ts";
import { type ModuleFile, openModuleFiles } from "../../src/check/opened-modules.ts";
import { type Verdict, verdict } from "../../src/check/verdict.ts";
import { readElf, sectionNamed } from "../../src/formats/elf.ts";
import type { KernelRecord } from "../../src/inputs/kernel-record.ts";

export interface Attacked {
  readonly files: readonly ModuleFile[];
  readonly kernel: KernelRecord;
  readonly moduleVersion?: string;
}

interface Attack {
  readonly name: string;
  /** The check that refuses it. */
  readonly check: string;
  /** Undefined where it makes no sense: CRCs of a kernel that has none. */
  readonly spoil: (good: Attacked, strangers: Strangers) => Attacked | undefined;
}

/** Modules of other kernels. */
export interface Strangers {
  readonly flavour?: readonly ModuleFile[] | undefined;
  readonly suite?: readonly ModuleFile[] | undefined;
  readonly architecture?: readonly ModuleFile[] | undefined;
}

/** One module of the set with the bytes of a section changed. */
function edited(
  good: Attacked,
  sectionName: string,
  change: (section: Buffer) => boolean,
): Attacked | undefined {
  for (const [index, { name, bytes }] of good.files.entries()) {
    const copy = Buffer.from(bytes);
    const section = sectionNamed(readElf(copy, name), sectionName, name);
    if (section === undefined || !change(copy.subarray(section.offset, section.offset + section.size)))
      continue;
    return { ...good, files: good.files.with(index, { name, bytes: copy }) };
  }
  return undefined;
}

function replace(from: string | RegExp, to: (found: string) => string) {
  return (section: Buffer) => {
    const text = section.toString("latin1");
    const found = new RegExp(from).exec(text);
    if (found === null) return false;
    section.write(to(found[0]), found.index, "latin1");
    return true;
  };
}

function rewritten(good: Attacked, change: (file: ModuleFile) => ModuleFile): Attacked {
  return { ...good, files: good.files.map((file, index) => (index === 0 ? change(file) : file)) };
}

const bytesOf = (change: (bytes: Buffer) => Buffer) => (good: Attacked) =>
  rewritten(good, ({ name, bytes }) => ({ name, bytes: change(bytes) }));
const stranger = (kind: keyof Strangers) => (good: Attacked, strangers: Strangers) => {
  const files = strangers[kind];
  return files === undefined ? undefined : { ...good, files };
};

/** What is appended to a module that is signed; a well-formed record with a signature that is none. */
const TRAILER = Buffer.concat([
  Buffer.from([0x30, 0x00]),
  Buffer.from([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2]),
  Buffer.from("~Module signature appended~\n"),
]);

export const ATTACKS: readonly Attack[] = [
  { name: "module of another flavour", check: "identity", spoil: stranger("flavour") },
  { name: "module of another suite's kernel", check: "identity", spoil: stranger("suite") },
  { name: "module of another architecture", check: "identity", spoil: stranger("architecture") },
  {
    name: "compiler one major off",
    check: "environment",
    spoil: (good) =>
      edited(
        good,
        ".comment",
        replace(/ \d\d\.\d+\.\d+\0/, (is) => ` ${Number(is.slice(1, 3)) - 1}${is.slice(3)}`),
      ),
  },
  {
    name: "stripped vermagic",
    check: "format",
    spoil: (good) =>
      edited(
        good,
        ".modinfo",
        replace("vermagic=", () => "vermagik="),
      ),
  },
  {
    name: "one CRC flipped",
    check: "symbols",
    spoil: (good) =>
      edited(good, "__versions", (section) => {
        section.writeUInt8((section[0] ?? 0) ^ 1, 0);
        return true;
      }),
  },
  {
    name: "symbol removed from the kernel",
    check: "symbols",
    spoil: (good) => withSymbol(good, () => undefined),
  },
  {
    name: "GPL-only symbol from a proprietary module",
    check: "symbols",
    spoil: (good) => {
      const proprietary = edited(
        good,
        ".modinfo",
        replace("license=GPL\0", () => "license=OWN\0"),
      );
      return proprietary === undefined
        ? undefined
        : withSymbol(proprietary, (symbol) => ({ ...symbol, gplOnly: true }));
    },
  },
  {
    name: "wrong modinfo version",
    check: "identity",
    spoil: (good) => ({ ...good, moduleVersion: "9.9.9" }),
  },
  { name: "truncated", check: "format", spoil: bytesOf((bytes) => bytes.subarray(0, bytes.length / 2)) },
  {
    name: "trailing bytes",
    check: "format",
    spoil: bytesOf((bytes) => Buffer.concat([bytes, Buffer.from([0])])),
  },
  {
    name: "nested trailers",
    check: "format",
    spoil: bytesOf((bytes) => Buffer.concat([bytes, TRAILER, TRAILER])),
  },
  {
    name: "duplicate modinfo",
    check: "format",
    spoil: (good) =>
      edited(
        good,
        ".modinfo",
        replace(/license=GPL\0/, () => "vermagic=6.\0".slice(0, 11).concat("\0")),
      ),
  },
  {
    name: "name is not the file's",
    check: "format",
    spoil: (good) => rewritten(good, ({ bytes }) => ({ name: "other.ko", bytes })),
  },
  {
    name: "bomb",
    check: "format",
    spoil: (good) => rewritten(good, ({ name }) => ({ name: `${name}.gz`, bytes: BOMB })),
  },
];

const BOMB = gzipSync(Buffer.alloc(129 * 1024 * 1024), { level: 1 });

type Symbols = NonNullable<KernelRecord["symvers"]>["symbols"];
type Symbol = Symbols extends ReadonlyMap<string, infer T> ? T : never;

/** The kernel with one symbol, which all modules use, otherwise. */
function withSymbol(good: Attacked, change: (symbol: Symbol) => Symbol | undefined): Attacked | undefined {
  const { symvers } = good.kernel;
  const name = ["_printk", "printk"].find((one) => symvers?.symbols.has(one));
  if (symvers === undefined || name === undefined) return undefined;
  const symbols = new Map(symvers.symbols);
  const changed = change(symbols.get(name) as Symbol);
  if (changed === undefined) symbols.delete(name);
  else symbols.set(name, changed);
  return { ...good, kernel: { ...good.kernel, symvers: { ...symvers, symbols } } };
}

/** The verdicts of every check that needs no boot. */
export async function verdictsOf({ files, kernel, moduleVersion }: Attacked): Promise<readonly Verdict[]> {
  const subject = { files: await openModuleFiles(files), kernel, moduleVersion: moduleVersion ?? "0.1.0" };
  return verdictsOn(subject);
}

/** Which checks refuse, sorted. */
export function refusing(verdicts: readonly Verdict[]): string[] {
  return verdicts.filter((one) => one.verdict !== verdict("", "pass").verdict).map(({ check }) => check);
}
