/**
 * Nights on GitHub Actions with a bucket on radosgw, where two users may do what their roles may: what is new is built and nothing else, what a lost machine left is made up for,
 * two nights at once publish both, and no credential leaves the two jobs that have one.
 */
import { globSync, readFileSync, statSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PutBucketPolicyCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cli, DOORBELL, sharedElement, stableContent, useFarms } from "../support/e2e-farm.ts";
import { DRIVER_RELEASE, type GithubFarm, NIGHT, ON_DEMAND, useGithubFarm } from "../support/github-farm.ts";
import { type S3Proxy, startS3Proxy } from "../support/s3-proxy.ts";
import { BUCKET, type Radosgw, radosgwFault, startRadosgw, withBucket } from "../support/s3-servers.ts";
import type { RunnerSettings, WorkflowRun } from "../support/workflow-runner.ts";

const open = useGithubFarm(useFarms());
type Credentials = Readonly<Record<string, string>>;
const runs: WorkflowRun[] = [];
let server: Radosgw | undefined;
let bucket: S3Proxy;
let roles: Readonly<Record<"reader" | "writer", Credentials>>;
let farm: GithubFarm;

const fault = radosgwFault();
if (fault !== undefined) console.warn(`nights with a bucket are not tried: ${fault}`);
const it = fault === undefined ? test : test.skip;

beforeAll(async () => {
  if (fault !== undefined) return;
  server = await startRadosgw(17880);
  await withBucket(server);
  const [reader, writer] = [await server.addUser("reader"), await server.addUser("writer")];
  bucket = await startS3Proxy(server.endpoint, afterAll);
  const client = new S3Client({ endpoint: server.endpoint, forcePathStyle: true });
  const allow = (user: string, actions: readonly string[]) => ({
    ...{ Effect: "Allow", Principal: { AWS: [`arn:aws:iam:::user/${user}`] } },
    ...{
      Action: actions.map((one) => `s3:${one}`),
      Resource: [`arn:aws:s3:::${BUCKET}`, `arn:aws:s3:::${BUCKET}/*`],
    },
  });
  const Policy = JSON.stringify({
    Version: "2012-10-17",
    Statement: [
      allow("reader", ["GetObject", "ListBucket"]),
      allow("writer", ["GetObject", "ListBucket", "PutObject", "DeleteObject", "AbortMultipartUpload"]),
    ],
  });
  await client.send(new PutBucketPolicyCommand({ Bucket: BUCKET, Policy }));
  client.destroy();
  const there = { AWS_ENDPOINT_URL_S3: bucket.endpoint };
  roles = { reader: { ...reader, ...there }, writer: { ...writer, ...there } };
  farm = await open(`s3://${BUCKET}/registry`);
});

afterAll(() => server?.stop());

async function run(
  workflow: string,
  more: Partial<RunnerSettings> = {},
  inputs: Readonly<Record<string, string>> = {},
): Promise<WorkflowRun> {
  const vars = {
    ...{ KMODFARM_PLAN_ROLE: "reader", KMODFARM_PUBLISH_ROLE: "writer" },
    KMODFARM_REGION: "us-east-1",
  };
  const done = await farm.run(workflow, { vars, roles, ...more }, inputs);
  runs.push(done);
  return done;
}

const logsOf = ({ jobs }: WorkflowRun) => jobs.map(({ name, log }) => `--- ${name}\n${log}`).join("");
const failedIn = ({ jobs }: WorkflowRun) =>
  jobs.filter(({ result }) => result !== "success").map(({ name }) => name);
const builtIn = ({ jobs }: WorkflowRun) =>
  jobs.flatMap(({ name }) => (name.startsWith("build ") ? [name.slice(6).replace(/\.\d+-\d+$/, "")] : []));

const driverIn = (content: string) => content.split(" ", 1)[0];

/** What the bucket has of the drivers that are configured now, and what one machine makes of the same configuration. */
async function expectSameAsAlone(name: string): Promise<void> {
  const folder = join(farm.directory, `copy-${name}`);
  const copied = await cli(["store", "copy", "s3://farm/registry", folder], {
    cwd: farm.directory,
    env: roles.writer,
  });
  expect(copied.exitCode, copied.stderr).toBe(0);
  const alone = await farm.runAlone(`alone-${name}`);
  expect(alone.exitCode, alone.stdout + alone.stderr).toBe(0);
  const made = await stableContent(join(farm.directory, `alone-${name}`));
  const drivers = new Set(made.map(driverIn));
  // What was published of others before stays.
  expect((await stableContent(folder)).filter((one) => drivers.has(driverIn(one)))).toEqual(made);
}

