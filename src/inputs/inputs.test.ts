import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { lstat, readdir, readFile, rename, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { makeDeb } from "../../test/support/debs.ts";
import { makeRpm } from "../../test/support/rpms.ts";
import { startServer } from "../../test/support/server.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { openScratch } from "../base/scratch.ts";
import { Secret } from "../base/secret.ts";
import type { Package } from "../kernel/kernel.ts";
import { inputArchive } from "../registry/input-archive.ts";
import { openFolderStore } from "../registry/stores/folder.ts";
import { type InputContext, Inputs } from "./inputs.ts";

const FILES = { "usr/src/linux-headers-6.1/Makefile": "all:" };

/** A package, two servers that may have it, a store, and machines that share it. */
async function openWorld(ending: "deb" | "rpm" = "deb") {
  const directory = await temporaryDirectory();
  const file =
    ending === "deb"
      ? await makeDeb(directory, "headers", FILES)
      : makeRpm(directory, "devel", { files: FILES });
  const bytes = readFileSync(file);
  const answers = { mirror: bytes as Buffer | number, other: 404 as Buffer | number };
  const server = await startServer((request, response) => {
    const answer = answers[(request.url ?? "").split("/")[1] as keyof typeof answers];
    if (Buffer.isBuffer(answer)) response.writeHead(200).end(answer);
    else response.writeHead(answer ?? 404).end();
  });
  const wanted: Package = {
    name: "linux-headers-6.1",
    version: "6.1.1-1",
    architecture: "x86_64",
    sha256: createHash("sha256").update(bytes).digest("hex"),
    size: bytes.length,
    source: "debian/bookworm",
    path: `pool/a+b.${ending}`,
  };
  const store = await openFolderStore(join(directory, "store"));
  const said: string[] = [];
  const machine = async (changes: Partial<InputContext> = {}) => {
    const cache = await temporaryDirectory();
    const http = new Http({ retries: 0 });
    onTestFinished(() => http.close());
    const inputs = new Inputs({
      http,
      cache,
      scratch: await openScratch(join(cache, "tmp")),
      mirrors: new Map([["debian/bookworm", `${server.url}/mirror`]]),
      archive: inputArchive(store),
      archived: "headers",
      say: (line) => said.push(line),
      ...changes,
    });
    return { inputs, cache };
  };
  const files = () => readdir(join(directory, "store"), { recursive: true }).catch((): string[] => []);
  return { wanted, bytes, server, answers, machine, said, files, store: join(directory, "store") };
}

const otherPlace = (url: string) => [`${url}/other/old/a%2Bb.deb`, `${url}/other/old/unrelated.deb`];

describe("a package", () => {
  test("that was fetched for somebody else brings nothing of what he said along", async () => {
    const { wanted, machine, server, answers, bytes } = await openWorld();
    const { inputs } = await machine({ archived: "none" });
    answers.other = bytes;
    const evil = {
      ...wanted,
      name: "evil",
      source: "list/debian12",
      path: `${server.url}/nothing/reads-like-an-accusation/a+b.deb`,
    };
    const strange = await inputs.unpack(evil, otherPlace(server.url));

    const honest = await inputs.unpack(wanted);

    expect(strange.record).toMatchObject({ from: "kernelurls", tried: [{}] });
    expect(honest.record).toMatchObject({ name: wanted.name, from: "cache", tried: [] });
    expect((await inputs.unpack(evil, otherPlace(server.url))).record).toEqual(strange.record);
  });

  test.each(["deb", "rpm"] as const)(
    "(%s) is fetched and unpacked once, under a name of its format",
    async (ending) => {
      const { wanted, machine, server, said } = await openWorld(ending);
      const { inputs, cache } = await machine();

      const [first, second] = await Promise.all([inputs.unpack(wanted), inputs.unpack(wanted)]);
      const third = await (await machine({})).inputs.unpack(wanted);

      expect(await readFile(join(first.tree, "usr/src/linux-headers-6.1/Makefile"), "utf8")).toBe("all:");
      expect(second).toEqual(first);
      expect(first.record).toMatchObject({ name: wanted.name, from: "mirror", tried: [] });
      expect(third.record).toEqual(first.record);
      expect((await readdir(join(cache, "inputs"))).toSorted()).toEqual(
        [`${wanted.sha256}.${ending}`, `${wanted.sha256}.json`].toSorted(),
      );
      expect(server.requests.length).toBe(2);
      expect(said).toEqual([]);
    },
  );

  test("that was damaged in the cache is fetched anew, and never archived", async () => {
    const { wanted, bytes, machine, files } = await openWorld();
    const { inputs, cache } = await machine({ archived: "none" });
    const { tree } = await inputs.unpack(wanted);
    const file = join(cache, "inputs", `${wanted.sha256}.deb`);

    await writeFile(file, bytes.subarray(0, 100));
    await (await machine({ cache })).inputs.unpack(wanted);
    const archived = (await files()).filter((name) => name.includes(wanted.sha256 ?? ""));
    await writeFile(file, bytes.subarray(0, 100));
    rmSync(tree, { recursive: true });
    const again = await (await machine({ cache })).inputs.unpack(wanted);

    expect(archived).toEqual([]);
    expect(await readFile(join(again.tree, "usr/src/linux-headers-6.1/Makefile"), "utf8")).toBe("all:");
    expect(await readFile(file)).toEqual(bytes);
    expect(await files()).toContainEqual(expect.stringContaining(wanted.sha256 ?? ""));
  });

  const MAKEFILE = "usr/src/linux-headers-6.1/Makefile";

  test.each<[string, (tree: string) => Promise<unknown>]>([
    ["was cut short", (tree) => writeFile(join(tree, MAKEFILE), "a")],
    ["was changed", (tree) => writeFile(join(tree, MAKEFILE), "evil")],
    ["has one file more", (tree) => writeFile(join(tree, "usr/src/more"), "")],
    [
      "was unpacked before the machine last started",
      (tree) => writeFile(`${tree}.seal`, "sha256:0 elsewhen\n"),
    ],
    ["lost its seal", async (tree) => rmSync(`${tree}.seal`)],
  ])("whose tree in the cache %s is unpacked anew by the next run", async (_name, change) => {
    const { wanted, machine } = await openWorld();
    const { inputs, cache } = await machine();
    const { tree } = await inputs.unpack(wanted);
    const before = (await stat(tree)).ino;
    await change(tree);

    await (await machine({ cache })).inputs.unpack(wanted);

    expect(await readFile(join(tree, MAKEFILE), "utf8")).toBe("all:");
    expect((await lstat(tree)).isDirectory()).toBe(true);
    expect((await stat(tree)).ino).not.toBe(before);
  });

  test("is asked for in its own source's name alone: a list may name any address", async () => {
    const { wanted, answers, machine } = await openWorld();
    const asked: (string | undefined)[] = [];
    const { url } = await startServer(({ headers }, response) => {
      asked.push(headers.authorization);
      response.end(answers.mirror);
    });
    const authorization = new Secret("Basic b3VyczpzZWNyZXQ=");
    const changes = () => ({
      http: new Http({ retries: 0, credentials: [{ url: `${url}/mirror`, authorization }] }),
      archived: "none" as const,
      mirrors: new Map([["debian/bookworm", `${url}/mirror`]]),
    });
    const listed = { ...wanted, source: "a list", path: `${url}/mirror/pool/a+b.deb` };

    await (await machine(changes())).inputs.fetch(wanted);
    await (await machine(changes())).inputs.fetch(listed);

    expect(asked).toEqual([authorization.reveal(), undefined]);
  });

  test("whose tree lies elsewhere, behind a link, is read there", async () => {
    const { wanted, machine } = await openWorld();
    const { inputs, cache } = await machine();
    const { tree } = await inputs.unpack(wanted);
    await rename(tree, `${tree}-moved`);
    await symlink(`${tree}-moved`, tree);

    const again = await (await machine({ cache })).inputs.unpack(wanted);

    expect(again.tree).toBe(`${tree}-moved`);
    expect((await lstat(tree)).isSymbolicLink()).toBe(true);
  });

  test("whose tree is whole is not unpacked again", async () => {
    const { wanted, machine } = await openWorld();
    const { inputs, cache } = await machine();
    const { tree } = await inputs.unpack(wanted);
    const before = (await stat(tree)).ino;

    await (await machine({ cache })).inputs.unpack(wanted);

    expect((await stat(tree)).ino).toBe(before);
  });

  test("that left its mirror comes from where it lay, and that is said and kept", async () => {
    const { wanted, bytes, machine, server, said, answers } = await openWorld();
    answers.mirror = 404;
    answers.other = bytes;
    const { inputs, cache } = await machine();

    const { record } = await inputs.unpack(wanted, otherPlace(server.url));

    const mirror = `${server.url}/mirror/pool/a%2Bb.deb`;
    expect(record).toMatchObject({
      from: "kernelurls",
      tried: [{ place: mirror, fault: "does not have it" }],
    });
    expect(said).toEqual([
      `linux-headers-6.1 6.1.1-1 came from its earlier location: ${mirror} does not have it`,
    ]);
    expect(server.requests).toEqual(["/mirror/pool/a%2Bb.deb", "/other/old/a%2Bb.deb"]);
    // Another process that finds it in the cache knows it too.
    const later = await (await machine({ cache })).inputs.unpack(wanted);
    expect(later.record).toEqual(record);
  });

  test("that left every server comes from the archive, on another machine too", async () => {
    const { wanted, machine, said, answers } = await openWorld();
    await (await machine()).inputs.unpack(wanted);
    answers.mirror = 404;

    const { record, tree } = await (await machine()).inputs.unpack(wanted);

    expect(record).toMatchObject({ from: "archive", tried: [{ fault: "does not have it" }] });
    expect(await readFile(join(tree, "usr/src/linux-headers-6.1/Makefile"), "utf8")).toBe("all:");
    expect(said).toEqual([expect.stringMatching(/came from the archive: http.* does not have it$/)]);
  });

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ["other bytes", (bytes) => Buffer.concat([Buffer.from("x"), bytes.subarray(1)])],
    ["half of it", (bytes) => bytes.subarray(0, 100)],
    ["more than it", (bytes) => Buffer.concat([bytes, bytes])],
  ])("of which a mirror has %s comes from the next place, and that is said", async (_, damage) => {
    const { wanted, bytes, machine, said, answers } = await openWorld();
    await (await machine()).inputs.unpack(wanted);
    answers.mirror = damage(bytes);

    const { record } = await (await machine()).inputs.unpack(wanted);

    expect(record.from).toBe("archive");
    expect(record.tried).toEqual([
      { place: expect.any(String), fault: expect.stringMatching(/does not match its digest/) },
    ]);
    expect(said).toHaveLength(1);
  });

  test("whose archived copy was changed is refused: better none than another", async () => {
    const { wanted, machine, answers, store } = await openWorld();
    await (await machine()).inputs.unpack(wanted);
    const { sha256 = "" } = wanted;
    const blob = join(store, "blobs/sha256", sha256.slice(0, 2), sha256);
    await writeFile(blob, "another");
    answers.mirror = 404;
    const { inputs, cache } = await machine();

    await expect(inputs.unpack(wanted)).rejects.toThrow(
      expect.objectContaining({ code: "DIGEST_MISMATCH", message: expect.stringContaining("archive") }),
    );
    expect(await readdir(cache)).not.toContain("inputs");
  });

  test("that nobody has is not fetchable; where somebody cannot be asked, that is not known", async () => {
    const { wanted, machine, answers } = await openWorld();
    answers.mirror = 404;
    const { inputs } = await machine();

    await expect(inputs.unpack(wanted)).rejects.toThrow(expect.objectContaining({ code: "NOT_FETCHABLE" }));
    answers.mirror = 503;
    await expect(inputs.unpack(wanted)).rejects.toThrow(
      expect.objectContaining({ code: "REMOTE_UNAVAILABLE" }),
    );
  });

  describe("whose digest another source names too", () => {
    const claim = (wanted: Package, place: string, changes: Partial<Package> = {}): Package => ({
      ...wanted,
      name: "linux-headers-9.9",
      version: "9",
      source: "list/debian12",
      path: `${place}/other/a+b.deb`,
      ...changes,
    });

    test.each<[string, Partial<Package>, number | "package"]>([
      ["cannot be had there", {}, 404],
      ["is of another format there", { path: "other/a+b.rpm" }, "package"],
      ["is of another size there", { size: 1 }, "package"],
    ])("is unpacked although it %s", async (_, changes, answer) => {
      const { wanted, bytes, answers, machine, server } = await openWorld();
      const { inputs } = await machine({ archived: "none" });
      answers.other = answer === "package" ? bytes : answer;
      const path = `${server.url}/${changes.path ?? "other/a+b.deb"}`;

      const [other, own] = await Promise.allSettled([
        inputs.unpack(claim(wanted, server.url, { ...changes, path })),
        inputs.unpack(wanted),
      ]);

      expect(other.status).toBe("rejected");
      expect(own).toMatchObject({ status: "fulfilled", value: { record: { name: wanted.name } } });
    });

    test("keeps its own name, whoever was first", async () => {
      const { wanted, bytes, answers, machine, server } = await openWorld();
      const { inputs, cache } = await machine();
      answers.other = bytes;

      const both = await Promise.all([inputs.unpack(claim(wanted, server.url)), inputs.unpack(wanted)]);
      const later = await (await machine({ cache })).inputs.unpack(wanted);

      expect(both.map(({ record }) => record.name)).toEqual(["linux-headers-9.9", wanted.name]);
      expect(both.map(({ tree }) => tree)).toEqual([later.tree, later.tree]);
      expect(later.record).toMatchObject({ name: wanted.name, version: wanted.version });
      expect(await readFile(join(later.tree, MAKEFILE), "utf8")).toBe("all:");
    });
  });

  test("is unpacked while it still comes", async () => {
    const directory = await temporaryDirectory();
    const files = { "usr/large": "x".repeat(4 * 1024 ** 2) };
    const bytes = readFileSync(await makeDeb(directory, "large", files, "none"));
    const { wanted, machine } = await openWorld();
    const { inputs, cache } = await machine();
    const isUnpacking = async () =>
      (await readdir(join(cache, "tmp"), { recursive: true })).some((name) => name.endsWith("usr/large"));
    const server = await startServer((_, response) => {
      response.writeHead(200).write(bytes.subarray(0, -1));
      // The last byte waits until something of the package is on the disk.
      void vi.waitUntil(isUnpacking, { timeout: 20_000 }).then(() => response.end(bytes.subarray(-1)));
    });
    const large = {
      ...wanted,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      size: bytes.length,
      path: `${server.url}/large.deb`,
    };

    const { tree } = await inputs.unpack(large);

    expect((await stat(join(tree, "usr/large"))).size).toBe(4 * 1024 ** 2);
  });

  test("that is not what was listed is nowhere, however well it unpacks", async () => {
    const { wanted, answers, machine, server } = await openWorld();
    const { inputs, cache } = await machine();
    const honest = answers.mirror as Buffer;
    // The same package with one byte changed in what nobody checks but the digest.
    const evil = Buffer.from(honest);
    evil.write("A", honest.indexOf("debian-binary") + 16);
    [answers.mirror, answers.other] = [evil, evil];

    await expect(inputs.unpack(wanted, otherPlace(server.url))).rejects.toThrow(
      expect.objectContaining({ code: "DIGEST_MISMATCH" }),
    );

    expect(await readdir(join(cache, "trees")).catch(() => [])).toEqual([]);
    expect(await readdir(join(cache, "tmp"))).toEqual([expect.stringContaining("alive")]);
    answers.other = honest;
    const { tree, record } = await inputs.unpack(wanted, otherPlace(server.url));
    expect(record.from).toBe("kernelurls");
    expect(await readFile(join(tree, MAKEFILE), "utf8")).toBe("all:");
  });

  test("that kernels share is fetched once, whatever else each of them needs", async () => {
    const { wanted, machine, server } = await openWorld();
    const { inputs } = await machine();
    const urls = otherPlace(server.url);

    await Promise.all([
      inputs.unpack(wanted, urls),
      inputs.unpack(wanted, [...urls, `${server.url}/other/cloud.deb`]),
    ]);

    expect(server.requests.length).toBe(1);
  });

  test("that fails is told of when the others beside it have ended", async () => {
    const { wanted, machine } = await openWorld();
    const { inputs, cache } = await machine();
    const gone = { ...wanted, path: "nowhere.deb", source: "nobody", sha256: "0".repeat(64) };

    await expect(inputs.unpackAll([gone, wanted])).rejects.toThrow(
      expect.objectContaining({ code: "NOT_FETCHABLE" }),
    );
    expect((await readdir(join(cache, "trees"))).toSorted()).toEqual([
      `${wanted.sha256}.deb`,
      `${wanted.sha256}.deb.seal`,
    ]);
  });

  test("whose cached file lost the record of its origin is fetched again", async () => {
    const { wanted, machine, server } = await openWorld();
    const { inputs, cache } = await machine();
    await inputs.unpack(wanted);
    rmSync(join(cache, "inputs", `${wanted.sha256}.json`));

    expect((await inputs.unpack(wanted)).record.from).toBe("mirror");
    expect(server.requests.length).toBe(2);
  });
});

