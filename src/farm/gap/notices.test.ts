/** Each thing is told once, whatever happens: two at once, a kill, a server that fails, a clock that jumps. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeCatalog, makeKernel } from "../../../test/support/kernels.ts";
import { farmWith } from "../../../test/support/stored-farm.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { FarmError } from "../../base/error.ts";
import type { Slo } from "../../gap/slo.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { putBlob } from "../../registry/blobs.ts";
import { publish } from "../../registry/commit.ts";
import type { Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { packed } from "../../registry/packed.ts";
import type { Farm } from "../open.ts";
import { ingest } from "./feeds.ts";
import { type Channel, dueNotices, type Message, type MessageBody, tellNotices } from "./notices.ts";

const SHA = "a".repeat(40);
const HOSTILE = "net: <!channel> & \u001b[31m\u202e";
const cve = (id: string, fixed: string, title = id) =>
  JSON.stringify({
    ...{ id, published: "2026-11-20", title, fix: [SHA] },
    ...{ pairs: [["6.1", SHA, fixed, SHA]], files: ["a.c"] },
  });
const SEEN = { unseenAt: "2026-11-27T00:00:00Z", firstSeen: "2026-11-28T00:00:00Z" };
const OLD = makeKernel({ kversion: "6.1.0-50-amd64", packageVersion: "6.1.150-1" });
const NEW = makeKernel({ kversion: "6.1.0-51-amd64", packageVersion: "6.1.160-1", ...SEEN });
const NEXT = makeKernel({
  ...{ kversion: "6.1.0-52-amd64", packageVersion: "6.1.170-1" },
  ...{ unseenAt: "2026-11-29T00:00:00Z", firstSeen: "2026-11-30T00:00:00Z" },
});
const author = (what: string) => ({ who: "ann", what, now: () => at(28) });
const at = (day: number, hour = 12) => new Date(Date.UTC(2026, 10, day, hour));

async function farm({ slo = {}, kev = [] }: { slo?: Slo; kev?: readonly string[] } = {}): Promise<Farm> {
  const made = await farmWith([], undefined, makeCatalog([OLD, NEW]));
  const directory = await temporaryDirectory();
  const [cves, exploited] = [join(directory, "cves.ndjson"), join(directory, "kev.json")];
  const lines = [cve("CVE-2026-1001", "6.1.155", HOSTILE), cve("CVE-2026-1002", "6.1.165")];
  await writeFile(cves, lines.join("\n"));
  const vulnerabilities = kev.map((cveID) => ({ cveID, dateAdded: "2026-11-01", vendorProject: "Linux" }));
  await writeFile(exploited, JSON.stringify({ vulnerabilities }));
  const feeds = [
    { kind: "compact", from: cves },
    ...(kev.length === 0 ? [] : [{ kind: "kev", from: exploited }]),
  ];
  const signal = new AbortController().signal;
  await ingest(made, feeds, { by: "ann", now: () => at(28), say: () => {}, signal });
  const drivers = [{ name: "doorbell", versions: ["0.1.0"] }] as unknown as Farm["config"]["drivers"];
  return { ...made, config: { ...made.config, slo, drivers } };
}

/** A channel, and the words of what came through it. */
function channel(name = "here", fails: (message: Message) => boolean = () => false) {
  const got: Message[] = [];
  const one: Channel = {
    name,
    lanes: ["urgent", "digest"],
    async deliver(messages, { done }) {
      for (const message of messages) {
        if (fails(message)) throw new FarmError("REMOTE_UNAVAILABLE", { detail: "it is down" });
        got.push(message);
        done(message);
      }
    },
  };
  return {
    one,
    got,
    texts: () => got.flatMap(({ body }) => (JSON.parse(body) as MessageBody).notices.map(({ text }) => text)),
  };
}

const tell = (where: Farm, now: Date, ...channels: readonly Channel[]) =>
  tellNotices(where, { by: "ann", now: () => now, channels });
const change = (where: Farm, to: (state: Published) => Published) =>
  publish(where.store, (state) => ({ state: to(state), result: undefined }), author("test"));
