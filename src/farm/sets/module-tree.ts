/**
 * The tree over all modules of a kernel, from a directory that holds them or from the document that was made of it.
 */

import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { parseDocument } from "../../base/json.ts";
import { ownScript } from "../../base/own-files.ts";
import { inThread } from "../../base/thread.ts";
import {
  asLinuxHash,
  growTree,
  LINUX_MERKLE,
  type LinuxHash,
  type LinuxTree,
} from "../../provenance/trees/linux-merkle.ts";
import { FORMS, type Form } from "./forms.ts";
import { type HashedFiles, type HashWork, hashFiles, type PlacedFile } from "./hash-thread.ts";
import { modulesInOrder, readOrder } from "./module-order.ts";

/** The modules of a kernel in their order. */
export interface ModuleSet {
  readonly form: Form;
  /** `kernel/drivers/net/dummy.ko`, however it is compressed. */
  readonly names: readonly string[];
  readonly leaves: readonly LinuxHash[];
  readonly tree: LinuxTree;
}

const Hash = z.string().regex(/^[0-9a-f]{64}$/);
const MOST_MODULES = 100_000;
const ModuleSetDocument = z.object({
  schema: z.literal("kmodfarm.modules/1"),
  format: z.literal(LINUX_MERKLE),
  form: z.enum(FORMS),
  count: z.int(),
  levels: z.int(),
  root: Hash,
  modules: z.array(z.object({ name: z.string().max(4096), leaf: Hash })).max(MOST_MODULES),
});
type ModuleSetDocument = z.infer<typeof ModuleSetDocument>;

export function setDocument({
  form,
  names,
  leaves,
  tree: { root },
}: ModuleSet): Omit<ModuleSetDocument, "schema"> {
  return {
    format: LINUX_MERKLE,
    form,
    count: names.length,
    levels: root.levels,
    root: hexOf(root.hash),
    modules: names.map((name, position) => ({ name, leaf: hexOf(leaves[position] as LinuxHash) })),
  };
}

/** @throws FarmError DOCUMENT_INVALID, also if its root is not that of its leaves */
export function readSetDocument(text: string, what: string): ModuleSet {
  const { form, modules, ...said } = parseDocument(ModuleSetDocument, text, what);
  const leaves = modules.map(({ leaf }) => asLinuxHash(Buffer.from(leaf, "hex")));
  const tree = growTree(leaves);
  const { levels, hash } = tree.root;
  if (said.count !== modules.length || said.levels !== levels || said.root !== hexOf(hash))
    throw new FarmError("DOCUMENT_INVALID", { about: what, detail: "its root is not that of its modules" });
  return { form, names: modules.map(({ name }) => name), leaves, tree };
}

/** Below so many, threads cost more than they bring. */
const FEW = 200;
const MOST_THREADS = 8;

/**
 * Hashes every module of a tree.
 * @throws FarmError FILE_UNREADABLE, MODULE_MALFORMED; SOURCE_CHANGED for a tree that changed meanwhile; TOOL_MISSING
 */
export async function hashModules(given: string, form: Form): Promise<ModuleSet> {
  const directory = resolve(given);
  const { modules, order } = modulesInOrder(directory, form);
  const files = modules.map(({ file }, position) => ({ position, file }));
  const parts = await hashShares(directory, files);
  const fault = parts.find((part) => part.fault !== undefined)?.fault;
  if (fault !== undefined)
    throw new FarmError(fault.code, {
      about: `${directory}/${fault.file}`,
      detail: fault.fact,
      ...HINTS[fault.code],
    });
  if (readOrder(directory) !== order)
    throw new FarmError("SOURCE_CHANGED", {
      about: `${directory}/modules.order`,
      detail: "it changed while the modules were hashed",
      ...HINTS.SOURCE_CHANGED,
    });
  const leaves: LinuxHash[] = [];
  for (const { position, leaf } of parts.flatMap((part) => part.leaves)) leaves[position] = asLinuxHash(leaf);
  return { form, names: modules.map(({ name }) => name), leaves, tree: growTree(leaves) };
}

const HINTS = {
  SOURCE_CHANGED: { hint: "No root was made. Hash the tree again once nothing installs or builds there." },
  FILE_UNREADABLE: {},
  MODULE_MALFORMED: {},
} as const;

/** In turns, since the large ones lie together. */
async function hashShares(directory: string, files: readonly PlacedFile[]): Promise<HashedFiles[]> {
  const threads = files.length <= FEW ? 1 : Math.min(availableParallelism(), MOST_THREADS);
  if (threads === 1) return [await hashFiles({ directory, files })];
  return Promise.all(
    Array.from({ length: threads }, (_, share) => {
      const work: HashWork = { directory, files: files.filter((_one, index) => index % threads === share) };
      return inThread<HashedFiles>({ script: ownScript("farm/sets/hash-thread"), work });
    }),
  );
}

function hexOf(hash: LinuxHash): string {
  return Buffer.from(hash).toString("hex");
}
