/**
 * What a boot says of one set of modules. Each way to fail has words of its own, and the kernel's lines behind them.
 */
import type { Packing } from "../formats/compressed-module.ts";
import { isGplCompatible, type KernelModule } from "../formats/kernel-module.ts";
import { type LoadCode, loadReason } from "./checks/load.ts";
import { isDeath, isFault, isOops, messageOf, tracedModules } from "./guest/kernel-messages.ts";
import {
  type Act,
  isHarmed,
  isRetried,
  isWhole,
  nextAct,
  REQUEST_FAILED,
  type SetPlan,
  SIGNALLED,
  STEP_SECONDS,
  TAINTS_BY_PRESENCE,
  withLivePatches,
} from "./guest/plan.ts";
import { BOOT_LIMIT_MS, type Boot, CONSOLE_LIMIT_BYTES, QUIET_LIMIT_MS } from "./guest/qemu.ts";
import { type GuestReport, printable, type SetReport } from "./guest/report.ts";
import { type Reason, type Verdict, verdict, withReasons } from "./verdict.ts";

type Because = Reason<LoadCode>;

export interface LoadedSet {
  /** In the order of insertion. */
  readonly modules: readonly KernelModule[];
  readonly hasSmoke: boolean;
  /** What inserts there. */
  readonly by: "kmod" | "busybox";
  /** How its files are compressed, where what inserts there opens no such ones. */
  readonly unopened?: Packing | undefined;
  /** Whether its driver says that it refuses where its device is missing. */
  readonly noDevice?: boolean | undefined;
  /** Modules of the kernel's own that it depends on and that cannot be had: `modprobe` had none of them. */
  readonly unheld?: readonly string[];
  /** Modules of other drivers that it depends on. */
  readonly needs?: readonly string[];
  /** Whether its kernel is to take signed modules only. */
  readonly isLocked?: boolean;
}

type Ending = Pick<Boot, "timedOut" | "isSlow" | "isFlooded" | "said">;

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
  const unknown = (code: LoadCode, text: string, ...more: Because[]) =>
    withReasons("load", "unknown", [loadReason(code, text), ...more]);
  if (report.release === undefined) return unknown("silent", silence(boot));
  if (report.release !== kversion)
    return unknown("otherKernel", `the guest runs ${report.release}, not ${kversion}`);
  if (report.strange !== undefined)
    return unknown("strangeReport", `the guest's report does not follow the plan: ${report.strange}`);
  if (set.isLocked === true && report.lockdown?.enforcesSignatures !== true)
    return unknown("notLocked", "the kernel takes unsigned modules too: Secure Boot had no effect on it");
  const { taints, livePatches } = report;
  const clean = withLivePatches(taints?.begin ?? 0, livePatches);
  if (taints !== undefined && isHarmed(taints.ready, clean))
    return unknown(
      "harmedBefore",
      `the kernel ${taintWords(taints.ready & ~clean)} before any module of the driver was loaded`,
      ...quoted(evidenceIn(report.log)),
    );
  const missing = livePatches.find(({ exitCode }) => exitCode !== 0);
  if (missing !== undefined)
    return unknown(
      "livePatch",
      `the live patch ${missing.module} is not applied, so nothing was tested beside it: ${missing.message}`,
      ...quoted(linesAbout(missing.module, report.log).map(messageOf)),
    );
  if (found === undefined) return undefined;
  const owed = treeGap(set, found, report) ?? expectedRefusal(set, found);
  if (owed !== undefined) return owed;
  if (boot.isSlow && found.taint === undefined && isWell(set, found))
    return unknown(
      "slow",
      `the guest was still at work after ${BOOT_LIMIT_MS / 1000} s, when it was stopped, which proves nothing about the modules`,
    );
  const stopped = found.hung === undefined ? endFailure(set, found, report, boot) : [];
  const [first, ...rest] = [...stepFailure(set, found), ...stopped];
  const failure = first === undefined ? kernelFailure(set, found) : [first, ...rest];
  if (failure !== undefined) return withReasons("load", "fail", failure);
  if (!isWhole(setPlan(set), found.steps))
    return unknown("strangeReport", "the guest's report does not have each step once and in order");
  const names = set.modules.map(({ name }) => name).join(", ");
  const how = `${names} loaded with ${set.by}${set.hasSmoke ? ", tried out" : ""} and unloaded, twice${besideWords(livePatches)}`;
  return verdict("load", "pass", loadReason("loaded", how));
}

