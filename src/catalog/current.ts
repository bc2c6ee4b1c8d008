/**
 * An apt repository that is asked for other packages than kernels, and judged as for those: a mirror must not decide
 * for ever which revision of a package there is.
 */
import { join } from "node:path";
import { z } from "zod";
import { markUsed } from "../base/cache.ts";
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { type AptSource, readAptSource } from "./apt.ts";
import { aheadText, isAhead, lateness, REMEMBERED_DATES } from "./judge.ts";
import { answering, inTime, readJson, type SourceAnswer, type SourceContext } from "./source.ts";

/** Dates of the metadata that a source gave us, oldest first. */
const Dates = z.array(z.iso.datetime());

/**
 * Reads one suite; what is past its time, or older than what it gave us before, is a failure. `say` is told of what
 * the configuration accepts all the same.
 */
export async function readCurrentAptSource(
  source: AptSource,
  context: SourceContext,
  now: Date,
  say: (text: string) => void,
): Promise<SourceAnswer> {
  return answering(async () => {
    const answer = await inTime(source.id, context, (its) => readAptSource(source, its));
    if (answer.kind !== "read") return answer;
    const { date, validUntil } = answer.metadata;
    const memory = join(context.cache, "remembered", `dates-${sha256(source.id).slice(7, 39)}.json`);
    if (isAhead(date, now)) throw suspect(source, aheadText(date), "Compare both clocks.");
    const before = ((await readJson(memory, Dates)) ?? []).filter((one) => !isAhead(one, now));
    await markUsed(memory);
    const newest = before.at(-1);
    if (newest !== undefined && date < newest)
      throw suspect(
        source,
        `its metadata of ${date} is older than the one of ${newest} seen before`,
        "A mirror that went back in time usually catches up by itself; otherwise configure another one.",
      );
    const dates = [...new Set([...before, date])].slice(-REMEMBERED_DATES);
    const late = lateness(date, validUntil, dates, now);
    if (late !== undefined && !source.acceptExpired)
      throw suspect(
        source,
        late,
        "A source that is only out of date can be accepted with `acceptExpired: true`.",
      );
    if (late !== undefined) say(`${source.id}: ${late}, which the configuration accepts`);
    if (date !== newest) await context.scratch.write(memory, JSON.stringify(dates));
    return answer;
  });
}

function suspect({ id }: AptSource, fact: string, hint: string): FarmError {
  return new FarmError("CATALOG_SUSPECT", { about: id, detail: fact, at: { source: id }, hint });
}
