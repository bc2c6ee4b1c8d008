/**
 * How long elements will take, as far as earlier attempts show.
 */
import { type Element, elementKey } from "../../matrix/element.ts";
import type { AttemptNote } from "../../registry/documents.ts";

/** What an element costs if none like it has been built yet. */
const GUESSED_SECONDS = 10;

/** Build and load test together; what was never built takes as long as the median of the others. */
export function expectedSeconds(
  elements: readonly Element[],
  noteOf: (key: string) => Pick<AttemptNote, "buildMs" | "load"> | undefined,
): (element: Element) => number {
  const secondsOf = (element: Element) => {
    const { buildMs = 0, load } = noteOf(elementKey(element)) ?? {};
    return (buildMs + (load?.bootMs ?? 0)) / 1000;
  };
  const known = elements.map(secondsOf).filter((seconds) => seconds > 0);
  const likely = known.toSorted((a, b) => a - b)[Math.floor(known.length / 2)] ?? GUESSED_SECONDS;
  return (element) => secondsOf(element) || likely;
}

/**
 * Seconds of an element's stages, by its key: what they took last time, else the median of its architecture, since an
 * emulated one takes its time, else of all. Absent where nothing was ever built, or booted.
 */
export function expectedStages(
  elements: readonly Element[],
  noteOf: (key: string) => Pick<AttemptNote, "buildMs" | "load"> | undefined,
): (key: string) => { readonly building?: number; readonly booting?: number } {
  const known = elements.map((element) => {
    const note = noteOf(elementKey(element));
    const { architecture } = element;
    return { architecture, building: note?.buildMs, booting: note?.load?.bootMs };
  });
  const medians = new Map<string, number | undefined>();
  const medianOf = (stage: "building" | "booting", architecture: string | undefined) => {
    const name = `${stage} ${architecture}`;
    if (!medians.has(name)) {
      const some = known.filter((one) => architecture === undefined || one.architecture === architecture);
      medians.set(name, median(some.flatMap((one) => one[stage] ?? [])));
    }
    return medians.get(name);
  };
  return (key) => {
    const note = noteOf(key);
    const architecture = key.split("/")[3];
    const usual = (stage: "building" | "booting") =>
      medianOf(stage, architecture) ?? medianOf(stage, undefined);
    const building = note?.buildMs ?? usual("building");
    const booting = note?.load?.bootMs ?? usual("booting");
    return {
      ...(building === undefined ? {} : { building: building / 1000 }),
      ...(booting === undefined ? {} : { booting: booting / 1000 }),
    };
  };
}

function median(numbers: readonly number[]): number | undefined {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
