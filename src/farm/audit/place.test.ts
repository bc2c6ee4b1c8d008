import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startServer } from "../../../test/support/server.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openPlace } from "./place.ts";

test("a directory is read without following links", async () => {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "a/b"), { recursive: true });
  await writeFile(join(directory, "a/b/c.ko"), "module");
  await symlink(directory, join(directory, "a/again"));

  await using place = await openPlace(directory);

  expect(place.paths).toEqual(["a/b/c.ko"]);
  expect(String(await place.read("a/b/c.ko"))).toBe("module");
});

test("a directory may be the one that one is in", async () => {
  const [directory, before] = [await temporaryDirectory(), process.cwd()];
  await writeFile(join(directory, "one.ko"), "module");
  onTestFinished(() => process.chdir(before));
  process.chdir(directory);

  for (const words of [".", "./", directory, `${directory}/`]) {
    await using place = await openPlace(words);
    expect([place.name, ...place.paths]).toEqual([directory, "one.ko"]);
  }
});

test("a place that is not there is said so", async () => {
  await expect(openPlace("/no/such/place")).rejects.toThrow(
    expect.objectContaining({ code: "FILE_UNREADABLE" }),
  );
});

test("pages of links are followed below where they begin, each once", async () => {
  const pages: Record<string, string> = {
    "/drivers/":
      '<a href="../../">up</a> <a href="?C=N">sort</a> <a href="x86_64/">d</a> <a href="/secret/">s</a>',
    "/drivers/x86_64/": `<A HREF='one%2Btwo.ko'>f</A> <a href="/drivers/">back</a> <a href="https://other.example/x.ko">o</a>`,
    "/drivers/x86_64/one%2Btwo.ko": "module",
  };
  const server = await startServer((request, response) => {
    const page = pages[request.url ?? ""];
    response.writeHead(page === undefined ? 404 : 200).end(page);
  });

  await using place = await openPlace(`${server.url}/drivers`);

  expect(place.paths).toEqual(["x86_64/one+two.ko"]);
  expect(String(await place.read("x86_64/one+two.ko"))).toBe("module");
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

  await using place = await openPlace(`${server.url}/bucket/?list-type=2`);

  expect(place.paths).toEqual(["1/a&b.ko", "2/b+c.ko"]);
  expect(String(await place.read("2/b+c.ko"))).toBe("bytes of /bucket/2/b%2Bc.ko");
});

/** A bucket with some keys on each page, as a server of some kind lists it. */
function bucketOf(keys: readonly string[], kind: "s3" | "gcs" | "endless" | "silent" | "torn", perPage = 2) {
  return startServer((request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    if (url.pathname !== "/") return response.end(url.pathname);
    const isSecond = url.searchParams.get("list-type") === "2";
    const after = url.searchParams.get("continuation-token") ?? url.searchParams.get("marker") ?? "";
    const rest = keys.filter((key) => kind === "endless" || key > after);
    const page = rest.slice(0, kind === "silent" && after !== "" ? 0 : perPage);
    const isMore = rest.length > page.length;
    const next = isMore && isSecond ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : "";
    const marker = isMore && !isSecond && kind === "gcs" ? `<NextMarker>${page.at(-1)}</NextMarker>` : "";
    const end = kind === "torn" && after !== "" ? "" : "</ListBucketResult>";
    return response.end(
      `<?xml version="1.0"?><ListBucketResult xmlns="x"><Name>b</Name><IsTruncated>${isMore}</IsTruncated>${next}${marker}${page
        .map((key) => `<Contents><Key>${key.replaceAll("&", "&amp;")}</Key></Contents>`)
        .join("")}${end}`,
    );
  });
}

const KEYS = ["a/1.ko", "a/2&3.ko", "b/4+5.ko", "c/6.ko", "c/7.txt"];

test.each(["s3", "gcs"] as const)("a bucket of %s is listed to its end, by both versions", async (kind) => {
  const server = await bucketOf(KEYS, kind);

  for (const question of ["", "?list-type=2"]) {
    await using place = await openPlace(`${server.url}/${question}`);
    expect([place.paths, place.gaps]).toEqual([KEYS, []]);
  }
});

test.each([
  ["endless", /pages form a loop/],
  ["silent", /says that there is more, but not where/],
  ["torn", /is truncated/],
] as const)("a bucket whose listing is %s is not all of it", async (kind, why) => {
  const server = await bucketOf(KEYS, kind);

  await using place = await openPlace(server.url);

  expect(place.paths.slice(0, 2)).toEqual(["a/1.ko", "a/2&3.ko"]);
  expect(place.gaps).toEqual([
    { place: expect.stringContaining(server.url), why: expect.stringMatching(why) },
  ]);
});