it("publishes a night of twelve elements in three shards", async () => {
  const drivers = ["doorbell", "chime", "gong", "knocker"].map((name) => ({ ...DOORBELL, name }));
  await farm.configure({ bullseye: ["x86_64"] }, { drivers });

  const done = await run(NIGHT);

  expect(failedIn(done), logsOf(done)).toEqual([]);
  expect(builtIn(done)).toEqual(["debian11.x86_64", "debian12.aarch64", "debian12.x86_64"]);
  await expectSameAsAlone("first");
  expect(await stableContent(join(farm.directory, "copy-first"))).toHaveLength(12);
});

it("builds two for two new kernels, and nothing if there are none", async () => {
  await farm.configure({ bullseye: ["x86_64", "aarch64"], trixie: ["x86_64"] }, { drivers: [DOORBELL] });

  const news = await run(NIGHT);
  const before = bucket.requests.length;
  const none = await run(NIGHT);

  expect(failedIn(news), logsOf(news)).toEqual([]);
  expect(builtIn(news)).toEqual(["debian11.aarch64", "debian13.x86_64"]);
  expect(none.jobs.map(({ name }) => name)).toEqual(["plan", "publish"]);
  const writes = bucket.requests
    .slice(before)
    .filter(({ method, path }) => method === "PUT" && !path.includes("/probe/"));
  expect(writes.map(({ path }) => path)).toEqual([]);
});

it("marks every element when a driver is released; what a lost machine left is made up for by the next night", async () => {
  const source = join(farm.repository, "driver", "doorbell.c");
  await writeFile(source, `${await readFile(source, "utf8")}\n/* a fix */\n`);
  await farm.configure(
    { bullseye: ["x86_64", "aarch64"], trixie: ["x86_64"] },
    { drivers: [{ ...DOORBELL, versions: ["0.1.1"] }] },
  );
  const lost = "build debian12.x86_64.0-1";

  const released = await run(DRIVER_RELEASE, {
    dies: (job) => (job === lost ? ".kmodfarm/cache/worked/*" : undefined),
  });
  const next = await run(NIGHT);

  expect(builtIn(released)).toHaveLength(5);
  expect(failedIn(released), logsOf(released)).toEqual([lost, "check debian12.x86_64.0-1"]);
  expect(failedIn(next), logsOf(next)).toEqual([]);
  expect(builtIn(next)).toEqual(["debian12.x86_64"]);
  await expectSameAsAlone("released");
});

it("builds one kernel on demand; two nights at once publish both", async () => {
  await farm.configure(
    { bullseye: ["x86_64", "aarch64"], trixie: ["x86_64"] },
    { drivers: [{ ...DOORBELL, versions: ["0.1.2"] }] },
  );
  const { kversion: kernel } = await sharedElement("x86_64");
  const inputs = { kernel, distribution: "debian13", architecture: "" };

  const demanded = await run(ON_DEMAND, {}, inputs);
  const both = await Promise.all([run(NIGHT), run(NIGHT)]);

  expect(builtIn(demanded), logsOf(demanded)).toEqual(["debian13.x86_64"]);
  for (const one of both) {
    expect(failedIn(one), logsOf(one)).toEqual([]);
    expect(builtIn(one)).toHaveLength(4);
  }
  await expectSameAsAlone("both");
});

it("leaves no credential in a workflow, a log, a summary, an artifact or the bucket", async () => {
  const copy = join(farm.directory, "copy-last");
  const copied = await cli(["store", "copy", `s3://${BUCKET}/registry`, copy], {
    cwd: farm.directory,
    env: roles.writer,
  });
  expect(copied.exitCode, copied.stderr).toBe(0);
  const secrets = Object.values(roles).flatMap((role) => [
    role.AWS_ACCESS_KEY_ID,
    role.AWS_SECRET_ACCESS_KEY,
  ]);
  const places = [...runs.map(({ artifacts }) => artifacts), join(farm.repository, ".github"), copy];
  const files = places
    .flatMap((place) => globSync("**", { cwd: place }).map((path) => join(place, path)))
    .filter((file) => statSync(file).isFile());
  const texts: [string, Buffer | string][] = [
    ...files.map((file): [string, Buffer] => [file, readFileSync(file)]),
    ...runs.flatMap(({ jobs }) =>
      jobs.map(({ name, log, summary }): [string, string] => [name, log + summary]),
    ),
  ];

  expect(files.length).toBeGreaterThan(50);
  for (const [name, text] of texts)
    for (const secret of [...secrets, "ghs_", "X-Amz-Signature", "BEGIN PRIVATE KEY"])
      expect(text.includes(secret ?? "?"), `${secret} in ${name}`).toBe(false);
});
