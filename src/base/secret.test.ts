import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { startServer } from "../../test/support/server.ts";
import { Http } from "./http.ts";
import { type Credentials, credentialsFor, Secret } from "./secret.ts";

const WORD = "hunter2";

describe("Secret", () => {
  test("is not seen however it is printed", () => {
    const secret = new Secret(WORD);
    const prints = [
      String(secret),
      JSON.stringify({ secret }),
      inspect({ secret }, { showHidden: true, depth: 9 }),
      inspect(new Error("x", { cause: secret })),
      Object.values(secret).join(),
    ];

    expect(prints.join()).not.toContain(WORD);
    expect(prints[0]).toBe("***");
    expect(JSON.stringify({ secret })).toBe('{"secret":"***"}');
    expect(secret.reveal()).toBe(WORD);
  });
});

describe("credentialsFor", () => {
  const of = (url: string): Credentials => ({ url, authorization: new Secret(url) });
  const known = [of("https://a.example/infra/"), of("https://a.example/apps"), of("http://b.example:81/")];

  test.each([
    ["https://a.example/apps/ubuntu/dists", "https://a.example/apps"],
    ["https://a.example/infra/x", "https://a.example/infra/"],
    ["https://a.example/elsewhere", "https://a.example/infra/"],
    ["http://b.example:81/x", "http://b.example:81/"],
  ])("of one server, those of the closest path: %s", (url, expected) => {
    expect(credentialsFor(url, known)?.url).toBe(expected);
  });

  test.each([
    "http://a.example/infra/",
    "https://b.example:81/",
    "http://b.example/",
    "https://a.example.org/infra/",
    "no url",
  ])("none for %s", (url) => expect(credentialsFor(url, known)).toBeUndefined());
});

describe("Http with credentials", () => {
  /** A server that notes who asks; `/to?URL` sends elsewhere. */
  async function listen() {
    const seen: (string | undefined)[] = [];
    const server = await startServer(({ headers, url }, response) => {
      seen.push(headers.authorization);
      const target = /^\/to\?(.*)$/.exec(url ?? "")?.[1];
      if (target !== undefined)
        return response.writeHead(302, { location: decodeURIComponent(target) }).end();
      if (url === "/secret") return response.writeHead(401, { "www-authenticate": "Basic" }).end("no");
      return response.end("ok");
    });
    return { ...server, seen };
  }

  test("says them to their server, through redirects of its own, and to no other", async () => {
    const [own, other] = [await listen(), await listen()];
    const http = new Http({
      retries: 0,
      own: [own.url, other.url],
      credentials: [{ url: `${own.url}/`, authorization: new Secret(WORD) }],
    });

    for (const url of [
      `${own.url}/a`,
      `${own.url}/to?${encodeURIComponent("/b")}`,
      `${own.url}/to?${encodeURIComponent(`${other.url}/c`)}`,
      `${other.url}/d`,
      `${other.url}/to?${encodeURIComponent(`${own.url}/e`)}`,
    ])
      await http.fetchDocument(url, 100);
    await http.close();

    expect(other.seen).toEqual([undefined, undefined, undefined]);
    // Whom somebody else sends to our server comes without a name.
    expect(own.seen).toEqual([WORD, WORD, WORD, WORD, undefined]);
  });

  test("does not quote them when the server refuses, and says what to do", async () => {
    const server = await listen();
    const http = new Http({
      retries: 0,
      credentials: [{ url: server.url, authorization: new Secret(WORD) }],
    });

    const refused = await http.fetchDocument(`${server.url}/secret`, 100).catch((thrown: unknown) => thrown);
    await http.close();

    expect(refused).toMatchObject({
      code: "REMOTE_UNAVAILABLE",
      hint: expect.stringContaining("credentials"),
    });
    expect(inspect(refused, { depth: 9, showHidden: true })).not.toContain(WORD);
    expect(server.seen).toEqual([WORD]);
  });
});
