/**
 * Every check of a set of modules against one kernel: what can be read first, and then the kernel itself.
 */
import { FarmError } from "../../base/error.ts";
import type { LoadSettings } from "../../builder/load-settings.ts";
import type { CatalogKernel } from "../../catalog/catalog.ts";
import { type CheckSubject, modulesOf } from "../../check/checks/check.ts";
import { verdictsOn } from "../../check/checks/index.ts";
import { type LoadCode, loadReason } from "../../check/checks/load.ts";
import type { BootContext } from "../../check/guest/boot-image.ts";
import { loadModules } from "../../check/load.ts";
import type { OpenedModule } from "../../check/opened-modules.ts";
import { signatureAnswer } from "../../check/signature.ts";
import { hasReason, textsOf, type Verdict, verdict } from "../../check/verdict.ts";
import { type Answer, wouldLoad } from "../../check/would-load.ts";
import { factsOfRecord, fetchKernelRecord, type KernelRecord } from "../../inputs/kernel-record.ts";
import { type ImageSays, imageFacts, type KernelFacts } from "../../kernel/facts.ts";
import type { Package } from "../../kernel/kernel.ts";
import { unameWords } from "../../kernel/node.ts";
import { gatherSubject, type JudgeRequest } from "./judge.ts";

export interface CheckRequest
  extends Pick<
    JudgeRequest,
    "files" | "signers" | "moduleVersion" | "needed" | "origin" | "stated" | "loaded"
  > {
  readonly kernel: CatalogKernel;
  /** Packages with a userland for the guest. */
  readonly guest: readonly Package[];
  /** What the modules need to be tried out. */
  readonly settings?: LoadSettings | undefined;
  /** Whether the kernel itself is asked, in a virtual machine. */
  readonly isLoaded: boolean;
}

export interface CheckReport {
  readonly verdicts: readonly Verdict[];
  /** By the rules that the kernel loads by; undefined where the files are not even modules. */
  readonly answer?: Answer;
  readonly record: KernelRecord;
  /** What was learned of the kernel on the way. */
  readonly facts: readonly KernelFacts[];
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
  const { kernel, guest: _, settings: __, isLoaded, ...asked } = request;
  const record = await fetchKernelRecord(kernel, context.inputs, signal);
  const learned = [factsOfRecord(kernel, record)];
  const learn = (said: ImageSays) => learned.push(imageFacts(kernel, said));
  const subject = await gatherSubject(
    {
      ...asked,
      kernel: record,
      packages: kernel.packages,
      learn,
      saysAlone: unameWords(kernel) === undefined,
    },
    context,
    signal,
  );
  const facts = learned.filter((one) => one !== undefined);
  const modules = modulesOf(subject);
  if (modules === undefined)
    return { verdicts: verdictsOn(subject), record, facts, modules: subject.files.flatMap(openedOf) };
  const { own, gap } = subject.keys ?? { own: [] };
  const read = modules.map(({ module }) => module);
  const answer = wouldLoad(read, record, signatureAnswer(modules, { own, gap }, record), subject.needed);
  if (!isLoaded) return { verdicts: verdictsOn(subject), answer, record, facts, modules };
  const { verdict: loaded, log } = await loadVerdict(request, modules, context, signal);
  return {
    verdicts: verdictsOn({ ...subject, loaded }),
    answer,
    record,
    facts,
    modules,
    ...(log === undefined ? {} : { log }),
  };
}

function openedOf({ opened }: CheckSubject["files"][number]): OpenedModule[] {
  return opened === undefined ? [] : [opened];
}

async function loadVerdict(
  { kernel, guest, settings, needed }: CheckRequest,
  modules: readonly OpenedModule[],
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<{ readonly verdict: Verdict; readonly log?: string }> {
  if (modules.some(({ module }) => module.architecture !== kernel.architecture))
    return {
      verdict: unloaded("fail", "architecture", "modules of another architecture cannot be load-tested"),
    };
  try {
    const set = modules.map(({ module, bytes, packed }) => ({ name: module.name, bytes, packed }));
    const [report] = await loadModules(
      { kernel, guest, sets: [{ driver: "checked", modules: set, settings, needs: needed ?? [] }] },
      context,
      signal,
    );
    return report ?? { verdict: unloaded("unknown", "silent", "nothing was loaded") };
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "NOT_FETCHABLE") throw thrown;
    return { verdict: unloaded("unknown", "noImage", thrown.message) };
  }
}

/** What the kernel did outranks what its rules say it would do; a module may be taken and then do harm. */
export function confirmed(answer: Answer, load: Verdict | undefined): Answer {
  if (load?.verdict === "pass")
    return { answer: "loads", reasons: ["that kernel loaded it", ...answer.reasons] };
  // A driver's own script says nothing of what the kernel takes.
  if (load?.verdict !== "fail" || hasReason(load, "script", "scriptStop")) return answer;
  return { answer: "refuses", reasons: [...textsOf(load), ...answer.reasons] };
}

function unloaded(word: "fail" | "unknown", code: LoadCode, text: string): Verdict {
  return verdict("load", word, loadReason(code, text));
}
