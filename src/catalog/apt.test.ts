import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { makeSigningKey, startRepository } from "../../test/support/apt-repository.ts";
import { makeListedPackage } from "../../test/support/kernels.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { canonicalJson } from "../base/json.ts";
import { openScratch } from "../base/scratch.ts";
import { debian } from "../kernel/distributions/debian.ts";
import { type AptSource, readAptSource } from "./apt.ts";
import type { SourceContext } from "./source.ts";

const KEY = makeSigningKey();
const OTHER_KEY = makeSigningKey();
const PACKAGES = [
  makeListedPackage({
    name: "linux-headers-6.1.0-56-amd64",
    depends: "linux-headers-6.1.0-56-common (= 6.1.170-3)",
  }),
  makeListedPackage({ name: "linux-headers-6.1.0-56-arm64", architecture: "aarch64" }),
  makeListedPackage({ name: "linux-headers-6.1.0-56-common", architecture: "all" }),
  makeListedPackage({ name: "busybox-static", version: "1:1.35.0-4" }),
  makeListedPackage({ name: "tzdata", architecture: "all" }),
];

function sourceAt(url: string, changes: Partial<AptSource> = {}): AptSource {
  return {
    id: "debian/bookworm",
    distribution: debian,
    release: "debian12",
    suite: "bookworm",
    component: "main",
    url,
    keyring: KEY.keyring,
    kind: "apt",
    architectures: ["x86_64", "aarch64"],
    acceptExpired: false,
    isRequired: false,
    ...changes,
  };
}

async function openContext(): Promise<SourceContext> {
  const cache = await temporaryDirectory();
  const http = new Http({ retries: 1, firstDelayMs: 1 });
  onTestFinished(() => http.close());
  return { http, cache, scratch: await openScratch(join(cache, "tmp")) };
}

