/** What a registry keeps of a made-up artifact's inputs; a test says what is otherwise. */
import { canonicalJson, type Digest, sha256, toDocument } from "../../src/base/json.ts";
import { FIXED_ENVIRONMENT } from "../../src/builder/build.ts";
import { archiveOfSource } from "../../src/builder/source-archive.ts";
import { readSourceTree } from "../../src/builder/source-tree.ts";
import { USUAL } from "../../src/builder/surroundings.ts";
import { putBlob } from "../../src/registry/blobs.ts";
import type { Part } from "../../src/registry/documents.ts";
import type { BuildInputs, InputPackage, ToolchainInputs } from "../../src/registry/inputs.ts";
import type { Store } from "../../src/registry/stores/store.ts";
import { makeElement } from "./elements.ts";

export interface KeptChanges {
  readonly inputs?: Partial<BuildInputs>;
  readonly driver?: Partial<BuildInputs["driver"]>;
  readonly toolchain?: Partial<ToolchainInputs>;
}

/** Puts the bytes under their digest. */
export async function put(store: Store, bytes: Buffer | string): Promise<Part> {
  return { digest: await putBlob(store, bytes), size: Buffer.byteLength(bytes) };
}

/** A package with these bytes, as documents name it. */
export async function putPackage(
  store: Store,
  name: string,
  bytes = `package ${name}`,
): Promise<InputPackage> {
  const { digest, size } = await put(store, bytes);
  return { name, version: "1.0", architecture: "amd64", sha256: digest.slice(7), size };
}

/** The source in a directory, as it is archived. */
export async function putSource(store: Store, directory: string): Promise<BuildInputs["driver"]["source"]> {
  const tree = await readSourceTree(directory);
  const pieces: Buffer[] = [];
  for await (const piece of archiveOfSource(tree)) pieces.push(piece);
  return { tree: tree.digest, archive: await put(store, Buffer.concat(pieces)) };
}

/** Documents of inputs, with all that they name in the store. */
export async function putInputs(store: Store, changes: KeptChanges = {}): Promise<Part> {
  const { packages: _, kernelurls: __, recipe: ___, ...element } = makeElement();
  const toolchain: ToolchainInputs = {
    schema: "kmodfarm.toolchain/1",
    ...{ release: "debian12", format: "deb", builder: "x86_64", says: { x86_64: "gcc 12" } },
    compiler: { family: "gcc", version: "12", command: "gcc-12", packages: ["gcc-12"] },
    packages: [await putPackage(store, "gcc-12"), await putPackage(store, "make")],
    ...changes.toolchain,
  };
  const scripts = canonicalJson([["build.sh", "exit 1\n"]]);
  const source = { tree: sha256("tree") as Digest, archive: await put(store, "a tar archive") };
  const inputs: BuildInputs = {
    schema: "kmodfarm.inputs/1",
    element,
    driver: {
      ...{ name: element.driver, version: element.driverversion, modules: [], needed: [], source },
      build: { kind: "kbuild", packages: [], files: [] },
      ...changes.driver,
    },
    builder: "x86_64",
    headers: [await putPackage(store, "linux-headers")],
    toolchain: await put(store, toDocument(toolchain)),
    scripts: await put(store, scripts),
    environment: { ...FIXED_ENVIRONMENT },
    surroundings: { ...USUAL },
    ...changes.inputs,
  };
  return put(store, toDocument(inputs));
}
