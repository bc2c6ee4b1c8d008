/** `kmodfarm modules verify`: whether modules belong to sets, by the roots of these. */
import { dirname, join } from "node:path";
import { unpackWhole } from "../../../base/decompress.ts";
import { FarmError, toFarmError } from "../../../base/error.ts";
import { FILE_LIMIT_BYTES } from "../../../farm/audit/local-file.ts";
import { openModule } from "../../../formats/compressed-module.ts";
import { readModuleHashes } from "../../../formats/module-hashes-root.ts";
import { cutSignature, MERKLE, readRecord } from "../../../formats/module-signature.ts";
import { unpackKernel } from "../../../formats/vmlinuz.ts";
import {
  judgeProof,
  LINUX_MERKLE,
  type LinuxRoot,
  PROOF_VERDICTS,
  type ProofVerdict,
  rootFromText,
  rootOfKernel,
  rootText,
} from "../../../provenance/trees/linux-merkle.ts";
import { rootOfEdition } from "../../../registry/sets.ts";
import { readSignedState } from "../../../registry/signed-state.ts";
import type { OptionsOf } from "../../command.ts";
import { readModuleFile } from "../../module-files.ts";
import { readNamedFile } from "../../named-file.ts";
import { print, printJson, say, table } from "../../output.ts";
import { readTrustedRoot, withRegistry } from "../../registries.ts";
import type { VERIFY_MODULES } from "./command.ts";
import { sidecarName } from "./sidecar-name.ts";

/** A root, and who says so. */
interface NamedRoot {
  readonly root: LinuxRoot;
  readonly of: string;
}

/** `damaged` is a file that is no module in any of its forms: the kernel would never come to ask for a proof. */
type Word = ProofVerdict | "damaged";

interface Judged {
  readonly file: string;
  readonly verdict: Word;
  readonly fact: string;
  /** Whose root authenticates it. */
  readonly by?: NamedRoot;
}

const FACTS: Readonly<Record<ProofVerdict, string>> = {
  unsigned: "it has no proof, and none is beside it",
  badMessage: "what is appended to it is malformed",
  wrongType: "what is appended to it is no Merkle proof",
  wrongLength: "its proof is of a tree with another number of levels",
  otherRoot: "its proof does not lead to the root: it, the proof or the set is another one",
  signedTwice: "below its proof it has another signature or proof",
  authenticated: "",
};

export async function verify(
  files: readonly string[],
  options: OptionsOf<typeof VERIFY_MODULES>,
): Promise<number> {
  const roots = await rootsOf(options);
  const judged: Judged[] = [];
  for (const file of files) judged.push(await judgeFile(file, roots));
  if (options.json) await printJson(toJson(judged, roots));
  else await print(table(["FILE", "VERDICT", "WHY"], judged.map(toRow)));
  return judged.every(({ verdict }) => verdict === "authenticated") ? 0 : NOT_AUTHENTICATED;
}

/** That of broken links and wrong digests. */
const NOT_AUTHENTICATED = 4;

async function rootsOf(options: OptionsOf<typeof VERIFY_MODULES>): Promise<NamedRoot[]> {
  const { root = [], kernel = [], registry = [], trust } = options;
  if (root.length + kernel.length + registry.length === 0)
    throw new FarmError("USAGE", {
      detail: "a proof is verified by a root, and none was given",
      hint: "Give --root HEX/LEVELS, as `kmodfarm modules root --format hex` prints it, --kernel with a boot image, or --registry.",
    });
  const editions = await Promise.all(registry.map((place) => editionRoots(place, trust)));
  return [...root.map(givenRoot), ...(await Promise.all(kernel.map(kernelRoot))), ...editions.flat()];
}

/** Every edition's: a proof is by the one that brought its module. */
function editionRoots(place: string, trust: string | undefined): Promise<NamedRoot[]> {
  return withRegistry(place, async (registry) => {
    const trusted = trust === undefined ? undefined : await readTrustedRoot(trust);
    const { state, remarks } = await readSignedState(registry, trusted, new Date());
    for (const remark of remarks) say(remark.replace("--root", "--trust"));
    return state.editions.map((edition) => ({
      root: rootOfEdition(edition),
      of: `edition ${edition.edition} of ${edition.driver} ${edition.version} (${place})`,
    }));
  });
}

