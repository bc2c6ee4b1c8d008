/**
 * How long elements will take, as far as earlier attempts show.
 */
import { type Element, elementKey } from "../matrix/element.ts";
import type { AttemptNote } from "../registry/documents.ts";

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
