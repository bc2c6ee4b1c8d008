import { cpSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeSigningKey, type SigningKey } from "../../test/support/apt-repository.ts";
import { lookAtSources } from "../../test/support/look.ts";
import { buildRpms, createRepository, entryOf, serveFiles } from "../../test/support/rpm-repository.ts";
import {
  EVR,
  kernelsIn,
  makeRpmRepositories,
  openContext,
  REVISION,
  sourceAt,
} from "../../test/support/rpm-source.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { EMPTY_CATALOG } from "./catalog.ts";
import { readRpmSource } from "./rpm-md.ts";
import type { SourceAnswer } from "./source.ts";

const KEY = makeSigningKey();
const OTHER_KEY = makeSigningKey();
const { directoryOf, repositoryOf } = makeRpmRepositories();
const DATE = new Date(REVISION * 1000).toISOString();

const keysOf = ({ armoured, fingerprint }: SigningKey, file = armoured) => ({
  ...{ what: "alma", file, urls: [], fingerprints: [fingerprint] },
});
const signedBy = (key: SigningKey, form: "keyring" | "armoured" = "keyring") => ({
  keys: keysOf(key, key[form]),
});

const namesIn = (answer: SourceAnswer) =>
  answer.kind === "read" ? answer.packages.map(({ name }) => name).toSorted() : [];

describe("readRpmSource", () => {
  test.each(["gz", "xz", "zstd"] as const)("reads the kernels' packages (%s)", async (compression) => {
    const { url, files } = await serveFiles(await repositoryOf("alma", { compression }));
    const ending = { gz: ".gz", xz: ".xz", zstd: ".zst" }[compression];

    const answer = await readRpmSource(sourceAt(url), await openContext());

    expect(entryOf(files, "primary")[0]).toMatch(new RegExp(`${ending}$`));
    expect(answer).toMatchObject({
      kind: "read",
      url,
      metadata: {
        date: DATE,
        unsigned: true,
        digest: sha256(files.get("repodata/repomd.xml") as Buffer),
        updateinfo: { path: expect.stringMatching(/^repodata\/.*-updateinfo\.xml/) },
      },
    });
    expect(namesIn(answer)).toEqual([
      ...[
        "kernel",
        "kernel-core",
        "kernel-devel",
        "kernel-modules-core",
        "kernel-rt-core",
        "kernel-rt-devel",
      ],
    ]);
    expect(kernelsIn(answer)).toMatchObject([
      { kversion: `${EVR}.x86_64`, packageVersion: EVR, flavour: "generic" },
      { kversion: `${EVR}.x86_64+rt`, packageVersion: EVR, flavour: "rt" },
    ]);
  });

  test("gives every package the digest, the size and the place of its real file", async () => {
    const { url, files } = await serveFiles(await repositoryOf("alma"));

    const answer = await readRpmSource(sourceAt(url), await openContext());

    for (const { path, sha256: digest, size } of answer.kind === "read" ? answer.packages : []) {
      const file = files.get(path) as Buffer;
      expect({ digest: `sha256:${digest}`, size }).toEqual({ digest: sha256(file), size: file.length });
    }
    expect(answer).toMatchObject({ kind: "read" });
  });

  test("passes over packages of other architectures than its own", async () => {
    const both = await temporaryDirectory();
    for (const name of ["alma", "alma-arm"]) cpSync(directoryOf(name), both, { recursive: true });
    const { url } = await serveFiles(createRepository(both));
    const context = await openContext();

    const arm = await readRpmSource(sourceAt(url, { architectures: ["aarch64"] }), context);
    const all = await readRpmSource(sourceAt(url, { architectures: ["aarch64", "x86_64"] }), context);

    expect(kernelsIn(arm).map(({ kversion }) => kversion)).toEqual([`${EVR}.aarch64+64k`]);
    expect(kernelsIn(all)).toHaveLength(3);
  });

  test("asks for nothing but repomd.xml when nothing changed, and for primary.xml when it did", async () => {
    const { url, files, requests } = await serveFiles(await repositoryOf("alma"));
    const context = await openContext();

    const first = await readRpmSource(sourceAt(url), context);
    const asked = requests().length;
    const second = await readRpmSource(sourceAt(url), context);
    const quiet = requests().slice(asked);
    for (const [path, content] of await repositoryOf("alma-arm", { revision: REVISION + 60 }))
      files.set(path, content);
    const third = await readRpmSource(sourceAt(url, { architectures: ["aarch64"] }), context);

    expect(second).toEqual(first);
    expect(quiet).toEqual(["repodata/repomd.xml"]);
    expect(context.http.traffic.notModified).toBe(1);
    expect(kernelsIn(third)).toHaveLength(1);
    expect(requests().slice(asked + 1)).toEqual([
      "repodata/repomd.xml",
      expect.stringContaining("primary.xml"),
    ]);
  });

  test("a repository that the server does not have is not served, and no failure", async () => {
    const { url } = await serveFiles(new Map());

    expect(await readRpmSource(sourceAt(url), await openContext())).toMatchObject({ kind: "notServed" });
  });

  test("takes the age of the youngest metadata where the revision is no time", async () => {
    const files = await repositoryOf("alma");
    const repomd = files.get("repodata/repomd.xml")?.toString() ?? "";
    files.set(
      "repodata/repomd.xml",
      Buffer.from(repomd.replace(/<revision>.*<\/revision>/, "<revision>7</revision>")),
    );
    const { url } = await serveFiles(files);

    const answer = await readRpmSource(sourceAt(url), await openContext());

    // modifyrepo_c says when it ran.
    expect(answer).toMatchObject({ kind: "read" });
    expect(answer.kind === "read" && answer.metadata.date > DATE).toBe(true);
  });
});

