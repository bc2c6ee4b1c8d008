import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startServer } from "../../test/support/server.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { openHeap } from "./module-heap.ts";

test("a directory is read without following links", async () => {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "a/b"), { recursive: true });
  await writeFile(join(directory, "a/b/c.ko"), "module");
  await symlink(directory, join(directory, "a/again"));

  await using heap = await openHeap(directory);

  expect(heap.paths).toEqual(["a/b/c.ko"]);
  expect(String(await heap.read("a/b/c.ko"))).toBe("module");
});

test("a directory may be the one that one is in", async () => {
  const [directory, before] = [await temporaryDirectory(), process.cwd()];
  await writeFile(join(directory, "one.ko"), "module");
  onTestFinished(() => process.chdir(before));
  process.chdir(directory);

  for (const words of [".", "./", directory, `${directory}/`]) {
    await using heap = await openHeap(words);
    expect([heap.place, ...heap.paths]).toEqual([directory, "one.ko"]);
  }
});

test("a place that is not there is said so", async () => {
  await expect(openHeap("/no/such/place")).rejects.toThrow(
    expect.objectContaining({ code: "FILE_UNREADABLE" }),
  );
});

test("pages of links are followed below where they begin, each once", async () => {
  const pages: Record<string, string> = {
    "/drivers/":
      '<a href="../">up</a> <a href="?C=N">sort</a> <a href="x86_64/">d</a> <a href="/secret/">s</a>',
    "/drivers/x86_64/": `<A HREF='one%2Btwo.ko'>f</A> <a href="/drivers/">back</a> <a href="https://other.example/x.ko">o</a>`,
    "/drivers/x86_64/one%2Btwo.ko": "module",
  };
  const server = await startServer((request, response) => {
    const page = pages[request.url ?? ""];
    response.writeHead(page === undefined ? 404 : 200).end(page);
  });

  await using heap = await openHeap(`${server.url}/drivers`);

  expect(heap.paths).toEqual(["x86_64/one+two.ko"]);
  expect(String(await heap.read("x86_64/one+two.ko"))).toBe("module");
  expect(server.requests).toEqual(["/drivers/", "/drivers/x86_64/", "/drivers/x86_64/one%2Btwo.ko"]);
});

test("a bucket is listed page by page", async () => {
  const listed = (keys: string[], next?: string) =>
    `<?xml version="1.0"?><ListBucketResult>${keys.map((key) => `<Contents><Key>${key}</Key></Contents>`).join("")}${next === undefined ? "" : `<NextContinuationToken>${next}</NextContinuationToken>`}</ListBucketResult>`;
  const server = await startServer((request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    if (url.pathname !== "/bucket/") return response.end(`bytes of ${url.pathname}`);
    const isSecond = url.searchParams.get("continuation-token") === "a&b";
    return response.end(isSecond ? listed(["2/b+c.ko"]) : listed(["1/a&amp;b.ko"], "a&amp;b"));
  });

  await using heap = await openHeap(`${server.url}/bucket/?list-type=2`);

  expect(heap.paths).toEqual(["1/a&b.ko", "2/b+c.ko"]);
  expect(String(await heap.read("2/b+c.ko"))).toBe("bytes of /bucket/2/b%2Bc.ko");
});

test("a server that has nothing there is said so", async () => {
  const server = await startServer((_, response) => response.writeHead(404).end());

  await expect(openHeap(server.url)).rejects.toThrow(expect.objectContaining({ code: "REMOTE_UNAVAILABLE" }));
});

test.each(["http://", "http://127.0.0.1:99999/", "ftp://x/", "HTTP://[::1"])(
  "%s is no address",
  async (words) => {
    await expect(openHeap(words)).rejects.toThrow(expect.objectContaining({ code: "USAGE" }));
  },
);

test("an address says its place in plain letters, however it is written", async () => {
  const server = await startServer((_, response) => response.end('<a href="one.ko">f</a>'));
  const address = `${server.url}/lib/modules/6.12%2Bdeb12/`;

  await using heap = await openHeap(address.replace("http:", "HTTP:"));

  expect(heap.place).toMatch(/\/lib\/modules\/6\.12\+deb12$/);
  expect(heap.paths).toEqual(["one.ko"]);
});
