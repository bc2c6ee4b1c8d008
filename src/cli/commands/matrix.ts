/**
 * `kmodfarm matrix`, also known as `matrix-gen`: which builds are wanted.
 */
import { FarmError } from "../../base/error.ts";
import { parseDocument } from "../../base/json.ts";
import { Catalog, EMPTY_CATALOG } from "../../catalog/catalog.ts";
import { mergeImported } from "../../catalog/merge.ts";
import type { FarmConfig } from "../../farm/config.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { diffMatrix, elementsToBuild } from "../../matrix/diff.ts";
import { AnyMatrix, type Element, elementKey } from "../../matrix/element.ts";
import { generateMatrix, type WantedDriver } from "../../matrix/generate.ts";
import { readPublished } from "../../registry/generations.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import { viewPath } from "../../registry/view.ts";
import {
  configOf,
  type PlaceOptions,
  readText,
  type SelectionOptions,
  selectionOf,
  toList,
} from "../options.ts";
import { print, printJson, table } from "../output.ts";

interface GenerateOptions extends PlaceOptions, SelectionOptions {
  readonly catalog?: readonly string[];
  readonly driver?: string;
  readonly driverVersion?: string;
}

export async function generate(options: GenerateOptions): Promise<number> {
  const config = await configOf(options);
  const catalog = await catalogOf(options, config);
  const selection = selectionOf(options);
  const elements = generateMatrix(
    catalog,
    wantedDrivers(options, config),
    selection === undefined ? config.select : [selection],
  );
  await printJson(elements);
  return 0;
}

async function catalogOf(options: GenerateOptions, config: FarmConfig): Promise<Catalog> {
  if (options.catalog === undefined)
    return (await readPublished(await openFolderStore(config.store), "candidate")).catalog;
  const catalogs = await Promise.all(
    options.catalog.map(async (place) => parseDocument(Catalog, await readText(place), place)),
  );
  return catalogs.reduce(mergeImported, EMPTY_CATALOG);
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
        detail: "no driver version is given, and none is configured",
        hint: "Give --driver-version, or a configuration with drivers.",
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

interface DiffOptions extends PlaceOptions {
  readonly report?: boolean;
}

export async function diff(previous: string, current: string, options: DiffOptions): Promise<number> {
  const [before, after] = await Promise.all(
    [previous, current].map(async (file) => parseDocument(AnyMatrix, await readText(file), file)),
  );
  const result = diffMatrix(before ?? [], after ?? []);
  if (!options.report) {
    await printJson(elementsToBuild(result));
  } else if (options.json) {
    const changed = result.changed.map(({ element, reasons }) => ({ ...element, reasons }));
    await printJson({ added: result.added, changed, removed: result.removed, unchanged: result.unchanged });
  } else {
    const lines = [
      ...result.added.map((element) => `+ ${elementKey(element)}`),
      ...result.changed.map(({ element, reasons }) => `~ ${elementKey(element)}: ${reasons.join("; ")}`),
      ...result.removed.map((element) => `- ${elementKey(element)}`),
      `${result.added.length} added, ${result.changed.length} changed, ${result.removed.length} removed, ${result.unchanged} unchanged`,
    ];
    await print(`${lines.join("\n")}\n`);
  }
  return 0;
}

export async function show(file: string | undefined, options: PlaceOptions): Promise<number> {
  const config = await configOf(options);
  const state = await readPublished(await openFolderStore(config.store), "candidate");
  const elements = file === undefined ? state.matrix : parseDocument(AnyMatrix, await readText(file), file);
  const status = statusOf(state);
  if (options.json) await printJson(elements.map((element) => ({ ...element, status: status(element) })));
  else if (elements.length === 0) await print("The matrix is empty. `kmodfarm run` fills it.\n");
  else {
    const rows = elements.map((element) => [
      element.driver,
      element.driverversion,
      element.output,
      status(element),
    ]);
    await print(table(["DRIVER", "VERSION", "OUTPUT", "STATUS"], rows));
  }
  return 0;
}

function statusOf(state: Awaited<ReturnType<typeof readPublished>>): (element: Element) => string {
  const stable = new Set(state.indices.flatMap((index) => index.stable.map(viewPath)));
  const candidates = new Set(state.indices.flatMap((index) => index.candidate.map(viewPath)));
  const failures = new Map(
    state.attempts.flatMap((note) =>
      note.failure === undefined ? [] : [[note.element, note.failure.cause]],
    ),
  );
  return (element) => {
    const path = viewPath(element);
    if (stable.has(path)) return "stable";
    if (candidates.has(path)) return "candidate";
    const cause = failures.get(elementKey(element));
    return cause === undefined ? "not built" : `failed: ${cause}`;
  };
}
