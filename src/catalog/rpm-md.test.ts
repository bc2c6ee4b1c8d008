import { execFileSync } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { makeSigningKey } from "../../test/support/apt-repository.ts";
import {
  below,
  buildRpms,
  createRepository,
  editPrimary,
  entryOf,
  replacePrimary,
  serveFiles,
} from "../../test/support/rpm-repository.ts";
import { startServer } from "../../test/support/server.ts";
import { sharedDirectory, temporaryDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { sha256 } from "../base/json.ts";
import { openScratch } from "../base/scratch.ts";
import { Secret } from "../base/secret.ts";
import { almalinux } from "../kernel/distributions/almalinux.ts";
import { amazonlinux2023 } from "../kernel/distributions/amazonlinux2023.ts";
import type { ListedKernel } from "../kernel/distributions/distribution.ts";
import { EMPTY_CATALOG } from "./catalog.ts";
import { type RpmSource, readRpmSource } from "./rpm-md.ts";
import type { SourceAnswer, SourceContext } from "./source.ts";
import { updateCatalog } from "./update.ts";

const KEY = makeSigningKey();
const OTHER_KEY = makeSigningKey();
const BUILT = sharedDirectory();
const EVR = "5.14.0-427.13.1.el9_4";
const REVISION = 1_770_000_000;
const DATE = new Date(REVISION * 1000).toISOString();
const UPDATEINFO = `<?xml version="1.0"?><updates><update type="security"><id>ALSA-2026:1</id></update></updates>`;

beforeAll(() => {
  const uname = (suffix = "", architecture = "x86_64") => `${EVR}.${architecture}${suffix}`;
  buildRpms(join(BUILT, "alma"), {
    evr: EVR,
    architecture: "x86_64",
    packages: [
      { name: "kernel-devel", release: uname() },
      { name: "kernel" },
      { name: "kernel-core" },
      { name: "kernel-modules-core" },
      { name: "kernel-rt-devel", release: uname("+rt") },
      { name: "kernel-rt-core" },
      { name: "kernel-headers" },
      { name: "kernel-devel-matched" },
      { name: "bash" },
    ],
  });
  buildRpms(join(BUILT, "alma-arm"), {
    evr: EVR,
    architecture: "aarch64",
    packages: [{ name: "kernel-64k-devel", release: uname("+64k", "aarch64") }, { name: "kernel-64k-core" }],
  });
  buildRpms(join(BUILT, "amazon"), {
    evr: "6.1.102-108.177.amzn2023",
    architecture: "x86_64",
    packages: [{ name: "kernel-devel", release: "6.1.102-108.177.amzn2023.x86_64" }, { name: "kernel" }],
  });
  buildRpms(join(BUILT, "amazon"), {
    evr: "6.12.25-32.101.amzn2023",
    architecture: "x86_64",
    packages: [{ name: "kernel6.12-devel" }, { name: "kernel6.12" }],
  });
});

/** A repository of the built packages, made anew. */
async function repositoryOf(name: string, options: Parameters<typeof createRepository>[1] = {}) {
  const directory = await temporaryDirectory();
  cpSync(join(BUILT, name), directory, { recursive: true });
  return createRepository(directory, { revision: REVISION, updateinfo: UPDATEINFO, ...options });
}

async function openContext(http = new Http({ retries: 1, firstDelayMs: 1 })): Promise<SourceContext> {
  const cache = await temporaryDirectory();
  onTestFinished(() => http.close());
  return { http, cache, scratch: await openScratch(join(cache, "tmp")) };
}

function sourceAt(url: string, changes: Partial<RpmSource> = {}): RpmSource {
  return {
    kind: "rpm-md",
    id: "almalinux9.4/BaseOS/x86_64",
    distribution: almalinux,
    release: "almalinux9.4",
    architectures: ["x86_64"],
    location: { kind: "baseurl", urls: [url] },
    acceptExpired: false,
    ...changes,
  };
}

function kernelsIn(answer: SourceAnswer, distribution = almalinux): ListedKernel[] {
  return answer.kind === "read" ? distribution.kernelsOf(answer.packages) : [];
}

const namesIn = (answer: SourceAnswer) =>
  answer.kind === "read" ? answer.packages.map(({ name }) => name).toSorted() : [];

describe("readRpmSource", () => {
  test.each(["gz", "xz", "zstd"] as const)("reads the kernels' packages (%s)", async (compression) => {
    const { url, files } = await serveFiles(await repositoryOf("alma", { compression }));
    const ending = { gz: ".gz", xz: ".xz", zstd: ".zst" }[compression];

    const answer = await readRpmSource(sourceAt(url), await openContext());

    expect(entryOf(files, "primary")[0]).toMatch(new RegExp(`${ending}$`));
    expect(answer).toMatchObject({
      kind: "read",
      url,
      metadata: {
        date: DATE,
        unsigned: true,
        digest: sha256(files.get("repodata/repomd.xml") as Buffer),
        updateinfo: { path: expect.stringMatching(/^repodata\/.*-updateinfo\.xml/) },
      },
    });
    expect(namesIn(answer)).toEqual([
      ...[
        "kernel",
        "kernel-core",
        "kernel-devel",
        "kernel-modules-core",
        "kernel-rt-core",
        "kernel-rt-devel",
      ],
    ]);
    expect(kernelsIn(answer)).toMatchObject([
      { kversion: `${EVR}.x86_64`, packageVersion: EVR, flavour: "generic" },
      { kversion: `${EVR}.x86_64+rt`, packageVersion: EVR, flavour: "rt" },
    ]);
  });

  test("gives every package the digest, the size and the place of its real file", async () => {
    const { url, files } = await serveFiles(await repositoryOf("alma"));

    const answer = await readRpmSource(sourceAt(url), await openContext());

    for (const { path, sha256: digest, size } of answer.kind === "read" ? answer.packages : []) {
      const file = files.get(path) as Buffer;
      expect({ digest: `sha256:${digest}`, size }).toEqual({ digest: sha256(file), size: file.length });
    }
    expect(answer).toMatchObject({ kind: "read" });
  });

  test("passes over packages of other architectures than its own", async () => {
    const both = await temporaryDirectory();
    for (const name of ["alma", "alma-arm"]) cpSync(join(BUILT, name), both, { recursive: true });
    const { url } = await serveFiles(createRepository(both));
    const context = await openContext();

    const arm = await readRpmSource(sourceAt(url, { architectures: ["aarch64"] }), context);
    const all = await readRpmSource(sourceAt(url, { architectures: ["aarch64", "x86_64"] }), context);

    expect(kernelsIn(arm).map(({ kversion }) => kversion)).toEqual([`${EVR}.aarch64+64k`]);
    expect(kernelsIn(all)).toHaveLength(3);
  });

  test("asks for nothing but repomd.xml when nothing changed, and for primary.xml when it did", async () => {
    const { url, files, requests } = await serveFiles(await repositoryOf("alma"));
    const context = await openContext();

    const first = await readRpmSource(sourceAt(url), context);
    const asked = requests().length;
    const second = await readRpmSource(sourceAt(url), context);
    const quiet = requests().slice(asked);
    for (const [path, content] of await repositoryOf("alma-arm", { revision: REVISION + 60 }))
      files.set(path, content);
    const third = await readRpmSource(sourceAt(url, { architectures: ["aarch64"] }), context);

    expect(second).toEqual(first);
    expect(quiet).toEqual(["repodata/repomd.xml"]);
    expect(context.http.traffic.notModified).toBe(1);
    expect(kernelsIn(third)).toHaveLength(1);
    expect(requests().slice(asked + 1)).toEqual([
      "repodata/repomd.xml",
      expect.stringContaining("primary.xml"),
    ]);
  });

  test("a repository that the server does not have is not served, and no failure", async () => {
    const { url } = await serveFiles(new Map());

    expect(await readRpmSource(sourceAt(url), await openContext())).toEqual({ kind: "notServed" });
  });

  test("takes the age of the youngest metadata where the revision is no time", async () => {
    const files = await repositoryOf("alma");
    const repomd = files.get("repodata/repomd.xml")?.toString() ?? "";
    files.set(
      "repodata/repomd.xml",
      Buffer.from(repomd.replace(/<revision>.*<\/revision>/, "<revision>7</revision>")),
    );
    const { url } = await serveFiles(files);

    const answer = await readRpmSource(sourceAt(url), await openContext());

    // modifyrepo_c says when it ran.
    expect(answer).toMatchObject({ kind: "read" });
    expect(answer.kind === "read" && answer.metadata.date > DATE).toBe(true);
  });
});

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
      /what is inside/,
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
      /not well-formed/,
      (files) => replacePrimary(files, Buffer.from("BZh9"), "bz2"),
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

describe("signatures", () => {
  const sign = (files: Map<string, Buffer>, key = KEY) =>
    files.set(
      "repodata/repomd.xml.asc",
      Buffer.from(key.signBeside(files.get("repodata/repomd.xml")?.toString() ?? "")),
    );

  test.each(["keyring", "armoured"] as const)(
    "are verified where a keyring is configured (%s)",
    async (form) => {
      const { url, files, requests } = await serveFiles(await repositoryOf("alma"));
      sign(files);
      const context = await openContext();

      const answer = await readRpmSource(sourceAt(url, { keyring: KEY[form] }), context);
      const asked = requests().length;
      const again = await readRpmSource(sourceAt(url, { keyring: KEY[form] }), context);

      expect(answer).toMatchObject({ kind: "read" });
      expect(JSON.stringify(answer)).not.toContain("unsigned");
      expect(again).toEqual(answer);
      expect(requests().slice(asked)).toEqual(["repodata/repomd.xml"]);
    },
  );

  test.each<[string, (files: Map<string, Buffer>) => void]>([
    ["there is none", (files) => void files.delete("repodata/repomd.xml.asc")],
    ["somebody else made it", (files) => void sign(files, OTHER_KEY)],
    [
      "it is of another text",
      (files) =>
        void files.set(
          "repodata/repomd.xml",
          Buffer.concat([files.get("repodata/repomd.xml") as Buffer, Buffer.from("\n")]),
        ),
    ],
    ["it is no signature", (files) => void files.set("repodata/repomd.xml.asc", Buffer.from("<html>"))],
  ])("are refused when %s", async (_, damage) => {
    const { url, files } = await serveFiles(await repositoryOf("alma"));
    sign(files);
    damage(files);

    const answer = await readRpmSource(sourceAt(url, { keyring: KEY.keyring }), await openContext());

    expect(answer).toMatchObject({ kind: "failed", error: { code: "SIGNATURE_INVALID" } });
  });

  test("are asked for when what was read without a keyring now has to have one", async () => {
    const { url } = await serveFiles(await repositoryOf("alma"));
    const context = await openContext();
    await readRpmSource(sourceAt(url), context);

    const answer = await readRpmSource(sourceAt(url, { keyring: KEY.keyring }), context);

    expect(answer).toMatchObject({ kind: "failed", error: { code: "SIGNATURE_INVALID" } });
  });
});

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
    const first = await updateCatalog(EMPTY_CATALOG, [source], context, {
      now: new Date("2026-02-10T00:00:00Z"),
    });
    const asked = requests().length;
    publish(OTHER_GUID);

    const second = await updateCatalog(first.catalog, [source], context, {
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
    const refused = await readRpmSource(at("bad"), await openContext());

    expect(answer).toMatchObject({ kind: "read", url: `${good.url}/` });
    expect(stale.requests()).toEqual(["repodata/repomd.xml"]);
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
    const context = () => openContext(new Http({ retries: 0, credentials }));

    const listed = await readRpmSource(
      sourceAt("", { location: { kind: "mirrorlist", urls: [`${server.url}/mirrors`] } }),
      await context(),
    );
    const redirected = await readRpmSource(sourceAt(server.url), await context());

    expect([listed.kind, redirected.kind]).toEqual(["read", "read"]);
    expect(seen).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe("a catalog of rpm repositories", () => {
  const day = (number: number) => new Date(Date.UTC(2026, 0, number));
  const seconds = (number: number) => Math.floor(day(number).getTime() / 1000);

  test("recognises a repository that no longer moves by its own cadence", async () => {
    const { url, files } = await serveFiles(new Map());
    const context = await openContext();
    let { catalog } = { catalog: EMPTY_CATALOG };
    for (const number of [1, 8, 15]) {
      files.clear();
      for (const [path, content] of await repositoryOf("alma", { revision: seconds(number) }))
        files.set(path, content);
      ({ catalog } = await updateCatalog(catalog, [sourceAt(url)], context, { now: day(number) }));
    }

    const soon = await updateCatalog(catalog, [sourceAt(url)], context, { now: day(35) });
    const late = await updateCatalog(catalog, [sourceAt(url)], context, { now: day(40) });
    const accepted = await updateCatalog(catalog, [sourceAt(url, { acceptExpired: true })], context, {
      now: day(40),
    });

    expect(soon.problems).toEqual([]);
    expect(late.problems).toMatchObject([{ detail: expect.stringMatching(/25 days old.*every 7/) }]);
    expect(late.catalog.kernels).toMatchObject([{ staleSince: day(40).toISOString() }, {}]);
    expect(accepted.problems).toEqual([]);
    expect(accepted.catalog.kernels).toHaveLength(2);
  });

  test("puts the kernels of a release in rpm's order", async () => {
    const { url } = await serveFiles(await repositoryOf("alma"));
    const context = await openContext();

    const { catalog } = await updateCatalog(EMPTY_CATALOG, [sourceAt(url)], context, { now: day(40) });

    expect(catalog.kernels).toMatchObject([
      { distribution: "almalinux9.4", kversion: `${EVR}.x86_64`, packageVersion: EVR, flavour: "generic" },
      { distribution: "almalinux9.4", kversion: `${EVR}.x86_64+rt`, flavour: "rt" },
    ]);
    expect(catalog.kernels[0]).not.toHaveProperty("compiler");
    expect(catalog.sources).toMatchObject([
      {
        kind: "rpm-md",
        url,
        unsigned: true,
        kernels: { x86_64: 2 },
        updateinfo: { path: expect.any(String) },
      },
    ]);
    expect(JSON.stringify(catalog.kernels)).not.toMatch(/provides|depends/);
  });
});
