/**
 * The one place that judges modules: what the checks look at is gathered here, and they are asked. Whoever wants to know
 * of an artifact (the run, import, check, reuse, promote) asks here, and gets the same answer.
 */
import { defined } from "../base/defined.ts";
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { type Check, type CheckSubject, modulesOf } from "../check/checks/check.ts";
import { CHECKS, verdictsOn } from "../check/checks/index.ts";
import { type BootContext, readBootWords } from "../check/guest/boot-image.ts";
import { type ModuleFile, openModuleFiles } from "../check/opened-modules.ts";
import { type KernelKeys, readSigner, type Signer } from "../check/signature.ts";
import type { Verdict } from "../check/verdict.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import type { ImageSays } from "../kernel/facts.ts";
import type { Package } from "../kernel/kernel.ts";

/** What is known of modules before their files are opened. */
export interface JudgeRequest
  extends Pick<CheckSubject, "kernel" | "moduleVersion" | "origin" | "stated" | "loaded" | "rebuilt"> {
  /** Where the keys of the kernel are. */
  readonly packages: { readonly image: readonly Package[] };
  /** As nodes get them. */
  readonly files: readonly ModuleFile[];
  /** Whose signatures count beside those of the kernel's own keys. */
  readonly signers: readonly Signer[];
  /** Modules of other drivers that are in the kernel before these. */
  readonly needed?: readonly { readonly name: string; readonly bytes: Buffer }[];
  /** Takes what the boot image says, where it is read. */
  readonly learn?: (said: ImageSays) => void;
}

/** Judges modules by all that is known of them. @throws FarmError for what this machine or a mirror does wrong */
export async function judgeModules(
  request: JudgeRequest,
  context: BootContext,
  signal?: AbortSignal,
  checks: readonly Check[] = CHECKS,
): Promise<Verdict[]> {
  return verdictsOn(await gatherSubject(request, context, signal), checks);
}

/** Opens files, and finds out whose signatures count for them. */
export async function gatherSubject(
  request: JudgeRequest,
  context: BootContext,
  signal?: AbortSignal,
): Promise<CheckSubject> {
  const { packages, files, signers, needed = [], learn, ...known } = request;
  const opened = await openModuleFiles(files);
  const modules = modulesOf({ files: opened }) ?? [];
  const isSigned = modules.some(({ module }) => module.signature?.kind === "pkcs7");
  return {
    ...known,
    files: opened,
    keys: { signers, ...(isSigned ? await kernelKeys(packages, learn, context, signal) : { own: [] }) },
    needed: needed.map(({ name, bytes }) => readKernelModule(bytes, `${name}.ko`)),
  };
}

/** They are in the boot image. Where they cannot be had, nothing is known of what is signed by others. */
async function kernelKeys(
  { image: [image] }: JudgeRequest["packages"],
  learn: JudgeRequest["learn"],
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<KernelKeys> {
  if (image === undefined)
    return { own: [], gap: "no index lists the kernel's boot image, which contains its keys" };
  const { name } = image;
  try {
    const { version, certificates } = await readBootWords(image, context, signal);
    learn?.(defined({ version, certificates: certificates.map((der) => sha256(der)) }));
    return { own: certificates.map((der, index) => readSigner(der, `certificate ${index + 1} of ${name}`)) };
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || !UNREADABLE.has(thrown.code)) throw thrown;
    return { own: [], gap: `the kernel's own keys cannot be read: ${thrown.message}` };
  }
}

const UNREADABLE: ReadonlySet<string> = new Set(["MODULE_MALFORMED", "NOT_FETCHABLE", "TOOL_MISSING"]);
