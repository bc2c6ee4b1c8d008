/** Registries as nodes read them, made from the very blocks that a test wants, and machines that ask them. */
import { mkdir, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { machine } from "node:os";
import { join } from "node:path";
import { hexOf, sha256 } from "../../src/base/json.ts";
import { cutSignature } from "../../src/formats/module-signature.ts";
import { HEAD_PATH, writeHead } from "../../src/provenance/head.ts";
import { toTime } from "../../src/provenance/lines.ts";
import {
  keyOf,
  leafPrefix,
  type NodeAnswer,
  type NodeBlock,
  type Proven,
  readLeaf,
  type Sized,
} from "../../src/provenance/node-index.ts";
import { writeNote } from "../../src/provenance/signed-note.ts";
import {
  growTree,
  type LinuxTree,
  leafOf as leafOfModule,
  writeProof,
} from "../../src/provenance/trees/linux-merkle.ts";
import type { LogState } from "../../src/provenance/trees/rfc6962.ts";
import { writeTrust } from "../../src/provenance/trust.ts";
import { type WrittenIndex, writeIndex } from "../../src/provenance/write-node-index.ts";
import { putBlob } from "../../src/registry/blobs.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import type { Store } from "../../src/registry/stores/store.ts";
import { craftModule } from "./crafted-module.ts";
import { ORIGIN, signed, type TestKey } from "./notes.ts";
import { firstRoot, HEAD_KEY, putRoot, ROOT_KEY } from "./signed-store.ts";
import { temporaryDirectory } from "./temporary.ts";

/** What the crafted modules were built for. */
export const UNAME = {
  release: "6.1.0-56-amd64",
  version: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)",
  machine: machine(),
};

interface HeadChanges {
  readonly serial?: number;
  readonly generation?: number;
  readonly issued?: Date;
  readonly expires?: Date;
  readonly floor?: string;
  readonly keys?: readonly TestKey[];
  readonly log?: LogState;
  /** Drivers beside the one that is asked for. */
  readonly others?: readonly string[];
}

const DAY_MS = 24 * 3600_000;
export const daysFromNow = (days: number) => new Date(Date.now() + days * DAY_MS);

export interface NodeRegistry {
  readonly directory: string;
  readonly store: Store;
  /** Signs a head over an index of these blocks. */
  readonly publish: (blocks: readonly NodeBlock[], changes?: HeadChanges) => Promise<void>;
  /** The same over an index whose only leaf has this text. */
  readonly publishLeaf: (leaf: string) => Promise<void>;
  readonly put: (content: Buffer | string) => Promise<Sized>;
}

/** The index that every test asks. */
export const PLACE = { driver: "doorbell", machine: UNAME.machine };
const LEAF_PREFIX = leafPrefix("1", keyOf({ ...PLACE, release: UNAME.release }));

/** The text of the leaf of some blocks, all of the kernel's release. */
export function leafOf(blocks: readonly NodeBlock[]): string {
  return [...writeIndex(PLACE, blocks).files.values()][0] ?? "";
}

/** What a strict reader says against a leaf; undefined for one that is well. */
export function faultOfLeaf(leaf: Buffer | string): string | undefined {
  try {
    readLeaf(Buffer.from(leaf), PLACE, LEAF_PREFIX, "leaf");
    return undefined;
  } catch (thrown) {
    return String(thrown);
  }
}

export async function makeNodeRegistry(place?: string): Promise<NodeRegistry> {
  const directory = place ?? (await temporaryDirectory());
  const store = await openFolderStore(directory);
  await putRoot(store, firstRoot());
  let last = 0;
  const put = async (content: Buffer | string) => ({
    digest: await putBlob(store, content),
    size: Buffer.byteLength(content),
  });
  const publishHead = async (index: Pick<WrittenIndex, "widths" | "top">, changes: HeadChanges = {}) => {
    const { serial = last + 1, issued = daysFromNow(-1), expires = daysFromNow(6), floor } = changes;
    last = serial;
    const text = writeHead({
      ...{ origin: ORIGIN, serial, issued: toTime(issued), expires: toTime(expires) },
      generation: { number: changes.generation ?? serial, digest: sha256("a generation") },
      ...(changes.log === undefined ? {} : { log: changes.log }),
      indices: [
        ...(changes.others ?? []).map((driver) => ({ ...PLACE, driver, widths: "1", top: index.top })),
        { ...PLACE, widths: index.widths, top: index.top, ...(floor === undefined ? {} : { floor }) },
      ],
    });
    await store.write(HEAD_PATH, writeNote(signed(text, ORIGIN, changes.keys ?? [HEAD_KEY])));
  };
  return {
    ...{ directory, store, put },
    async publish(blocks, changes) {
      const index = writeIndex(PLACE, blocks);
      for (const text of index.files.values()) await put(text);
      await publishHead(index, changes);
    },
    async publishLeaf(leaf) {
      const { digest } = await put(leaf);
      const heading = `kmodfarm index v1\nnode ${PLACE.driver} ${PLACE.machine} -\n`;
      const top = await put(`${heading}${LEAF_PREFIX} ${hexOf(digest)}\n`);
      await publishHead({ widths: "1", top: top.digest });
    },
  };
}

