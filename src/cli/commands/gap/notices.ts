/**
 * `kmodfarm gap notices`: what people have to know of fixes and of late modules, each thing once.
 */
import { counted } from "../../../base/counted.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import {
  type Channel,
  dueNotices,
  type Message,
  type MessageBody,
  tellNotices,
} from "../../../farm/gap/notices.ts";
import { sendTo } from "../../../farm/gap/webhook.ts";
import { thisPerson } from "../../../farm/gate/moves.ts";
import type { TierSummary } from "../../../gap/slo.ts";
import type { OptionsOf } from "../../command.ts";
import { stopSignal, withStoredFarm } from "../../options.ts";
import { print, printDocument, printJson, say, table } from "../../output.ts";
import type { NOTICES } from "./command.ts";

type NoticesOptions = OptionsOf<typeof NOTICES>;

export async function notices(options: NoticesOptions): Promise<number> {
  return withStoredFarm(options, async (farm) => {
    const now = () => new Date();
    if (options.dryRun) {
      const { messages, slo } = await dueNotices(farm, now());
      await show(messages, slo, options);
      return 0;
    }
    const { privateHosts } = farm.config;
    const context = { privateHosts, now, signal: stopSignal() };
    const here: Channel = {
      name: HERE,
      lanes: ["urgent", "digest"],
      async deliver(messages, { slo, done }) {
        await show(messages, slo, options);
        for (const message of messages) done(message);
      },
    };
    const webhooks = farm.config.notices.webhooks.map(
      (webhook): Channel => ({
        name: `webhook ${webhook.name}`,
        lanes: webhook.lanes,
        async deliver(messages, { done }) {
          for (const message of messages) {
            await sendTo(webhook, message, context);
            done(message);
          }
        },
      }),
    );
    const { failed, elsewhere } = await tellNotices(farm, {
      ...{ by: thisPerson(), now, channels: [here, ...webhooks] },
    });
    for (const { channel, error } of failed)
      say(`${channel}: ${error.message} [${error.code}]; the next \`kmodfarm gap notices\` tries again`);
    if (elsewhere > 0) say(`${counted(elsewhere, "message")} that another process is delivering`);
    return failed.length === 0 ? 0 : ERRORS.REMOTE_UNAVAILABLE.exit;
  });
}

const HERE = "standard output";

async function show(
  messages: readonly Message[],
  slo: readonly TierSummary[],
  { json = false, ndjson = false }: NoticesOptions,
): Promise<void> {
  const read = messages.map(({ id, body }) => ({ id, ...(JSON.parse(body) as MessageBody) }));
  if (json) return printJson({ schema: "kmodfarm.gap-notices/1", messages: read, slo });
  if (ndjson)
    return printDocument(
      read
        .flatMap(({ id, lane, day, at, notices: all }) =>
          all.map((notice) => `${JSON.stringify({ message: id, lane, day, at, ...notice })}\n`),
        )
        .join(""),
    );
  const parts = [...read.map(textOf), ...(slo.length === 0 ? [] : [sloText(slo)])];
  return print(parts.length === 0 ? "nothing new\n" : parts.join("\n"));
}

function textOf({ lane, day, feed, notices: all }: MessageBody): string {
  const known = `as of ${feed.date ?? "an unknown day"}`;
  const lines = all.flatMap(({ text, titles }) => [
    text,
    ...titles.map(({ cve, title }) => `  ${cve}: ${title.replaceAll("\n", " ")}`),
  ]);
  return `${lane === "urgent" ? "urgent" : "digest"} of ${day} (${known})\n${lines.join("\n")}\n`;
}

function sloText(slo: readonly TierSummary[]): string {
  const rows = slo.map(({ tier, hours, met, breached, open, burn }) => [
    ...[tier, `${hours} h`, String(met), String(breached), String(open), `${Math.round(burn * 100)} %`],
  ]);
  return table(["TIER", "PROMISED", "IN TIME", "LATE", "OPEN", "MOST USED"], rows);
}
