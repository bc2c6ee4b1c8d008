/**
 * What a guest is asked to do, and with that all that it may say, in order: what comes next depends on what came before.
 * The guest's script follows it, and a report is compared with it line by line.
 */

const VERBS = ["inserted", "smoke", "removed", "reinserted", "reremoved"] as const;
export type Verb = (typeof VERBS)[number];

export function isVerb(word: string): word is Verb {
  return (VERBS as readonly string[]).includes(word);
}

/** Something done with one module, or by the driver's own script. */
export interface Act {
  readonly verb: Verb;
  readonly module: string;
}

export interface SetPlan {
  /** Names, in the order of insertion. */
  readonly modules: readonly string[];
  readonly hasSmoke: boolean;
}

export interface GuestPlan {
  /** Names of live patches, before all else. */
  readonly livePatches?: readonly string[];
  /** In-tree modules that `modprobe` is asked for, before all sets. */
  readonly tree: readonly string[];
  readonly sets: readonly SetPlan[];
  /** Whether the guest says first what its kernel demands of modules. */
  readonly saysLockdown?: boolean;
}

/** Under emulation; a step that needs longer hangs. It is noticed after twice that time at the latest. */
export const STEP_SECONDS = 30;

/** What stands for a module where the driver's own script is run. */
export const SCRIPT = "script";

/** What stands where the kernel's own modules are in, and says how they left the kernel. */
export const READY = "tree";

/** What each line of a report begins with on the console. */
export function reportMark(secret: string): string {
  return `@${secret} `;
}

/** How the guest marks in the kernel's log where an act begins; others can write there too, so it says whose turn it was, and no more. */
export function markOf({ verb, module }: { readonly verb: string; readonly module: string }): string {
  return `kmodfarm: ${verb} ${module}`;
}

/** How the guest writes there that `modprobe`, asked by the kernel, found a module and did not get it in: which, and why. */
export const REQUEST_FAILED = /^kmodfarm: (\S+) did not go in: (.+)$/;
/** And that it was asked for something that is not in this guest. */
const ASKED = /\] kmodfarm: asked for (\S{1,200})$/;

/** Names of modules that the kernel asked for and that its guest does not have. */
export function askedFor(log: readonly string[]): string[] {
  const names = log.flatMap((line) => ASKED.exec(line)?.[1] ?? []);
  return [...new Set(names)].slice(0, 100);
}

/** What modules may do to a kernel by being there: proprietary (P), from staging (C), out of tree (O), unsigned (E). */
export const TAINTS_BY_PRESENCE = (1 << 0) | (1 << 10) | (1 << 12) | (1 << 13);

/** What a live patch does to a kernel (K). */
const LIVE_PATCH_TAINT = 1 << 15;

/** The taint of a kernel that is as clean as it can be with these in it. */
export function withLivePatches(taint: number, livePatches: readonly unknown[] = []): number {
  return livePatches.length === 0 ? taint : taint | LIVE_PATCH_TAINT;
}

/** Exit codes of programs that a signal ended, as a step is in which the kernel oopsed. */
export const SIGNALLED = 128;

/**
 * The acts of one set. Each `next` takes the exit code of the act before: what did not go in is not taken out, and what
 * is still in use is tried again after the others, for as long as any of them goes out. A module can be held by one that
 * names no symbol of it.
 */
function* actsOf({ modules, hasSmoke }: SetPlan): Generator<Act, void, number> {
  let hasFailed = false;
  const isGood = (exitCode: number) => {
    if (exitCode !== 0) hasFailed = true;
    return exitCode === 0;
  };
  const rounds = [
    { insert: "inserted", remove: "removed" },
    { insert: "reinserted", remove: "reremoved" },
  ] as const;
  for (const { insert, remove } of rounds) {
    const loaded: string[] = [];
    for (const module of modules)
      if (!hasFailed && isGood(yield { verb: insert, module })) loaded.unshift(module);
    if (insert === "inserted" && hasSmoke && !hasFailed) isGood(yield { verb: "smoke", module: SCRIPT });
    for (let held: string[], left = loaded; left.length > 0; left = held) {
      held = [];
      for (const module of left) {
        const exitCode = yield { verb: remove, module };
        if (exitCode > 0 && exitCode < SIGNALLED) held.push(module);
        else isGood(exitCode);
      }
      hasFailed ||= held.length === left.length;
      if (held.length === left.length) break;
    }
  }
}

/** What has to come after some steps of a set; undefined when nothing is left to do. */
export function nextAct(set: SetPlan, steps: readonly { readonly exitCode: number }[]): Act | undefined {
  const acts = actsOf(set);
  let next = acts.next();
  for (const { exitCode } of steps) next = acts.next(exitCode);
  return next.done ? undefined : next.value;
}

/** Whether the same was done again later: then only that counts. */
export function isRetried(steps: readonly Act[], index: number): boolean {
  const { verb, module } = steps[index] as Act;
  return steps.slice(index + 1).some((later) => later.verb === verb && later.module === module);
}

/** Whether steps are exactly those of a set: each once, in their order, and none left out. */
export function isWhole(set: SetPlan, steps: readonly (Act & { readonly exitCode: number })[]): boolean {
  const isNext = ({ verb, module }: Act, index: number) => {
    const next = nextAct(set, steps.slice(0, index));
    return next?.verb === verb && next.module === module;
  };
  return steps.every(isNext) && nextAct(set, steps) === undefined;
}

/** A line of a report without its number: an exit code, or the kernel's taint. */
export interface PlannedLine {
  readonly verb: "begin" | "lockdown" | "livepatch" | "tree" | "ready" | "set" | Verb | "done" | "end";
  /** A module, or the place of a set. The release that a report begins with is known to the guest alone, and so is its lockdown. */
  readonly subject?: string;
}

/** Every line but messages, in order. Each `next` takes the number of the line before. */
export function* linesOf({
  livePatches = [],
  tree,
  sets,
  saysLockdown,
}: GuestPlan): Generator<PlannedLine, void, number> {
  const clean = withLivePatches(yield { verb: "begin" }, livePatches);
  if (saysLockdown === true) yield { verb: "lockdown" };
  for (const subject of livePatches) yield { verb: "livepatch", subject };
  for (const subject of tree) yield { verb: "tree", subject };
  const isReady = !isHarmed(yield { verb: "ready", subject: READY }, clean);
  for (const [index, set] of isReady ? sets.entries() : []) {
    const subject = String(index);
    yield { verb: "set", subject };
    yield* stepLines(set);
    if (isHarmed(yield { verb: "done", subject }, clean)) break;
  }
  yield { verb: "end" };
}

function* stepLines(set: SetPlan): Generator<PlannedLine, void, number> {
  const acts = actsOf(set);
  for (let next = acts.next(); !next.done; ) {
    const { verb, module } = next.value;
    next = acts.next(yield { verb, subject: module });
  }
}

/** Whether a kernel is tainted by more than the presence of modules: what came later would mean nothing. */
export function isHarmed(taint: number, before: number): boolean {
  return (taint & ~(before | TAINTS_BY_PRESENCE)) !== 0;
}