function givenRoot(text: string): NamedRoot {
  const root = rootFromText(text);
  if (root !== undefined) return { root, of: text };
  throw new FarmError("USAGE", {
    detail: `${JSON.stringify(text)} is not a root`,
    hint: "A root is 64 lower-case hexadecimal digits, a slash, and the number of levels: `kmodfarm modules root --format hex`.",
  });
}

/** @throws FarmError FILE_UNREADABLE, MODULE_MALFORMED */
async function kernelRoot(file: string): Promise<NamedRoot> {
  const image = await readNamedFile(file, FILE_LIMIT_BYTES);
  const found = readModuleHashes(await unpackKernel(image, file, unpackWhole), file);
  const root = rootOfKernel(found);
  if (root !== undefined) return { root, of: file };
  throw new FarmError("FILE_UNREADABLE", {
    about: file,
    detail:
      found.kind === "none"
        ? "this kernel holds no root of its modules: it was built without CONFIG_MODULE_HASHES"
        : "the kernel in it shows no sections, so whether it holds a root is unknown",
    hint:
      found.kind === "none"
        ? "Give the root of the set itself: --root HEX/LEVELS."
        : "Give the kernel's vmlinux, or the root itself: --root HEX/LEVELS.",
  });
}

async function judgeFile(file: string, roots: readonly NamedRoot[]): Promise<Judged> {
  try {
    return judgeBytes(file, await withSidecar(file), roots);
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "MODULE_MALFORMED") throw error;
    return { file, verdict: "damaged", fact: error.factAbout(file) };
  }
}

/** A proof that is appended counts; one in a file beside the module is of the module without its signature. */
async function withSidecar(file: string): Promise<Buffer> {
  const module = await openModule(await readModuleFile(file), file, unpackWhole);
  const record = readRecord(module);
  if (record !== "unsigned" && (record === "cut" || record.type === MERKLE)) return module;
  const sidecar = await readSidecar(join(dirname(file), sidecarName(file)));
  return sidecar === undefined ? module : Buffer.concat([cutSignature(module, file).content, sidecar]);
}

const SIDECAR_LIMIT_BYTES = 4096;

async function readSidecar(path: string): Promise<Buffer | undefined> {
  try {
    return await readNamedFile(path, SIDECAR_LIMIT_BYTES);
  } catch (thrown) {
    const { cause } = toFarmError(thrown);
    if ((cause as NodeJS.ErrnoException | undefined)?.code === "ENOENT") return undefined;
    throw thrown;
  }
}

/** Whichever root fits; if none does, what the kernel would find out last. */
function judgeBytes(file: string, bytes: Buffer, roots: readonly NamedRoot[]): Judged {
  if (roots.length === 0) return { file, verdict: "otherRoot", fact: "the registry has no set yet" };
  const verdicts = roots.map((by) => ({ by, verdict: judgeProof(bytes, by.root) }));
  const best = verdicts.reduce((a, b) =>
    PROOF_VERDICTS.indexOf(b.verdict) > PROOF_VERDICTS.indexOf(a.verdict) ? b : a,
  );
  const { verdict, by } = best;
  if (verdict !== "authenticated") return { file, verdict, fact: FACTS[verdict] };
  return { file, verdict, fact: `by the root of ${by.of}`, by };
}

function toRow({ file, verdict, fact }: Judged): string[] {
  return [file, verdict, fact];
}

function toJson(judged: readonly Judged[], roots: readonly NamedRoot[]) {
  return {
    schema: "kmodfarm.proofs/1" as const,
    format: LINUX_MERKLE,
    roots: roots.map(({ root, of }) => ({ root: rootText(root), of })),
    files: judged.map(({ by, ...one }) => ({ ...one, ...(by === undefined ? {} : { by: by.of }) })),
  };
}
