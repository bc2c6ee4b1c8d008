/**
 * `kmodfarm matrix generate`: which builds are wanted.
 */
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import type { Described } from "../../../catalog/annotated.ts";
import { EMPTY_CATALOG } from "../../../catalog/catalog.ts";
import type { KernelList } from "../../../catalog/kernel-list.ts";
import { uniteCatalogs } from "../../../catalog/merge.ts";
import { type FarmConfig, parseExclusions } from "../../../farm/config/index.ts";
import { unknownSelections, wantedElements } from "../../../farm/night/wanted.ts";
import { factsByKernel } from "../../../kernel/facts.ts";
import { PathSegment } from "../../../kernel/path-segment.ts";
import { type Exclusion, expiredExclusions, parseBlocklist } from "../../../matrix/exclude.ts";
import { refuseSharedPlaces, type WantedDriver } from "../../../matrix/generate.ts";
import type { Selection } from "../../../matrix/select.ts";
import { readPublished } from "../../../registry/generations.ts";
import { openStore } from "../../../registry/stores/index.ts";
import { readCatalog } from "../../catalog-io.ts";
import type { OptionsOf } from "../../command.ts";
import { readText } from "../../input.ts";
import { printMatrix } from "../../matrix-io.ts";
import { gapOrdered } from "../../matrix-order.ts";
import { configOf, requireStore, selectionOf, toList, WHOLE_RELEASE } from "../../options.ts";
import { say } from "../../output.ts";
import type { GENERATE } from "./command.ts";

type GenerateOptions = OptionsOf<typeof GENERATE>;

export async function generate(options: GenerateOptions): Promise<number> {
  const narrowed = selectionOf(options);
  const config = await configOf(options);
  const { catalog, facts } = await catalogOf(options, config);
  const drivers = wantedDrivers(options, config);
  refuseSharedPlaces(drivers);
  const exclude = [...config.exclude, ...(await readExclusions(options.exclude ?? []))];
  const { select } = config;
  const unknown = unknownSelections(select, catalog);
  if (unknown.length > 0) throw new FarmError("CONFIG_INVALID", { detail: unknown.join("; ") });
  const now = new Date();
  const asked = { select, exclude, narrowed, facts: factsByKernel(facts), now };
  const { elements, excluded, ofAll, isEmpty } = wantedElements(catalog, drivers, asked);
  for (const [reason, members] of Map.groupBy(excluded, (one) => one.reason)) {
    say(`${counted(members.length, "element")} excluded: ${reason}`);
  }
  for (const { reason, until } of expiredExclusions(exclude, now)) {
    say(`an exclusion ended on ${until} and no longer applies: ${reason}`);
  }
  if (ofAll !== undefined) say(`${elements.length} of ${ofAll} elements are left by the options`);
  if (isEmpty) say(nothingSelected(catalog.kernels.length, narrowed));
  const isByGap = (options.order ?? config.order) === "gap";
  await printMatrix(isByGap ? (await gapOrdered(config, { catalog, facts }))(elements, true) : elements);
  return isEmpty && !(options.allowEmpty ?? config.allowEmpty) ? ERRORS.CATALOG_SUSPECT.exit : 0;
}

function nothingSelected(kernels: number, narrowed: Selection | undefined): string {
  const fact = `no elements: the selection matches none of the ${kernels} known kernels`;
  if (kernels === 0) return `${fact}; \`kmodfarm catalog update\` fills the catalog`;
  return narrowed?.kernelRelease === undefined ? fact : `${fact}; ${WHOLE_RELEASE}`;
}

/** A YAML list of ours, or a BLOCKLIST; what cannot be carried over from the latter is reported. */
async function readExclusions(files: readonly string[]): Promise<Exclusion[]> {
  const lists = files.map(async (file) => {
    const text = await readText(file);
    const ours = parseExclusions(text, file);
    if (ours !== undefined) return ours;
    const { exclusions, problems } = inFile(file, () => parseBlocklist(text));
    for (const problem of problems) say(`${file}: ${problem}`);
    return exclusions;
  });
  return (await Promise.all(lists)).flat();
}

/** Puts the file's name before what is wrong with its content. */
function inFile<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    if (!(thrown instanceof FarmError)) throw thrown;
    const { code, message, hint, cause } = thrown;
    throw new FarmError(code, { detail: `${file}: ${message}`, hint, cause });
  }
}

async function catalogOf(options: GenerateOptions, config: FarmConfig): Promise<Described> {
  if (options.catalog === undefined) {
    await requireStore(config, options);
    return readPublished(await openStore(config.store));
  }
  const catalogs = await Promise.all(
    options.catalog.map(async (place) => {
      const read = await readCatalog(place);
      if (read.list !== undefined) say(listNote(read.list));
      return read;
    }),
  );
  return catalogs.reduce<Described>(uniteCatalogs, { catalog: EMPTY_CATALOG, facts: [] });
}

/** The parts of a list that give no element: bad entries and kernels that cannot be built are not passed over in silence. */
function listNote({ url, entries, kernels, dropped }: KernelList): string {
  const count = (test: (kernel: KernelList["kernels"][number]) => boolean) => kernels.filter(test).length;
  const lost = dropped.reduce((sum, one) => sum + one.count, 0);
  const parts = [
    [lost, `${lost === 1 ? "entry" : "entries"} dropped`],
    [count(({ distribution }) => distribution === "unknown"), "of an uncertain distribution release"],
    [count(({ missing }) => missing.length > 0), "with header packages missing"],
    [count(({ unbuildable }) => unbuildable !== undefined), "for which nothing can be built"],
  ].filter(([number]) => number !== 0);
  const left = parts.map(([number, what]) => `${number} ${what}`).join(", ");
  const examples = dropped.map(({ reason, examples: some }) => `\n  ${reason}: ${some.join(", ")}`).join("");
  return `${url}: ${counted(entries, "entry")}, ${counted(kernels.length, "kernel")}${left === "" ? "" : `; left out: ${left}`}${examples}`;
}

function wantedDrivers(options: GenerateOptions, config: FarmConfig): WantedDriver[] {
  const configured = config.drivers.filter(
    ({ name }) => options.driver === undefined || name === options.driver,
  );
  const versions = toList(options.driverVersion);
  if (versions === undefined) {
    const all = configured.flatMap(({ name, versions: its, series }) =>
      its.map((version) => ({ name, version, series })),
    );
    if (all.length === 0)
      throw new FarmError("USAGE", {
        detail: "no driver version was given, and none is configured",
        hint: "Give --driver-version, or configure a driver.",
      });
    return all;
  }
  for (const word of [...versions, ...(options.driver === undefined ? [] : [options.driver])]) {
    if (!PathSegment.safeParse(word).success)
      throw new FarmError("UNSAFE_NAME", {
        detail: `driver or version ${JSON.stringify(word)} is not a safe name`,
      });
  }
  const only = configured.length === 1 ? configured[0] : undefined;
  const name = options.driver ?? only?.name ?? "driver";
  return versions.map((version) => ({ name, version, series: only?.series }));
}
