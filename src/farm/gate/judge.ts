/**
 * The one place that judges modules: what the checks look at is gathered here, and they are asked. Whoever wants to know
 * of an artifact (the run, import, check, reuse, promote) asks here, and gets the same answer.
 */
import { defined } from "../../base/defined.ts";
import { FarmError } from "../../base/error.ts";
import { sha256 } from "../../base/json.ts";
import { type Check, type CheckSubject, modulesOf, type Origin } from "../../check/checks/check.ts";
import { CHECKS, verdictsOn } from "../../check/checks/index.ts";
import { unvouchedPackages } from "../../check/checks/provenance.ts";
import { type BootContext, readBootWords } from "../../check/guest/boot-image.ts";
import { type ModuleFile, openModuleFiles } from "../../check/opened-modules.ts";
import { type KernelKeys, readSigner, type Signer } from "../../check/signature.ts";
import type { Verdict } from "../../check/verdict.ts";
import { readKernelModule } from "../../formats/kernel-module.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import { type PackageSignature, refused } from "../../inputs/package-signature.ts";
import type { ImageSays, SignedFact } from "../../kernel/facts.ts";
import type { Package } from "../../kernel/kernel.ts";

/** What is known of modules before their files are opened. */
export interface JudgeRequest
  extends Pick<CheckSubject, "kernel" | "moduleVersion" | "origin" | "stated" | "loaded" | "rebuilds"> {
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
  /** Whether only its boot image tells the kernel from others of its release: nodes find their modules by it. */
  readonly saysAlone?: boolean;
  /** Takes who signed packages, as far as nobody else vouches for them. */
  readonly learnSigned?: (signed: readonly SignedFact[]) => void;
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
  const { packages, files, signers, needed = [], learn, learnSigned, saysAlone, origin, ...known } = request;
  const opened = await openModuleFiles(files);
  const modules = modulesOf({ files: opened }) ?? [];
  const isSigned = modules.some(({ module }) => module.signature !== undefined);
  const isRead = isSigned || (learn !== undefined && saysAlone === true);
  const keys = isRead ? await kernelKeys(packages, learn, context, signal) : NO_KEYS;
  const asked = origin && (await withSignatures(origin, context.inputs, signal));
  if (asked?.kind === "built") learnSigned?.(signedFacts(asked));
  return {
    ...known,
    ...(asked === undefined ? {} : { origin: asked }),
    files: opened,
    keys: { signers, ...(isSigned ? keys : NO_KEYS) },
    needed: needed.map(({ name, bytes }) => readKernelModule(bytes, `${name}.ko`)),
  };
}

/** Of what nobody signed no key is asked. */
const NO_KEYS: KernelKeys = { own: [] };

/**
 * Adds what packages' own signatures are worth, as far as nobody else vouches for them; what was read before is remembered.
 * The first that proves nothing ends it: no other one would help, and each costs a package.
 */
export async function withSignatures(
  origin: Origin,
  inputs: Pick<Inputs, "signatureOf">,
  signal?: AbortSignal,
): Promise<Origin> {
  if (origin.kind !== "built" || (origin.signers ?? []).length === 0) return origin;
  const signatures = new Map<string, PackageSignature>();
  for (const one of unvouchedPackages(origin)) {
    const found = await inputs.signatureOf(one, signal).catch((thrown: unknown) => {
      if (!(thrown instanceof FarmError) || !NOT_TO_BE_READ.has(thrown.code)) throw thrown;
      return refused("notRead", thrown.message);
    });
    signatures.set(one.sha256 ?? "", found);
    if (found.kind === "refused") break;
  }
  return { ...origin, signatures };
}

/** What of that is good, whether or not its keys count. */
function signedFacts({ signatures = new Map() }: Extract<Origin, { kind: "built" }>): SignedFact[] {
  return [...signatures].flatMap(([sha256, one]) => {
    if (one.kind === "refused") return [];
    const { name, version, key, header, payload } = one;
    return [{ name, version, sha256, key, header, payload }];
  });
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
    const { version, certificates, root } = await readBootWords(image, context, signal);
    learn?.(defined({ version, certificates: certificates.map((der) => sha256(der)) }));
    return {
      own: certificates.map((der, index) => readSigner(der, `certificate ${index + 1} of ${name}`)),
      root,
    };
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || !UNREADABLE.has(thrown.code)) throw thrown;
    return { own: [], gap: `the kernel's own keys cannot be read: ${thrown.message}` };
  }
}

const UNREADABLE: ReadonlySet<string> = new Set(["MODULE_MALFORMED", "NOT_FETCHABLE", "TOOL_MISSING"]);
/** Of a package itself. */
const NOT_TO_BE_READ: ReadonlySet<string> = new Set([...UNREADABLE, "PACKAGE_MALFORMED", "UNVERIFIED"]);
