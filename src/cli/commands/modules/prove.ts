/** `kmodfarm modules prove`: the proof of each module in a file beside it. */

import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { counted } from "../../../base/counted.ts";
import { unpackWhole } from "../../../base/decompress.ts";
import { FarmError } from "../../../base/error.ts";
import { fileModuleName } from "../../../check/checks/format.ts";
import type { Form } from "../../../farm/sets/forms.ts";
import { hashModules, type ModuleSet, readSetDocument } from "../../../farm/sets/module-tree.ts";
import { openModule } from "../../../formats/compressed-module.ts";
import { cutSignature } from "../../../formats/module-signature.ts";
import { leafOf, rootText, writeProof } from "../../../provenance/trees/linux-merkle.ts";
import { proofOf } from "../../../registry/sets.ts";
import { readSignedState } from "../../../registry/signed-state.ts";
import type { OptionsOf } from "../../command.ts";
import { readModuleFile } from "../../module-files.ts";
import { readNamedFile } from "../../named-file.ts";
import { say } from "../../output.ts";
import { readTrustedRoot, withRegistry } from "../../registries.ts";
import type { PROVE } from "./command.ts";
import { sidecarName } from "./sidecar-name.ts";
import { writeFiles } from "./signature.ts";

/** A hundred thousand modules with long names. */
const SET_LIMIT_BYTES = 64 * 1024 * 1024;

export async function prove(files: readonly string[], options: OptionsOf<typeof PROVE>): Promise<number> {
  const { set, registry, to } = options;
  if ((set === undefined) === (registry === undefined))
    throw new FarmError("USAGE", {
      detail: "a proof is made by one set",
      hint: "Give --set with a directory or what `kmodfarm modules root` printed, or --registry with an address.",
    });
  // Nothing is written before all of them are proven.
  const written = new Map<string, Map<string, Buffer>>();
  const proofs =
    registry === undefined
      ? await proofsBySet(files, set ?? "", options.form)
      : await proofsByRegistry(files, registry, options.trust);
  for (const [at, file] of files.entries()) {
    const directory = resolve(to ?? dirname(file));
    const its = written.get(directory) ?? new Map<string, Buffer>();
    written.set(directory, its);
    const name = sidecarName(file);
    if (its.has(name))
      throw new FarmError("USAGE", { detail: `two of the files would have the proof ${name}` });
    its.set(name, proofs.proofs[at] as Buffer);
  }
  for (const [directory, its] of written) await writeFiles(directory, its);
  const where = to === undefined ? "beside them" : `in ${join(to, "/")}`;
  say(`${counted(files.length, "proof")} ${where}, ${proofs.by}`);
  return 0;
}

interface Proofs {
  /** In the order of the files. */
  readonly proofs: readonly Buffer[];
  readonly by: string;
}

async function proofsBySet(files: readonly string[], place: string, form: Form): Promise<Proofs> {
  const isDirectory = (await stat(place).catch(() => undefined))?.isDirectory() ?? false;
  const set = isDirectory
    ? await hashModules(place, form)
    : readSetDocument((await readNamedFile(place, SET_LIMIT_BYTES)).toString("utf8"), place);
  const positions = Map.groupBy(set.names.keys(), (at) => fileModuleName(basename(set.names[at] ?? "")));
  const proofs = [];
  for (const file of files)
    proofs.push(await proofBySet(file, set, positions.get(fileModuleName(basename(file))) ?? [], place));
  return { proofs, by: `for the root ${rootText(set.tree.root)}` };
}

function proofsByRegistry(
  files: readonly string[],
  place: string,
  trust: string | undefined,
): Promise<Proofs> {
  return withRegistry(place, async (registry) => {
    const trusted = trust === undefined ? undefined : await readTrustedRoot(trust);
    const { state } = await readSignedState(registry, trusted, new Date());
    const proofs = [];
    for (const file of files) {
      const module = await openModule(await readModuleFile(file), file, unpackWhole);
      const proof = await proofOf(registry, state.editions, module, file);
      if (proof === undefined)
        throw new FarmError("MODULE_MALFORMED", {
          about: file,
          joint: " ",
          detail: `is in no set of ${place}`,
          hint: "Its sets have every module that was ever stable there, as nodes insert it: without a signature.",
        });
      proofs.push(proof);
    }
    return { proofs, by: `as ${place} has them` };
  });
}

/** A set has places of modules of one name; that a module is there its bytes say. */
async function proofBySet(
  file: string,
  { leaves, tree }: ModuleSet,
  positions: readonly number[],
  place: string,
): Promise<Buffer> {
  const { content } = cutSignature(await openModule(await readModuleFile(file), file, unpackWhole), file);
  const position = positions.find((at) =>
    Buffer.from(leafOf(at, content)).equals(leaves[at] ?? new Uint8Array()),
  );
  if (position !== undefined) return writeProof(tree.proof(position));
  throw new FarmError("MODULE_MALFORMED", {
    about: file,
    joint: " ",
    detail:
      positions.length === 0
        ? `is no module of ${place}: no module there has its name`
        : `is no module of ${place}: the one of its name there has other bytes`,
    hint: "Prove modules by the set that they were built with, in the same form (--form).",
  });
}
