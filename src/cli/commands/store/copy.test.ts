import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CATALOG, makeOutcome, putBlobs } from "../../../../test/support/artifacts.ts";
import { treeDigests } from "../../../../test/support/e2e-farm.ts";
import { makeElement } from "../../../../test/support/elements.ts";
import { inProcess } from "../../../../test/support/in-process.ts";
import { startS3Double } from "../../../../test/support/s3-double.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import { publish } from "../../../registry/commit.ts";
import { nextState } from "../../../registry/publish.ts";
import { openFolderStore } from "../../../registry/stores/folder.ts";

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "very-secret");
});
afterEach(() => {
  vi.unstubAllEnvs();
});

test("a registry goes to a bucket and back, and commands read it there", async () => {
  const directory = await temporaryDirectory();
  const { endpoint, objects } = await startS3Double();
  vi.stubEnv("AWS_ENDPOINT_URL_S3", endpoint);
  const [first, back, bucket] = [join(directory, "first"), join(directory, "back"), "s3://farm/registry"];
  const cache = join(directory, "cache");
  const run = (...argv: string[]) => inProcess(argv, { cwd: directory });
  const store = await openFolderStore(first);
  const element = makeElement();
  await putBlobs(store, element, "100");
  const author = { who: "somebody", what: "run", now: () => new Date() };
  await publish(
    store,
    (before) => ({
      state: nextState(before, CATALOG, [makeOutcome(element, { content: "100" })]),
      result: 0,
    }),
    author,
  );
  await store.close();

  const none = await run("generations", "--store", bucket, "--cache", cache);
  expect(none).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining("there is nothing below s3://farm/registry"),
  });
  expect(objects.size).toBe(0);

  const there = await run("store", "copy", first, bucket);
  expect(there, there.stderr).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^\d+ files .* copied to s3:\/\/farm\/registry, 0 were there\.\n$/),
  });
  const shown = await run("generations", "--store", bucket, "--cache", cache);
  expect(shown, shown.stderr).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("somebody") });
  const whole = await run("fsck", "--full", "--store", bucket, "--cache", cache);
  expect(whole, whole.stdout).toMatchObject({ exitCode: 0 });
  const returned = await run("store", "copy", bucket, back);
  expect(returned, returned.stderr).toMatchObject({ exitCode: 0 });

  expect(await treeDigests(back)).toEqual(await treeDigests(first));
  const said = [none, there, shown, whole, returned].map(({ stdout, stderr }) => stdout + stderr).join("");
  expect(said).not.toContain("very-secret");
});
