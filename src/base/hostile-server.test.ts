/** Servers that mean harm: they hold on for ever, or send us where we have no business. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test } from "vitest";
import { startServer } from "../../test/support/server.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { Http, type HttpOptions } from "./http.ts";
import { openScratch } from "./scratch.ts";

const PATIENCE: HttpOptions = { retries: 1, firstDelayMs: 1, silenceMs: 400, slowMs: 600, longestMs: 1500 };

function makeHttp(options: HttpOptions = {}): Http {
  const http = new Http({ ...PATIENCE, ...options });
  onTestFinished(() => http.close());
  return http;
}

/** A server that speaks for itself, every few milliseconds, until its client has enough. */
async function startTalker(first: string, again: string): Promise<string> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.write(first);
    const timer = setInterval(() => socket.write(again), 20);
    socket.on("error", () => {});
    socket.on("close", () => clearInterval(timer));
    socket.resume();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Names of this machine's own, of which only a look-up tells where they lead. */
const NAMES = readFileSync("/etc/hosts", "utf8")
  .split("\n")
  .filter((line) => /^(127\.|::1\s)/.test(line))
  .flatMap((line) => line.replace(/#.*/, "").trim().split(/\s+/).slice(1))
  .filter((name) => name !== "localhost");

const unavailable = (words: string | RegExp) =>
  expect.objectContaining({ code: "REMOTE_UNAVAILABLE", message: expect.stringMatching(words) });

describe("a server that never comes to its end", () => {
  test.each([
    ["hints before its answer", "", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", /too slowly/],
    ["processing", "", "HTTP/1.1 102 Processing\r\n\r\n", /too slowly/],
    ["a header, letter by letter", "HTTP/1.1 200 OK\r\nx: ", "y", /did not answer|too slowly/],
    ["headers", "HTTP/1.1 200 OK\r\n", "x: y\r\n", /did not answer|too slowly/],
    ["a body, byte by byte", "HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n", "x", /too slowly/],
    ["chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n", /too slowly/],
  ])("with %s is left", async (_, first, again, words) => {
    const url = await startTalker(first, again);
    const started = performance.now();

    await expect(makeHttp().fetchDocument(`${url}/a`, 1_000_000)).rejects.toThrow(unavailable(words));

    expect(performance.now() - started).toBeLessThan(4000);
  });

  test("is left when all is over that anything may take, however fast it sends", async () => {
    const url = await startTalker(
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
      `2000\r\n${"x".repeat(0x2000)}\r\n`,
    );
    const expected = { sha256: "0".repeat(64) };

    await expect(makeHttp().streamVerified(url, expected, text)).rejects.toThrow(
      unavailable("did not come whole within 1.5 s"),
    );
  });

  test("is left while its body is read by others", async () => {
    const url = await startTalker(
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
      `2000\r\n${"x".repeat(0x2000)}\r\n`,
    );
    const http = makeHttp();
    const answer = await http.get(url);

    const fault = await text((answer as { body: NodeJS.ReadableStream }).body).catch((thrown) => thrown);

    expect(http.toError(url, fault)).toEqual(unavailable("did not come whole"));
  });

  test("with tries that never end is left after all of them together", async () => {
    const { url } = await startServer((_, response) =>
      response.writeHead(503, { "retry-after": "31536000" }).end(),
    );

    await expect(makeHttp({ retries: 1000 }).get(url)).rejects.toThrow(unavailable("did not come whole"));
  });

  test("of redirects is left after a few", async () => {
    const { url, requests } = await startServer((_, response, before) =>
      response.writeHead(302, { location: `/${before}` }).end(),
    );

    await expect(makeHttp().get(url)).rejects.toThrow(unavailable("redirects more than 5 times"));
    expect(requests.length).toBeLessThan(15);
  });
});

describe("a server that sends us elsewhere", () => {
  const hidden = () => startServer((_, response) => response.end("what only this machine may ask for"));

  async function redirectedTo(place: string, options: HttpOptions = {}) {
    const { url } = await startServer((_, response) => response.writeHead(302, { location: place }).end());
    const fault = await makeHttp(options)
      .fetchDocument(`${url}/a`, 1000)
      .catch((thrown) => thrown);
    return { url, fault };
  }

  test.each([
    ["this machine", (port: string) => `http://127.0.0.1:${port}/`],
    ["this machine, in a way of its own", (port: string) => `http://0x7f.1:${port}/`],
    ["this machine as a number", (port: string) => `http://2130706433:${port}/`],
    ["this machine by any of its addresses", (port: string) => `http://127.8.9.1:${port}/`],
    ["this machine by no address", (port: string) => `http://0.0.0.0:${port}/`],
    ["this machine by name", (port: string) => `http://localhost:${port}/`],
    ["this machine by a longer name", (port: string) => `http://a.localhost.:${port}/`],
    ["this machine by IPv6", (port: string) => `http://[::1]:${port}/`],
    ["this machine, IPv4 in IPv6", (port: string) => `http://[::ffff:127.0.0.1]:${port}/`],
  ])("to %s is not followed, and nobody is asked", async (_, placeAt) => {
    const { url: secret, requests } = await hidden();

    const { url, fault } = await redirectedTo(placeAt(new URL(secret).port));

    expect(fault).toEqual(unavailable(/has no public address/));
    expect(fault).toMatchObject({
      at: { url: `${url}/a` },
      hint: expect.stringMatching(/`privateHosts`.*--private-host/),
    });
    expect(requests).toEqual([]);
  });

  test.each([
    ["a cloud's metadata", "http://169.254.169.254/latest/meta-data/"],
    ["a private network", "http://10.1.2.3/"],
    ["a unique local address", "http://[fd00:ec2::254]/"],
    ["a carrier's network", "http://100.100.100.200/"],
    ["a link-local address", "https://[fe80::1]/"],
  ])("to %s is not followed", async (_, place) => {
    expect((await redirectedTo(place)).fault).toEqual(unavailable(/has no public address/));
  });

  test.skipIf(NAMES.length === 0)(
    "by a name that leads to this machine is found out when we connect",
    async () => {
      const { url: secret, requests } = await hidden();

      for (const name of NAMES) {
        const { fault } = await redirectedTo(`http://${name}:${new URL(secret).port}/`);
        expect(fault, name).toEqual(unavailable(/has no public address/));
      }
      expect(requests).toEqual([]);
    },
  );

  test("goes where the same person sent us, and where that person says we may go", async () => {
    const { url: secret, requests } = await hidden();

    for (const own of [[secret, "127.0.0.1"], ["127.0.0.1"]]) {
      const { fault } = await redirectedTo(secret, { own });
      expect(fault).toMatchObject({ kind: "ok" });
    }
    const { fault } = await redirectedTo("http://127.0.0.1:1/", { own: [secret] });
    expect(fault).toEqual(unavailable(/has no public address/));
    expect(requests).toHaveLength(2);
  });

  test("is not asked itself when nobody named it", async () => {
    const { url, requests } = await hidden();

    const asking = makeHttp({ own: ["https://mirror.example/"] }).fetchDocument(url, 1000);

    await expect(asking).rejects.toThrow(unavailable(/has no public address/));
    expect(requests).toEqual([]);
  });
});

describe("what a wrong answer tells", () => {
  const expected = { sha256: "0".repeat(64), size: 6 };

  test("is not what it was", async () => {
    const { url } = await startServer((_, response) => response.end("secret"));

    const fault = await makeHttp()
      .streamVerified(url, expected, text)
      .catch((thrown) => thrown);

    expect(fault).toMatchObject({ code: "DIGEST_MISMATCH" });
    const digest = createHash("sha256").update("secret").digest("hex");
    expect(JSON.stringify([fault.message, fault.at, fault.hint])).not.toContain(digest);
  });

  test("is not that the package is gone, when 'not modified' is no answer to what we asked", async () => {
    const { url } = await startServer((_, response) => response.writeHead(304, { etag: '"a"' }).end());
    const directory = await temporaryDirectory();
    const scratch = await openScratch(join(directory, "tmp"));

    const getting = makeHttp().download(url, expected, join(directory, "file"), scratch);

    await expect(getting).rejects.toThrow(unavailable("'not modified' to a plain request"));
  });
});