const withKernel = (state: Published) => ({
  ...state,
  catalog: { ...state.catalog, kernels: [...state.catalog.kernels, NEXT] },
});

describe("a notice", () => {
  test("is told once, with what the kernel closes, and strangers' words steer no chat", async () => {
    const [where, here] = [await farm(), channel()];

    const due = await dueNotices(where, at(28));
    await tell(where, at(28), here.one);
    const { head } = await readPublished(where.store);
    await tell(where, at(29), here.one);

    expect(due.messages).toHaveLength(1);
    expect(here.texts()).toEqual(["new kernel: debian12 6.1.160-1 (6.1.0-51-amd64) closes 1 CVE"]);
    const { text, feed } = JSON.parse(here.got[0]?.body ?? "") as MessageBody;
    expect(text).toMatch(/\n {2}CVE-2026-1001: net: &lt;!channel&gt; &amp; {2}\[31m /);
    for (const character of ["\u001b", "\u202e", "<", ">"]) expect(text).not.toContain(character);
    expect(feed).toEqual({ name: "compact", date: "2026-11-20" });
    expect((await readPublished(where.store)).head).toEqual(head);
    expect((await dueNotices(where, at(29))).messages).toEqual([]);
  });

  test("waits for the next day if the day had its digest, unless it is urgent", async () => {
    const [where, here] = [await farm(), channel()];
    await tell(where, at(28, 1), here.one);
    await change(where, withKernel);
    await tell(where, at(28, 23), here.one);
    expect(here.got).toHaveLength(1);

    await tell(where, at(29, 1), here.one);
    expect(here.got.map(({ lane, day }) => [lane, day])).toEqual([
      ["digest", "2026-11-28"],
      ["digest", "2026-11-29"],
    ]);

    const [exploited, there] = [await farm({ kev: ["CVE-2026-1002"] }), channel()];
    await tell(exploited, at(28, 1), there.one);
    await change(exploited, withKernel);
    await tell(exploited, at(28, 2), there.one);
    expect(there.got.map(({ lane }) => lane)).toEqual(["digest", "urgent"]);
    expect(there.texts()[1]).toMatch(/closes 1 CVE, of them 1 exploited \(CVE-2026-1002\)$/);
  });

  test("of a fix comes when its series has had it for long and the distribution has not", async () => {
    const [where, here] = [await farm(), channel()];
    const entry = (version: string, suite: string, day: string) => ({
      ...{ source: "linux", version, suite, day, stable: [], bullets: [] },
    });
    const entries = [
      entry("6.1.160-1", "bookworm-security", "2026-11-10"),
      entry("6.1.150-1", "bookworm", "2026-06-01"),
      entry("6.1.140-1", "unstable", "2026-05-01"),
    ];
    const changelog = { source: "linux", distribution: "debian12", isTrimmed: false, entries };
    const bytes = await packed(JSON.stringify(changelog));
    const releases = await packed(
      `${JSON.stringify({ type: "release", version: "6.1.165", day: "2026-11-12" })}\n`,
    );
    const note = async (name: string, kind: string, content: Buffer) => ({
      ...{ name, kind, from: "x", source: "x", at: at(28).toISOString(), licence: "x", records: 1, bad: [] },
      content: { digest: await putBlob(where.store, content), size: content.length },
    });
    const [one, other] = [await note("a", "changelog", bytes), await note("b", "releases", releases)];
    await change(where, (state) => ({ ...state, feeds: [one, other, ...state.feeds] }));

    await tell(where, at(26), here.one);
    expect(here.texts().join()).not.toContain("waiting on");
    await tell(where, at(27), here.one);

    expect(here.texts().at(-1)).toMatch(
      /^waiting on the distribution: a fix that 6\.1\.y has had for more than 14 days is not in debian12 \(linux\), the oldest for 15 days: 1 CVE$/,
    );
  });

  test("of modules comes when most of their time is over, when all of it is, and counts them", async () => {
    const [where, here] = [await farm({ slo: { P3: 40 } }), channel()];
    const slos: unknown[] = [];
    const counting: Channel = {
      ...{ name: "slo", lanes: ["urgent"] },
      deliver: async (_, { slo }) => void slos.push(...slo),
    };

    for (const now of [at(28, 12), at(29, 7), at(30, 0)]) await tell(where, now, here.one, counting);

    expect(here.texts().slice(1)).toEqual([
      `doorbell 0.1.0 on 1 kernel (${kernelName(NEW)}) has used 75 % or more of the 40 hours of P3`,
      `doorbell 0.1.0 on 1 kernel (${kernelName(NEW)}) was not stable within the 40 hours of P3, the longest for 48`,
    ]);
    expect(slos).toMatchObject([
      { tier: "P3", breached: 0, open: 1, burn: 0.3 },
      { breached: 0, open: 1, burn: 0.775 },
      { breached: 1, open: 0, burn: 1.2 },
    ]);
  });
});

describe("nothing is lost or told twice", () => {
  test("by two nights at once", async () => {
    const [where, one, other] = [await farm(), channel(), channel()];

    const told = await Promise.all([tell(where, at(28), one.one), tell(where, at(28), other.one)]);

    expect([...one.got, ...other.got]).toHaveLength(1);
    expect(told.map(({ elsewhere }) => elsewhere).every((count) => count <= 1)).toBe(true);
  });

  test("by one that is killed while it delivers: the same message comes again, and only then", async () => {
    const [where, killed, next] = [await farm(), channel(), channel()];
    const never: Channel = { ...killed.one, deliver: () => new Promise(() => {}) };
    void tell(where, at(28, 0), never);
    const messages = async () => (await readPublished(where.store)).told.messages;
    while ((await messages()).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    const [sent] = await messages();

    const early = await tell(where, new Date(at(28, 0).getTime() + 60_000), next.one);
    expect([early.elsewhere, next.got.length]).toEqual([1, 0]);
    await tell(where, at(28, 1), next.one);
    await tell(where, at(28, 2), next.one);

    expect(next.got.map(({ id, body }) => [id, body])).toEqual([[sent?.id, sent?.body]]);
  });

  test("by a server that fails: it gets the same later, and others got theirs once", async () => {
    let isDown = true;
    const [where, here, there] = [await farm(), channel(), channel("webhook", () => isDown)];

    const first = await tell(where, at(28), here.one, there.one);
    isDown = false;
    const second = await tell(where, at(28, 13), here.one, there.one);

    expect(first.failed).toMatchObject([{ channel: "webhook", error: { code: "REMOTE_UNAVAILABLE" } }]);
    expect(second.failed).toEqual([]);
    expect([here.got, there.got].map((got) => got.map(({ id }) => id))).toEqual([
      [here.got[0]?.id],
      [here.got[0]?.id],
    ]);
    expect((await readPublished(where.store)).told.messages).toMatchObject([{ waits: [] }]);
  });

  test("by a server that is not configured any more", async () => {
    const [where, here, gone] = [await farm(), channel(), channel("webhook", () => true)];
    await tell(where, at(28), here.one, gone.one);

    await tell(where, at(29), here.one);

    expect((await readPublished(where.store)).told.messages).toMatchObject([{ waits: [] }]);
    expect(here.got).toHaveLength(1);
  });

  test("by a clock that jumps ahead and back", async () => {
    const [where, here] = [await farm(), channel()];
    const far = new Date("2031-01-01T00:00:00Z");
    // Killed in a far future: its claim must not hold others until then.
    void tell(where, far, { ...here.one, deliver: () => new Promise(() => {}) });
    while ((await readPublished(where.store)).told.messages.length === 0)
      await new Promise((resolve) => setTimeout(resolve, 10));

    await tell(where, at(28), here.one);
    await change(where, withKernel);
    await tell(where, at(29), here.one);
    await tell(where, at(20), here.one);

    expect(here.texts()).toHaveLength(2);
    expect(new Set(here.texts()).size).toBe(2);
  });
});
