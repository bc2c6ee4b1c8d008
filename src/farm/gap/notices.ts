/**
 * Telling people: what is due becomes messages of the next generation, and with that it is told once and for all; then
 * messages are delivered, and the generation after it says to whom. What a kill leaves undelivered the next run delivers,
 * the same message under the same id.
 */
import { createHash, randomUUID } from "node:crypto";
import { type FarmError, toFarmError } from "../../base/error.ts";
import { type CatalogKernel, compareKernels } from "../../catalog/catalog.ts";
import { Gap } from "../../gap/gap.ts";
import {
  type NewKernel,
  type Notice,
  noticesOf,
  type Situation,
  type WaitingFix,
} from "../../gap/notices.ts";
import { scoreOf } from "../../gap/order.ts";
import { uploadGaps } from "../../gap/report.ts";
import { type Promised, standingOf, type TierSummary, tierOf, tierSummaries } from "../../gap/slo.ts";
import { findRelease } from "../../kernel/distributions/index.ts";
import { factsByKernel } from "../../kernel/facts.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { publish } from "../../registry/commit.ts";
import type { Published, Told, ToldMessage } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { historyKey } from "../../registry/history.ts";
import type { Store } from "../../registry/stores/store.ts";
import type { FarmConfig } from "../config/index.ts";
import { wantedElements } from "../night/wanted.ts";
import type { Farm } from "../open.ts";
import { authorOf } from "../signing/heads.ts";
import { readBook } from "./stored-book.ts";
import { targetOf } from "./targets.ts";

/** Somebody who gets messages. */
export interface Channel {
  readonly name: string;
  readonly lanes: readonly ToldMessage["lane"][];
  /** One message after the other, each `done` once it has arrived; what it throws leaves the rest for the next time. */
  readonly deliver: (messages: readonly Message[], delivery: Delivery) => Promise<void>;
}

interface Delivery {
  readonly slo: readonly TierSummary[];
  readonly done: (message: Message) => void;
}

/** A message as it is delivered. */
export interface Message extends Pick<ToldMessage, "id" | "lane" | "day" | "at"> {
  readonly body: string;
}

/** What stands in a message's body. */
export interface MessageBody {
  readonly schema: "kmodfarm.notices/1";
  readonly lane: ToldMessage["lane"];
  readonly day: string;
  readonly at: string;
  /** The list of CVEs, and the day up to which it is known. */
  readonly feed: { readonly name: string; readonly date?: string };
  /** All of it in words, for a chat. */
  readonly text: string;
  readonly notices: readonly Omit<Notice, "lane" | "keys">[];
}

export interface Telling {
  readonly failed: readonly { readonly channel: string; readonly error: FarmError }[];
  /** Messages that another process is delivering. */
  readonly elsewhere: number;
}

export interface TellOptions {
  readonly by: string;
  readonly now: () => Date;
  readonly channels: readonly Channel[];
}

/** A delivery takes two minutes at most; a clock that was set back must not make others wait for longer than this. */
const CLAIM_MS = 10 * 60_000;
/** Messages that everybody has: their ids are kept for a while, for people. */
const KEPT_MESSAGES = 60;
/** What a message tells at most: more waits for the next one. */
const MOST_NOTICES = 500;

/** @throws FarmError STORE_CORRUPT, and as `publish` */
export async function tellNotices(farm: Farm, { by, now, channels }: TellOptions): Promise<Telling> {
  const { store, config } = farm;
  const before = await readPublished(store);
  const { situation, slo } = await situationOf(store, config, before, now());
  const [me, author] = [randomUUID(), authorOf(farm, by, "gap notices", now)];
  const { result: mine, state } = await publish(
    store,
    (current) => {
      const at = now();
      const due = withDue(current.told, situation, channels, at);
      const told = withClaims(due, me, at);
      return {
        state: told === current.told ? current : { ...current, told },
        result: told.messages.filter(({ claim }) => claim?.by === me),
      };
    },
    author,
  );
  const delivered = new Set<string>();
  const failed: Telling["failed"][number][] = [];
  const deliver = async (channel: Channel) => {
    const { name } = channel;
    const messages = mine.filter(({ waits }) => waits.includes(name)).flatMap(toMessage);
    try {
      await channel.deliver(messages, { slo, done: ({ id }) => delivered.add(`${id} ${name}`) });
    } catch (thrown) {
      failed.push({ channel: name, error: toFarmError(thrown) });
    }
  };
  await Promise.all(channels.map(deliver));
  if (mine.length > 0)
    await publish(
      store,
      (current) => ({
        state: { ...current, told: withDelivered(current.told, mine, delivered, channels) },
        result: undefined,
      }),
      author,
    );
  return {
    failed,
    elsewhere: state.told.messages.filter(({ waits, claim }) => waits.length > 0 && claim?.by !== me).length,
  };
}

