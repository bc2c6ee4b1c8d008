/** What a bad answer leaves behind: nothing. Servers here know times of change only, as plain mirrors do. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeSigningKey, startRepository } from "../../test/support/apt-repository.ts";
import { editPrimary } from "../../test/support/rpm-repository.ts";
import { makeRpmRepositories, openContext, sourceAt } from "../../test/support/rpm-source.ts";
import { startServer } from "../../test/support/server.ts";
import { debian } from "../kernel/distributions/debian.ts";
import { type AptSource, readAptSource } from "./apt.ts";
import { readRpmSource } from "./rpm-md.ts";
import type { SourceContext } from "./source.ts";

const KEY = makeSigningKey();
const { repositoryOf } = makeRpmRepositories();
const [OLD, NEW] = [new Date("2026-02-01T00:00:00Z"), new Date("2026-02-02T00:00:00Z")];
const REPOMD = "repodata/repomd.xml";

/** Serves files; those named in `times` have changed then, all others long ago. */
async function startMirror(files: Map<string, Buffer>) {
  const times = new Map<string, Date>();
  const server = await startServer(({ url = "", headers }, response) => {
    const path = decodeURIComponent(url.slice(1));
    const content = files.get(path);
    if (content === undefined) return response.writeHead(404).end();
    const changed = times.get(path) ?? OLD;
    const since = headers["if-modified-since"];
    if (since !== undefined && changed <= new Date(since)) return response.writeHead(304).end();
    return response.writeHead(200, { "last-modified": changed.toUTCString() }).end(content);
  });
  const put = (path: string, content: Buffer, time = OLD) => {
    files.set(path, content);
    times.set(path, time);
  };
  return { url: server.url, files, put };
}

function wrongDigest(files: ReadonlyMap<string, Buffer>): Buffer {
  const other = new Map(files);
  editPrimary(other, (data) => data.replace(/(<checksum type="sha256">)[^<]*/, `$1${"0".repeat(64)}`));
  return other.get(REPOMD) as Buffer;
}

describe("a bad answer for repomd.xml that is newer than the good one", () => {
  test.each<[string, (files: ReadonlyMap<string, Buffer>) => Buffer]>([
    ["a web page", () => Buffer.from("<html><body>Please sign in</body></html>")],
    ["a digest that nothing has", wrongDigest],
  ])("is forgotten with the next good one: %s", async (_, bad) => {
    const mirror = await startMirror(await repositoryOf("alma"));
    const context = await openContext();
    const good = mirror.files.get(REPOMD) as Buffer;
    const look = () => readRpmSource(sourceAt(mirror.url), context);

    mirror.put(REPOMD, bad(mirror.files), NEW);
    const broken = await look();
    mirror.put(REPOMD, good, OLD);
    const healed = await look();
    mirror.put(REPOMD, bad(mirror.files), NEW);
    const again = await look();
    mirror.put(REPOMD, good, OLD);
    const last = await look();

    expect([broken, healed, again, last].map(({ kind }) => kind)).toEqual([
      "failed",
      "read",
      "failed",
      "read",
    ]);
  });

  test("is asked for without conditions, even when it was good once", async () => {
    const mirror = await startMirror(await repositoryOf("alma"));
    const context = await openContext();
    const look = () => readRpmSource(sourceAt(mirror.url), context);
    await look();
    await rm(join(context.cache, "indices"), { recursive: true });
    const primary = [...mirror.files.keys()].find((path) => path.includes("-primary.xml")) as string;
    mirror.files.delete(primary);

    const broken = await look();
    const before = context.http.traffic.notModified;
    await look();

    expect(broken.kind).toBe("failed");
    expect([before, context.http.traffic.notModified]).toEqual([1, 1]);
  });
});

test("a list that led to no good mirror is asked for anew", async () => {
  const mirror = await startMirror(await repositoryOf("alma"));
  const lists = await startMirror(new Map());
  lists.put("mirrors", Buffer.from(`${mirror.url}/wrong\n`), NEW);
  const context = await openContext();
  const source = sourceAt("", { location: { kind: "mirrorlist", urls: [`${lists.url}/mirrors`] } });

  const broken = await readRpmSource(source, context);
  lists.put("mirrors", Buffer.from(`${mirror.url}\n`), OLD);
  const healed = await readRpmSource(source, context);

  expect(broken).toMatchObject({
    kind: "failed",
    error: { message: expect.stringContaining(`${mirror.url}/wrong/${REPOMD}`) },
  });
  expect(healed.kind).toBe("read");
});

test("an InRelease whose indices are not there does not outlive the one that a mirror goes back to", async () => {
  const repository = await startRepository(KEY);
  const publish = (date: string) => {
    repository.files.clear();
    repository.publish("bookworm", { packages: [], date });
    return new Map(repository.files);
  };
  const [older, newer] = [publish("Sat, 07 Feb 2026 10:00:00 UTC"), publish("Sun, 08 Feb 2026 10:00:00 UTC")];
  const mirror = await startMirror(new Map(older));
  const context = await openContext();
  const look = () => readApt(mirror.url, context);

  for (const path of older.keys()) mirror.files.delete(path);
  mirror.put("dists/bookworm/InRelease", newer.get("dists/bookworm/InRelease") as Buffer, NEW);
  const half = await look();
  for (const [path, content] of older) mirror.put(path, content, OLD);
  const back = await look();

  expect(half).toMatchObject({ kind: "failed", error: { code: "NOT_FETCHABLE" } });
  expect(back).toMatchObject({ kind: "read", metadata: { date: "2026-02-07T10:00:00.000Z" } });
});

async function readApt(url: string, context: SourceContext) {
  const source: AptSource = {
    ...{ kind: "apt", id: "debian/bookworm", distribution: debian, release: "debian12", suite: "bookworm" },
    ...{ component: "main", architectures: ["x86_64"], url, keyring: KEY.keyring },
    ...{ acceptExpired: false, isRequired: false },
  };
  return readAptSource(source, context);
}