function besideWords(livePatches: GuestReport["livePatches"]): string {
  if (livePatches.length === 0) return "";
  const names = livePatches.map(({ module }) => module).join(", ");
  return `, beside the live ${livePatches.length === 1 ? "patch" : "patches"} ${names}`;
}

/** Whether nothing is wrong so far. */
function isWell(set: LoadedSet, found: SetReport): boolean {
  const isGood = actsOf(found).every(({ exitCode }) => exitCode === 0);
  return isGood && kernelFailure(set, found) === undefined;
}

/** The first step that failed, where it is a refusal and all else is as it should be. */
function onlyRefusal(set: LoadedSet, found: SetReport): Happening | undefined {
  const acts = actsOf(found);
  const [first, ...more] = acts.filter(({ exitCode }) => exitCode !== 0);
  const isInsertion = first?.verb === "inserted" || first?.verb === "reinserted";
  const isCalm = found.taint !== undefined && kernelFailure(set, found) === undefined;
  return isInsertion && more.length === 0 && isCalm ? first : undefined;
}

/** A refusal after a module of the kernel's own, or of another driver, did not go in proves nothing of the driver. */
function treeGap(set: LoadedSet, found: SetReport, report: GuestReport): Verdict | undefined {
  const refused = onlyRefusal(set, found);
  if (refused === undefined || whyRefused(refused)?.[2] === "itself") return undefined;
  const planned = report.tree
    .filter(({ exitCode, message }) => exitCode !== 0 && !NOT_THERE.test(message))
    .map(({ module, message }) => ({ module, message }));
  const asked = refused.lines.flatMap((line) => {
    const [, module = "", message = ""] = REQUEST_FAILED.exec(messageOf(line)) ?? [];
    // Many implementations of one thing are asked for, and most of them find no hardware of theirs.
    return message === "" || NO_DEVICE.test(message) ? [] : [{ module, message }];
  });
  const gaps = [
    ...(set.unheld ?? []).map((name) => `${name}, one of the kernel's own modules, is not available`),
    ...[...planned, ...asked].map(
      ({ module, message }) =>
        `${module}, ${set.needs?.includes(module) ? "a module of another driver" : "one of the kernel's own modules"}, was not loaded: ${message}`,
    ),
  ];
  if (gaps.length === 0) return undefined;
  const { text } = refusal(refused, set);
  return withReasons("load", "unknown", [
    ...gaps.map((gap) => loadReason("otherModule", gap)),
    loadReason("otherModule", `so this proves nothing: ${text}`),
  ]);
}

/** A driver that finds no device, where its own settings say that it will not. */
function expectedRefusal(set: LoadedSet, found: SetReport): Verdict | undefined {
  const refused = set.noDevice === true ? onlyRefusal(set, found) : undefined;
  if (refused === undefined || !NO_DEVICE.test(refused.message)) return undefined;
  return verdict(
    "load",
    "notApplicable",
    loadReason(
      "noDevice",
      `${refused.module} finds no device of its own here, as its driver's \`load.noDevice\` declares; no more can be tested without one`,
    ),
  );
}

/** -ENODEV, as the programs that insert say it. */
const NO_DEVICE = /: No such device$/;
/** What `modprobe` says of a name that nothing bears. */
const NOT_THERE = /not found in (?:directory|modules\.dep)/;

