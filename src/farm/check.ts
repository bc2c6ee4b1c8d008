/**
 * Every check of a set of modules against one kernel: what can be read first, and then the kernel itself.
 */

import { readFile } from "node:fs/promises";
import { unpackWhole } from "../base/decompress.ts";
import { FarmError } from "../base/error.ts";
import type { CatalogKernel } from "../catalog/catalog.ts";
import { type BootContext, fetchBootImage } from "../check/boot-image.ts";
import { checkEnvironment } from "../check/environment.ts";
import { checkFormat, type ModuleFile, type OpenedModule } from "../check/format.ts";
import { checkIdentity } from "../check/identity.ts";
import { loadModules } from "../check/load.ts";
import { type Answer, wouldLoad } from "../check/loads.ts";
import {
  checkSignatures,
  type KernelKeys,
  readSigner,
  type Signer,
  signatureAnswer,
} from "../check/signature.ts";
import { seenIn } from "../check/subject.ts";
import { checkSymbols } from "../check/symbols.ts";
import { type Verdict, verdict } from "../check/verdict.ts";
import { readVmlinuz } from "../formats/vmlinuz.ts";
import { fetchKernelRecord, type KernelRecord } from "../inputs/kernel-record.ts";
import type { Package } from "../kernel/kernel.ts";

export interface CheckRequest {
  readonly kernel: CatalogKernel;
  readonly files: readonly ModuleFile[];
  /** Packages with a userland for the guest. */
  readonly guest: readonly Package[];
  /** Whose signatures count beside those of the kernel's own keys. */
  readonly signers: readonly Signer[];
  /** What `modinfo -F version` must say, where that is known. */
  readonly moduleVersion?: string | undefined;
  /** Whether the kernel itself is asked, in a virtual machine. */
  readonly isLoaded: boolean;
}

export interface CheckReport {
  readonly verdicts: readonly Verdict[];
  /** By the rules that the kernel loads by; undefined where the files are not even modules. */
  readonly answer?: Answer;
  readonly record: KernelRecord;
  readonly modules: readonly OpenedModule[];
  /** What the guest's kernel said. */
  readonly log?: string;
}

/** @throws FarmError NOT_FETCHABLE without the kernel's headers, and what this machine or a mirror does wrong */
export async function checkModules(
  request: CheckRequest,
  context: BootContext,
  signal?: AbortSignal,
): Promise<CheckReport> {
  const { kernel, files, moduleVersion } = request;
  const record = await fetchKernelRecord(kernel, context.inputs, signal);
  const { modules, verdict: format } = await checkFormat(files);
  if (modules.length < files.length) return { verdicts: seenIn(modules, [format]), record, modules };
  const read = modules.map(({ module }) => module);
  const { verdict: signature, keys } = await judgeSignatures(request, modules, record, context, signal);
  const verdicts = [...seenIn(modules, [format, ...staticVerdicts(read, record, moduleVersion)]), signature];
  const answer = wouldLoad(read, record, signatureAnswer(modules, keys, record));
  if (!request.isLoaded) return { verdicts, answer, record, modules };
  const { verdict: load, log } = await loadVerdict(request, modules, context, signal);
  return {
    verdicts: [...verdicts, load],
    answer,
    record,
    modules,
    ...(log === undefined ? {} : { log }),
  };
}

/**
 * The checks that only read modules that were built for a kernel, and its record; and, of other drivers' modules that
 * they need, what these export.
 */
export function staticVerdicts(
  modules: readonly OpenedModule["module"][],
  record: KernelRecord,
  moduleVersion?: string,
  needed: readonly OpenedModule["module"][] = [],
): Verdict[] {
  const { symvers, architecture } = record;
  const isForeign = modules.some((one) => one.architecture !== architecture);
  return [
    checkIdentity(modules, record, { moduleVersion }),
    checkEnvironment(modules, record),
    isForeign
      ? verdict("symbols", "notApplicable", "symbols of another architecture are others")
      : symvers === undefined
        ? verdict("symbols", "unknown", "the kernel's headers hold no Module.symvers")
        : checkSymbols(modules, symvers, needed),
  ];
}

/** Whether modules are signed by a key that counts: one of some people's, or one of the kernel's own. */
export async function judgeSignatures(
  { kernel, signers }: Pick<CheckRequest, "kernel" | "signers">,
  modules: readonly OpenedModule[],
  record: Pick<KernelRecord, "config">,
  context: BootContext,
  signal?: AbortSignal,
): Promise<{ readonly verdict: Verdict; readonly keys: KernelKeys }> {
  const keys = await kernelKeys(modules, kernel, context, signal);
  const found = checkSignatures(modules, [...signers, ...keys.own], record, keys.gap);
  const [judged = found] = seenIn(modules, [found]);
  return { verdict: judged, keys };
}

/** They are in the boot image, which is fetched only if something is signed. */
async function kernelKeys(
  modules: readonly OpenedModule[],
  kernel: CatalogKernel,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<KernelKeys> {
  const [image] = kernel.packages.image;
  if (!modules.some(({ module }) => module.signature?.kind === "pkcs7")) return { own: [] };
  if (image === undefined)
    return { own: [], gap: "no index lists the kernel's boot image, which holds its keys" };
  try {
    const what = `the boot image of ${kernel.kversion}`;
    const { certificates } = await readVmlinuz(
      await readFile(await fetchBootImage(image, context, signal)),
      what,
      unpackWhole,
    );
    const own = certificates.map((der, index) =>
      readSigner(der, `certificate ${index + 1} of ${kernel.kversion}`),
    );
    return { own };
  } catch (thrown) {
    if (
      !(thrown instanceof FarmError) ||
      !["MODULE_MALFORMED", "NOT_FETCHABLE", "TOOL_MISSING"].includes(thrown.code)
    )
      throw thrown;
    return { own: [], gap: `the kernel's own keys cannot be read: ${thrown.message}` };
  }
}

async function loadVerdict(
  { kernel, guest }: CheckRequest,
  modules: readonly OpenedModule[],
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<{ readonly verdict: Verdict; readonly log?: string }> {
  if (modules.some(({ module }) => module.architecture !== kernel.architecture))
    return { verdict: verdict("load", "fail", "modules of another architecture cannot even be tried") };
  try {
    const set = modules.map(({ module, bytes, packed }) => ({ name: module.name, bytes, packed }));
    const [report] = await loadModules(
      { kernel, guest, sets: [{ driver: "checked", modules: set }] },
      context,
      signal,
    );
    return report ?? { verdict: verdict("load", "unknown", "nothing was loaded") };
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "NOT_FETCHABLE") throw thrown;
    return { verdict: verdict("load", "unknown", thrown.message) };
  }
}

/** What the kernel did outranks what its rules say it would do; a module may be taken and then do harm. */
export function confirmed(answer: Answer, load: Verdict | undefined): Answer {
  if (load?.verdict === "pass")
    return { answer: "loads", reasons: ["it was loaded into that kernel", ...answer.reasons] };
  // A driver's own script says nothing of what the kernel takes.
  const isScript = load?.reasons[0]?.includes("the driver's own script") ?? false;
  if (load?.verdict === "fail" && !isScript)
    return { answer: "refuses", reasons: [...load.reasons, ...answer.reasons] };
  return answer;
}
