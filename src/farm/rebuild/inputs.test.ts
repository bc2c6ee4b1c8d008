/** What a registry gives a stranger to rebuild from is believed only as far as digests and the recipe reach. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { makeManifest } from "../../../test/support/artifacts.ts";
import { makeElement } from "../../../test/support/elements.ts";
import {
  type KeptChanges,
  put,
  putInputs,
  putPackage,
  putSource,
} from "../../../test/support/kept-inputs.ts";
import { type Block, tarBlocks } from "../../../test/support/tar-blocks.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { Http } from "../../base/http.ts";
import { canonicalJson, type Digest, sha256 } from "../../base/json.ts";
import { openScratch } from "../../base/scratch.ts";
import { sandboxOf } from "../../builder/sandboxes/index.ts";
import { blobPath } from "../../registry/blobs.ts";
import type { BuildInputs } from "../../registry/inputs.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import type { Store } from "../../registry/stores/store.ts";
import { Limits } from "../config/limits.ts";
import { registryTask } from "./inputs.ts";

const MANIFEST = makeManifest(makeElement(), []);

async function openStore(): Promise<{ store: Store; source: BuildInputs["driver"]["source"] }> {
  const store = await openFolderStore(await temporaryDirectory());
  const tree = await temporaryDirectory();
  await mkdir(join(tree, "src"));
  await writeFile(join(tree, "Kbuild"), "obj-m := bell.o\n");
  await writeFile(join(tree, "src", "bell.c"), "/* */\n");
  return { store, source: await putSource(store, tree) };
}

/** What gathering comes to, with the code of what keeps it from going on. */
async function gathered(store: Store, changes: KeptChanges, architecture: "x86_64" | "aarch64" = "x86_64") {
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  const http = new Http({ own: [] });
  onTestFinished(async () => {
    await http.close();
    await scratch.close();
  });
  const inputs = await putInputs(store, changes);
  return registryTask(
    store,
    { ...MANIFEST, inputs },
    {
      ...{ cache, scratch, http, architecture, sandbox: sandboxOf("bwrap"), limits: Limits.parse({}) },
      ...{ emulated: new Set(), progress: { say() {}, element() {} }, signal: new AbortController().signal },
    },
  );
}

test("an artifact of which no inputs are kept is named", async () => {
  const { store } = await openStore();

  await expect(registryTask(store, MANIFEST, {} as never)).rejects.toMatchObject({ code: "INPUTS_MISSING" });
});

test("modules of needed drivers that no machine has the memory for are not fetched", async () => {
  const { store, source } = await openStore();
  const big = await put(store, Buffer.alloc(1 << 20));
  const modules = Array.from({ length: 600 }, (_, at) => ({ name: `m${at}`, ...big }));
  const needed = [{ name: "other", version: "1", source, modules }];

  await expect(gathered(store, { driver: { source, needed } } as never)).rejects.toMatchObject({
    ...{ code: "INPUTS_MISSING", message: expect.stringContaining("no more than 512.0 MiB") },
  });
  // What a module has is what is said of it.
  const [first] = modules;
  const small = [{ ...needed[0], modules: [{ ...first, size: 10 }] }];
  await expect(gathered(store, { driver: { source, needed: small } } as never)).rejects.toMatchObject({
    code: "STORE_CORRUPT",
  });
});

