import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test } from "vitest";
import { startServer } from "../../test/support/server.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { type Expected, Http, type HttpOptions } from "./http.ts";
import { entriesOf, openScratch } from "./scratch.ts";
import { urlOf } from "./url.ts";

const BYTES = Buffer.alloc(200_000, "0123456789");
const PROMISED: Expected = {
  sha256: createHash("sha256").update(BYTES).digest("hex"),
  size: BYTES.length,
};

function makeHttp(options: HttpOptions = {}): Http {
  const http = new Http({ retries: 2, firstDelayMs: 1, ...options });
  onTestFinished(() => http.close());
  return http;
}

/** Promises all bytes, sends half of them, and hangs up. */
function cutOff(response: ServerResponse): void {
  response.writeHead(200, { "content-length": BYTES.length });
  response.write(BYTES.subarray(0, BYTES.length / 2), () => response.destroy());
}

/** With something to ask with, a server may answer that nothing changed. */
const KNOWN = { etag: '"a"' };

const withStatus = (response: ServerResponse, status: number, headers: Record<string, string> = {}) =>
  void response.writeHead(status, headers).end("body of no interest");

describe("get", () => {
  test("returns the body and what to ask with next time", async () => {
    const { url } = await startServer((_, response) =>
      response.writeHead(200, { etag: '"a"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT" }).end("text"),
    );
    const http = makeHttp();

    const answer = await http.get(`${url}/a`);

    expect(answer).toMatchObject({
      kind: "ok",
      validators: { etag: '"a"', lastModified: "Thu, 01 Jan 2026 00:00:00 GMT" },
    });
    expect(await text((answer as { body: Readable }).body)).toBe("text");
    expect(http.traffic).toEqual({ requests: 1, notModified: 0, bytes: 4 });
  });

  test("asks with what it got, and hears that nothing changed", async () => {
    const { url } = await startServer(({ headers }, response) =>
      withStatus(
        response,
        headers["if-none-match"] === '"a"' && headers["if-modified-since"] === "then" ? 304 : 200,
      ),
    );
    const http = makeHttp();

    const answer = await http.get(url, { etag: '"a"', lastModified: "then" });

    expect(answer).toEqual({ kind: "notModified" });
    expect(http.traffic).toEqual({ requests: 1, notModified: 1, bytes: 0 });
  });

  test.each([
    ["a tag that servers refuse in a request", { etag: `"${"x".repeat(12_000)}"` }],
    ["a time that no change will be after", { "last-modified": "Fri, 31 Dec 9999 23:59:59 GMT" }],
    ["no time", { "last-modified": "then" }],
  ])("does not remember %s", async (_, headers) => {
    const { url } = await startServer((_request, response) => withStatus(response, 200, headers));

    expect(await makeHttp().get(url)).toMatchObject({ kind: "ok", validators: {} });
    expect((await makeHttp().get(url)) as object).not.toHaveProperty("validators.etag");
    expect((await makeHttp().get(url)) as object).not.toHaveProperty("validators.lastModified");
  });

  test.each([404, 410])("takes %i as an answer, at once", async (status) => {
    const { url, requests } = await startServer((_, response) => withStatus(response, status));

    expect(await makeHttp().get(url)).toEqual({ kind: "missing", status });
    expect(requests).toHaveLength(1);
  });

  test.each([408, 500, 502, 503, 504])("asks again after %i", async (status) => {
    const { url, requests } = await startServer((_, response, before) =>
      withStatus(response, before < 2 ? status : 304),
    );

    expect(await makeHttp().get(url, KNOWN)).toEqual({ kind: "notModified" });
    expect(requests).toHaveLength(3);
  });

  test("waits as long as the server says, not as long as it would by itself", async () => {
    const { url, requests } = await startServer((_, response, before) =>
      before === 0 ? withStatus(response, 429, { "retry-after": "0" }) : withStatus(response, 304),
    );

    const answer = await makeHttp({ firstDelayMs: 600_000 }).get(url, KNOWN);

    expect(answer.kind).toBe("notModified");
    expect(requests).toHaveLength(2);
  });

  test.each([
    ["a status that stays", 503, 3],
    ["a status that no other try can change", 403, 1],
  ])("gives up on %s", async (_, status, tries) => {
    const { url, requests } = await startServer((_request, response) => withStatus(response, status));

    await expect(makeHttp().get(`${url}/a`)).rejects.toThrow(
      expect.objectContaining({
        code: "REMOTE_UNAVAILABLE",
        message: `${url}/a answers with status ${status}`,
        at: { url: `${url}/a` },
      }),
    );
    expect(requests).toHaveLength(tries);
  });

  test("says who does not answer", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    const { port } = await new Promise<{ port: number }>((resolve) =>
      closed.on("listening", () => resolve(closed.address() as { port: number })),
    );
    await new Promise((resolve) => closed.close(resolve));

    await expect(makeHttp().get(`http://127.0.0.1:${port}/a`)).rejects.toThrow(
      expect.objectContaining({
        code: "REMOTE_UNAVAILABLE",
        message: expect.stringContaining(`http://127.0.0.1:${port}/a`),
      }),
    );
  });

  test("gives up on a server that says nothing", async () => {
    const { url, requests } = await startServer(() => {});

    await expect(makeHttp({ retries: 1, silenceMs: 50 }).get(url)).rejects.toThrow(
      expect.objectContaining({ code: "REMOTE_UNAVAILABLE" }),
    );
    expect(requests).toHaveLength(2);
  });

  test("follows where the server sends it, but not for ever", async () => {
    const { url, requests } = await startServer((request, response) =>
      request.url === "/old"
        ? withStatus(response, 302, { location: "/new" })
        : request.url === "/new"
          ? withStatus(response, 304)
          : withStatus(response, 302, { location: "/circle" }),
    );

    expect(await makeHttp().get(`${url}/old`, KNOWN)).toEqual({ kind: "notModified" });
    await expect(makeHttp().get(`${url}/circle`)).rejects.toThrow(
      expect.objectContaining({ code: "REMOTE_UNAVAILABLE" }),
    );
    expect(requests.filter((path) => path === "/circle").length).toBeLessThan(10);
  });

  test("stops when it is told to, also between two tries", async () => {
    const stop = new AbortController();
    const { url, requests } = await startServer((_, response) => {
      withStatus(response, 503);
      stop.abort();
    });

    await expect(makeHttp({ firstDelayMs: 600_000 }).get(url, {}, stop.signal)).rejects.toThrow(
      expect.objectContaining({ code: "INTERRUPTED" }),
    );
    expect(requests).toHaveLength(1);
  });
});

describe("fetchDocument", () => {
  test("asks again when the connection is cut", async () => {
    const { url, requests } = await startServer((_, response, before) =>
      before === 0 ? cutOff(response) : response.end(BYTES),
    );

    const answer = await makeHttp().fetchDocument(url, BYTES.length);

    expect(answer).toMatchObject({ kind: "ok", bytes: BYTES });
    expect(requests).toHaveLength(2);
  });

  test("refuses a document that is longer than any such", async () => {
    const { url, requests } = await startServer((_, response) => response.end(BYTES));

    await expect(makeHttp().fetchDocument(url, BYTES.length - 1)).rejects.toThrow(
      expect.objectContaining({ code: "REMOTE_UNAVAILABLE", message: expect.stringContaining("longer") }),
    );
    expect(requests).toHaveLength(1);
  });
});

describe("download", () => {
  async function download(url: string, http = makeHttp(), promised = PROMISED, signal?: AbortSignal) {
    const directory = await temporaryDirectory();
    const scratch = await openScratch(join(directory, "tmp"));
    const target = join(directory, "deep", "file.deb");
    const before = await readdir(join(directory, "tmp"));
    const outcome = await http.download(url, promised, target, scratch, signal).catch((fault) => fault);
    const leftovers = (await readdir(join(directory, "tmp"))).filter((name) => !before.includes(name));
    return { outcome, target, leftovers, made: await entriesOf(join(directory, "deep")) };
  }

  test("makes the file when every byte is right", async () => {
    const { url } = await startServer((_, response) => response.end(BYTES));

    const { outcome, target, leftovers } = await download(url);

    expect(outcome).toBeUndefined();
    expect(await readFile(target)).toEqual(BYTES);
    expect(leftovers).toEqual([]);
  });

  test("asks again when the connection is cut half-way", async () => {
    const { url, requests } = await startServer((_, response, before) =>
      before < 2 ? cutOff(response) : response.end(BYTES),
    );

    const { outcome, made } = await download(url);

    expect(outcome).toBeUndefined();
    expect(made).toEqual(["file.deb"]);
    expect(requests).toHaveLength(3);
  });

  test("asks again when a mirror is in the middle of an update", async () => {
    const { url, requests } = await startServer((_, response, before) =>
      response.end(before === 0 ? Buffer.from(BYTES).fill("x", 7, 8) : BYTES),
    );

    expect((await download(url)).outcome).toBeUndefined();
    expect(requests).toHaveLength(2);
  });

  test.each<[string, string, (response: ServerResponse) => void, string]>([
    ["what the server does not have", "NOT_FETCHABLE", (response) => withStatus(response, 404), "index"],
    [
      "other bytes",
      "DIGEST_MISMATCH",
      (response) => response.end(Buffer.from(BYTES).fill("x", 7, 8)),
      PROMISED.sha256,
    ],
    ["fewer bytes", "DIGEST_MISMATCH", (response) => response.end(BYTES.subarray(1)), "199999 of 200000"],
    [
      "more bytes",
      "DIGEST_MISMATCH",
      (response) => response.end(Buffer.concat([BYTES, Buffer.from("!")])),
      "longer than the 200000",
    ],
    ["a connection that is always cut", "REMOTE_UNAVAILABLE", cutOff, ""],
    ["no answer", "REMOTE_UNAVAILABLE", (response) => response.destroy(), ""],
  ])("makes no file of %s", async (_, code, answer, words) => {
    const { url } = await startServer((_request, response) => answer(response));

    const { outcome, made, leftovers } = await download(url);

    expect(outcome).toMatchObject({ code, at: { url }, message: expect.stringContaining(words) });
    expect(made).toEqual([]);
    expect(leftovers).toEqual([]);
  });

  test("makes no file when it is stopped in the middle", async () => {
    const stop = new AbortController();
    const { url, requests } = await startServer((_, response) => {
      response.writeHead(200);
      response.write(BYTES.subarray(0, 1000), () => stop.abort());
    });

    const { outcome, made, leftovers } = await download(url, makeHttp(), PROMISED, stop.signal);

    expect(outcome).toMatchObject({ code: "INTERRUPTED" });
    expect([made, leftovers, requests.length]).toEqual([[], [], 1]);
  });
});

describe("streamVerified", () => {
  test("returns what was made of the bytes", async () => {
    const { url } = await startServer((_, response) => response.end(BYTES));

    expect(await makeHttp().streamVerified(url, PROMISED, text)).toBe(BYTES.toString());
  });

  test("reads on to the digest when the consumer has enough", async () => {
    const { url } = await startServer((_, response) => response.end(BYTES));
    const http = makeHttp();

    const first = await http.streamVerified(url, PROMISED, firstChunk);

    expect(BYTES.subarray(0, first.length)).toEqual(first);
    expect(http.traffic.bytes).toBe(BYTES.length);
  });

  test("does not hand out what a consumer took early from bytes that were wrong", async () => {
    const { url, requests } = await startServer((_, response) =>
      response.end(Buffer.from(BYTES).fill("x", BYTES.length - 1)),
    );

    await expect(makeHttp().streamVerified(url, PROMISED, firstChunk)).rejects.toThrow(
      expect.objectContaining({ code: "DIGEST_MISMATCH" }),
    );
    expect(requests).toHaveLength(3);
  });

  test("lets the consumer start anew when the connection was cut", async () => {
    const { url } = await startServer((_, response, before) =>
      before === 0 ? cutOff(response) : response.end(BYTES),
    );
    const seen: string[] = [];

    const read = await makeHttp().streamVerified(url, PROMISED, async (body) => {
      seen.push("start");
      return text(body);
    });

    expect(read).toBe(BYTES.toString());
    expect(seen).toHaveLength(2);
  });

  test("passes on what the consumer itself finds wrong with right bytes", async () => {
    const { url, requests } = await startServer((_, response) => response.end(BYTES));

    const reading = makeHttp().streamVerified(url, PROMISED, async () => {
      throw new RangeError("mine");
    });

    await expect(reading).rejects.toThrow(RangeError);
    expect(requests).toHaveLength(1);
  });

  test("blames the bytes before the consumer that stumbled over them", async () => {
    const { url } = await startServer((_, response) => response.end(Buffer.from(BYTES).fill("x", 7, 8)));

    const reading = makeHttp().streamVerified(url, PROMISED, async () => {
      throw new RangeError("mine");
    });

    await expect(reading).rejects.toThrow(expect.objectContaining({ code: "DIGEST_MISMATCH" }));
  });

  test("stops when it is told to", async () => {
    const stop = new AbortController();
    const { url } = await startServer((_, response) => {
      response.writeHead(200);
      response.write(BYTES.subarray(0, 1000));
    });

    const reading = makeHttp().streamVerified(
      url,
      PROMISED,
      async (body) => {
        const read = await firstChunk(body);
        stop.abort();
        return read;
      },
      stop.signal,
    );

    await expect(reading).rejects.toThrow(expect.objectContaining({ code: "INTERRUPTED" }));
  });
});

describe("urlOf", () => {
  test.each([
    ["pool/main/l/linux_6.1.0+b1~bpo12+1.deb", "pool/main/l/linux_6.1.0%2Bb1~bpo12%2B1.deb"],
    ["a b/c?d#e%f", "a%20b/c%3Fd%23e%25f"],
    ["plain-._", "plain-._"],
  ])("escapes %s", (path, escaped) => {
    expect(urlOf("http://mirror.example/debian//", path)).toBe(`http://mirror.example/debian/${escaped}`);
  });
});

/** Takes the first bytes, and leaves the rest where it is. */
async function firstChunk(body: Readable): Promise<Buffer> {
  const chunks = body.iterator({ destroyOnReturn: false });
  const { value } = await chunks.next();
  await chunks.return?.();
  return value as Buffer;
}
