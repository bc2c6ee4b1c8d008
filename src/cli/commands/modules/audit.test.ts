import { expect, test } from "vitest";
import { craftModule } from "../../../../test/support/crafted-module.ts";
import { inProcess } from "../../../../test/support/in-process.ts";
import { startServer } from "../../../../test/support/server.ts";

const MODULE = craftModule("bell");
const page = (keys: readonly string[], more: string) =>
  `<?xml version="1.0"?><ListBucketResult>${keys.map((key) => `<Contents><Key>${key}</Key></Contents>`).join("")}${more}</ListBucketResult>`;

/** A bucket whose second page is as a test says, and whose files are one module. */
async function bucket(second: string): Promise<string> {
  const server = await startServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://host");
    if (pathname !== "/") return void response.end(MODULE);
    const first = page(
      ["bell.ko"],
      "<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>",
    );
    response.end(searchParams.has("continuation-token") ? second : first);
  });
  return server.url;
}

test("a listing that is cut off makes an audit incomplete, which is no pass", async () => {
  const url = await bucket(page(["ring.ko"], "<IsTruncated>true</IsTruncated>"));

  const { exitCode, stdout } = await inProcess(["audit", url]);
  const json = await inProcess(["audit", url, "--json"]);

  expect(exitCode).toBe(3);
  expect(stdout).toMatch(/The audit is incomplete:\n {2}http/);
  expect(stdout).not.toMatch(/no problems\.$/m);
  expect(JSON.parse(json.stdout).unread).toHaveLength(1);
});

test("a listing that was read to its end does not", async () => {
  const url = await bucket(page(["ring.ko"], "<IsTruncated>false</IsTruncated>"));

  const { exitCode, stdout } = await inProcess(["audit", url]);

  expect([exitCode, stdout.includes("incomplete")]).toEqual([expect.any(Number), false]);
  expect(exitCode).not.toBe(3);
});