describe("signatures", () => {
  const sign = (files: Map<string, Buffer>, key = KEY) =>
    files.set(
      "repodata/repomd.xml.asc",
      Buffer.from(key.signBeside(files.get("repodata/repomd.xml")?.toString() ?? "")),
    );

  test.each(["keyring", "armoured"] as const)(
    "are verified where a keyring is configured (%s)",
    async (form) => {
      const { url, files, requests } = await serveFiles(await repositoryOf("alma"));
      sign(files);
      const context = await openContext();

      const answer = await readRpmSource(sourceAt(url, signedBy(KEY, form)), context);
      const asked = requests().length;
      const again = await readRpmSource(sourceAt(url, signedBy(KEY, form)), context);

      expect(answer).toMatchObject({ kind: "read" });
      expect(JSON.stringify(answer)).not.toContain("unsigned");
      expect(again).toEqual(answer);
      expect(requests().slice(asked)).toEqual(["repodata/repomd.xml"]);
    },
  );

  test.each<[string, (files: Map<string, Buffer>) => void]>([
    ["there is none", (files) => void files.delete("repodata/repomd.xml.asc")],
    ["somebody else made it", (files) => void sign(files, OTHER_KEY)],
    [
      "it is of another text",
      (files) =>
        void files.set(
          "repodata/repomd.xml",
          Buffer.concat([files.get("repodata/repomd.xml") as Buffer, Buffer.from("\n")]),
        ),
    ],
    ["it is no signature", (files) => void files.set("repodata/repomd.xml.asc", Buffer.from("<html>"))],
  ])("are refused when %s", async (_, damage) => {
    const { url, files } = await serveFiles(await repositoryOf("alma"));
    sign(files);
    damage(files);

    const answer = await readRpmSource(sourceAt(url, signedBy(KEY)), await openContext());

    expect(answer).toMatchObject({ kind: "failed", error: { code: "SIGNATURE_INVALID" } });
  });

  test("are asked for when what was read without a keyring now has to have one", async () => {
    const { url } = await serveFiles(await repositoryOf("alma"));
    const context = await openContext();
    await readRpmSource(sourceAt(url), context);

    const answer = await readRpmSource(sourceAt(url, signedBy(KEY)), context);

    expect(answer).toMatchObject({ kind: "failed", error: { code: "SIGNATURE_INVALID" } });
  });

  test("are verified again when the keyring changed", async () => {
    const { url, files } = await serveFiles(await repositoryOf("alma"));
    sign(files);
    const context = await openContext();
    const keyring = join(context.cache, "keyring.gpg");
    await copyFile(KEY.keyring, keyring);
    const before = await readRpmSource(sourceAt(url, { keys: { ...keysOf(KEY), file: keyring } }), context);
    await copyFile(OTHER_KEY.keyring, keyring);

    const answer = await readRpmSource(sourceAt(url, { keys: { ...keysOf(KEY), file: keyring } }), context);

    expect(before).toMatchObject({ kind: "read" });
    expect(answer).toMatchObject({ kind: "failed", error: { code: "SIGNATURE_INVALID" } });
  });
});

