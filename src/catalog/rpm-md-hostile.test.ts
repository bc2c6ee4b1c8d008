import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { editPrimary, entryOf, replacePrimary, serveFiles } from "../../test/support/rpm-repository.ts";
import { makeRpmRepositories, openContext, sourceAt } from "../../test/support/rpm-source.ts";
import { startServer } from "../../test/support/server.ts";
import { readRpmSource } from "./rpm-md.ts";

const { repositoryOf } = makeRpmRepositories();

describe("what is damaged or hostile", () => {
  type Files = Map<string, Buffer>;
  const gz = (text: string) => execFileSync("gzip", ["-c"], { input: text });
  const edit = (change: (repomd: string) => string) => (files: Files) =>
    void files.set(
      "repodata/repomd.xml",
      Buffer.from(change(files.get("repodata/repomd.xml")?.toString() ?? "")),
    );
  const primaryOf = (text: string) => (files: Files) => {
    replacePrimary(files, gz(text), "gz");
    editPrimary(files, (data) => data.replace(/<open-(checksum|size)[\s\S]*?<\/open-\1>/g, ""));
  };
  const laughs = `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]><metadata><package><name>&lol2;</name></package></metadata>`;

  test.each<[string, string, RegExp, (files: Files) => void]>([
    [
      "a primary.xml with other bytes",
      "DIGEST_MISMATCH",
      /sha256 is/,
      (files) => void entryOf(files, "primary")[1].writeUInt8(7, 40),
    ],
    [
      "a primary.xml that is cut off",
      "DIGEST_MISMATCH",
      /ended after/,
      (files) => {
        const [path, bytes] = entryOf(files, "primary");
        files.set(path, bytes.subarray(0, -9));
      },
    ],
    [
      "a primary.xml that goes on",
      "DIGEST_MISMATCH",
      /longer than/,
      (files) => {
        const [path, bytes] = entryOf(files, "primary");
        files.set(path, Buffer.concat([bytes, bytes]));
      },
    ],
    [
      "a primary.xml that is not there",
      "NOT_FETCHABLE",
      /does not have it/,
      (files) => void files.delete(entryOf(files, "primary")[0]),
    ],
    [
      "another open-checksum",
      "DIGEST_MISMATCH",
      /the sha256 of its content/,
      (files) => editPrimary(files, (data) => data.replace(/(<open-checksum type="sha256">)..../, "$10000")),
    ],
    [
      "more inside than it says",
      "DIGEST_MISMATCH",
      /unpacks to more than 1000 bytes/,
      (files) => editPrimary(files, (data) => data.replace(/<open-size>\d+/, "<open-size>1000")),
    ],
    [
      "something that does not unpack",
      "DIGEST_MISMATCH",
      /cannot be decompressed/,
      (files) => replacePrimary(files, Buffer.from("no gzip at all"), "gz"),
    ],
    [
      "another compression",
      "REMOTE_UNAVAILABLE",
      /unsupported format/,
      (files) => replacePrimary(files, Buffer.from("\x04\x22\x4d\x18"), "lz4"),
    ],
    [
      "plain XML that is none",
      "REMOTE_UNAVAILABLE",
      /not well-formed/,
      (files) => replacePrimary(files, Buffer.from(`<metadata>&${"x".repeat(300_000)}`), "xml"),
    ],
    [
      "a digest that proves nothing",
      "REMOTE_UNAVAILABLE",
      /no SHA-256/,
      edit((text) => text.replaceAll('"sha256"', '"sha1"')),
    ],
    [
      "no primary.xml",
      "REMOTE_UNAVAILABLE",
      /names no primary/,
      edit((text) => text.replace('"primary"', '"secondary"')),
    ],
    [
      "a primary.xml elsewhere",
      "REMOTE_UNAVAILABLE",
      /names no primary/,
      edit((text) => text.replaceAll('href="repodata', 'href="../../x')),
    ],
    [
      "a primary.xml of another server",
      "REMOTE_UNAVAILABLE",
      /names no primary/,
      edit((text) => text.replaceAll('href="', 'href="http://x.example/')),
    ],
    [
      "no date",
      "REMOTE_UNAVAILABLE",
      /no date/,
      edit((text) => text.replace(/<(revision|timestamp)>\d+/g, "<$1>x")),
    ],
    [
      "a repomd.xml that is cut off",
      "REMOTE_UNAVAILABLE",
      /not well-formed/,
      edit((text) => text.slice(0, -40)),
    ],
    ["a web page", "REMOTE_UNAVAILABLE", /repomd\.xml/, edit(() => "<html><p>Sign in</html>")],
    ["nothing at all", "REMOTE_UNAVAILABLE", /repomd\.xml/, edit(() => "")],
    ["entities that grow (repomd.xml)", "REMOTE_UNAVAILABLE", /document type/, edit(() => laughs)],
    ["entities that grow (primary.xml)", "REMOTE_UNAVAILABLE", /document type/, primaryOf(laughs)],
    [
      "entities without a document type",
      "REMOTE_UNAVAILABLE",
      /not well-formed/,
      primaryOf("<metadata>&lol;</metadata>"),
    ],
    ["elements without end", "REMOTE_UNAVAILABLE", /nested/, primaryOf("<package>".repeat(100_000))],
    [
      "a name without end",
      "REMOTE_UNAVAILABLE",
      /without end/,
      primaryOf(`<metadata><package><name>${"k".repeat(9_000_000)}`),
    ],
    [
      "a tag without end",
      "REMOTE_UNAVAILABLE",
      /without end/,
      primaryOf(`<metadata><package ${'a="b" '.repeat(2_000_000)}`),
    ],
    ["an XML file that stops", "REMOTE_UNAVAILABLE", /not well-formed/, primaryOf("<metadata><package>")],
  ])("%s is an answer that it failed (%s)", async (_, code, words, damage) => {
    const { url, files } = await serveFiles(await repositoryOf("alma"));
    damage(files);

    const answer = await readRpmSource(sourceAt(url), await openContext());

    expect(answer).toMatchObject({ kind: "failed", error: { code, message: expect.stringMatching(words) } });
  });

  test("a connection that breaks off in the middle is a failure, and no waiting", async () => {
    const files = await repositoryOf("alma", { compression: "xz" });
    const { url } = await startServer(({ url: path }, response) => {
      const content = files.get((path ?? "").slice(1));
      if (content === undefined) return response.writeHead(404).end();
      response.writeHead(200, { "content-length": content.length });
      if (!path?.includes("primary")) return response.end(content);
      return response.write(content.subarray(0, 200), () => response.destroy());
    });

    const answer = await readRpmSource(sourceAt(url), await openContext());

    expect(answer).toMatchObject({ kind: "failed", error: { code: "REMOTE_UNAVAILABLE" } });
  });

  test("packages that lead elsewhere are left out", async () => {
    const hrefs = [
      "../../etc/shadow",
      "/etc/shadow",
      "Packages/../../x.rpm",
      "http://x.example/k.rpm",
      "a b.rpm",
      "Packages/%2e%2e/x",
    ];
    const entry = (name: string, href: string) => `<package type="rpm"><name>${name}</name><arch>x86_64</arch>
      <version epoch="0" ver="5.14.0" rel="1.el9"/><checksum type="sha256" pkgid="YES">${"a".repeat(64)}</checksum>
      <size package="5" installed="5" archive="5"/><location href="${href}"/></package>`;
    const packages = [
      ...hrefs.map((href) => entry("kernel-devel", href)),
      entry("kernel-core", "Packages/k%2B1.rpm"),
    ];
    const { url, files } = await serveFiles(await repositoryOf("alma"));
    primaryOf(`<metadata>${packages.join("")}</metadata>`)(files);

    const answer = await readRpmSource(sourceAt(url), await openContext());

    // What only goes up stays on its server and has its digest: Amazon's packages lie there.
    expect(answer).toMatchObject({ packages: [{ path: "../../etc/shadow" }, { path: "Packages/k+1.rpm" }] });
  });

  test("a server that is down is an answer too, and a stop is none", async () => {
    const down = await readRpmSource(sourceAt("http://127.0.0.1:9"), await openContext());
    const stopped = readRpmSource(sourceAt("http://127.0.0.1:9"), {
      ...(await openContext()),
      signal: AbortSignal.abort(),
    });

    expect(down).toMatchObject({ kind: "failed", error: { code: "REMOTE_UNAVAILABLE" } });
    await expect(stopped).rejects.toThrow(expect.objectContaining({ code: "INTERRUPTED" }));
  });
});
