import { execFileSync } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { Http } from "../../base/http.ts";
import { openScratch } from "../../base/scratch.ts";
import { type FeedContext, type FeedPlace, withFeed } from "./feed-files.ts";

let context: FeedContext;
beforeEach(async () => {
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  context = {
    http: new Http({ retries: 0 }),
    scratch,
    cache,
    say: () => {},
    signal: new AbortController().signal,
  };
});
afterEach(() => context.http.close());

async function read(place: FeedPlace, known?: string) {
  return withFeed(place, known, context, async ({ source, files }) => {
    const found: Record<string, string> = {};
    for await (const { name, body } of files()) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      found[name] = Buffer.concat(chunks).toString();
    }
    return { source, found };
  });
}

const FILES = {
  "cve/published/2026/CVE-2026-1.json": "{}",
  "cve/published/2026/CVE-2026-1.dyad": "# dyad\n",
};

async function directoryOf(files: Readonly<Record<string, string>>): Promise<string> {
  const top = await temporaryDirectory();
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(top, path, ".."), { recursive: true });
    await writeFile(join(top, path), text);
  }
  return top;
}

const git = (cwd: string, ...argv: string[]) =>
  execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@example.org", ...argv], {
    cwd,
    stdio: "pipe",
  });

describe("a feed is the same", () => {
  test("from a directory, a packed archive and a repository of git, whose attributes and hooks count for nothing", async () => {
    const top = await directoryOf(FILES);
    const tar = join(await temporaryDirectory(), "feed.tar.gz");
    execFileSync("tar", ["-czf", tar, "-C", top, "cve"]);
    const checkout = await directoryOf({ ...FILES, ".gitattributes": "*.dyad export-ignore\n" });
    git(checkout, "init", "--quiet");
    git(checkout, "add", ".");
    git(checkout, "commit", "--quiet", "-m", "c");
    await writeFile(join(checkout, "cve/published/2026/CVE-2026-1.json"), "changed since");

    expect((await read(top))?.found).toEqual(FILES);
    expect((await read(tar))?.found).toEqual(FILES);
    expect((await read(checkout))?.found).toEqual({ ...FILES, ".gitattributes": "*.dyad export-ignore\n" });
    expect((await read({ git: checkout, revision: "HEAD" }))?.found).toHaveProperty(
      "cve/published/2026/CVE-2026-1.dyad",
    );
  });

  test("with each of its files packed, and named without that", async () => {
    const top = await directoryOf({});
    await writeFile(join(top, "epss.csv.gz"), gzipSync("cve,epss\n"));

    expect((await read(top))?.found).toEqual({ "epss.csv": "cve,epss\n" });
    expect((await read(join(top, "epss.csv.gz")))?.found).toEqual({ "epss.csv": "cve,epss\n" });
  });
});

describe("a feed is not read again", () => {
  test.each(["directory", "file", "repository"])("as long as its %s is the same", async (kind) => {
    const top = await directoryOf(FILES);
    if (kind === "repository") {
      git(top, "init", "--quiet");
      git(top, "add", ".");
      git(top, "commit", "--quiet", "-m", "c");
    }
    const place = kind === "file" ? join(top, "cve/published/2026/CVE-2026-1.json") : top;
    const first = await read(place);

    expect(await read(place, first?.source)).toBeUndefined();

    await writeFile(join(top, "cve/published/2026/CVE-2026-1.json"), "other");
    if (kind === "repository") git(top, "commit", "--quiet", "-a", "-m", "d");
    expect(Object.values((await read(place, first?.source))?.found ?? {})).toContain("other");
  });
});

describe("of a server", () => {
  let server: Server;
  let asked: (string | undefined)[] = [];
  let text = "one";
  beforeAll(async () => {
    server = createServer((request, response) => {
      const tag = `"${text}"`;
      asked.push(request.headers["if-none-match"]);
      if (request.url === "/gone.json") response.writeHead(404).end();
      else if (request.headers["if-none-match"] === tag) response.writeHead(304).end();
      else response.writeHead(200, { etag: tag }).end(text);
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  });
  afterAll(() => server.close());
  const at = (path: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${path}`;

  test("it is asked for only if it changed, and only if what it said was kept", async () => {
    const first = await read(at("kev.json"));
    asked = [];

    expect(first?.found).toEqual({ "kev.json": "one" });
    expect(await read(at("kev.json"), first?.source)).toBeUndefined();
    // What was read was never published: a kill came before.
    expect((await read(at("kev.json")))?.found).toEqual({ "kev.json": "one" });
    text = "two";
    expect((await read(at("kev.json"), first?.source))?.found).toEqual({ "kev.json": "two" });
    expect(asked).toEqual(['"one"', undefined, '"one"']);
  });

  test("what it does not have is an error", async () => {
    await expect(read(at("gone.json"))).rejects.toMatchObject({ code: "REMOTE_UNAVAILABLE" });
  });
});

describe("what is no feed", () => {
  test("leads nowhere: links and devices of an archive and a directory are passed over", async () => {
    const top = await directoryOf({ "a.json": "{}" });
    await symlink("/etc/passwd", join(top, "b.json"));
    await symlink("..", join(top, "c"));
    const tar = join(await temporaryDirectory(), "feed.tar");
    execFileSync("tar", [
      "-cf",
      tar,
      "-C",
      top,
      "--transform",
      "s,^a,../../a,",
      "-P",
      "a.json",
      "b.json",
      "c",
    ]);

    expect((await read(top))?.found).toEqual({ "a.json": "{}" });
    expect(Object.values((await read(tar))?.found ?? {})).toEqual(["{}"]);
  });

  test("is an error: a place where nothing is, an archive that is cut off, a pack that is half written", async () => {
    const top = await directoryOf(FILES);
    const tar = join(await temporaryDirectory(), "feed.tar");
    execFileSync("tar", ["-cf", tar, "-C", top, "cve"]);
    const cut = join(await temporaryDirectory(), "cut.tar");
    execFileSync("sh", ["-c", `head -c 1800 ${tar} > ${cut}`]);
    git(top, "init", "--quiet");
    git(top, "add", ".");
    git(top, "commit", "--quiet", "-m", "c");
    git(top, "gc", "--quiet");
    execFileSync(
      "sh",
      ["-c", `for p in .git/objects/pack/*.pack; do chmod u+w $p; truncate -s 50 $p; done`],
      { cwd: top },
    );

    await expect(read(join(top, "none"))).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
    await expect(read(cut)).rejects.toMatchObject({ code: "PACKAGE_MALFORMED" });
    await expect(read(top)).rejects.toMatchObject({ code: "DRIVER_INVALID" });
  });
});