/** Answers a request as a web server does that serves a registry's directory. */
export async function serveFile(
  { store }: Pick<NodeRegistry, "store">,
  { url = "" }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const bytes = await store.read(decodeURIComponent(url.slice(1)));
  response.writeHead(bytes === undefined ? 404 : 200);
  response.end(bytes);
}

export const rootNote = () => writeNote(signed(writeTrust(firstRoot()), ORIGIN, [ROOT_KEY]));

/** A module for the kernel of UNAME, and other bytes for each comment. */
export const moduleOf = (comment = "one", name = "doorbell") => craftModule(name, { comment });

/** Proofs of some modules' files, which are in the registry then, by the root of one edition with them and another module. */
export async function provenBy(
  { put }: Pick<NodeRegistry, "put">,
  files: Readonly<Record<string, Buffer>>,
  swap = false,
): Promise<Proven & { readonly tree: LinuxTree }> {
  const modules = Object.entries(files);
  const contents = [Buffer.from("of another kernel"), ...modules.map(([, content]) => content)];
  const tree = growTree(
    contents.map((content, at) => leafOfModule(at, cutSignature(content, "a module").content)),
  );
  const places = modules.map((_, at) => (swap ? modules.length - at : at + 1));
  const proofs = modules.map(async ([file], at) => ({
    file,
    ...(await put(writeProof(tree.proof(places[at] ?? 0)))),
  }));
  const set = { version: "0.1.1", edition: 3, count: contents.length, root: tree.root };
  return { tree, sets: [set], proofs: await Promise.all(proofs) };
}

interface GivenChanges {
  readonly proven?: Proven;
  readonly version?: string;
  readonly builtFor?: string;
  readonly manifest?: string;
  readonly provenance?: readonly string[];
  readonly modules?: readonly { readonly file: string; readonly content: Buffer }[];
  readonly signatures?: readonly {
    readonly file: string;
    readonly keyId: string;
    readonly content: Buffer | string;
  }[];
}

/** An answer that gives modules, which are in the registry then. */
export async function given(
  { put }: Pick<NodeRegistry, "put">,
  {
    version = "0.1.1",
    builtFor,
    manifest,
    provenance = [],
    modules,
    signatures = [],
    proven,
  }: GivenChanges = {},
): Promise<NodeAnswer> {
  const files = modules ?? [
    { file: "doorbell.ko", content: moduleOf("one", "doorbell") },
    { file: "tally.ko", content: moduleOf("one", "tally") },
  ];
  const artifact = {
    version,
    manifest: manifest === undefined ? { digest: sha256("a manifest"), size: 7 } : await put(manifest),
    provenance: await Promise.all(provenance.map(put)),
    modules: await Promise.all(files.map(async ({ file, content }) => ({ file, ...(await put(content)) }))),
    signatures: await Promise.all(
      signatures.map(async ({ file, keyId, content }) => ({ file, keyId, ...(await put(content)) })),
    ),
    ...(proven === undefined ? {} : { proven }),
  };
  return builtFor === undefined ? { kind: "exact", artifact } : { kind: "loadsOn", artifact, builtFor };
}

export function blockOf(answer: NodeAnswer, changes: Partial<NodeBlock> = {}): NodeBlock {
  return {
    ...{ release: UNAME.release, distribution: "debian12", packageVersion: "6.1.170-3" },
    ...{ uname: { kind: "uname", text: UNAME.version }, answer, denied: [], ...changes },
  };
}

/** A node's root directory: runs a kernel, trusts the registry, and has no state yet. */
export async function makeHost(root: string = rootNote(), uname = UNAME): Promise<string> {
  const host = await temporaryDirectory();
  for (const place of [
    "etc/kmodfarm",
    `lib/modules/${UNAME.release}`,
    "proc/sys/kernel",
    "sys/kernel/security",
    "boot",
  ])
    await mkdir(join(host, place), { recursive: true });
  await writeFile(join(host, "proc/sys/kernel/osrelease"), `${uname.release}\n`);
  await writeFile(join(host, "proc/sys/kernel/version"), `${uname.version}\n`);
  await writeFile(join(host, "etc/kmodfarm/root"), root);
  return host;
}
