/**
 * What a compiler puts into a module for kernels that guard their control flow: marks of entry points, types of
 * functions, type information. Sources: the kernel's Documentation/arch/x86 and arm64, and its Kconfig help.
 */
import { type Elf, sectionNamed } from "./elf.ts";

export interface ModuleGuards {
  /** The first four bytes of init_module and of cleanup_module, in hexadecimal, as far as there are such functions. */
  readonly entries: ReadonlyMap<string, string>;
  readonly hasCode: boolean;
  /** Whether its functions carry the types that Clang's CFI compares. */
  readonly hasCfi: boolean;
  readonly hasBtf: boolean;
}

const SHF_EXECINSTR = 4;
const MARK_BYTES = 4;
/** What the kernel calls by pointer as soon as it has a module, and before it lets it go. */
const ENTRIES = ["init_module", "cleanup_module"];

export function readGuards(elf: Elf, what: string): ModuleGuards {
  const marks = new Map<string, string>();
  let hasCfi = false;
  for (const { name, section, value } of elf.symbols) {
    hasCfi ||= name.startsWith("__cfi_") || name.startsWith("__kcfi_typeid_");
    const code = ENTRIES.includes(name) ? elf.sections[section] : undefined;
    if (code === undefined || section === 0) continue;
    const at = Number(value);
    marks.set(name, Buffer.from(code.bytes.subarray(at, at + MARK_BYTES)).toString("hex"));
  }
  return {
    entries: new Map(
      ENTRIES.flatMap((name) => {
        const mark = marks.get(name);
        return mark === undefined ? [] : [[name, mark]];
      }),
    ),
    hasCode: elf.sections.some(({ flags, size }) => (flags & SHF_EXECINSTR) !== 0 && size > 0),
    hasCfi,
    hasBtf: sectionNamed(elf, ".BTF", what) !== undefined,
  };
}