/** What would be told, and to nobody. */
export async function dueNotices(
  { store, config }: Pick<Farm, "store" | "config">,
  now: Date,
): Promise<{ readonly messages: readonly Message[]; readonly slo: readonly TierSummary[] }> {
  const published = await readPublished(store);
  const { situation, slo } = await situationOf(store, config, published, now);
  const everybody = { name: "", lanes: ["urgent", "digest"], deliver: () => Promise.resolve() } as const;
  const { messages } = withDue(published.told, situation, [everybody], now);
  return { messages: messages.filter(({ waits }) => waits.length > 0).flatMap(toMessage), slo };
}

function toMessage({ id, lane, day, at, body }: ToldMessage): Message[] {
  return body === undefined ? [] : [{ id, lane, day, at, body }];
}

/** With messages for what is due: urgent things at once, all others with the first message of the day. */
function withDue(told: Told, situation: Situation, channels: readonly Channel[], at: Date): Told {
  const known = new Set(told.keys);
  const due = noticesOf(situation, known);
  const day = at.toISOString().slice(0, 10);
  const hadDigest = told.messages.some((message) => message.lane === "digest" && message.day === day);
  const lanes = hadDigest ? (["urgent"] as const) : (["urgent", "digest"] as const);
  const made = lanes.flatMap((lane) => {
    const notices = due.filter((notice) => notice.lane === lane).slice(0, MOST_NOTICES);
    const waits = channels.filter((one) => one.lanes.includes(lane)).map(({ name }) => name);
    if (notices.length === 0) return [];
    const body = JSON.stringify(bodyOf(notices, lane, day, at, situation));
    const id = createHash("sha256").update(body).digest("hex").slice(0, 32);
    return [{ message: { id, lane, day, at: at.toISOString(), waits, body }, notices }];
  });
  if (made.length === 0) return told;
  const keys = made.flatMap(({ notices }) => notices.flatMap((notice) => notice.keys));
  return {
    ...told,
    keys: [...new Set([...told.keys, ...keys])].sort(),
    messages: [...told.messages, ...made.map(({ message }) => message)],
  };
}

function bodyOf(
  notices: readonly Notice[],
  lane: ToldMessage["lane"],
  day: string,
  at: Date,
  { book: { feed } }: Situation,
): MessageBody {
  return {
    schema: "kmodfarm.notices/1",
    ...{ lane, day, at: at.toISOString(), feed },
    text: notices.map(wordsOf).join("\n"),
    notices: notices.map(({ lane: _, keys: __, ...notice }) => notice),
  };
}

