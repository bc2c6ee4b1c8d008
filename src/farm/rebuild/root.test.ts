/** A toolchain is made again of archived packages alone, and only if it becomes what it was. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { makeManifest } from "../../../test/support/artifacts.ts";
import { makeElement } from "../../../test/support/elements.ts";
import { type KeptChanges, putInputs, putSource } from "../../../test/support/kept-inputs.ts";
import { makeRpm } from "../../../test/support/rpms.ts";
import { sharedDirectory, temporaryDirectory } from "../../../test/support/temporary.ts";
import { Http } from "../../base/http.ts";
import { openScratch } from "../../base/scratch.ts";
import { sandboxOf } from "../../builder/sandboxes/index.ts";
import { hostArchitecture } from "../../kernel/architecture.ts";
import { putBlob } from "../../registry/blobs.ts";
import type { InputPackage, ToolchainInputs } from "../../registry/inputs.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import { Limits } from "../config/limits.ts";
import { registryTask } from "./inputs.ts";

const BUILDER = hostArchitecture(process.arch);
const SHARED = sharedDirectory();
const APPLETS = ["sh", "cat", "echo"];
let BYTES: Buffer;

/** One package with all that a stand-in for a compiler needs. */
beforeAll(async () => {
  makeRpm(SHARED, "gcc", {
    version: "1.0",
    release: "1.el9",
    architecture: BUILDER,
    files: {
      "usr/bin/busybox": await readFile("/bin/busybox"),
      "usr/bin/gcc": "#!/bin/sh\necho gcc 11 stand-in\n",
    },
    install: `mkdir -p $R/usr/bin $R/proc $R/tmp $R/etc; ln -s usr/bin $R/bin; chmod 755 $R/usr/bin/*; for a in ${APPLETS.join(" ")}; do ln -s busybox $R/usr/bin/$a; done`,
    list: ["/usr", "/bin", "/proc", "/tmp", "/etc", ...APPLETS.map((name) => `/usr/bin/${name}`)],
  });
  BYTES = await readFile(join(SHARED, `gcc-1.0-1.el9.${BUILDER}.rpm`));
});

async function remade(changes: Partial<InputPackage> = {}, toolchain: Partial<ToolchainInputs> = {}) {
  const store = await openFolderStore(await temporaryDirectory());
  const digest = await putBlob(store, BYTES);
  const gcc = {
    name: "gcc",
    version: "1.0-1.el9",
    architecture: BUILDER,
    sha256: digest.slice(7),
    size: BYTES.length,
  };
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  const http = new Http({ own: [] });
  onTestFinished(async () => {
    await http.close();
    await scratch.close();
  });
  const kept: KeptChanges = {
    driver: {
      source: await putSource(store, join(import.meta.dirname, "..", "..", "..", "examples", "driver")),
    },
    inputs: { builder: BUILDER },
    toolchain: {
      ...{ release: "almalinux9.4", format: "rpm", builder: BUILDER, says: { [BUILDER]: "gcc 11 stand-in" } },
      compiler: { family: "gcc", version: "11", command: "gcc", packages: ["gcc"] },
      packages: [{ ...gcc, ...changes }],
      ...toolchain,
    },
  };
  const manifest = { ...makeManifest(makeElement(), []), inputs: await putInputs(store, kept) };
  return registryTask(store, manifest, {
    ...{ cache, scratch, http, architecture: BUILDER, sandbox: sandboxOf("bwrap"), limits: Limits.parse({}) },
    ...{ emulated: new Set(), progress: { say() {}, element() {} }, signal: new AbortController().signal },
  });
}

test("a root of the archived packages is what it was, and a recipe follows from it", async () => {
  const { context, recipe } = await remade();
  const root = await context.toolchains.root({} as never);

  expect(root).toMatchObject({ packages: [{ name: "gcc", version: "1.0-1.el9" }], builder: BUILDER });
  expect(recipe.toolchain).toEqual([{ name: "gcc", version: "1.0-1.el9" }]);
  expect(await readFile(join(root.path, "usr/bin/gcc"), "utf8")).toContain("stand-in");
});

test("D37: a file that is another version of the right name is refused", async () => {
  await expect(remade({ version: "2.0-1.el9" })).rejects.toMatchObject({
    code: "TOOLCHAIN_INVALID",
    message: expect.stringContaining("its packages install as others than the registry lists"),
  });
});

test("D38: compilers that say something else of themselves are refused", async () => {
  await expect(remade({}, { says: { [BUILDER]: "gcc 12" } })).rejects.toMatchObject({
    code: "TOOLCHAIN_INVALID",
  });
});
