import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { storeContract } from "../../../test/contracts/store.ts";
import { inTurn, type S3Double, type S3Fault, startS3Double } from "../../../test/support/s3-double.ts";
import { startServer } from "../../../test/support/server.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openS3Store } from "./s3.ts";
import { PATIENCE } from "./s3-bucket.ts";
import type { KeptBlobs } from "./store.ts";

const S3 = new URL("./s3.ts", import.meta.url).href;
const KEYS = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "testing", AWS_REGION: "us-east-1" };

beforeEach(() => {
  for (const [name, value] of Object.entries(KEYS)) vi.stubEnv(name, value);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const placeOf = ({ endpoint, bucket }: S3Double) => ({
  endpoint,
  bucket,
  prefix: "our/farm",
  pathStyle: true,
});
const QUICK = { ...PATIENCE, connectMs: 2000, silenceMs: 1000, attempts: 3 };
/** One that was tried already, which the server does not show. */
async function open(double: S3Double, patience = QUICK) {
  const store = await openS3Store(placeOf(double), { patience });
  await store.prepare();
  double.requests.length = 0;
  return store;
}

storeContract("a bucket of the double", async () => {
  const place = placeOf(await startS3Double());
  return {
    open: () => openS3Store(place),
    openElsewhere: `
      import { openS3Store } from ${JSON.stringify(S3)};
      Object.assign(process.env, ${JSON.stringify(KEYS)});
      const store = await openS3Store(${JSON.stringify(place)});`,
  };
});

const isPut = ({ method }: { method: string }) => method === "PUT";
const isGet = ({ method, key }: { method: string; key: string }) => method === "GET" && key !== "";
const answers = (status: number, code: string, isDone = false): S3Fault => ({
  kind: "answer",
  status,
  code,
  isDone,
});

describe("the creation of an object", () => {
  test.each<[string, S3Fault[]]>([
    ["500 after it took place", [answers(500, "InternalError", true)]],
    ["503 once", [answers(503, "SlowDown")]],
    ["500 after it took place, and nothing but 500 then", Array(3).fill(answers(500, "InternalError", true))],
    ["409, twice", [answers(409, "ConditionalRequestConflict"), answers(409, "ConditionalRequestConflict")]],
    ["a silence that is broken off", [{ kind: "silent" }]],
  ])("is ours where the server answers %s", async (_, faults) => {
    const double = await startS3Double();
    const store = await open(double);
    double.fault = inTurn(isPut, ...faults);

    expect(await store.create("generations/1", "ours")).toBe(true);
    expect(String(await store.read("generations/1"))).toBe("ours");
  });

  test.each<[string, S3Fault[]]>([
    ["412", []],
    ["409", [answers(409, "ConditionalRequestConflict")]],
    ["503, then 412", [answers(503, "SlowDown")]],
    ["nothing but 500", Array(3).fill(answers(500, "InternalError"))],
  ])("is another's where it is there, and the server answers %s", async (_, faults) => {
    const double = await startS3Double();
    const [store, other] = [await open(double), await open(double)];
    await other.create("generations/1", "same bytes");
    double.fault = inTurn(isPut, ...faults);

    expect(await store.create("generations/1", "same bytes")).toBe(false);
  });

  test("costs one request", async () => {
    const double = await startS3Double();
    const store = await open(double);

    await store.create("generations/1", "1");
    await store.create("generations/1", "2");

    expect(double.requests.map(({ method }) => method)).toEqual(["PUT", "PUT"]);
  });

  test("is an error where nobody knows", async () => {
    const double = await startS3Double();
    const store = await open(double);
    double.fault = inTurn(isPut, ...Array<S3Fault>(3).fill(answers(500, "InternalError")));

    await expect(store.create("generations/1", "1")).rejects.toMatchObject({ code: "REMOTE_UNAVAILABLE" });
  });
});

test("a bucket is tried before it is first written to, once, and not by who only reads", async () => {
  const double = await startS3Double();
  const store = await openS3Store(placeOf(double), { patience: QUICK });

  await store.read("a");
  await store.facts("a");
  expect(double.requests.filter(isPut)).toEqual([]);
  await Promise.all([store.write("a", "1"), store.create("b", "1")]);
  await store.write("c", "1");

  const tried = double.requests.filter((request) => isPut(request) && request.key.includes("/probe/"));
  expect(tried).toHaveLength(9);
  expect(double.requests.filter(isPut)).toHaveLength(12);
});

describe("a machine that saw one of eight writers win", () => {
  afterEach(() => void vi.useRealTimers());

  /** What one machine keeps. */
  function keeping(): KeptBlobs {
    const blobs = new Map<string, Buffer>();
    return {
      read: async (digest) => blobs.get(digest),
      keep: async (digest, bytes) => void blobs.set(digest, Buffer.from(bytes)),
    };
  }
  /** By how many writers a run tries a bucket before it writes what it has; a busy machine asks for the same again. */
  const writersOf = async (double: S3Double, kept: KeptBlobs) => {
    double.requests.length = 0;
    const store = await openS3Store(placeOf(double), { patience: QUICK, kept });
    await store.read("metadata/root/1");
    await store.write("a", "1");
    await store.close();
    const tries = double.requests.filter((request) => isPut(request) && request.key.includes("/probe/"));
    return tries.length >= 9 ? "many" : "one";
  };

  test("asks the same server by one writer for a week, and another server by eight", async () => {
    const [double, other, kept] = [await startS3Double(), await startS3Double(), keeping()];
    vi.useFakeTimers({ toFake: ["Date"], now: new Date("2026-12-03T12:00:00Z") });

    expect(await writersOf(double, kept)).toBe("many");
    expect(await writersOf(double, kept)).toBe("one");
    expect(await writersOf(other, kept)).toBe("many");
    expect(await writersOf(double, keeping())).toBe("many");
    vi.setSystemTime(new Date("2026-12-10T12:00:00Z"));
    expect(await writersOf(double, kept)).toBe("many");
  });

  test("still finds at once that the server has come to ignore conditions", async () => {
    const [double, kept] = [await startS3Double(), keeping()];
    expect(await writersOf(double, kept)).toBe("many");
    double.fault = (request) => (isPut(request) ? { kind: "ignores conditions" } : undefined);

    await expect(writersOf(double, kept)).rejects.toMatchObject({ code: "STORE_UNSAFE" });
    expect(double.objects.has("our/farm/a")).toBe(true);
    expect([...double.objects.keys()].filter((key) => key.includes("/probe/"))).toEqual([]);
  });

  test("remembers nothing of a server that let several win", async () => {
    const [double, kept] = [await startS3Double(), keeping()];
    double.fault = (request) => (isPut(request) ? { kind: "ignores conditions" } : undefined);
    await expect(writersOf(double, kept)).rejects.toMatchObject({ code: "STORE_UNSAFE" });
    double.fault = () => undefined;

    expect(await writersOf(double, kept)).toBe("many");
  });
});

describe("a server that cannot keep writers apart", () => {
  test.each<[string, S3Fault, RegExp]>([
    [
      "refuses conditions",
      answers(501, "NotImplemented"),
      /refuses to create a file only where there is none \(501\)/,
    ],
    [
      "ignores conditions",
      { kind: "ignores conditions" },
      /told 8 of 8 writers that each had created the same new file/,
    ],
  ])("and %s is found before any work is done", async (_, fault, words) => {
    const double = await startS3Double();
    await (await open(double)).write("channels/stable", "1");
    const store = await openS3Store(placeOf(double), { patience: QUICK });
    double.fault = (request) => (isPut(request) ? fault : undefined);
    const unsafe = {
      code: "STORE_UNSAFE",
      message: expect.stringMatching(words),
      hint: expect.stringContaining("store copy"),
    };

    await expect(store.prepare()).rejects.toMatchObject(unsafe);
    await expect(store.write("channels/stable", "2")).rejects.toMatchObject(unsafe);

    expect(String(await store.read("channels/stable"))).toBe("1");
    expect([...double.objects.keys()]).toEqual(["our/farm/channels/stable"]);
  });
});

describe("what a server answers", () => {
  test.each<[number, string, string, RegExp]>([
    [403, "AccessDenied", "STORE_UNUSABLE", /s3:GetObject/],
    [403, "InvalidAccessKeyId", "STORE_UNUSABLE", /AWS_ACCESS_KEY_ID/],
    [403, "SignatureDoesNotMatch", "STORE_UNUSABLE", /AWS_ACCESS_KEY_ID/],
    [400, "ExpiredToken", "STORE_UNUSABLE", /new credentials/],
    [403, "RequestTimeTooSkewed", "STORE_UNUSABLE", /clock/],
    [404, "NoSuchBucket", "STORE_UNUSABLE", /Create the bucket/],
    [301, "PermanentRedirect", "STORE_UNUSABLE", /region/],
    [307, "TemporaryRedirect", "STORE_UNUSABLE", /region/],
    [403, "QuotaExceeded", "DISK_FULL", /space/],
    [503, "SlowDown", "REMOTE_UNAVAILABLE", /again later/],
    [418, "Teapot", "STORE_UNUSABLE", /endpoint/],
  ])("is said with its next step: %i %s", async (status, code, ours, hint) => {
    const double = await startS3Double();
    const store = await open(double, { ...QUICK, attempts: 1 });
    double.fault = () => answers(status, code);
    const expected = {
      code: ours,
      message: expect.stringMatching(new RegExp(`s3://farm/our/farm/a\\b.*${status}`)),
      hint: expect.stringMatching(hint),
    };

    await expect(store.read("a")).rejects.toMatchObject(expected);
    await expect(store.write("a", "1")).rejects.toMatchObject(expected);
    await expect(store.list("a")).rejects.toMatchObject(expected);
    const thrown = await store.read("a").catch((one: unknown) => one);
    // The SDK's error may hold what was signed.
    expect(JSON.stringify(thrown)).not.toMatch(/AWS4|testing|StringToSign/);
    expect((thrown as Error).cause).toBeUndefined();
  });

  test("may be slow, or ask for patience again and again", async () => {
    const double = await startS3Double();
    const store = await open(double, { ...QUICK, attempts: 5 });
    const busy = [answers(503, "SlowDown"), answers(429, "TooManyRequests"), answers(503, "SlowDown")];

    double.fault = inTurn(() => true, ...busy, { kind: "slow", ms: 300 });
    await store.write("a", "1");
    double.fault = inTurn(() => true, ...busy, { kind: "slow", ms: 300 });
    expect(String(await store.read("a"))).toBe("1");

    expect(double.requests).toHaveLength(8);
  });

  test("about a bucket that is missing is no missing file", async () => {
    const double = await startS3Double();
    const store = await openS3Store({ ...placeOf(double), bucket: "other" }, { patience: QUICK });

    await expect(store.facts("a")).rejects.toMatchObject({
      message: expect.stringContaining("no such bucket"),
    });
    await expect(store.read("a")).rejects.toMatchObject({
      message: expect.stringContaining("no such bucket"),
    });
  });

  test("is read again where it breaks off or stops", async () => {
    const double = await startS3Double();
    const store = await open(double);
    const bytes = randomBytes(200_000);
    await store.write("a", bytes);
    double.fault = inTurn(isGet, { kind: "cut" }, { kind: "silent" }, answers(503, "SlowDown"), {
      kind: "cut",
    });

    expect(await store.read("a")).toEqual(bytes);

    double.fault = inTurn(isGet, ...Array<S3Fault>(20).fill({ kind: "cut" }));
    await expect(store.read("a")).rejects.toMatchObject({ code: "REMOTE_UNAVAILABLE" });
    const body = await store.stream("a");
    await expect(body?.toArray()).rejects.toMatchObject({ code: "REMOTE_UNAVAILABLE" });
  });

  test("is nothing where there is no server", async () => {
    const endpoint = "http://127.0.0.1:1";
    const store = await openS3Store(
      { endpoint, bucket: "farm", prefix: "", pathStyle: true },
      { patience: QUICK },
    );

    await expect(store.read("a")).rejects.toMatchObject({
      code: "REMOTE_UNAVAILABLE",
      message: "s3://farm/a: the server does not answer (ECONNREFUSED)",
    });
  });

  test("never has more than a file of its kind may have, nor a list that does not end", async () => {
    const double = await startS3Double();
    const store = await open(double);
    double.objects.set("our/farm/channels/stable", {
      body: Buffer.alloc(1 << 17),
      modified: new Date(),
      headers: {},
    });

    await expect(store.read("channels/stable")).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    await expect(store.stream("channels/stable")).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });
});

describe("a server that never comes to its end", () => {
  const HASTY = { ...QUICK, slowMs: 400, longestMs: 1500, mostPages: 20, mostNames: 30 };
  const isList = ({ method, key }: { method: string; key: string }) => method === "GET" && key === "";
  const DRIPS: S3Fault = { kind: "drips", everyMs: 100 };
  const walked = async (store: Awaited<ReturnType<typeof open>>) => {
    const found: string[] = [];
    for await (const { path } of store.walk("")) found.push(path);
    return found;
  };

  test.each<[string, S3Fault, (store: Awaited<ReturnType<typeof open>>) => Promise<unknown>, RegExp]>([
    ["drips a list", DRIPS, (store) => store.list("a"), /does not come to an end within 2 s/],
    [
      "drips its answer to a written file",
      DRIPS,
      (store) => store.write("a", "1"),
      /does not come to an end/,
    ],
    ["drips its answer to a removed file", DRIPS, (store) => store.remove("a"), /does not come to an end/],
    [
      "drips its answer to a file that is created",
      DRIPS,
      (store) => store.create("a", "1"),
      /does not come to an end/,
    ],
    ["drips a file", DRIPS, (store) => store.read("a"), /sends too slowly: \d+ bytes/],
    [
      "drips a stream",
      DRIPS,
      async (store) => (await store.stream("a"))?.toArray(),
      /sends too slowly: \d+ bytes/,
    ],
    ["floods a list", { kind: "floods" }, (store) => store.list("a"), /more than 16777216 bytes/],
    [
      "lists on below a directory",
      { kind: "lists on" },
      (store) => store.list("a"),
      /list has no end: 20 pages/,
    ],
    ["lists on for a walk", { kind: "lists on" }, walked, /list has no end: 20 pages/],
    [
      "lists on while a directory is removed",
      { kind: "lists on" },
      (store) => store.removeAll("a"),
      /list has no end/,
    ],
  ])("and %s is its own failure, in time", async (_, fault, ask, words) => {
    const double = await startS3Double();
    const store = await open(double, HASTY);
    const isOfIt = fault.kind === "lists on" ? isList : () => true;
    double.fault = (request) => (isOfIt(request) ? fault : undefined);

    await expect(ask(store)).rejects.toMatchObject({
      code: "REMOTE_UNAVAILABLE",
      message: expect.stringMatching(words),
    });
    expect(double.requests.length).toBeLessThan(60);
  });

  test("is not confused with one that has as much as may be", async () => {
    const double = await startS3Double();
    const store = await open(double, { ...QUICK, mostPages: 11, mostNames: 30 });
    const names = Array.from({ length: 30 }, (_, index) => `${index + 10}`);
    for (const name of names)
      double.objects.set(`our/farm/a/${name}`, {
        body: Buffer.from("1"),
        modified: new Date(),
        headers: {},
      });

    expect(await store.list("a")).toEqual(names);
    expect(await walked(store)).toHaveLength(30);
    double.objects.set("our/farm/a/99", { body: Buffer.from("1"), modified: new Date(), headers: {} });
    await expect(store.list("a")).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await walked(store)).toHaveLength(31);
  });

  test("names nothing that was not asked for, which would be removed then", async () => {
    const double = await startS3Double();
    const store = await open(double);
    const evil = { body: Buffer.from("1"), modified: new Date(), headers: {} };
    double.objects.set("our/farm/a/1", evil);
    double.objects.set("our/farm/b", evil);
    double.strayKeys = ["our/farm/b", "theirs"];

    await store.removeAll("a");

    expect([...double.objects.keys()]).toEqual(["our/farm/b"]);
    expect(double.requests.filter(({ method }) => method === "DELETE").map(({ key }) => key)).not.toContain(
      "theirs",
    );
    expect(await store.list("a")).toEqual([]);
  });
});

test("large files are sent in parts, a try that fails leaves nothing, and batches that are refused go one by one", async () => {
  const double = await startS3Double();
  const store = await open(double);
  const file = join(await temporaryDirectory(), "root.tar");
  const bytes = randomBytes((16 << 20) + 1000);
  await writeFile(file, bytes);
  const isComplete = ({ method, query }: { method: string; query: URLSearchParams }) =>
    method === "POST" && query.has("uploadId");
  double.fault = inTurn(isComplete, answers(500, "InternalError", true));

  await store.writeFile("blobs/a", file);

  expect(double.requests.filter(({ query }) => query.has("partNumber"))).toHaveLength(2);
  expect((await store.read("blobs/a"))?.equals(bytes)).toBe(true);

  double.fault = (request) => (request.query.has("partNumber") ? answers(403, "AccessDenied") : undefined);
  await expect(store.writeFile("blobs/b", file)).rejects.toMatchObject({ code: "STORE_UNUSABLE" });
  expect(double.requests.at(-1)?.method).toBe("DELETE");

  await store.write("blobs/c", "1");
  double.fault = ({ query }) => (query.has("delete") ? answers(400, "InvalidRequest") : undefined);
  await store.removeAll("blobs");
  expect([...double.objects.keys()]).toEqual([]);
});

test("what others put there that is no path of a store is neither listed nor walked to", async () => {
  const double = await startS3Double();
  const store = await open(double);
  await store.write("generations/1/generation.json", "1");
  for (const key of ["generations/", "generations//x", "generations/../y", "a/", "probe/left"])
    double.objects.set(`our/farm/${key}`, { body: Buffer.alloc(0), modified: new Date(), headers: {} });
  const walked: string[] = [];
  for await (const { path } of store.walk("")) walked.push(path);

  expect(await store.list("generations")).toEqual(["1"]);
  expect(walked).toEqual(["generations/1/generation.json"]);
});

test("the server is asked to encrypt every object as configured, and each body goes with its digest", async () => {
  const double = await startS3Double();
  const store = await openS3Store(
    { ...placeOf(double), serverSideEncryption: "aws:kms" },
    { patience: QUICK },
  );
  const file = join(await temporaryDirectory(), "root.tar");
  await writeFile(file, Buffer.alloc((16 << 20) + 1));

  await store.prepare();
  double.requests.length = 0;
  await store.write("a", "1");
  await store.create("b", "1");
  await store.writeFile("blobs/c", file);

  const begun = double.requests.filter(
    ({ method, query }) => query.has("uploads") || (method === "PUT" && !query.has("partNumber")),
  );
  const asked = begun.map(({ headers }) => headers["x-amz-server-side-encryption"]);
  expect(asked).toEqual(["aws:kms", "aws:kms", "aws:kms"]);
  const sent = double.requests.filter(({ method }) => method === "PUT").map(({ headers }) => headers);
  expect(sent.map((headers) => headers["x-amz-content-sha256"])).not.toContain("UNSIGNED-PAYLOAD");
  expect(sent.some((headers) => "x-amz-checksum-crc32" in headers || "x-amz-trailer" in headers)).toBe(false);
});

describe("credentials that end in the middle of a night", () => {
  /** As containers get them: a server gives out what is good for some minutes. */
  async function provider(current: { key: string | undefined }, lifeMs: number) {
    const { url } = await startServer((_, response) => {
      if (current.key === undefined) return void response.writeHead(403).end("{}");
      const Expiration = new Date(Date.now() + lifeMs).toISOString();
      const given = {
        AccessKeyId: current.key,
        SecretAccessKey: "testing",
        Token: "very-secret-token",
        Expiration,
      };
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(given));
    });
    vi.stubEnv("AWS_ACCESS_KEY_ID", undefined);
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", undefined);
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
    vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    for (const name of ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"]) vi.stubEnv(name, "/dev/null");
  }

  test("are got anew without anybody's help", async () => {
    const double = await startS3Double();
    const current = { key: "test" };
    const lifeMs = 1000;
    await provider(current, lifeMs);
    const store = await open(double);
    await store.write("a", "1");

    const over = Date.now() + lifeMs;
    current.key = "fresh";
    await vi.waitUntil(() => Date.now() > over, 10_000);
    double.keys = new Set(["fresh"]);
    await store.write("a", "2");

    expect(String(await store.read("a"))).toBe("2");
  });

  test("and cannot be got anew are named, with what to do, and without any of them", async () => {
    const double = await startS3Double();
    const current: { key: string | undefined } = { key: "test" };
    await provider(current, 3600_000);
    const store = await open(double);
    await store.write("a", "1");

    double.keys = new Set(["fresh"]);
    const old = await store.write("a", "2").catch((thrown: unknown) => thrown);
    expect(old).toMatchObject({
      code: "STORE_UNUSABLE",
      message: expect.stringContaining("the credentials have expired (400 ExpiredToken)"),
      hint: expect.stringMatching(/new credentials.*nothing that was published is lost/),
    });
    current.key = undefined;
    const none = await (await openS3Store(placeOf(double), { patience: QUICK }))
      .read("a")
      .catch((thrown: unknown) => thrown);
    expect(none).toMatchObject({ code: "STORE_UNUSABLE", hint: expect.stringContaining("credentials") });
    expect(JSON.stringify([old, none]) + String(old) + String(none)).not.toMatch(/very-secret|testing|AWS4/);
  });
});
