/**
 * What a boot says of one set of modules. Each way to fail has words of its own, and the kernel's lines behind them.
 */
import type { Packing } from "../formats/compressed-module.ts";
import { isGplCompatible, type KernelModule } from "../formats/kernel-module.ts";
import { type Act, isHarmed, isWhole, nextAct, type SetPlan, TAINTS_BY_PRESENCE } from "./guest-plan.ts";
import { type GuestReport, printable, type SetReport, type Step } from "./guest-report.ts";
import { BOOT_LIMIT_MS, type Boot, CONSOLE_LIMIT_BYTES } from "./qemu.ts";
import { type Verdict, verdict, withReasons } from "./verdict.ts";

export interface LoadedSet {
  /** In the order of insertion. */
  readonly modules: readonly KernelModule[];
  readonly hasSmoke: boolean;
  /** What inserts there. */
  readonly by: "kmod" | "busybox";
  /** How its files are compressed, where what inserts there opens no such ones. */
  readonly unopened?: Packing | undefined;
}

type Ending = Pick<Boot, "timedOut" | "isFlooded" | "said">;

/**
 * What a boot proved of a set; undefined when it never came to it, or came to it in a kernel that was harmed before. A
 * pass is a report that is exactly what was planned, and went on or ended as planned after it.
 */
export function judgeSet(
  set: LoadedSet,
  found: SetReport | undefined,
  report: GuestReport,
  boot: Ending,
  kversion: string,
): Verdict | undefined {
  const unknown = (...reasons: string[]) => withReasons("load", "unknown", reasons);
  if (report.release === undefined) return unknown(silence(boot));
  if (report.release !== kversion) return unknown(`the guest runs ${report.release}, not ${kversion}`);
  if (report.strange !== undefined)
    return unknown(`the guest's report is not the one that was planned: ${report.strange}`);
  if (found === undefined) return undefined;
  const failure =
    stepFailure(set, found) ?? endFailure(set, found, report, boot) ?? kernelFailure(set, found);
  if (failure !== undefined) return withReasons("load", "fail", failure);
  if (!isWhole(setPlan(set), found.steps))
    return unknown("the guest's report does not have each step once and in its order");
  const names = set.modules.map(({ name }) => name).join(", ");
  const how = `${names} inserted by ${set.by}${set.hasSmoke ? ", tried out" : ""} and removed, twice`;
  return verdict("load", "pass", how);
}

function silence({ timedOut, isFlooded, said }: Ending): string {
  const when = isFlooded
    ? ` of the modules before it was ended because it ${FLOOD}`
    : timedOut
      ? " until its time was over"
      : " before it ended";
  const words = said === "" ? "" : ` (QEMU: ${printable(said)})`;
  return `the guest said nothing${when}: this proves nothing about the modules${words}`;
}

const FLOOD = `wrote ${CONSOLE_LIMIT_BYTES / 1024 / 1024} MiB to its console`;

type Reasons = readonly [string, ...string[]];

/** A step that did not come back, or came back with a fault. */
function stepFailure(set: LoadedSet, found: SetReport): Reasons | undefined {
  const { hung, log } = found;
  const evidence = evidenceOf(found);
  const hasOops = evidence.some((line) => KERNEL_OOPS.test(line));
  if (hung !== undefined && hasOops) return [`the kernel oopsed: ${actOf(hung)}`, ...evidence];
  if (hung !== undefined) {
    const lines = hung.verb === "smoke" ? evidence : log.filter(isTelling).slice(-EVIDENCE_LINES);
    return [`${actOf(hung)} does not come back`, ...lines.map(withoutTime)];
  }
  const step = found.steps.find(({ exitCode }) => exitCode !== 0);
  if (step === undefined) return undefined;
  if (hasOops) return [`the kernel oopsed: ${actOf(step)}`, ...evidence];
  return [refusal(step, found, set), ...linesAbout(step.module, log).map(withoutTime), ...evidence];
}

