/**
 * `kmodfarm gap ingest`: what feeds say now.
 */

import { resolve } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { exists } from "../../../base/scratch.ts";
import { oneLine } from "../../../base/visible.ts";
import type { FeedConfig } from "../../../farm/config/feeds.ts";
import { isHttp } from "../../../farm/config/sources.ts";
import { type FeedAnswer, type Ingested, ingest } from "../../../farm/gap/feeds.ts";
import { thisPerson } from "../../../farm/gate/moves.ts";
import { feedKind } from "../../../gap/feeds/index.ts";
import type { OptionsOf } from "../../command.ts";
import { stopSignal, withFarm } from "../../options.ts";
import { print, printJson, say, table } from "../../output.ts";
import type { INGEST } from "./command.ts";

export async function ingestFeeds(
  named: readonly string[],
  options: OptionsOf<typeof INGEST>,
): Promise<number> {
  const given = await Promise.all(named.map(toFeed));
  return withFarm(options, async (farm) => {
    const feeds = given.length > 0 ? given : farm.config.feeds;
    const learnsChangelogs = given.length === 0 && options.changelogs;
    if (feeds.length === 0 && !learnsChangelogs)
      throw new FarmError("USAGE", {
        detail: "no feed is configured, and none was given",
        hint: "Configure `feeds`, or name one: kmodfarm gap ingest cna=vulns.tar. docs/feeds.md lists the kinds.",
      });
    const ingested = await ingest(farm, feeds, {
      ...{ by: thisPerson(), now: () => new Date(), say, signal: stopSignal(), learnsChangelogs },
      acceptsSuspects: options.acceptSuspect ?? false,
    });
    await (options.json ? printJson(toJson(ingested)) : print(toText(ingested)));
    const bad = ingested.answers.filter(({ error }) => error !== undefined);
    if (bad.length === 0) return 0;
    for (const { name, error } of bad) say(`${name}: ${error?.message} [${error?.code}]`);
    throw new FarmError("FEED_SUSPECT", {
      detail: `${bad.length} of ${counted(ingested.answers.length, "feed")} failed or cannot be right; what they said before was kept`,
      ...(bad.some(({ result }) => result === "suspect")
        ? {}
        : { hint: "Fix what is reported for each, and run the command again." }),
    });
  });
}

/** `kev=known_exploited_vulnerabilities.json` @throws FarmError USAGE, FILE_UNREADABLE */
async function toFeed(text: string): Promise<FeedConfig> {
  const [, kind, place] = /^([a-z][a-z0-9-]*)=(.+)$/s.exec(text) ?? [];
  if (kind === undefined || place === undefined)
    throw new FarmError("USAGE", {
      detail: `${JSON.stringify(text)} is not KIND=PLACE`,
      hint: "Write, for example, kev=known_exploited_vulnerabilities.json; docs/feeds.md lists the kinds.",
    });
  const { name } = feedKind(kind);
  if (isHttp(place)) return { kind: name, from: place };
  if (!(await exists(place)))
    throw new FarmError("FILE_UNREADABLE", { about: place, joint: " ", detail: "is not there" });
  return { kind: name, from: resolve(place) };
}

function toJson({ answers, generation }: Ingested) {
  return {
    schema: "kmodfarm.gap-ingest/1" as const,
    generation,
    feeds: answers.map(({ error, ...answer }) => ({
      ...answer,
      ...(error === undefined ? {} : { code: error.code, detail: error.message }),
    })),
  };
}

function toText({ answers, generation }: Ingested): string {
  const rows = answers.map(({ name, result, note }) => [
    name,
    note?.date ?? "-",
    note === undefined ? "-" : String(note.records),
    note === undefined ? "-" : String(badOf(note)),
    result,
  ]);
  const bad = answers.flatMap(({ name, result, note }) =>
    result === "read" ? (note?.bad ?? []).map((one) => badLine(name, one)) : [],
  );
  const count = (result: FeedAnswer["result"]) => answers.filter((one) => one.result === result).length;
  const read = `${counted(count("read"), "feed")} read, ${count("unchanged")} unchanged`;
  const shown = rows.length === 0 ? "" : `${table(["FEED", "DATE", "RECORDS", "BAD", "RESULT"], rows)}\n`;
  return `${shown}${bad.join("")}${read}. Generation ${generation}.\n`;
}

function badOf({ bad }: NonNullable<FeedAnswer["note"]>): number {
  return bad.reduce((sum, { count }) => sum + count, 0);
}

function badLine(
  feed: string,
  { reason, count, first }: NonNullable<FeedAnswer["note"]>["bad"][number],
): string {
  const named = first === "" ? "" : ` (the first: ${first})`;
  return `${oneLine(`${feed}: ${counted(count, "record")} left out: ${reason}${named}`)}\n`;
}
