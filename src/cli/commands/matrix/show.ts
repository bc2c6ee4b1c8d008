/**
 * `kmodfarm matrix show`: where each element of the store's matrix stands, and what else the store holds.
 */
import { ERRORS } from "../../../base/error-codes.ts";
import { openGate } from "../../../farm/gate/gate.ts";
import { type PlacedToday, standingsToday } from "../../../farm/gate/standings.ts";
import { type Narrowed, refuseUnknown, wantedElements } from "../../../farm/night/wanted.ts";
import type { Farm } from "../../../farm/open.ts";
import { factsByKernel } from "../../../kernel/facts.ts";
import { kernelName } from "../../../kernel/kernel.ts";
import { type Element, elementKey } from "../../../matrix/element.ts";
import { makeExcluder } from "../../../matrix/exclude.ts";
import { selectKernels } from "../../../matrix/select.ts";
import type { LoadsOn, Published } from "../../../registry/documents.ts";
import { type ElementState, elementStates, type Placed } from "../../../registry/element-state.ts";
import { type Listing, readListing, readPublished } from "../../../registry/generations.ts";
import { NOTHING_PUBLISHED } from "../../../registry/parts.ts";
import { damageOf, damageWords } from "../../../registry/repair.ts";
import { standingWords } from "../../../registry/standing.ts";
import { viewPath } from "../../../registry/view-path.ts";
import type { OptionsOf } from "../../command.ts";
import { failureParagraphs, shortFailure } from "../../failures.ts";
import { readMatrix } from "../../matrix-io.ts";
import { narrowedBy, withStoredFarm } from "../../options.ts";
import { print, printJson, printTable } from "../../output.ts";
import type { SHOW } from "./command.ts";

type ShowOptions = OptionsOf<typeof SHOW>;

export async function show(file: string | undefined, options: ShowOptions): Promise<number> {
  return withStoredFarm(options, (farm) => showOf(farm, file, options));
}

async function showOf(farm: Farm, file: string | undefined, options: ShowOptions): Promise<number> {
  let state: Listing = NOTHING_PUBLISHED;
  const gate = await openGate(
    farm,
    () => ({ ...NOTHING_PUBLISHED, ...state }),
    () => new Date(),
  );
  const isExcluding = file === undefined && farm.config.exclude.length > 0;
  const narrowed = narrowedBy(options);
  const isWhole = gate.asksKernels || isExcluding || narrowed !== undefined;
  const whole = isWhole ? await readPublished(farm.store) : undefined;
  state = whole ?? (await readListing(farm.store));
  // Which kernels are still to come is known by the catalog.
  if (whole === undefined && state.attempts.some(({ upcoming }) => upcoming === true))
    state = await readPublished(farm.store);
  const placed = await standingsToday(gate, state);
  const damaged = await damagedOf(farm, placed, options.full ?? false);
  const elements = file === undefined ? state.matrix : await readMatrix(file);
  const stateOf = elementStates(state, placed);
  const wordsOf = (one: Placed) => damaged.get(one) ?? standingWords(one.standing);
  const reasonAgainst = makeExcluder(farm.config.exclude, new Date());
  const isAskedFor = asksFor(narrowed, whole, farm, elements);
  const all = elements.map((element) => {
    const [elementState, excluded] = [stateOf(element), reasonAgainst(element)];
    return { element, elementState, excluded, status: statusOf(elementState, excluded, wordsOf) };
  });
  const allOthers =
    file === undefined
      ? [
          ...(isExcluding && whole !== undefined ? neverBuilt(farm, whole) : []),
          ...served(state, elements),
          ...withoutElement(placed, elements, wordsOf),
        ]
      : [];
  const rows = all.filter(({ element }) => isAskedFor(element.driver, kernelName(element)));
  const others = allOthers.filter(({ driver, kernel }) => isAskedFor(driver, kernel));
  const count = all.length + allOthers.length;
  if (options.json) {
    const notes = new Map(state.attempts.map((note) => [note.element, note]));
    await printJson({
      schema: "kmodfarm.matrix-show/1",
      elements: rows.map(({ element, elementState, excluded, status }) => ({
        ...element,
        status,
        state: elementState.word,
        excluded,
        failure: notes.get(elementKey(element))?.failure,
      })),
      others: others.map(({ kernel: _, ...one }) => one),
    });
  } else if (count === 0 && options.format === "table")
    await print("The matrix is empty; `kmodfarm run` fills it.\n");
  else
    await printTable(["DRIVER", "VERSION", "OUTPUT", "STATUS"], cellsOf(rows, others), {
      ...{ format: options.format, spare: ["VERSION"], paths: ["OUTPUT"] },
      below: `${failuresText(farm, state, rows)}${narrowed === undefined ? "" : `\n${rows.length + others.length} of ${count} were asked for.\n`}`,
    });
  return damaged.size > 0 ? ERRORS.STORE_CORRUPT.exit : 0;
}

/** What of the store is asked for, as `run` narrows it; the newest are those of the matrix. */
function asksFor(
  narrowed: Narrowed | undefined,
  whole: Published | undefined,
  { config }: Farm,
  elements: readonly Element[],
): (driver: string, kernel: string) => boolean {
  if (narrowed === undefined || whole === undefined) return () => true;
  const { catalog, facts } = whole;
  const drivers = [...config.drivers, ...elements.map(({ driver }) => ({ name: driver }))];
  refuseUnknown(narrowed, catalog, drivers);
  const inMatrix = new Set(elements.map(kernelName));
  const kernels =
    narrowed.newest === undefined
      ? catalog.kernels
      : catalog.kernels.filter((kernel) => inMatrix.has(kernelName(kernel)));
  const { sources } = catalog;
  const selected = selectKernels({ kernels, sources }, narrowed, "all", factsByKernel(facts));
  const names = new Set(selected.map(kernelName));
  return (driver, kernel) => (narrowed.drivers?.includes(driver) ?? true) && names.has(kernel);
}

