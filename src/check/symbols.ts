/**
 * Whether a kernel has what a set of modules imports: each symbol, with the CRC the module was built with, open to its
 * licence and to its namespaces. The rules are the kernel's (kernel/module/main.c and version.c, read for facts), and
 * stricter in one place: a CRC that should be there and is not is a failure.
 */
import { isGplCompatible, type KernelModule } from "../formats/kernel-module.ts";
import { crcText, type ExportedSymbol, type Symvers } from "../formats/module-symvers.ts";

export type Importer = Pick<
  KernelModule,
  "name" | "license" | "imports" | "exports" | "versions" | "importNamespaces"
>;

/** What is wrong with one import. */
export interface SymbolFault {
  readonly module: string;
  readonly symbol: string;
  readonly kind: "missing" | "version" | "noVersion" | "gplOnly" | "namespace";
  readonly fact: string;
}

const LAYOUT = "module_layout";

/**
 * What is wrong with imports. Modules of one set may use each other's symbols, as long as these are imported from somebody
 * at all; and those of other drivers' modules that are in the kernel before them.
 */
export function symbolFaults(
  modules: readonly Importer[],
  { symbols, hasVersions }: Symvers,
  others: readonly Importer[] = [],
): SymbolFault[] {
  const own = new Map(
    [...others, ...modules].flatMap((one) =>
      one.exports.map((exported) => [exported.name, exported] as const),
    ),
  );
  return modules.flatMap((module) => {
    const fault = (symbol: string, kind: SymbolFault["kind"], fact: string): SymbolFault => ({
      ...{ module: module.name, symbol, kind, fact },
    });
    const faults = module.imports.flatMap((symbol): SymbolFault[] => {
      const exported = symbols.get(symbol);
      const offer = exported ?? own.get(symbol);
      if (offer === undefined) return [fault(symbol, "missing", `the kernel does not export ${symbol}`)];
      if (offer.gplOnly && !isGplCompatible(module.license))
        return [
          fault(
            symbol,
            "gplOnly",
            `${symbol} is for GPL modules only, but the module's licence is ${module.license ?? "none"}`,
          ),
        ];
      return [
        ...namespaceFault(symbol, offer, module, fault),
        // Of an export of the set, a CRC that is not there cannot be compared by the kernel either.
        ...(!hasVersions || offer.crc === undefined
          ? []
          : versionFault(symbol, { crc: offer.crc }, module, fault)),
      ];
    });
    const layout = symbols.get(LAYOUT);
    const isLaidOut = !hasVersions || layout === undefined || module.imports.includes(LAYOUT);
    return isLaidOut ? faults : [...versionFault(LAYOUT, layout, module, fault), ...faults];
  });
}

type MakeFault = (symbol: string, kind: SymbolFault["kind"], fact: string) => SymbolFault;

function versionFault(
  symbol: string,
  { crc }: Pick<ExportedSymbol, "crc">,
  { versions }: Importer,
  fault: MakeFault,
): SymbolFault[] {
  const built = versions?.get(symbol);
  if (built === undefined)
    return [fault(symbol, "noVersion", `it has no CRC for ${symbol}, and this kernel checks CRCs`)];
  if (built === crc) return [];
  return [
    fault(
      symbol,
      "version",
      `${symbol} has CRC ${crcText(crc)} in the kernel, but ${crcText(built)} in the module`,
    ),
  ];
}

/** `module:a,b*` opens a symbol to modules by their names; any other namespace to who imports it. */
function namespaceFault(
  symbol: string,
  { namespace = "" }: { readonly namespace?: string },
  { name, importNamespaces }: Importer,
  fault: MakeFault,
): SymbolFault[] {
  if (namespace === "" || importNamespaces.includes(namespace)) return [];
  const isOpen = namespace
    .replace(/^module:/, "")
    .split(",")
    .some((pattern) => matches(name, pattern));
  if (namespace.startsWith("module:") && isOpen) return [];
  return [
    fault(
      symbol,
      "namespace",
      `${symbol} is in the namespace ${namespace}, which the module does not import`,
    ),
  ];
}

/** The kernel takes `-` for `_`, and a `*` at the end for anything. */
function matches(name: string, pattern: string): boolean {
  const [wanted, given] = [pattern, name].map((word) => word.replaceAll("-", "_")) as [string, string];
  return wanted.endsWith("*") ? given.startsWith(wanted.slice(0, -1)) : given === wanted;
}
