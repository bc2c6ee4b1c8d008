/**
 * `kmodfarm generations`: what was published when, by whom, and what changed with it.
 */
import { counted } from "../../../base/counted.ts";
import { oneLine } from "../../../base/visible.ts";
import type { Decision, Difference } from "../../../registry/documents.ts";
import { type Found, history, newestGeneration, readListing } from "../../../registry/generations.ts";
import type { PlaceOptions } from "../../common-options.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";

export function generations(options: PlaceOptions): Promise<number> {
  return withStoredFarm(options, async ({ store }) => {
    const newest = await newestGeneration(store);
    const found = [];
    for await (const one of history(store, newest?.head ?? null)) found.push(one);
    if (options.json)
      await printJson({
        schema: "kmodfarm.generations/1",
        generations: found.map(({ head, generation }) => ({
          ...head,
          publishedAt: generation.publishedAt,
          ...(generation.schema === "kmodfarm.generation/2"
            ? { by: generation.by, difference: generation.difference }
            : {}),
        })),
      });
    else if (found.length === 0) await print("Nothing has been published yet; `kmodfarm run` publishes.\n");
    else {
      const reasons = found.some(isByHand) ? reasonsOf(found, (await readListing(store)).decisions) : [];
      const rows = found.map(({ head, generation }, index) => [
        String(head.number),
        generation.publishedAt.slice(0, 16).replace("T", " "),
        ...(generation.schema === "kmodfarm.generation/2"
          ? [
              ...[generation.by.what, generation.by.who],
              oneLine([differenceWords(generation.difference), ...(reasons[index] ?? [])].join(": ")),
            ]
          : ["-", "-", "not recorded by that version"]),
      ]);
      await print(
        table(["NUMBER", "TIME (UTC)", "COMMAND", "BY", "WHAT CHANGED"], rows, { spare: ["BY", "COMMAND"] }),
      );
    }
    return 0;
  });
}

/** Commands of people: what a run decides follows from the policy. */
const BY_HAND: ReadonlySet<string> = new Set(["promote", "import", "withdraw", "reuse", "rollback", "floor"]);

function isByHand({ generation }: Found): boolean {
  return generation.schema === "kmodfarm.generation/2" && BY_HAND.has(generation.by.what);
}

/**
 * Why people published each of some generations, newest first. Decisions are only ever added, so the last ones are the newest
 * generation's.
 */
function reasonsOf(found: readonly Found[], decisions: readonly Decision[]): string[][] {
  let end = decisions.length;
  return found.map((one) => {
    const { generation } = one;
    if (generation.schema !== "kmodfarm.generation/2") return [];
    const start = Math.max(0, end - generation.difference.decisions);
    const own = decisions.slice(start, end);
    end = start;
    return isByHand(one) ? [...new Set(own.map(({ why }) => why))] : [];
  });
}

/** `+2 stable, 1 of them changed; 14 kernels` */
export function differenceWords({
  stable,
  candidates,
  attempts,
  kernels,
  facts = 0,
  decisions,
  feeds = 0,
}: Difference): string {
  const moved = (what: string, { added, changed, removed }: Difference["stable"]) =>
    [
      ...(added > 0 ? [`+${added}`] : []),
      ...(removed > 0 ? [`-${removed}`] : []),
      ...(changed > 0 ? [`~${changed}`] : []),
    ]
      .map((count) => `${count} ${what}`)
      .slice(0, 3);
  const some = (count: number, one: string) => (count === 0 ? [] : [counted(count, one)]);
  const words = [
    ...moved("stable", stable),
    ...moved("candidate", candidates),
    ...some(decisions, "decision"),
    ...some(attempts, "attempt"),
    ...some(kernels, "kernel"),
    ...some(feeds, "feed"),
    ...(facts === 0 ? [] : [`facts of ${counted(facts, "kernel")}`]),
  ];
  return words.length === 0 ? "sources, or toolchains" : words.join(", ");
}