interface Row {
  readonly element: Element;
  readonly status: string;
}

function cellsOf(rows: readonly Row[], others: readonly Other[]): string[][] {
  return [...rows.map(({ element, status }) => ({ ...element, status })), ...others].map((one) => [
    ...[one.driver, one.driverversion, one.output, one.status],
  ]);
}

function failuresText(farm: Farm, state: Listing, rows: readonly Row[]): string {
  const notes = new Map(state.attempts.map((note) => [note.element, note]));
  const failed = rows.flatMap(({ element }) => {
    const note = notes.get(elementKey(element));
    const isFailed = note?.failure !== undefined && note.failure.code !== "KERNEL_EXCLUDED";
    return isFailed ? [{ element, note }] : [];
  });
  return failed.length === 0 ? "" : `\n${failureParagraphs(failed, farm.store)}`;
}

/** What is excluded now may be published all the same: excluding takes nothing back. */
function statusOf(
  state: ElementState,
  excluded: string | undefined,
  wordsOf: (placed: Placed) => string,
): string {
  if (excluded === undefined) return stateWords(state, wordsOf);
  const isGiven = state.word === "stable" || state.word === "loadsOn" || state.instead !== undefined;
  return isGiven
    ? `${stateWords(state, wordsOf)}; stays published, but excluded: ${excluded}`
    : `excluded: ${excluded}`;
}

/** What is selected and excluded, and was never built. */
function neverBuilt({ config }: Farm, { catalog, facts, matrix }: Published): Other[] {
  const drivers = config.drivers.flatMap(({ name, versions, series }) =>
    versions.map((version) => ({ name, version, series })),
  );
  const { select, exclude } = config;
  const asked = { select, exclude, facts: factsByKernel(facts), now: new Date() };
  const known = new Set(matrix.map(elementKey));
  return wantedElements(catalog, drivers, asked).excluded.flatMap(({ element, reason }): Other[] => {
    const { driver, driverversion, output } = element;
    return known.has(elementKey(element))
      ? []
      : [
          {
            ...{ driver, driverversion, output, kernel: kernelName(element) },
            ...{ status: `excluded: ${reason}`, excluded: reason },
          },
        ];
  });
}

function stateWords(state: ElementState, wordsOf: (placed: Placed) => string): string {
  const words = ownWords(state, wordsOf);
  const version = state.instead?.listed.entry.driverVersion;
  return version === undefined ? words : `${words}; nodes get ${version}`;
}

function ownWords(state: ElementState, wordsOf: (placed: Placed) => string): string {
  switch (state.word) {
    case "stable":
      return besideWords(wordsOf(state.artifact), state.beside, wordsOf);
    case "loadsOn":
      return besideWords(servedWords(state.by), state.beside, wordsOf);
    case "candidate":
    case "withdrawn":
      return wordsOf(state.artifact);
    case "excluded":
      return `excluded: ${state.attempt.failure?.cause ?? ""}`;
    case "failed":
    case "unfetchable":
      return state.attempt.failure === undefined
        ? "failed"
        : `failed: ${shortFailure(state.attempt.failure)}`;
    case "notBuilt":
      return "not built";
  }
}

function besideWords(given: string, beside: Placed | undefined, wordsOf: (placed: Placed) => string): string {
  return beside === undefined ? given : `${given}; another one is ${wordsOf(beside)}`;
}

function servedWords({ artifact }: LoadsOn): string {
  return `loads on: served by the modules of ${artifact.output}, tested there`;
}

/** What stands in the store and is no element of the matrix. */
interface Other {
  readonly driver: string;
  readonly driverversion: string;
  /** Its path in the view, or the kernel that others' modules serve. */
  readonly output: string;
  readonly kernel: string;
  readonly status: string;
  readonly excluded?: string;
}

/** Kernels that other kernels' modules serve, and that no element is for. */
function served({ indices }: Listing, elements: readonly Element[]): Other[] {
  const wanted = new Set(elements.map((one) => `${one.driver} ${kernelName(one)}`));
  return indices.flatMap((index) =>
    (index.loadsOn ?? []).flatMap((one): Other[] => {
      const { driver } = one.artifact;
      const kernel = kernelName({ ...index, ...one });
      if (wanted.has(`${driver} ${kernel}`)) return [];
      return [{ driver, driverversion: "", output: kernel, kernel, status: servedWords(one) }];
    }),
  );
}

/** Artifacts that no element is for: what was imported. */
function withoutElement(
  placed: readonly Placed[],
  elements: readonly Element[],
  wordsOf: (placed: Placed) => string,
): Other[] {
  const places = new Set(elements.map(viewPath));
  return placed.flatMap((one): Other[] => {
    const { index, entry } = one.listed;
    const { driver, driverVersion: driverversion, output } = entry;
    if (places.has(viewPath(entry))) return [];
    const kernel = kernelName({ ...index, ...entry });
    return [{ driver, driverversion, output, kernel, status: wordsOf(one) }];
  });
}

/** What nodes do not get as the index promises it, in words; every file is looked at only where that is asked for. */
async function damagedOf(
  { store }: Farm,
  placed: readonly PlacedToday[],
  isFull: boolean,
): Promise<Map<Placed, string>> {
  const damaged = new Map<Placed, string>();
  for (const one of placed) {
    const damage = isFull ? await damageOf(store, one.listed) : [];
    const words = damage.length > 0 ? damageWords(damage) : one.fault?.factAbout(store.place);
    if (words !== undefined) damaged.set(one, `damaged: ${words}; \`kmodfarm run\` restores what it can`);
  }
  return damaged;
}
