/** Stores in buckets of real servers: one that keeps writers apart, and one that says that it cannot. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fsck } from "../../src/registry/fsck.ts";
import { history, readPublished } from "../../src/registry/generations.ts";
import { openS3Store } from "../../src/registry/stores/s3.ts";
import { startChild } from "../support/children.ts";
import { useFarms } from "../support/e2e-farm.ts";
import { radosgwFault, type S3Server, startRadosgw, startSwift, swiftFault } from "../support/s3-servers.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { storeContract } from "./store.ts";

const source = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
const BUCKET = "farm";

async function withBucket(server: S3Server): Promise<S3Server> {
  Object.assign(process.env, server.env);
  const client = new S3Client({ endpoint: server.endpoint, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  client.destroy();
  return server;
}

const placeOf = ({ endpoint }: S3Server, prefix = randomBytes(6).toString("hex")) => ({
  ...{ endpoint, prefix, bucket: BUCKET, pathStyle: true },
});

function openElsewhere(place: unknown): string {
  return `
    import { openS3Store } from ${source("src/registry/stores/s3.ts")};
    const store = await openS3Store(${JSON.stringify(place)});`;
}

const noRadosgw = radosgwFault();
if (noRadosgw !== undefined) console.warn(`radosgw is not tried: ${noRadosgw}`);

describe.skipIf(noRadosgw !== undefined)("radosgw", () => {
  const farms = useFarms();
  let server: S3Server;
  beforeAll(async () => {
    server = await withBucket(await startRadosgw());
  });
  afterAll(() => server?.stop());

  storeContract("a bucket of radosgw", async () => {
    const place = placeOf(server);
    return { open: () => openS3Store(place), openElsewhere: openElsewhere(place) };
  });

  test("takes a file in parts, and gives it back", async () => {
    const store = await openS3Store(placeOf(server));
    const file = join(await temporaryDirectory(), "large");
    const bytes = randomBytes((33 << 20) + 1);
    await writeFile(file, bytes);

    await store.writeFile("blobs/large", file);

    expect((await store.read("blobs/large"))?.equals(bytes)).toBe(true);
  });

  test("removes and lists more than a page of files", async () => {
    const store = await openS3Store(placeOf(server));
    const names = Array.from({ length: 1005 }, (_, index) => `a/${String(index).padStart(4, "0")}`);
    for (let from = 0; from < names.length; from += 40)
      await Promise.all(names.slice(from, from + 40).map((name) => store.write(name, "x")));
    await store.write("ab", "stays");

    expect(await store.list("a")).toHaveLength(1005);
    await store.remove("a");

    expect(await store.list("a")).toEqual([]);
    expect(String(await store.read("ab"))).toBe("stays");
  });

  test("lets one of eight create an object, fifty times", async () => {
    const place = placeOf(server);
    const stores = await Promise.all(Array.from({ length: 8 }, () => openS3Store(place)));
    const winners: number[] = [];
    for (let round = 0; round < 50; round++) {
      const created = await Promise.all(stores.map((one) => one.create(`race/${round}`, "same")));
      winners.push(created.filter(Boolean).length);
    }

    expect(winners).toEqual(Array(50).fill(1));
  });

  test("keeps one history of eight processes that publish at once, and loses nothing", async () => {
    const place = placeOf(server);
    const writers = Array.from({ length: 8 }, (_, index) =>
      startChild(`
        ${openElsewhere(place)}
        import { makeElement } from ${source("test/support/elements.ts")};
        import { CATALOG, makeOutcome, putBlobs } from ${source("test/support/artifacts.ts")};
        import { publish } from ${source("src/registry/commit.ts")};
        import { nextState } from ${source("src/registry/publish.ts")};
        const author = { who: "${index}", what: "run", now: () => new Date() };
        for (let round = 0; round < 3; round++) {
          const element = makeElement({ driver: "driver${index}" });
          const content = String(100 + round);
          await putBlobs(store, element, content);
          await publish(store, (before) => ({ state: nextState(before, CATALOG, [makeOutcome(element, { content })]) }), author);
        }
        console.log("done");`),
    );
    const said = (await Promise.all(writers)).map((one) => one.said);
    expect(said).toEqual(Array(8).fill("done"));

    const store = await openS3Store(place);
    const { head, indices } = await readPublished(store);
    const numbers: number[] = [];
    for await (const one of history(store, head)) numbers.push(one.head.number);
    expect(numbers).toEqual(Array.from({ length: 24 }, (_, index) => 24 - index));
    const drivers = indices.flatMap(({ stable }) => stable.map(({ driver }) => driver));
    expect(drivers.toSorted()).toEqual(Array.from({ length: 8 }, (_, index) => `driver${index}`));
    const { findings } = await fsck(store, { isFull: true, isRepair: false, copyOf: async () => undefined });
    expect(findings).toEqual([]);
  });

  test("is the store of a night; the next one with an empty cache builds nothing", async () => {
    const farm = await farms.farm({ mirror: await farms.mirror() });
    Object.assign(process.env, { AWS_ENDPOINT_URL_S3: server.endpoint });
    const env = { ...server.env, AWS_ENDPOINT_URL_S3: server.endpoint };
    const store = `s3://${BUCKET}/${randomBytes(6).toString("hex")}`;
    const run = (...argv: string[]) => farm.cliWith(env, ...argv, "--store", store);

    const first = await run("run", "--json");
    expect(first, first.stderr).toMatchObject({ exitCode: 0 });
    const { elements, generation } = JSON.parse(first.stdout);
    expect(elements.map(({ outcome }: { outcome: string }) => outcome)).toEqual(["stable", "stable"]);
    expect(elements[0].path).toMatch(new RegExp(`^${store}/view/`));
    await rm(farm.cache, { recursive: true });
    await mkdir(farm.cache);

    const second = await run("run", "--json");

    expect(second, second.stderr).toMatchObject({ exitCode: 0 });
    expect(JSON.parse(second.stdout).generation).toEqual(generation);
    expect(await readdir(farm.cache)).not.toContain("attempts");
    expect(await readdir(farm.directory)).not.toContain("store");
    expect(await run("fsck", "--full")).toMatchObject({ exitCode: 0 });
    expect((await run("matrix", "show")).stdout).toContain("doorbell");
    expect(first.stderr + second.stderr + first.stdout).not.toContain(server.env.AWS_SECRET_ACCESS_KEY);
  });
});

const noSwift = swiftFault();
if (noSwift !== undefined) console.warn(`Swift is not tried: ${noSwift}`);

describe.skipIf(noSwift !== undefined)("Swift", () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await withBucket(await startSwift());
  });
  afterAll(() => server?.stop());

  test("is found to be unsafe before any work is done; what is there can be read, listed and removed", async () => {
    const store = await openS3Store(placeOf(server));
    const file = join(await temporaryDirectory(), "large");
    const bytes = randomBytes((17 << 20) + 1);
    await writeFile(file, bytes);
    const names = ["a/6.12.113+deb12-amd64_1~bpo12+1.ko", "a/b/c", "a/b/d"];
    for (const name of names) await store.write(name, name);
    await store.writeFile("blobs/large", file);

    await expect(store.prepare()).rejects.toMatchObject({
      code: "STORE_UNSAFE",
      message: expect.stringContaining("(501)"),
    });
    await expect(store.create("generations/1", "x")).rejects.toMatchObject({ code: "STORE_UNSAFE" });

    for (const name of names) expect(String(await store.read(name))).toBe(name);
    expect((await store.read("blobs/large"))?.equals(bytes)).toBe(true);
    expect(await store.list("a")).toEqual([names[0]?.slice(2), "b"]);
    await store.remove("a/b");
    expect(await store.list("a/b")).toEqual([]);
    const left: string[] = [];
    for await (const { path } of store.walk("")) left.push(path);
    expect(left.toSorted()).toEqual([names[0], "blobs/large"]);
  });
});