function silence({ timedOut, isFlooded, said }: Ending): string {
  const when = isFlooded
    ? ` about the modules before it was stopped because it ${FLOOD}`
    : timedOut
      ? ` for ${QUIET_LIMIT_MS / 1000} s, after which it was stopped`
      : " before it ended";
  const words = said === "" ? "" : ` (QEMU: ${printable(said)})`;
  return `the guest reported nothing${when}, which proves nothing about the modules${words}`;
}

const FLOOD = `wrote ${CONSOLE_LIMIT_BYTES / 1024 / 1024} MiB to its console`;

/** Faults of the kernel and refusals, each with the step during which it came, in the order in which they came. */
function stepFailure(set: LoadedSet, found: SetReport): Because[] {
  const acts = actsOf(found);
  return acts.every(({ exitCode }) => exitCode === 0) ? [] : acts.flatMap((act) => troubleOf(act, set));
}

/** A step, or the one that hangs, and what the kernel said meanwhile. */
interface Happening extends Act {
  /** Undefined for what does not come back, and 0 for what was done again later. */
  readonly exitCode: number | undefined;
  readonly message: string;
  readonly lines: readonly string[];
}

function actsOf(found: SetReport): Happening[] {
  const { steps, hung, log, begins = new Map<number, number>() } = found;
  const pending = hung === undefined ? [] : [{ ...hung, exitCode: undefined, message: "" }];
  const acts: Omit<Happening, "lines">[] = [...steps, ...pending];
  // Without marks, all is said of the step that came to grief; one that was killed before one that was refused.
  const isKilled = ({ exitCode }: (typeof acts)[0]) => exitCode === undefined || exitCode >= SIGNALLED;
  const failed = (acts.find(isKilled) ?? acts.find(({ exitCode }) => exitCode !== 0)) as Act | undefined;
  return acts.map((act, index) => {
    const exitCode = isRetried(acts, index) ? 0 : act.exitCode;
    const begin = begins.get(index);
    const end = [...begins].find(([other]) => other > index)?.[1];
    const isAll = begins.size === 0 && act === failed;
    return { ...act, exitCode, lines: begin === undefined ? (isAll ? log : []) : log.slice(begin, end) };
  });
}

function troubleOf(act: Happening, set: LoadedSet): Because[] {
  const { verb, module, exitCode, lines } = act;
  const faults = evidenceIn(lines);
  if (faults.some(isOops))
    return [loadReason("oops", `the kernel oopsed: ${blamed(act)}`), ...quoted(faults)];
  if (exitCode === undefined) {
    const said = verb === "smoke" ? faults : lines.filter(isTelling).slice(-EVIDENCE_LINES);
    return [
      loadReason("noReturn", `${actOf(act)} has not returned after ${STEP_SECONDS} s`),
      ...quoted(said.map(messageOf)),
    ];
  }
  if (exitCode !== 0) {
    const about = linesAbout(module, lines).map(messageOf);
    return [refusal(act, set), ...quoted([...about, ...faults.filter((fault) => !about.includes(fault))])];
  }
  return faults.length === 0
    ? []
    : [loadReason("complaint", `the kernel complained: ${blamed(act)}`), ...quoted(faults)];
}

/** The act, and the module whose code the trace shows, where that is another one. */
function blamed({ verb, module, lines }: Pick<Happening, "verb" | "module" | "lines">): string {
  const first = lines.findIndex(isFault);
  const [traced] = first < 0 ? [] : tracedModules(lines.slice(first));
  const act = actOf({ verb, module });
  return traced === undefined || traced === module ? act : `${act}, in ${traced}`;
}

