/**
 * Why two builds of one module differ: what a difference shows, and what usually makes it. From measurements and
 * from what reproducible-builds.org and the kernel's Documentation/kbuild/reproducible-builds.rst describe.
 */
export interface SectionDifference {
  readonly section: string;
  readonly kind: "onlyFirst" | "onlySecond" | "size" | "bytes" | "order";
  readonly sizes: readonly [number, number];
  /** Offset of the first byte that differs, and how many do; of sections of one size only. */
  readonly firstAt?: number;
  readonly differingBytes?: number;
  /** Texts that only one of them holds, as far as a person reads. */
  readonly strings: { readonly first: readonly string[]; readonly second: readonly string[] };
}

type Places = readonly (readonly [what: string, first: string, second: string])[];

interface Cause {
  /** What is likely, or undefined when nothing speaks for it. */
  explain(difference: SectionDifference, places: Places): string | undefined;
}

const DATE =
  /\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]?\d\b|\b\d{4}-\d\d-\d\d\b|\b\d\d:\d\d(?::\d\d)?\b/;
/** Seconds since 1970 of the years 2017 to 2065. */
const SECONDS = /(?<!\d)(?:1[5-9]|2\d)\d{8}(?!\d)/;
const RANDOM = /[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}|[0-9a-f]{16}|\/tmp\/|tmp\.\w{6}/i;
/** Digits of a random number are a time or a user's number now and then. */
const RANDOM_DIGITS = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}/gi;

const onlyStrings = ({ strings }: SectionDifference) => [...strings.first, ...strings.second];
const meantStrings = (difference: SectionDifference) =>
  onlyStrings(difference).map((text) => text.replaceAll(RANDOM_DIGITS, " "));

/** The first that explains a difference is taken for it. */
const CAUSES: readonly Cause[] = [
  {
    explain: ({ section }) =>
      section === ".comment"
        ? "a different compiler: the toolchain roots differ although the recipes are the same"
        : undefined,
  },
  {
    explain: ({ section, strings }) => {
      if (section !== ".modinfo" || strings.first.length === 0) return undefined;
      const keys = [...new Set([...strings.first, ...strings.second].map((text) => text.split("=")[0]))];
      if (keys.includes("srcversion"))
        return "modinfo srcversion differs: a source file is generated, with different content each time";
      if (keys.includes("vermagic"))
        return "modinfo vermagic differs: the kernel headers are different, or have a random seed (RANDSTRUCT)";
      return undefined;
    },
  },
  {
    explain: (difference, places) => {
      const texts = meantStrings(difference);
      const place = places.find(([, first, second]) =>
        texts.some((text) => text.includes(first) || text.includes(second)),
      );
      return place === undefined ? undefined : BY_PLACE[place[0]]?.(difference.section);
    },
  },
  {
    explain: (difference) =>
      meantStrings(difference).some((text) => DATE.test(text) || SECONDS.test(text))
        ? "a date or a time: __DATE__, __TIME__, or `date` in a makefile; use SOURCE_DATE_EPOCH or remove it"
        : undefined,
  },
  {
    explain: (difference) =>
      onlyStrings(difference).some((text) => RANDOM.test(text))
        ? "a random value: $RANDOM, a UUID, or the name of a temporary file"
        : undefined,
  },
  {
    explain: ({ section }) =>
      /^\.BTF/.test(section)
        ? "BTF in a different order: an older pahole ran in parallel, or the underlying debug information differs"
        : undefined,
  },
  {
    explain: ({ section, kind }) =>
      kind === "order" || /^\.(?:str|sym)tab$/.test(section)
        ? "the same symbols in a different order: files are linked in the order of $(wildcard …), find or -j; sort them in Kbuild"
        : undefined,
  },
  {
    explain: ({ section }) =>
      /^__versions|^__version_ext/.test(section)
        ? "different CRCs of kernel symbols: Module.symvers or the types of the driver's exports differ"
        : undefined,
  },
  {
    explain: ({ section, strings }) =>
      /^\.(?:rodata|data|init\.rodata|modinfo|exit|bss)/.test(section) && strings.first.length > 0
        ? "different text in the data: a value from the environment (a variable, a system file, a counter) is built in"
        : undefined,
  },
];

const BY_PLACE: Readonly<Record<string, (section: string) => string>> = {
  directory: (section) =>
    section.startsWith(".debug")
      ? "the build directory, in debug information: the driver's makefile drops KCFLAGS, whose -ffile-prefix-map hides it"
      : "the build directory: $(src), $(CURDIR) or an absolute __FILE__ is built in",
  host: () => "the name of the machine: `hostname` or `uname -n` in a makefile",
  user: () => "the user who built it: `whoami`, `id` or $USER in a makefile",
  umask: () => "the umask: file permissions are built in",
  "time zone": () => "the time zone: `date` without -u in a makefile",
  locale: () => "the language: output of a localized program is built in",
};

const ONLY_BUILD_ID =
  "the build id alone: it was computed from debug information that differed (a path, the order of types) and has since been removed";
const DEBUG_ALONE = "the debug information alone: what the kernel loads is the same";
const CODE =
  "the code itself: a number or a choice from the environment (time, -j, a random value, a counter), or a different compiler or options";

/** Each once, the most telling first. */
export function likelyCauses(differences: readonly SectionDifference[], places: Places): string[] {
  const own = differences.filter(({ section }) => !isConsequence(section));
  if (own.length === 0) return [ONLY_BUILD_ID];
  const causes = CAUSES.flatMap((cause) =>
    own.flatMap((difference) => {
      const isEarlier = CAUSES.slice(0, CAUSES.indexOf(cause)).some(
        (earlier) => earlier.explain(difference, places) !== undefined,
      );
      const found = isEarlier ? undefined : cause.explain(difference, places);
      return found === undefined ? [] : [found];
    }),
  );
  if (causes.length > 0) return [...new Set(causes)];
  return [own.every(({ section }) => /^\.(?:rela)?\.?debug/.test(section)) ? DEBUG_ALONE : CODE];
}

/** What differs only because something else does. */
function isConsequence(section: string): boolean {
  return section === ".note.gnu.build-id" || section === "(ELF header)" || section.startsWith(".rela");
}