/** A notice with the titles of its first CVEs. Chats take `<`, `>` and `&` for commands, so that these are written out. */
function wordsOf({ text, titles }: Notice): string {
  const lines = titles.map(({ cve, title }) => `  ${cve}: ${title.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, " ")}`);
  return [text, ...lines].join("\n").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Takes what waits and what nobody is delivering. */
function withClaims(told: Told, me: string, at: Date): Told {
  const isFree = ({ waits, claim }: ToldMessage) => waits.length > 0 && !isLive(claim, at);
  if (!told.messages.some(isFree)) return told;
  const claim = { by: me, until: new Date(at.getTime() + CLAIM_MS).toISOString() };
  return { ...told, messages: told.messages.map((one) => (isFree(one) ? { ...one, claim } : one)) };
}

function isLive(claim: ToldMessage["claim"], at: Date): boolean {
  if (claim === undefined) return false;
  const left = Date.parse(claim.until) - at.getTime();
  // One that ends later than any could was made by another clock.
  return left > 0 && left <= CLAIM_MS;
}

/** Channels that are not configured any more wait for nothing. */
function withDelivered(
  told: Told,
  mine: readonly ToldMessage[],
  delivered: ReadonlySet<string>,
  channels: readonly Channel[],
): Told {
  const ours = new Set(mine.map(({ id }) => id));
  const names = new Set(channels.map(({ name }) => name));
  const messages = told.messages.map((message): ToldMessage => {
    if (!ours.has(message.id)) return message;
    const { claim: _, body, ...rest } = message;
    const waits = message.waits.filter((name) => names.has(name) && !delivered.has(`${message.id} ${name}`));
    return { ...rest, waits, ...(waits.length === 0 || body === undefined ? {} : { body }) };
  });
  const finished = messages.filter(({ waits }) => waits.length === 0);
  const old = new Set(finished.slice(0, -KEPT_MESSAGES).map(({ id }) => id));
  return { ...told, messages: messages.filter(({ id }) => !old.has(id)) };
}

async function situationOf(
  store: Store,
  {
    drivers,
    select,
    exclude,
    slo,
    notices: { waitingDays },
  }: Pick<FarmConfig, "drivers" | "select" | "exclude" | "slo" | "notices">,
  { catalog, facts, feeds, history }: Published,
  now: Date,
): Promise<{ readonly situation: Situation; readonly slo: readonly TierSummary[] }> {
  const [book, known, today] = [
    await readBook(store, feeds),
    factsByKernel(facts),
    now.toISOString().slice(0, 10),
  ];
  const listed = catalog.kernels.filter(({ withdrawnSince }) => withdrawnSince === undefined);
  const closes = closingIn(listed, new Gap(book), known);
  const promisedDrivers = drivers.flatMap(({ name, versions, series }) =>
    versions.map((version) => ({ name, version, series })),
  );
  const { elements } = wantedElements(catalog, promisedDrivers, { select, exclude, facts: known, now });
  const happened = new Map(history.map((entry) => [historyKey(entry), entry]));
  const kernels = new Map(listed.map((kernel) => [kernelName(kernel), kernel]));
  const standings = elements.flatMap((element) => {
    const kernel = kernels.get(kernelName(element));
    // Nobody knows how long a kernel has been there that was there before the farm.
    if (kernel?.unseenAt === undefined) return [];
    const tier = tierOf(scoreOf({ closes: closes(kernel) ?? [], since: today, today }, book));
    const hours = slo[tier];
    if (hours === undefined) return [];
    const [driver, series = ""] = [element.driver, element.output.split("/")[0]];
    const place = { driver, series, kernel: kernelName(element) };
    const stable = happened.get(historyKey(place))?.stable;
    const promised: Promised = {
      ...{ ...place, tier, hours, since: kernel.firstSeen },
      ...(stable === undefined ? {} : { stable }),
    };
    return [standingOf(promised, now)];
  });
  const situation = {
    ...{ book, today, waitingDays, standings },
    kernels: newKernels(listed, closes),
    waiting: book.changelogs.flatMap((changelog): WaitingFix[] => {
      const release = findRelease(changelog.distribution)?.release;
      const codename = release !== undefined && "codename" in release ? release.codename : "";
      const { package: name, rows } = uploadGaps(book, changelog, codename);
      return rows.flatMap(({ cve, series, distribution }) =>
        series === undefined || distribution !== undefined
          ? []
          : [
              {
                ...{ distribution: changelog.distribution, package: name, cve },
                ...{ series: series.version.split(".").slice(0, 2).join("."), since: series.day },
              },
            ],
      );
    }),
  };
  return { situation, slo: tierSummaries(standings, slo) };
}

/** What a kernel closes that the upload before it left open; undefined for the first of its series. */
function closingIn(kernels: readonly CatalogKernel[], gap: Gap, known: ReturnType<typeof factsByKernel>) {
  const series = (kernel: CatalogKernel) => {
    const { distribution, architecture, flavour } = kernel;
    return [distribution, architecture, flavour, targetOf(kernel, known).base?.series ?? ""].join("/");
  };
  const before = new Map<CatalogKernel, CatalogKernel>();
  for (const group of Map.groupBy(kernels, series).values()) {
    const sorted = group.toSorted(compareKernels);
    for (const [index, kernel] of sorted.entries()) {
      const older = sorted
        .slice(0, index)
        .findLast(({ packageVersion }) => packageVersion !== kernel.packageVersion);
      if (older !== undefined) before.set(kernel, older);
    }
  }
  // Flavours and architectures of one upload have the same fixes.
  const found = new Map<string, readonly string[]>();
  return (kernel: CatalogKernel): readonly string[] | undefined => {
    const older = before.get(kernel);
    if (older === undefined) return undefined;
    const key = [kernel.distribution, kernel.packageVersion, older.packageVersion].join("/");
    const closes = found.get(key) ?? gap.closes(targetOf(kernel, known), targetOf(older, known));
    found.set(key, closes);
    return closes;
  };
}

/** Uploads of which every kernel appeared while the farm watched. */
function newKernels(
  kernels: readonly CatalogKernel[],
  closes: (kernel: CatalogKernel) => readonly string[] | undefined,
): NewKernel[] {
  const uploads = Map.groupBy(
    kernels,
    ({ distribution, packageVersion }) => `${distribution}\n${packageVersion}`,
  );
  return [...uploads.values()].flatMap((members): NewKernel[] => {
    const [first] = members;
    if (first === undefined || members.some(({ unseenAt }) => unseenAt === undefined)) return [];
    const closed = members.map(closes).find((one) => one !== undefined);
    return [
      {
        ...{ distribution: first.distribution, packageVersion: first.packageVersion },
        releases: [...new Set(members.map(({ kversion }) => kversion))],
        ...(closed === undefined ? {} : { closes: closed }),
      },
    ];
  });
}