/** A boot that broke off within a set, or right after it. */
function endFailure(
  set: LoadedSet,
  found: SetReport,
  report: GuestReport,
  { timedOut, isFlooded }: Ending,
): readonly Because[] {
  const isLast = [...report.sets.values()].at(-1) === found;
  if (found.taint !== undefined && (report.ended || !isLast)) return [];
  const next = nextAct(setPlan(set), found.steps);
  const act = next === undefined ? "after all modules were unloaded" : actOf(next);
  if (isFlooded)
    return [
      loadReason("flood", `the console was flooded: ${act}`),
      loadReason("ended", `the guest was stopped because it ${FLOOD}`),
    ];
  const last = report.lastWords.filter(isDeath);
  const words = (last.length > 0 ? last : report.lastWords).slice(-EVIDENCE_LINES).map(messageOf);
  // Besides a script, only a kernel that dies ends a guest, and not every one has words for it.
  if (last.length === 0 && timedOut)
    return [
      loadReason("hang", `the kernel hangs: ${act}`),
      loadReason(
        "ended",
        `the guest was stopped after it had reported nothing for ${QUIET_LIMIT_MS / 1000} s`,
      ),
      ...quoted(words),
    ];
  const isStopped = last.length === 0 && next?.verb === "smoke";
  return [
    isStopped
      ? loadReason("scriptStop", `the kernel stopped: ${act}`)
      : loadReason("death", `the kernel died: ${act}`),
    ...quoted(words),
  ];
}

/** What the kernel says and is after all went well. */
function kernelFailure(set: LoadedSet, found: SetReport): Because[] | undefined {
  const unexpected = (found.taint ?? 0) & ~(found.taintBefore | allowedTaints(set));
  const evidence = evidenceIn(found.log);
  if (unexpected === 0 && evidence.length === 0) return undefined;
  const during = actsOf(found).find(({ lines }) => lines.some(isFault));
  return [
    loadReason(
      unexpected === 0 ? "complaint" : "taint",
      `with the modules loaded, the kernel ${unexpected === 0 ? "complained" : taintWords(unexpected)}${during === undefined ? "" : ` (${blamed(during)})`}`,
    ),
    ...quoted(evidence),
  ];
}

/** What is explained by licences, and by the kernel's own modules that come along. */
function allowedTaints({ modules, isLocked }: LoadedSet): number {
  const isFree = modules.every(({ license }) => isGplCompatible(license));
  const isStaging = modules.some(({ modinfo }) => modinfo?.some(([key]) => key === "staging"));
  const free = (isFree ? PROPRIETARY_TAINT : 0) | (isStaging ? STAGING_TAINT : 0);
  return TAINTS_BY_PRESENCE & ~(free | (isLocked === true ? UNSIGNED_TAINT : 0));
}

function evidenceIn(lines: readonly string[]): string[] {
  return lines.filter(isFault).slice(0, EVIDENCE_LINES).map(messageOf);
}

/** The kernel's own lines, behind what they are evidence of. */
function quoted(lines: readonly string[]): Because[] {
  return lines.map((line) => loadReason("kernelLine", line));
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
  return steps.length === 0 && lines.some(isDeath) && lists.length > 0 && !lists.some(isNamed);
}

const MODULE_LIST = "Modules linked in:";

/** Whether what came after it proves nothing: the kernel died, hangs, or is harmed. */
export function harmsKernel({ taint, taintBefore, hung, steps, log }: SetReport): boolean {
  if (taint === undefined || hung !== undefined) return true;
  const isStuck = steps.some(
    ({ verb, exitCode }, index) => exitCode !== 0 && /removed$/.test(verb) && !isRetried(steps, index),
  );
  return isStuck || isHarmed(taint, taintBefore) || log.some(isFault);
}

const EVIDENCE_LINES = 4;
/** What a kernel says of every module that is not its own. */
const PRESENCE = /: loading out-of-tree module taints|: module verification failed: signature and\/or/;
const PROPRIETARY_TAINT = 1 << 0;
/** Modules of the kernel's own from drivers/staging. */
const STAGING_TAINT = 1 << 10;
const UNSIGNED_TAINT = 1 << 13;
const TAINT_WORDS: ReadonlyMap<number, string> = new Map([
  [0, "was tainted as proprietary by modules that declare a GPL-compatible licence"],
  [1, "was forced to load a module"],
  [4, "reported a machine check"],
  [5, "found a bad page"],
  [7, "oopsed"],
  [9, "printed a warning"],
  [10, "was tainted by a staging driver"],
  [13, "took a module that nobody it knows signed"],
  [14, "had a soft lockup"],
  [15, "was live-patched"],
]);

