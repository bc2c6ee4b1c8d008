/** Stores in buckets of real servers: one that keeps writers apart, one that refuses to, and one that takes no notice. */
import { randomBytes } from "node:crypto";
import { cp, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fsck } from "../../src/registry/fsck.ts";
import { history, readPublished } from "../../src/registry/generations.ts";
import { openS3Store } from "../../src/registry/stores/s3.ts";
import { Bucket, PATIENCE } from "../../src/registry/stores/s3-bucket.ts";
import { startChild } from "../support/children.ts";
import { useFarms } from "../support/e2e-farm.ts";
import { threeOf } from "../support/publishing-child.ts";
import { startS3Proxy } from "../support/s3-proxy.ts";
import {
  BUCKET,
  dbstoreFault,
  openElsewhere,
  placeOf,
  radosgwFault,
  type S3Server,
  startDbstore,
  startRadosgw,
  startSwift,
  swiftFault,
  withBucket,
} from "../support/s3-servers.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { storeContract } from "./store.ts";

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
    await store.removeAll("a");

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
      startChild(threeOf(openElsewhere(place), `driver${index}`)),
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

  test("is the store of a night; a machine with an empty disk goes on from there, and asks for little", async () => {
    const mirror = await farms.mirror();
    const proxy = await startS3Proxy(server.endpoint);
    Object.assign(process.env, { AWS_ENDPOINT_URL_S3: proxy.endpoint });
    const env = { ...server.env, AWS_ENDPOINT_URL_S3: proxy.endpoint };
    const store = `s3://${BUCKET}/${randomBytes(6).toString("hex")}`;
    const nightOf = async (farm: Awaited<ReturnType<typeof farms.farm>>) => {
      proxy.requests.length = 0;
      const night = await farm.cliWith(env, "run", "--json", "--store", store);
      expect(night, night.stderr).toMatchObject({ exitCode: 0 });
      expect(night.stderr + night.stdout).not.toContain(server.env.AWS_SECRET_ACCESS_KEY);
      return { ...JSON.parse(night.stdout), asked: [...proxy.requests] };
    };
    const isWrite = ({ method }: { method: string }) => !["GET", "HEAD"].includes(method);
    const isList = ({ query }: { query: URLSearchParams }) => query.has("list-type");

    const one = await farms.farm({ mirror });
    const first = await nightOf(one);
    const outcomes = first.elements.map(({ outcome }: { outcome: string }) => outcome);
    expect(outcomes).toEqual(["stable", "stable"]);
    expect(first.elements[0].path).toMatch(new RegExp(`^${store}/view/`));

    // What a machine is given beside the store's address: whose statements count is part of the policy.
    const other = await farms.farm({ mirror, warm: [] });
    const keys = join(".kmodfarm", "keys");
    await cp(join(one.directory, keys), join(other.directory, keys), { recursive: true });
    const second = await nightOf(other);
    expect(second.generation).toEqual(first.generation);
    expect(await readdir(other.cache)).not.toContain("attempts");
    expect(await readdir(other.cache)).not.toContain("roots");
    expect(await readdir(other.directory)).not.toContain("store");
    expect(second.asked.filter(isWrite)).toEqual([]);
    expect(second.asked.filter(isList)).toEqual([]);
    expect(second.asked.length).toBeLessThanOrEqual(60);

    const third = await nightOf(other);
    expect(third.asked.filter(isWrite)).toEqual([]);
    // Two for the roots, two for the heads, and what would come after its generation.
    const all = third.asked.map(({ method, path }: { method: string; path: string }) => `${method} ${path}`);
    expect(all.length, all.join("\n")).toBeLessThanOrEqual(5);

    expect(await other.cliWith(env, "fsck", "--full", "--store", store)).toMatchObject({ exitCode: 0 });
    const shown = await other.cliWith(env, "matrix", "show", "--store", store);
    expect(shown.stdout).toContain("doorbell");
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

  test("is found to be unsafe before anything is written; what is there can be read, listed and removed", async () => {
    const place = placeOf(server);
    const store = await openS3Store(place);
    const bytes = randomBytes((17 << 20) + 1);
    const names = ["a/6.12.113+deb12-amd64_1~bpo12+1.ko", "a/b/c", "a/b/d"];
    const bucket = await Bucket.open(place, PATIENCE);
    for (const name of names) await bucket.put(`${place.prefix}/${name}`, Buffer.from(name));
    const parts = [bytes.subarray(0, 16 << 20), bytes.subarray(16 << 20)];
    await bucket.putParts(`${place.prefix}/blobs/large`, bytes.length, Readable.from(parts));
    bucket.close();

    const unsafe = { code: "STORE_UNSAFE", message: expect.stringContaining("(501)") };
    await expect(store.prepare()).rejects.toMatchObject(unsafe);
    await expect(store.write("b", "x")).rejects.toMatchObject(unsafe);
    await expect(store.create("generations/1", "x")).rejects.toMatchObject(unsafe);

    for (const name of names) expect(String(await store.read(name))).toBe(name);
    expect((await store.read("blobs/large"))?.equals(bytes)).toBe(true);
    expect(await store.list("a")).toEqual([names[0]?.slice(2), "b"]);
    await store.removeAll("a/b");
    expect(await store.list("a/b")).toEqual([]);
    const left: string[] = [];
    for await (const { path } of store.walk("")) left.push(path);
    expect(left.toSorted()).toEqual([names[0], "blobs/large"]);
  });
});

const noDbstore = dbstoreFault();
if (noDbstore !== undefined) console.warn(`radosgw with dbstore is not tried: ${noDbstore}`);

describe.skipIf(noDbstore !== undefined)("radosgw with dbstore", () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await withBucket(await startDbstore());
  });
  afterAll(() => server?.stop());

  test("takes no notice of conditions: that is found before anything is written, and what is there can be read", async () => {
    const place = placeOf(server);
    const bucket = await Bucket.open(place, PATIENCE);
    await bucket.put(`${place.prefix}/channels/stable`, Buffer.from("1"));
    // The server says yes to whoever comes second.
    await bucket.putNew(`${place.prefix}/channels/stable`, Buffer.from("2"), {});
    bucket.close();
    const store = await openS3Store(place);
    const unsafe = {
      code: "STORE_UNSAFE",
      message: expect.stringMatching(/each had created|was there already/),
    };

    await expect(store.create("generations/1", "x")).rejects.toMatchObject(unsafe);
    await expect(store.write("channels/stable", "3")).rejects.toMatchObject(unsafe);

    expect(String(await store.read("channels/stable"))).toBe("2");
    expect(await store.list("generations")).toEqual([]);
  });
});
