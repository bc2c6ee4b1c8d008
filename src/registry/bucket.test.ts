/** A registry in a bucket, and what a server or a stranger may do to it. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CATALOG, makeOutcome, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { partOf } from "../../test/support/published.ts";
import { type S3Double, type S3Fault, startS3Double } from "../../test/support/s3-double.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { openScratch } from "../base/scratch.ts";
import { blobPath, readWritten } from "./blobs.ts";
import { commit, publish } from "./commit.ts";
import { fsck } from "./fsck.ts";
import { history, readPublished } from "./generations.ts";
import { keptBlobs } from "./kept.ts";
import { nextState } from "./publish.ts";
import { openS3Store } from "./stores/s3.ts";
import { PATIENCE } from "./stores/s3-bucket.ts";
import type { Store } from "./stores/store.ts";

const KEYS = {
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "very-secret-key",
  AWS_SESSION_TOKEN: "very-secret-token",
};
const AUTHOR = { who: "somebody", what: "run", now: () => new Date() };
const QUICK = { ...PATIENCE, connectMs: 30_000, silenceMs: 30_000, attempts: 3 };
const LOOK = { isFull: true, isRepair: false, copyOf: async () => undefined };

beforeEach(() => {
  for (const [name, value] of Object.entries({ ...KEYS, AWS_REGION: "us-east-1" })) vi.stubEnv(name, value);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const open = ({ endpoint, bucket }: S3Double) =>
  openS3Store({ endpoint, bucket, prefix: "farm", pathStyle: true }, { patience: QUICK });

async function publishOne(store: Store, content: string, driver = "doorbell"): Promise<void> {
  const element = makeElement({ driver });
  await putBlobs(store, element, content);
  const change = (before: Parameters<typeof nextState>[0]) => ({
    state: nextState(before, CATALOG, [makeOutcome(element, { content })]),
    result: 0,
  });
  await publish(store, change, AUTHOR);
}

async function numbersOf(store: Store): Promise<number[]> {
  const numbers: number[] = [];
  for await (const one of history(store, (await readPublished(store)).head)) numbers.push(one.head.number);
  return numbers;
}

test("is found from a pointer that is old, and from none", async () => {
  const double = await startS3Double();
  const store = await open(double);
  await publishOne(store, "100");
  const pointer = double.objects.get("farm/channels/stable");
  await publishOne(store, "101");

  double.objects.set("farm/channels/stable", pointer as NonNullable<typeof pointer>);
  expect((await readPublished(store)).head?.number).toBe(2);
  double.objects.delete("farm/channels/stable");
  expect((await readPublished(store)).head?.number).toBe(2);
});

test("with other bytes under a digest is damaged, and never read as what it was", async () => {
  const double = await startS3Double();
  const store = await open(double);
  await publishOne(store, "100");
  const key = `farm/${blobPath(partOf(await readPublished(store), "matrix")?.digest ?? "")}`;
  const found = double.objects.get(key);
  const body = Buffer.from(String(found?.body).replace("doorbell", "doorbull"));
  double.objects.set(key, { ...(found as NonNullable<typeof found>), body });

  await expect(readPublished(store)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  expect((await fsck(store, LOOK)).findings).not.toEqual([]);
});

test("has no generation whose parts the server did not take", async () => {
  const double = await startS3Double();
  const store = await open(double);
  await publishOne(store, "100");
  const refused: S3Fault = { kind: "answer", status: 403, code: "AccessDenied" };
  const { size } = double.objects;
  let count = 0;
  for (let failing = 0; failing < 40; failing += 4) {
    count = 0;
    double.fault = ({ method }) => (method === "PUT" && count++ === failing ? refused : undefined);
    await publishOne(store, String(200 + failing)).catch((thrown: unknown) => {
      expect(thrown).toMatchObject({ code: "STORE_UNUSABLE" });
    });
    double.fault = () => undefined;
    const { findings } = await fsck(store, LOOK);
    expect(findings.filter(({ path }) => !path.startsWith("view/"))).toEqual([]);
    if (count <= failing) break;
  }
  expect(double.objects.size).toBeGreaterThan(size);
  await publishOne(store, "999");
  expect((await fsck(store, LOOK)).findings).toEqual([]);
});

test.each([2, 8])("of %i writers at once has one history, and what all of them said", async (writers) => {
  const double = await startS3Double();
  const names = Array.from({ length: writers }, (_, index) => `driver${index}`);

  await Promise.all(names.map(async (driver) => publishOne(await open(double), "100", driver)));

  const store = await open(double);
  expect(await numbersOf(store)).toEqual(names.map((_, index) => writers - index));
  const { indices } = await readPublished(store);
  expect(new Set(indices.flatMap(({ stable }) => stable.map(({ driver }) => driver)))).toEqual(
    new Set(names),
  );
});

test("without news is neither written to nor listed; what is kept of it is not asked for again", async () => {
  const double = await startS3Double();
  await publishOne(await open(double), "100");
  const directory = await temporaryDirectory();
  const scratch = await openScratch(`${directory}/tmp`);
  const night = async () => {
    const store = { ...(await open(double)), kept: keptBlobs(directory, scratch) };
    double.requests.length = 0;
    const published = await readPublished(store);
    const known = { state: published, isNewest: true };
    const { show } = await commit(store, (state) => ({ state, result: 0 }), AUTHOR, known);
    await show();
    expect(double.requests.filter(({ method, query }) => method !== "GET" || query.has("list-type"))).toEqual(
      [],
    );
    return double.requests.length;
  };

  expect(await night()).toBeLessThanOrEqual(15);
  expect(await night()).toBe(2);
  // What was damaged on this machine's disk is asked for again.
  const { parts } = await readPublished(await open(double));
  await scratch.write(`${directory}/parts/${partOf({ parts }, "matrix")?.digest.slice(7)}`, "x");
  expect(await night()).toBe(3);
  await scratch.close();
});

test("is not asked for what was stored there a moment ago", async () => {
  const double = await startS3Double();
  const store = await open(double);
  double.requests.length = 0;

  await publishOne(store, "100");

  const asked = double.requests.filter(({ method, key }) => method === "GET" && key.includes("/blobs/"));
  expect(asked).toEqual([]);
  // Who did not store it reads it, and what is damaged is reported.
  const blob = [...double.objects.keys()].find((key) => key.includes("/blobs/")) ?? "";
  double.objects.set(blob, { body: Buffer.from("x"), modified: new Date(), headers: {} });
  const other = await open(double);
  await expect(readWritten(other, `sha256:${blob.split("/").at(-1)}`)).rejects.toMatchObject({
    code: "STORE_CORRUPT",
  });
});

test("that lost a part gets it back from a machine that has read it", async () => {
  const double = await startS3Double();
  await publishOne(await open(double), "100");
  const scratch = await openScratch(`${await temporaryDirectory()}/tmp`);
  const store = { ...(await open(double)), kept: keptBlobs(await temporaryDirectory(), scratch) };
  const lost = `farm/${blobPath(partOf(await readPublished(store), "matrix")?.digest ?? "")}`;
  double.objects.delete(lost);

  const { findings } = await fsck(store, { ...LOOK, isRepair: true });

  expect(findings.map(({ remedy }) => remedy)).toEqual(["repaired"]);
  expect((await fsck(await open(double), LOOK)).findings).toEqual([]);
  await scratch.close();
});

test("holds nothing that its writers are known by to the server", async () => {
  const double = await startS3Double();
  await publishOne(await open(double), "100");

  const everything = [...double.objects].map(
    ([key, { body, headers }]) => key + String(body) + JSON.stringify(headers),
  );
  expect(everything.join()).not.toMatch(/very-secret|AWS4|X-Amz-(Signature|Credential)/i);
});
