import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { lookAtSources } from "../../test/support/look.ts";
import {
  below,
  editPrimary,
  entryOf,
  replacePrimary,
  serveFiles,
} from "../../test/support/rpm-repository.ts";
import {
  kernelsIn,
  makeRpmRepositories,
  openContext,
  REVISION,
  sourceAt,
} from "../../test/support/rpm-source.ts";
import { startServer } from "../../test/support/server.ts";
import { Http } from "../base/http.ts";
import { sha256 } from "../base/json.ts";
import { Secret } from "../base/secret.ts";
import { amazonlinux2023 } from "../kernel/distributions/amazonlinux2023.ts";
import { EMPTY_CATALOG } from "./catalog.ts";
import { readRpmSource } from "./rpm-md.ts";

const { repositoryOf } = makeRpmRepositories();

describe("lists of mirrors", () => {
  const GUID = "54a27ef1598955d2f12bcd3d29f646e7d6681e92bf047f1861fccc20013093b0";
  const OTHER_GUID = "db05fcc4b022af5ce6a038ac10b7ed311f7611a5a0c69c9df6233bf2d6bc6c73";

  /** Amazon's shape: a list names the place of tonight's publication, packages lie in a store of their own. */
  async function amazon() {
    const made = await repositoryOf("amazon");
    const store = [...made].filter(([path]) => path.endsWith(".rpm"));
    const blob = (path: string, content: Buffer) =>
      `al2023/blobstore/${sha256(content).slice(7)}/${path.split("/").at(-1)}`;
    const [, packed] = entryOf(made, "primary");
    let open = execFileSync("gzip", ["-dc"], { input: packed }).toString();
    for (const [path, content] of store)
      open = open.replace(`href="${path}"`, `href="../../../../${blob(path, content).slice(7)}"`);
    replacePrimary(made, execFileSync("gzip", ["-c"], { input: open }), "gz");
    editPrimary(made, (data) => data.replace(/<open-(checksum|size)[\s\S]*?<\/open-\1>/g, ""));
    const metadata = new Map([...made].filter(([path]) => path.startsWith("repodata/")));
    const { url, files, requests } = await serveFiles(
      new Map(store.map(([path, content]) => [blob(path, content), content])),
    );
    const publish = (guid: string) => {
      for (const [path, content] of below(`al2023/core/guids/${guid}/x86_64`, metadata))
        files.set(path, content);
      files.set(
        "al2023/core/mirrors/latest/x86_64/mirror.list",
        Buffer.from(`${url}/al2023/core/guids/${guid}/x86_64\n`),
      );
    };
    const source = sourceAt("", {
      id: "amazonlinux2023/core/x86_64",
      distribution: amazonlinux2023,
      release: "amazonlinux2023",
      location: { kind: "mirrorlist", urls: [`${url}/al2023/core/mirrors/latest/x86_64/mirror.list`] },
    });
    return { url, files, requests, publish, source };
  }

  test("Amazon's mirror.list leads to a publication whose packages lie beside it", async () => {
    const { url, publish, source } = await amazon();
    publish(GUID);
    const context = await openContext();

    const answer = await readRpmSource(source, context);

    const [kernel] = kernelsIn(answer, amazonlinux2023);
    expect(kernelsIn(answer, amazonlinux2023).map(({ kversion }) => kversion)).toEqual([
      "6.1.102-108.177.amzn2023.x86_64",
      "6.12.25-32.101.amzn2023.x86_64",
    ]);
    expect(answer).toMatchObject({ url: `${url}/al2023/core/guids/${GUID}/x86_64` });
    const [headers] = kernel?.packages.headers ?? [];
    const fetched = await context.http.fetchDocument(
      `${answer.kind === "read" ? answer.url : ""}/${headers?.path}`,
      1_000_000,
    );
    expect(fetched.kind === "ok" && sha256(fetched.bytes)).toBe(`sha256:${headers?.sha256}`);
  });

  test("a new publication of the same packages changes no kernel, and fetches no primary.xml", async () => {
    const { requests, publish, source, url } = await amazon();
    const context = await openContext();
    publish(GUID);
    const first = await lookAtSources(EMPTY_CATALOG, [source], context, {
      now: new Date("2026-02-10T00:00:00Z"),
    });
    const asked = requests().length;
    publish(OTHER_GUID);

    const second = await lookAtSources(first.catalog, [source], context, {
      now: new Date("2026-02-11T00:00:00Z"),
    });

    expect(second.catalog.kernels).toEqual(first.catalog.kernels);
    expect(second.catalog.kernels).toHaveLength(2);
    expect(second.catalog.sources[0]).toMatchObject({
      unsigned: true,
      url: `${url}/al2023/core/guids/${OTHER_GUID}/x86_64`,
    });
    expect(requests().slice(asked)).toEqual([
      "al2023/core/mirrors/latest/x86_64/mirror.list",
      `al2023/core/guids/${OTHER_GUID}/x86_64/repodata/repomd.xml`,
    ]);
  });

  test("the next mirror is asked where one is down, half updated or without it, and stays the first choice", async () => {
    const files = await repositoryOf("alma");
    const half = new Map([...files].filter(([path]) => !path.includes("primary")));
    const good = await serveFiles(files);
    const places = [
      "http://127.0.0.1:9",
      (await serveFiles(half)).url,
      (await serveFiles(new Map())).url,
      good.url,
    ];
    const list = await serveFiles(
      new Map([["mirrors", Buffer.from(`# mirrors\n${places.join("\n")}\nftp://x.example\n`)]]),
    );
    const source = sourceAt("", { location: { kind: "mirrorlist", urls: [`${list.url}/mirrors`] } });
    const context = await openContext();

    const first = await readRpmSource(source, context);
    const before = context.http.traffic.requests;
    const second = await readRpmSource({ ...source, lastMirror: good.url }, context);

    expect(first).toMatchObject({ kind: "read", url: good.url });
    expect(second).toEqual(first);
    expect(context.http.traffic.requests - before).toBe(2);
  });

  test("a release that moved is found at its other place", async () => {
    const good = await serveFiles(await repositoryOf("alma"));
    const gone = await serveFiles(new Map());

    const answer = await readRpmSource(
      sourceAt("", { location: { kind: "baseurl", urls: [gone.url, good.url] } }),
      await openContext(),
    );

    expect(answer).toMatchObject({ kind: "read", url: good.url });
  });

  test("a metalink vouches for what its mirrors serve", async () => {
    const files = await repositoryOf("alma");
    const [good, stale] = [
      await serveFiles(files),
      await serveFiles(await repositoryOf("alma", { revision: REVISION - 99 })),
    ];
    const digest = sha256(files.get("repodata/repomd.xml") as Buffer).slice(7);
    const metalink = (digests: string) => `<?xml version="1.0" encoding="utf-8"?>
      <metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
      <files><file name="repomd.xml"><mm0:timestamp>1</mm0:timestamp><size>5</size>
      <verification><hash type="md5">0</hash><hash type="sha256">${digests}</hash></verification>
      <resources maxconnections="1">
        <url protocol="rsync" type="rsync" preference="100">rsync://x.example/repodata/repomd.xml</url>
        <url protocol="http" type="http" preference="90">${good.url}/repodata/repomd.xml</url>
        <url protocol="http" type="http" preference="99">${stale.url}/repodata/repomd.xml</url>
      </resources></file></files></metalink>`;
    const list = await serveFiles(
      new Map([
        ["good", Buffer.from(metalink(digest))],
        ["bad", Buffer.from(metalink("0".repeat(64)))],
      ]),
    );
    const at = (name: string) =>
      sourceAt("", { location: { kind: "metalink", urls: [`${list.url}/${name}`] } });

    const answer = await readRpmSource(at("good"), await openContext());
    const asked = stale.requests();
    const refused = await readRpmSource(at("bad"), await openContext());

    expect(answer).toMatchObject({ kind: "read", url: `${good.url}/` });
    expect(asked).toEqual(["repodata/repomd.xml"]);
    expect(refused).toMatchObject({ kind: "failed", error: { code: "DIGEST_MISMATCH" } });
  });

  test.each([
    [
      "a list without mirrors",
      "<html>Sign in</html>",
      { kind: "failed", error: { code: "REMOTE_UNAVAILABLE" } },
    ],
    ["a list that is not there", undefined, { kind: "notServed" }],
  ])("%s", async (_, text, expected) => {
    const list = await serveFiles(new Map(text === undefined ? [] : [["mirrors", Buffer.from(text)]]));
    const source = sourceAt("", { location: { kind: "mirrorlist", urls: [`${list.url}/mirrors`] } });

    expect(await readRpmSource(source, await openContext())).toMatchObject(expected);
  });
});