describe("a catalog of rpm repositories", () => {
  const day = (number: number) => new Date(Date.UTC(2026, 0, number));
  const seconds = (number: number) => Math.floor(day(number).getTime() / 1000);

  test("recognises a repository that no longer moves by its own cadence", async () => {
    const { url, files } = await serveFiles(new Map());
    const context = await openContext();
    let { catalog } = { catalog: EMPTY_CATALOG };
    for (const number of [1, 8, 15]) {
      files.clear();
      for (const [path, content] of await repositoryOf("alma", { revision: seconds(number) }))
        files.set(path, content);
      ({ catalog } = await lookAtSources(catalog, [sourceAt(url)], context, { now: day(number) }));
    }

    const soon = await lookAtSources(catalog, [sourceAt(url)], context, { now: day(35) });
    const late = await lookAtSources(catalog, [sourceAt(url)], context, { now: day(40) });
    const accepted = await lookAtSources(catalog, [sourceAt(url, { acceptExpired: true })], context, {
      now: day(40),
    });

    expect(soon.problems).toEqual([]);
    expect(late.problems).toMatchObject([{ detail: expect.stringMatching(/25 days old.*every 7/) }]);
    expect(late.catalog.kernels).toMatchObject([{ staleSince: day(40).toISOString() }, {}]);
    expect(accepted.problems).toEqual([]);
    expect(accepted.catalog.kernels).toHaveLength(2);
  });

  test("puts the kernels of a release in rpm's order", async () => {
    const { url } = await serveFiles(await repositoryOf("alma"));
    const context = await openContext();

    const { catalog } = await lookAtSources(EMPTY_CATALOG, [sourceAt(url)], context, { now: day(40) });

    expect(catalog.kernels).toMatchObject([
      { distribution: "almalinux9.4", kversion: `${EVR}.x86_64`, packageVersion: EVR, flavour: "generic" },
      { distribution: "almalinux9.4", kversion: `${EVR}.x86_64+rt`, flavour: "rt" },
    ]);
    expect(catalog.kernels[0]).not.toHaveProperty("compiler");
    expect(catalog.sources).toMatchObject([
      {
        kind: "rpm-md",
        url,
        unsigned: true,
        kernels: { x86_64: 2 },
        updateinfo: { path: expect.any(String) },
      },
    ]);
    expect(JSON.stringify(catalog.kernels)).not.toMatch(/provides|depends/);
  });

  test("says how many header packages another one stands in the way of", async () => {
    const directory = await temporaryDirectory();
    const uname = `${EVR}.x86_64`;
    const packages = ["kernel-devel", "kernel-debug-devel"].map((name) => ({ name, release: uname }));
    buildRpms(directory, { evr: EVR, architecture: "x86_64", packages });
    const { url } = await serveFiles(createRepository(directory));

    const { catalog, problems, warnings } = await lookAtSources(
      EMPTY_CATALOG,
      [sourceAt(url)],
      await openContext(),
      // It is dated by the tool that makes it.
      { now: new Date() },
    );

    expect(catalog.kernels).toMatchObject([{ kversion: uname, flavour: "generic" }]);
    expect(JSON.stringify(catalog)).not.toContain("rivals");
    expect(problems).toEqual([]);
    expect(warnings).toMatchObject([
      {
        source: "almalinux9.4/BaseOS/x86_64",
        count: 1,
        detail: expect.stringContaining("kernel-debug-devel"),
      },
    ]);
  });
});