/** The pages of a server, and 403 for what begins with `/closed`. */
function pagesOf(pages: Readonly<Record<string, string>>) {
  return startServer((request, response) => {
    const page = pages[request.url ?? ""];
    response.writeHead(request.url?.startsWith("/closed") ? 403 : page === undefined ? 404 : 200).end(page);
  });
}

test("nginx's pages", async () => {
  const page = (links: string) =>
    `<html>\r\n<head><title>Index of /</title></head>\r\n<body>\r\n<h1>Index of /</h1><hr><pre><a href="../../">../</a>\r\n${links}</pre><hr></body>\r\n</html>\r\n`;
  const server = await pagesOf({
    "/": page('<a href="6.1.0-56-amd64/">6.1.0-56-amd64/</a>   28-Nov-2026 23:54   -\r\n'),
    "/6.1.0-56-amd64/": page(
      '<a href="a%2Bvery_long_name_of_a_module_that_is_cut_off_when_it_is_shown.ko.xz">a+very_long_name_of_a_module_that_is_cut_off_w..&gt;</a>   28-Nov-2026 23:54   1234\r\n',
    ),
  });

  await using place = await openPlace(server.url);

  expect(place.paths).toEqual([
    "6.1.0-56-amd64/a+very_long_name_of_a_module_that_is_cut_off_when_it_is_shown.ko.xz",
  ]);
  expect(place.gaps).toEqual([]);
});

test("Apache's pages, in whichever order", async () => {
  const server = await pagesOf({
    "/m/": `<!DOCTYPE HTML><html><head><title>Index of /m</title></head><body><table>
      <tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
      <tr><td><a href="/">Parent Directory</a></td></tr>
      <tr><td><a href="one.ko">one.ko</a></td></tr><tr><td><a href="sub/">sub/</a></td></tr></table></body></html>`,
    "/m/sub/": '<html><body><ul><li><a href="two.ko"> two.ko</a></li></ul></body></html>',
  });

  await using place = await openPlace(`${server.url}/m/`);

  expect([place.paths, place.gaps]).toEqual([["one.ko", "sub/two.ko"], []]);
  expect(server.requests).toEqual(["/m/", "/m/sub/"]);
});

test("a directory that is shown in parts", async () => {
  const page = (name: string, next: string) =>
    `<html><body><a href="${name}.ko?download=1">${name}</a> ${next}</body></html>`;
  const server = await pagesOf({
    "/": page("one", '<a href="?page=2&amp;sort=name">next</a>'),
    "/?page=2&sort=name": page("two", '<a href="more.html">next</a>'),
    "/more.html": page("three", '<a href="/?page=2&amp;sort=name">previous</a>'),
  });

  await using place = await openPlace(server.url);

  expect([place.paths, place.gaps]).toEqual([["one.ko", "three.ko", "two.ko"], []]);
});

test("a list of names, one a line", async () => {
  const server = await pagesOf({ "/": "./a/one.ko\nb/two+.ko\r\nb/\n" });

  await using place = await openPlace(server.url);

  expect(place.paths).toEqual(["a/one.ko", "b/two+.ko"]);
});

test("pages that cannot be had, or end in the middle, are named, and the others read", async () => {
  const server = await pagesOf({
    "/": '<html><a href="closed/">c</a><a href="gone/">g</a><a href="torn/">t</a><a href="whole/">w</a></html>',
    "/torn/": '<html><body><a href="one.ko">one</a><a href="two.k',
    "/whole/": '<html><body><a href="three.ko">three</a></body></html>',
  });

  await using place = await openPlace(server.url);

  expect(place.paths).toEqual(["torn/one.ko", "whole/three.ko"]);
  expect(new Set(place.gaps.map(({ place }) => place.slice(server.url.length)))).toEqual(
    new Set(["/closed/", "/gone/", "/torn/"]),
  );
});

test.each([
  ["a link", (long: string) => `<html><body><a href="${long}.ko">l</a><a href="one.ko">1</a></body></html>`],
  ["a line", (long: string) => `${long}.ko\none.ko\n`],
  [
    "a key",
    (long: string) =>
      `<ListBucketResult><Contents><Key>${long}.ko</Key></Contents><Contents><Key>one.ko</Key></Contents></ListBucketResult>`,
  ],
])("%s without end is named, and costs no time", async (_, page) => {
  const long = "a_arch_1".repeat(1_000_000);
  const server = await pagesOf({ "/": page(long) });

  const started = performance.now();
  await using place = await openPlace(server.url);

  expect(place.paths).toEqual(["one.ko"]);
  expect(place.gaps).toEqual([
    {
      place: expect.stringContaining(server.url),
      why: expect.stringMatching(/is longer than 4096 characters/),
    },
  ]);
  expect(performance.now() - started).toBeLessThan(20_000);
});

