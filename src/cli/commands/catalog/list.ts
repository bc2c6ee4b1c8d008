/**
 * `kmodfarm catalog list`: every kernel ever seen.
 */
import { type AnnotatedKernel, annotated } from "../../../catalog/annotated.ts";
import { refuseUnknown } from "../../../farm/night/wanted.ts";
import { factsByKernel } from "../../../kernel/facts.ts";
import { selectKernels } from "../../../matrix/select.ts";
import { readPublished } from "../../../registry/generations.ts";
import type { OptionsOf } from "../../command.ts";
import { selectionOf, WHOLE_RELEASE, withStoredFarm } from "../../options.ts";
import { print, printJson, printTable } from "../../output.ts";
import type { LIST } from "./command.ts";

export async function list(options: OptionsOf<typeof LIST>): Promise<number> {
  const selection = selectionOf(options);
  return withStoredFarm(options, async (farm) => {
    const { catalog, facts } = await readPublished(farm.store);
    if (selection !== undefined) refuseUnknown(selection, catalog, []);
    const known = factsByKernel(facts);
    const selected =
      selection === undefined ? catalog.kernels : selectKernels(catalog, selection, "all", known);
    const kernels = selected.map((kernel) => annotated(kernel, known));
    if (options.json) await printJson({ ...catalog, kernels });
    else if (kernels.length === 0 && options.format === "table")
      await print(nothingListed(catalog.kernels.length, selection?.kernelRelease !== undefined));
    else
      await printTable(HEAD, kernelRows(kernels), {
        format: options.format,
        spare: ["COMPILER", "SUITE", "PACKAGE"],
      });
    return 0;
  });
}

const HEAD = ["RELEASE", "ARCH", "KERNEL", "PACKAGE", "FLAVOUR", "SUITE", "COMPILER", "STATE"];

function kernelRows(kernels: readonly AnnotatedKernel[]): string[][] {
  return kernels.map((kernel) => [
    kernel.distribution,
    kernel.architecture,
    kernel.kversion,
    kernel.packageVersion,
    kernel.flavour,
    kernel.sources.map(suiteOf).join(", "),
    kernel.compiler === undefined ? "unknown" : `${kernel.compiler.family}-${kernel.compiler.version}`,
    stateOf(kernel),
  ]);
}

/** A source as its distribution calls it: `bookworm-security` of `debian/bookworm-security`. */
function suiteOf(source: string): string {
  return source.slice(source.indexOf("/") + 1);
}

function stateOf(kernel: AnnotatedKernel): string {
  const facts: [string, string | undefined][] = [
    ["withdrawn since", kernel.withdrawnSince],
    ["stale since", kernel.staleSince],
    ["not fetchable since", kernel.notFetchableSince],
    ["not loadable since", kernel.notLoadableSince],
  ];
  const words = facts.flatMap(([word, since]) =>
    since === undefined ? [] : [`${word} ${since.slice(0, 10)}`],
  );
  if (kernel.unbuildable !== undefined) words.push(`not buildable: ${kernel.unbuildable}`);
  if (kernel.missing !== undefined) words.push(`incomplete: no ${kernel.missing.join(", ")}`);
  return words.join(", ") || "listed";
}

function nothingListed(known: number, isByRelease: boolean): string {
  if (known === 0) return "No kernels yet; `kmodfarm catalog update` finds them.\n";
  return `No kernels: the selection matches none of ${known}.${isByRelease ? ` ${WHOLE_RELEASE}.` : ""}\n`;
}
