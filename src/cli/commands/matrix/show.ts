/**
 * `kmodfarm matrix show`: where each element of the store's matrix stands, and what else the store holds.
 */
import { ERRORS } from "../../../base/error.ts";
import { openGate } from "../../../farm/gate.ts";
import type { Farm } from "../../../farm/open.ts";
import { kernelName } from "../../../kernel/kernel.ts";
import { type Element, elementKey } from "../../../matrix/element.ts";
import { type AttemptNote, indexName, type LoadsOn, type Published } from "../../../registry/documents.ts";
import { readPublished } from "../../../registry/generations.ts";
import { damageOf, damageWords } from "../../../registry/repair.ts";
import { servedBy } from "../../../registry/reuse.ts";
import { type Listed, listAll, standingWords } from "../../../registry/standing.ts";
import { viewPath } from "../../../registry/view.ts";
import type { PlaceOptions } from "../../common-options.ts";
import { failureParagraphs, shortFailure } from "../../failures.ts";
import { readMatrix } from "../../matrix-io.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";

export async function show(file: string | undefined, options: PlaceOptions): Promise<number> {
  return withStoredFarm(options, (farm) => showOf(farm, file, options));
}

async function showOf(farm: Farm, file: string | undefined, options: PlaceOptions): Promise<number> {
  const state = await readPublished(farm.store);
  const standings = await standingsOf(farm, state);
  const elements = file === undefined ? state.matrix : await readMatrix(file);
  const notes = new Map(state.attempts.map((note) => [note.element, note]));
  const status = statusOf(state, standings, notes);
  const others =
    file === undefined ? [...served(state, elements), ...withoutElement(standings, elements)] : [];
  if (options.json) {
    const failureOf = (element: Element) => notes.get(elementKey(element))?.failure;
    await printJson([
      ...elements.map((element) => ({ ...element, status: status(element), failure: failureOf(element) })),
      ...others,
    ]);
  } else if (elements.length + others.length === 0)
    await print("The matrix is empty. `kmodfarm run` fills it.\n");
  else {
    const rows = [...elements.map((element) => ({ ...element, status: status(element) })), ...others].map(
      (one) => [one.driver, one.driverversion, one.output, one.status],
    );
    const failed = elements.flatMap((element) => {
      const note = notes.get(elementKey(element));
      const isFailed = note?.failure !== undefined && note.failure.code !== "KERNEL_EXCLUDED";
      return isFailed ? [{ element, note }] : [];
    });
    const shown = table(["DRIVER", "VERSION", "OUTPUT", "STATUS"], rows);
    await print(failed.length === 0 ? shown : `${shown}\n${failureParagraphs(failed, farm.store)}`);
  }
  return standings.some(({ isDamaged }) => isDamaged) ? ERRORS.STORE_CORRUPT.exit : 0;
}

function servedWords({ artifact }: LoadsOn): string {
  return `loads on: modules of ${artifact.output}, proven there`;
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
function served({ indices }: Published, elements: readonly Element[]): Other[] {
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

interface Told {
  readonly listed: Listed;
  /** `stable`, `candidate: load: fail: …`, as of today. */
  readonly words: string;
  /** Nodes do not get what the index promises. */
  readonly isDamaged: boolean;
}

async function standingsOf(farm: Farm, state: Published): Promise<Told[]> {
  const gate = await openGate(
    farm,
    () => state,
    () => new Date(),
  );
  const told: Told[] = [];
  for (const listed of listAll(state.indices)) {
    const damage = await damageOf(farm.store, listed);
    const isDamaged = damage.length > 0;
    const words = isDamaged
      ? `damaged: ${damageWords(damage)}; \`kmodfarm run\` restores what it can`
      : standingWords(await gate.standing(listed));
    told.push({ listed, words, isDamaged });
  }
  return told;
}

/** Artifacts that no element is for: what was imported. */
function withoutElement(standings: readonly Told[], elements: readonly Element[]): Other[] {
  const places = new Set(elements.map(viewPath));
  return standings.flatMap(({ listed: { entry }, words: status }): Other[] => {
    const { driver, driverVersion: driverversion, output } = entry;
    return places.has(viewPath(entry)) ? [] : [{ driver, driverversion, output, status }];
  });
}

/** Nodes get what is stable, else what serves their kernel, whatever waits beside it. */
function statusOf(
  state: Published,
  standings: readonly Told[],
  notes: ReadonlyMap<string, AttemptNote>,
): (element: Element) => string {
  const told = Map.groupBy(standings, ({ listed: { entry } }) => viewPath(entry));
  return (element) => {
    const here = told.get(viewPath(element)) ?? [];
    const index = state.indices.find((one) => indexName(one) === indexName(element));
    const other = servedBy(index, element);
    const [stable, candidate] = (["stable", "candidate"] as const).map(
      (channel) => here.find(({ listed }) => listed.channel === channel)?.words,
    );
    const given = stable ?? (other === undefined ? undefined : servedWords(other));
    if (given !== undefined) return candidate === undefined ? given : `${given}; beside it, ${candidate}`;
    if (candidate !== undefined) return candidate;
    const failure = notes.get(elementKey(element))?.failure;
    if (failure === undefined) return "not built";
    return failure.code === "KERNEL_EXCLUDED"
      ? `excluded: ${failure.cause}`
      : `failed: ${shortFailure(failure)}`;
  };
}