describe("the archive", () => {
  test("has what builds need, and what only booting needs when it is told so", async () => {
    const { wanted, machine, files } = await openWorld();
    const { inputs } = await machine();

    expect(await inputs.stream(wanted, text)).toContain("debian-binary");
    await inputs.fetch(wanted, [], undefined, "boot");
    expect(await files()).toEqual([]);

    await (await machine({ archived: "all" })).inputs.stream(wanted, text);
    expect(await files()).toContain(`blobs/sha256/${wanted.sha256?.slice(0, 2)}/${wanted.sha256}`);
  });

  test("gives what booting needs when the mirror does not", async () => {
    const { wanted, machine, answers, said } = await openWorld();
    await (await machine({ archived: "all" })).inputs.stream(wanted, text);
    answers.mirror = 404;

    expect(await (await machine()).inputs.stream(wanted, text)).toContain("debian-binary");
    expect(said).toEqual([expect.stringContaining("came from the archive")]);
  });

  test("stays empty when it is told so", async () => {
    const { wanted, machine, files } = await openWorld();

    await (await machine({ archived: "none" })).inputs.unpack(wanted);

    expect(await files()).toEqual([]);
  });

  test("keeps what may not be passed on where no registry is served, and finds it there", async () => {
    const { wanted, machine, files, answers } = await openWorld();
    const isPrivate = { isPrivate: ({ source }: Package) => source === "debian/bookworm" };
    const made = async () => (await files()).filter((path) => path.endsWith(wanted.sha256 ?? "?"));
    const hidden = [`private/sha256/${wanted.sha256?.slice(0, 2)}/${wanted.sha256}`];

    await (await machine(isPrivate)).inputs.unpack(wanted);

    expect(await made()).toEqual(hidden);
    answers.mirror = 404;
    expect((await (await machine()).inputs.unpack(wanted)).record.from).toBe("archive");
    // Somebody else lists the same bytes: a private package stays one.
    await (await machine(isPrivate)).inputs.unpack({ ...wanted, source: "list/debian12" });
    expect(await made()).toEqual(hidden);
  });

  test("takes back what was archived before it was known to be private", async () => {
    const { wanted, machine, files } = await openWorld();
    await (await machine()).inputs.unpack(wanted);

    await (await machine({ isPrivate: () => true })).inputs.unpack(wanted);

    const made = (await files()).filter((path) => path.endsWith(wanted.sha256 ?? "?"));
    expect(made).toEqual([`private/sha256/${wanted.sha256?.slice(0, 2)}/${wanted.sha256}`]);
  });

  test("gets what is in the cache already, as when a store is new", async () => {
    const { wanted, machine, files } = await openWorld();
    const { cache } = await machine({ archived: "none" });
    await (await machine({ archived: "none", cache })).inputs.unpack(wanted);
    expect(await files()).toEqual([]);

    await (await machine({ cache })).inputs.unpack(wanted);

    expect((await files()).some((path) => path.endsWith(wanted.sha256 ?? "?"))).toBe(true);
  });
});