/** What the kernel says of it begins with the name of a device, which may be any. */
const FIRMWARE = /: Direct firmware load for \S+ failed with error -2$/;

/** Why a kernel refuses a module, from its own words, which say more than those of insmod; and whether whatever else is there. */
const REFUSALS: readonly (readonly [RegExp, string, "itself"?])[] = [
  [/disagrees about version of symbol/, "a symbol has a different version", "itself"],
  [/no symbol version for/, "a symbol has no version", "itself"],
  [/Unknown symbol \S+ \(err/, "a symbol is missing"],
  [/uses symbol \S+ from namespace|does not import it/, "a namespace is not imported", "itself"],
  [
    /GPL-incompatible module .* uses GPL-only|uses GPL-only symbol/,
    "a symbol is for GPL modules only",
    "itself",
  ],
  [
    /[Kk]ey was rejected|Required key not available|module verification failed.*reject|Loading of .* is rejected/,
    "its signature is not accepted",
    "itself",
  ],
  [/version magic/, "its vermagic is for another kernel", "itself"],
  [
    /must match the kernel's built struct module/,
    "it was built with a different layout of struct module",
    "itself",
  ],
  [/Exec format error|[Ii]nvalid module format/, "its format is not the kernel's"],
  [/File exists|already loaded/, "a module of that name is already loaded"],
  [/No such device/, "it finds no device of its own"],
  [FIRMWARE, "its firmware is missing"],
  // What insmod says of -ENOENT, whether the kernel missed a symbol or the module something else.
  [/Unknown symbol in module|No such file or directory/, "something it asks for is missing"],
];

function refusal({ verb, module, exitCode, message, lines }: Happening, { unopened }: LoadedSet): Because {
  if (unopened !== undefined && verb === "inserted")
    return loadReason(
      "compression",
      `${module} is refused: this release's kmod cannot read .${unopened}, so compress it differently: ${message}`,
    );
  if (verb === "smoke")
    return loadReason("script", `the driver's own script ended with exit code ${exitCode}: ${message}`);
  if (verb === "removed" || verb === "reremoved")
    return loadReason("stuck", `${module} cannot be unloaded: ${message}`);
  const why = whyRefused({ module, lines, message })?.[1];
  const again = verb === "reinserted" ? " the second time" : "";
  return loadReason(
    "refused",
    `${module} is refused${again}${why === undefined ? "" : `, ${why}`}: ${message}`,
  );
}

function whyRefused({ module, lines, message }: Pick<Happening, "module" | "lines" | "message">) {
  const words = [...linesAbout(module, lines), message];
  return REFUSALS.find(([expression]) => words.some((line) => expression.test(line)));
}

function linesAbout(module: string, log: readonly string[]): string[] {
  const isAbout = (line: string) => line.includes(`${module}: `) || FIRMWARE.test(line);
  return log.filter((line) => isAbout(line) && isTelling(line)).slice(-EVIDENCE_LINES);
}

function isTelling(line: string): boolean {
  return !PRESENCE.test(line);
}

function actOf({ verb, module }: Act): string {
  const acts: Readonly<Record<Act["verb"], string>> = {
    inserted: `loading ${module}`,
    smoke: "the driver's own script",
    removed: `unloading ${module}`,
    reinserted: `loading ${module} again`,
    reremoved: `unloading ${module} again`,
  };
  return acts[verb];
}

function taintWords(taint: number): string {
  const bits = Array.from({ length: 20 }, (_, bit) => bit).filter((bit) => (taint & (1 << bit)) !== 0);
  return bits.map((bit) => TAINT_WORDS.get(bit) ?? `is tainted (bit ${bit})`).join(" and ");
}
