/** What a server does wrong, said in our own words and ended in bounded time. */
import type { ServerResponse } from "node:http";
import { createServer, type Server } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { startServer } from "../../test/support/server.ts";
import { Http, type HttpOptions } from "./http.ts";

const LIMIT = 1_000_000;

function makeHttp(options: HttpOptions = {}): Http {
  const http = new Http({ retries: 0, firstDelayMs: 1, ...options });
  onTestFinished(() => http.close());
  return http;
}

/** A byte now and then, without end. */
async function trickle(response: ServerResponse): Promise<void> {
  while (!response.destroyed) {
    response.write("x");
    await sleep(20);
  }
}

async function faultOf(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  return work.then(
    () => expect.fail("nothing went wrong"),
    (fault) => fault,
  );
}

/** A server that talks as no HTTP server does. */
async function startRaw(answer: string): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(answer));
  });
  return listening(server);
}

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

describe("a slow server", () => {
  test("that trickles a document is given up once, after the time that one may take", async () => {
    const { url, requests } = await startServer((_, response) => void trickle(response));

    const fault = await faultOf(
      makeHttp({ retries: 3, slowMs: 200 }).fetchDocument(`${url}/InRelease`, LIMIT),
    );

    expect(fault).toMatchObject({ code: "REMOTE_UNAVAILABLE" });
    expect(fault.message).toMatch(/\/InRelease comes too slowly: \d+ bytes in 0\.2 s$/);
    expect(requests).toHaveLength(1);
  });

  test("that trickles a file is given up, however much was promised", async () => {
    const { url } = await startServer((_, response) => void trickle(response));
    const promised = { sha256: "0".repeat(64), size: LIMIT };

    const fault = await faultOf(makeHttp({ slowMs: 200 }).streamVerified(`${url}/a.deb`, promised, text));

    expect(fault).toMatchObject({
      code: "REMOTE_UNAVAILABLE",
      message: expect.stringContaining("a.deb comes too slowly"),
    });
  });

  test("that trickles a list ends its reader with the same words", async () => {
    const { url } = await startServer((_, response) => void trickle(response));
    const http = makeHttp({ slowMs: 200 });

    const answer = await http.get(url);
    const fault = await faultOf(text(answer.kind === "ok" ? answer.body : expect.fail()));

    expect(http.toError(url, fault)).toMatchObject({
      code: "REMOTE_UNAVAILABLE",
      message: expect.stringContaining("comes too slowly"),
    });
  });

  test("that trickles its headers is given up as one that does not answer", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.write("HTTP/1.1 200 OK\r\nX-Long: ");
      const timer = setInterval(() => socket.write("x"), 20);
      socket.once("close", () => clearInterval(timer));
    });
    const url = await listening(server);

    expect((await faultOf(makeHttp({ silenceMs: 300 }).get(url))).message).toBe(
      `${url}: the server did not answer within 0.3 s`,
    );
  });

  test("is not blamed while we are the slow ones", async () => {
    const bytes = "x".repeat(300_000);
    const { url } = await startServer((_, response) => response.end(bytes));

    const answer = await makeHttp({ slowMs: 100 }).get(url);
    if (answer.kind !== "ok") return expect.fail();
    let size = 0;
    for await (const chunk of answer.body) {
      if (size === 0) await sleep(400);
      size += (chunk as Buffer).length;
    }

    expect(size).toBe(bytes.length);
  });
});

describe("we say in our own words what is wrong with", () => {
  test.each<[string, (response: ServerResponse) => unknown, RegExp]>([
    ["a server that closes", (response) => response.destroy(), /: the server closed the connection before/],
    ["a server that says nothing", () => {}, /: the server did not answer within 0\.3 s$/],
    [
      "a server that stops in the middle",
      (response) => response.write("half"),
      /: the server sent nothing more for 0\.3 s$/,
    ],
    ["a circle", (response) => response.writeHead(302, { location: "/a" }).end(), / in a circle: .*\/a /],
    [
      "a redirect to a file",
      (response) => response.writeHead(302, { location: "file:///etc/passwd" }).end(),
      /\/a redirects to a file: address, which is refused$/,
    ],
    [
      "a redirect to nonsense",
      (response) => response.writeHead(302, { location: "http://[" }).end(),
      /\/a redirects to something that is not an address$/,
    ],
  ])("%s", async (_, answer, words) => {
    const { url } = await startServer((_request, response) => void answer(response));

    const fault = await faultOf(makeHttp({ silenceMs: 300 }).fetchDocument(`${url}/a`, LIMIT));

    expect(fault).toMatchObject({ code: "REMOTE_UNAVAILABLE", at: { url: `${url}/a` } });
    expect(fault.message).toMatch(words);
  });

  test("a chain of redirects without end", async () => {
    const { url } = await startServer((request, response) =>
      response.writeHead(302, { location: `${request.url}a` }).end(),
    );

    expect((await faultOf(makeHttp().get(`${url}/a`))).message).toBe(`${url}/a redirects more than 5 times`);
  });

  test("a server that speaks something else", async () => {
    const url = await startRaw("SSH-2.0-OpenSSH_9.2\r\n");

    expect((await faultOf(makeHttp().get(url))).message).toBe(`${url}: the server's answer is not HTTP`);
  });

  test("a port where nobody listens, also where the name has several addresses,", async () => {
    const words = /: nothing listens there \(connection refused\)$/;

    expect((await faultOf(makeHttp().get("http://127.0.0.1:9/a"))).message).toMatch(words);
    expect((await faultOf(makeHttp().get("http://localhost:9/a"))).message).toMatch(words);
  });
});
