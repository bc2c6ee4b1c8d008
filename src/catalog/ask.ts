/**
 * Asking every repository. What comes of it is believed only when it is laid over a catalog, which may be much
 * later: no writer has to hold the store while servers take their time.
 */
import { assertNever } from "../base/error.ts";
import { type AptSource, readAptSource } from "./apt.ts";
import type { Catalog } from "./catalog.ts";
import { type RpmSource, readRpmSource } from "./rpm-md.ts";
import { answering, inTime, type SourceAnswer, type SourceContext } from "./source.ts";

/** A source of any format. */
export type Source = AptSource | RpmSource;

export interface Answered {
  readonly source: Source;
  readonly answer: SourceAnswer;
}

/** `previous` only tells which mirrors answered last. */
export async function askSources(
  sources: readonly Source[],
  previous: Catalog,
  context: SourceContext,
): Promise<Answered[]> {
  return Promise.all(
    sources.map(async (source) => ({
      source,
      answer: await answering(() => inTime(source.id, context, (its) => readSource(source, previous, its))),
    })),
  );
}

function readSource(source: Source, previous: Catalog, context: SourceContext): Promise<SourceAnswer> {
  switch (source.kind) {
    case "apt":
      return readAptSource(source, context);
    case "rpm-md": {
      const lastMirror = previous.sources.find(({ id }) => id === source.id)?.url;
      return readRpmSource({ ...source, ...(lastMirror === undefined ? {} : { lastMirror }) }, context);
    }
    default:
      return assertNever(source);
  }
}