/** A boot that broke off within a set, or right after it. */
function endFailure(
  set: LoadedSet,
  found: SetReport,
  report: GuestReport,
  { timedOut, isFlooded }: Ending,
): Reasons | undefined {
  const isLast = [...report.sets.values()].at(-1) === found;
  if (found.taint !== undefined && (report.ended || !isLast)) return undefined;
  const next = nextAct(setPlan(set), found.steps);
  const act = next === undefined ? "after all was removed" : actOf(next);
  if (isFlooded) return [`the console was flooded: ${act}`, `the guest was ended because it ${FLOOD}`];
  const last = report.lastWords.filter((line) => KERNEL_DEATH.test(line));
  const words = (last.length > 0 ? last : report.lastWords).slice(-EVIDENCE_LINES).map(withoutTime);
  // Besides a script, only a kernel that dies ends a guest, and not every one has words for it.
  if (last.length === 0 && timedOut)
    return [`the kernel hangs: ${act}`, `the guest was ended after ${BOOT_LIMIT_MS / 1000} s`, ...words];
  const isStopped = last.length === 0 && next?.verb === "smoke";
  return [`the kernel ${isStopped ? "stopped" : "died"}: ${act}`, ...words];
}

/** What the kernel says and is after all went well. */
function kernelFailure(set: LoadedSet, found: SetReport): Reasons | undefined {
  const isFree = set.modules.every(({ license }) => isGplCompatible(license));
  const allowed = isFree ? TAINTS_BY_PRESENCE & ~PROPRIETARY_TAINT : TAINTS_BY_PRESENCE;
  const unexpected = (found.taint ?? 0) & ~(found.taintBefore | allowed);
  const evidence = evidenceOf(found);
  if (unexpected === 0 && evidence.length === 0) return undefined;
  return [
    `with the modules in, the kernel ${unexpected === 0 ? "complained" : taintWords(unexpected)}`,
    ...evidence,
  ];
}

function evidenceOf({ log }: SetReport): string[] {
  return log
    .filter((line) => KERNEL_FAULT.test(line))
    .slice(0, EVIDENCE_LINES)
    .map(withoutTime);
}

function setPlan({ modules, hasSmoke }: LoadedSet): SetPlan {
  return { modules: modules.map(({ name }) => name), hasSmoke };
}

/**
 * Whether the kernel fell over before it had any module of a set in, as emulated ones now and then do: that proves nothing
 * about them, unless it happens again. Modules that are on their way in stand in its list already.
 */
export function fellAlone(
  modules: readonly Pick<KernelModule, "name">[],
  { steps, log }: SetReport,
  lastWords: readonly string[],
): boolean {
  const lines = [...log, ...lastWords];
  const lists = lines.filter((line) => line.includes(MODULE_LIST));
  const isNamed = (line: string) =>
    modules.some(({ name }) =>
      line
        .slice(line.indexOf(MODULE_LIST))
        .split(/[^\w]+/)
        .includes(name),
    );
  return (
    steps.length === 0 &&
    lines.some((line) => KERNEL_OOPS.test(line)) &&
    lists.length > 0 &&
    !lists.some(isNamed)
  );
}

const MODULE_LIST = "Modules linked in:";

/** Whether what came after it proves nothing: the kernel died, hangs, or is harmed. */
export function harmsKernel({ taint, taintBefore, hung, steps, log }: SetReport): boolean {
  if (taint === undefined || hung !== undefined) return true;
  const isStuck = steps.some(({ verb, exitCode }) => exitCode !== 0 && /removed$/.test(verb));
  return isStuck || isHarmed(taint, taintBefore) || log.some((line) => KERNEL_FAULT.test(line));
}

