/**
 * `kmodfarm matrix show`: where each element of the store's matrix stands, and what else the store holds.
 */
import { ERRORS } from "../../../base/error-codes.ts";
import { openGate } from "../../../farm/gate.ts";
import type { Farm } from "../../../farm/open.ts";
import { type PlacedToday, standingsToday } from "../../../farm/standings.ts";
import { kernelName } from "../../../kernel/kernel.ts";
import { type Element, elementKey } from "../../../matrix/element.ts";
import type { LoadsOn } from "../../../registry/documents.ts";
import { type ElementState, elementStates, type Placed } from "../../../registry/element-state.ts";
import { type Listing, readListing, readPublished } from "../../../registry/generations.ts";
import { NOTHING_PUBLISHED } from "../../../registry/parts.ts";
import { damageOf, damageWords } from "../../../registry/repair.ts";
import { standingWords } from "../../../registry/standing.ts";
import { viewPath } from "../../../registry/view-path.ts";
import type { OptionsOf } from "../../command.ts";
import { failureParagraphs, shortFailure } from "../../failures.ts";
import { readMatrix } from "../../matrix-io.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";
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
  state = gate.asksKernels ? await readPublished(farm.store) : await readListing(farm.store);
  const placed = await standingsToday(gate, state);
  const damaged = await damagedOf(farm, placed, options.full ?? false);
  const elements = file === undefined ? state.matrix : await readMatrix(file);
  const stateOf = elementStates(state, placed);
  const wordsOf = (one: Placed) => damaged.get(one) ?? standingWords(one.standing);
  const rows = elements.map((element) => {
    const elementState = stateOf(element);
    return { element, elementState, status: stateWords(elementState, wordsOf) };
  });
  const others =
    file === undefined ? [...served(state, elements), ...withoutElement(placed, elements, wordsOf)] : [];
  if (options.json) {
    const notes = new Map(state.attempts.map((note) => [note.element, note]));
    await printJson([
      ...rows.map(({ element, elementState, status }) => ({
        ...element,
        status,
        state: elementState.word,
        failure: notes.get(elementKey(element))?.failure,
      })),
      ...others,
    ]);
  } else if (rows.length + others.length === 0)
    await print("The matrix is empty; `kmodfarm run` fills it.\n");
  else await print(toText(farm, state, rows, others));
  return damaged.size > 0 ? ERRORS.STORE_CORRUPT.exit : 0;
}

interface Row {
  readonly element: Element;
  readonly status: string;
}

function toText(farm: Farm, state: Listing, rows: readonly Row[], others: readonly Other[]): string {
  const cells = [...rows.map(({ element, status }) => ({ ...element, status })), ...others].map((one) => [
    ...[one.driver, one.driverversion, one.output, one.status],
  ]);
  const notes = new Map(state.attempts.map((note) => [note.element, note]));
  const failed = rows.flatMap(({ element }) => {
    const note = notes.get(elementKey(element));
    const isFailed = note?.failure !== undefined && note.failure.code !== "KERNEL_EXCLUDED";
    return isFailed ? [{ element, note }] : [];
  });
  const shown = table(["DRIVER", "VERSION", "OUTPUT", "STATUS"], cells);
  return failed.length === 0 ? shown : `${shown}\n${failureParagraphs(failed, farm.store)}`;
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
  readonly status: string;
}

/** Kernels that other kernels' modules serve, and that no element is for. */
function served({ indices }: Listing, elements: readonly Element[]): Other[] {
  const wanted = new Set(elements.map((one) => `${one.driver} ${kernelName(one)}`));
  return indices.flatMap((index) =>
    (index.loadsOn ?? []).flatMap((one): Other[] => {
      const { driver } = one.artifact;
      const kernel = kernelName({ ...index, ...one });
      if (wanted.has(`${driver} ${kernel}`)) return [];
      return [{ driver, driverversion: "", output: kernel, status: servedWords(one) }];
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
    const { driver, driverVersion: driverversion, output } = one.listed.entry;
    if (places.has(viewPath(one.listed.entry))) return [];
    return [{ driver, driverversion, output, status: wordsOf(one) }];
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
