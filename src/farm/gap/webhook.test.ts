/** Messages to a real server that takes them, fails, hangs and redirects. */
import { createHmac } from "node:crypto";
import { writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { startServer } from "../../../test/support/server.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { sendTo } from "./webhook.ts";

const NOW = new Date("2026-11-30T00:00:00Z");
const SECRET = "a secret of more than twenty-four bytes";
const BODY = '{"text":"é"}';
const TRIES = { firstDelayMs: 1, silenceMs: 200, slowMs: 200, longestMs: 3000 };

async function secretIn(secret: string): Promise<string> {
  const file = join(await temporaryDirectory(), "secret");
  await writeFile(file, `${secret}\n`);
  return file;
}

interface Received {
  readonly method: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A server that answers with these statuses, one after the other, the last one for ever; and what it received. */
async function server(statuses: readonly number[], headers: Readonly<Record<string, string>> = {}) {
  const received: Received[] = [];
  const { url, requests } = await startServer((request, response, before) => {
    const status = statuses[Math.min(before, statuses.length - 1)] as number;
    const { method, headers: sent } = request;
    void text(request).then((body) => {
      received.push({ method, headers: sent, body });
      response.writeHead(status, headers).end("answer");
    });
  });
  return { url, requests, received };
}

async function send(url: string, secret = SECRET, privateHosts: readonly string[] = []) {
  const webhook = { name: "chat", url, secretFile: await secretIn(secret), lanes: ["digest" as const] };
  const signal = new AbortController().signal;
  await sendTo(webhook, { id: "m1", body: BODY }, { privateHosts, now: () => NOW, signal, tries: TRIES });
}

const signed = (key: string | Buffer) =>
  `v1,${createHmac("sha256", key).update(`m1.1795996800.${BODY}`).digest("base64")}`;

describe("a message", () => {
  test("arrives with its id, the time, and a signature over both and the body", async () => {
    const { url, received } = await server([204]);

    await send(`${url}/hook?room=1`);

    expect(received).toMatchObject([
      {
        ...{ method: "POST", body: BODY },
        headers: {
          ...{ "content-type": "application/json", "user-agent": "kmodfarm" },
          ...{ "webhook-id": "m1", "webhook-timestamp": "1795996800", "webhook-signature": signed(SECRET) },
        },
      },
    ]);
  });

  test("is signed with the bytes that a secret in Base64 stands for", async () => {
    const { url, received } = await server([200]);
    const bytes = Buffer.alloc(32, 7);

    await send(url, `whsec_${bytes.toString("base64")}`);

    expect(received[0]?.headers["webhook-signature"]).toBe(signed(bytes));
  });

  test("comes again, the same, to a server that fails, and not for ever", async () => {
    const failing = await server([503, 429, 200]);
    const down = await server([500]);

    await send(failing.url);
    await expect(send(down.url)).rejects.toMatchObject({ code: "REMOTE_UNAVAILABLE" });

    expect(
      new Set(failing.received.map((one) => JSON.stringify([one.body, one.headers["webhook-id"]]))).size,
    ).toBe(1);
    expect([failing.received.length, down.received.length]).toEqual([3, 4]);
  });

  test("does not come again to a server that refuses it", async () => {
    const { url, received } = await server([401]);

    await expect(send(url)).rejects.toThrow(/answers with status 401/);
    expect(received).toHaveLength(1);
  });

  test("gives up on a server that hangs", async () => {
    const { url } = await startServer(() => {});
    const begin = performance.now();

    await expect(send(url)).rejects.toMatchObject({ code: "REMOTE_UNAVAILABLE" });
    expect(performance.now() - begin).toBeLessThan(5000);
  });

  test("is not held by a server that answers for ever: it has arrived", async () => {
    const { url } = await startServer((_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write("x"), 50);
      response.on("close", () => clearInterval(timer));
    });
    const begin = performance.now();

    await send(url);

    expect(performance.now() - begin).toBeLessThan(2000);
  });
});

describe("a redirect", () => {
  test("is followed where it keeps what is sent, and the place is named", async () => {
    const target = await server([200]);
    const other = target.url.replace("127.0.0.1", "localhost");
    const { url } = await server([307], { location: `${other}/there` });

    await send(url, SECRET, [new URL(other).host]);

    expect(target.received).toMatchObject([{ method: "POST", body: BODY }]);
  });

  test.each([307, 308])(
    "to an address that is not public is refused unless it is named (%i)",
    async (status) => {
      const target = await server([200]);
      const { url } = await server([status], { location: target.url.replace("127.0.0.1", "127.0.0.2") });

      await expect(send(url)).rejects.toThrow(/leads to 127.0.0.2, which has no public address/);
      await expect(send((await server([status], { location: "http://10.0.0.1/x" })).url)).rejects.toThrow(
        /10\.0\.0\.1/,
      );
      expect(target.received).toEqual([]);
    },
  );

  test.each([301, 302, 303])("that would lose what is sent is a refusal (%i)", async (status) => {
    const target = await server([200]);
    const { url } = await server([status], { location: `${target.url}/x` });

    await expect(send(url)).rejects.toThrow(`answers with status ${status}`);
    expect(target.received).toEqual([]);
  });

  test("in a circle ends", async () => {
    const { url, received } = await server([307], { location: "/again" });

    await expect(send(url)).rejects.toThrow(/redirects in a circle/);
    expect(received.length).toBeLessThan(4);
  });
});

test.each([
  ["short", "secret", /has 6 bytes/],
  ["short behind its prefix", `whsec_${Buffer.alloc(8).toString("base64")}`, /has 8 bytes/],
])("a secret that is %s is refused, and nothing is sent", async (_, secret, words) => {
  const { url, received } = await server([200]);

  await expect(send(url, secret)).rejects.toThrow(words);
  expect(received).toEqual([]);
});