const EVIDENCE_LINES = 4;
/** What a kernel says of every module that is not its own. */
const PRESENCE = /: loading out-of-tree module taints|: module verification failed: signature and\/or/;
const PROPRIETARY_TAINT = 1 << 0;
const TAINT_WORDS: ReadonlyMap<number, string> = new Map([
  [0, "was tainted as proprietary by modules that say they are not"],
  [1, "was forced to load a module"],
  [4, "saw a machine check"],
  [5, "found a bad page"],
  [7, "oopsed"],
  [9, "gave a warning"],
  [10, "was tainted by a driver from staging"],
  [14, "had a soft lockup"],
  [15, "was live-patched"],
]);

/** How a kernel that goes on living begins to report a fault, on either architecture; lockdep and RCU among them. */
const KERNEL_FAULT =
  /\b(?:BUG: |Oops|Unable to handle kernel|kernel BUG at|general protection fault|WARNING: |INFO: task \S+ blocked|INFO: possible recursive|possible circular locking|suspicious RCU usage|rcu_\w+ (?:self-)?detected stall|UBSAN: |KASAN: )/;
const KERNEL_OOPS = /BUG: |Oops|Unable to handle kernel|kernel BUG at|general protection fault/;
const KERNEL_DEATH =
  /Kernel panic|BUG: (?!soft lockup|workqueue)|Oops|Unable to handle kernel|general protection fault/;

/** Why a kernel refuses a module, from its own words, which say more than those of insmod. */
const REFUSALS: readonly (readonly [RegExp, string])[] = [
  [/disagrees about version of symbol/, "a symbol has another version"],
  [/no symbol version for/, "a symbol has no version"],
  [/Unknown symbol/, "a symbol is not there"],
  [/uses symbol \S+ from namespace|does not import it/, "a namespace is not imported"],
  [/GPL-incompatible module .* uses GPL-only|uses GPL-only symbol/, "a symbol is for GPL modules only"],
  [
    /[Kk]ey was rejected|Required key not available|module verification failed.*reject|Loading of .* is rejected/,
    "its signature does not count",
  ],
  [/version magic/, "its vermagic is another kernel's"],
  [/must match the kernel's built struct module/, "it knows another layout of struct module"],
  [/Exec format error|[Ii]nvalid module format/, "its format is not the kernel's"],
  [/File exists|already loaded/, "a module of that name is in already"],
  [/No such device/, "it finds no device of its own"],
];

function refusal(step: Step, { log }: SetReport, { unopened }: LoadedSet): string {
  const { verb, module, message } = step;
  if (unopened !== undefined && verb === "inserted")
    return `${module} is refused: this release's kmod opens no .${unopened}, so compress it otherwise: ${message}`;
  if (verb === "smoke") return `the driver's own script ended with exit code ${step.exitCode}: ${message}`;
  if (verb === "removed" || verb === "reremoved") return `${module} cannot be removed: ${message}`;
  const words = [...linesAbout(module, log), message];
  const why = REFUSALS.find(([expression]) => words.some((line) => expression.test(line)))?.[1];
  const again = verb === "reinserted" ? " when it comes again" : "";
  return `${module} is refused${again}${why === undefined ? "" : `, ${why}`}: ${message}`;
}

function linesAbout(module: string, log: readonly string[]): string[] {
  return log.filter((line) => line.includes(`${module}: `) && isTelling(line)).slice(-EVIDENCE_LINES);
}

function isTelling(line: string): boolean {
  return !PRESENCE.test(line);
}

function actOf({ verb, module }: Act): string {
  const acts: Readonly<Record<Act["verb"], string>> = {
    inserted: `inserting ${module}`,
    smoke: "the driver's own script",
    removed: `removing ${module}`,
    reinserted: `inserting ${module} again`,
    reremoved: `removing ${module} again`,
  };
  return acts[verb];
}

function withoutTime(line: string): string {
  return line.replace(/^\[[ 0-9.]+\] /, "");
}

function taintWords(taint: number): string {
  const bits = Array.from({ length: 20 }, (_, bit) => bit).filter((bit) => (taint & (1 << bit)) !== 0);
  return bits.map((bit) => TAINT_WORDS.get(bit) ?? `is tainted (bit ${bit})`).join(" and ");
}