test("a page of nothing but brackets costs no time", async () => {
  const server = await pagesOf({ "/": "<".repeat(4_000_000) });

  const started = performance.now();
  await using place = await openPlace(server.url);

  expect([place.paths, place.gaps.map(({ why }) => why)]).toEqual([[], ["the page is truncated"]]);
  expect(performance.now() - started).toBeLessThan(20_000);
});

test.each([
  ["links in links", `${"href=".repeat(800)} `, 3000],
  ["quotes that none ends", `href='`, 1],
  ["words before an equals sign", "href ", 2_000_000],
])("a page of nothing but %s costs no time", async (_, part, times) => {
  const server = await pagesOf({ "/": `<html>${part.repeat(times)}<a href="one.ko">1</a></html>` });
  const before = process.cpuUsage();

  await using place = await openPlace(server.url);

  expect(place.paths).toContain("one.ko");
  // Of a processor's time, for the machine may have other things to do.
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(10);
});

test("links are read in every way that pages write them", async () => {
  const server = await pagesOf({
    "/": `<html><a href = "one.ko">1</a><A HREF='two.ko'>2</A><a href=three.ko>3</a><a href=\n"a b.ko">4</a><a href="">5</a><a href=>6</a></html>`,
  });

  await using place = await openPlace(server.url);

  expect([place.paths, place.gaps]).toEqual([["a b.ko", "one.ko", "three.ko", "two.ko"], []]);
});

test("a page that is longer than any is not read", async () => {
  const long = `<html>${" ".repeat(17 << 20)}</html>`;
  const server = await pagesOf({
    "/": '<html><a href="long/">l</a><a href="one.ko">1</a></html>',
    "/long/": long,
  });

  await using place = await openPlace(server.url);

  expect(place.paths).toEqual(["one.ko"]);
  expect(place.gaps).toEqual([
    { place: `${server.url}/long/`, why: expect.stringMatching(/^(it )?is longer than \d+ bytes$/) },
  ]);
});

test.each([
  ["", "a/&#xD800;.ko"],
  ["<EncodingType>url</EncodingType>", "a/&#xDFFF;%.ko"],
])("a key with half of a character is named, and the others read: %s", async (encoding, key) => {
  const page = `<ListBucketResult>${encoding}<Key>${key}</Key><Key>one.ko</Key><CommonPrefixes><Prefix>&#xD800;/</Prefix></CommonPrefixes></ListBucketResult>`;
  const server = await pagesOf({ "/": page });

  await using place = await openPlace(server.url);

  expect(place.paths).toEqual(["one.ko"]);
  expect(place.gaps).toEqual([
    { place: expect.stringContaining("a/\ufffd"), why: "its key is not valid text" },
    { place: "\ufffd/", why: expect.stringMatching(/as a directory/) },
  ]);
});

test("a directory that cannot be listed is named, and the others read", async () => {
  const directory = await temporaryDirectory();
  // Its name is no text, so that nobody finds it again by what it is called.
  await mkdir(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0xff])]));
  await writeFile(join(directory, "one.ko"), "module");

  await using place = await openPlace(directory);

  expect(place.paths).toEqual(["one.ko"]);
  expect(place.gaps).toEqual([{ place: "\ufffd", why: "it cannot be listed (ENOENT)" }]);
});

test("a server that has nothing there is said so", async () => {
  const server = await startServer((_, response) => response.writeHead(404).end());

  await expect(openPlace(server.url)).rejects.toThrow(
    expect.objectContaining({ code: "REMOTE_UNAVAILABLE" }),
  );
});

test.each(["http://", "http://127.0.0.1:99999/", "ftp://x/", "HTTP://[::1"])(
  "%s is no address",
  async (words) => {
    await expect(openPlace(words)).rejects.toThrow(expect.objectContaining({ code: "USAGE" }));
  },
);

test("an address says its place in plain letters, however it is written", async () => {
  const server = await startServer((_, response) => response.end('<a href="one.ko">f</a>'));
  const address = `${server.url}/lib/modules/6.12%2Bdeb12/`;

  await using place = await openPlace(address.replace("http:", "HTTP:"));

  expect(place.name).toMatch(/\/lib\/modules\/6\.12\+deb12$/);
  expect(place.paths).toEqual(["one.ko"]);
});