describe("credentials", () => {
  const authorization = new Secret(`Basic ${Buffer.from("me:hunter2").toString("base64")}`);

  test("open a repository that others may not read, and are not in what it answers", async () => {
    const { url } = await serveFiles(
      await repositoryOf("alma"),
      ({ headers }) => headers.authorization === authorization.reveal(),
    );

    const without = await readRpmSource(sourceAt(url), await openContext());
    const answer = await readRpmSource(
      sourceAt(url),
      await openContext(new Http({ retries: 0, credentials: [{ url: `${url}/`, authorization }] })),
    );

    expect(without).toMatchObject({
      kind: "failed",
      error: { code: "REMOTE_UNAVAILABLE", hint: expect.stringContaining("credentials") },
    });
    expect(answer).toMatchObject({ kind: "read" });
    expect(JSON.stringify(answer)).not.toMatch(/hunter2|bWU6/);
  });

  test("are not said to the mirrors that a server names, nor where it redirects to", async () => {
    const files = await repositoryOf("alma");
    const seen: (string | undefined)[] = [];
    const elsewhere = await serveFiles(files, ({ headers }) => seen.push(headers.authorization) > 0);
    const server = await startServer((request, response) => {
      if (request.headers.authorization !== authorization.reveal()) return response.writeHead(401).end();
      if (request.url === "/mirrors") return response.writeHead(200).end(`${elsewhere.url}\n`);
      return response.writeHead(302, { location: `${elsewhere.url}${request.url}` }).end();
    });
    const credentials = [{ url: `${server.url}/`, authorization }];
    const context = () => openContext(new Http({ retries: 0, credentials, own: ["127.0.0.1"] }));

    const listed = await readRpmSource(
      sourceAt("", { location: { kind: "mirrorlist", urls: [`${server.url}/mirrors`] } }),
      await context(),
    );
    const redirected = await readRpmSource(sourceAt(server.url), await context());

    expect([listed.kind, redirected.kind]).toEqual(["read", "read"]);
    expect(seen).toEqual([undefined, undefined, undefined, undefined]);
  });
});
