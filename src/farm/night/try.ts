/**
 * Trying a driver as it lies there: the farm's own run on a registry that is thrown away, for kernels that cover what
 * is out there.
 */
import { join } from "node:path";
import { sha256 } from "../../base/json.ts";
import { removeTree } from "../../base/strange-tree.ts";
import type { Source } from "../../catalog/ask.ts";
import { partsOfRelease } from "../../kernel/release-rules.ts";
import { type Element, elementKey } from "../../matrix/element.ts";
import { kernelSeries } from "../../matrix/select.ts";
import type { FarmConfig } from "../config/index.ts";
import { openFarm } from "../open.ts";
import { makeFirstRoot } from "../signing/ceremony.ts";
import { headMaker } from "../signing/heads.ts";
import { makeMissingKeys } from "../signing/keys.ts";
import type { RunReport } from "./report.ts";
import { runFarm } from "./run.ts";
import type { RunOptions } from "./run-options.ts";

export interface TryReport extends RunReport {
  /** Where logs lie until the driver is tried again. */
  readonly place: string;
  /** How many elements a whole covering set has. */
  readonly covering: number;
  /** How many were chosen and gave way to others, because the mirror does not have their kernel. */
  readonly replaced: number;
}

/**
 * @param most how many elements at most; undefined for all
 * @throws as `runFarm`
 */
export async function tryDrivers(
  config: FarmConfig,
  most: number | undefined,
  options: RunOptions,
): Promise<TryReport> {
  const subject = sha256(JSON.stringify(config.drivers.map(({ name, source }) => [name, source])));
  const place = join(config.cache, "try", subject.slice(7, 23));
  await removeTree(place);
  let covering = 0;
  let chosen: readonly Element[] = [];
  const once = new Set<string>();
  // Asked again whenever something is learned of a kernel: what is under way stays chosen, whatever takes the place of others.
  const choose = (elements: readonly Element[]) => {
    covering = elements.length;
    const before = new Set(chosen.map(elementKey));
    const kept = elements.filter((element) => before.has(elementKey(element)));
    chosen = most === undefined ? elements : spread(elements, most, kept);
    for (const element of chosen) once.add(elementKey(element));
    return chosen;
  };
  // What is thrown away is signed with keys that are thrown away too, and for nobody's kernels.
  const trial: FarmConfig = {
    ...config,
    ...{ store: place, archive: "none", keys: [], keyDirectory: join(place, "keys"), signatures: [] },
  };
  await makeMissingKeys(trial, () => {});
  const farm = await openFarm(trial);
  try {
    // Here already, so that the run does not announce a registry to nodes.
    await makeFirstRoot(farm.store, farm.signing, headMaker(farm, options.now), true);
    const sources = askedFor(farm.sources, options.narrowed?.distributions);
    const report = await runFarm({ ...farm, sources }, { ...options, choose });
    return { ...report, place, covering, replaced: once.size - chosen.length };
  } finally {
    await farm.close();
  }
}

/**
 * Sources of the releases that were asked for, because nothing of the others is tried, so their faults are nobody's concern.
 * Words that name none are refused later, by what all sources have.
 */
function askedFor(sources: readonly Source[], words: readonly string[] | undefined): readonly Source[] {
  if (words === undefined) return sources;
  const named = words.map((word) => sources.filter(({ release }) => isNamed(release, word)));
  return named.some((some) => some.length === 0) ? sources : [...new Set(named.flat())];
}

function isNamed(release: string, word: string): boolean {
  return word === release || word === partsOfRelease(release).id;
}

/**
 * So many elements that differ as much as they can: of every driver, release, series and architecture the first before any
 * second, and generic kernels before others. Those of `already`, which are among the elements, are of them in any case.
 */
export function spread(
  elements: readonly Element[],
  most: number,
  already: readonly Element[] = [],
): readonly Element[] {
  const seen = new Map<string, number>();
  const left = new Set(
    elements.toSorted((a, b) => Number(a.flavour !== "generic") - Number(b.flavour !== "generic")),
  );
  const chosen = new Set<Element>();
  const take = (element: Element) => {
    left.delete(element);
    chosen.add(element);
    for (const fact of factsOf(element)) seen.set(fact, (seen.get(fact) ?? 0) + 1);
  };
  for (const element of already) take(element);
  while (chosen.size < most && left.size > 0) {
    const [best] = [...left].toSorted((a, b) => knownOf(a, seen) - knownOf(b, seen));
    if (best === undefined) break;
    take(best);
  }
  return elements.filter((element) => chosen.has(element));
}

function knownOf(element: Element, seen: ReadonlyMap<string, number>): number {
  return factsOf(element).reduce((sum, fact) => sum + (seen.get(fact) ?? 0), 0);
}

function factsOf({ driver, distribution, kversion, architecture, flavour }: Element): string[] {
  const series = kernelSeries(kversion);
  return [
    driver,
    distribution,
    `series ${series}`,
    `${distribution} ${series}`,
    architecture,
    `flavour ${flavour}`,
  ];
}