describe("archives", () => {
  const KBUILD: Block = { name: "Kbuild", content: "obj-m := bell.o\n" };
  test.each<[string, Block, string]>([
    ["a path with ..", { name: "../evil", content: "x" }, "DRIVER_INVALID"],
    ["an absolute path", { name: "/etc/evil", content: "x" }, "DRIVER_INVALID"],
    ["a link that leads out", { name: "out", type: "2", linkName: "../../etc/shadow" }, "DRIVER_INVALID"],
    [
      "a hard link that leads out",
      { name: "out", type: "1", linkName: "../../etc/shadow" },
      "DRIVER_INVALID",
    ],
    ["a device", { name: "null", type: "3" }, "DRIVER_INVALID"],
    ["a pipe", { name: "pipe", type: "6" }, "DRIVER_INVALID"],
    ["a setuid file", { name: "su", mode: 0o4755, content: "x" }, "DRIVER_INVALID"],
    ["another tree than it says", { name: "more", content: "x" }, "STORE_CORRUPT"],
  ])("D33: a source archive with %s is refused", async (_, block, code) => {
    const { store, source } = await openStore();
    const bytes = Buffer.concat([tarBlocks(KBUILD, block), Buffer.alloc(1024)]);
    const archive = await put(store, bytes);

    await expect(gathered(store, { driver: { source: { ...source, archive } } })).rejects.toMatchObject({
      code,
    });
  });

  test("D37: a source archive whose bytes were changed is refused", async () => {
    const { store, source } = await openStore();
    const path = blobPath(source.archive.digest);
    const bytes = await store.read(path);
    await store.write(path, Buffer.from(bytes ?? "").with(600, 0x21));

    await expect(gathered(store, { driver: { source } })).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });

  test.each(["replaced by another one", "cut short"])(
    "D37: a package that was %s is refused",
    async (how) => {
      const { store, source } = await openStore();
      const make = await putPackage(store, "tool");
      const other =
        how === "cut short" ? "package" : "another package of just the same length".slice(0, make.size);
      await store.write(blobPath(`sha256:${make.sha256}`), other);
      const changes = { driver: { source }, toolchain: { packages: [make] } };
      const inputs = gathered(store, changes);

      await expect(inputs).rejects.toMatchObject({ code: "DIGEST_MISMATCH" });
    },
  );

  test("a package that the registry does not have is named", async () => {
    const { store, source } = await openStore();
    const gone = { ...(await putPackage(store, "make")), sha256: "0".repeat(64) };

    await expect(
      gathered(store, { driver: { source }, toolchain: { packages: [gone] } }),
    ).rejects.toMatchObject({
      code: "NOT_FETCHABLE",
      message: expect.stringContaining("make 1.0"),
    });
  });

  test("a source that may not be passed on is named, with who has it", async () => {
    const { store, source } = await openStore();

    await expect(
      gathered(store, { driver: { source: { ...source, place: "its builder" } } }),
    ).rejects.toMatchObject({ code: "INPUTS_MISSING", message: expect.stringContaining("its builder") });
  });
});

describe("documents", () => {
  test.each<[string, KeptChanges["inputs"]]>([
    ["an unknown schema", { schema: "kmodfarm.inputs/9" as never }],
    ["a patch of the kernel's name", { element: { kversion: "../6.1" } as never }],
  ])("with %s are refused", async (_, inputs) => {
    const { store, source } = await openStore();

    await expect(gathered(store, { driver: { source }, inputs: inputs ?? {} })).rejects.toMatchObject({
      code: "STORE_CORRUPT",
    });
  });

  test.each(["../evil.sh", "/etc/evil.sh", "build", "a/b.sh"])(
    "a script of the name %s is refused",
    async (name) => {
      const { store, source } = await openStore();
      const scripts = await put(store, canonicalJson([[name, "exit 0\n"]]));

      await expect(gathered(store, { driver: { source }, inputs: { scripts } })).rejects.toMatchObject({
        code: "STORE_CORRUPT",
      });
    },
  );

  test("other variables than this version sets are another recipe", async () => {
    const { store, source } = await openStore();

    await expect(
      gathered(store, { driver: { source }, inputs: { environment: { SOURCE_DATE_EPOCH: "1" } } }),
    ).rejects.toMatchObject({ code: "RECIPE_DIFFERS" });
  });

  test("programs of an architecture that this machine does not run are named before anything is fetched", async () => {
    const { store, source } = await openStore();

    await expect(gathered(store, { driver: { source } }, "aarch64")).rejects.toMatchObject({
      code: "ARCHITECTURE_UNAVAILABLE",
    });
  });

  test("D37: a document under another digest is refused", async () => {
    const { store } = await openStore();
    const digest: Digest = sha256("something");
    await store.write(blobPath(digest), "something else");

    await expect(
      registryTask(store, { ...MANIFEST, inputs: { digest, size: 9 } }, { scratch: {} } as never),
    ).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });
});
