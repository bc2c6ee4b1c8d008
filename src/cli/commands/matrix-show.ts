/**
 * `kmodfarm matrix show`: where each element of the store's matrix stands, and what else the store holds.
 */
import { kernelName } from "../../kernel/kernel.ts";
import { type Element, elementKey } from "../../matrix/element.ts";
import { type AttemptNote, indexName, type LoadsOn, type Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { servedBy } from "../../registry/reuse.ts";
import { listAll, standingOf, standingWords } from "../../registry/standing.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import { viewPath } from "../../registry/view.ts";
import { failureParagraphs, shortFailure } from "../failures.ts";
import { readMatrix } from "../matrix-io.ts";
import { configOf, type PlaceOptions } from "../options.ts";
import { print, printJson, table } from "../output.ts";

export async function show(file: string | undefined, options: PlaceOptions): Promise<number> {
  const config = await configOf(options);
  const state = await readPublished(await openFolderStore(config.store), "candidate");
  const elements = file === undefined ? state.matrix : await readMatrix(file);
  const notes = new Map(state.attempts.map((note) => [note.element, note]));
  const status = statusOf(state, notes);
  const others = file === undefined ? [...served(state, elements), ...withoutElement(state, elements)] : [];
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
    await print(failed.length === 0 ? shown : `${shown}\n${failureParagraphs(failed)}`);
  }
  return 0;
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

/** Artifacts that no element is for: what was imported. */
function withoutElement({ indices, decisions }: Published, elements: readonly Element[]): Other[] {
  const places = new Set(elements.map(viewPath));
  return listAll(indices).flatMap((listed): Other[] => {
    const { driver, driverVersion: driverversion, output } = listed.entry;
    if (places.has(viewPath(listed.entry))) return [];
    return [{ driver, driverversion, output, status: standingWords(standingOf(decisions, listed)) }];
  });
}

/** Nodes get what is stable, else what serves their kernel, whatever waits beside it. */
function statusOf(state: Published, notes: ReadonlyMap<string, AttemptNote>): (element: Element) => string {
  const listed = Map.groupBy(listAll(state.indices), ({ entry }) => viewPath(entry));
  return (element) => {
    const here = listed.get(viewPath(element)) ?? [];
    const index = state.indices.find((one) => indexName(one) === indexName(element));
    const other = servedBy(index, element);
    const [stable, candidate] = (["stable", "candidate"] as const).map((channel) => {
      const found = here.find((one) => one.channel === channel);
      return found === undefined ? undefined : standingWords(standingOf(state.decisions, found));
    });
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