describe("readAptSource", () => {
  test.each(["xz", "gz"] as const)(
    "reads the kernels' packages of both architectures (%s)",
    async (compression) => {
      const repository = await startRepository(KEY);
      repository.publish("bookworm", {
        packages: PACKAGES,
        compression,
        validUntil: "Sat, 14 Feb 2026 10:00:00 UTC",
      });

      const answer = await readAptSource(sourceAt(repository.url), await openContext());

      expect(answer).toMatchObject({
        kind: "read",
        metadata: {
          date: "2026-02-07T10:00:00.000Z",
          validUntil: "2026-02-14T10:00:00.000Z",
          digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
        },
      });
      // What is for all architectures stands in the index of each.
      const wanted = PACKAGES.filter(({ name }) => name !== "tzdata");
      const twice = wanted.filter(({ architecture }) => architecture === "all");
      const text = (packages: readonly object[]) => packages.map(canonicalJson).toSorted();
      expect(text(answer.kind === "read" ? answer.packages : [])).toEqual(text([...wanted, ...twice]));
    },
  );

  test("asks for no index that it has read before", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    const context = await openContext();

    const first = await readAptSource(sourceAt(repository.url), context);
    const asked = repository.requests().length;
    const second = await readAptSource(sourceAt(repository.url), context);

    expect(second).toEqual(first);
    expect(first.kind).toBe("read");
    expect(repository.requests().slice(asked)).toEqual(["dists/bookworm/InRelease"]);
    expect(context.http.traffic.notModified).toBe(1);
  });

  test("asks only for the index that changed", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    const context = await openContext();
    await readAptSource(sourceAt(repository.url), context);
    const asked = repository.requests().length;
    const added = makeListedPackage({ name: "linux-headers-6.1.0-57-arm64", architecture: "aarch64" });
    repository.publish("bookworm", { packages: [...PACKAGES, added] });

    const answer = await readAptSource(sourceAt(repository.url), context);

    expect(answer).toMatchObject({ packages: expect.arrayContaining([added]) });
    expect(repository.requests().slice(asked)).toEqual([
      "dists/bookworm/InRelease",
      "dists/bookworm/main/binary-arm64/Packages.xz",
    ]);
  });

  test("verifies a signature again only when the keyring changed", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    const context = await openContext();
    const keyring = join(context.cache, "keyring.gpg");
    const look = () => readAptSource(sourceAt(repository.url, { keyring }), context);
    await copyFile(KEY.keyring, keyring);
    const first = await look();

    await copyFile(OTHER_KEY.keyring, keyring);
    const other = await look();
    await copyFile(KEY.keyring, keyring);
    const again = await look();
    await rm(keyring);
    const none = await look();

    expect(again).toEqual(first);
    expect(other).toMatchObject({ kind: "failed", error: { code: "SIGNATURE_INVALID" } });
    expect(none).toMatchObject({ kind: "failed", error: { code: "FILE_UNREADABLE" } });
  });

  test("what one suite's InRelease says does not count for another", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    const context = await openContext();
    await readAptSource(sourceAt(repository.url), context);
    const same = repository.files.get("dists/bookworm/InRelease") as Buffer;
    repository.files.set("dists/trixie/InRelease", same);

    const answer = await readAptSource(sourceAt(repository.url, { suite: "trixie" }), context);

    expect(answer).toMatchObject({ kind: "failed", error: { code: "SIGNATURE_INVALID" } });
  });

  test("says which source lists a package, also where two suites share an index", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    repository.publish("bookworm-security", { packages: PACKAGES });
    const context = await openContext();
    await readAptSource(sourceAt(repository.url), context);

    const answer = await readAptSource(
      sourceAt(repository.url, { id: "debian/bookworm-security", suite: "bookworm-security" }),
      context,
    );

    const sources = answer.kind === "read" ? answer.packages.map(({ source }) => source) : [];
    expect(new Set(sources)).toEqual(new Set(["debian/bookworm-security"]));
  });

  test("a suite may call itself otherwise, as experimental does", async () => {
    const repository = await startRepository(KEY);
    repository.publish("experimental", { packages: PACKAGES, codename: "rc-buggy" });
    repository.publish("bookworm", { packages: PACKAGES, codename: "rc-buggy" });
    const read = async (suite: string) =>
      (await readAptSource(sourceAt(repository.url, { suite }), await openContext())).kind;

    expect([await read("experimental"), await read("bookworm")]).toEqual(["read", "failed"]);
  });

  test("a suite that the server does not have is not served, and no failure", async () => {
    const repository = await startRepository(KEY);

    const answer = await readAptSource(sourceAt(repository.url), await openContext());

    expect(answer).toMatchObject({ kind: "notServed" });
  });

  test("a repository without indices for kernels' architectures has no packages", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });

    const answer = await readAptSource(
      sourceAt(repository.url, { component: "contrib" }),
      await openContext(),
    );

    expect(answer).toMatchObject({ kind: "read", packages: [] });
  });

  test.each<[string, string, (files: Map<string, Buffer>) => void]>([
    ["an InRelease without signature", "SIGNATURE_INVALID", edit("InRelease", (text) => stripped(text))],
    [
      "an InRelease that somebody else signed",
      "SIGNATURE_INVALID",
      edit("InRelease", (text) => OTHER_KEY.sign(stripped(text))),
    ],
    [
      "an InRelease that was changed after it was signed",
      "SIGNATURE_INVALID",
      edit("InRelease", (text) => text.replace("Origin: Test", "Origin: Best")),
    ],
    ["a text that is no InRelease", "SIGNATURE_INVALID", edit("InRelease", () => "<html>404</html>")],
    ["an empty InRelease", "SIGNATURE_INVALID", edit("InRelease", () => "")],
    [
      "another suite under its name",
      "SIGNATURE_INVALID",
      edit("InRelease", (text) => KEY.sign(stripped(text).replace("Codename: bookworm", "Codename: trixie"))),
    ],
    [
      "no date",
      "REMOTE_UNAVAILABLE",
      edit("InRelease", (text) => KEY.sign(stripped(text).replace(/^Date: .*\n/m, ""))),
    ],
    [
      "a date in a year that nobody reads back",
      "REMOTE_UNAVAILABLE",
      edit("InRelease", (text) =>
        KEY.sign(stripped(text).replace(/^Date: .*\n/m, "Date: Sat, 01 Jan 20000 00:00:00 UTC\n")),
      ),
    ],
    [
      "an index with other bytes",
      "DIGEST_MISMATCH",
      (files) => void files.get("dists/bookworm/main/binary-amd64/Packages.xz")?.writeUInt8(0, 40),
    ],
    ["an index that is cut off", "DIGEST_MISMATCH", cut("main/binary-amd64/Packages.xz")],
    [
      "an index that is not there",
      "NOT_FETCHABLE",
      (files) => void files.delete("dists/bookworm/main/binary-amd64/Packages.xz"),
    ],
  ])("%s is an answer that it failed (%s)", async (_, code, damage) => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    damage(repository.files);

    const answer = await readAptSource(sourceAt(repository.url), await openContext());

    expect(answer).toMatchObject({ kind: "failed", error: { code } });
  });

  test("takes only what is inside the signature", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    edit(
      "InRelease",
      (text) => `Codename: bookworm\nDate: Mon, 01 Jan 2035 00:00:00 UTC\n\n${text}`,
    )(repository.files);

    const answer = await readAptSource(sourceAt(repository.url), await openContext());

    expect(JSON.stringify(answer)).not.toContain("2035");
  });

  test("recovers from what it remembered of a bad night", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    const good = new Map(repository.files);
    edit("InRelease", (text) => OTHER_KEY.sign(stripped(text)))(repository.files);
    const context = await openContext();

    const bad = await readAptSource(sourceAt(repository.url), context);
    for (const [path, bytes] of good) repository.files.set(path, bytes);
    const again = await readAptSource(sourceAt(repository.url), context);

    expect([bad.kind, again.kind]).toEqual(["failed", "read"]);
  });

  test("a server that is down is an answer too, and a stop is none", async () => {
    const repository = await startRepository(KEY);
    repository.publish("bookworm", { packages: PACKAGES });
    const stop = AbortSignal.abort();

    const down = await readAptSource(sourceAt("http://127.0.0.1:9"), await openContext());
    const stopped = readAptSource(sourceAt(repository.url), { ...(await openContext()), signal: stop });

    expect(down).toMatchObject({ kind: "failed", error: { code: "REMOTE_UNAVAILABLE" } });
    await expect(stopped).rejects.toThrow(expect.objectContaining({ code: "INTERRUPTED" }));
  });
});

function edit(file: string, change: (text: string) => string) {
  const path = `dists/bookworm/${file}`;
  return (files: Map<string, Buffer>) =>
    void files.set(path, Buffer.from(change(files.get(path)?.toString() ?? "")));
}

function cut(file: string) {
  const path = `dists/bookworm/${file}`;
  return (files: Map<string, Buffer>) =>
    void files.set(path, files.get(path)?.subarray(0, -8) ?? Buffer.alloc(0));
}

/** The text of an InRelease without what signs it. */
function stripped(text: string): string {
  const start = text.indexOf("\n\n") + 2;
  return text.slice(start, text.indexOf("-----BEGIN PGP SIGNATURE-----"));
}
